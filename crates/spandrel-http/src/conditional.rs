//! Conditional requests (RFC 9110 section 13): entity tags compared, in the order the RFC gives.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// What identifies the current version of a representation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validators {
    /// The strong entity tag, quotes included.
    pub etag: HeaderValue,
    /// When it was last written; sub-seconds are not compared, the header has none. `None`: dates in
    /// requests are ignored.
    pub modified: Option<SystemTime>,
}

/// What the conditions of a GET or HEAD request lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precondition {
    /// Go on: answer as if there were no condition.
    Met,
    /// 304: the client has this version.
    NotModified,
    /// 412: the client wants another version.
    Failed,
}

/// Evaluates `If-Match`, `If-Unmodified-Since`, `If-None-Match` and `If-Modified-Since` of a GET or HEAD.
///
/// A date counts only where its entity-tag header is absent. A tag list that breaks the grammar matches no
/// further than it could be read; a date that cannot be read is ignored.
#[must_use]
pub fn precondition(headers: &HeaderMap, now: &Validators) -> Precondition {
    let written_after =
        |name| date(headers, name).zip(now.modified).map(|(at, on)| seconds(on) > seconds(at));
    let own = now.etag.as_bytes();
    let failed = if headers.contains_key(header::IF_MATCH) {
        !matches_any(headers, &header::IF_MATCH, |tag| tag == own)
    } else {
        written_after(header::IF_UNMODIFIED_SINCE) == Some(true)
    };
    if failed {
        return Precondition::Failed;
    }
    let same = if headers.contains_key(header::IF_NONE_MATCH) {
        let own = opaque(own);
        matches_any(headers, &header::IF_NONE_MATCH, |tag| opaque(tag) == own)
    } else {
        written_after(header::IF_MODIFIED_SINCE) == Some(false)
    };
    if same { Precondition::NotModified } else { Precondition::Met }
}

/// Whether `Range` counts: true without `If-Range`, and with exactly one that is the current strong tag.
/// Weak tags, other tags and dates are false: the client gets the whole file, never parts of two versions.
#[must_use]
pub fn if_range_holds(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    let mut values = headers.get_all(header::IF_RANGE).iter();
    match (values.next(), values.next()) {
        (None, _) => true,
        (Some(one), None) => one == etag && !etag.as_bytes().starts_with(b"W/"),
        _ => false,
    }
}

fn matches_any(headers: &HeaderMap, name: &HeaderName, is_own: impl Fn(&[u8]) -> bool) -> bool {
    headers
        .get_all(name)
        .iter()
        .any(|value| value.as_bytes().trim_ascii() == b"*" || Tags(value.as_bytes()).any(&is_own))
}

/// Walks a comma-separated list of entity tags; ends at the first thing that is none.
struct Tags<'a>(&'a [u8]);

impl<'a> Iterator for Tags<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let blank = |b: &u8| matches!(b, b' ' | b'\t' | b',');
        let start = self.0.iter().position(|b| !blank(b))?;
        let list = self.0.get(start..)?;
        let open = if list.starts_with(b"W/") { 2 } else { 0 };
        (list.get(open) == Some(&b'"')).then_some(())?;
        let close = list.iter().skip(open + 1).position(|b| !is_etagc(*b))? + open + 1;
        (list.get(close) == Some(&b'"')).then_some(())?;
        let (tag, rest) = list.split_at_checked(close + 1)?;
        // A tag ends at a comma or at the end; `"a""b"` is not a list.
        let next = rest.trim_ascii_start();
        self.0 = if next.is_empty() || next.starts_with(b",") { next } else { b"" };
        (self.0.len() == next.len()).then_some(tag)
    }
}

/// RFC 9110 section 8.8.3: any visible character but the quote, and obs-text.
const fn is_etagc(b: u8) -> bool {
    b == 0x21 || (b >= 0x23 && b != 0x7f)
}

fn opaque(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

fn date(headers: &HeaderMap, name: HeaderName) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(name)?.to_str().ok()?).ok()
}

fn seconds(at: SystemTime) -> u64 {
    at.duration_since(SystemTime::UNIX_EPOCH).as_ref().map_or(0, Duration::as_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "\"sha256-aa\"";

    fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in list {
            map.append(*name, HeaderValue::from_str(value).unwrap());
        }
        map
    }

    fn now() -> Validators {
        // 2024-03-01T00:00:00.9Z
        let modified = SystemTime::UNIX_EPOCH + Duration::from_millis(1_709_251_200_900);
        Validators { etag: HeaderValue::from_static(OWN), modified: Some(modified) }
    }

    const SAME: &str = "Fri, 01 Mar 2024 00:00:00 GMT";
    const BEFORE: &str = "Thu, 29 Feb 2024 23:59:59 GMT";
    const AFTER: &str = "Fri, 01 Mar 2024 00:00:01 GMT";

    #[test]
    fn conditions_lead_where_the_rfc_says() {
        use Precondition::{Failed, Met, NotModified};
        for (name, list, want) in [
            ("no condition", &[][..], Met),
            ("own tag", &[("if-none-match", OWN)], NotModified),
            ("own tag, weakly", &[("if-none-match", "W/\"sha256-aa\"")], NotModified),
            ("anything", &[("if-none-match", "*")], NotModified),
            ("in a list", &[("if-none-match", "\"x\", W/\"y\" ,,\"sha256-aa\"")], NotModified),
            ("a comma in a tag", &[("if-none-match", "\"x,y\",\"sha256-aa\"")], NotModified),
            ("in a second line", &[("if-none-match", "\"x\""), ("if-none-match", OWN)], NotModified),
            ("other tag", &[("if-none-match", "\"sha256-ab\"")], Met),
            ("no quotes", &[("if-none-match", "sha256-aa")], Met),
            ("no end", &[("if-none-match", "\"sha256-aa")], Met),
            ("lower w", &[("if-none-match", "w/\"sha256-aa\"")], Met),
            ("after a break of grammar", &[("if-none-match", "oops, \"sha256-aa\"")], Met),
            ("two tags without comma", &[("if-none-match", "\"sha256-aa\"\"b\"")], Met),
            ("case matters", &[("if-none-match", "\"SHA256-aa\"")], Met),
            ("wanted tag", &[("if-match", OWN)], Met),
            ("wanted any", &[("if-match", "*")], Met),
            ("wanted in a list", &[("if-match", "\"x\",\"sha256-aa\"")], Met),
            ("wanted other", &[("if-match", "\"other\"")], Failed),
            ("wanted weakly is not wanted", &[("if-match", "W/\"sha256-aa\"")], Failed),
            ("wanted nothing readable", &[("if-match", "")], Failed),
            ("412 before 304", &[("if-match", "\"other\""), ("if-none-match", OWN)], Failed),
            ("304 after a match", &[("if-match", OWN), ("if-none-match", OWN)], NotModified),
            ("not written since", &[("if-modified-since", SAME)], NotModified),
            ("not written since later", &[("if-modified-since", AFTER)], NotModified),
            ("written since", &[("if-modified-since", BEFORE)], Met),
            ("date nobody can read", &[("if-modified-since", "yesterday")], Met),
            ("tag over date", &[("if-none-match", "\"x\""), ("if-modified-since", AFTER)], Met),
            ("unwritten since", &[("if-unmodified-since", SAME)], Met),
            ("written meanwhile", &[("if-unmodified-since", BEFORE)], Failed),
            ("tag over date, match", &[("if-match", OWN), ("if-unmodified-since", BEFORE)], Met),
        ] {
            assert_eq!(precondition(&headers(list), &now()), want, "{name}");
        }
        let undated = Validators { modified: None, ..now() };
        assert_eq!(precondition(&headers(&[("if-modified-since", AFTER)]), &undated), Met);
    }

    #[test]
    fn only_the_own_strong_tag_keeps_a_range() {
        let own = now().etag;
        for (name, list, want) in [
            ("none", &[][..], true),
            ("own", &[("if-range", OWN)], true),
            ("other", &[("if-range", "\"old\"")], false),
            ("weak", &[("if-range", "W/\"sha256-aa\"")], false),
            ("date", &[("if-range", SAME)], false),
            ("empty", &[("if-range", "")], false),
            ("a list", &[("if-range", "\"sha256-aa\", \"b\"")], false),
            ("twice", &[("if-range", OWN), ("if-range", OWN)], false),
        ] {
            assert_eq!(if_range_holds(&headers(list), &own), want, "{name}");
        }
        let weak = HeaderValue::from_static("W/\"a\"");
        assert!(!if_range_holds(&headers(&[("if-range", "W/\"a\"")]), &weak), "weak on both sides");
    }
}
