//! Where a server is, from the address a person types.

use http::Uri;

use crate::ClientError;

/// How messages reach a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    /// WebSocket at `host:port`.
    Ws { authority: String, is_secure: bool },
    /// Length framing at `host:port`.
    Tcp { authority: String, is_secure: bool },
    /// Lines on a socket file.
    Unix { path: String },
}

impl Route {
    pub(crate) const fn is_secure(&self) -> bool {
        matches!(self, Self::Ws { is_secure: true, .. } | Self::Tcp { is_secure: true, .. })
    }
}

/// Where messages go to and files come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) route: Route,
    pub(crate) http: HttpOrigin,
}

/// Where HTTP goes to: the server's own origin, if it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HttpOrigin {
    /// `http://host:port`, without a slash at the end.
    base: Option<String>,
    /// Nothing goes over plain HTTP, wherever the server points.
    is_secure: bool,
}

impl Address {
    /// Takes `http`, `https`, `ws`, `wss`, `tcp` and `tcps` addresses and `unix:/path`; a path of the web ones is
    /// allowed when it is empty, `/` or that of the messages.
    pub(crate) fn parse(url: &str, http_url: Option<&str>) -> Result<Self, ClientError> {
        const WANTED: &str =
            "expected http://host:port, https://, ws://, wss://, tcp://, tcps:// or unix:/path";
        let fault = |why| ClientError::Url { url: shorten(url), why };
        let (scheme, rest) = url.split_once(':').ok_or_else(|| fault(WANTED))?;
        let scheme = scheme.to_ascii_lowercase();
        let route = match scheme.as_str() {
            "http" | "https" | "ws" | "wss" => {
                let is_secure = matches!(scheme.as_str(), "https" | "wss");
                Route::Ws { authority: web(url)?, is_secure }
            }
            "tcp" | "tcps" => {
                let authority = web(url)?;
                if authority.rsplit_once(':').is_none_or(|(_, port)| port.parse::<u16>().is_err()) {
                    return Err(fault("expected a port, as tcp://host:port"));
                }
                Route::Tcp { authority, is_secure: scheme == "tcps" }
            }
            "unix" => {
                let path = rest.strip_prefix("//").unwrap_or(rest);
                if !path.starts_with('/') {
                    return Err(fault("expected an absolute path, as unix:/run/exports.sock"));
                }
                Route::Unix { path: path.to_owned() }
            }
            _ => return Err(fault(WANTED)),
        };
        let base = match (&route, http_url) {
            (_, Some(url)) => Some(http_base(url)?),
            (Route::Ws { authority, is_secure }, None) => Some(base(authority, *is_secure)),
            _ => None,
        };
        let is_secure = match &base {
            Some(base) => base.starts_with("https:"),
            None => route.is_secure(),
        };
        Ok(Self { route, http: HttpOrigin { base, is_secure } })
    }
}

impl HttpOrigin {
    /// Of a server whose messages come some other way.
    pub(crate) fn parse(url: Option<&str>) -> Result<Self, ClientError> {
        let base = url.map(http_base).transpose()?;
        let is_secure = base.as_ref().is_some_and(|base| base.starts_with("https:"));
        Ok(Self { base, is_secure })
    }

    pub(crate) const fn is_secure(&self) -> bool {
        self.is_secure
    }

    /// Whether what is said there can be read by others on the way.
    pub(crate) fn is_exposed(&self) -> bool {
        let uri: Option<Uri> = self.base.as_ref().and_then(|base| base.parse().ok());
        let Some((false, host)) = uri.as_ref().and_then(|uri| Some((self.is_secure, uri.host()?))) else {
            return false;
        };
        let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
        !address.map_or_else(|_| host.eq_ignore_ascii_case("localhost"), |address| address.is_loopback())
    }

    /// Absolute form of a reference the server gave, and whether it stays at this origin.
    pub(crate) fn join(&self, reference: &str) -> Result<(Uri, bool), ClientError> {
        let fault = |why| ClientError::FileUrl { url: shorten(path_of(reference)), why };
        let absolute = if reference.starts_with('/') && !reference.starts_with("//") {
            let no_http = || ClientError::NoHttp { path: shorten(path_of(reference)) };
            format!("{}{reference}", self.base.as_ref().ok_or_else(no_http)?)
        } else {
            reference.to_owned()
        };
        let uri: Uri = absolute.parse().map_err(|_| fault("expected an address"))?;
        match uri.scheme_str() {
            Some("https") => {}
            Some("http") if !self.is_secure => {}
            Some("http") => {
                return Err(fault("expected https, since the session is secure, and not plain http"));
            }
            _ => return Err(fault("expected http:// or https://")),
        }
        let own: Option<Uri> = self.base.as_ref().and_then(|base| base.parse().ok());
        let stays = own.is_some_and(|own| place(&own) == place(&uri));
        Ok((uri, stays))
    }
}

/// What makes an origin.
fn place(uri: &Uri) -> (Option<&str>, Option<String>, Option<u16>) {
    let port = uri.port_u16().or(match uri.scheme_str() {
        Some("http") => Some(80),
        Some("https") => Some(443),
        _ => None,
    });
    (uri.scheme_str(), uri.host().map(str::to_ascii_lowercase), port)
}

fn base(authority: &str, is_secure: bool) -> String {
    format!("{}://{authority}", if is_secure { "https" } else { "http" })
}

fn http_base(url: &str) -> Result<String, ClientError> {
    let scheme = url.split_once(':').map(|(scheme, _)| scheme.to_ascii_lowercase());
    match scheme.as_deref() {
        Some(scheme @ ("http" | "https")) => Ok(base(&web(url)?, scheme == "https")),
        _ => {
            Err(ClientError::Url { url: shorten(url), why: "expected http://host:port or https://host:port" })
        }
    }
}

/// Host and port of an address without anything else.
fn web(url: &str) -> Result<String, ClientError> {
    let fault = |why| ClientError::Url { url: shorten(url), why };
    let uri: Uri = url.parse().map_err(|_| fault("expected scheme://host:port"))?;
    if !matches!(uri.path(), "" | "/" | "/v1/ws") || uri.query().is_some() {
        return Err(fault("expected no path: the server's paths are fixed"));
    }
    let authority = uri.authority().ok_or_else(|| fault("expected a host"))?;
    if authority.as_str().contains('@') {
        return Err(fault("a name and password in an address are not used; use a bearer token or a key"));
    }
    if authority.host().is_empty() {
        return Err(fault("expected a host"));
    }
    Ok(authority.to_string())
}

/// Signed addresses hold a signature: it stays out of errors.
fn path_of(reference: &str) -> &str {
    reference.split('?').next().unwrap_or_default()
}

fn shorten(text: &str) -> String {
    text.chars().take(100).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<Address, ClientError> {
        Address::parse(url, None)
    }

    #[test]
    fn addresses_as_people_type_them() {
        let here = || "127.0.0.1:8001".to_owned();
        let ws = |is_secure| Route::Ws { authority: here(), is_secure };
        let tcp = |is_secure| Route::Tcp { authority: here(), is_secure };
        let unix = || Route::Unix { path: "/run/x.sock".to_owned() };
        let (plain, secure) = (Some("http://127.0.0.1:8001"), Some("https://127.0.0.1:8001"));
        for (url, route, base) in [
            ("http://127.0.0.1:8001", ws(false), plain),
            ("ws://127.0.0.1:8001/v1/ws", ws(false), plain),
            ("HTTP://127.0.0.1:8001/", ws(false), plain),
            ("https://127.0.0.1:8001", ws(true), secure),
            ("wss://127.0.0.1:8001/v1/ws", ws(true), secure),
            ("tcp://127.0.0.1:8001", tcp(false), None),
            ("tcps://127.0.0.1:8001", tcp(true), None),
            ("unix:/run/x.sock", unix(), None),
            ("unix:///run/x.sock", unix(), None),
        ] {
            let address = parse(url).unwrap();
            assert_eq!((&address.route, address.http.base.as_deref()), (&route, base), "{url}");
        }
        for bad in [
            "",
            "127.0.0.1:8001",
            "http://a:b@x",
            "http://x/other",
            "http:///",
            "ftp://x",
            "http://x/?a=1",
            "tcp://x",
            "tcp://x:99999",
            "unix:x.sock",
            "unix:",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn files_of_a_stream_session_come_from_where_the_user_says() {
        let address = Address::parse("unix:/run/x.sock", Some("https://files.example")).unwrap();
        assert_eq!(address.http.join("/v1/files/a").unwrap().0, "https://files.example/v1/files/a");
        let bare = parse("tcp://127.0.0.1:1").unwrap().http;
        assert!(
            matches!(bare.join("/v1/files/a?sig=s"), Err(ClientError::NoHttp { path }) if path == "/v1/files/a")
        );
        assert!(!bare.join("http://files.example/v1/files/a").unwrap().1, "publicBaseUrl needs no http_url");
        assert!(Address::parse("tcp://x:1", Some("ws://x")).is_err());
    }

    #[test]
    fn only_the_own_origin_sees_the_token() {
        let origin = parse("http://127.0.0.1:8001").unwrap().http;
        for (reference, stays) in [
            ("/v1/files/a?sig=b", true),
            ("http://127.0.0.1:8001/v1", true),
            ("http://127.0.0.1:8002/v1", false),
            ("https://127.0.0.1:8001/v1", false),
        ] {
            assert_eq!(origin.join(reference).unwrap().1, stays, "{reference}");
        }
        assert!(parse("https://Example.com").unwrap().http.join("https://example.com:443/x").unwrap().1);
        for bad in ["//evil/x", "file:///etc/passwd"] {
            assert!(origin.join(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn plain_http_is_private_on_this_machine_only() {
        for (url, exposed) in [
            ("http://127.0.0.1:1", false),
            ("http://[::1]:1", false),
            ("http://LocalHost", false),
            ("http://192.0.2.1:1", true),
            ("ws://example.com", true),
            ("https://example.com", false),
            ("unix:/x", false),
        ] {
            assert_eq!(parse(url).unwrap().http.is_exposed(), exposed, "{url}");
        }
    }

    #[test]
    fn a_secure_session_fetches_nothing_over_plain_http() {
        for url in ["https://x", "wss://x", "tcps://x:1"] {
            let http = parse(url).unwrap().http;
            let error = http.join("http://x/v1/files/a?exp=1&sig=secret").unwrap_err().to_string();
            assert!(error.contains("plain http") && !error.contains("secret"), "{error}");
            assert!(http.join("https://elsewhere/v1/files/a").is_ok());
        }
    }
}
