//! The job table: requests and reports in, work out (protocol section 8).

mod look;
mod moves;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use spandrel_download_protocol::{DownloadId, ErrorResponse, JobState, RequestId};

use crate::job::{Run, Wish};
use crate::queue::Queue;
use crate::{Cursor, Job, JobError, Limits, Now, PartFile, Principal, Record, Retention, Spec, Total};

/// Milliseconds to wait when nothing running says how long it will take.
const RETRY_AFTER_MS: u64 = 5_000;

/// What a record without parts costs beside its request, and what a part costs, in bytes of memory.
const RECORD_BYTES: usize = 1_024;
const PART_BYTES: usize = 192;

/// A job to be accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewJob {
    /// Fresh random name.
    pub id: DownloadId,
    /// Owner.
    pub principal: Principal,
    /// The client's name for it.
    pub request_id: RequestId,
    /// What to do.
    pub spec: Spec,
    /// How many rows that is, as far as known.
    pub total: Total,
}

/// Work for the driver, to be done in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// Make the record durable. For a new job, answer with [`JobTable::stored`] or [`JobTable::not_stored`].
    Persist(DownloadId),
    /// Start or continue writing files; report with `progress`, `part_done`, and one of `finished`,
    /// `stopped` and `failed`.
    Start(DownloadId),
    /// Stop the run as soon as possible; it reports `stopped` (or that it was over before).
    Stop(DownloadId),
    /// The job changed in a way its listeners want to know.
    Changed(DownloadId),
    /// Delete the files; nothing is running any more.
    DeleteFiles(DownloadId),
    /// Delete the record and all that is left. The job is not in the table any more, unless a run is still
    /// to be stopped: then `DeleteFiles` follows.
    Forget(DownloadId),
}

/// All jobs of a server. Drain [`poll`](Self::poll) to `None` after each call that takes `&mut self`.
#[derive(Debug)]
pub struct JobTable {
    limits: Limits,
    retention: Retention,
    jobs: HashMap<DownloadId, Job>,
    keys: HashMap<(Principal, RequestId), DownloadId>,
    order: BTreeSet<Cursor>,
    queue: Queue,
    active: BTreeMap<Principal, usize>,
    active_len: usize,
    busy: BTreeSet<DownloadId>,
    storing_len: usize,
    held_bytes: usize,
    deadlines: BTreeSet<(u64, DownloadId)>,
    retries: BTreeSet<(u64, DownloadId)>,
    is_closed: bool,
    out: VecDeque<Output>,
}

impl JobTable {
    /// An empty table.
    pub fn new(limits: Limits, retention: Retention) -> Self {
        Self {
            limits,
            retention,
            jobs: HashMap::new(),
            keys: HashMap::new(),
            order: BTreeSet::new(),
            queue: Queue::default(),
            active: BTreeMap::new(),
            active_len: 0,
            busy: BTreeSet::new(),
            storing_len: 0,
            held_bytes: 0,
            deadlines: BTreeSet::new(),
            retries: BTreeSet::new(),
            is_closed: false,
            out: VecDeque::new(),
        }
    }

    /// The next piece of work.
    pub fn poll(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// Takes back a record of an earlier process. Waiting and running jobs are queued again, whatever the
    /// queue's bound says: they were accepted. Call it in order of acceptance.
    pub fn restore(&mut self, now: Now, mut record: Record) {
        let id = record.id;
        if matches!(record.state, JobState::Pending | JobState::Generating) {
            record.state = JobState::Pending;
            record.restarts = record.restarts.saturating_add(1);
            self.queue.push(&record.principal, id);
            self.out.push_back(Output::Persist(id));
        }
        let is_void = matches!(record.state, JobState::Failed | JobState::Cancelled | JobState::Expired);
        self.insert(Job::new(now, record, true));
        self.retain(now, id);
        if is_void {
            // The process may have ended between the record and the files.
            self.drop_files(id);
        }
        self.schedule(now);
    }

    /// Finds the job that `principal` made with `request_id`.
    ///
    /// # Errors
    /// [`JobError::RequestIdConflict`] when its request is another one, [`JobError::Expired`] when its files
    /// are gone, [`JobError::Storing`] when it is not durable yet.
    pub fn find(
        &self,
        principal: &Principal,
        request_id: &RequestId,
        request_key: &str,
    ) -> Result<Option<DownloadId>, JobError> {
        // A tuple of borrowed halves cannot look up a tuple of owned ones: two counted references a request.
        let key = (principal.clone(), request_id.clone());
        let Some(job) = self.keys.get(&key).and_then(|id| self.jobs.get(id)) else { return Ok(None) };
        match job {
            _ if job.record.spec.request_key != request_key => Err(JobError::RequestIdConflict),
            _ if !job.is_stored => Err(JobError::Storing),
            _ if job.state() == JobState::Expired => Err(JobError::Expired),
            _ => Ok(Some(job.id())),
        }
    }

    /// Accepts a job: it gets [`Output::Persist`], and runs only after [`stored`](Self::stored).
    ///
    /// # Errors
    /// [`JobError::TooManyParts`], [`JobError::Overloaded`], or what [`find`](Self::find) says of a job with
    /// the same key; an equal request is not an error of `find`, so ask it first.
    pub fn create(&mut self, now: Now, new: NewJob) -> Result<(), JobError> {
        if self.find(&new.principal, &new.request_id, &new.spec.request_key)?.is_some() {
            return Err(JobError::RequestIdConflict);
        }
        let parts = new.spec.parts_of(new.total.rows);
        if new.total.is_exact && parts > u64::from(self.limits.max_parts) {
            return Err(JobError::TooManyParts { parts, max: self.limits.max_parts });
        }
        if self.jobs.len() >= self.limits.jobs_max || self.held_bytes >= self.limits.record_bytes_max {
            return Err(self.overloaded(self.jobs.len()));
        }
        self.admit(&new.principal)?;
        let id = new.id;
        self.storing_len += 1;
        self.insert(Job::new(
            now,
            Record {
                id,
                principal: new.principal,
                request_id: new.request_id,
                spec: new.spec,
                state: JobState::Pending,
                created_ms: now.wall_ms,
                changed_ms: now.wall_ms,
                elapsed_ms: 0,
                rows: 0,
                scanned: 0,
                bytes: 0,
                total: new.total,
                restarts: 0,
                parts: Vec::new(),
                failure: None,
                expires_ms: None,
            },
            false,
        ));
        self.out.push_back(Output::Persist(id));
        Ok(())
    }

    /// The record of a new job is durable: it may run.
    pub fn stored(&mut self, now: Now, id: DownloadId) {
        let Some(job) = self.jobs.get_mut(&id).filter(|job| !job.is_stored) else { return };
        job.is_stored = true;
        self.storing_len -= 1;
        self.queue.push(&job.record.principal, id);
        self.schedule(now);
    }

    /// The record of a new job could not be made durable: it never was.
    pub fn not_stored(&mut self, id: DownloadId) {
        if self.jobs.get(&id).is_some_and(|job| !job.is_stored) {
            self.storing_len -= 1;
            self.remove(id);
            self.out.push_back(Output::Forget(id));
        }
    }

    /// Pauses a job. If its run has to stop first, the state changes when `stopped` is reported.
    ///
    /// # Errors
    /// [`JobError::NotFound`], [`JobError::InvalidState`] when the job is over.
    pub fn pause(&mut self, now: Now, principal: &Principal, id: DownloadId) -> Result<(), JobError> {
        let job = self.own_mut(principal, id)?;
        match (job.state(), job.run) {
            (JobState::Paused, _) => {}
            (JobState::Generating, Run::Busy) => {
                if std::mem::replace(&mut job.wish, Wish::Pause) == Wish::Nothing {
                    self.out.push_back(Output::Stop(id));
                }
            }
            (JobState::Pending | JobState::Generating, _) => self.settle(now, id, JobState::Paused),
            (state, _) => return Err(JobError::InvalidState { state }),
        }
        Ok(())
    }

    /// Queues a paused job again.
    ///
    /// # Errors
    /// [`JobError::NotFound`], [`JobError::InvalidState`] when the job is over, [`JobError::Overloaded`].
    pub fn resume(&mut self, now: Now, principal: &Principal, id: DownloadId) -> Result<(), JobError> {
        let job = self.own_mut(principal, id)?;
        match job.state() {
            JobState::Generating if job.wish == Wish::Pause => job.wish = Wish::Requeue,
            JobState::Pending | JobState::Generating => {}
            JobState::Paused => {
                self.admit(principal)?;
                self.requeue(now, id);
            }
            state => return Err(JobError::InvalidState { state }),
        }
        Ok(())
    }

    /// Ends a job at once; its files go when its run has stopped.
    ///
    /// # Errors
    /// [`JobError::NotFound`], [`JobError::InvalidState`] when the job is over in another way.
    pub fn cancel(&mut self, now: Now, principal: &Principal, id: DownloadId) -> Result<(), JobError> {
        match self.own_mut(principal, id)?.state() {
            JobState::Cancelled => {}
            JobState::Pending | JobState::Generating | JobState::Paused => {
                self.settle(now, id, JobState::Cancelled)
            }
            state => return Err(JobError::InvalidState { state }),
        }
        Ok(())
    }

    /// Cancels a job if need be and removes it with its record and files.
    ///
    /// # Errors
    /// [`JobError::NotFound`].
    pub fn delete(&mut self, now: Now, principal: &Principal, id: DownloadId) -> Result<(), JobError> {
        if !self.own_mut(principal, id)?.state().is_final() {
            self.settle(now, id, JobState::Cancelled);
        }
        self.forget(id);
        self.schedule(now);
        Ok(())
    }

    /// A run is this far. Numbers never fall in the table, also when a run begins again at a checkpoint.
    pub fn progress(&mut self, now: Now, id: DownloadId, rows: u64, scanned: u64, bytes: u64) {
        let Some(job) = self.running_mut(id) else { return };
        let record = &mut job.record;
        let seen = (record.rows, record.scanned, record.bytes);
        let cap = if record.total.is_exact { record.total.rows } else { u64::MAX };
        record.rows = record.rows.max(rows.min(cap));
        record.scanned = record.scanned.max(scanned);
        record.bytes = record.bytes.max(bytes);
        let is_new = seen != (record.rows, record.scanned, record.bytes);
        job.meter.sample(now.mono_ms, job.record.rows, job.record.scanned);
        job.show();
        // A stalled run still changes its speed, until that has come down to zero.
        if is_new || job.meter.speed().0 > 0.0 {
            self.out.push_back(Output::Changed(id));
        }
    }

    /// A part has its final name and is durable. Parts already known are left as they are.
    pub fn part_done(&mut self, id: DownloadId, part: PartFile) {
        let Some(job) = self.running_mut(id) else { return };
        if job.record.parts.iter().all(|p| p.index != part.index) {
            job.record.parts.push(part);
            job.record.parts.sort_unstable_by_key(|p| p.index);
            self.held_bytes += PART_BYTES;
            self.out.push_back(Output::Changed(id));
        }
    }

    /// The files written so far are void; the run begins again from nothing.
    pub fn voided(&mut self, id: DownloadId) {
        if self.running_mut(id).is_some() {
            self.drop_parts(id);
        }
    }

    /// The exact number of rows is known now.
    pub fn total_known(&mut self, id: DownloadId, rows: u64) {
        let Some(job) = self.running_mut(id) else { return };
        if !job.record.total.is_exact {
            job.record.total.rows = rows.max(job.record.rows);
            job.record.total.is_exact = true;
            job.show();
            self.out.push_back(Output::Changed(id));
        }
    }

    /// Every part is written and durable; `rows` in all.
    pub fn finished(&mut self, now: Now, id: DownloadId, rows: u64) {
        let expires_ms = now.wall_ms.saturating_add(self.retention.file_ttl_ms);
        let Some(job) = self.over(id) else { return };
        if job.is_deleted || job.state().is_final() {
            return self.clean(now, id);
        }
        job.record.rows = rows;
        job.record.total = Total { rows, is_exact: true, scan_rows: job.record.total.scan_rows };
        job.record.scanned = job.record.scanned.max(job.record.total.scan_rows);
        job.record.bytes = job.record.parts.iter().map(|p| p.bytes).sum();
        job.record.expires_ms = Some(expires_ms);
        self.settle(now, id, JobState::Completed);
    }

    /// The run stopped as it was told, at a durable place.
    pub fn stopped(&mut self, now: Now, id: DownloadId) {
        let Some(job) = self.over(id) else { return };
        if job.is_deleted || job.state().is_final() {
            return self.clean(now, id);
        }
        match std::mem::replace(&mut job.wish, Wish::Nothing) {
            Wish::Pause => self.settle(now, id, JobState::Paused),
            Wish::Requeue => self.requeue(now, id),
            // The server goes down: the record says "generating", and that is how the next process finds it.
            Wish::Nothing => {}
        }
    }

    /// The run failed. `may_retry` tells failures that may pass by themselves: such a run is started again
    /// up to `retries_max` times, counted anew whenever it came further than the time before.
    pub fn failed(&mut self, now: Now, id: DownloadId, failure: ErrorResponse, may_retry: bool) {
        let (retries_max, delay_ms) = (self.limits.retries_max, self.limits.retry_delay_ms);
        let Some(job) = self.over(id) else { return };
        if job.is_deleted || job.state().is_final() {
            return self.clean(now, id);
        }
        if job.record.rows > job.retry_rows {
            job.retry_rows = job.record.rows;
            job.retries = 0;
        }
        if may_retry && job.wish == Wish::Pause {
            return self.settle(now, id, JobState::Paused);
        }
        if may_retry && job.retries < retries_max {
            let at_ms = now.mono_ms.saturating_add(delay_ms.saturating_mul(1 << job.retries.min(20)));
            job.retries += 1;
            job.run = Run::Waiting;
            job.wish = Wish::Nothing;
            job.retry_at_ms = Some(at_ms);
            self.retries.insert((at_ms, id));
            self.take_slot(id);
            return;
        }
        job.record.failure = Some(failure);
        self.settle(now, id, JobState::Failed);
    }

    /// Does what time asks for: retries, expiry, the end of records.
    pub fn tick(&mut self, now: Now) {
        while let Some((_, id)) = self.retries.first().copied().filter(|(at, _)| *at <= now.mono_ms) {
            self.retries.pop_first();
            if let Some(job) = self.jobs.get_mut(&id) {
                job.retry_at_ms = None;
                job.run = Run::Busy;
                self.busy.insert(id);
                job.meter.start(now.mono_ms, job.record.rows, job.record.scanned);
                self.out.push_back(Output::Start(id));
            }
        }
        while let Some((_, id)) = self.deadlines.first().copied().filter(|(at, _)| *at <= now.mono_ms) {
            self.deadlines.pop_first();
            if let Some(job) = self.jobs.get_mut(&id) {
                job.retain_until_ms = None;
                match job.state() {
                    JobState::Paused => self.settle(now, id, JobState::Cancelled),
                    JobState::Completed => self.settle(now, id, JobState::Expired),
                    _ => self.forget(id),
                }
            }
        }
    }

    /// Milliseconds until [`tick`](Self::tick) has something to do.
    pub fn next_tick_ms(&self, now: Now) -> Option<u64> {
        let retry = self.retries.first().map(|(at, _)| at.saturating_sub(now.mono_ms));
        let end = self.deadlines.first().map(|(at, _)| at.saturating_sub(now.mono_ms));
        retry.into_iter().chain(end).min()
    }

    /// Starts nothing more and stops every run: the process is about to end.
    pub fn close(&mut self) {
        self.is_closed = true;
        self.retries.clear();
        self.out.extend(self.busy.iter().map(|id| Output::Stop(*id)));
    }

    fn insert(&mut self, job: Job) {
        let id = job.id();
        self.keys.insert((job.record.principal.clone(), job.record.request_id.clone()), id);
        self.order.insert(Cursor { created_ms: job.record.created_ms, id });
        self.held_bytes += bytes_of(&job);
        self.jobs.insert(id, job);
    }

    fn remove(&mut self, id: DownloadId) {
        let Some(job) = self.jobs.remove(&id) else { return };
        self.held_bytes -= bytes_of(&job);
        self.order.remove(&Cursor { created_ms: job.record.created_ms, id });
        self.unkey(&job);
    }

    fn unkey(&mut self, job: &Job) {
        let key = (job.record.principal.clone(), job.record.request_id.clone());
        if self.keys.get(&key) == Some(&job.id()) {
            self.keys.remove(&key);
        }
    }

    /// Whether one more job may wait or run.
    fn admit(&self, principal: &Principal) -> Result<(), JobError> {
        // Jobs being stored are as good as waiting.
        let storing = self.storing_len;
        let own = self.active.get(principal).copied().unwrap_or(0);
        // While a slot is free, all who wait are at their own bound: a full queue of theirs is nobody else's.
        let starts_now = self.active_len + storing < self.limits.max_active
            && own + storing < self.limits.max_active_per_principal;
        if !starts_now && self.queue.len() + storing >= self.limits.max_queued {
            return Err(self.overloaded(self.queue.len()));
        }
        Ok(())
    }

    fn overloaded(&self, waiting: usize) -> JobError {
        JobError::Overloaded { waiting, retry_after_ms: self.retry_after_ms() }
    }

    /// When the first of the running jobs may be done.
    fn retry_after_ms(&self) -> u64 {
        let busy = self.busy.iter().filter_map(|id| self.jobs.get(id));
        let left = busy.map(|job| job.progress().remaining_s);
        let first = left.filter(|s| *s >= 0.0).fold(f64::INFINITY, f64::min);
        if !first.is_finite() {
            return RETRY_AFTER_MS;
        }
        // Between one second and one minute, so the cast loses a fraction at most.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "clamped to 1,000..=60,000"
        )]
        let ms = (first * 1_000.0).clamp(1_000.0, 60_000.0) as u64;
        ms
    }

    fn own_mut(&mut self, principal: &Principal, id: DownloadId) -> Result<&mut Job, JobError> {
        let job = self.jobs.get_mut(&id).filter(|job| job.is_stored && !job.is_deleted);
        job.filter(|job| job.principal() == principal).ok_or(JobError::NotFound)
    }

    fn running_mut(&mut self, id: DownloadId) -> Option<&mut Job> {
        self.jobs.get_mut(&id).filter(|job| job.run == Run::Busy && job.state() == JobState::Generating)
    }

    /// A run reported its end: the slot is free.
    fn over(&mut self, id: DownloadId) -> Option<&mut Job> {
        self.jobs.get(&id).filter(|job| job.run == Run::Busy)?;
        self.free_slot(id);
        self.jobs.get_mut(&id)
    }
}

/// What the job costs in memory, as far as a client has it in hand.
fn bytes_of(job: &Job) -> usize {
    RECORD_BYTES + job.record.spec.request.len() + job.record.parts.len() * PART_BYTES
}
