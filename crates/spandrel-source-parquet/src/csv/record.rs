//! RFC 4180 records in the dialect of protocol section 7: comma, CRLF or LF, `"` doubled inside quotes.

use std::borrow::Cow;

/// A field as it stands between delimiters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Field<'a> {
    pub(crate) text: Cow<'a, [u8]>,
    /// An empty field is null only without quotes.
    pub(crate) quoted: bool,
}

impl Field<'_> {
    pub(crate) fn is_null(&self) -> bool {
        !self.quoted && self.text.is_empty()
    }
}

/// What is wrong with a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RecordError {
    #[error("a quote stands inside an unquoted field: quote the field and double the quote")]
    StrayQuote,
    #[error("text follows a closing quote: expected a comma or the end of the line")]
    AfterQuote,
    #[error("a carriage return stands alone: quote the field that holds it")]
    BareReturn,
    #[error("the record does not end: a quote is open or the line end is missing")]
    Unfinished,
}

/// Length of the first record with its line end; `None` when its end is not in `input` yet.
pub(crate) fn record_len(input: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        let at = from + memchr::memchr2(b'"', b'\n', input.get(from..)?)?;
        if input.get(at) == Some(&b'\n') {
            return Some(at + 1);
        }
        // Inside quotes a doubled quote opens and closes once more, which comes to the same.
        from = at + 1 + memchr::memchr(b'"', input.get(at + 1..)?)? + 1;
    }
}

/// Splits the first record of `input` into `fields`; returns the bytes it took.
pub(crate) fn read<'a>(input: &'a [u8], fields: &mut Vec<Field<'a>>) -> Result<usize, RecordError> {
    fields.clear();
    let mut at = 0;
    loop {
        let rest = input.get(at..).unwrap_or_default();
        let (field, len) = if rest.first() == Some(&b'"') { quoted(rest)? } else { plain(rest)? };
        fields.push(field);
        at += len;
        match (input.get(at), input.get(at + 1)) {
            (Some(b','), _) => at += 1,
            (Some(b'\n'), _) => return Ok(at + 1),
            (Some(b'\r'), Some(b'\n')) => return Ok(at + 2),
            (Some(b'\r'), None) => return Err(RecordError::Unfinished),
            (Some(b'\r'), _) => return Err(RecordError::BareReturn),
            (Some(_), _) => return Err(RecordError::AfterQuote),
            (None, _) => return Err(RecordError::Unfinished),
        }
    }
}

fn plain(input: &[u8]) -> Result<(Field<'_>, usize), RecordError> {
    let end =
        input.iter().position(|b| matches!(b, b',' | b'\n' | b'\r' | b'"')).ok_or(RecordError::Unfinished)?;
    if input.get(end) == Some(&b'"') {
        return Err(RecordError::StrayQuote);
    }
    Ok((Field { text: Cow::Borrowed(input.get(..end).unwrap_or_default()), quoted: false }, end))
}

fn quoted(input: &[u8]) -> Result<(Field<'_>, usize), RecordError> {
    let mut joined: Option<Vec<u8>> = None;
    let mut from = 1;
    loop {
        let rest = input.get(from..).unwrap_or_default();
        let at = from + memchr::memchr(b'"', rest).ok_or(RecordError::Unfinished)?;
        let piece = input.get(from..at).unwrap_or_default();
        if input.get(at + 1) == Some(&b'"') {
            let text = joined.get_or_insert_default();
            text.extend_from_slice(piece);
            text.push(b'"');
            from = at + 2;
            continue;
        }
        let text = match joined {
            Some(mut text) => {
                text.extend_from_slice(piece);
                Cow::Owned(text)
            }
            None => Cow::Borrowed(piece),
        };
        return Ok((Field { text, quoted: true }, at + 1));
    }
}

/// Reads records out of any bytes; must not panic, and must agree with itself on where records end.
#[doc(hidden)]
pub fn fuzz_records(data: &[u8]) {
    let (mut rest, mut fields) = (data, Vec::new());
    while let Some(len) = record_len(rest) {
        let (record, after) = rest.split_at(len);
        if let Ok(read) = read(record, &mut fields) {
            assert_eq!(read, len, "both ways of finding a record's end agree");
        }
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(input: &str) -> Result<Vec<(String, bool)>, RecordError> {
        let mut fields = Vec::new();
        read(input.as_bytes(), &mut fields)?;
        Ok(fields.iter().map(|f| (String::from_utf8_lossy(&f.text).into_owned(), f.quoted)).collect())
    }

    #[test]
    fn records_split_as_rfc_4180_says() {
        let plain = |s: &str| (s.to_owned(), false);
        let quoted = |s: &str| (s.to_owned(), true);
        for (input, want) in [
            ("a,b\r\n", Ok(vec![plain("a"), plain("b")])),
            ("a,b\n", Ok(vec![plain("a"), plain("b")])),
            (",\"\",\r\n", Ok(vec![plain(""), quoted(""), plain("")])),
            ("\"a\"\"b\",\"c\r\nd,e\"\r\n", Ok(vec![quoted("a\"b"), quoted("c\r\nd,e")])),
            ("\r\n", Ok(vec![plain("")])),
            ("a\"b\r\n", Err(RecordError::StrayQuote)),
            ("\"a\"b\r\n", Err(RecordError::AfterQuote)),
            ("a\rb\n", Err(RecordError::BareReturn)),
            ("\"a\r\n", Err(RecordError::Unfinished)),
            ("a", Err(RecordError::Unfinished)),
            ("a\r", Err(RecordError::Unfinished)),
            ("\"a\"\r", Err(RecordError::Unfinished)),
        ] {
            assert_eq!(texts(input), want, "{input:?}");
        }
    }

    #[test]
    fn a_record_ends_outside_quotes_only() {
        for (input, want) in [
            ("a\nb", Some(2)),
            ("\"a\nb\"\nc", Some(6)),
            ("\"a\"\"\n\"\n", Some(7)),
            ("\"a\n", None),
            ("", None),
        ] {
            assert_eq!(record_len(input.as_bytes()), want, "{input:?}");
        }
    }

    proptest::proptest! {
        /// Any bytes can be read without a panic.
        #[test]
        fn prop_never_panics(data in proptest::collection::vec(proptest::sample::select(b"a,\"\r\n\xff".to_vec()), 0..60)) {
            fuzz_records(&data);
        }
    }
}
