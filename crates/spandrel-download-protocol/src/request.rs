//! `DownloadRequest` as it is written (protocol section 5): shape and ranges, nothing looked up yet.

use std::str::FromStr;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::client_data::read;
use crate::error::shorten;
use crate::json::{self, Json};
use crate::path::Path;
use crate::shape::{self, Reader, Unknown, refuse, wrong_type};
use crate::{ErrorCode, ErrorResponse, Format, Limits, ProtocolError, SortOrder, Timestamp, UtcOffset};

/// Largest `limit`, 2^53 - 1: what every JSON reader holds exactly.
const COUNT_MAX: u64 = (1 << 53) - 1;
const CODE: ErrorCode = ErrorCode::InvalidRequest;

/// What to export and how to write it; serialises to the `data` of `download:request`.
///
/// ```
/// use spandrel_download_protocol::{DownloadRequest, Format, Limits, RequestFilter, Timestamp};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let from = Timestamp::parse("2024-03-01T00:00:00Z")?;
/// let to = Timestamp::parse("2024-03-02T00:00:00Z")?;
/// let request = DownloadRequest::new(from, to, Format::Csv)
///     .filter(RequestFilter::leaf("level", "eq", "ERROR"))
///     .columns(["time", "message"])
///     .limit(1000);
/// let text = serde_json::to_string(&request)?;
/// assert_eq!(DownloadRequest::from_body(text.as_bytes(), &Limits::default())?, request);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DownloadRequest {
    /// Which rows and columns.
    pub search_params: SearchParams,
    /// `csv`, `json`, `ndjson`; a name that is not known here is refused when resolved.
    pub output_format: String,
    /// Whether parts are compressed.
    pub compression: bool,
    /// Everything else.
    #[serde(skip_serializing_if = "RequestOptions::is_default")]
    pub options: RequestOptions,
}

/// Which rows and columns.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SearchParams {
    /// First instant inside, as text of section 5.
    pub time_from: String,
    /// First instant past it.
    pub time_to: String,
    /// Joined by AND.
    pub filters: Vec<RequestFilter>,
    /// Data set; `None` for the default one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dataset: Option<String>,
    /// Columns in order; `None` for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub columns: Option<Vec<String>>,
    /// Leading sort keys.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sort: Vec<RequestSort>,
    /// Most rows, 1 to 2^53 - 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
}

/// One sort key by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RequestSort {
    /// Column, selected or not.
    pub field: String,
    /// Direction.
    pub order: SortOrder,
}

/// As people type it: `price:desc`, `id`, `id:asc`.
///
/// ```
/// use spandrel_download_protocol::{RequestSort, SortOrder};
///
/// let key: RequestSort = "price:desc".parse().unwrap();
/// assert_eq!((key.field.as_str(), key.order), ("price", SortOrder::Desc));
/// assert!("price:down".parse::<RequestSort>().is_err());
/// ```
impl FromStr for RequestSort {
    type Err = ProtocolError;

    fn from_str(text: &str) -> Result<Self, ProtocolError> {
        let (field, order) = match text.rsplit_once(':') {
            Some((field, "desc")) => (field, SortOrder::Desc),
            Some((field, "asc")) => (field, SortOrder::Asc),
            Some(_) => return Err(ProtocolError::SortText(shorten(text))),
            None => (text, SortOrder::Asc),
        };
        if field.is_empty() {
            return Err(ProtocolError::SortText(shorten(text)));
        }
        Ok(Self { field: field.to_owned(), order })
    }
}

/// How to write the rows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestOptions {
    /// `gzip` or `zstd`, only with compression.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub codec: Option<String>,
    /// Offset used to print timestamps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<UtcOffset>,
    /// Rows of one part. `maxRowsPerFile` on the wire.
    #[serde(rename = "maxRowsPerFile", skip_serializing_if = "Option::is_none")]
    pub rows_per_part: Option<u64>,
    /// Pace. `maxRowsPerSecond` on the wire.
    #[serde(rename = "maxRowsPerSecond", skip_serializing_if = "Option::is_none")]
    pub rows_per_s: Option<u64>,
    /// CSV dialect.
    #[serde(skip_serializing_if = "RequestCsv::is_default")]
    pub csv: RequestCsv,
}

/// CSV dialect; what is `None` is the server's default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestCsv {
    /// Row of names first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<bool>,
    /// `,` `;` tab or `|`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delimiter: Option<char>,
    /// Byte order mark first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bom: Option<bool>,
    /// Guard against formulas.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub formula_guard: Option<bool>,
}

impl RequestOptions {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl RequestCsv {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// One entry of `filters` as JSON text; numbers stay as written.
#[derive(Debug, Clone, Serialize)]
#[serde(transparent)]
pub struct RequestFilter(Box<RawValue>);

impl RequestFilter {
    /// `{ field, op, value }`; what is wrong with it the server tells.
    ///
    /// # Panics
    ///
    /// If `value` does not serialise (a map whose keys are no strings).
    pub fn leaf(field: &str, op: &str, value: impl Serialize) -> Self {
        #[derive(Serialize)]
        struct Leaf<'a, T> {
            field: &'a str,
            op: &'a str,
            value: T,
        }
        Self::of(&Leaf { field, op, value })
    }

    /// All of them.
    pub fn and(filters: &[Self]) -> Self {
        Self::of(&std::collections::BTreeMap::from([("and", filters)]))
    }

    /// At least one of them.
    pub fn or(filters: &[Self]) -> Self {
        Self::of(&std::collections::BTreeMap::from([("or", filters)]))
    }

    /// The opposite.
    #[must_use]
    pub fn negate(&self) -> Self {
        Self::of(&std::collections::BTreeMap::from([("not", self)]))
    }

    /// Takes a filter written as JSON.
    ///
    /// # Errors
    ///
    /// [`ProtocolError::FilterJson`] when the text is not an I-JSON object.
    pub fn from_json(text: &str) -> Result<Self, ProtocolError> {
        match json::parse(text, Limits::default().json_depth_max) {
            Ok(json @ Json::Object(_)) => Ok(Self::from_tree(&json)),
            Ok(_) => Err(ProtocolError::FilterJson("it does not begin with {".to_owned())),
            Err(fault) => Err(ProtocolError::FilterJson(fault.message())),
        }
    }

    /// The JSON text.
    pub fn as_json(&self) -> &str {
        self.0.get()
    }

    fn from_tree(json: &Json<'_>) -> Self {
        let mut text = String::new();
        json.write(&mut text);
        Self(RawValue::from_string(text).expect("the writer writes JSON"))
    }

    fn of(value: &impl Serialize) -> Self {
        Self(serde_json::value::to_raw_value(value).expect("a filter value is plain data"))
    }
}

impl PartialEq for RequestFilter {
    /// Equal as JSON values.
    fn eq(&self, other: &Self) -> bool {
        crate::same_json(self.as_json(), other.as_json())
    }
}

impl DownloadRequest {
    /// All columns and rows of `[from, to)`, uncompressed.
    pub fn new(from: Timestamp, to: Timestamp, format: Format) -> Self {
        Self {
            search_params: SearchParams {
                time_from: from.to_string(),
                time_to: to.to_string(),
                filters: Vec::new(),
                dataset: None,
                columns: None,
                sort: Vec::new(),
                limit: None,
            },
            output_format: format.as_str().to_owned(),
            compression: false,
            options: RequestOptions::default(),
        }
    }

    /// From that data set instead of the default one.
    #[must_use]
    pub fn dataset(mut self, name: impl Into<String>) -> Self {
        self.search_params.dataset = Some(name.into());
        self
    }

    /// Adds a filter; all must hold.
    #[must_use]
    pub fn filter(mut self, filter: RequestFilter) -> Self {
        self.search_params.filters.push(filter);
        self
    }

    /// Only these columns, in this order.
    #[must_use]
    pub fn columns<T: Into<String>>(mut self, names: impl IntoIterator<Item = T>) -> Self {
        self.search_params.columns = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// Adds a sort key behind those there are.
    #[must_use]
    pub fn sort(mut self, field: impl Into<String>, order: SortOrder) -> Self {
        self.search_params.sort.push(RequestSort { field: field.into(), order });
        self
    }

    /// At most that many rows, after sorting.
    #[must_use]
    pub fn limit(mut self, rows: u64) -> Self {
        self.search_params.limit = Some(rows);
        self
    }

    /// Compresses the parts.
    #[must_use]
    pub fn compress(mut self, codec: crate::Codec) -> Self {
        self.compression = true;
        self.options.codec = Some(codec.as_str().to_owned());
        self
    }

    /// Reads the `data` of `download:request`: shape, types, unknown members, ranges.
    ///
    /// Nothing is looked up: times, names, filters and formats are judged by [`resolve`](Self::resolve).
    ///
    /// # Errors
    ///
    /// `INVALID_REQUEST` with `details.path`.
    pub fn parse(data: &RawValue, limits: &Limits) -> Result<Self, ErrorResponse> {
        Self::of(&read(data, limits)?, limits)
    }

    /// Reads an HTTP body.
    ///
    /// # Errors
    ///
    /// `MALFORMED_MESSAGE` when the body is not an I-JSON object, `BODY_TOO_LARGE` over the message limit, else
    /// as [`parse`](Self::parse).
    pub fn from_body(body: &[u8], limits: &Limits) -> Result<Self, ErrorResponse> {
        if body.len() > limits.message_bytes_max {
            let message = format!("{} bytes are over the limit of {}", body.len(), limits.message_bytes_max);
            return Err(ErrorResponse::new(ErrorCode::BodyTooLarge, message));
        }
        let malformed = |message: String| ErrorResponse::new(ErrorCode::MalformedMessage, message);
        let text = std::str::from_utf8(body).map_err(|_| malformed("not UTF-8".to_owned()))?;
        match json::parse(text, limits.json_depth_max).map_err(|fault| malformed(fault.message()))? {
            json @ Json::Object(_) => Self::of(&json, limits),
            _ => Err(malformed("expected a JSON object".to_owned())),
        }
    }

    fn of(json: &Json<'_>, limits: &Limits) -> Result<Self, ErrorResponse> {
        let names = ["searchParams", "outputFormat", "compression", "options"];
        let [search, format, compression, options] =
            shape::members(json, &Path::Root, names, Unknown::Refuse, CODE)?;
        let reader = Reader { path: Path::Root };
        let search = reader.required(search, "searchParams")?;
        let search_params = search_params(search, &Path::Root.name("searchParams"), limits)?;
        reader.required(format, "outputFormat")?;
        reader.required(compression, "compression")?;
        let output_format = reader.string(format, "outputFormat")?.unwrap_or_default();
        let compression = reader.boolean(compression, "compression")?.unwrap_or_default();
        let path = Path::Root.name("options");
        let options =
            options.map(|json| request_options(json, &path, limits)).transpose()?.unwrap_or_default();
        if options.codec.is_some() && !compression {
            return Err(refuse(&path.name("codec"), "a codec needs compression: true", CODE));
        }
        Ok(Self { search_params, output_format, compression, options })
    }
}

fn search_params(json: &Json<'_>, path: &Path<'_>, limits: &Limits) -> Result<SearchParams, ErrorResponse> {
    let names = ["timeFrom", "timeTo", "filters", "dataset", "columns", "sort", "limit"];
    let [from, to, filters, dataset, columns, sort, limit] =
        shape::members(json, path, names, Unknown::Refuse, CODE)?;
    let reader = Reader { path: *path };
    reader.required(from, "timeFrom")?;
    reader.required(to, "timeTo")?;
    reader.required(filters, "filters")?;
    Ok(SearchParams {
        time_from: reader.string(from, "timeFrom")?.unwrap_or_default(),
        time_to: reader.string(to, "timeTo")?.unwrap_or_default(),
        filters: reader
            .array(filters, "filters")?
            .unwrap_or_default()
            .iter()
            .map(RequestFilter::from_tree)
            .collect(),
        dataset: reader.string(dataset, "dataset")?,
        columns: reader
            .array(columns, "columns")?
            .map(|items| column_names(items, &path.name("columns"), limits))
            .transpose()?,
        sort: sort_keys(
            reader.array(sort, "sort")?.unwrap_or_default(),
            &path.name("sort"),
            limits.sort_keys_max,
        )?,
        limit: reader.count(limit, "limit", COUNT_MAX)?,
    })
}

fn column_names(items: &[Json<'_>], path: &Path<'_>, limits: &Limits) -> Result<Vec<String>, ErrorResponse> {
    let max = limits.columns_max;
    if items.is_empty() || items.len() > max {
        return Err(refuse(path, format!("expected 1 to {max} column names, got {}", items.len()), CODE));
    }
    let mut seen = std::collections::HashSet::new();
    items
        .iter()
        .enumerate()
        .map(|(i, item)| match item {
            Json::String(name) if seen.insert(name.as_ref()) => Ok(name.clone().into_owned()),
            Json::String(_) => Err(refuse(&path.index(i), "the column is there twice", CODE)),
            other => Err(wrong_type(&path.index(i), "a column name", other, CODE)),
        })
        .collect()
}

fn sort_keys(items: &[Json<'_>], path: &Path<'_>, max: usize) -> Result<Vec<RequestSort>, ErrorResponse> {
    if items.len() > max {
        return Err(refuse(path, format!("expected at most {max} sort keys, got {}", items.len()), CODE));
    }
    let key = |(i, item)| {
        let path = path.index(i);
        let [field, order] = shape::members(item, &path, ["field", "order"], Unknown::Refuse, CODE)?;
        let reader = Reader { path };
        reader.required(field, "field")?;
        reader.required(order, "order")?;
        let order = match reader.string(order, "order")?.as_deref() {
            Some("asc") => SortOrder::Asc,
            Some("desc") => SortOrder::Desc,
            _ => return Err(refuse(&path.name("order"), "order is asc or desc", CODE)),
        };
        Ok(RequestSort { field: reader.string(field, "field")?.unwrap_or_default(), order })
    };
    items.iter().enumerate().map(key).collect()
}

fn request_options(
    json: &Json<'_>,
    path: &Path<'_>,
    limits: &Limits,
) -> Result<RequestOptions, ErrorResponse> {
    let names = ["codec", "timeZone", "maxRowsPerFile", "maxRowsPerSecond", "csv"];
    let [codec, zone, per_part, per_s, csv] = shape::members(json, path, names, Unknown::Refuse, CODE)?;
    let reader = Reader { path: *path };
    let zone = reader
        .string(zone, "timeZone")?
        .map(|text| UtcOffset::parse(&text).map_err(|e| refuse(&path.name("timeZone"), e.to_string(), CODE)));
    Ok(RequestOptions {
        codec: reader.string(codec, "codec")?,
        time_zone: zone.transpose()?,
        rows_per_part: reader.count(per_part, "maxRowsPerFile", limits.rows_per_part_max)?,
        rows_per_s: reader.count(per_s, "maxRowsPerSecond", COUNT_MAX)?,
        csv: csv.map(|json| csv_options(json, &path.name("csv"))).transpose()?.unwrap_or_default(),
    })
}

fn csv_options(json: &Json<'_>, path: &Path<'_>) -> Result<RequestCsv, ErrorResponse> {
    let names = ["header", "delimiter", "bom", "formulaGuard"];
    let [header, delimiter, bom, guard] = shape::members(json, path, names, Unknown::Refuse, CODE)?;
    let reader = Reader { path: *path };
    let delimiter = match reader.string(delimiter, "delimiter")?.as_deref() {
        None => None,
        Some(",") => Some(','),
        Some(";") => Some(';'),
        Some("\t") => Some('\t'),
        Some("|") => Some('|'),
        Some(_) => return Err(refuse(&path.name("delimiter"), "the delimiter is , ; tab or |", CODE)),
    };
    Ok(RequestCsv {
        header: reader.boolean(header, "header")?,
        delimiter,
        bom: reader.boolean(bom, "bom")?,
        formula_guard: reader.boolean(guard, "formulaGuard")?,
    })
}
