//! Data sets by name, and the work of a job on one of them.

use std::path::Path;
use std::sync::Arc;

use spandrel_crypto::{hex, sha256};
use spandrel_download_protocol::{
    Catalog as ProtocolCatalog, DatasetInfo, DatasetList, Defaults, DownloadRequest, ErrorCode,
    ErrorResponse, Lookup, Query, Resolved, Schema, canonical_json, media_type, part_file_name,
};
use spandrel_export::SourceError;
use spandrel_export_engine::{
    Catalog, Checkpoint, Clock, Control, Export, ExportError, Sink, Summary, Work, WorkError, internal,
};
use spandrel_http::Repeats;
use spandrel_jobs::{Principal, Spec, Total};

use crate::{Dataset, ServiceConfig, ServiceError};

#[derive(Debug)]
pub(crate) struct Datasets {
    items: Vec<Dataset>,
    default: usize,
    defaults: Defaults,
    workers: usize,
    sort_rows_max: Option<u64>,
    clock: Arc<dyn Clock>,
}

/// A request that can run, over the rows there are now.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) export: Export,
    pub(crate) spec: Spec,
    pub(crate) total: Total,
    pub(crate) columns: Vec<String>,
}

impl Datasets {
    pub(crate) fn new(config: &ServiceConfig, defaults: Defaults) -> Result<Self, ServiceError> {
        let items = config.datasets.clone();
        let mut names: Vec<&str> = items.iter().map(|d| &*d.name).collect();
        names.sort_unstable();
        if let Some([name, _]) = names.array_windows().find(|[a, b]| a == b) {
            return Err(ServiceError::Datasets(format!("two data sets are called {name:?}")));
        }
        if items.is_empty() {
            return Err(ServiceError::Datasets("a server needs at least one data set".into()));
        }
        if items.iter().filter(|d| d.is_default).count() > 1 {
            return Err(ServiceError::Datasets("only one data set can be the default".into()));
        }
        let default = items.iter().position(|d| d.is_default).unwrap_or(0);
        let sort_rows_max = config.limits.sort_rows_max;
        Ok(Self {
            items,
            default,
            defaults,
            workers: config.workers.max(1),
            sort_rows_max,
            clock: Arc::clone(&config.clock),
        })
    }

    pub(crate) fn defaults(&self) -> &Defaults {
        &self.defaults
    }

    pub(crate) fn list(&self, principal: &Principal) -> DatasetList {
        let info = |(at, dataset): (usize, &Dataset)| {
            let (schema, facts) = (dataset.source.schema(), dataset.source.facts());
            let time = schema.column(schema.time_index());
            DatasetInfo {
                name: dataset.name.to_string(),
                default: at == self.default,
                time_column: time.map(|c| c.name.clone()).unwrap_or_default(),
                columns: schema.columns().to_vec(),
                rows: facts.rows,
                time_min: facts.time.map(|(min, _)| min),
                time_max: facts.time.map(|(_, max)| max),
            }
        };
        let items = self.items.iter().enumerate().filter(|(_, dataset)| may_read(dataset, principal));
        DatasetList { datasets: items.map(info).collect() }
    }

    /// Looks at every store again; the ones that fail keep what they had.
    pub(crate) fn reload(&self) {
        for dataset in &self.items {
            match dataset.source.reload() {
                Ok(()) => {
                    tracing::info!(dataset = %dataset.name, rows = dataset.source.facts().rows, "reloaded")
                }
                Err(error) => {
                    tracing::warn!(dataset = %dataset.name, %error, "not reloaded; the old rows stay")
                }
            }
        }
    }

    pub(crate) fn warnings(&self) -> Vec<String> {
        let warning = |d: &Dataset| d.source.warning().map(|what| format!("{}: {what}", d.name));
        self.items.iter().filter_map(warning).collect()
    }

    /// Checks a request in the order of protocol section 11, up to everything but idempotency and limits.
    pub(crate) fn resolve(
        &self,
        principal: &Principal,
        request: &DownloadRequest,
    ) -> Result<Resolved, ErrorResponse> {
        request.resolve(&Seen { datasets: self, principal: Some(principal) }, &self.defaults)
    }

    /// Freezes the rows there are now and plans the export.
    pub(crate) fn prepare(&self, resolved: Resolved, text: String) -> Result<Prepared, ErrorResponse> {
        let Resolved { dataset: name, schema, query, output } = resolved;
        let dataset = self.find(&name).ok_or_else(gone)?;
        let snapshot = dataset.source.snapshot();
        let rows = dataset.source.rows(&snapshot).map_err(|e| source_error(&e, self.clock.now().mono_ms))?;
        let first = part_file_name(&name, query.from, query.to, 1, output.format, output.codec);
        let (stem, suffix) = first.split_once("-part00001").unwrap_or((&first, ""));
        let spec = Spec {
            dataset: name.to_string(),
            snapshot,
            request_key: request_key(&text)?,
            request: text,
            format: output.format.as_str().to_owned(),
            codec: output.codec.map(|codec| codec.as_str().to_owned()),
            formula_guard: output.csv.formula_guard,
            time_zone: output.time_zone,
            file_stem: stem.to_owned(),
            file_suffix: suffix.to_owned(),
            content_type: media_type(output.format, output.codec).to_owned(),
            rows_per_file: output.rows_per_part.unwrap_or(self.defaults.limits.rows_per_part_max),
        };
        let columns =
            query.columns.iter().filter_map(|c| schema.column(*c)).map(|c| c.name.clone()).collect();
        let limit = query.limit.unwrap_or(u64::MAX);
        let export = Export { rows, query, output, workers: self.workers, scratch: std::env::temp_dir() };
        let failed = |e: ExportError| match e {
            ExportError::Source(e) => source_error(&e, self.clock.now().mono_ms),
            e => internal(&format!("a request could not be planned: {e}")),
        };
        let scan_rows = export.rows_scanned_max().map_err(failed)?;
        let exact = export.rows_exact().map_err(failed)?;
        let total =
            Total { rows: exact.unwrap_or(scan_rows.min(limit)), is_exact: exact.is_some(), scan_rows };
        let is_sorted = is_sorted(&export.query, &schema);
        if let Some(max) = self.sort_rows_max.filter(|max| is_sorted && total.is_exact && total.rows > *max) {
            let message =
                format!("{} rows are over the limit of {max} for a sort; ask for fewer", total.rows);
            return Err(ErrorResponse::new(ErrorCode::LimitExceeded, message));
        }
        Ok(Prepared { export, spec, total, columns })
    }

    fn find(&self, name: &str) -> Option<&Dataset> {
        self.items.iter().find(|d| &*d.name == name)
    }
}

/// Equal for equal requests, however they are spelled (protocol section 3).
pub(crate) fn request_key(text: &str) -> Result<String, ErrorResponse> {
    let canonical =
        canonical_json(text).ok_or_else(|| ErrorResponse::new(ErrorCode::MalformedMessage, "not JSON"))?;
    Ok(hex(&sha256(canonical.as_bytes())))
}

/// The data sets as one principal sees them; as the server itself does without one.
struct Seen<'a> {
    datasets: &'a Datasets,
    principal: Option<&'a Principal>,
}

impl ProtocolCatalog for Seen<'_> {
    fn find(&self, name: Option<&str>) -> Lookup {
        let found = match name {
            Some(name) => self.datasets.find(name),
            None => self.datasets.items.get(self.datasets.default),
        };
        match found {
            None => Lookup::Unknown,
            Some(dataset) if self.principal.is_some_and(|p| !may_read(dataset, p)) => Lookup::Forbidden,
            Some(dataset) => {
                Lookup::Found { name: Arc::clone(&dataset.name), schema: dataset.source.schema() }
            }
        }
    }
}

impl Catalog for Datasets {
    fn open(&self, spec: &Spec, scratch: &Path) -> Result<Arc<dyn Work>, WorkError> {
        let unfit = |e: ErrorResponse| WorkError::Unfit(e.message);
        let request =
            DownloadRequest::from_body(spec.request.as_bytes(), &self.defaults.limits).map_err(unfit)?;
        // The default data set may be another one by now; the accepted name counts.
        let by_name = |_: Option<&str>| Seen { datasets: self, principal: None }.find(Some(&spec.dataset));
        let mut resolved = request.resolve(&by_name, &self.defaults).map_err(unfit)?;
        resolved.output.csv.formula_guard = spec.formula_guard;
        let dataset = self.find(&spec.dataset).ok_or_else(|| WorkError::Unfit("no such data set".into()))?;
        let rows = dataset.source.rows(&spec.snapshot)?;
        let Resolved { query, output, schema, .. } = resolved;
        let is_sorted = is_sorted(&query, &schema);
        let export = Export { rows, query, output, workers: self.workers, scratch: scratch.to_owned() };
        match self.sort_rows_max.filter(|_| is_sorted) {
            Some(max) => Ok(Arc::new(Bounded { export, max })),
            None => Ok(Arc::new(export)),
        }
    }
}

/// Whether the rows are sorted other than by time.
fn is_sorted(query: &Query, schema: &Schema) -> bool {
    query.sort.first().is_some_and(|key| key.column != schema.time_index())
}

/// A sort of no more than `max` rows.
struct Bounded {
    export: Export,
    max: u64,
}

impl Work for Bounded {
    fn run(
        &self,
        sink: &mut dyn Sink,
        control: &Control,
        from: Option<&Checkpoint>,
    ) -> Result<Summary, ExportError> {
        self.export.run(sink, control, from)
    }

    fn count(&self, control: &Control) -> Result<u64, ExportError> {
        self.export.count(control)
    }

    fn rows_max(&self) -> Option<u64> {
        Some(self.max)
    }
}

fn may_read(dataset: &Dataset, principal: &Principal) -> bool {
    dataset.principals.as_ref().is_none_or(|who| who.iter().any(|name| name == principal.as_str()))
}

fn gone() -> ErrorResponse {
    ErrorResponse::new(ErrorCode::UnknownDataset, "the data set is gone")
}

fn source_error(e: &SourceError, now_ms: u64) -> ErrorResponse {
    static KIND: Repeats = Repeats::new();
    if let Some(left_out) = KIND.admit(now_ms) {
        tracing::warn!(error = %e, left_out, "a data set could not be read for a request");
    }
    match e {
        SourceError::Changed { .. } => ErrorResponse::new(
            ErrorCode::SourceChanged,
            "the data set changed; ask the operator to reload it",
        ),
        _ => ErrorResponse::new(ErrorCode::SourceError, "the data set could not be read")
            .with_retry_after(5_000),
    }
}
