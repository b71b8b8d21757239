//! Handle of a run: how far it is, whether it is stuck, and who may write its files.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};

use spandrel_jobs::{DownloadId, ErrorCode, ErrorResponse, JobTable, Now, Record};

use super::run::{Work, failure};
use super::sink::PartSink;
use crate::disk::Disk;
use crate::{Checkpoint, Control, Part, Sink};

/// Rows are counted beside a run that takes longer than this, in milliseconds: shorter ones know before.
const COUNT_AFTER_MS: u64 = 300;

/// A run that was told to stop and does not within this many milliseconds is given up.
const GRACE_MS: u64 = 5_000;

/// How a run ended: `Ok(None)` when stopped, else the rows written, or why not and whether to try again.
pub(super) type Ended = Result<Option<u64>, (ErrorResponse, bool)>;

pub(super) struct Running {
    pub(super) control: Control,
    pub(super) count_control: Control,
    pub(super) work: OnceLock<Arc<dyn Work>>,
    pub(super) bytes_before: AtomicU64,
    since_ms: u64,
    is_counting: AtomicBool,
    stalled: Mutex<Stalled>,
    verdict: Mutex<Option<(ErrorResponse, bool)>>,
    pen: Mutex<Pen>,
    /// Threads of the run that write checkpoints.
    pub(super) savers: Arc<AtomicUsize>,
}

#[derive(Default)]
struct Stalled {
    seen: (u64, u64, u64),
    since_ms: Option<u64>,
    stopped_ms: Option<u64>,
}

/// Who may write the files of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pen {
    /// Its thread, which holds the lock while it does.
    Thread,
    /// The thread reported the end.
    Laid,
    /// The thread is stuck and was given up: if it wakes some day, nothing here is its own any more.
    Taken,
}

impl Running {
    pub(super) fn new(now_ms: u64, disk: &Disk) -> Self {
        Self {
            control: Control::on(disk.clone()),
            count_control: Control::new(),
            work: OnceLock::new(),
            bytes_before: AtomicU64::new(0),
            since_ms: now_ms,
            is_counting: AtomicBool::new(false),
            stalled: Mutex::default(),
            verdict: Mutex::default(),
            pen: Mutex::new(Pen::Thread),
            savers: Arc::default(),
        }
    }

    pub(super) fn stop(&self) {
        self.control.stop();
        self.count_control.stop();
    }

    /// Stops the run as failed.
    pub(super) fn end(&self, failure: ErrorResponse, may_retry: bool) {
        self.verdict.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert((failure, may_retry));
        self.stop();
    }

    pub(super) fn take_verdict(&self) -> Option<(ErrorResponse, bool)> {
        self.verdict.lock().unwrap_or_else(PoisonError::into_inner).take()
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
            stalled.seen = seen;
            stalled.since_ms = Some(now.mono_ms);
        } else if stalled.since_ms.is_some_and(|since| now.mono_ms.saturating_sub(since) >= timeout_ms) {
            drop(stalled);
            self.end(failure(ErrorCode::Timeout, "the source gave no rows for too long"), true);
        }
    }

    /// Whether the run was told to stop and does not: its thread waits for a source. Tells how it ended if so; from
    /// then on the thread may not touch anything. A thread that waits for the disk is not given up: nobody could say
    /// what it will have written.
    pub(super) fn give_up(&self, now: Now) -> Option<Ended> {
        if !self.control.is_stopped() {
            return None;
        }
        let mut stalled = self.stalled.lock().unwrap_or_else(PoisonError::into_inner);
        let since = *stalled.stopped_ms.get_or_insert(now.mono_ms);
        if now.mono_ms.saturating_sub(since) < GRACE_MS {
            return None;
        }
        let mut pen = match self.pen.try_lock() {
            Ok(pen) => pen,
            Err(TryLockError::Poisoned(pen)) => pen.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        if *pen != Pen::Thread || self.savers.load(Ordering::Acquire) > 0 {
            return None;
        }
        *pen = Pen::Taken;
        // Not again: the next try would wait beside the first.
        Some(self.take_verdict().map_or(Ok(None), |(failure, _)| Err((failure, false))))
    }

    /// The thread reports its end: false when it was given up before.
    pub(super) fn lay_pen(&self) -> bool {
        let mut pen = self.pen.lock().unwrap_or_else(PoisonError::into_inner);
        let is_ours = *pen == Pen::Thread;
        if is_ours {
            *pen = Pen::Laid;
        }
        is_ours
    }

    /// Whether the thread may not touch anything any more: what fails for it then says nothing about the disk.
    pub(super) fn is_given_up(&self) -> bool {
        *self.pen.lock().unwrap_or_else(PoisonError::into_inner) == Pen::Taken
    }

    /// Held while files of the run are touched.
    fn pen(&self) -> io::Result<MutexGuard<'_, Pen>> {
        let pen = self.pen.lock().unwrap_or_else(PoisonError::into_inner);
        if *pen == Pen::Thread { Ok(pen) } else { Err(io::Error::other("the run was given up")) }
    }

    pub(super) fn holding_pen<T>(&self, write: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let _pen = self.pen()?;
        write()
    }
}

/// The sink of a run, for as long as the run may write.
pub(super) struct Held<'a, 's> {
    pub(super) sink: &'a mut PartSink<'s>,
    pub(super) running: &'a Running,
}

impl Sink for Held<'_, '_> {
    fn begin(&mut self, part: u32) -> io::Result<()> {
        self.running.holding_pen(|| self.sink.begin(part))
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.running.holding_pen(|| self.sink.write(bytes))
    }

    fn end(&mut self, part: &Part) -> io::Result<()> {
        self.running.holding_pen(|| self.sink.end(part))
    }

    fn checkpoint(&mut self, at: &Checkpoint) -> io::Result<()> {
        self.running.holding_pen(|| self.sink.checkpoint(at))
    }

    fn restart(&mut self) -> io::Result<()> {
        self.running.holding_pen(|| self.sink.restart())
    }
}
