//! Who asks and who was asked for, by name: hosts, authorities and origins, read strictly. What has two readings is
//! refused.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A host as the `Host` header and URLs name it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Host {
    /// An address; IPv6 without brackets and in any spelling, so `::1` equals `0:0:0:0:0:0:0:1`.
    Ip(IpAddr),
    /// A name in lower case, without trailing dot.
    Name(String),
}

impl Host {
    /// Reads a host. Only four plain decimal numbers are an IPv4 address (`0x7f.1`, `2130706433` and
    /// `127.1` are refused, since a resolver would read them as one), an IPv6 address stands in brackets
    /// and has no zone, and a name has letters, digits, `-` and `_` between single dots. `None` on
    /// anything else, such as `@`, `%`, `/`, a trailing dot and characters outside ASCII.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(inner) = text.strip_prefix('[') {
            let address: Ipv6Addr = inner.strip_suffix(']')?.parse().ok()?;
            return Some(Self::Ip(address.into()));
        }
        if let Ok(address) = text.parse::<Ipv4Addr>() {
            return Some(Self::Ip(address.into()));
        }
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        let last_is_number = text.rsplit('.').next().is_some_and(|last| {
            last.bytes().all(|b| b.is_ascii_digit()) || last.starts_with("0x") || last.starts_with("0X")
        });
        let is_name = text.len() <= 253 && !last_is_number && text.split('.').all(label);
        is_name.then(|| Self::Name(text.to_ascii_lowercase()))
    }

    /// Whether it is `localhost` or a loopback address (127.0.0.0/8, `::1`, also mapped into IPv6). A name
    /// under `localhost` is not: nothing but custom keeps it from being resolved elsewhere.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        match self {
            Self::Ip(address) => address.to_canonical().is_loopback(),
            Self::Name(name) => name == "localhost",
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(IpAddr::V6(address)) => write!(f, "[{address}]"),
            Self::Ip(address) => address.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// A host and, if written, a port: the value of `Host`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Authority {
    /// The host.
    pub host: Host,
    /// The port; `None` stands for the default of a scheme that is known elsewhere.
    pub port: Option<u16>,
}

impl Authority {
    /// Reads `host` or `host:port`; a port is 1 to 5 digits without leading zero. `None` on anything else:
    /// no user, no empty port.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = match text.rsplit_once(':') {
            // The colon of `[::1]` belongs to the address.
            Some((host, port)) if !port.ends_with(']') => (host, Some(parse_port(port)?)),
            _ => (text, None),
        };
        Some(Self { host: Host::parse(host)?, port })
    }
}

fn parse_port(digits: &str) -> Option<u16> {
    let plain = digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0');
    if plain { digits.parse().ok() } else { None }
}

/// An origin: scheme, host, port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    scheme: String,
    host: Host,
    port: Option<u16>,
}

impl Origin {
    /// Reads `scheme://host` or `scheme://host:port`. The default port of `http` and `https` equals none
    /// written. `None` on anything else: `null`, several origins, a path (even `/`), a user, a fragment.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, authority) = text.split_once("://")?;
        let rest = |b: u8| b.is_ascii_alphanumeric() || b"+-.".contains(&b);
        let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.bytes().all(rest);
        let Authority { host, port } = is_scheme.then(|| Authority::parse(authority))??;
        let scheme = scheme.to_ascii_lowercase();
        let port = port.or_else(|| default_port(&scheme));
        Some(Self { scheme, host, port })
    }

    /// Takes the origin of a URL of scheme `http` or `https`; path, query and fragment are not looked at.
    #[must_use]
    pub fn of_url(url: &str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let authority = rest.split(['/', '?', '#']).next()?;
        Self::parse(&format!("{scheme}://{authority}"))
            .filter(|origin| default_port(&origin.scheme).is_some())
    }

    /// The scheme, in lower case.
    #[must_use]
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// The host.
    #[must_use]
    pub const fn host(&self) -> &Host {
        &self.host
    }

    /// The port; `None` only for a scheme without a default.
    #[must_use]
    pub const fn port(&self) -> Option<u16> {
        self.port
    }

    /// Whether host and port are those of `authority`. A port that `Host` leaves out is the default of
    /// this origin's scheme: behind a proxy that ends TLS the server cannot know better.
    #[must_use]
    pub fn is_at(&self, authority: &Authority) -> bool {
        let port = authority.port.or_else(|| default_port(&self.scheme));
        self.host == authority.host && port.is_some() && port == self.port
    }
}

impl fmt::Display for Origin {
    /// Writes it as a browser does: without the port that the scheme implies.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.host)?;
        match self.port {
            Some(port) if self.port != default_port(&self.scheme) => write!(f, ":{port}"),
            _ => Ok(()),
        }
    }
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_one_reading() {
        for (text, want) in [
            ("localhost", "localhost"),
            ("LocalHost", "localhost"),
            ("a-b.c_d.example", "a-b.c_d.example"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("127.0.0.1", "127.0.0.1"),
            ("[::1]", "[::1]"),
            ("[0:0:0:0:0:0:0:1]", "[::1]"),
            ("[2001:DB8::A]", "[2001:db8::a]"),
            ("1.example", "1.example"),
            ("127.0.0.1.evil.example", "127.0.0.1.evil.example"),
        ] {
            assert_eq!(Host::parse(text).map(|host| host.to_string()).as_deref(), Some(want), "{text:?}");
        }
        let long_label = format!("{}.example", "a".repeat(64));
        let long_name = "a.".repeat(127) + "a";
        for text in [
            "",
            ".",
            "localhost.",
            "127.0.0.1.",
            "a..b",
            ".a",
            "a b",
            "a@b",
            "a/b",
            "a\\b",
            "a%00",
            "a%2eb",
            "a?b",
            "a#b",
            "a:1",
            "bücher.example",
            "127.0.0.01",
            "127.1",
            "0x7f.0.0.1",
            "0x7f000001",
            "a.0X1",
            "2130706433",
            "256.0.0.1",
            "1.2.3.4.5",
            "::1",
            "[::1",
            "::1]",
            "[]",
            "[127.0.0.1]",
            "[::1%lo]",
            "[fe80::1%25eth0]",
            "[v1.x]",
            "a\0",
            "a\n",
            "*",
            "*.example",
            &long_label,
            &long_name,
        ] {
            assert_eq!(Host::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn loopback_is_an_address_or_localhost() {
        for (text, want) in [
            ("localhost", true),
            ("LOCALHOST", true),
            ("127.0.0.1", true),
            ("127.255.0.9", true),
            ("[::1]", true),
            ("[::ffff:127.0.0.1]", true),
            ("0.0.0.0", false),
            ("[::]", false),
            ("10.0.0.1", false),
            ("128.0.0.1", false),
            ("[::ffff:10.0.0.1]", false),
            ("app.localhost", false),
            ("localhost.localdomain", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("127-0-0-1.rebind.example", false),
        ] {
            assert_eq!(Host::parse(text).unwrap().is_loopback(), want, "{text:?}");
        }
    }

    #[test]
    fn an_authority_has_a_plain_port_or_none() {
        for (text, port) in [("a", None), ("a:1", Some(1)), ("a:65535", Some(65535)), ("[::1]:80", Some(80))]
        {
            assert_eq!(Authority::parse(text).map(|a| a.port), Some(port), "{text:?}");
        }
        for text in [
            "a:", "a:0", "a:080", "a:65536", "a:+80", "a:-1", "a: 80", "a:80 ", "a:8x", "a:80:80", "u@a:80",
            "u:p@a", ":80", "[::1]80", "[::1]:", "[::1]]", "::1:80", "a:999999",
        ] {
            assert_eq!(Authority::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn an_origin_is_no_more_than_scheme_host_and_port() {
        let same = |a: &str, b: &str| Origin::parse(a).is_some() && Origin::parse(a) == Origin::parse(b);
        assert!(same("http://a", "HTTP://A:80"));
        assert!(same("https://a", "https://a:443"));
        assert!(same("http://[::1]:8001", "http://[0::1]:8001"));
        assert!(!same("http://a", "https://a"));
        assert!(!same("http://a:443", "https://a"));
        for text in [
            "",
            "null",
            "*",
            "a",
            "//a",
            "http:",
            "http:/a",
            "http:a",
            "http://",
            "http://a/",
            "http://a/b",
            "http://u@a",
            "http://a?b",
            "http://a#b",
            "http://a http://b",
            "http://a, http://b",
            " http://a",
            "http://a ",
            "http://a.",
            "http://:80",
            "http://*.a",
            "://a",
            "ht tp://a",
            "http://a:",
            "file://",
            "1http://a",
            "http://http://a",
        ] {
            assert_eq!(Origin::parse(text), None, "{text:?}");
        }
        assert!(Origin::parse("chrome-extension://abcdefghijklmnop").is_some_and(|o| o.port().is_none()));
        assert_eq!(
            Origin::of_url("https://a.example:8443/base?x#y"),
            Origin::parse("https://a.example:8443")
        );
        for (text, shown) in [
            ("HTTPS://A.example:443", "https://a.example"),
            ("http://a:8080", "http://a:8080"),
            ("https://[0::1]:80", "https://[::1]:80"),
            ("app://main", "app://main"),
            ("app://main:9", "app://main:9"),
        ] {
            assert_eq!(Origin::parse(text).map(|origin| origin.to_string()).as_deref(), Some(shown));
        }
        assert_eq!(Origin::of_url("https://a.example"), Origin::parse("https://a.example"));
        for url in ["ftp://a", "a.example", "https://u@a/", "https:///a", "https://"] {
            assert_eq!(Origin::of_url(url), None, "{url:?}");
        }
    }
}
