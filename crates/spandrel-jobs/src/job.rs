//! One job in the table: its record and what only this process knows of it.

use crate::meter::{Meter, hundredths, seconds_left};
use crate::{DownloadId, JobState, Now, Principal, Record};

/// A job of a [`JobTable`](crate::JobTable).
#[derive(Debug)]
pub struct Job {
    pub(crate) record: Record,
    pub(crate) run: Run,
    pub(crate) wish: Wish,
    pub(crate) is_stored: bool,
    pub(crate) is_deleted: bool,
    pub(crate) retries: u32,
    pub(crate) retry_rows: u64,
    pub(crate) retry_at_ms: Option<u64>,
    /// On the monotonic clock, like all that something waits for.
    pub(crate) retain_until_ms: Option<u64>,
    /// When this process took the job, on the monotonic clock, and how old it was then.
    taken_ms: u64,
    age_ms: u64,
    pub(crate) meter: Meter,
    pub(crate) shown: u16,
}

/// Whether threads and files are in use for the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Run {
    Idle,
    /// Started and not yet reported over: holds its slot.
    Busy,
    /// Between two tries: holds its slot too.
    Waiting,
}

/// What is to become of a job once its run has stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    Nothing,
    Pause,
    Requeue,
}

/// How far a job is; the numbers of the protocol's `ProgressUpdate`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Percent, 0 to 100, two decimals, rounded down; 100 only when every row is written.
    pub percent: f64,
    /// Rows written.
    pub rows: u64,
    /// Rows to write, or an upper bound.
    pub total_rows: u64,
    /// Whether `total_rows` is final.
    pub is_exact: bool,
    /// Rows per second over the last 5 s of running.
    pub rows_per_s: f64,
    /// Seconds; -1 when unknown.
    pub remaining_s: f64,
    /// JobState.
    pub state: JobState,
    /// Stored bytes written.
    pub bytes: u64,
    /// Times continued by a new process.
    pub restarts: u32,
}

impl Job {
    pub(crate) fn new(now: Now, record: Record, is_stored: bool) -> Self {
        let mut job = Self {
            taken_ms: now.mono_ms,
            age_ms: now.wall_ms.saturating_sub(record.created_ms),
            record,
            run: Run::Idle,
            wish: Wish::Nothing,
            is_stored,
            is_deleted: false,
            retries: 0,
            retry_rows: 0,
            retry_at_ms: None,
            retain_until_ms: None,
            meter: Meter::default(),
            shown: 0,
        };
        job.show();
        job
    }

    /// What is kept on disk.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Name.
    pub fn id(&self) -> DownloadId {
        self.record.id
    }

    /// Owner.
    pub fn principal(&self) -> &Principal {
        &self.record.principal
    }

    /// JobState.
    pub fn state(&self) -> JobState {
        self.record.state
    }

    /// A pause was asked for and its run has not stopped yet.
    pub fn is_pausing(&self) -> bool {
        self.wish == Wish::Pause
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        let record = &self.record;
        let (speed, scan_speed) = self.meter.speed();
        let left = |all: u64, done: u64| all.saturating_sub(done);
        let remaining_s = match record.state {
            JobState::Completed | JobState::Expired => 0.0,
            JobState::Generating if record.total.is_exact => {
                seconds_left(left(record.total.rows, record.rows), speed)
            }
            JobState::Generating => seconds_left(left(record.total.scan_rows, record.scanned), scan_speed),
            _ => -1.0,
        };
        Progress {
            percent: f64::from(self.shown) / 100.0,
            rows: record.rows,
            total_rows: record.total.rows,
            is_exact: record.total.is_exact,
            rows_per_s: speed,
            remaining_s,
            state: record.state,
            bytes: record.bytes,
            restarts: record.restarts,
        }
    }

    pub(crate) fn enter(&mut self, now: Now, state: JobState) {
        self.record.state = state;
        self.record.changed_ms = now.wall_ms;
        if state != JobState::Generating {
            self.meter.stop();
        }
        if state.is_final() && state != JobState::Expired {
            self.record.elapsed_ms = self.age_ms.saturating_add(now.mono_ms.saturating_sub(self.taken_ms));
        }
        self.show();
    }

    /// Raises the shown percentage; it never falls while the process lives.
    pub(crate) fn show(&mut self) {
        let record = &self.record;
        let percent = match record.state {
            JobState::Completed | JobState::Expired => 10_000,
            _ if record.total.is_exact => hundredths(record.rows, record.total.rows),
            _ => hundredths(record.scanned, record.total.scan_rows).min(9_999),
        };
        self.shown = self.shown.max(percent);
    }
}
