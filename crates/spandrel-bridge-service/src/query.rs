//! The query of a request, percent-decoded.

use std::borrow::Cow;

/// Longest query that is read, in bytes; a head is bounded by the server already.
const QUERY_BYTES_MAX: usize = 16 << 10;

/// Names and values of a query. `+` is a blank, and what is no UTF-8 becomes U+FFFD, as the original's reader has it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Query<'a>(&'a str);

impl<'a> Query<'a> {
    pub(crate) fn of(query: &'a str) -> Self {
        Self(query.get(..QUERY_BYTES_MAX.min(query.len())).unwrap_or_default())
    }

    /// The first value of a name.
    pub(crate) fn get(self, name: &str) -> Option<Cow<'a, str>> {
        self.pairs().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// Does any of it say that the sender is a hardware program? Of a name given twice the gate looks at both: whoever reads
    /// the query later may read either.
    pub(crate) fn is_child_server(self) -> bool {
        self.pairs().any(|(key, value)| key == "childServer" && value == "true")
    }

    fn pairs(self) -> impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)> {
        self.0.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(key), decoded(value))
        })
    }
}

fn decoded(text: &str) -> Cow<'_, str> {
    if !text.bytes().any(|b| matches!(b, b'%' | b'+')) {
        return Cow::Borrowed(text);
    }
    let (mut out, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let Some((first, more)) = rest.split_first() {
        let escaped = (*first == b'%').then(|| more.split_first_chunk::<2>()).flatten();
        let byte = escaped.and_then(|(digits, after)| Some((hex(digits[0])? << 4 | hex(digits[1])?, after)));
        match byte {
            Some((byte, after)) => {
                out.push(byte);
                rest = after;
            }
            None => {
                out.push(if *first == b'+' { b' ' } else { *first });
                rest = more;
            }
        }
    }
    String::from_utf8(out)
        .map_or_else(|e| Cow::Owned(String::from_utf8_lossy(e.as_bytes()).into_owned()), Cow::Owned)
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
            ("roomId=q", Some("q")),
            ("a=1&roomId=%EB%B0%A9%20%F0%9F%98%80%26%3D%3f+x", Some("방 😀&=? x")),
            ("roomId=a&roomId=b", Some("a")),
            ("room%49d=q", Some("q")),
            ("roomId", Some("")),
            ("roomId=%", Some("%")),
            ("roomId=%4", Some("%4")),
            ("roomId=%zz%ff", Some("%zz\u{fffd}")),
            ("roomid=q", None),
            ("", None),
            ("&&=&", None),
        ] {
            assert_eq!(Query::of(query).get("roomId").as_deref(), want, "{query}");
        }
    }

    #[test]
    fn a_pretender_is_seen_however_it_writes_it() {
        for (query, want) in [
            ("childServer=true", true),
            ("childServer=false&childServer=true", true),
            ("%63hildServer=%74rue", true),
            ("childServer=True", false),
            ("childServer", false),
        ] {
            assert_eq!(Query::of(query).is_child_server(), want, "{query}");
        }
    }

    proptest::proptest! {
        /// Text that was encoded byte by byte comes back, and no query makes it panic.
        #[test]
        fn prop_roundtrip_of_any_text(text in ".{0,40}", noise in "[%+&=0-9a-g]{0,30}") {
            let encoded: String = text.bytes().map(|b| format!("%{b:02x}")).collect();
            let query = format!("roomId={encoded}&{noise}");
            let got = Query::of(&query).get("roomId");
            proptest::prop_assert_eq!(got.as_deref(), Some(text.as_str()));
        }
    }
}
