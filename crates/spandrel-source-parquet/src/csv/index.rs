//! The index of a CSV file: blocks of a few thousand rows with their times, and a digest of what was indexed.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use arrow_array::ArrayRef;
use sha2::{Digest, Sha256};
use spandrel_download_protocol::{Schema, Timestamp};
use spandrel_export::{Order, time_extent};

use super::record::{Field, RecordError, read, record_len};
use super::values::Builder;
use crate::error::{FileError, name_of};

/// Rows in a block, at most.
const BLOCK_ROWS: u32 = 4_096;
/// Bytes in a block before it is closed.
const BLOCK_BYTES: usize = 512 << 10;
/// Longest record. A quote that never closes would otherwise pull the whole file into memory.
const RECORD_BYTES_MAX: usize = 16 << 20;

/// Characters of a cell shown in a message.
const FOUND_CHARS_MAX: usize = 40;

/// One indexed file.
#[derive(Debug, Clone)]
pub(crate) struct Index {
    pub(crate) path: PathBuf,
    pub(crate) name: String,
    /// Bytes indexed from the start; a record still being written is not among them.
    pub(crate) len: u64,
    /// SHA-256 of those bytes, lower-case hex.
    pub(crate) sha256: String,
    pub(crate) blocks: Vec<Block>,
    /// What follows and is not a whole record yet.
    pub(crate) tail: Option<Tail>,
}

/// A record still being written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tail {
    /// Line it begins at, from 1.
    pub(crate) line: u64,
    /// It goes over line ends: a quote is open, perhaps by mistake.
    pub(crate) is_quote_open: bool,
}

impl Index {
    /// What the operator should know about it, if anything.
    pub(crate) fn warning(&self) -> Option<String> {
        let tail = self.tail?;
        let (name, line) = (&self.name, tail.line);
        Some(if tail.is_quote_open {
            format!("{name}: the quote opened on line {line} is not closed: nothing after it is served")
        } else {
            format!("{name}: the last record, line {line}, has no line end yet and is not served")
        })
    }
}

/// Consecutive rows.
#[derive(Debug, Clone)]
pub(crate) struct Block {
    pub(crate) offset: u64,
    pub(crate) len: usize,
    pub(crate) crc: u32,
    pub(crate) rows: u32,
    pub(crate) time: Option<(Timestamp, Timestamp)>,
    pub(crate) has_null_times: bool,
    pub(crate) order: Order,
}

/// Reads a file up to `limit` bytes and checks every cell. The error names line and column.
pub(crate) fn index(path: &Path, schema: &Schema, limit: Option<u64>) -> Result<Index, FileError> {
    let file = File::open(path)?;
    let mut indexer = Indexer {
        input: file.take(limit.unwrap_or(u64::MAX)),
        digest: Sha256::new(),
        buffer: Vec::new(),
        offset: 0,
        line: 1,
        schema,
    };
    indexer.header()?;
    let mut blocks = Vec::new();
    while let Some(block) = indexer.block()? {
        blocks.push(block);
    }
    let tail = indexer.tail()?;
    Ok(Index {
        path: path.to_owned(),
        name: name_of(path),
        len: indexer.offset,
        sha256: indexer.digest.finalize().iter().map(|b| format!("{b:02x}")).collect(),
        blocks,
        tail,
    })
}

struct Indexer<'a> {
    input: std::io::Take<File>,
    digest: Sha256,
    /// Bytes read and not indexed yet.
    buffer: Vec<u8>,
    offset: u64,
    line: u64,
    schema: &'a Schema,
}

impl Indexer<'_> {
    /// Reads on; `false` at the end of the file.
    fn fill(&mut self) -> Result<bool, FileError> {
        let before = self.buffer.len();
        (&mut self.input).take(1 << 20).read_to_end(&mut self.buffer)?;
        Ok(self.buffer.len() > before)
    }

    fn header(&mut self) -> Result<(), FileError> {
        let len = loop {
            match record_len(&self.buffer) {
                Some(len) => break len,
                None if self.buffer.len() < RECORD_BYTES_MAX && self.fill()? => {}
                None => {
                    let what = "line 1: expected a header row with the configured column names";
                    return Err(FileError::invalid(what));
                }
            }
        };
        let names: Vec<&str> = self.schema.columns().iter().map(|c| c.name.as_str()).collect();
        let bytes = self.buffer.get(..len).unwrap_or_default();
        let line = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
        let mut fields = Vec::new();
        read(line, &mut fields).map_err(|e| FileError::invalid(format_args!("line 1: {e}")))?;
        let found: Vec<String> =
            fields.iter().map(|f| String::from_utf8_lossy(&f.text).into_owned()).collect();
        if found != names {
            let shown: String = found.join(",").chars().take(FOUND_CHARS_MAX).collect();
            let what = format!("line 1: expected the header {}", names.join(","));
            return Err(FileError::Invalid { what, found: Some(shown) });
        }
        self.take(len);
        Ok(())
    }

    fn block(&mut self) -> Result<Option<Block>, FileError> {
        let (mut len, mut rows) = (0, 0);
        while rows < BLOCK_ROWS && len < BLOCK_BYTES {
            match record_len(self.buffer.get(len..).unwrap_or_default()) {
                Some(record) => {
                    len += record;
                    rows += 1;
                }
                None if self.buffer.len() - len > RECORD_BYTES_MAX => {
                    let line = self.line_after(len);
                    return Err(FileError::invalid(format_args!(
                        "line {line}: a record of more than {RECORD_BYTES_MAX} bytes: is a quote left open?"
                    )));
                }
                None if self.fill()? => {}
                None => break,
            }
        }
        if rows == 0 {
            return Ok(None);
        }
        let offset = self.offset;
        let bytes = self.buffer.get(..len).unwrap_or_default();
        let wanted: Vec<usize> = (0..self.schema.columns().len()).collect();
        let arrays = parse(bytes, self.schema, &wanted, self.line)?;
        let time = arrays.get(self.schema.time_index());
        let extent = time.map(time_extent).transpose().map_err(FileError::invalid)?;
        let (extent, ordered) = extent.unwrap_or((None, true));
        let block = Block {
            offset,
            len,
            crc: spandrel_export::crc32(bytes),
            rows,
            time: extent,
            has_null_times: time.is_some_and(|t| t.null_count() > 0),
            order: if ordered { Order::Ordered } else { Order::Unordered },
        };
        self.take(len);
        Ok(Some(block))
    }

    /// What is left at the end of the file. A quote out of place is an error, not a record still being written: all
    /// that follows it would be missing.
    fn tail(&self) -> Result<Option<Tail>, FileError> {
        if self.buffer.is_empty() {
            return Ok(None);
        }
        let line = self.line;
        match read(&self.buffer, &mut Vec::new()) {
            Ok(_) | Err(RecordError::Unfinished) => {
                Ok(Some(Tail { line, is_quote_open: memchr::memchr(b'\n', &self.buffer).is_some() }))
            }
            Err(e) => Err(FileError::invalid(format_args!("line {line}: {e}"))),
        }
    }

    fn line_after(&self, len: usize) -> u64 {
        let before = self.buffer.get(..len).unwrap_or_default();
        self.line + memchr::memchr_iter(b'\n', before).count() as u64
    }

    fn take(&mut self, len: usize) {
        self.line = self.line_after(len);
        let bytes = self.buffer.get(..len).unwrap_or_default();
        self.digest.update(bytes);
        self.offset += len as u64;
        self.buffer.drain(..len);
    }
}

/// Arrays of the wanted columns (schema indexes) of whole records.
pub(crate) fn parse(
    bytes: &[u8],
    schema: &Schema,
    wanted: &[usize],
    first_line: u64,
) -> Result<Vec<ArrayRef>, FileError> {
    let columns = schema.columns();
    let mut builders: Vec<(usize, Builder)> = wanted
        .iter()
        .filter_map(|c| schema.column(*c).map(|column| (*c, Builder::new(column.kind))))
        .collect();
    let mut fields: Vec<Field<'_>> = Vec::with_capacity(columns.len());
    let (mut rest, mut line) = (bytes, first_line);
    while !rest.is_empty() {
        let len =
            read(rest, &mut fields).map_err(|e| FileError::invalid(format_args!("line {line}: {e}")))?;
        if fields.len() != columns.len() {
            let (want, found) = (columns.len(), fields.len());
            return Err(FileError::invalid(format_args!(
                "line {line}: expected {want} columns, found {found}"
            )));
        }
        for (column, builder) in &mut builders {
            let Some(field) = fields.get(*column) else { continue };
            if let Err(expected) = builder.push(field) {
                let name = columns.get(*column).map_or("", |c| c.name.as_str());
                let found = String::from_utf8_lossy(&field.text).chars().take(FOUND_CHARS_MAX).collect();
                let what = format!("line {line}, column \"{name}\": expected {expected}");
                return Err(FileError::Invalid { what, found: Some(found) });
            }
        }
        let (record, after) = rest.split_at(len);
        line += memchr::memchr_iter(b'\n', record).count() as u64;
        rest = after;
    }
    Ok(builders.into_iter().map(|(_, b)| b.finish()).collect())
}
