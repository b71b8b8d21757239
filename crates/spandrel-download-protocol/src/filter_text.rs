//! Filters as people type them: `price > 100`, `symbol in A,B`, `note contains "x y"`.
//!
//! ```text
//! filter  = field ["not"] op [values]  |  field "is" ["not"] "null"
//! field   = word | quoted
//! op      = "=" "==" "!=" "<" "<=" ">" ">=" "in" "between" "contains" "startsWith" "exists"
//! values  = value { [","] value }          one; two for between ("and" may stand between); any number for in
//! value   = word | quoted                  a word ends at white space, comma, quote, = ! < >
//! quoted  = '"' characters '"'             with \" and \\ inside
//! ```
//!
//! The column's type decides the JSON: digits of `int` and `decimal` columns go out as strings, so that nothing
//! on the way rounds them.

use serde_json::value::RawValue;

use crate::error::shorten;
use crate::json::write_string;
use crate::{Column, ColumnType, Decimal, Limits, ProtocolError, RequestFilter, Timestamp};

/// Reads one filter; `columns` are those of the data set.
///
/// ```
/// use spandrel_download_protocol::{Column, ColumnType, parse_filter_text};
///
/// let columns = [Column::new("price", ColumnType::Decimal), Column::new("symbol", ColumnType::String)];
/// let filter = parse_filter_text("price >= 100.50", &columns).unwrap();
/// assert_eq!(filter.as_json(), r#"{"field":"price","op":"gte","value":"100.50"}"#);
/// let filter = parse_filter_text("symbol in A, \"B C\"", &columns).unwrap();
/// assert_eq!(filter.as_json(), r#"{"field":"symbol","op":"in","value":["A","B C"]}"#);
/// assert_eq!(
///     parse_filter_text("price like 1", &columns).unwrap_err().to_string(),
///     "at character 7: expected = != < <= > >= in between contains startsWith exists or is, got \"like\"",
/// );
/// ```
///
/// # Errors
///
/// [`ProtocolError::FilterText`] with the character the fault begins at.
pub fn parse_filter_text(text: &str, columns: &[Column]) -> Result<RequestFilter, ProtocolError> {
    let tokens = tokens(text)?;
    let mut rest = Tokens { tokens: &tokens, end: text.chars().count() + 1 };
    let field = rest.next("a column name")?;
    let Kind::Text(name) = &field.kind else {
        return fault(field.at, format!("expected a column name, got {}", field.shown()));
    };
    let Some(column) = columns.iter().find(|c| c.name == *name) else {
        let known: Vec<&str> = columns.iter().map(|c| c.name.as_str()).take(40).collect();
        let name = shorten(name);
        return fault(field.at, format!("there is no column {name:?}; there are {}", known.join(", ")));
    };
    let mut op = rest.next(OPERATORS)?;
    if op.is_word("is") {
        return is_null(column, rest);
    }
    let negated = op.is_word("not");
    if negated {
        op = rest.next(OPERATORS)?;
    }
    let filter = leaf(column, op, rest)?;
    Ok(if negated { filter.negate() } else { filter })
}

const OPERATORS: &str = "= != < <= > >= in between contains startsWith exists or is";

fn fault<T>(at: usize, what: impl Into<String>) -> Result<T, ProtocolError> {
    Err(ProtocolError::FilterText { at, what: what.into() })
}

fn is_null(column: &Column, mut rest: Tokens<'_>) -> Result<RequestFilter, ProtocolError> {
    let mut word = rest.next("null or not null")?;
    let exists = word.is_word("not");
    if exists {
        word = rest.next("null")?;
    }
    if !word.is_word("null") {
        return fault(word.at, format!("expected null, got {}", word.shown()));
    }
    rest.done()?;
    Ok(RequestFilter::leaf(&column.name, "exists", exists))
}

fn leaf(column: &Column, op: &Token, mut rest: Tokens<'_>) -> Result<RequestFilter, ProtocolError> {
    let name = match &op.kind {
        Kind::Sign(sign) => match *sign {
            "=" | "==" => "eq",
            "!=" => "ne",
            "<" => "lt",
            "<=" => "lte",
            ">" => "gt",
            ">=" => "gte",
            other => return fault(op.at, format!("expected {OPERATORS}, got {other:?}")),
        },
        Kind::Word(word) => match word.to_ascii_lowercase().as_str() {
            "in" => "in",
            "between" => "between",
            "contains" => "contains",
            "startswith" => "startsWith",
            "exists" => {
                rest.done()?;
                return Ok(RequestFilter::leaf(&column.name, "exists", true));
            }
            _ => return fault(op.at, format!("expected {OPERATORS}, got {}", op.shown())),
        },
        Kind::Text(_) | Kind::Comma => {
            return fault(op.at, format!("expected {OPERATORS}, got {}", op.shown()));
        }
    };
    applies(column, name, op.at)?;
    let values = values(column, name, &mut rest)?;
    let json = match (name, values.as_slice()) {
        ("in", values) => format!("[{}]", values.join(",")),
        ("between", [low, high]) => format!("[{low},{high}]"),
        ("between", _) => return fault(op.at, "between takes two values"),
        (_, [one]) => one.clone(),
        _ => {
            return fault(
                op.at,
                "one value is expected; use in for a list, quotes for text with spaces or commas",
            );
        }
    };
    let value = RawValue::from_string(json).or_else(|e| fault(op.at, e.to_string()))?;
    Ok(RequestFilter::leaf(&column.name, name, value))
}

fn applies(column: &Column, op: &str, at: usize) -> Result<(), ProtocolError> {
    let fits = match op {
        "contains" | "startsWith" => column.kind == ColumnType::String,
        "eq" | "ne" | "in" => true,
        _ => column.kind != ColumnType::Bool,
    };
    if fits {
        return Ok(());
    }
    fault(at, format!("{op} does not apply to {}, a {} column", column.name, column.kind.as_str()))
}

fn values(column: &Column, op: &str, rest: &mut Tokens<'_>) -> Result<Vec<String>, ProtocolError> {
    let max = Limits::default().in_values_max;
    let mut out = vec![value(column, rest.next("a value")?)?];
    while let Some(token) = rest.peek() {
        let between = op == "between" && out.len() == 1 && token.is_word("and");
        if between || token.kind == Kind::Comma {
            rest.next("")?;
        } else if op == "in" {
            return fault(token.at, format!("expected a comma between the values, got {}", token.shown()));
        }
        let token = rest.next("a value")?;
        if out.len() >= max {
            return fault(token.at, format!("there may be {max} values"));
        }
        out.push(value(column, token)?);
    }
    Ok(out)
}

/// A token as JSON of the column's type.
fn value(column: &Column, token: &Token) -> Result<String, ProtocolError> {
    let (Kind::Word(text) | Kind::Text(text)) = &token.kind else {
        return fault(token.at, format!("expected a value, got {}", token.shown()));
    };
    let max = Limits::default().filter_value_bytes_max;
    if text.len() > max {
        return fault(token.at, format!("a value may have {max} bytes"));
    }
    let quoted = || {
        let mut out = String::new();
        write_string(&mut out, text);
        out
    };
    let (json, wanted) = match column.kind {
        ColumnType::String => (Some(quoted()), ""),
        ColumnType::Int => {
            (text.parse::<i64>().ok().map(|n| format!("\"{n}\"")), "a whole number of 64 bits")
        }
        ColumnType::Decimal => (Decimal::parse(text).map(|_| quoted()), "a decimal like 100.50"),
        ColumnType::Float => (
            // Infinity and NaN print as null, which is no number.
            text.parse::<f64>().ok().and_then(|x| serde_json::to_string(&x).ok()).filter(|t| t != "null"),
            "a number",
        ),
        ColumnType::Bool => ((text == "true" || text == "false").then(|| text.clone()), "true or false"),
        ColumnType::Timestamp => {
            (Timestamp::parse(text).ok().map(|_| quoted()), "a time like 2024-03-01T09:00:00+09:00")
        }
    };
    json.map_or_else(|| fault(token.at, format!("expected {wanted}, got {}", token.shown())), Ok)
}

#[derive(Debug, PartialEq)]
struct Token {
    /// Character it begins at, from 1.
    at: usize,
    kind: Kind,
}

#[derive(Debug, PartialEq)]
enum Kind {
    /// Bare, so it may be an operator; a first word counts as [`Kind::Text`].
    Word(String),
    /// In quotes, or the column's name.
    Text(String),
    Sign(&'static str),
    Comma,
}

impl Token {
    fn is_word(&self, word: &str) -> bool {
        matches!(&self.kind, Kind::Word(w) if w.eq_ignore_ascii_case(word))
    }

    fn shown(&self) -> String {
        match &self.kind {
            Kind::Word(text) | Kind::Text(text) => format!("{:?}", shorten(text)),
            Kind::Sign(sign) => format!("{sign:?}"),
            Kind::Comma => "a comma".to_owned(),
        }
    }
}

struct Tokens<'t> {
    tokens: &'t [Token],
    end: usize,
}

impl<'t> Tokens<'t> {
    fn peek(&self) -> Option<&'t Token> {
        self.tokens.first()
    }

    fn next(&mut self, wanted: &str) -> Result<&'t Token, ProtocolError> {
        match self.tokens.split_first() {
            Some((first, rest)) => {
                self.tokens = rest;
                Ok(first)
            }
            None => fault(self.end, format!("expected {wanted}, got the end")),
        }
    }

    fn done(&self) -> Result<(), ProtocolError> {
        match self.peek() {
            None => Ok(()),
            Some(token) => fault(token.at, format!("expected the end, got {}", token.shown())),
        }
    }
}

fn tokens(text: &str) -> Result<Vec<Token>, ProtocolError> {
    let chars: Vec<char> = text.chars().collect();
    let at = |i: usize| chars.get(i).copied();
    let mut out = Vec::new();
    let mut i = 0;
    while let Some(c) = at(i) {
        let start = i;
        let kind = match c {
            c if c.is_whitespace() => {
                i += 1;
                continue;
            }
            ',' => {
                i += 1;
                Kind::Comma
            }
            '"' => quoted(&chars, &mut i)?,
            '=' | '!' | '<' | '>' => {
                let double = at(i + 1) == Some('=');
                i += if double { 2 } else { 1 };
                Kind::Sign(match (c, double) {
                    ('=', false) => "=",
                    ('=', true) => "==",
                    ('!', true) => "!=",
                    ('<', false) => "<",
                    ('<', true) => "<=",
                    ('>', false) => ">",
                    ('>', true) => ">=",
                    _ => return fault(start + 1, "expected != here; for text with ! use quotes"),
                })
            }
            _ => {
                let ends = |c: char| c.is_whitespace() || matches!(c, ',' | '"' | '=' | '!' | '<' | '>');
                let word: String = chars.iter().skip(i).take_while(|c| !ends(**c)).collect();
                i += word.chars().count();
                if out.is_empty() { Kind::Text(word) } else { Kind::Word(word) }
            }
        };
        out.push(Token { at: start + 1, kind });
    }
    Ok(out)
}

fn quoted(chars: &[char], i: &mut usize) -> Result<Kind, ProtocolError> {
    let start = *i;
    let mut text = String::new();
    *i += 1;
    loop {
        let c = chars.get(*i).copied();
        *i += 1;
        match c {
            Some('"') => return Ok(Kind::Text(text)),
            Some('\\') => match chars.get(*i).copied() {
                Some(c @ ('"' | '\\')) => {
                    text.push(c);
                    *i += 1;
                }
                _ => return fault(*i, "a backslash in quotes stands before \" or \\"),
            },
            Some(c) => text.push(c),
            None => return fault(start + 1, "the quote is not closed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DownloadRequest, Format, Lookup, Schema};
    use proptest::prelude::*;
    use std::sync::Arc;

    fn columns() -> Vec<Column> {
        vec![
            Column::timestamp("time", 3),
            Column::new("bytes", ColumnType::Int),
            Column::new("price", ColumnType::Decimal),
            Column::new("ratio", ColumnType::Float),
            Column::new("ok", ColumnType::Bool),
            Column::new("user", ColumnType::String),
            Column::new("first name", ColumnType::String),
        ]
    }

    #[test]
    fn texts_become_the_json_of_their_column() {
        for (text, want) in [
            ("price > 100", r#"{"field":"price","op":"gt","value":"100"}"#),
            ("price>=100.50", r#"{"field":"price","op":"gte","value":"100.50"}"#),
            ("bytes = 9007199254740993", r#"{"field":"bytes","op":"eq","value":"9007199254740993"}"#),
            ("bytes==-5", r#"{"field":"bytes","op":"eq","value":"-5"}"#),
            ("bytes between 1 5", r#"{"field":"bytes","op":"between","value":["1","5"]}"#),
            ("bytes between 1 and 5", r#"{"field":"bytes","op":"between","value":["1","5"]}"#),
            ("bytes BETWEEN 1,5", r#"{"field":"bytes","op":"between","value":["1","5"]}"#),
            ("ratio < 1e-3", r#"{"field":"ratio","op":"lt","value":0.001}"#),
            ("ok != true", r#"{"field":"ok","op":"ne","value":true}"#),
            ("user in A,B", r#"{"field":"user","op":"in","value":["A","B"]}"#),
            ("user in \"A,B\"", r#"{"field":"user","op":"in","value":["A,B"]}"#),
            (
                "user contains \"x \\\"y\\\" \\\\\"",
                r#"{"field":"user","op":"contains","value":"x \"y\" \\"}"#,
            ),
            ("user startsWith 김", r#"{"field":"user","op":"startsWith","value":"김"}"#),
            ("user = \"in\"", r#"{"field":"user","op":"eq","value":"in"}"#),
            ("user = \"\"", r#"{"field":"user","op":"eq","value":""}"#),
            ("user exists", r#"{"field":"user","op":"exists","value":true}"#),
            ("user is null", r#"{"field":"user","op":"exists","value":false}"#),
            ("user is not null", r#"{"field":"user","op":"exists","value":true}"#),
            ("user not exists", r#"{"not":{"field":"user","op":"exists","value":true}}"#),
            ("user not in A,B", r#"{"not":{"field":"user","op":"in","value":["A","B"]}}"#),
            ("\"first name\" = Kim", r#"{"field":"first name","op":"eq","value":"Kim"}"#),
            (
                "time >= 2024-03-01T00:00:00+09:00",
                r#"{"field":"time","op":"gte","value":"2024-03-01T00:00:00+09:00"}"#,
            ),
        ] {
            assert_eq!(parse_filter_text(text, &columns()).unwrap().as_json(), want, "{text}");
        }
    }

    #[test]
    fn faults_name_their_place() {
        for (text, at, words) in [
            ("", 1, "got the end"),
            ("nope = 1", 1, "no column \"nope\""),
            ("= 1", 1, "a column name"),
            ("price", 6, "got the end"),
            ("price like 1", 7, "got \"like\""),
            ("price >", 8, "expected a value, got the end"),
            ("price > abc", 9, "a decimal"),
            ("price > 1e5", 9, "a decimal"),
            ("bytes = 1.5", 9, "a whole number"),
            ("ratio = inf", 9, "a number"),
            ("ok = yes", 6, "true or false"),
            ("ok > true", 4, "does not apply"),
            ("bytes contains 1", 7, "does not apply"),
            ("time > yesterday", 8, "a time like"),
            ("user = a b", 6, "one value is expected"),
            ("user in a b", 11, "a comma"),
            ("user in a,", 11, "got the end"),
            ("bytes between 1", 7, "two values"),
            ("user = \"open", 8, "not closed"),
            ("user = \"a\\n\"", 10, "backslash"),
            ("user ! a", 6, "!="),
            ("user is 5", 9, "expected null"),
            ("user exists now", 13, "expected the end"),
            ("user = =", 8, "expected a value"),
        ] {
            match parse_filter_text(text, &columns()) {
                Err(ProtocolError::FilterText { at: got, what }) => {
                    assert_eq!(got, at, "{text}: {what}");
                    assert!(what.contains(words), "{text}: {what}");
                }
                other => panic!("{text}: {other:?}"),
            }
        }
    }

    proptest! {
        /// What this reader accepts, a server accepts too, but for an interval that is upside down.
        #[test]
        fn prop_accepted_texts_resolve(
            name in "time|bytes|price|ratio|ok|user",
            op in " (= |== |!= |< |<= |> |>= |in |between |contains |exists|is null|not in )",
            value in r#"[0-9]{1,3}|true|[a-z]{1,4}|"[^"\\]{0,5}"|2024-03-01T00:00:00Z|1,2|1 2|-?[0-9.e]{1,6}"#,
        ) {
            let text = format!("{name}{op}{value}");
            let Ok(filter) = parse_filter_text(&text, &columns()) else { return Ok(()) };
            let schema = Arc::new(Schema::new(columns(), 0).unwrap());
            let find = |_: Option<&str>| Lookup::Found { name: "d".into(), schema: schema.clone() };
            let (from, to) = (Timestamp::from_millis(0), Timestamp::from_millis(1));
            let request = DownloadRequest::new(from, to, Format::Csv).filter(filter);
            if let Err(e) = request.resolve(&find, &crate::Defaults::default()) {
                prop_assert!(e.message.contains("low bound"), "{text}: {e}");
            }
        }
    }
}
