//! Words of the command line that `get` and `export` share.

use clap::ValueEnum;
use spandrel_download_protocol::Format;

/// Output formats by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FormatName {
    /// RFC 4180
    Csv,
    /// One array of objects
    Json,
    /// One object a line
    Ndjson,
}

impl From<FormatName> for Format {
    fn from(name: FormatName) -> Self {
        match name {
            FormatName::Csv => Self::Csv,
            FormatName::Json => Self::Json,
            FormatName::Ndjson => Self::Ndjson,
        }
    }
}

/// A CSV delimiter; a tab is hard to type, so it has a name.
pub(crate) fn delimiter(text: &str) -> Result<char, String> {
    match text {
        "," => Ok(','),
        ";" => Ok(';'),
        "|" => Ok('|'),
        "\t" | "\\t" | "tab" => Ok('\t'),
        _ => Err("expected , ; | or tab".to_owned()),
    }
}
