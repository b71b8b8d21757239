//! Where a server is, from the address a person types.

use http::Uri;
use spandrel_transport::Endpoint;

use crate::ClientError;

/// Host and port of a server; one origin serves messages and files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    /// `http://host:port`, without a slash at the end.
    pub(crate) http: String,
    pub(crate) messages: Endpoint,
}

impl Origin {
    /// Takes `http://` and `ws://` addresses; a path is allowed when it is empty, `/` or that of the messages.
    pub(crate) fn parse(url: &str) -> Result<Self, ClientError> {
        let fault = |why| ClientError::Url { url: url.chars().take(100).collect(), why };
        let uri: Uri = url.parse().map_err(|_| fault("expected http://host:port"))?;
        match uri.scheme_str() {
            Some("http" | "ws") => {}
            Some("https" | "wss") => {
                return Err(fault("TLS is not spoken here; use a local proxy that speaks it"));
            }
            _ => return Err(fault("expected http://host:port")),
        }
        if !matches!(uri.path(), "" | "/" | "/v1/ws") || uri.query().is_some() {
            return Err(fault("expected no path: the server's paths are fixed"));
        }
        let authority = uri.authority().ok_or_else(|| fault("expected a host"))?;
        if authority.as_str().contains('@') {
            return Err(fault("a name and password in an address are not used; use a bearer token"));
        }
        let messages = format!("ws://{authority}/v1/ws").parse().map_err(|_| fault("expected host:port"))?;
        Ok(Self { http: format!("http://{authority}"), messages })
    }

    /// Absolute form of a reference the server gave, and whether it stays at this origin.
    pub(crate) fn join(&self, reference: &str) -> Result<(Uri, bool), ClientError> {
        let fault = |why| ClientError::Url { url: reference.chars().take(100).collect(), why };
        let absolute = if reference.starts_with('/') && !reference.starts_with("//") {
            format!("{}{reference}", self.http)
        } else {
            reference.to_owned()
        };
        let uri: Uri =
            absolute.parse().map_err(|_| fault("the server gave an address that cannot be read"))?;
        if uri.scheme_str() != Some("http") {
            return Err(fault("only http:// files can be fetched here"));
        }
        let own = self.http.strip_prefix("http://");
        let stays = uri.authority().map(|a| a.as_str()) == own;
        Ok((uri, stays))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_as_people_type_them() {
        for url in ["http://127.0.0.1:8001", "ws://127.0.0.1:8001/v1/ws", "http://127.0.0.1:8001/"] {
            let origin = Origin::parse(url).unwrap();
            assert_eq!(origin.http, "http://127.0.0.1:8001", "{url}");
            assert_eq!(origin.messages.to_string(), "ws://127.0.0.1:8001/v1/ws");
        }
        for bad in
            ["", "127.0.0.1:8001", "https://x", "http://a:b@x", "http://x/other", "ftp://x", "http://x/?a=1"]
        {
            assert!(Origin::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_the_own_origin_sees_the_token() {
        let origin = Origin::parse("http://127.0.0.1:8001").unwrap();
        assert!(origin.join("/v1/files/a?sig=b").unwrap().1);
        assert!(origin.join("http://127.0.0.1:8001/v1").unwrap().1);
        assert!(!origin.join("http://127.0.0.1:8002/v1").unwrap().1);
        assert!(origin.join("//evil/x").is_err());
        assert!(origin.join("file:///etc/passwd").is_err());
    }
}
