//! From a request as written to one that can run: names looked up, times read, filters typed.

use std::sync::Arc;

use crate::error::shorten;
use crate::filter::resolve_filters;
use crate::path::Path;
use crate::shape::refuse;
use crate::{
    Codec, CsvOptions, DownloadRequest, ErrorCode, ErrorResponse, Format, Limits, Output, Query, Schema,
    SortKey, Timestamp,
};

/// Where data sets are looked up.
pub trait Catalog {
    /// The data set called `name`, or the default one for `None`, as this principal may see it.
    fn find(&self, name: Option<&str>) -> Lookup;
}

impl<F: Fn(Option<&str>) -> Lookup> Catalog for F {
    fn find(&self, name: Option<&str>) -> Lookup {
        self(name)
    }
}

/// What a [`Catalog`] found.
#[derive(Debug, Clone)]
pub enum Lookup {
    /// It is there.
    Found {
        /// Its name, the default one's included.
        name: Arc<str>,
        /// Its columns.
        schema: Arc<Schema>,
    },
    /// There is none of that name.
    Unknown,
    /// There is, but not for this principal.
    Forbidden,
}

/// What a server adds to every request.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Defaults {
    /// Formula guard of requests that do not say (`csv.formulaGuardDefault`).
    pub formula_guard: bool,
    /// Whether zstd parts can be written; gzip always can.
    pub zstd: bool,
    /// Bounds.
    pub limits: Limits,
}

impl Default for Defaults {
    fn default() -> Self {
        Self { formula_guard: false, zstd: true, limits: Limits::default() }
    }
}

/// A request that can run.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolved {
    /// Name of the data set, also when the request left it out.
    pub dataset: Arc<str>,
    /// Columns the query's indexes point into.
    pub schema: Arc<Schema>,
    /// Rows and columns.
    pub query: Query,
    /// Bytes.
    pub output: Output,
}

impl DownloadRequest {
    /// Looks up everything the request names, in the order of section 11: data set, time, columns and sort,
    /// filters, format and codec.
    ///
    /// # Errors
    ///
    /// The first of `UNKNOWN_DATASET`, `FORBIDDEN`, `INVALID_TIME_RANGE`, `UNKNOWN_FIELD`, `INVALID_FILTER`,
    /// `UNSUPPORTED_FORMAT`, `UNSUPPORTED_COMPRESSION`, each with `details.path`.
    pub fn resolve(
        &self,
        catalog: &(impl Catalog + ?Sized),
        defaults: &Defaults,
    ) -> Result<Resolved, ErrorResponse> {
        let search = &self.search_params;
        let path = Path::Root.name("searchParams");
        let (dataset, schema) = self.find_dataset(catalog, &path)?;
        let (from, to) = self.time_range(&path)?;
        let columns = match &search.columns {
            None => (0..schema.columns().len()).collect(),
            Some(names) => {
                let path = path.name("columns");
                let index = |(i, name): (usize, &String)| column(&schema, name, &path.index(i));
                names.iter().enumerate().map(index).collect::<Result<_, _>>()?
            }
        };
        let sort_path = path.name("sort");
        let key = |(i, key): (usize, &crate::RequestSort)| {
            let path = sort_path.index(i);
            Ok(SortKey { column: column(&schema, &key.field, &path.name("field"))?, order: key.order })
        };
        let sort = search.sort.iter().enumerate().map(key).collect::<Result<_, ErrorResponse>>()?;
        let filters = resolve_filters(&search.filters, &schema, &defaults.limits, &path.name("filters"))?;
        let output = self.output(defaults)?;
        let query = Query { from, to, filters, columns, sort, limit: search.limit };
        Ok(Resolved { dataset, schema, query, output })
    }

    fn find_dataset(
        &self,
        catalog: &(impl Catalog + ?Sized),
        path: &Path<'_>,
    ) -> Result<(Arc<str>, Arc<Schema>), ErrorResponse> {
        let path = path.name("dataset");
        let named = self.search_params.dataset.as_deref();
        match catalog.find(named) {
            Lookup::Found { name, schema } => Ok((name, schema)),
            Lookup::Unknown => {
                let message = match named {
                    Some(name) => format!("there is no data set {:?}", shorten(name)),
                    None => "there is no data set".to_owned(),
                };
                Err(refuse(&path, message, ErrorCode::UnknownDataset))
            }
            Lookup::Forbidden => {
                Err(refuse(&path, "this data set is not yours to read", ErrorCode::Forbidden))
            }
        }
    }

    fn time_range(&self, path: &Path<'_>) -> Result<(Timestamp, Timestamp), ErrorResponse> {
        let code = ErrorCode::InvalidTimeRange;
        let read = |name, text: &str| {
            Timestamp::parse(text).map_err(|fault| refuse(&path.name(name), fault.to_string(), code))
        };
        let from = read("timeFrom", &self.search_params.time_from)?;
        let to = read("timeTo", &self.search_params.time_to)?;
        if from >= to {
            return Err(refuse(&path.name("timeTo"), "timeTo must be later than timeFrom", code));
        }
        Ok((from, to))
    }

    fn output(&self, defaults: &Defaults) -> Result<Output, ErrorResponse> {
        let format = Format::parse(&self.output_format).ok_or_else(|| {
            let name = shorten(&self.output_format);
            let message = format!("no output format {name:?}: csv, json and ndjson are known");
            refuse(&Path::Root.name("outputFormat"), message, ErrorCode::UnsupportedFormat)
        })?;
        let codec = match (self.compression, self.options.codec.as_deref()) {
            (false, _) => None,
            (true, None) => Some(Codec::Gzip),
            (true, Some(name)) => {
                let known = Codec::parse(name).filter(|c| *c != Codec::Zstd || defaults.zstd);
                Some(known.ok_or_else(|| {
                    let options = Path::Root.name("options");
                    let message = format!("no codec {:?} here", shorten(name));
                    refuse(&options.name("codec"), message, ErrorCode::UnsupportedCompression)
                })?)
            }
        };
        let csv = &self.options.csv;
        let plain = CsvOptions::default();
        Ok(Output {
            format,
            codec,
            time_zone: self.options.time_zone.unwrap_or_default(),
            rows_per_part: Some(self.options.rows_per_part.unwrap_or(defaults.limits.rows_per_part_max)),
            rows_per_s: self.options.rows_per_s,
            csv: CsvOptions {
                header: csv.header.unwrap_or(plain.header),
                delimiter: csv.delimiter.and_then(|c| u8::try_from(c).ok()).unwrap_or(plain.delimiter),
                bom: csv.bom.unwrap_or(plain.bom),
                formula_guard: csv.formula_guard.unwrap_or(defaults.formula_guard),
            },
        })
    }
}

fn column(schema: &Schema, name: &str, path: &Path<'_>) -> Result<usize, ErrorResponse> {
    schema.index_of(name).ok_or_else(|| unknown_field(name, path))
}

pub(crate) fn unknown_field(name: &str, path: &Path<'_>) -> ErrorResponse {
    refuse(path, format!("there is no column {:?}", shorten(name)), ErrorCode::UnknownField)
}

#[cfg(test)]
pub(crate) mod tests;
