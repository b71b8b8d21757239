//! The query of a request, percent-decoded.

/// Parameters of the transport itself: of no use to the application, and the last ones change with every request.
const OWN: [&str; 6] = ["EIO", "transport", "sid", "t", "b64", "j"];

/// Names and values of a query. `+` is a blank, and what is no UTF-8 becomes U+FFFD, as Node reads it. Of a name given
/// twice the first counts.
///
/// A gate that judges a query reads it with this, so that what it judged is what [`Socket::query`](crate::Socket::query)
/// gives later.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Query(Vec<(Box<str>, Box<str>)>);

impl Query {
    /// Reads a query, the part after the question mark.
    #[must_use]
    pub fn parse(query: &str) -> Self {
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        Self(pairs.map(|(name, value)| (decoded(name), decoded(value))).collect())
    }

    /// Returns the value of a name; empty when there is only the name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| **key == *name).map(|(_, value)| &**value)
    }

    /// Is a value there that is not empty?
    pub(crate) fn has(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| !value.is_empty())
    }

    /// Drops what only the transport needs.
    pub(crate) fn without_own(mut self) -> Self {
        self.0.retain(|(name, _)| !OWN.contains(&&**name));
        self.0.shrink_to_fit();
        self
    }
}

/// Values may be secrets.
impl std::fmt::Debug for Query {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

fn decoded(text: &str) -> Box<str> {
    if !text.bytes().any(|b| matches!(b, b'%' | b'+')) {
        return text.into();
    }
    let (mut out, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let Some((&first, more)) = rest.split_first() {
        let (byte, after) = match (first, more) {
            (b'%', [high, low, after @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => (high << 4 | low, after),
                _ => (first, more),
            },
            (b'+', _) => (b' ', more),
            _ => (first, more),
        };
        out.push(byte);
        rest = after;
    }
    String::from_utf8_lossy(&out).into()
}

const fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_decoded_and_the_first_of_a_name_counts() {
        for (query, want) in [
            ("room=q", Some("q")),
            ("a=1&room=%EB%B0%A9%20%F0%9F%98%80%26%3D%3f+x", Some("방 😀&=? x")),
            ("room=a&room=b", Some("a")),
            ("roo%6d=q", Some("q")),
            ("room", Some("")),
            ("room=%", Some("%")),
            ("room=%4", Some("%4")),
            ("room=%zz%ff", Some("%zz\u{fffd}")),
            ("Room=q", None),
            ("", None),
            ("&&=&", None),
        ] {
            assert_eq!(Query::parse(query).get("room"), want, "{query}");
        }
    }

    #[test]
    fn the_application_sees_its_own_parameters() {
        let query = Query::parse("EIO=3&transport=polling&t=a&sid=s&b64=1&j=0&room=q&empty=");
        assert!(query.has("b64") && !query.has("empty") && !query.has("none"));
        let kept = query.without_own();
        assert_eq!((kept.0.len(), kept.get("room"), kept.get("empty")), (2, Some("q"), Some("")));
        assert!(!format!("{kept:?}").contains('q'), "values stay out of debug output");
    }

    proptest::proptest! {
        /// Text that was encoded byte by byte comes back, whatever follows it.
        #[test]
        fn prop_roundtrip_of_any_text(text in ".{0,40}", noise in "[%+&=0-9a-g]{0,30}") {
            let encoded: String = text.bytes().map(|b| format!("%{b:02x}")).collect();
            let query = Query::parse(&format!("room={encoded}&{noise}"));
            proptest::prop_assert_eq!(query.get("room"), Some(text.as_str()));
        }

        /// No query is too odd to be read.
        #[test]
        fn prop_never_panics_on_any_query(query in "([%+&=0-9a-f]|roomId|sid|%80|한){0,40}") {
            crate::fuzz::fuzz_socketio_query(query.as_bytes());
        }
    }
}
