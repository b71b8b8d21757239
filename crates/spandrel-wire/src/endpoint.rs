//! Where a link goes to or listens at, as data.

use std::{fmt, str::FromStr};

/// An address with its transport: parsed from and printed as text, and `parse(print(e)) == e`.
///
/// ```
/// use spandrel_wire::Endpoint;
///
/// let e: Endpoint = "ws://[::1]:8080/v1/ws?kid=a".parse()?;
/// assert_eq!((e.scheme(), e.to_string().as_str()), ("ws", "ws://[::1]:8080/v1/ws?kid=a"));
/// # Ok::<(), spandrel_wire::EndpointError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Endpoint {
    /// `tcp://host:port`
    Tcp {
        /// Name or address; IPv6 without brackets.
        host: String,
        /// Port; 0 asks a listener for any free one.
        port: u16,
    },
    /// `tcps://host:port`: TCP inside TLS; `tls+tcp://` is read as the same.
    Tcps {
        /// Name or address; IPv6 without brackets.
        host: String,
        /// Port; 0 asks a listener for any free one.
        port: u16,
    },
    /// `ws://host[:port][/path][?query]`; the port defaults to 80.
    Ws {
        /// Name or address; IPv6 without brackets.
        host: String,
        /// Port; 0 asks a listener for any free one.
        port: u16,
        /// Path, begins with `/`.
        path: String,
        /// Query without `?`.
        query: Option<String>,
    },
    /// `wss://host[:port][/path][?query]`; the port defaults to 443.
    Wss {
        /// Name or address; IPv6 without brackets.
        host: String,
        /// Port; 0 asks a listener for any free one.
        port: u16,
        /// Path, begins with `/`.
        path: String,
        /// Query without `?`.
        query: Option<String>,
    },
    /// `unix:/path/of/socket`; `ipc:` is read as the same.
    Unix {
        /// Path in the file system. One with blanks has no text form.
        path: String,
    },
    /// `mem:name`
    Mem {
        /// Name inside one in-memory network.
        name: String,
    },
    /// Any other `scheme:rest`, for transports that come from outside.
    Other {
        /// Lower-case scheme.
        scheme: String,
        /// Everything after the colon.
        rest: String,
    },
}

/// A text that is not an [`Endpoint`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot read endpoint {text:?}: {expected}")]
pub struct EndpointError {
    text: String,
    expected: &'static str,
}

impl Endpoint {
    /// Longest text that is parsed, in bytes.
    pub const BYTES_MAX: usize = 8 << 10;

    /// Returns the scheme, under which a registry finds the transport.
    #[must_use]
    pub fn scheme(&self) -> &str {
        match self {
            Self::Tcp { .. } => "tcp",
            Self::Tcps { .. } => "tcps",
            Self::Ws { .. } => "ws",
            Self::Wss { .. } => "wss",
            Self::Unix { .. } => "unix",
            Self::Mem { .. } => "mem",
            Self::Other { scheme, .. } => scheme,
        }
    }

    /// Returns host and port of network endpoints.
    #[must_use]
    pub fn host_port(&self) -> Option<(&str, u16)> {
        match self {
            Self::Tcp { host, port }
            | Self::Tcps { host, port }
            | Self::Ws { host, port, .. }
            | Self::Wss { host, port, .. } => Some((host, *port)),
            _ => None,
        }
    }

    /// Returns the same endpoint at another port, as a listener knows it once bound. Others stay as they are.
    #[must_use]
    pub fn with_port(mut self, new: u16) -> Self {
        if let Self::Tcp { port, .. }
        | Self::Tcps { port, .. }
        | Self::Ws { port, .. }
        | Self::Wss { port, .. } = &mut self
        {
            *port = new;
        }
        self
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        parse(text).map_err(|expected| {
            let shown: String = text.chars().take(64).collect();
            EndpointError { text: shown, expected }
        })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } | Self::Tcps { host, port } => {
                write!(f, "{}://{}:{port}", self.scheme(), Host(host))
            }
            Self::Ws { host, port, path, query } | Self::Wss { host, port, path, query } => {
                write!(f, "{}://{}:{port}{path}", self.scheme(), Host(host))?;
                query.as_ref().map_or(Ok(()), |q| write!(f, "?{q}"))
            }
            Self::Unix { path } => write!(f, "unix:{path}"),
            Self::Mem { name } => write!(f, "mem:{name}"),
            Self::Other { scheme, rest } => write!(f, "{scheme}:{rest}"),
        }
    }
}

struct Host<'a>(&'a str);

impl fmt::Display for Host<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.contains(':') { write!(f, "[{}]", self.0) } else { f.write_str(self.0) }
    }
}

fn parse(text: &str) -> Result<Endpoint, &'static str> {
    if text.len() > Endpoint::BYTES_MAX {
        return Err("longer than 8 KiB");
    }
    if text.chars().any(|c| c.is_control() || c == ' ') {
        return Err("expected no blanks and no control characters");
    }
    let (scheme, rest) = text.split_once(':').ok_or("expected scheme:address, as ws://host:port/path")?;
    let scheme = scheme.to_ascii_lowercase();
    let first_is_letter = scheme.starts_with(|c: char| c.is_ascii_lowercase());
    if !first_is_letter
        || !scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
    {
        return Err("expected a scheme of letters, digits, + - and .");
    }
    match scheme.as_str() {
        "tcp" | "tcps" | "tls+tcp" => {
            let (host, port) = host_port(authority(rest)?)?;
            let port = port.ok_or("expected a port, as tcp://host:port")?;
            let is_plain = scheme == "tcp";
            Ok(if is_plain { Endpoint::Tcp { host, port } } else { Endpoint::Tcps { host, port } })
        }
        "ws" | "wss" => web(scheme == "wss", authority(rest)?),
        "unix" | "ipc" => {
            named(rest, "expected a path, as unix:/run/x.sock").map(|path| Endpoint::Unix { path })
        }
        "mem" => named(rest, "expected a name, as mem:name").map(|name| Endpoint::Mem { name }),
        _ => Ok(Endpoint::Other { scheme, rest: rest.to_owned() }),
    }
}

fn web(secure: bool, rest: &str) -> Result<Endpoint, &'static str> {
    if rest.contains('#') {
        return Err("expected no fragment");
    }
    let (before, query) = match rest.split_once('?') {
        Some((before, query)) => (before, Some(query.to_owned())),
        None => (rest, None),
    };
    let (authority, path) = match before.split_once('/') {
        Some((authority, path)) => (authority, format!("/{path}")),
        None => (before, "/".to_owned()),
    };
    let (host, port) = host_port(authority)?;
    let port = port.unwrap_or(if secure { 443 } else { 80 });
    Ok(if secure {
        Endpoint::Wss { host, port, path, query }
    } else {
        Endpoint::Ws { host, port, path, query }
    })
}

fn authority(rest: &str) -> Result<&str, &'static str> {
    rest.strip_prefix("//").ok_or("expected // after the scheme")
}

fn named(rest: &str, expected: &'static str) -> Result<String, &'static str> {
    if rest.is_empty() { Err(expected) } else { Ok(rest.to_owned()) }
}

fn host_port(authority: &str) -> Result<(String, Option<u16>), &'static str> {
    if authority.contains('@') {
        return Err("expected no user name in the address");
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']').ok_or("expected ] after an IPv6 address")?;
            if host.parse::<std::net::Ipv6Addr>().is_err() {
                return Err("expected an IPv6 address between [ and ]");
            }
            match after.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None if after.is_empty() => (host, None),
                None => return Err("expected :port after ]"),
            }
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    if host.is_empty() || host.contains(['/', '?', '[', ']', '\\']) {
        return Err("expected a host name or address");
    }
    let port = match port {
        Some(port) if port.bytes().all(|b| b.is_ascii_digit()) => {
            Some(port.parse().map_err(|_| "expected a port from 0 to 65535")?)
        }
        Some(_) => return Err("expected a port from 0 to 65535"),
        None => None,
    };
    Ok((host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_prints() {
        for (text, printed) in [
            ("tcp://localhost:9000", "tcp://localhost:9000"),
            ("tcp://[::1]:0", "tcp://[::1]:0"),
            ("tcps://h:1", "tcps://h:1"),
            ("tls+tcp://[::1]:9", "tcps://[::1]:9"),
            ("ws://h", "ws://h:80/"),
            ("WSS://h/v1/ws?kid=a&cn=b", "wss://h:443/v1/ws?kid=a&cn=b"),
            ("ws://127.0.0.1:8080?x", "ws://127.0.0.1:8080/?x"),
            ("unix:/run/x.sock", "unix:/run/x.sock"),
            ("ipc:/run/x.sock", "unix:/run/x.sock"),
            ("mem:a b".replace(' ', "-").as_str(), "mem:a-b"),
            ("quic+x:anything://goes", "quic+x:anything://goes"),
        ] {
            let endpoint: Endpoint = text.parse().expect(text);
            assert_eq!(endpoint.to_string(), printed, "{text}");
            assert_eq!(printed.parse(), Ok(endpoint), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_not_an_endpoint() {
        let long = format!("mem:{}", "x".repeat(Endpoint::BYTES_MAX));
        for text in [
            "",
            "tcp:host:1",
            "tcp://host",
            "tcp://:1",
            "tcp://h:65536",
            "tcps://h",
            "tcp://h:+1",
            "tcp://[::1:1",
            "tcp://[x]:1",
            "ws:/h",
            "ws:///p",
            "ws://u@h/",
            "ws://h/#f",
            "ws://h:/x y",
            "mem:",
            "ipc:",
            "unix:",
            "9p:x",
            "ws://[::1]x/",
            "1:",
            long.as_str(),
        ] {
            assert!(text.parse::<Endpoint>().is_err(), "{text:?}");
        }
    }

    proptest::proptest! {
        /// Whatever parses prints to a text that parses to the same.
        #[test]
        fn prop_roundtrip_of_what_parses(text in "(ws|wss|tcp|tcps|mem|unix|ipc|x)(:|://)[a-z0-9:./?&=\\[\\]]{0,24}") {
            if let Ok(endpoint) = text.parse::<Endpoint>() {
                proptest::prop_assert_eq!(endpoint.to_string().parse(), Ok(endpoint));
            }
        }
    }
}
