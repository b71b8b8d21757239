//! A strict reader of I-JSON (RFC 7493) that keeps numbers as they are written.
//!
//! `serde_json` alone cannot serve here: it rounds numbers to binary64, takes the last of two equal member
//! names, and skips text without looking at its escapes. Everything a stranger sends is read by this file.

use std::borrow::Cow;
use std::fmt::Write as _;

/// One JSON value; members stay in the order they were written, repeats included.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Json<'a> {
    Null,
    Bool(bool),
    /// The text of the number.
    Number(&'a str),
    String(Cow<'a, str>),
    Array(Vec<Self>),
    Object(Vec<(Cow<'a, str>, Self)>),
}

/// Why a text is not acceptable JSON; `at` counts bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JsonFault {
    Syntax { at: usize },
    TooDeep { at: usize, max: usize },
}

impl JsonFault {
    pub(crate) fn message(self) -> String {
        match self {
            Self::Syntax { at } => format!("not valid I-JSON at byte {at}"),
            Self::TooDeep { at, max } => format!("nested deeper than {max} levels at byte {at}"),
        }
    }
}

/// Reads one value with nothing but white space around it.
pub(crate) fn parse(text: &str, depth_max: usize) -> Result<Json<'_>, JsonFault> {
    let mut reader = Reader::new(text, depth_max);
    reader.white();
    let value = reader.value::<true>(0)?;
    reader.end()?;
    Ok(value)
}

/// Checks the whole text but keeps only the members of the outermost object, values as raw text;
/// `None` when it is valid but not an object.
pub(crate) fn members(text: &str, depth_max: usize) -> Result<Option<Vec<Member<'_>>>, JsonFault> {
    let mut reader = Reader::new(text, depth_max);
    reader.white();
    if reader.peek() != Some(b'{') {
        reader.value::<false>(0)?;
        reader.end()?;
        return Ok(None);
    }
    let mut out = Vec::new();
    reader.object(|reader, name| {
        let from = reader.at;
        reader.value::<false>(1)?;
        out.push((name, reader.text.get(from..reader.at).unwrap_or_default()));
        Ok(())
    })?;
    reader.end()?;
    Ok(Some(out))
}

/// Name and raw value.
pub(crate) type Member<'a> = (Cow<'a, str>, &'a str);

struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth_max: usize,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str, depth_max: usize) -> Self {
        Self { text, at: 0, depth_max }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn fault<T>(&self) -> Result<T, JsonFault> {
        Err(JsonFault::Syntax { at: self.at })
    }

    fn white(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        let hit = self.peek() == Some(byte);
        self.at += usize::from(hit);
        hit
    }

    fn expect(&mut self, byte: u8) -> Result<(), JsonFault> {
        if self.take(byte) { Ok(()) } else { self.fault() }
    }

    fn end(&mut self) -> Result<(), JsonFault> {
        self.white();
        if self.at == self.text.len() { Ok(()) } else { self.fault() }
    }

    /// `KEEP` false checks the same text and allocates nothing but member names.
    fn value<const KEEP: bool>(&mut self, depth: usize) -> Result<Json<'a>, JsonFault> {
        match self.peek() {
            Some(b'{' | b'[') if depth >= self.depth_max => {
                Err(JsonFault::TooDeep { at: self.at, max: self.depth_max })
            }
            Some(b'{') => {
                let mut members = Vec::new();
                self.object(|reader, name| {
                    let value = reader.value::<KEEP>(depth + 1)?;
                    if KEEP {
                        push_tight(&mut members, (name, value));
                    }
                    Ok(())
                })?;
                Ok(Json::Object(members))
            }
            Some(b'[') => self.array::<KEEP>(depth),
            Some(b'"') => {
                let raw = self.string()?;
                Ok(if KEEP { Json::String(unescape(raw)) } else { Json::Null })
            }
            Some(b't') => self.word("true", Json::Bool(true)),
            Some(b'f') => self.word("false", Json::Bool(false)),
            Some(b'n') => self.word("null", Json::Null),
            _ => self.number(),
        }
    }

    fn object(
        &mut self,
        mut each: impl FnMut(&mut Self, Cow<'a, str>) -> Result<(), JsonFault>,
    ) -> Result<(), JsonFault> {
        self.expect(b'{')?;
        self.white();
        if self.take(b'}') {
            return Ok(());
        }
        loop {
            self.white();
            let name = unescape(self.string()?);
            self.white();
            self.expect(b':')?;
            self.white();
            each(self, name)?;
            self.white();
            if self.take(b'}') {
                return Ok(());
            }
            self.expect(b',')?;
        }
    }

    fn array<const KEEP: bool>(&mut self, depth: usize) -> Result<Json<'a>, JsonFault> {
        self.expect(b'[')?;
        let mut items = Vec::new();
        self.white();
        if self.take(b']') {
            return Ok(Json::Array(items));
        }
        loop {
            self.white();
            let item = self.value::<KEEP>(depth + 1)?;
            if KEEP {
                push_tight(&mut items, item);
            }
            self.white();
            if self.take(b']') {
                return Ok(Json::Array(items));
            }
            self.expect(b',')?;
        }
    }

    fn word(&mut self, word: &str, value: Json<'a>) -> Result<Json<'a>, JsonFault> {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        if !rest.starts_with(word.as_bytes()) {
            return self.fault();
        }
        self.at += word.len();
        Ok(value)
    }

    fn digits(&mut self) -> Result<(), JsonFault> {
        let from = self.at;
        while self.peek().is_some_and(|b| b.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at > from { Ok(()) } else { self.fault() }
    }

    fn number(&mut self) -> Result<Json<'a>, JsonFault> {
        let from = self.at;
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            if !self.take(b'+') {
                self.take(b'-');
            }
            self.digits()?;
        }
        Ok(Json::Number(self.text.get(from..self.at).unwrap_or_default()))
    }

    /// Checks a string with its escapes and returns what stands between the quotes.
    fn string(&mut self) -> Result<&'a str, JsonFault> {
        self.expect(b'"')?;
        let from = self.at;
        loop {
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => self.escape()?,
                Some(b) if b >= 0x20 => self.at += 1,
                _ => return self.fault(),
            }
        }
        let raw = self.text.get(from..self.at).unwrap_or_default();
        self.at += 1;
        Ok(raw)
    }

    fn escape(&mut self) -> Result<(), JsonFault> {
        let start = self.at;
        self.at += 1;
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
            Some(b'u') => {
                self.at += 1;
                let unit = self.hex4()?;
                let pair = (0xD800..0xDC00).contains(&unit);
                let low = if pair && self.take(b'\\') && self.take(b'u') { Some(self.hex4()?) } else { None };
                // A lone surrogate is no character: RFC 7493 section 2.1.
                let lone = match low {
                    Some(low) => !(0xDC00..0xE000).contains(&low),
                    None => (0xD800..0xE000).contains(&unit),
                };
                if lone {
                    return Err(JsonFault::Syntax { at: start });
                }
            }
            _ => return self.fault(),
        }
        Ok(())
    }

    fn hex4(&mut self) -> Result<u32, JsonFault> {
        let hex = self.text.get(self.at..self.at.saturating_add(4));
        match hex.filter(|h| h.bytes().all(|b| b.is_ascii_hexdigit())) {
            Some(hex) => {
                self.at += 4;
                u32::from_str_radix(hex, 16).or_else(|_| self.fault())
            }
            None => self.fault(),
        }
    }
}

/// A `Vec` starts with room for four; for the objects of one member that hostile texts are made of that is a
/// fourfold waste.
fn push_tight<T>(items: &mut Vec<T>, item: T) {
    if items.capacity() == 0 {
        items.reserve_exact(1);
    }
    items.push(item);
}

/// Resolves the escapes of a string that [`Reader::string`] has checked.
fn unescape(raw: &str) -> Cow<'_, str> {
    if !raw.contains('\\') {
        return Cow::Borrowed(raw);
    }
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((plain, escape)) = rest.split_once('\\') {
        out.push_str(plain);
        let mut chars = escape.chars();
        let unit = |hex: Option<&str>| hex.and_then(|h| u32::from_str_radix(h, 16).ok()).unwrap_or_default();
        let mut used = 1;
        out.push(match chars.next() {
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('u') => {
                used = 5;
                let mut code = unit(escape.get(1..5));
                if (0xD800..0xDC00).contains(&code) {
                    used = 11;
                    let low = unit(escape.get(7..11));
                    code = 0x10000 + ((code - 0xD800) << 10) + low.saturating_sub(0xDC00);
                }
                char::from_u32(code).unwrap_or('\u{FFFD}')
            }
            Some(same) => same,
            None => break,
        });
        rest = escape.get(used..).unwrap_or_default();
    }
    out.push_str(rest);
    Cow::Owned(out)
}

impl Json<'_> {
    /// Writes compact JSON; numbers as they were read.
    pub(crate) fn write(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(true) => out.push_str("true"),
            Self::Bool(false) => out.push_str("false"),
            Self::Number(text) => out.push_str(text),
            Self::String(text) => write_string(out, text),
            Self::Array(items) => {
                write_list(out, '[', ']', items.iter(), |out, item| item.write(out));
            }
            Self::Object(members) => {
                write_list(out, '{', '}', members.iter(), |out, (name, value)| {
                    write_string(out, name);
                    out.push(':');
                    value.write(out);
                });
            }
        }
    }

    /// Writes one text for all equal values: members sorted by name, numbers by their value.
    pub(crate) fn write_canonical(&self, out: &mut String) {
        match self {
            Self::Number(text) => write_number(out, text),
            Self::Array(items) => {
                write_list(out, '[', ']', items.iter(), |out, item| item.write_canonical(out));
            }
            Self::Object(members) => {
                let mut sorted: Vec<_> = members.iter().collect();
                sorted.sort_by(|a, b| a.0.cmp(&b.0));
                write_list(out, '{', '}', sorted.into_iter(), |out, (name, value)| {
                    write_string(out, name);
                    out.push(':');
                    value.write_canonical(out);
                });
            }
            _ => self.write(out),
        }
    }
}

fn write_list<T>(
    out: &mut String,
    open: char,
    close: char,
    items: impl Iterator<Item = T>,
    mut each: impl FnMut(&mut String, T),
) {
    out.push(open);
    for (i, item) in items.enumerate() {
        if i > 0 {
            out.push(',');
        }
        each(out, item);
    }
    out.push(close);
}

/// Writes a JSON string, quotes included.
pub(crate) fn write_string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c < ' ' => {
                // Writing to a string cannot fail.
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// `digits e exponent` without zeros at either end of the digits, so `1`, `1.0` and `10e-1` are one text.
fn write_number(out: &mut String, text: &str) {
    let (sign, rest) = text.strip_prefix('-').map_or(("", text), |rest| ("-", rest));
    let (mantissa, exponent) = rest.split_once(['e', 'E']).unwrap_or((rest, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let digits = digits.trim_start_matches('0');
    let kept = digits.trim_end_matches('0');
    let dropped = digits.len() - kept.len();
    if kept.is_empty() {
        return out.push('0');
    }
    let places = |n: usize| i64::try_from(n).ok();
    let exponent = exponent
        .parse::<i64>()
        .ok()
        .and_then(|e| e.checked_add(places(dropped)?).and_then(|e| e.checked_sub(places(fraction.len())?)));
    match exponent {
        Some(0) => out.push_str(&format!("{sign}{kept}")),
        Some(e) => out.push_str(&format!("{sign}{kept}e{e}")),
        // An exponent past 64 bits: no number anyone means; as written is equal enough.
        None => out.push_str(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_serde_json_reads_and_refuses_lone_surrogates() {
        for (text, good) in [
            ("{}", true),
            (" [1 , 2.5e-3,\t-0 ] ", true),
            (r#"{"a":{"a":[true,false,null,"\u00e9\ud83d\ude00\/"]}}"#, true),
            (r#""\ud800""#, false),
            (r#""\ud800\u0041""#, false),
            (r#""\udc00""#, false),
            (r#""\ud800\ud800""#, false),
            ("\u{feff}{}", false),
            ("01", false),
            ("1.", false),
            (".5", false),
            ("+1", false),
            ("-", false),
            ("1e", false),
            ("NaN", false),
            ("nul", false),
            ("[1,]", false),
            ("{\"a\":1,}", false),
            ("{a:1}", false),
            ("\"\u{1}\"", false),
            ("\"\\x\"", false),
            ("\"\\u12\"", false),
            ("\"open", false),
            ("1 2", false),
            ("", false),
        ] {
            assert_eq!(parse(text, 64).is_ok(), good, "{text:?}");
            assert_eq!(members(text, 64).is_ok(), good, "{text:?} without building");
        }
    }

    #[test]
    fn depth_is_bounded_in_both_modes() {
        let nest = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(parse(&nest(128), 128).is_ok());
        assert_eq!(parse(&nest(129), 128), Err(JsonFault::TooDeep { at: 128, max: 128 }));
        assert!(members(&nest(200_000), 128).is_err());
    }

    #[test]
    fn canonical_text_ignores_order_and_spelling() {
        for (a, b, equal) in [
            (r#"{"a":1,"b":[2,"x"]}"#, r#"{ "b":[ 2.0, "\u0078" ], "a":10e-1 }"#, true),
            ("-0", "0", true),
            ("100", "1e2", true),
            ("0.001", "1E-3", true),
            ("[1,2]", "[2,1]", false),
            ("1", "\"1\"", false),
            ("9007199254740993", "9007199254740992", false),
            ("1e99999999999999999999", "1", false),
            ("{\"a\":1}", "{\"a\":1,\"b\":1}", false),
        ] {
            let text = |t: &str| {
                let mut out = String::new();
                parse(t, 64).unwrap().write_canonical(&mut out);
                out
            };
            assert_eq!(text(a) == text(b), equal, "{a} and {b}");
        }
    }

    proptest! {
        /// Whatever is accepted is accepted by serde_json too, with the same strings.
        #[test]
        fn prop_accepts_no_more_than_a_second_reader(text in r#"[\[\]{}:,"\\u0-9a-fD8dtrue .eE+-]{0,24}"#) {
            let ours = parse(&text, 128);
            let theirs = serde_json::from_str::<serde_json::Value>(&text);
            if let (Ok(Json::String(a)), Ok(b)) = (&ours, &theirs) {
                prop_assert_eq!(Some(a.as_ref()), b.as_str());
            }
            // serde_json refuses numbers past binary64; everything else must agree.
            let big = text.contains(['e', 'E']);
            prop_assert!(ours.is_ok() == theirs.is_ok() || (big && ours.is_ok()), "{text:?}");
        }

        /// Any string survives writing and reading.
        #[test]
        fn prop_roundtrip_strings(text in any::<String>()) {
            let mut out = String::new();
            write_string(&mut out, &text);
            prop_assert_eq!(parse(&out, 1), Ok(Json::String(Cow::Owned(text))));
        }
    }
}
