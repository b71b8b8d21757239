//! Faults of disk, source and clock, one at a time and at every step.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use spandrel_download_protocol::{Codec, Format, Output as Bytes, Query, SortKey, SortOrder, Timestamp};
use spandrel_jobs::{ErrorCode, JobState, Spec};
use spandrel_source_parquet::{DatasetConfig, write_trades};

use super::tests::{Bench, Numbers, Shelf, expected, id, me, request};
use super::*;
use crate::disk::Op;
use crate::disk::faults::Faults;
use crate::{Checkpoint, Control, Export, ExportError, Sink, Summary};

/// A clock that goes on a little whenever somebody looks, so that checkpoints are due often.
#[derive(Debug, Default)]
pub(super) struct Stepping(AtomicU64);

impl Clock for Stepping {
    fn now(&self) -> Now {
        let ms = self.0.fetch_add(1_000, Ordering::Relaxed);
        Now { mono_ms: ms, wall_ms: 1_700_000_000_000 + ms }
    }
}

fn faulty(dir: &Path, faults: &Arc<Faults>) -> JobsConfig {
    let mut config = JobsConfig::new(dir);
    config.disk.faults = Some(Arc::clone(faults));
    config.clock = Arc::new(Stepping::default());
    config.source_timeout_ms = u64::MAX;
    (config.limits.retries_max, config.limits.retry_delay_ms) = (1, 1);
    config
}

/// Real rows: sorted, so that runs go to disk, compressed, in several parts.
#[derive(Debug)]
pub(super) struct Trades(Export);

impl Trades {
    pub(super) fn new(dir: &Path) -> Self {
        write_trades(3_000, dir, &mut |_| ()).unwrap();
        let source = spandrel_source_parquet::open(DatasetConfig::new("trades", dir)).unwrap();
        let mut output = Bytes::new(Format::Ndjson);
        (output.codec, output.rows_per_part) = (Some(Codec::Gzip), Some(1_000));
        let query = Query {
            from: Timestamp::parse("2000-01-01T00:00:00Z").unwrap(),
            to: Timestamp::parse("2100-01-01T00:00:00Z").unwrap(),
            filters: vec![],
            columns: (0..4).collect(),
            sort: vec![SortKey { column: 3, order: SortOrder::Desc }],
            limit: None,
        };
        let rows = source.rows(&source.snapshot()).unwrap();
        Self(Export { rows, query, output, workers: 1, scratch: PathBuf::new() })
    }
}

impl Catalog for Trades {
    fn open(&self, _: &Spec, scratch: &Path) -> Result<Arc<dyn Work>, WorkError> {
        Ok(Arc::new(Export { scratch: scratch.to_owned(), ..self.0.clone() }))
    }
}

/// What a job is to do, and its bytes when nothing goes wrong.
struct Workload {
    catalog: Arc<dyn Catalog>,
    request: JobRequest,
    want: Vec<Vec<u8>>,
}

fn files(bench: &Bench) -> Vec<Vec<u8>> {
    let record = bench.record(1);
    let path = |index| bench.jobs.part_path(id(1), &record.spec.file_name(index)).unwrap();
    record.parts.iter().map(|part| fs::read(path(part.index)).unwrap()).collect()
}

fn workloads(dir: &Path) -> Vec<(&'static str, Workload)> {
    let numbers: Arc<dyn Catalog> = Arc::new(Shelf(Numbers::new(60)));
    let trades: Arc<dyn Catalog> = Arc::new(Trades::new(&dir.join("trades")));
    let work = |name: &'static str, catalog: Arc<dyn Catalog>, request: JobRequest| {
        let calm = Bench::of(JobsConfig::new(dir.join(format!("calm-{name}"))), Arc::clone(&catalog));
        calm.create(1, request.clone());
        calm.until(1, |r| r.state == JobState::Completed);
        let want = files(&calm);
        (name, Workload { catalog, request, want })
    };
    fs::create_dir_all(dir.join("trades")).unwrap();
    vec![
        work("numbers in parts", numbers, request(1, 60, 25)),
        work("a compressed sort in parts", trades, request(1, 3_000, 1_000)),
    ]
}

/// Names in a job's folder that belong to nothing.
fn left_behind(dir: &Path, is_completed: bool) -> Vec<String> {
    let folder = dir.join("jobs").join(id(1).to_string());
    let names = fs::read_dir(folder).into_iter().flatten().flatten();
    names
        .map(|e| e.file_name().into_string().unwrap())
        .filter(|name| match name.as_str() {
            "record.json" => false,
            "parts.jsonl" => !is_completed,
            name => !(is_completed && name.contains("-part") && !name.ends_with(".tmp")),
        })
        .collect()
}

/// Each step of the disk fails once, in turn: a job that was accepted ends with the same bytes, or with `FILE_SYSTEM`
/// and without files. Nothing else, and nothing left behind.
#[test]
fn one_failing_step_at_any_place_ends_well() {
    let dir = tempfile::tempdir().unwrap();
    for (name, work) in workloads(dir.path()) {
        for kind in [io::ErrorKind::Other, io::ErrorKind::StorageFull] {
            let mut steps = 0;
            loop {
                let state = dir.path().join("state");
                let _ = fs::remove_dir_all(&state);
                let faults = Arc::new(Faults::new(u64::MAX, kind));
                let bench = Bench::of(faulty(&state, &faults), Arc::clone(&work.catalog));
                faults.seen.store(0, Ordering::SeqCst);
                faults.after.store(steps, Ordering::SeqCst);
                let created = bench.jobs.create(id(1), work.request.clone());
                let case = format!("{name}, {kind}, step {steps}");
                if let Err(refused) = created {
                    let code = refused.code().as_str();
                    assert!(matches!(code, "FILE_SYSTEM" | "OVERLOADED"), "{case}: {code}");
                    assert!(bench.jobs.read(JobTable::is_empty), "{case}");
                } else {
                    let record = bench.until(1, |r| r.state.is_final());
                    if record.state == JobState::Completed {
                        assert!(files(&bench) == work.want, "{case}");
                    } else {
                        let failure = record.failure.unwrap();
                        assert_eq!(
                            (failure.code, failure.recoverable),
                            (ErrorCode::FileSystem, true),
                            "{case}: {failure}"
                        );
                        assert!(failure.retry_after_ms.is_some(), "{case}");
                        assert_eq!(
                            kind,
                            io::ErrorKind::StorageFull,
                            "{case}: anything else passes with a retry"
                        );
                    }
                    assert!(bench.jobs.shutdown(Duration::from_secs(10)), "{case}");
                    let left = left_behind(&state, record.state == JobState::Completed);
                    assert!(left.is_empty(), "{case}: {left:?}");
                }
                if !faults.has_struck.load(Ordering::SeqCst) {
                    break;
                }
                steps += 1;
            }
            assert!(steps > 30, "{name}: only {steps} steps");
        }
    }
}

/// The disk is gone for good from each step on, in turn. A later process with a disk finishes with the same bytes what
/// was accepted, or finds that it failed; what was refused is not there.
#[test]
fn a_disk_that_goes_away_at_any_step_costs_no_accepted_job() {
    let dir = tempfile::tempdir().unwrap();
    for (name, work) in workloads(dir.path()) {
        let mut steps = 0;
        loop {
            let state = dir.path().join("state");
            let _ = fs::remove_dir_all(&state);
            let faults = Arc::new(Faults::new(u64::MAX, io::ErrorKind::Other));
            let bench = Bench::of(faulty(&state, &faults), Arc::clone(&work.catalog));
            faults.seen.store(0, Ordering::SeqCst);
            faults.is_lasting.store(true, Ordering::SeqCst);
            faults.after.store(steps, Ordering::SeqCst);
            let case = format!("{name}, from step {steps}");
            let created = bench.jobs.create(id(1), work.request.clone());
            if created.is_ok() {
                bench.until(1, |r| r.state.is_final());
            }
            let has_struck = faults.has_struck.load(Ordering::SeqCst);
            if has_struck {
                let refused = bench.jobs.create(id(2), request(2, 1, 1)).unwrap_err();
                let code = refused.code().as_str();
                assert!(matches!(code, "FILE_SYSTEM" | "OVERLOADED"), "{case}: {code}");
                assert_ne!(bench.jobs.storage(), Condition::Well, "{case}");
            }
            drop(bench);
            faults.heal();
            let bench = Bench::of(faulty(&state, &faults), Arc::clone(&work.catalog));
            if created.is_ok() {
                let record = bench.until(1, |r| r.state.is_final());
                match record.state {
                    JobState::Completed => assert!(files(&bench) == work.want, "{case}"),
                    _ => assert_eq!(record.failure.unwrap().code, ErrorCode::FileSystem, "{case}"),
                }
                assert!(bench.jobs.shutdown(Duration::from_secs(10)), "{case}");
                let left = left_behind(&state, record.state == JobState::Completed);
                assert!(left.is_empty(), "{case}: {left:?}");
            }
            if !has_struck {
                break;
            }
            steps += 1;
        }
        assert!(steps > 30, "{name}: only {steps} steps");
    }
}

#[test]
fn a_disk_that_works_again_needs_no_restart() {
    let dir = tempfile::tempdir().unwrap();
    let faults = Arc::new(Faults::new(u64::MAX, io::ErrorKind::ReadOnlyFilesystem));
    let numbers = Numbers::held_at(60, 30);
    let bench = Bench::open_with(faulty(dir.path(), &faults), &numbers);
    bench.create(1, request(1, 60, 25));
    bench.until(1, |r| r.state == JobState::Generating);
    faults.is_lasting.store(true, Ordering::SeqCst);
    faults.after.store(0, Ordering::SeqCst);
    numbers.allow(u64::MAX);
    let failure = bench.until(1, |r| r.state == JobState::Failed).failure.unwrap();
    assert_eq!((failure.code, failure.retry_after_ms), (ErrorCode::FileSystem, Some(60_000)));
    assert!(matches!(bench.jobs.storage(), Condition::Failing(_)));
    let refused = bench.jobs.create(id(2), request(2, 60, 25)).unwrap_err();
    assert_eq!((refused.code(), refused.retry_after_ms()), (ErrorCode::Overloaded, Some(60_000)));
    faults.heal();
    while bench.jobs.storage() != Condition::Well {
        std::thread::yield_now();
    }
    bench.create(3, request(3, 60, 25));
    bench.until(3, |r| r.state == JobState::Completed);
    assert_eq!(bench.files(3), expected(60, 25));
    assert!(bench.jobs.shutdown(Duration::from_secs(10)));
    let record = fs::read_to_string(dir.path().join("jobs").join(id(1).to_string()).join("record.json"));
    assert!(record.unwrap().contains("\"failed\""), "what clients were told is on disk by now");
}

#[test]
fn the_reserve_is_looked_at_while_writing_and_one_job_gives_way() {
    let dir = tempfile::tempdir().unwrap();
    let mut faults = Faults::new(u64::MAX, io::ErrorKind::StorageFull);
    faults.only = &[Op::Space];
    let faults = Arc::new(faults);
    let numbers = Numbers::held_at(60, 30);
    let bench = Bench::open_with(faulty(dir.path(), &faults), &numbers);
    bench.create(1, request(1, 60, 25));
    bench.create(2, request(2, 60, 25));
    for n in [1, 2] {
        bench.until(n, |r| r.rows == 30);
    }
    faults.after.store(faults.seen.load(Ordering::SeqCst), Ordering::SeqCst);
    numbers.allow(u64::MAX);
    let (one, two) = (bench.until(1, |r| r.state.is_final()), bench.until(2, |r| r.state.is_final()));
    let (gone, kept) = if one.state == JobState::Failed { (one, two) } else { (two, one) };
    assert_eq!((gone.state, kept.state), (JobState::Failed, JobState::Completed));
    let failure = gone.failure.unwrap();
    assert_eq!((failure.code.as_str(), failure.message.contains("full")), ("FILE_SYSTEM", true));
    assert!(bench.jobs.shutdown(Duration::from_secs(10)));
    let folder = dir.path().join("jobs").join(gone.id.to_string());
    assert_eq!(fs::read_dir(folder).unwrap().count(), 1, "the record alone");
}

#[test]
fn after_a_failed_sync_the_part_begins_anew() {
    let dir = tempfile::tempdir().unwrap();
    let mut faults = Faults::new(u64::MAX, io::ErrorKind::Other);
    faults.only = &[Op::Sync];
    let faults = Arc::new(faults);
    let numbers = Numbers::held_at(60, 45);
    let bench = Bench::open_with(faulty(dir.path(), &faults), &numbers);
    bench.create(1, request(1, 60, 60));
    let checkpoint = dir.path().join("jobs").join(id(1).to_string()).join("checkpoint.json");
    while !checkpoint.exists() {
        std::thread::yield_now();
    }
    // The part is synced once more, at its end: by then a checkpoint says that half of it is safe.
    bench.until(1, |r| r.rows == 45);
    faults.after.store(faults.seen.load(Ordering::SeqCst), Ordering::SeqCst);
    numbers.allow(u64::MAX);
    bench.until(1, |r| r.state == JobState::Completed);
    assert!(faults.has_struck.load(Ordering::SeqCst));
    assert_eq!(*numbers.seen_from.lock().unwrap(), [0, 0], "nothing of the first handle counts");
    assert_eq!(bench.files(1), expected(60, 60));
}

/// A real, tiny disk that fills up.
#[test]
fn a_full_disk_fails_one_job_and_works_again_when_there_is_space() {
    let dir = tempfile::tempdir().unwrap();
    let mount = dir.path().join("disk");
    fs::create_dir(&mount).unwrap();
    let tmpfs = Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(&mount).output();
    if !tmpfs.is_ok_and(|done| done.status.success()) {
        // Needs a privilege; the same path is taken with a failing step above.
        return eprintln!("skipped: no tmpfs can be mounted here");
    }
    let _unmount = Unmount(mount.clone());
    let mut config = JobsConfig::new(mount.join("state"));
    config.free_bytes_min = Some(256 << 10);
    let bench = Bench::of(config, Arc::new(OnePart));
    fs::write(mount.join("ballast"), vec![0; 600 << 10]).unwrap();
    bench.create(1, request(1, 500_000, 500_000));
    let failure = bench.until(1, |r| r.state.is_final()).failure.unwrap();
    assert_eq!((failure.code.as_str(), failure.recoverable), ("FILE_SYSTEM", true));
    // As soon as the files of the job are gone.
    while fs::write(mount.join("more"), vec![0; 300 << 10]).is_err() {
        std::thread::yield_now();
    }
    let refused = bench.jobs.create(id(2), request(2, 10, 10)).unwrap_err();
    assert_eq!((refused.code().as_str(), refused.retry_after_ms().is_some()), ("OVERLOADED", true));
    fs::remove_file(mount.join("ballast")).unwrap();
    fs::remove_file(mount.join("more")).unwrap();
    bench.create(3, request(3, 10, 10));
    bench.until(3, |r| r.state == JobState::Completed);
}

/// As many rows as go into one part.
struct OnePart;

impl Catalog for OnePart {
    fn open(&self, spec: &Spec, scratch: &Path) -> Result<Arc<dyn Work>, WorkError> {
        Shelf(Numbers::new(spec.rows_per_file)).open(spec, scratch)
    }
}

struct Unmount(PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// A source that gives a few rows and then no answer, until it is let go.
#[derive(Default)]
struct Blocking {
    is_free: Mutex<bool>,
    freed: Condvar,
    is_blocked: AtomicBool,
    has_come_back: Arc<AtomicBool>,
}

struct Blocked(Arc<Blocking>);

impl Work for Blocked {
    fn run(&self, sink: &mut dyn Sink, _: &Control, _: Option<&Checkpoint>) -> Result<Summary, ExportError> {
        sink.begin(1).map_err(ExportError::Sink)?;
        sink.write(b"half a part").map_err(ExportError::Sink)?;
        let mut is_free = self.0.is_free.lock().unwrap();
        self.0.is_blocked.store(true, Ordering::SeqCst);
        while !*is_free {
            is_free = self.0.freed.wait(is_free).unwrap();
        }
        // Nobody waits for this any more.
        let late = sink.write(b"late bytes");
        self.0.has_come_back.store(late.is_err(), Ordering::SeqCst);
        Err(ExportError::Stopped)
    }

    fn count(&self, _: &Control) -> Result<u64, ExportError> {
        Ok(10)
    }
}

struct Mixed(Arc<Blocking>, Arc<Numbers>);

impl Catalog for Mixed {
    fn open(&self, spec: &Spec, scratch: &Path) -> Result<Arc<dyn Work>, WorkError> {
        match spec.dataset.as_str() {
            "blocked" => Ok(Arc::new(Blocked(Arc::clone(&self.0)))),
            _ => Shelf(Arc::clone(&self.1)).open(spec, scratch),
        }
    }
}

fn blocked_request(n: u8) -> JobRequest {
    let mut request = request(n, 10, 10);
    request.spec.dataset = "blocked".into();
    request
}

/// A clock that the test sets; it stands still otherwise.
#[derive(Debug)]
struct Set {
    mono_ms: AtomicU64,
    wall_ms: AtomicU64,
}

impl Set {
    fn at(wall_ms: u64) -> Arc<Self> {
        Arc::new(Self { mono_ms: AtomicU64::new(0), wall_ms: AtomicU64::new(wall_ms) })
    }

    fn pass(&self, ms: u64) {
        self.mono_ms.fetch_add(ms, Ordering::SeqCst);
        self.wall_ms.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for Set {
    fn now(&self) -> Now {
        Now { mono_ms: self.mono_ms.load(Ordering::SeqCst), wall_ms: self.wall_ms.load(Ordering::SeqCst) }
    }
}

#[test]
fn a_source_that_blocks_costs_a_thread_and_not_a_slot() {
    let dir = tempfile::tempdir().unwrap();
    let (blocking, clock) = (Arc::new(Blocking::default()), Set::at(1_700_000_000_000));
    let mut config = JobsConfig::new(dir.path());
    config.limits.max_active = 1;
    config.stuck_runs_max = 1;
    config.clock = Arc::clone(&clock) as Arc<dyn Clock>;
    let bench = Bench::of(config, Arc::new(Mixed(Arc::clone(&blocking), Numbers::new(10))));
    bench.create(1, blocked_request(1));
    bench.create(2, request(2, 10, 10));
    while !blocking.is_blocked.load(Ordering::SeqCst) {
        std::thread::yield_now();
    }
    assert_eq!(bench.record(2).state, JobState::Pending, "one slot");
    // Time passes whenever the jobs had a chance to look.
    let mut passed = 0;
    while bench.jobs.stuck_len() == 0 {
        clock.pass(1_000);
        passed += 1_000;
        std::thread::park_timeout(Duration::from_millis(1));
    }
    assert!(passed >= 300_000, "not before sourceTimeoutMs");
    let failure = bench.until(1, |r| r.state == JobState::Failed).failure.unwrap();
    assert_eq!((failure.code, failure.recoverable), (ErrorCode::Timeout, true));
    bench.until(2, |r| r.state == JobState::Completed);
    let refused = bench.jobs.create(id(3), request(3, 10, 10)).unwrap_err();
    assert_eq!((refused.code(), refused.retry_after_ms()), (ErrorCode::Overloaded, Some(60_000)));
    assert!(bench.jobs.shutdown(Duration::from_secs(1)), "nobody waits for the thread");
    let folder = dir.path().join("jobs").join(id(1).to_string());
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "the record alone");

    *blocking.is_free.lock().unwrap() = true;
    blocking.freed.notify_all();
    while bench.jobs.stuck_len() > 0 {
        std::thread::yield_now();
    }
    assert!(blocking.has_come_back.load(Ordering::SeqCst), "its bytes were refused");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "and nothing came of them");
}

#[test]
fn pause_and_cancel_do_not_wait_for_a_source_that_blocks() {
    let dir = tempfile::tempdir().unwrap();
    let (blocking, clock) = (Arc::new(Blocking::default()), Set::at(1_700_000_000_000));
    let mut config = JobsConfig::new(dir.path());
    config.clock = Arc::clone(&clock) as Arc<dyn Clock>;
    let bench = Bench::of(config, Arc::new(Mixed(Arc::clone(&blocking), Numbers::new(10))));
    for n in [1, 2] {
        bench.create(n, blocked_request(n));
    }
    bench.jobs.cancel(&me(), id(2)).unwrap();
    std::thread::scope(|scope| {
        let paused = scope.spawn(|| bench.jobs.pause(&me(), id(1)));
        while bench.jobs.stuck_len() < 2 {
            clock.pass(100);
            std::thread::park_timeout(Duration::from_millis(1));
        }
        paused.join().unwrap().unwrap();
    });
    assert_eq!((bench.record(1).state, bench.record(2).state), (JobState::Paused, JobState::Cancelled));
    while bench.jobs.read(JobTable::active_len) > 0 {
        std::thread::yield_now();
    }
    *blocking.is_free.lock().unwrap() = true;
    blocking.freed.notify_all();
    while bench.jobs.stuck_len() > 0 {
        std::thread::yield_now();
    }
    assert_eq!(bench.jobs.storage(), Condition::Well, "a source that comes back late is no disk that fails");
}

#[test]
fn a_wall_clock_that_jumps_costs_no_job() {
    const HOUR: u64 = 3_600_000;
    const START: u64 = 1_700_000_000_000;
    let dir = tempfile::tempdir().unwrap();
    let clock = Set::at(START);
    let mut config = JobsConfig::new(dir.path());
    config.clock = Arc::clone(&clock) as Arc<dyn Clock>;
    let numbers = Numbers::held_at(60, 20);
    let bench = Bench::open_with(config, &numbers);
    bench.create(1, request(1, 60, 25));
    bench.until(1, |r| r.rows == 20);
    for wall in [START + HOUR, START - HOUR, START - 10 * 365 * 24 * HOUR, START + 10 * 365 * 24 * HOUR, 0] {
        clock.wall_ms.store(wall, Ordering::SeqCst);
        // The jobs look at the clock while rows go on.
        let rows = bench.record(1).rows;
        numbers.allow(rows + 5);
        let record = bench.until(1, |r| r.rows == rows + 5);
        assert_eq!(record.state, JobState::Generating, "at {wall}");
    }
    numbers.allow(u64::MAX);
    clock.pass(2_000);
    let record = bench.until(1, |r| r.state == JobState::Completed);
    assert_eq!((record.elapsed_ms, bench.files(1)), (2_000, expected(60, 25)));
    clock.wall_ms.store(START + 10 * 365 * 24 * HOUR, Ordering::SeqCst);
    clock.pass(24 * HOUR - 1);
    bench.create(2, request(2, 10, 10));
    bench.until(2, |r| r.state == JobState::Completed);
    assert_eq!(bench.record(1).state, JobState::Completed, "a day has not passed");
    clock.pass(1);
    bench.until(1, |r| r.state == JobState::Expired);
    assert_eq!(bench.record(2).state, JobState::Completed, "only what is old");
}

struct Panicking;

impl Catalog for Panicking {
    fn open(&self, _: &Spec, _: &Path) -> Result<Arc<dyn Work>, WorkError> {
        panic!("a secret path: /etc/shadow")
    }
}

#[test]
fn a_bug_in_a_run_is_an_incident_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::of(JobsConfig::new(dir.path()), Arc::new(Panicking));
    bench.create(1, request(1, 10, 10));
    let failure = bench.until(1, |r| r.state == JobState::Failed).failure.unwrap();
    assert_eq!((failure.code, failure.recoverable), (ErrorCode::Internal, true));
    assert!(failure.details.as_ref().is_some_and(|d| d["incident"].as_str().is_some_and(|i| i.len() == 16)));
    assert!(!failure.message.contains("secret") && bench.jobs.panics() == 1);
}

#[test]
#[cfg(unix)]
fn the_state_directory_is_nobody_elses() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let bench = Bench::open(&state, &Numbers::new(60));
    bench.create(1, request(1, 60, 25));
    bench.until(1, |r| r.state == JobState::Completed);
    let mut todo = vec![state];
    let mut seen = 0;
    while let Some(path) = todo.pop() {
        let meta = fs::metadata(&path).unwrap();
        let want = if meta.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(meta.permissions().mode() & 0o777, want, "{}", path.display());
        if meta.is_dir() {
            todo.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        seen += 1;
    }
    assert!(seen > 6, "files were looked at");
}
