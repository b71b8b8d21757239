//! Foreign text on its way into a log line.

use std::fmt;

/// How much of a foreign text a line shows, in bytes of the original.
const SHOWN_BYTES_MAX: usize = 80;

/// Foreign text in quotes, shortened, with nothing in it that a terminal or a log reader could take for its own: all but
/// plain ASCII is escaped.
#[derive(Clone, PartialEq, Eq)]
pub struct Shown(String);

impl Shown {
    /// Prepares text, or any bytes, for a line. Longer ones than 80 bytes are cut and end in `...`.
    #[must_use]
    pub fn new(foreign: &[u8]) -> Self {
        let kept = foreign.get(..SHOWN_BYTES_MAX).unwrap_or(foreign);
        let cut = if kept.len() < foreign.len() { "..." } else { "" };
        Self(format!("\"{}{cut}\"", kept.escape_ascii()))
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_plain_ascii_gets_through() {
        for (text, want) in [
            ("https://evil.example", "\"https://evil.example\""),
            ("", "\"\""),
            ("a\r\nERROR b", "\"a\\r\\nERROR b\""),
            ("\x1b[2J\u{7}", "\"\\x1b[2J\\x07\""),
            ("say \"hi\" \\", "\"say \\\"hi\\\" \\\\\""),
            ("\u{202e}", "\"\\xe2\\x80\\xae\""),
        ] {
            assert_eq!(Shown::new(text.as_bytes()).to_string(), want);
        }
        assert_eq!(Shown::new(&[b'a'; 80]).to_string().len(), 82);
        assert_eq!(Shown::new(&[b'a'; 81]).to_string(), format!("\"{}...\"", "a".repeat(80)));
    }

    proptest::proptest! {
        /// Any bytes become one short printable line.
        #[test]
        fn prop_any_bytes_are_one_short_line(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
            let shown = Shown::new(&bytes).to_string();
            proptest::prop_assert!(shown.bytes().all(|b| (b' '..=b'~').contains(&b)));
            proptest::prop_assert!(shown.len() <= 4 * SHOWN_BYTES_MAX + 5);
        }
    }
}
