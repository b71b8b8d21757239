//! Quoting of text: RFC 4180 fields and JSON strings.

use spandrel_download_protocol::CsvOptions;

/// How a text value is written.
#[derive(Debug, Clone)]
pub(crate) enum Escape {
    /// A JSON string with its quotes.
    Json,
    /// A CSV field for this delimiter, with the formula guard or without.
    Csv { delimiter: u8, guard: bool },
}

impl Escape {
    pub(crate) fn csv(options: &CsvOptions) -> Self {
        Self::Csv { delimiter: options.delimiter, guard: options.formula_guard }
    }

    /// Appends `text` as a field or string.
    pub(crate) fn write(&self, text: &str, out: &mut Vec<u8>) {
        match self {
            Self::Json => json(text, out),
            Self::Csv { delimiter, guard } => csv(text, *delimiter, *guard, out),
        }
    }

    /// Whether `text` is written as it is (JSON: between quotes).
    #[inline]
    pub(crate) fn is_plain(&self, text: &str) -> bool {
        match self {
            Self::Json => !text.bytes().any(|b| b < 0x20 || b == b'"' || b == b'\\'),
            Self::Csv { delimiter, guard } => is_plain_csv(text, *delimiter) && !(*guard && is_formula(text)),
        }
    }
}

#[inline]
fn is_plain_csv(text: &str, delimiter: u8) -> bool {
    let edge = |b: Option<&u8>| b.is_none_or(|b| matches!(b, b' ' | b'\t'));
    let bytes = text.as_bytes();
    !edge(bytes.first())
        && !edge(bytes.last())
        && !bytes.iter().any(|b| *b == delimiter || matches!(b, b'"' | b'\r' | b'\n'))
}

/// Text that a spreadsheet would run (protocol section 7).
fn is_formula(text: &str) -> bool {
    text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}'])
}

fn csv(text: &str, delimiter: u8, guard: bool, out: &mut Vec<u8>) {
    let guarded = guard && is_formula(text);
    if !guarded && is_plain_csv(text, delimiter) {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    out.push(b'"');
    if guarded {
        out.push(b'\'');
    }
    for (i, piece) in text.split('"').enumerate() {
        if i > 0 {
            out.extend_from_slice(b"\"\"");
        }
        out.extend_from_slice(piece.as_bytes());
    }
    out.push(b'"');
}

fn json(text: &str, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    for &b in text.as_bytes() {
        let short = match b {
            b'"' => b'"',
            b'\\' => b'\\',
            0x08 => b'b',
            0x0c => b'f',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0..0x20 => {
                let low = HEX.get(usize::from(b & 15)).copied().unwrap_or(b'0');
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', b'0' + (b >> 4), low]);
                continue;
            }
            _ => {
                out.push(b);
                continue;
            }
        };
        out.extend_from_slice(&[b'\\', short]);
    }
    out.push(b'"');
}
