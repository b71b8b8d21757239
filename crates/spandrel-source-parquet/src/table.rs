//! One Parquet file: footer, columns, statistics.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use arrow_array::ArrayRef;
use arrow_schema::{DataType, Field, Schema as ArrowSchema};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, RowSelection};
use parquet::basic::{Encoding, Type as PhysicalType};
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, RowGroupMetaData};
use sha2::{Digest, Sha256};
use spandrel_download_protocol::Filter;
use spandrel_export::{Bounds, may_match, value_at};

use crate::error::{FileError, name_of};
use crate::types::Reading;

/// A column of the data set in one file.
#[derive(Debug, Clone)]
pub(crate) struct FileColumn {
    /// Top-level position in the file.
    pub(crate) root: usize,
    /// Position among the leaves.
    pub(crate) leaf: usize,
    pub(crate) name: String,
    pub(crate) reading: Reading,
}

/// A file whose footer was read.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    pub(crate) path: PathBuf,
    pub(crate) name: String,
    pub(crate) len: u64,
    touched: Touched,
    /// SHA-256 of the footer, lower-case hex.
    pub(crate) footer: String,
    pub(crate) metadata: Arc<ParquetMetaData>,
    pub(crate) arrow: Arc<ArrowSchema>,
    /// In data set order.
    pub(crate) columns: Vec<FileColumn>,
}

impl Table {
    /// Reads the footer and the page index of `path`.
    pub(crate) fn open(path: &Path) -> Result<Self, FileError> {
        let file = File::open(path)?;
        let on_disk = file.metadata()?;
        let len = on_disk.len();
        let footer = footer_digest(&file, len)?;
        let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Optional);
        let loaded = ArrowReaderMetadata::load(&file, options).map_err(FileError::invalid)?;
        Ok(Self {
            path: path.to_owned(),
            name: name_of(path),
            len,
            touched: Touched::of(&on_disk),
            footer,
            metadata: Arc::clone(loaded.metadata()),
            arrow: Arc::clone(loaded.schema()),
            columns: Vec::new(),
        })
    }

    pub(crate) fn leaf_of_root(&self, root: usize) -> Option<usize> {
        let schema = self.metadata.file_metadata().schema_descr();
        (0..schema.num_columns()).find(|leaf| schema.get_column_root_idx(*leaf) == root)
    }

    pub(crate) fn group(&self, group: usize) -> Option<&RowGroupMetaData> {
        self.metadata.row_groups().get(group)
    }

    pub(crate) fn group_rows(&self, group: usize) -> u64 {
        self.group(group).map_or(0, |g| u64::try_from(g.num_rows()).unwrap_or(0))
    }

    pub(crate) fn mask(&self, columns: &[usize]) -> ProjectionMask {
        let roots = columns.iter().filter_map(|c| self.columns.get(*c)).map(|c| c.root);
        ProjectionMask::roots(self.metadata.file_metadata().schema_descr(), roots)
    }

    /// Reader metadata that asks for the types the export wants in this row group: text whose pages all point into a
    /// dictionary comes as a dictionary, so that a value is escaped once.
    pub(crate) fn reader_metadata(&self, group: usize) -> Result<ArrowReaderMetadata, String> {
        let mut fields: Vec<Arc<Field>> = self.arrow.fields().iter().cloned().collect();
        for column in &self.columns {
            let Some(field) = fields.get_mut(column.root) else { continue };
            let wanted = if column.reading.is_text() && self.is_dictionary(group, column.leaf) {
                DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
            } else {
                column.reading.read_as.clone()
            };
            if *field.data_type() != wanted {
                *field = Arc::new(field.as_ref().clone().with_data_type(wanted));
            }
        }
        let schema = Arc::new(ArrowSchema::new(fields));
        let options = ArrowReaderOptions::new().with_schema(schema);
        ArrowReaderMetadata::try_new(Arc::clone(&self.metadata), options).map_err(|e| e.to_string())
    }

    fn is_dictionary(&self, group: usize, leaf: usize) -> bool {
        let Some(chunk) = self.group(group).and_then(|g| g.columns().get(leaf)) else { return false };
        chunk.dictionary_page_offset().is_some()
            && chunk
                .page_encoding_stats_mask()
                .is_some_and(|m| m.is_only(Encoding::PLAIN_DICTIONARY) || m.is_only(Encoding::RLE_DICTIONARY))
    }

    /// Statistics of a column in one row group; everything unknown when the file has none.
    pub(crate) fn bounds(&self, group: usize, column: usize) -> Option<Bounds> {
        let (column, meta) = (self.columns.get(column)?, self.group(group)?);
        let is_old = meta.columns().get(column.leaf)?.statistics().is_some_and(|s| s.is_min_max_deprecated());
        let has_order = !is_old && self.has_column_orders();
        let field = self.statistics_field(column)?;
        let converter = self.converter(column, &field)?;
        let mins = converter.row_group_mins([meta]).ok()?;
        let maxes = converter.row_group_maxes([meta]).ok()?;
        let nulls = converter.with_missing_null_counts_as_zero(false).row_group_null_counts([meta]).ok()?;
        let nulls = (!arrow_array::Array::is_null(&nulls, 0)).then(|| nulls.value(0));
        let bounds = bounds_of(&column.reading, &mins, &maxes, 0, nulls, self.group_rows(group));
        Some(if has_order || self.is_signed(column) { bounds } else { bounds.without_ends() })
    }

    /// Whether the file says by which order its smallest and largest values were chosen. Without, as in files of old
    /// writers, text may have been compared by signed bytes: only signed numbers are to be trusted.
    fn has_column_orders(&self) -> bool {
        self.metadata.file_metadata().column_orders().is_some()
    }

    fn is_signed(&self, column: &FileColumn) -> bool {
        let schema = self.metadata.file_metadata().schema_descr();
        let physical =
            (column.leaf < schema.num_columns()).then(|| schema.column(column.leaf).physical_type());
        matches!(physical, Some(PhysicalType::BOOLEAN | PhysicalType::INT32 | PhysicalType::INT64))
            && !column.reading.read_as.is_unsigned_integer()
    }

    fn statistics_field(&self, column: &FileColumn) -> Option<Field> {
        let field = self.arrow.fields().get(column.root)?;
        Some(Field::new(field.name(), column.reading.read_as.clone(), true))
    }

    fn converter<'a>(&'a self, column: &FileColumn, field: &'a Field) -> Option<StatisticsConverter<'a>> {
        let schema = self.metadata.file_metadata().schema_descr();
        StatisticsConverter::from_column_index(column.leaf, field, schema).ok()
    }

    /// Rows of a group that may pass every filter, by the page index; `None` when pages rule nothing out.
    pub(crate) fn selection(&self, group: usize, filters: &[Filter]) -> Option<RowSelection> {
        let mut selected: Option<RowSelection> = None;
        for filter in filters {
            let Some(pages) = self.page_selection(group, filter) else { continue };
            selected = Some(match selected {
                Some(before) => before.intersection(&pages),
                None => pages,
            });
        }
        selected
    }

    fn page_selection(&self, group: usize, filter: &Filter) -> Option<RowSelection> {
        let columns = spandrel_export::columns_of(filter);
        let (Some(column), 1) = (columns.first(), columns.len()) else { return None };
        let column = self.columns.get(*column)?;
        if !self.has_column_orders() && !self.is_signed(column) {
            return None;
        }
        let index = self.metadata.page_index()?.as_ref();
        let field = self.statistics_field(column)?;
        let converter = self.converter(column, &field)?;
        let groups = [group];
        let mins = converter.data_page_mins(index, &groups).ok()?;
        let maxes = converter.data_page_maxes(index, &groups).ok()?;
        let nulls = converter.data_page_null_counts(index, &groups).ok()?;
        let rows = converter.data_page_row_counts(index, self.metadata.row_groups(), &groups).ok()??;
        if mins.len() != rows.len() || maxes.len() != rows.len() || nulls.len() != rows.len() {
            return None;
        }
        let (mut from, mut keep, mut all) = (0_usize, Vec::new(), true);
        for page in 0..rows.len() {
            let count = rows.value(page);
            let null_count = (!arrow_array::Array::is_null(&nulls, page)).then(|| nulls.value(page));
            let bounds = bounds_of(&column.reading, &mins, &maxes, page, null_count, count);
            let to = from + usize::try_from(count).ok()?;
            if may_match(filter, &|_| Some(bounds.clone())) {
                keep.push(from..to);
            } else {
                all = false;
            }
            from = to;
        }
        (!all).then(|| RowSelection::from_consecutive_ranges(keep.into_iter(), from))
    }

    /// Most rows in a batch so that its text stays near a mebibyte however wide the rows are. Follows the file only.
    pub(crate) fn batch_rows_max(&self, group: usize, columns: &[usize]) -> usize {
        const BATCH_BYTES: u64 = 2 << 20;
        let Some(meta) = self.group(group) else { return usize::MAX };
        let rows = self.group_rows(group).max(1);
        let bytes: i64 = columns
            .iter()
            .filter_map(|c| self.columns.get(*c))
            .filter_map(|c| meta.columns().get(c.leaf))
            .map(|c| c.unencoded_byte_array_data_bytes().unwrap_or(0).max(c.uncompressed_size()))
            .sum();
        let row_bytes = u64::try_from(bytes).unwrap_or(0) / rows + 1;
        usize::try_from(BATCH_BYTES / row_bytes).unwrap_or(usize::MAX).max(16)
    }

    /// Whether an opened file is still the one whose footer was read; the footer is read again only when the
    /// file was touched.
    pub(crate) fn is_unchanged(&self, file: &File) -> bool {
        let Ok(now) = file.metadata() else { return false };
        let untouched = self.touched.is_known() && self.touched == Touched::of(&now);
        now.len() == self.len && (untouched || footer_digest(file, self.len).is_ok_and(|d| d == self.footer))
    }
}

fn bounds_of(
    reading: &Reading,
    mins: &ArrayRef,
    maxes: &ArrayRef,
    at: usize,
    nulls: Option<u64>,
    rows: u64,
) -> Bounds {
    let value = |array: &ArrayRef| {
        let array = reading.convert(array.slice(at, 1))?;
        value_at(reading.kind, &array, 0).ok().flatten()
    };
    let bounds = Bounds {
        min: value(mins),
        max: value(maxes),
        has_nulls: nulls.map(|n| n > 0),
        all_null: rows > 0 && nulls == Some(rows),
    };
    if reading.keeps_order(&bounds) { bounds } else { bounds.without_ends() }
}

/// When and in which place a file was last written: equal means nobody wrote it since.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Touched {
    modified: Option<SystemTime>,
    /// Inode and change time, which a copy that keeps the time of modification does not keep.
    place: Option<(u64, i64, i64)>,
}

impl Touched {
    #[cfg(unix)]
    fn of(meta: &std::fs::Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        Self { modified: meta.modified().ok(), place: Some((meta.ino(), meta.ctime(), meta.ctime_nsec())) }
    }

    #[cfg(not(unix))]
    fn of(meta: &std::fs::Metadata) -> Self {
        Self { modified: meta.modified().ok(), place: None }
    }

    fn is_known(&self) -> bool {
        self.modified.is_some()
    }
}

/// SHA-256 of the footer: the metadata, its length and the magic number.
fn footer_digest(file: &File, len: u64) -> Result<String, FileError> {
    let invalid = |what: &str| FileError::invalid(format_args!("not a Parquet file: {what}"));
    if len < 12 {
        return Err(invalid("it is too short"));
    }
    let mut file = file;
    let mut tail = [0; 8];
    file.seek(SeekFrom::Start(len - 8))?;
    file.read_exact(&mut tail)?;
    let (size, magic) = tail.split_at(4);
    if magic != b"PAR1" {
        return Err(invalid("there is no PAR1 at its end"));
    }
    let size = u64::from(u32::from_le_bytes(size.try_into().unwrap_or_default())) + 8;
    if size > len {
        return Err(invalid("its footer is longer than the file"));
    }
    file.seek(SeekFrom::Start(len - size))?;
    let mut digest = Sha256::new();
    let mut block = vec![0; 64 << 10];
    let mut left = size;
    while left > 0 {
        let n = usize::try_from(left).unwrap_or(usize::MAX).min(block.len());
        let part = block.get_mut(..n).unwrap_or_default();
        file.read_exact(part)?;
        digest.update(&*part);
        left -= n as u64;
    }
    Ok(digest.finalize().iter().map(|b| format!("{b:02x}")).collect())
}
