//! The first rows of an export as cells: an NDJSON export of a few rows, read back.

use std::io;

use spandrel_download_protocol::Column;

use crate::run::{Checkpoint, ExportError, Part, Preview, Sink};

/// Collects the text of a small export.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    text: Vec<u8>,
}

impl Sink for Lines {
    fn begin(&mut self, _: u32) -> io::Result<()> {
        Ok(())
    }
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.text.extend_from_slice(bytes);
        Ok(())
    }
    fn end(&mut self, _: &Part) -> io::Result<()> {
        Ok(())
    }
    fn checkpoint(&mut self, _: &Checkpoint) -> io::Result<()> {
        Ok(())
    }
    fn restart(&mut self) -> io::Result<()> {
        self.text.clear();
        Ok(())
    }
}

/// Every line as its cells in column order.
pub(crate) fn cells(columns: &[Column], lines: Lines) -> Result<Preview, ExportError> {
    let mut rows = Vec::new();
    for line in lines.text.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
        let row: std::collections::BTreeMap<String, Box<serde_json::value::RawValue>> =
            serde_json::from_slice(line).map_err(|_| ExportError::Worker)?;
        let cell = |column: &Column| {
            let raw = row.get(&column.name)?.get();
            match raw.as_bytes().first() {
                Some(b'n') => None,
                Some(b'"') => serde_json::from_str(raw).ok(),
                _ => Some(raw.to_owned()),
            }
        };
        rows.push(columns.iter().map(cell).collect());
    }
    Ok(Preview { rows })
}
