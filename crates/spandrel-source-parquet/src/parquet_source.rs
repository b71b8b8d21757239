//! Parquet files as a row source: one unit a row group.

use std::fmt;
use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use arrow_array::{ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow_schema::{ArrowError, Field, Schema as ArrowSchema};
use parquet::arrow::arrow_reader::{
    ArrowPredicate, ArrowPredicateFn, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder, RowFilter,
};
use serde::{Deserialize, Serialize};
use spandrel_download_protocol::{Column, ColumnType, Filter, Query, Schema, Timestamp, Value};
use spandrel_export::{
    Batches, Facts, Order, Plan, Predicate, Read, Rows, Source, SourceError, Unit, may_match, time_extent,
    time_filter,
};

use crate::error::{FileError, careful};
use crate::table::{FileColumn, Table};
use crate::types::{Dates, Reading, reading};
use crate::{DatasetConfig, FileFormat, OpenError, files};

/// Parquet files opened as one data set.
pub(crate) struct ParquetSource {
    config: DatasetConfig,
    schema: Arc<Schema>,
    state: RwLock<Arc<ParquetRows>>,
}

impl fmt::Debug for ParquetSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParquetSource").field("name", &self.config.name).finish_non_exhaustive()
    }
}

/// The files of one moment.
#[derive(Debug)]
struct ParquetRows {
    schema: Arc<Schema>,
    tables: Vec<Table>,
    groups: Vec<Group>,
    facts: Facts,
}

/// One row group of one file.
#[derive(Debug, Clone)]
struct Group {
    table: usize,
    group: usize,
    rows: u64,
    time: Option<(Timestamp, Timestamp)>,
    /// Whether rows without a time are known to be absent.
    has_null_times: bool,
    order: Order,
}

/// What a job record keeps of the files.
#[derive(Debug, Serialize, Deserialize)]
struct Snapshot {
    files: Vec<SnapshotFile>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct SnapshotFile {
    path: PathBuf,
    len: u64,
    sha256: String,
}

impl ParquetSource {
    pub(crate) fn open(config: DatasetConfig, paths: Vec<PathBuf>) -> Result<Self, OpenError> {
        let (schema, tables) = load(&config, &paths)?;
        let schema = Arc::new(schema);
        let rows = ParquetRows::new(Arc::clone(&schema), tables, config.scan)
            .map_err(|e| OpenError::Config { dataset: config.name.clone(), what: e.to_string() })?;
        Ok(Self { config, schema, state: RwLock::new(Arc::new(rows)) })
    }

    fn current(&self) -> Arc<ParquetRows> {
        Arc::clone(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Reads every footer and agrees on the columns.
fn load(config: &DatasetConfig, paths: &[PathBuf]) -> Result<(Schema, Vec<Table>), OpenError> {
    let mut tables = Vec::with_capacity(paths.len());
    for path in paths {
        tables.push(Table::open(path).map_err(|e| e.into_open(&config.name, path))?);
    }
    let Some(first) = tables.first() else {
        return Err(OpenError::Config {
            dataset: config.name.clone(),
            what: "there are no files".to_owned(),
        });
    };
    let schema = agree(config, &first.name, &offered_columns(config, first))?;
    for table in &mut tables {
        let columns = bind(config, table, &schema);
        table.columns =
            columns.map_err(|what| FileError::invalid(what).into_open(&config.name, &table.path))?;
    }
    Ok((schema, tables))
}

/// Columns of the file that have a logical type, dates as text unless they are wanted as instants.
fn offered_columns(config: &DatasetConfig, table: &Table) -> Vec<Column> {
    let mut columns = Vec::new();
    for field in table.arrow.fields() {
        let wanted = wanted_dates(config, field.name());
        match reading(field.data_type(), wanted, config.assume_zone) {
            Some(r) => {
                columns.push(Column { name: field.name().clone(), kind: r.kind, precision: r.precision })
            }
            None => {
                tracing::warn!(dataset = config.name, column = field.name(), found = %field.data_type(), "column left out: its type is not offered")
            }
        }
    }
    columns
}

fn wanted_dates(config: &DatasetConfig, name: &str) -> Dates {
    let is_time = config.time_column.as_deref() == Some(name);
    let listed = config.columns.iter().flatten().any(|c| c.name == name && c.kind == ColumnType::Timestamp);
    if is_time || listed { Dates::Instants } else { Dates::Text }
}

/// The data set's schema: configured columns, or all offered ones.
fn agree(config: &DatasetConfig, file: &str, offered: &[Column]) -> Result<Schema, OpenError> {
    let wrong = |what| OpenError::Config { dataset: config.name.clone(), what };
    let columns = match &config.columns {
        None => offered.to_vec(),
        Some(wanted) => {
            let mut columns = Vec::with_capacity(wanted.len());
            for column in wanted {
                let Some(found) = offered.iter().find(|c| c.name == column.name) else {
                    return Err(wrong(format!(
                        "{file} has no column \"{}\" of a type that can be offered",
                        column.name
                    )));
                };
                if found.kind != column.kind {
                    let (name, want, have) = (&column.name, column.kind.as_str(), found.kind.as_str());
                    return Err(wrong(format!(
                        "{file}: column \"{name}\" is configured as {want} but the file holds {have}"
                    )));
                }
                columns.push(Column { precision: column.precision.or(found.precision), ..column.clone() });
            }
            columns
        }
    };
    let time = match &config.time_column {
        Some(name) => columns.iter().position(|c| c.name == *name),
        None => columns.iter().position(|c| c.kind == ColumnType::Timestamp),
    };
    let Some(time) = time else {
        return Err(wrong(match &config.time_column {
            Some(name) => format!("the time column \"{name}\" is not among the columns of {file}"),
            None => format!("{file} has no timestamp column: name one with \"timeColumn\""),
        }));
    };
    if let Some(found) = columns.get(time).filter(|c| c.kind != ColumnType::Timestamp) {
        return Err(wrong(format!(
            "the time column \"{}\" of {file} has type {}, not timestamp",
            found.name,
            found.kind.as_str()
        )));
    }
    Schema::new(columns, time).ok_or_else(|| wrong(format!("{file}: two columns have the same name")))
}

/// Where each column of the schema stands in this file.
fn bind(config: &DatasetConfig, table: &Table, schema: &Schema) -> Result<Vec<FileColumn>, String> {
    let mut columns = Vec::new();
    for column in schema.columns() {
        let Some((root, field)) = table.arrow.fields().find(&column.name) else {
            return Err(format!("column \"{}\" is missing", column.name));
        };
        let found = reading(field.data_type(), wanted_dates(config, &column.name), config.assume_zone)
            .filter(|r| r.kind == column.kind);
        let Some(found) = found else {
            return Err(format!(
                "column \"{}\" has type {}, not one of {}",
                column.name,
                field.data_type(),
                column.kind.as_str()
            ));
        };
        // Digits would be cut off in silence.
        let listed = config.columns.iter().flatten().find(|c| c.name == column.name);
        if found.precision != column.precision && listed.is_none_or(|c| c.precision.is_none()) {
            return Err(format!(
                "column \"{}\" has {} fraction digits, in the first file {}: set its \"precision\" in \"columns\"",
                column.name,
                found.precision.unwrap_or(0),
                column.precision.unwrap_or(0)
            ));
        }
        let Some(leaf) = table.leaf_of_root(root) else {
            return Err(format!("column \"{}\" has no data", column.name));
        };
        columns.push(FileColumn { root, leaf, name: column.name.clone(), reading: found });
    }
    Ok(columns)
}

impl Source for ParquetSource {
    fn schema(&self) -> Arc<Schema> {
        Arc::clone(&self.schema)
    }

    fn facts(&self) -> Facts {
        self.current().facts
    }

    fn snapshot(&self) -> String {
        let rows = self.current();
        let files = rows.tables.iter().map(SnapshotFile::of).collect();
        serde_json::to_string(&Snapshot { files }).unwrap_or_default()
    }

    fn rows(&self, snapshot: &str) -> Result<Arc<dyn Rows>, SourceError> {
        careful(|| self.frozen(snapshot))
    }

    fn reload(&self) -> Result<(), SourceError> {
        careful(|| self.look_again())
    }
}

impl ParquetSource {
    fn frozen(&self, snapshot: &str) -> Result<Arc<dyn Rows>, SourceError> {
        let changed = |what: &str| SourceError::Changed { what: what.to_owned() };
        let wanted: Snapshot =
            serde_json::from_str(snapshot).map_err(|_| changed("the snapshot is not readable"))?;
        let now = self.current();
        let is_same = |(table, file): (&Table, &SnapshotFile)| SnapshotFile::of(table) == *file;
        if now.tables.len() == wanted.files.len() && now.tables.iter().zip(&wanted.files).all(is_same) {
            return Ok(now);
        }
        // Files came or went since: open those of the snapshot, if they are still the same.
        let paths: Vec<PathBuf> = wanted.files.iter().map(|f| f.path.clone()).collect();
        for path in &paths {
            Table::open(path).map_err(|e| e.of_snapshot(path))?;
        }
        let (schema, tables) =
            load(&self.config, &paths).map_err(|_| changed("a file holds other columns"))?;
        if schema != *self.schema {
            return Err(changed("its columns differ"));
        }
        if let Some((table, _)) =
            tables.iter().zip(&wanted.files).find(|(table, file)| SnapshotFile::of(table) != **file)
        {
            return Err(changed(&format!("{} is not the file it was", table.name)));
        }
        ParquetRows::new(Arc::clone(&self.schema), tables, self.config.scan)
            .map(|rows| Arc::new(rows) as Arc<dyn Rows>)
    }

    fn look_again(&self) -> Result<(), SourceError> {
        let found = files::find(&self.config.name, &self.config.path, self.config.format);
        let (paths, format) = found.map_err(|e| e.to_source())?;
        if format != FileFormat::Parquet {
            return Err(SourceError::Invalid { what: "the files are no longer Parquet files".to_owned() });
        }
        let (schema, tables) = load(&self.config, &paths).map_err(|e| e.to_source())?;
        if schema != *self.schema {
            return Err(SourceError::Invalid {
                what: "the columns of the files changed; restart to take them".to_owned(),
            });
        }
        let rows = ParquetRows::new(Arc::clone(&self.schema), tables, self.config.scan)?;
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rows);
        Ok(())
    }
}

impl SnapshotFile {
    fn of(table: &Table) -> Self {
        Self { path: table.path.clone(), len: table.len, sha256: table.footer.clone() }
    }
}

impl ParquetRows {
    /// Lists the row groups; `scan` looks at every time to know order and extent exactly.
    fn new(schema: Arc<Schema>, tables: Vec<Table>, scan: bool) -> Result<Self, SourceError> {
        let time = schema.time_index();
        let mut rows = Self { schema, tables, groups: Vec::new(), facts: Facts::default() };
        let mut groups = Vec::new();
        for (t, table) in rows.tables.iter().enumerate() {
            for group in 0..table.metadata.num_row_groups() {
                let bounds = table.bounds(group, time).unwrap_or_default();
                let extent = match (bounds.min, bounds.max) {
                    (Some(Value::Timestamp(min)), Some(Value::Timestamp(max))) => Some((min, max)),
                    _ => None,
                };
                groups.push(Group {
                    table: t,
                    group,
                    rows: table.group_rows(group),
                    time: extent,
                    has_null_times: bounds.has_nulls != Some(false),
                    order: Order::Unknown,
                });
            }
        }
        if scan {
            for group in &mut groups {
                rows.look_at_times(group)?;
            }
        }
        let extents = groups.iter().filter_map(|g| g.time);
        let time = extents.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
        rows.facts = Facts { rows: groups.iter().map(|g| g.rows).sum(), time };
        rows.groups = groups;
        Ok(rows)
    }

    /// Reads the time column of a group: exact extent, nulls, order.
    fn look_at_times(&self, group: &mut Group) -> Result<(), SourceError> {
        let time = self.schema.time_index();
        let mut reader = self.reader(group, &[time], 65_536, Vec::new(), None)?;
        let (mut extent, mut ordered, mut nulls) = (None::<(Timestamp, Timestamp)>, true, false);
        while let Some(batch) = reader.next() {
            let batch = batch?;
            let Some(array) = batch.columns().first() else { continue };
            nulls |= array.null_count() > 0;
            let (found, sorted) =
                time_extent(array).map_err(|e| SourceError::Invalid { what: e.to_string() })?;
            let Some((min, max)) = found else { continue };
            ordered &= sorted && extent.is_none_or(|(_, before)| before <= min);
            extent = Some(extent.map_or((min, max), |(a, b)| (a.min(min), b.max(max))));
        }
        group.time = extent;
        group.has_null_times = nulls;
        group.order = if ordered { Order::Ordered } else { Order::Unordered };
        Ok(())
    }

    fn reader(
        &self,
        group: &Group,
        columns: &[usize],
        batch_rows: usize,
        filters: Vec<Filter>,
        pages: Option<&[Filter]>,
    ) -> Result<GroupReader, SourceError> {
        let table = self.tables.get(group.table).ok_or_else(|| unreadable("no such file"))?;
        let file = File::open(&table.path).map_err(|e| FileError::Io(e).of_snapshot(&table.path))?;
        if !table.is_unchanged(&file) {
            return Err(SourceError::Changed { what: format!("{} is not the file it was", table.name) });
        }
        let metadata = table.reader_metadata(group.group).map_err(unreadable)?;
        let batch_rows = batch_rows.min(table.batch_rows_max(group.group, columns));
        let mut builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata)
            .with_row_groups(vec![group.group])
            .with_projection(table.mask(columns))
            .with_batch_size(batch_rows)
            .with_max_predicate_cache_size(PREDICATE_CACHE_BYTES);
        let mut looked_at = group.rows;
        if let Some(selection) = pages.and_then(|f| table.selection(group.group, f)) {
            looked_at = selection.row_count() as u64;
            builder = builder.with_row_selection(selection);
        }
        let filtered = !filters.is_empty();
        if filtered {
            let predicates = filters.into_iter().map(|f| self.predicate(table, f)).collect();
            builder = builder.with_row_filter(RowFilter::new(predicates));
        }
        let reader = builder.build().map_err(unreadable)?;
        let picked: Vec<&FileColumn> = columns.iter().filter_map(|c| table.columns.get(*c)).collect();
        // The reader gives columns in file order.
        let mut by_root: Vec<usize> = picked.iter().map(|c| c.root).collect();
        by_root.sort_unstable();
        let places = picked.iter().filter_map(|c| by_root.iter().position(|r| *r == c.root)).collect();
        Ok(GroupReader {
            reader,
            places,
            readings: picked.iter().map(|c| (c.name.clone(), c.reading.clone())).collect(),
            // Filters are evaluated for all rows before the first batch comes out.
            scanned: if filtered { looked_at } else { 0 },
            filtered,
        })
    }

    /// A filter evaluated by the Parquet reader on its own columns before the others are decoded.
    fn predicate(&self, table: &Table, filter: Filter) -> Box<dyn ArrowPredicate> {
        let predicate = Predicate::new(filter, &self.schema);
        let columns: Vec<FileColumn> =
            predicate.columns().iter().filter_map(|c| table.columns.get(*c)).cloned().collect();
        let mask = table.mask(predicate.columns());
        let mut by_root: Vec<usize> = columns.iter().map(|c| c.root).collect();
        by_root.sort_unstable();
        let places: Vec<usize> =
            columns.iter().filter_map(|c| by_root.iter().position(|r| *r == c.root)).collect();
        let readings: Vec<(String, Reading)> = columns.into_iter().map(|c| (c.name, c.reading)).collect();
        Box::new(ArrowPredicateFn::new(mask, move |batch: RecordBatch| {
            let batch =
                arrange(&batch, &places, &readings).map_err(|e| ArrowError::ComputeError(e.to_string()))?;
            let bits = predicate.evaluate(&batch).map_err(|e| ArrowError::ComputeError(e.to_string()))?;
            Ok(BooleanArray::new(bits, None))
        }))
    }

    /// Row filters of a query that this group does not already satisfy as a whole.
    fn open_filters(&self, query: &Query, group: &Group) -> Vec<Filter> {
        let inside = group.time.is_some_and(|(min, max)| query.from <= min && max < query.to);
        let mut filters = Vec::new();
        if !inside || group.has_null_times {
            filters.push(time_filter(query, &self.schema));
        }
        filters.extend(query.filters.iter().cloned());
        filters
    }

    /// Filters whose statistics are worth asking, one column each.
    fn page_filters(&self, query: &Query) -> Vec<Filter> {
        let mut filters = vec![time_filter(query, &self.schema)];
        filters.extend(query.filters.iter().cloned());
        filters
    }

    /// Matching rows of an unfiltered query in one group, reading times only where statistics do not tell.
    fn count(&self, query: &Query, group: &Group) -> Result<u64, SourceError> {
        let filters = self.open_filters(query, group);
        if filters.is_empty() {
            return Ok(group.rows);
        }
        let pages = self.page_filters(query);
        let mut reader = self.reader(group, &[self.schema.time_index()], 65_536, filters, Some(&pages))?;
        let mut rows = 0;
        while let Some(batch) = reader.next() {
            rows += batch?.num_rows() as u64;
        }
        Ok(rows)
    }
}

/// Columns that filters decoded are kept for the output up to this size a reader; the library's own bound of 100 MB
/// would be most of an export's memory.
const PREDICATE_CACHE_BYTES: usize = 4 << 20;

/// Boundary row groups are read to count rows exactly up to this many rows; beyond it the count runs beside the export.
const COUNT_ROWS_MAX: u64 = 4_000_000;

impl Rows for ParquetRows {
    fn schema(&self) -> Arc<Schema> {
        Arc::clone(&self.schema)
    }

    fn plan(&self, query: &Query) -> Result<Plan, SourceError> {
        careful(|| self.planned(query))
    }

    fn open(&self, read: &Read<'_>, unit: &Unit) -> Result<Box<dyn Batches>, SourceError> {
        let group = usize::try_from(unit.id)
            .ok()
            .and_then(|id| self.groups.get(id))
            .ok_or_else(|| unreadable("no such unit"))?;
        let filters = self.open_filters(read.query, group);
        let pages = self.page_filters(read.query);
        let open = || self.reader(group, read.columns, read.batch_rows, filters, Some(&pages));
        Ok(Box::new(careful(open)?))
    }
}

impl ParquetRows {
    fn planned(&self, query: &Query) -> Result<Plan, SourceError> {
        let filters = self.page_filters(query);
        let mut plan = Plan::default();
        let (mut exact, mut doubtful) = (Some(0_u64), 0_u64);
        for (id, group) in self.groups.iter().enumerate() {
            let Some(table) = self.tables.get(group.table) else { continue };
            let exact_time = group.order != Order::Unknown;
            let outside = group.time.is_some_and(|(min, max)| max < query.from || query.to <= min);
            if group.rows == 0 || outside || (exact_time && group.time.is_none()) {
                continue;
            }
            if !filters.iter().all(|f| may_match(f, &|c| table.bounds(group.group, c))) {
                continue;
            }
            let selected =
                table.selection(group.group, &filters).map_or(group.rows, |s| s.row_count() as u64);
            if selected == 0 {
                continue;
            }
            if query.filters.is_empty() {
                doubtful += if self.open_filters(query, group).is_empty() { 0 } else { selected };
                exact = match exact {
                    Some(before) if doubtful <= COUNT_ROWS_MAX => Some(before + self.count(query, group)?),
                    _ => None,
                };
            }
            plan.units.push(Unit { id: id as u64, rows: selected, time: group.time, order: group.order });
        }
        plan.rows_exact = if query.filters.is_empty() || plan.units.is_empty() { exact } else { None };
        Ok(plan)
    }
}

/// Reads one row group.
struct GroupReader {
    reader: ParquetRecordBatchReader,
    places: Vec<usize>,
    readings: Vec<(String, Reading)>,
    scanned: u64,
    filtered: bool,
}

impl Batches for GroupReader {
    fn next(&mut self) -> Option<Result<RecordBatch, SourceError>> {
        careful(|| self.batch()).transpose()
    }

    fn scanned(&self) -> u64 {
        self.scanned
    }
}

impl GroupReader {
    fn batch(&mut self) -> Result<Option<RecordBatch>, SourceError> {
        let Some(batch) = self.reader.next().transpose().map_err(unreadable)? else { return Ok(None) };
        if !self.filtered {
            self.scanned += batch.num_rows() as u64;
        }
        arrange(&batch, &self.places, &self.readings).map(Some)
    }
}

/// Columns in the asked order, converted to the export's types.
fn arrange(
    batch: &RecordBatch,
    places: &[usize],
    readings: &[(String, Reading)],
) -> Result<RecordBatch, SourceError> {
    let mut fields = Vec::with_capacity(readings.len());
    let mut arrays: Vec<ArrayRef> = Vec::with_capacity(readings.len());
    for (place, (name, reading)) in places.iter().zip(readings) {
        let array = batch.columns().get(*place).cloned().and_then(|a| reading.convert(a));
        let Some(array) = array else {
            return Err(SourceError::Invalid {
                what: format!("column \"{name}\" was not read as {}", reading.read_as),
            });
        };
        fields.push(Field::new(name, array.data_type().clone(), true));
        arrays.push(array);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(ArrowSchema::new(fields)), arrays, &options)
        .map_err(unreadable)
}

fn unreadable(e: impl ToString) -> SourceError {
    SourceError::Unreadable { what: e.to_string() }
}
