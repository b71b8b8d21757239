//! One run of a job: open the work, write the parts, report how it ended.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use spandrel_export::SourceError;
use spandrel_jobs::{DownloadId, ErrorCode, ErrorResponse, JobTable, Now, Record, Spec};

use super::Inner;
use super::sink::{Event, PartSink};
use super::store::SCRATCH;
use crate::{Checkpoint, Control, Export, ExportError, Sink, Summary};

/// Rows are counted beside a run that takes longer than this, in milliseconds: shorter ones know before.
const COUNT_AFTER_MS: u64 = 300;

/// What a job does, opened: an [`Export`], or something else in tests.
pub trait Work: Send + Sync {
    /// See [`Export::run`].
    ///
    /// # Errors
    /// See [`Export::run`].
    fn run(
        &self,
        sink: &mut dyn Sink,
        control: &Control,
        from: Option<&Checkpoint>,
    ) -> Result<Summary, ExportError>;

    /// See [`Export::count`].
    ///
    /// # Errors
    /// See [`Export::count`].
    fn count(&self, control: &Control) -> Result<u64, ExportError>;

    /// Rows it may have. Counted before the first run when the total is not exact by then. Default: no bound.
    fn rows_max(&self) -> Option<u64> {
        None
    }
}

impl Work for Export {
    fn run(
        &self,
        sink: &mut dyn Sink,
        control: &Control,
        from: Option<&Checkpoint>,
    ) -> Result<Summary, ExportError> {
        Self::run(self, sink, control, from)
    }

    fn count(&self, control: &Control) -> Result<u64, ExportError> {
        Self::count(self, control)
    }
}

/// Opens the work of accepted jobs, also after a restart.
pub trait Catalog: Send + Sync {
    /// The work that `spec` describes; `scratch` is a folder of the job's own.
    ///
    /// # Errors
    /// [`WorkError`].
    fn open(&self, spec: &Spec, scratch: &Path) -> Result<Arc<dyn Work>, WorkError>;
}

/// The work of a job cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkError {
    /// The source says no.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// What was accepted once is not understood any more (a data set or column that is gone).
    #[error("the accepted request does not fit the data set any more: {0}")]
    Unfit(String),
}

/// Handle of a run.
pub(super) struct Running {
    control: Control,
    count_control: Control,
    since_ms: u64,
    work: OnceLock<Arc<dyn Work>>,
    is_counting: AtomicBool,
    bytes_before: AtomicU64,
    stalled: Mutex<Stalled>,
    verdict: Mutex<Option<(ErrorResponse, bool)>>,
}

#[derive(Default)]
struct Stalled {
    seen: (u64, u64, u64),
    since_ms: Option<u64>,
}

impl Running {
    pub(super) fn new(now_ms: u64) -> Self {
        Self {
            control: Control::new(),
            count_control: Control::new(),
            since_ms: now_ms,
            work: OnceLock::new(),
            is_counting: AtomicBool::new(false),
            bytes_before: AtomicU64::new(0),
            stalled: Mutex::default(),
            verdict: Mutex::default(),
        }
    }

    pub(super) fn stop(&self) {
        self.control.stop();
        self.count_control.stop();
    }

    pub(super) fn report(&self, table: &mut JobTable, now: Now, id: DownloadId) {
        let bytes = self.bytes_before.load(Ordering::Relaxed).saturating_add(self.control.bytes());
        table.progress(now, id, self.control.rows(), self.control.scanned(), bytes);
    }

    /// Once, when the run has gone on for a while.
    pub(super) fn wants_count(&self, now: Now) -> bool {
        now.mono_ms.saturating_sub(self.since_ms) >= COUNT_AFTER_MS
            && self.work.get().is_some()
            && !self.is_counting.swap(true, Ordering::Relaxed)
    }

    /// Ends a run whose source gives nothing for too long.
    pub(super) fn watch(&self, now: Now, record: &Record, timeout_ms: u64) {
        let seen = (self.control.rows(), self.control.scanned(), self.control.bytes());
        let mut stalled = self.stalled.lock().unwrap_or_else(PoisonError::into_inner);
        let is_reading =
            !record.total.is_exact && seen.1 < record.total.scan_rows || seen.0 < record.total.rows;
        if seen != stalled.seen || !is_reading || stalled.since_ms.is_none() {
            *stalled = Stalled { seen, since_ms: Some(now.mono_ms) };
        } else if stalled.since_ms.is_some_and(|since| now.mono_ms.saturating_sub(since) >= timeout_ms) {
            self.end(failure(ErrorCode::Timeout, "the source gave no rows for too long"), true);
        }
    }

    /// Stops the run as failed.
    fn end(&self, failure: ErrorResponse, may_retry: bool) {
        self.verdict.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert((failure, may_retry));
        self.stop();
    }
}

impl Inner {
    /// Starts the thread of a run whose handle is in the table of runs already.
    pub(super) fn start(self: &Arc<Self>, id: DownloadId) {
        let inner = Arc::clone(self);
        let thread = std::thread::Builder::new().name("job".into());
        if let Err(e) = thread.spawn(move || inner.run(id)) {
            tracing::error!(job = %id, error = %e, "no thread for a job");
            self.over(
                id,
                Err((failure(ErrorCode::MemoryLimit, "no thread could be started for the download"), true)),
            );
        }
    }

    fn run(self: Arc<Self>, id: DownloadId) {
        let handle = self.lock().running.get(&id).cloned();
        let spec = self.lock().table.record_to_store(id).map(|record| record.spec.clone());
        let (Some(handle), Some(spec)) = (handle, spec) else { return self.over(id, Ok(None)) };
        let ended = catch_unwind(AssertUnwindSafe(|| self.export(id, &spec, &handle)));
        handle.count_control.stop();
        let verdict = handle.verdict.lock().unwrap_or_else(PoisonError::into_inner).take();
        let ended = match (ended, verdict) {
            (Ok(Ok(None)), Some(verdict)) => Err(verdict),
            (Ok(ended), _) => ended,
            (Err(_), _) => Err((failure(ErrorCode::Internal, "the export failed unexpectedly"), false)),
        };
        self.over(id, ended);
    }

    /// `Ok(None)` when stopped, else the rows written or why not and whether to try again.
    fn export(
        &self,
        id: DownloadId,
        spec: &Spec,
        handle: &Running,
    ) -> Result<Option<u64>, (ErrorResponse, bool)> {
        let dir = self.store.dir(id);
        let work = self.catalog.open(spec, &dir.join(SCRATCH)).map_err(|e| match e {
            WorkError::Source(e) => source_failure(&e),
            WorkError::Unfit(what) => {
                tracing::warn!(job = %id, what, "an accepted job does not fit its data set any more");
                (
                    failure(ErrorCode::SourceChanged, "the data set changed since the download was accepted"),
                    false,
                )
            }
        })?;
        let work = handle.work.get_or_init(|| work);
        let clock = || self.now().mono_ms;
        let tell = |event: Event| {
            let mut shared = self.lock();
            match event {
                Event::Done(part) => shared.table.part_done(id, part),
                Event::Voided => shared.table.voided(id),
            }
            let work = shared.take_work(self.now());
            drop(shared);
            // Parts only ever say "changed".
            work.into_iter().for_each(|_| (self.on_change)(id));
        };
        let io = |e: std::io::Error| {
            tracing::warn!(job = %id, error = %e, "the files of a job failed");
            (failure(ErrorCode::FileSystem, "the files of the download could not be written"), true)
        };
        let (mut sink, from) =
            PartSink::open(dir, spec, self.config.limits.max_parts, &clock, &tell).map_err(io)?;
        handle.bytes_before.store(sink.bytes(), Ordering::Relaxed);
        match self.within_bound(id, work.as_ref(), &handle.control, from.is_none()) {
            Ok(true) => {}
            Ok(false) => return Err((too_many_rows(), false)),
            Err(ExportError::Stopped) => return Ok(None),
            Err(ExportError::Source(e)) => return Err(source_failure(&e)),
            Err(e) => {
                tracing::warn!(job = %id, error = %e, "the rows of a job could not be counted");
                return Err((failure(ErrorCode::Internal, "the export failed unexpectedly"), false));
            }
        }
        match work.run(&mut sink, &handle.control, from.as_ref()) {
            Ok(summary) => {
                sink.finish().map_err(io)?;
                Ok(Some(summary.rows))
            }
            Err(ExportError::Stopped) => {
                sink.save().map_err(io)?;
                Ok(None)
            }
            Err(e) => {
                tracing::warn!(job = %id, error = %e, "an export failed");
                let _ = sink.save();
                Err(match e {
                    _ if sink.is_over_limit() => (too_many_parts(), false),
                    ExportError::Source(e) => source_failure(&e),
                    ExportError::Sink(_) | ExportError::Scratch(_) => (
                        failure(ErrorCode::FileSystem, "the files of the download could not be written"),
                        true,
                    ),
                    _ => (failure(ErrorCode::Internal, "the export failed unexpectedly"), false),
                })
            }
        }
    }

    /// Whether a run that begins has no more rows than it may.
    fn within_bound(
        &self,
        id: DownloadId,
        work: &dyn Work,
        control: &Control,
        is_first: bool,
    ) -> Result<bool, ExportError> {
        let Some(max) = work.rows_max().filter(|_| is_first) else { return Ok(true) };
        let total = self.lock().table.record_to_store(id).map(|record| record.total).unwrap_or_default();
        let rows = if total.is_exact { total.rows } else { work.count(control)? };
        if rows <= max && !total.is_exact {
            let mut shared = self.lock();
            shared.table.total_known(id, rows);
            let work = shared.take_work(self.now());
            drop(shared);
            // A total only ever says "changed".
            work.into_iter().for_each(|_| (self.on_change)(id));
        }
        Ok(rows <= max)
    }

    /// Reports the end of a run.
    fn over(self: &Arc<Self>, id: DownloadId, ended: Result<Option<u64>, (ErrorResponse, bool)>) {
        self.change_over(id, |table, now, running| {
            if let Some(running) = running {
                running.report(table, now, id);
            }
            match ended {
                Ok(Some(rows)) => table.finished(now, id, rows),
                Ok(None) => table.stopped(now, id),
                Err((failure, may_retry)) => table.failed(now, id, failure, may_retry),
            }
        });
    }

    fn change_over(
        self: &Arc<Self>,
        id: DownloadId,
        step: impl FnOnce(&mut JobTable, Now, Option<&Running>),
    ) {
        let now = self.now();
        let mut shared = self.lock();
        let running = shared.running.remove(&id);
        step(&mut shared.table, now, running.as_deref());
        let work = shared.take_work(now);
        drop(shared);
        self.carry_out(work);
        // Last, so that a shutdown that waits for runs also waits for their records.
        let mut shared = self.lock();
        shared.threads = shared.threads.saturating_sub(1);
        drop(shared);
        self.settled.notify_all();
    }

    /// Counts the rows of a job beside its run.
    pub(super) fn count(self: &Arc<Self>, id: DownloadId, running: Arc<Running>) {
        let inner = Arc::clone(self);
        let count = move || {
            let Some(work) = running.work.get() else { return };
            let Ok(rows) = work.count(&running.count_control) else { return };
            let parts_max = inner.config.limits.max_parts;
            inner.change(|table, _| {
                let parts = table.record_to_store(id).map_or(0, |record| record.spec.parts_of(rows));
                if parts > u64::from(parts_max) {
                    running.end(too_many_parts(), false);
                } else {
                    table.total_known(id, rows);
                }
            });
        };
        if let Err(e) = std::thread::Builder::new().name("count".into()).spawn(count) {
            tracing::warn!(job = %id, error = %e, "no thread to count the rows of a job");
        }
    }
}

fn failure(code: ErrorCode, message: &str) -> ErrorResponse {
    ErrorResponse::new(code, message).with_retry_after(5_000)
}

fn too_many_parts() -> ErrorResponse {
    failure(ErrorCode::LimitExceeded, "the download has more files than a job may have; ask for larger files")
}

fn too_many_rows() -> ErrorResponse {
    failure(ErrorCode::LimitExceeded, "the download sorts more rows than it may; ask for fewer")
}

fn source_failure(e: &SourceError) -> (ErrorResponse, bool) {
    match e {
        SourceError::Changed { .. } => {
            (failure(ErrorCode::SourceChanged, "the data set changed since the download was accepted"), false)
        }
        SourceError::Invalid { .. } => {
            (failure(ErrorCode::SourceError, "the data set holds something its schema does not allow"), false)
        }
        _ => (failure(ErrorCode::SourceError, "the data set could not be read"), true),
    }
}
