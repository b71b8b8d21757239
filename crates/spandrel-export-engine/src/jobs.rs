//! Durable jobs: the job table of `spandrel-jobs` driven with real files, threads and clocks.
//!
//! Layout under the state directory: `jobs/<id>/record.json`, `parts.jsonl`, `checkpoint.json`, the parts
//! (`.tmp` while they are written) and `scratch/`. One process at a time, held by a lock on `lock`.

mod clock;
mod condition;
mod error;
#[cfg(test)]
mod fault_tests;
#[cfg(test)]
#[cfg(unix)]
mod power_tests;
mod run;
mod running;
mod sink;
mod store;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use spandrel_jobs::{
    DownloadId, JobError, JobTable, Limits, NewJob, Now, Output, Principal, RequestId, Retention, Spec,
};

pub use self::clock::{Clock, SystemClock};
pub use self::condition::Condition;
use self::condition::SourceFailures;
pub use self::error::JobsError;
pub use self::run::{Catalog, Work, WorkError};
use self::running::{Ended, Running};
use self::store::Store;
use crate::disk::Disk;

/// Progress of running jobs is looked at this often, in milliseconds.
const SAMPLE_MS: u64 = 100;
/// Records that could not be written are tried again this often, in milliseconds.
const RETRY_SAVING_MS: u64 = 1_000;
/// The longest sleep of the scheduler, in milliseconds: bounds the harm of a wall clock that is set forward.
const SLEEP_MAX_MS: u64 = 1_000;

/// Where durable jobs live and what bounds them.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct JobsConfig {
    /// Folder for everything that outlives the process; created when missing.
    pub state_dir: PathBuf,
    /// Bounds of the table.
    pub limits: Limits,
    /// How long things are kept.
    pub retention: Retention,
    /// New jobs are refused when fewer bytes are free, and running ones give way below half of it. Default: the
    /// smaller of 5 % of the disk and 512 MiB.
    pub free_bytes_min: Option<u64>,
    /// A run that neither reads nor writes for this long fails, in milliseconds. Default 300,000.
    pub source_timeout_ms: u64,
    /// Runs whose source blocks and whose threads were given up: each keeps up to one thread per worker and two
    /// more until the source answers. Default 16. At the bound new jobs are refused, and a run that blocks keeps its
    /// slot.
    pub stuck_runs_max: usize,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
    pub(crate) disk: Disk,
}

impl JobsConfig {
    /// Default bounds, state in `state_dir`.
    pub fn new(state_dir: impl Into<PathBuf>) -> Self {
        Self {
            state_dir: state_dir.into(),
            limits: Limits::default(),
            retention: Retention::default(),
            free_bytes_min: None,
            source_timeout_ms: 300_000,
            stuck_runs_max: 16,
            clock: Arc::new(SystemClock::default()),
            disk: Disk::default(),
        }
    }
}

/// What became of a request for a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// The job.
    pub id: DownloadId,
    /// It was there before.
    pub is_duplicate: bool,
}

/// A request for a job.
#[derive(Debug, Clone)]
pub struct JobRequest {
    /// Who asks.
    pub principal: Principal,
    /// The client's name for it.
    pub request_id: RequestId,
    /// What to do.
    pub spec: Spec,
    /// How many rows, as far as known.
    pub total: spandrel_jobs::Total,
}

/// Durable jobs of one state directory. Calls block for as long as the disk takes; dropping it stops the runs
/// as [`shutdown`](Self::shutdown) does.
#[derive(Debug)]
pub struct Jobs {
    inner: Arc<Inner>,
    scheduler: Mutex<Option<JoinHandle<()>>>,
}

/// Is told that a job changed; must return at once, without calling back.
pub type OnChange = Box<dyn Fn(DownloadId) + Send + Sync>;

pub(crate) struct Inner {
    config: JobsConfig,
    store: Store,
    catalog: Arc<dyn Catalog>,
    on_change: OnChange,
    state: Mutex<Shared>,
    /// A run ended or a record was stored.
    settled: Condvar,
    /// The scheduler has something to look at.
    wake: Condvar,
    /// Threads that count rows.
    counts: AtomicUsize,
    /// Bugs that runs came to.
    panics: AtomicU64,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner").field("config", &self.config).finish_non_exhaustive()
    }
}

struct Shared {
    table: JobTable,
    running: HashMap<DownloadId, Arc<Running>>,
    threads: usize,
    /// Runs that were given up and whose threads have not come back.
    stuck: usize,
    sources: SourceFailures,
    is_closed: bool,
    /// The last write failed. New jobs are refused until a probe succeeds.
    is_storage_failing: bool,
    probed_ms: Option<u64>,
    /// Records that could not be written; tried again until they are.
    unsaved: BTreeSet<DownloadId>,
    retry_saving_ms: u64,
}

impl Jobs {
    /// Opens the state directory, takes back its jobs and goes on with those that were not over.
    ///
    /// # Errors
    /// [`JobsError::Locked`] when another process uses the directory, [`JobsError::Storage`] when it cannot be
    /// read or written.
    pub fn open(
        mut config: JobsConfig,
        catalog: Arc<dyn Catalog>,
        on_change: OnChange,
    ) -> Result<Self, JobsError> {
        config.disk = config.disk.watching(&config.state_dir, config.free_bytes_min);
        let (store, mut records) = Store::open(&config.state_dir, config.disk.clone())?;
        records.sort_by_key(|record| (record.created_ms, record.id));
        let inner = Arc::new(Inner {
            store,
            catalog,
            on_change,
            state: Mutex::new(Shared {
                table: JobTable::new(config.limits, config.retention),
                running: HashMap::new(),
                threads: 0,
                stuck: 0,
                sources: SourceFailures::default(),
                is_closed: false,
                is_storage_failing: false,
                probed_ms: None,
                unsaved: BTreeSet::new(),
                retry_saving_ms: 0,
            }),
            config,
            settled: Condvar::new(),
            wake: Condvar::new(),
            counts: AtomicUsize::new(0),
            panics: AtomicU64::new(0),
        });
        inner.change(|table, now| records.into_iter().for_each(|record| table.restore(now, record)));
        let scheduler = {
            let inner = Arc::clone(&inner);
            std::thread::Builder::new().name("jobs".into()).spawn(move || inner.schedule())
        };
        let scheduler = scheduler.map_err(JobsError::storage)?;
        Ok(Self { inner, scheduler: Mutex::new(Some(scheduler)) })
    }

    /// Accepts a job, or finds the one that the same request made before. The job is durable when this returns.
    ///
    /// # Errors
    /// [`JobsError::Refused`] with the reason of the table, [`JobsError::DiskFull`], [`JobsError::DiskFailing`],
    /// [`JobsError::Stuck`], [`JobsError::ShuttingDown`], [`JobsError::Storage`] when the record could not be written.
    pub fn create(&self, id: DownloadId, request: JobRequest) -> Result<Accepted, JobsError> {
        let inner = &self.inner;
        let JobRequest { principal, request_id, spec, total } = request;
        let can_begin = inner.can_begin();
        let mut shared = inner.lock();
        let work = loop {
            match shared.table.find(&principal, &request_id, &spec.request_key) {
                Ok(Some(id)) => return Ok(Accepted { id, is_duplicate: true }),
                Err(JobError::Storing) => {
                    shared = inner.settled.wait(shared).unwrap_or_else(PoisonError::into_inner);
                    continue;
                }
                Err(e) => return Err(e.into()),
                Ok(None) if shared.is_closed => return Err(JobsError::ShuttingDown),
                Ok(None) => {}
            }
            can_begin?;
            let now = inner.now();
            shared.table.create(now, NewJob { id, principal, request_id, spec, total })?;
            break shared.take_work(now, &inner.config.disk);
        };
        drop(shared);
        // Writes the record; a failure takes the job out again.
        inner.carry_out(work);
        match inner.lock().table.job(id) {
            Some(_) => Ok(Accepted { id, is_duplicate: false }),
            None => Err(JobsError::Storage("the record could not be written".into())),
        }
    }

    /// Pauses a job and returns when no more rows are written.
    ///
    /// # Errors
    /// [`JobsError::Refused`].
    pub fn pause(&self, principal: &Principal, id: DownloadId) -> Result<(), JobsError> {
        self.inner.change(|table, now| table.pause(now, principal, id))?;
        let mut shared = self.inner.lock();
        while shared.table.job(id).is_some_and(spandrel_jobs::Job::is_pausing) {
            shared = self.inner.settled.wait(shared).unwrap_or_else(PoisonError::into_inner);
        }
        Ok(())
    }

    /// Queues a paused job again.
    ///
    /// # Errors
    /// [`JobsError::Refused`].
    pub fn resume(&self, principal: &Principal, id: DownloadId) -> Result<(), JobsError> {
        Ok(self.inner.change(|table, now| table.resume(now, principal, id))?)
    }

    /// Ends a job at once.
    ///
    /// # Errors
    /// [`JobsError::Refused`].
    pub fn cancel(&self, principal: &Principal, id: DownloadId) -> Result<(), JobsError> {
        Ok(self.inner.change(|table, now| table.cancel(now, principal, id))?)
    }

    /// Removes a job, its record and its files.
    ///
    /// # Errors
    /// [`JobsError::Refused`].
    pub fn delete(&self, principal: &Principal, id: DownloadId) -> Result<(), JobsError> {
        Ok(self.inner.change(|table, now| table.delete(now, principal, id))?)
    }

    /// Looks at the table; keep it short, everybody waits.
    pub fn read<R>(&self, look: impl FnOnce(&JobTable) -> R) -> R {
        look(&self.inner.lock().table)
    }

    /// Where the finished part called `file_name` of a job lies. The name is compared with those of the
    /// record, never joined to a path as it came.
    pub fn part_path(&self, id: DownloadId, file_name: &str) -> Option<PathBuf> {
        let shared = self.inner.lock();
        let record = shared.table.job(id)?.record();
        let part = record.parts.iter().find(|part| record.spec.file_name(part.index) == file_name)?;
        Some(self.inner.store.part_path(record, part.index))
    }

    /// How the disk under the state directory is.
    pub fn storage(&self) -> Condition {
        // Not under the lock: a disk may take its time.
        let disk = &self.inner.config.disk;
        let (is_full, has_reserve) = (disk.is_nearly_full(), disk.has_reserve());
        let shared = self.inner.lock();
        if shared.is_storage_failing {
            return Condition::Failing("the state directory cannot be written".into());
        }
        if is_full {
            return Condition::Failing("the disk is full".into());
        }
        if !has_reserve {
            return Condition::Worrying("free disk space is below the reserve".into());
        }
        match shared.unsaved.is_empty() {
            true => Condition::Well,
            false => Condition::Worrying("a record could not be written yet".into()),
        }
    }

    /// The data sets that give trouble. Empty: all is well.
    pub fn sources(&self) -> Vec<(String, Condition)> {
        let now = self.inner.now();
        let shared = self.inner.lock();
        shared.sources.conditions(self.inner.config.limits.retries_max, now.mono_ms)
    }

    /// Forgets failures of sources: they were looked at and are well.
    pub fn sources_are_well(&self) {
        self.inner.lock().sources.clear();
    }

    /// Runs whose source blocks and whose threads were given up; see [`JobsConfig::stuck_runs_max`].
    pub fn stuck_len(&self) -> usize {
        self.inner.lock().stuck
    }

    /// Bugs that runs came to so far, each told as `INTERNAL` and logged.
    pub fn panics(&self) -> u64 {
        self.inner.panics.load(Ordering::Relaxed)
    }

    /// The time as the jobs see it.
    pub fn now(&self) -> Now {
        self.inner.now()
    }

    /// Starts nothing more, stops every run at a durable place and waits for that, `timeout` at most.
    /// Returns whether all of them stopped. Jobs go on when the directory is opened again.
    pub fn shutdown(&self, timeout: Duration) -> bool {
        let inner = &self.inner;
        inner.change(|table, _| table.close());
        let mut shared = inner.lock();
        shared.is_closed = true;
        inner.wake.notify_all();
        let (shared, waited) = inner
            .settled
            .wait_timeout_while(shared, timeout, |shared| shared.threads > 0)
            .unwrap_or_else(PoisonError::into_inner);
        drop(shared);
        let scheduler = self.scheduler.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(scheduler) = scheduler {
            let _ = scheduler.join();
        }
        // The last chance to say on disk what clients were told.
        let unsaved: Vec<DownloadId> = inner.lock().unsaved.iter().copied().collect();
        for id in unsaved {
            inner.persist(id);
        }
        if !waited.timed_out() {
            inner.store.release();
        }
        !waited.timed_out()
    }
}

impl Drop for Jobs {
    fn drop(&mut self) {
        self.shutdown(Duration::from_secs(5));
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Now {
        self.config.clock.now()
    }

    /// One step of the table and the work that follows from it.
    fn change<R>(self: &Arc<Self>, step: impl FnOnce(&mut JobTable, Now) -> R) -> R {
        let now = self.now();
        let mut shared = self.lock();
        let result = step(&mut shared.table, now);
        let work = shared.take_work(now, &self.config.disk);
        drop(shared);
        self.carry_out(work);
        result
    }

    /// Does what the table asked for, in its order.
    fn carry_out(self: &Arc<Self>, mut work: Vec<Output>) {
        // New work comes from the answers to `Persist`; it goes behind what was there.
        let mut at = 0;
        while let Some(output) = work.get(at).copied() {
            at += 1;
            match output {
                Output::Persist(id) => {
                    let is_written = self.persist(id);
                    let now = self.now();
                    let mut shared = self.lock();
                    match is_written {
                        true => shared.table.stored(now, id),
                        false => shared.table.not_stored(id),
                    }
                    work.extend(shared.take_work(now, &self.config.disk));
                    self.settled.notify_all();
                }
                Output::Start(id) => self.start(id),
                Output::Stop(_) => {} // done under the lock, see `take_work`
                Output::Changed(id) => {
                    (self.on_change)(id);
                    self.settled.notify_all();
                }
                Output::DeleteFiles(id) => {
                    self.store.delete_files(id);
                    self.config.disk.cleared();
                }
                Output::Forget(id) => {
                    self.store.forget(id);
                    (self.on_change)(id);
                }
            }
        }
        self.settled.notify_all();
        self.wake.notify_all();
    }

    /// Writes the newest record of a job; false when that failed.
    fn persist(&self, id: DownloadId) -> bool {
        let written = self.store.write(id, || self.lock().table.record_to_store(id).cloned());
        if let Err(e) = &written {
            tracing::error!(job = %id, error = %e, "a job record could not be written");
        }
        let mut shared = self.lock();
        shared.is_storage_failing = written.is_err();
        let is_known = shared.table.job(id).is_some();
        if written.is_err() && is_known {
            shared.unsaved.insert(id);
        } else {
            shared.unsaved.remove(&id);
        }
        written.is_ok()
    }

    /// Whether anything new may begin.
    fn can_begin(&self) -> Result<(), JobsError> {
        if !self.config.disk.has_reserve() {
            return Err(JobsError::DiskFull);
        }
        self.probe();
        let shared = self.lock();
        if shared.is_storage_failing {
            return Err(JobsError::DiskFailing);
        }
        if shared.stuck >= self.config.stuck_runs_max { Err(JobsError::Stuck) } else { Ok(()) }
    }

    /// Looks whether a disk that failed works again; once a while, for a dying disk takes its time to say no.
    fn probe(&self) {
        let now_ms = self.now().mono_ms;
        let mut shared = self.lock();
        let is_due = shared.probed_ms.is_none_or(|last| now_ms.saturating_sub(last) >= RETRY_SAVING_MS);
        if !shared.is_storage_failing || !is_due {
            return;
        }
        shared.probed_ms = Some(now_ms);
        drop(shared);
        let is_well = self.store.probe().is_ok();
        if is_well {
            self.lock().is_storage_failing = false;
            tracing::info!("the state directory can be written again");
        }
    }

    /// The scheduler's thread: progress, retries, retention.
    fn schedule(self: Arc<Self>) {
        let mut shared = self.lock();
        while !shared.is_closed {
            let now = self.now();
            let (counts, given_up) = shared.sample(now, &self.config);
            let unsaved = shared.retry_saving(now);
            shared.table.tick(now);
            let work = shared.take_work(now, &self.config.disk);
            let is_idle = shared.running.is_empty();
            let wait_ms = shared.table.next_tick_ms(now).unwrap_or(SLEEP_MAX_MS).clamp(1, SLEEP_MAX_MS);
            let wait_ms = if is_idle { wait_ms } else { wait_ms.min(SAMPLE_MS) };
            drop(shared);
            self.carry_out(work);
            // A disk that was full is not for ever: the next process must find what clients were told.
            for id in unsaved {
                self.persist(id);
            }
            for (id, running) in counts {
                self.count(id, running);
            }
            for (id, ended) in given_up {
                tracing::error!(job = %id, "a source blocks; its thread is given up");
                self.over(id, ended);
            }
            self.probe();
            shared = self.lock();
            if !shared.is_closed && shared.running.is_empty() == is_idle {
                let wait = Duration::from_millis(wait_ms);
                let waited = if is_idle {
                    self.wake.wait_timeout(shared, wait)
                } else {
                    // Runs wake the scheduler often; samples keep their pace all the same.
                    self.wake.wait_timeout_while(shared, wait, |shared| {
                        !shared.is_closed && !shared.running.is_empty()
                    })
                };
                shared = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
        }
    }
}

impl Shared {
    /// Records to be written again: all of them, once a while.
    fn retry_saving(&mut self, now: Now) -> Vec<DownloadId> {
        if self.unsaved.is_empty() || now.mono_ms < self.retry_saving_ms {
            return Vec::new();
        }
        self.retry_saving_ms = now.mono_ms.saturating_add(RETRY_SAVING_MS);
        self.unsaved.iter().copied().collect()
    }

    /// Takes the table's work. Handles of runs are made and stopped here, under the lock, so that a stop
    /// never comes before the start it belongs to.
    fn take_work(&mut self, now: Now, disk: &Disk) -> Vec<Output> {
        let mut work = Vec::new();
        while let Some(output) = self.table.poll() {
            match output {
                Output::Start(id) => {
                    self.running.insert(id, Arc::new(Running::new(now.mono_ms, disk)));
                    self.threads += 1;
                }
                Output::Stop(id) => {
                    if let Some(running) = self.running.get(&id) {
                        running.stop();
                    }
                }
                _ => {}
            }
            work.push(output);
        }
        work
    }

    /// Tells the table how far the runs are; returns those whose rows should be counted now, and those whose threads
    /// were given up.
    #[expect(clippy::type_complexity, reason = "two lists of two")]
    fn sample(
        &mut self,
        now: Now,
        config: &JobsConfig,
    ) -> (Vec<(DownloadId, Arc<Running>)>, Vec<(DownloadId, Ended)>) {
        let (mut counts, mut given_up) = (Vec::new(), Vec::new());
        for (id, running) in &self.running {
            running.report(&mut self.table, now, *id);
            if self.stuck < config.stuck_runs_max
                && let Some(ended) = running.give_up(now)
            {
                self.stuck += 1;
                given_up.push((*id, ended));
                continue;
            }
            let Some(job) = self.table.job(*id) else { continue };
            running.watch(now, job.record(), config.source_timeout_ms);
            if !job.record().total.is_exact && running.wants_count(now) {
                counts.push((*id, Arc::clone(running)));
            }
        }
        (counts, given_up)
    }
}
