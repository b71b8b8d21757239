//! The index of a CSV file: blocks of a few thousand rows with their times, and a digest of what was indexed.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use arrow_array::ArrayRef;
use sha2::{Digest, Sha256};
use spandrel_download_protocol::{Schema, Timestamp};
use spandrel_export::{Order, time_extent};

use super::record::{Field, read, record_len};
use super::values::Builder;

/// Rows in a block, at most.
const BLOCK_ROWS: u32 = 4_096;
/// Bytes in a block before it is closed.
const BLOCK_BYTES: usize = 512 << 10;
/// Longest record. A quote that never closes would otherwise pull the whole file into memory.
const RECORD_BYTES_MAX: usize = 16 << 20;

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
    /// Whether bytes follow that are not a whole record yet.
    pub(crate) has_tail: bool,
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
pub(crate) fn index(path: &Path, schema: &Schema, limit: Option<u64>) -> Result<Index, String> {
    let file = File::open(path).map_err(|e| e.to_string())?;
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
    let tail = indexer.buffer.len();
    Ok(Index {
        path: path.to_owned(),
        name: path.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned()),
        len: indexer.offset,
        sha256: indexer.digest.finalize().iter().map(|b| format!("{b:02x}")).collect(),
        blocks,
        has_tail: tail > 0,
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
    fn fill(&mut self) -> Result<bool, String> {
        let before = self.buffer.len();
        (&mut self.input).take(1 << 20).read_to_end(&mut self.buffer).map_err(|e| e.to_string())?;
        Ok(self.buffer.len() > before)
    }

    fn header(&mut self) -> Result<(), String> {
        let len = loop {
            match record_len(&self.buffer) {
                Some(len) => break len,
                None if self.buffer.len() < RECORD_BYTES_MAX && self.fill()? => {}
                None => {
                    return Err("line 1: expected a header row with the configured column names".to_owned());
                }
            }
        };
        let names: Vec<&str> = self.schema.columns().iter().map(|c| c.name.as_str()).collect();
        let bytes = self.buffer.get(..len).unwrap_or_default();
        let line = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
        let mut fields = Vec::new();
        read(line, &mut fields).map_err(|e| format!("line 1: {e}"))?;
        let found: Vec<String> =
            fields.iter().map(|f| String::from_utf8_lossy(&f.text).into_owned()).collect();
        if found != names {
            return Err(format!(
                "line 1: expected the header {}, found {}",
                names.join(","),
                found.join(",")
            ));
        }
        self.take(len);
        Ok(())
    }

    fn block(&mut self) -> Result<Option<Block>, String> {
        let (mut len, mut rows) = (0, 0);
        while rows < BLOCK_ROWS && len < BLOCK_BYTES {
            match record_len(self.buffer.get(len..).unwrap_or_default()) {
                Some(record) => {
                    len += record;
                    rows += 1;
                }
                None if self.buffer.len() - len > RECORD_BYTES_MAX => {
                    return Err(format!(
                        "line {}: a record of more than {RECORD_BYTES_MAX} bytes: is a quote left open?",
                        self.line
                    ));
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
        let extent = time.map(time_extent).transpose().map_err(|e| e.to_string())?;
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

    fn take(&mut self, len: usize) {
        let bytes = self.buffer.get(..len).unwrap_or_default();
        self.digest.update(bytes);
        self.line += memchr::memchr_iter(b'\n', bytes).count() as u64;
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
) -> Result<Vec<ArrayRef>, String> {
    let columns = schema.columns();
    let mut builders: Vec<(usize, Builder)> = wanted
        .iter()
        .filter_map(|c| schema.column(*c).map(|column| (*c, Builder::new(column.kind))))
        .collect();
    let mut fields: Vec<Field<'_>> = Vec::with_capacity(columns.len());
    let (mut rest, mut line) = (bytes, first_line);
    while !rest.is_empty() {
        let len = read(rest, &mut fields).map_err(|e| format!("line {line}: {e}"))?;
        if fields.len() != columns.len() {
            return Err(format!("line {line}: expected {} columns, found {}", columns.len(), fields.len()));
        }
        for (column, builder) in &mut builders {
            let Some(field) = fields.get(*column) else { continue };
            if let Err(expected) = builder.push(field) {
                let name = columns.get(*column).map_or("", |c| c.name.as_str());
                let found: String = String::from_utf8_lossy(&field.text).chars().take(40).collect();
                return Err(format!(
                    "line {line}, column \"{name}\": expected {expected}, found \"{found}\""
                ));
            }
        }
        let (record, after) = rest.split_at(len);
        line += memchr::memchr_iter(b'\n', record).count() as u64;
        rest = after;
    }
    Ok(builders.into_iter().map(|(_, b)| b.finish()).collect())
}
