//! What is known of the other side when a link opens.

use std::{fmt, net::SocketAddr};

/// Facts about the other side. They travel with the link and do not change.
///
/// For an accepted WebSocket, path, query and headers are those of the upgrade request; for a dialled one, path and
/// query are what was asked for and the headers are those of the answer.
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Peer {
    /// Scheme of the transport: `ws`, `tcp`, `mem` …
    pub scheme: &'static str,
    /// Network address, where there is one.
    pub address: Option<SocketAddr>,
    /// Path of the upgrade or name of the endpoint.
    pub path: String,
    /// Query string without `?`.
    pub query: Option<String>,
    /// Header names in lower case with their values, in order. Kept off debug output where they are secrets.
    pub headers: Vec<(Box<str>, Box<str>)>,
    /// Subprotocols the dialling side offered, in its order.
    pub offered: Vec<String>,
    /// Subprotocol both sides speak, if one was chosen.
    pub subprotocol: Option<String>,
    /// Is the stream below encrypted?
    pub is_secure: bool,
}

impl Peer {
    /// Makes a peer with a scheme and nothing else.
    #[must_use]
    pub fn new(scheme: &'static str) -> Self {
        Self { scheme, ..Self::default() }
    }

    /// Returns the first header of this name, whatever its case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| &**v)
    }

    /// Returns the `Origin` header: what web page a browser connects for.
    #[must_use]
    pub fn origin(&self) -> Option<&str> {
        self.header("origin")
    }

    /// Returns the `Authorization` header.
    #[must_use]
    pub fn authorization(&self) -> Option<&str> {
        self.header("authorization")
    }

    /// Returns a query parameter as it stands in the query, without percent decoding; the first of several.
    #[must_use]
    pub fn query_param(&self, name: &str) -> Option<&str> {
        let pairs = self.query.as_deref()?.split('&').map(|p| p.split_once('=').unwrap_or((p, "")));
        pairs.into_iter().find(|(n, _)| *n == name).map(|(_, v)| v)
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers: Vec<_> = self.headers.iter().map(|(n, v)| (n, shown(n, v))).collect();
        f.debug_struct("Peer")
            .field("scheme", &self.scheme)
            .field("address", &self.address)
            .field("path", &self.path)
            .field("query", &self.query.as_ref().map(|_| "…"))
            .field("headers", &headers)
            .field("offered", &self.offered)
            .field("subprotocol", &self.subprotocol)
            .field("is_secure", &self.is_secure)
            .finish()
    }
}

fn shown<'a>(name: &str, value: &'a str) -> &'a str {
    match name {
        "authorization" | "proxy-authorization" | "cookie" | "set-cookie" => "…",
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_stay_out_of_debug_output() {
        let mut peer = Peer::new("ws");
        peer.query = Some("kid=k1&cn=hidden".into());
        peer.headers =
            vec![("authorization".into(), "Bearer hidden".into()), ("origin".into(), "http://x".into())];
        let text = format!("{peer:?}");
        assert!(!text.contains("hidden") && text.contains("http://x"), "{text}");
        assert_eq!((peer.query_param("cn"), peer.query_param("c")), (Some("hidden"), None));
        assert_eq!(peer.authorization(), Some("Bearer hidden"));
    }
}
