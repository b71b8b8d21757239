//! How a browser is told from a program.
//!
//! `Origin` and `Sec-Fetch-Site` are not enough: an image, a script, a frame or a no-cors fetch sends no `Origin`, and
//! over plain http a browser tells `Sec-Fetch-*` only to an address it trusts, which `hw.playentry.org` is not although it
//! leads to this machine. What is left is what a browser says of itself: a page can change none of it for such a request
//! but the value of `Accept-Language`, and leave out none but `Referer`.

use std::fmt;

use crate::shown::Shown;

/// Returns by what a header shows that a browser sent it, as shown in a log; `None` for what programs send too. Names are
/// read without regard to case.
///
/// Known are `User-Agent` that begins with `Mozilla/`, `Accept-Language`, `Referer`, `Upgrade-Insecure-Requests`, and all
/// of `Sec-Fetch-*` and `Sec-CH-UA*`.
///
/// ```
/// use spandrel_bridge_protocol::browser_mark;
///
/// assert_eq!(browser_mark("user-agent", b"Mozilla/5.0 (X11; Linux x86_64)"), Some("user-agent Mozilla"));
/// assert_eq!(browser_mark("user-agent", b"node-XMLHttpRequest"), None);
/// ```
#[must_use]
pub fn browser_mark(name: &str, value: &[u8]) -> Option<&'static str> {
    if name.eq_ignore_ascii_case("user-agent") {
        return starts_with(value, b"Mozilla/").then_some("user-agent Mozilla");
    }
    let alone = ["accept-language", "referer", "upgrade-insecure-requests"];
    let families = [("sec-fetch-", "sec-fetch-*"), ("sec-ch-ua", "sec-ch-ua*")];
    let family = families.iter().find(|(start, _)| starts_with(name.as_bytes(), start.as_bytes()));
    alone.into_iter().find(|own| name.eq_ignore_ascii_case(own)).or_else(|| family.map(|(_, shown)| *shown))
}

fn starts_with(text: &[u8], start: &[u8]) -> bool {
    text.get(..start.len()).is_some_and(|own| own.eq_ignore_ascii_case(start))
}

/// By what a request was known to come from a browser. [`Display`](fmt::Display) is for a line of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sign {
    /// It names the origin of its page.
    Origin(Shown),
    /// It has `Sec-Fetch-Site`, and no origin.
    Site(Shown),
    /// Neither, but what [`browser_mark`] knows.
    Mark(&'static str),
}

impl fmt::Display for Sign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Origin(origin) => write!(f, "origin {origin}"),
            Self::Site(site) => write!(f, "a browser without origin (sec-fetch-site {site})"),
            Self::Mark(mark) => write!(f, "a browser without origin (it sends {mark})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_are_known_by_what_they_say_of_themselves() {
        for (name, value, want) in [
            ("user-agent", "Mozilla/5.0 (Windows NT 10.0; Win64; x64)", Some("user-agent Mozilla")),
            ("User-Agent", "mozilla/4.0 (compatible; MSIE 8.0)", Some("user-agent Mozilla")),
            ("user-agent", "Mozilla/", Some("user-agent Mozilla")),
            ("accept-language", "ko-KR,ko;q=0.9", Some("accept-language")),
            ("Accept-Language", "", Some("accept-language")),
            ("referer", "http://evil.example/", Some("referer")),
            ("Upgrade-Insecure-Requests", "1", Some("upgrade-insecure-requests")),
            ("sec-fetch-site", "none", Some("sec-fetch-*")),
            ("Sec-Fetch-Mode", "no-cors", Some("sec-fetch-*")),
            ("sec-fetch-anything", "", Some("sec-fetch-*")),
            ("sec-ch-ua", "", Some("sec-ch-ua*")),
            ("Sec-CH-UA-Platform", "\"Linux\"", Some("sec-ch-ua*")),
            ("user-agent", "", None),
            ("user-agent", "Mozilla", None),
            ("user-agent", "x Mozilla/5.0", None),
            ("user-agent", "node-XMLHttpRequest", None),
            ("user-agent", "Python/3.12 aiohttp/3.9.5", None),
            ("user-agent", "Go-http-client/1.1", None),
            ("x-user-agent", "Mozilla/5.0", None),
            ("accept", "*/*", None),
            ("accept-encoding", "gzip, deflate", None),
            ("accept-languages", "en", None),
            ("host", "Mozilla/5.0", None),
            ("sec-fetch", "x", None),
            ("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA==", None),
            ("sec-websocket-extensions", "permessage-deflate", None),
            ("", "Mozilla/5.0", None),
        ] {
            assert_eq!(browser_mark(name, value.as_bytes()), want, "{name}: {value}");
        }
    }

    proptest::proptest! {
        /// What begins with `Mozilla/` is a browser whatever follows, and no other header is one for its value.
        #[test]
        fn prop_only_a_user_agent_is_known_by_its_value(name in "[a-z-]{0,20}", rest: Vec<u8>) {
            let value = [&b"Mozilla/"[..], &rest].concat();
            proptest::prop_assert_eq!(browser_mark("user-agent", &value), Some("user-agent Mozilla"));
            proptest::prop_assert!(name == "user-agent" || browser_mark(&name, &value) == browser_mark(&name, b""));
        }
    }
}
