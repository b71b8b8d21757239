//! Indexed CSV files behind the source trait.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::io::{Read as _, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use arrow_array::{BooleanArray, RecordBatch, RecordBatchOptions};
use arrow_schema::{Field, Schema as ArrowSchema};
use serde::{Deserialize, Serialize};
use spandrel_download_protocol::{Column, ColumnType, Filter, Query, Schema};
use spandrel_export::{Batches, Facts, Plan, Predicate, Read, Rows, Source, SourceError, Unit, time_filter};

use super::index::{Block, Index, index, parse};
use crate::error::{FileError, name_of};
use crate::{DatasetConfig, FileFormat, OpenError, files};

/// CSV files opened as one data set.
pub(crate) struct CsvSource {
    config: DatasetConfig,
    schema: Arc<Schema>,
    state: RwLock<Arc<CsvRows>>,
}

impl fmt::Debug for CsvSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CsvSource").field("name", &self.config.name).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct CsvRows {
    schema: Arc<Schema>,
    files: Vec<Index>,
    facts: Facts,
}

/// What a job record keeps: the bytes that were indexed when it was accepted.
#[derive(Debug, Serialize, Deserialize)]
struct Snapshot {
    files: Vec<SnapshotFile>,
}

#[derive(Debug, Serialize, Deserialize)]
struct SnapshotFile {
    path: PathBuf,
    len: u64,
    sha256: String,
}

impl CsvSource {
    pub(crate) fn open(config: DatasetConfig, paths: &[PathBuf]) -> Result<Self, OpenError> {
        let schema = Arc::new(schema(&config)?);
        let rows = CsvRows::new(&config.name, &schema, paths)?;
        for warning in rows.files.iter().filter_map(Index::warning) {
            tracing::warn!(dataset = config.name, "{warning}");
        }
        Ok(Self { config, schema, state: RwLock::new(Arc::new(rows)) })
    }

    fn current(&self) -> Arc<CsvRows> {
        Arc::clone(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }
}

fn schema(config: &DatasetConfig) -> Result<Schema, OpenError> {
    let wrong = |what: &str| OpenError::Config { dataset: config.name.clone(), what: what.to_owned() };
    let Some(columns) = &config.columns else {
        return Err(wrong(
            "a CSV data set needs \"columns\": the names and types in the order of its header",
        ));
    };
    let precision = |c: &Column| (c.kind == ColumnType::Timestamp).then(|| c.precision.unwrap_or(3));
    let columns: Vec<Column> =
        columns.iter().map(|c| Column { precision: precision(c), ..c.clone() }).collect();
    let time = match &config.time_column {
        Some(name) => columns.iter().position(|c| c.name == *name),
        None => columns.iter().position(|c| c.kind == ColumnType::Timestamp),
    };
    let time =
        time.ok_or_else(|| wrong("no timestamp column: \"timeColumn\" must name one of the columns"))?;
    if let Some(found) = columns.get(time).filter(|c| c.kind != ColumnType::Timestamp) {
        return Err(wrong(&format!(
            "the time column \"{}\" has type {}, not timestamp",
            found.name,
            found.kind.as_str()
        )));
    }
    Schema::new(columns, time).ok_or_else(|| wrong("two columns have the same name"))
}

impl Source for CsvSource {
    fn schema(&self) -> Arc<Schema> {
        Arc::clone(&self.schema)
    }

    fn facts(&self) -> Facts {
        self.current().facts
    }

    fn snapshot(&self) -> String {
        let file = |i: &Index| SnapshotFile { path: i.path.clone(), len: i.len, sha256: i.sha256.clone() };
        let files = self.current().files.iter().map(file).collect();
        serde_json::to_string(&Snapshot { files }).unwrap_or_default()
    }

    fn rows(&self, snapshot: &str) -> Result<Arc<dyn Rows>, SourceError> {
        let changed = |what: String| SourceError::Changed { what };
        let wanted: Snapshot =
            serde_json::from_str(snapshot).map_err(|_| changed("the snapshot is not readable".to_owned()))?;
        let now = self.current();
        let is_now =
            |(i, w): (&Index, &SnapshotFile)| i.path == w.path && i.len == w.len && i.sha256 == w.sha256;
        if now.files.len() == wanted.files.len() && now.files.iter().zip(&wanted.files).all(is_now) {
            return Ok(now);
        }
        let mut files = Vec::with_capacity(wanted.files.len());
        for want in &wanted.files {
            let name = name_of(&want.path);
            // Appended rows come after the snapshot's bytes: those alone are indexed again and must be the same.
            let found =
                index(&want.path, &self.schema, Some(want.len)).map_err(|e| e.of_snapshot(&want.path))?;
            if found.len != want.len || found.sha256 != want.sha256 {
                return Err(changed(format!("{name} differs in the rows that were there")));
            }
            files.push(found);
        }
        Ok(Arc::new(CsvRows::of(&self.schema, files)))
    }

    fn reload(&self) -> Result<(), SourceError> {
        let found = files::find(&self.config.name, &self.config.path, self.config.format);
        let (paths, format) = found.map_err(|e| e.to_source())?;
        if format != FileFormat::Csv {
            return Err(SourceError::Invalid { what: "the files are no longer CSV files".to_owned() });
        }
        let rows = CsvRows::new(&self.config.name, &self.schema, &paths).map_err(|e| e.to_source())?;
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rows);
        Ok(())
    }

    fn warning(&self) -> Option<String> {
        self.current().files.iter().find_map(Index::warning)
    }
}

impl CsvRows {
    fn new(dataset: &str, schema: &Arc<Schema>, paths: &[PathBuf]) -> Result<Self, OpenError> {
        let mut files = Vec::with_capacity(paths.len());
        for path in paths {
            files.push(index(path, schema, None).map_err(|e| e.into_open(dataset, path))?);
        }
        Ok(Self::of(schema, files))
    }

    fn of(schema: &Arc<Schema>, files: Vec<Index>) -> Self {
        let blocks = || files.iter().flat_map(|f| &f.blocks);
        let time = blocks().filter_map(|b| b.time).reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
        let facts = Facts { rows: blocks().map(|b| u64::from(b.rows)).sum(), time };
        Self { schema: Arc::clone(schema), files, facts }
    }

    fn block(&self, id: u64) -> Option<(&Index, &Block)> {
        let mut id = usize::try_from(id).ok()?;
        for file in &self.files {
            match file.blocks.get(id) {
                Some(block) => return Some((file, block)),
                None => id -= file.blocks.len(),
            }
        }
        None
    }

    /// Rows of a block that pass, with the asked columns.
    fn read(
        &self,
        query: &Query,
        columns: &[usize],
        file: &Index,
        block: &Block,
    ) -> Result<RecordBatch, SourceError> {
        let bytes = block_bytes(file, block)?;
        let inside =
            block.time.is_some_and(|(min, max)| query.from <= min && max < query.to) && !block.has_null_times;
        let mut filters: Vec<Filter> =
            if inside { Vec::new() } else { vec![time_filter(query, &self.schema)] };
        filters.extend(query.filters.iter().cloned());
        let predicate = (!filters.is_empty()).then(|| Predicate::new(Filter::And(filters), &self.schema));
        let tested: &[usize] = predicate.as_ref().map_or(&[], |p| p.columns());
        let wanted: Vec<usize> =
            columns.iter().chain(tested).copied().collect::<BTreeSet<_>>().into_iter().collect();
        let arrays = parse(&bytes, &self.schema, &wanted, 1).map_err(|e| e.of_snapshot(&file.path))?;
        let pick = |columns: &[usize]| {
            let at = |c: &usize| wanted.iter().position(|w| w == c).and_then(|at| arrays.get(at)).cloned();
            let arrays: Vec<_> = columns.iter().filter_map(at).collect();
            let field = |(c, a): (&usize, &arrow_array::ArrayRef)| {
                Field::new(
                    self.schema.column(*c).map_or("", |c| c.name.as_str()),
                    a.data_type().clone(),
                    true,
                )
            };
            let fields: Vec<Field> = columns.iter().zip(&arrays).map(field).collect();
            let options = RecordBatchOptions::new().with_row_count(Some(block.rows as usize));
            RecordBatch::try_new_with_options(Arc::new(ArrowSchema::new(fields)), arrays, &options)
        };
        let unreadable = |e: &dyn fmt::Display| SourceError::Unreadable { what: e.to_string() };
        let batch = pick(columns).map_err(|e| unreadable(&e))?;
        let Some(predicate) = predicate else { return Ok(batch) };
        let tested = pick(predicate.columns()).map_err(|e| unreadable(&e))?;
        let bits = predicate.evaluate(&tested).map_err(|e| unreadable(&e))?;
        arrow_select::filter::filter_record_batch(&batch, &BooleanArray::new(bits, None))
            .map_err(|e| unreadable(&e))
    }
}

/// The block's bytes, checked against the index: a file that was changed under us is noticed before a row of it is used.
fn block_bytes(file: &Index, block: &Block) -> Result<Vec<u8>, SourceError> {
    let changed = |what: &str| SourceError::Changed { what: format!("{} {what}", file.name) };
    let mut bytes = vec![0; block.len];
    let mut open = || {
        let mut input = File::open(&file.path)?;
        input.seek(SeekFrom::Start(block.offset))?;
        input.read_exact(&mut bytes)
    };
    open().map_err(|e| FileError::Io(e).of_snapshot(&file.path))?;
    if spandrel_export::crc32(&bytes) != block.crc {
        return Err(changed("differs from its index"));
    }
    Ok(bytes)
}

/// Boundary blocks are read to count rows exactly up to this many rows; beyond it the count runs beside the export.
const COUNT_ROWS_MAX: u64 = 1_000_000;

impl Rows for CsvRows {
    fn schema(&self) -> Arc<Schema> {
        Arc::clone(&self.schema)
    }

    fn plan(&self, query: &Query) -> Result<Plan, SourceError> {
        let mut plan = Plan::default();
        let (mut exact, mut doubtful) = (Some(0_u64), 0_u64);
        for (id, (file, block)) in
            self.files.iter().flat_map(|f| f.blocks.iter().map(move |b| (f, b))).enumerate()
        {
            let rows = u64::from(block.rows);
            let Some((min, max)) = block.time else { continue };
            if max < query.from || query.to <= min {
                continue;
            }
            let inside = query.from <= min && max < query.to && !block.has_null_times;
            if query.filters.is_empty() {
                doubtful += if inside { 0 } else { rows };
                exact = match exact {
                    Some(before) if inside => Some(before + rows),
                    Some(before) if doubtful <= COUNT_ROWS_MAX => {
                        Some(before + self.read(query, &[], file, block)?.num_rows() as u64)
                    }
                    _ => None,
                };
            }
            plan.units.push(Unit { id: id as u64, rows, time: block.time, order: block.order });
        }
        plan.rows_exact = if query.filters.is_empty() || plan.units.is_empty() { exact } else { None };
        Ok(plan)
    }

    fn open(&self, read: &Read<'_>, unit: &Unit) -> Result<Box<dyn Batches>, SourceError> {
        let (file, block) =
            self.block(unit.id).ok_or_else(|| SourceError::Unreadable { what: "no such unit".to_owned() })?;
        let batch = self.read(read.query, read.columns, file, block)?;
        Ok(Box::new(BlockReader {
            batch,
            at: 0,
            batch_rows: read.batch_rows.max(1),
            scanned: u64::from(block.rows),
        }))
    }
}

/// Rows of one block in slices.
struct BlockReader {
    batch: RecordBatch,
    at: usize,
    batch_rows: usize,
    scanned: u64,
}

impl Batches for BlockReader {
    fn next(&mut self) -> Option<Result<RecordBatch, SourceError>> {
        let len = (self.batch.num_rows() - self.at).min(self.batch_rows);
        let slice = (len > 0).then(|| self.batch.slice(self.at, len))?;
        self.at += len;
        Some(Ok(slice))
    }

    fn scanned(&self) -> u64 {
        self.scanned
    }
}
