//! One run of a job: open the work, write the parts, report how it ended.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use spandrel_export::SourceError;
use spandrel_jobs::{DownloadId, ErrorCode, ErrorResponse, JobTable, Now, Spec};

use super::Inner;
use super::running::{Ended, Held, Running};
use super::sink::{Event, PartSink};
use super::store::SCRATCH;
use crate::disk::may_pass;
use crate::{Checkpoint, Control, Export, ExportError, Sink, Summary, internal, panic_text};

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
        if !handle.lay_pen() {
            self.lock().stuck -= 1;
            return tracing::info!(job = %id, "a thread that was given up came back");
        }
        let ended = match (ended, handle.take_verdict()) {
            (Ok(Ok(None)), Some(verdict)) => Err(verdict),
            (Ok(ended), _) => ended,
            (Err(panic), _) => {
                self.panics.fetch_add(1, Ordering::Relaxed);
                Err((internal(panic_text(&*panic)), false))
            }
        };
        self.over(id, ended);
    }

    fn export(&self, id: DownloadId, spec: &Spec, handle: &Running) -> Ended {
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
            let work = shared.take_work(self.now(), &self.config.disk);
            drop(shared);
            // Parts only ever say "changed".
            work.into_iter().for_each(|_| (self.on_change)(id));
        };
        let io = |e: std::io::Error| self.disk_failure(id, handle, &e);
        let (parts_max, disk) = (self.config.limits.max_parts, self.config.disk.clone());
        let opened =
            handle.holding_pen(|| PartSink::open(disk, dir, spec, parts_max, &clock, &tell, &handle.savers));
        let (mut sink, from) = opened.map_err(io)?;
        handle.bytes_before.store(sink.bytes(), Ordering::Relaxed);
        match self.within_bound(id, work.as_ref(), &handle.control, from.is_none()) {
            Ok(true) => {}
            Ok(false) => return Err((too_many_rows(), false)),
            Err(ExportError::Stopped) => return Ok(None),
            Err(ExportError::Source(e)) => return Err(source_failure(&e)),
            Err(e) => return Err((internal(&format!("rows of {id} could not be counted: {e}")), false)),
        }
        let ran = work.run(&mut Held { sink: &mut sink, running: handle }, &handle.control, from.as_ref());
        match ran {
            Ok(summary) => {
                handle.holding_pen(|| sink.finish()).map_err(io)?;
                Ok(Some(summary.rows))
            }
            Err(ExportError::Stopped) => {
                handle.holding_pen(|| sink.save()).map_err(io)?;
                Ok(None)
            }
            Err(e) => {
                tracing::warn!(job = %id, error = %e, "an export failed");
                Err(match e {
                    _ if sink.is_over_limit() => (too_many_parts(), false),
                    // What was written so far is as good as it was: a retry goes on from there.
                    ExportError::Source(e) => {
                        let _ = handle.holding_pen(|| sink.save());
                        source_failure(&e)
                    }
                    ExportError::Sink(e) | ExportError::Scratch(e) => io(e),
                    e => {
                        self.panics.fetch_add(u64::from(matches!(e, ExportError::Worker)), Ordering::Relaxed);
                        (internal(&format!("the export of {id} failed: {e}")), false)
                    }
                })
            }
        }
    }

    fn disk_failure(&self, id: DownloadId, handle: &Running, e: &std::io::Error) -> (ErrorResponse, bool) {
        // A source that comes back late finds its files taken, or gone: nobody hears of that failure.
        if !handle.is_given_up() {
            tracing::warn!(job = %id, error = %e, "the files of a job failed");
            self.lock().is_storage_failing = true;
        }
        let message = match e.kind() {
            std::io::ErrorKind::StorageFull => "the disk of the server is full",
            _ => "the files of the download could not be written",
        };
        (failure(ErrorCode::FileSystem, message).with_retry_after(60_000), may_pass(e))
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
            let work = shared.take_work(self.now(), &self.config.disk);
            drop(shared);
            // A total only ever says "changed".
            work.into_iter().for_each(|_| (self.on_change)(id));
        }
        Ok(rows <= max)
    }

    /// Reports the end of a run.
    pub(super) fn over(self: &Arc<Self>, id: DownloadId, ended: Ended) {
        self.note_source(id, &ended);
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

    fn note_source(&self, id: DownloadId, ended: &Ended) {
        let failed = match ended {
            Ok(None) => return,
            Ok(Some(_)) => None,
            Err((failure, _)) => Some(failure.code),
        };
        let now_ms = self.now().mono_ms;
        let mut shared = self.lock();
        if let Some(dataset) = shared.table.record_to_store(id).map(|record| record.spec.dataset.clone()) {
            shared.sources.note(&dataset, failed, now_ms);
        }
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
        let work = shared.take_work(now, &self.config.disk);
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
        let counts_max = self.config.limits.max_active.saturating_add(self.config.stuck_runs_max);
        if self.counts.fetch_add(1, Ordering::AcqRel) >= counts_max {
            // A source that blocks keeps these too; the run itself will find out the number.
            self.counts.fetch_sub(1, Ordering::AcqRel);
            return;
        }
        let count = move || {
            let _counted = CountOnDrop(&inner.counts);
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
            self.counts.fetch_sub(1, Ordering::AcqRel);
            tracing::warn!(job = %id, error = %e, "no thread to count the rows of a job");
        }
    }
}

/// Counts a thread out, also when it panics.
struct CountOnDrop<'a>(&'a std::sync::atomic::AtomicUsize);

impl Drop for CountOnDrop<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

pub(super) fn failure(code: ErrorCode, message: &str) -> ErrorResponse {
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
