//! Durable jobs with real files and threads; the rows come from a stand-in whose steps the test controls.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::time::Duration;

use sha2::{Digest, Sha256};
use spandrel_export::SourceError;
use spandrel_jobs::{
    DownloadId, ErrorCode, JobState, Principal, Progress, Record, RequestId, Spec, Total, UtcOffset,
};

use super::*;
use crate::{Checkpoint, Control, ExportError, Part, Sink, Summary};

/// Rows between two checkpoints.
const CHUNK: u64 = 10;

/// Writes the numbers 0 to `rows`, one a line, each part framed by `<` and `>`.
#[derive(Debug)]
pub(super) struct Numbers {
    rows: u64,
    /// The run waits before row `n` until `n` is allowed.
    allowed: Mutex<u64>,
    moved: Condvar,
    /// ErrorResponses still to come, one a run, after `fail_at` rows.
    pub(super) failures: AtomicU32,
    pub(super) fail_at: u64,
    restart_at: Option<u64>,
    pub(super) seen_from: Mutex<Vec<u64>>,
    counted: AtomicU64,
    rows_max: AtomicU64,
}

impl Numbers {
    pub(super) fn new(rows: u64) -> Arc<Self> {
        Arc::new(Self {
            rows,
            allowed: Mutex::new(u64::MAX),
            moved: Condvar::new(),
            failures: AtomicU32::new(0),
            fail_at: 0,
            restart_at: None,
            seen_from: Mutex::default(),
            counted: AtomicU64::new(0),
            rows_max: AtomicU64::new(u64::MAX),
        })
    }

    pub(super) fn held_at(rows: u64, allowed: u64) -> Arc<Self> {
        let numbers = Self::new(rows);
        numbers.allow(allowed);
        numbers
    }

    pub(super) fn allow(&self, rows: u64) {
        *self.allowed.lock().unwrap() = rows;
        self.moved.notify_all();
    }

    /// There were two runs, and the second began at a checkpoint of the first, at `row` or later.
    pub(super) fn went_on_after(&self, row: u64) {
        let from = self.seen_from.lock().unwrap().clone();
        assert!(from.len() == 2 && from[1] >= row && from[1].is_multiple_of(CHUNK), "{from:?}");
    }

    pub(super) fn wait_for(&self, row: u64, control: &Control) -> Result<(), ExportError> {
        let mut allowed = self.allowed.lock().unwrap();
        while *allowed <= row {
            if control.is_stopped() {
                return Err(ExportError::Stopped);
            }
            allowed = self.moved.wait_timeout(allowed, Duration::from_millis(5)).unwrap().0;
        }
        if control.is_stopped() { Err(ExportError::Stopped) } else { Ok(()) }
    }
}

/// The part cut and its text, in one place for the run and for what is expected of it.
pub(super) fn part_text(rows: u64, per_part: u64, part: u64) -> String {
    let range = (part - 1) * per_part..(part * per_part).min(rows);
    format!("<{}>", range.map(|n| format!("{n}\n")).collect::<String>())
}

struct Count(Arc<Numbers>, u64);

impl Work for Count {
    fn run(
        &self,
        sink: &mut dyn Sink,
        control: &Control,
        from: Option<&Checkpoint>,
    ) -> Result<Summary, ExportError> {
        let io = ExportError::Sink;
        let (numbers, per_part) = (&self.0, self.1);
        let mut at = from.cloned().unwrap_or_default();
        numbers.seen_from.lock().unwrap().push(at.rows);
        let emit = |sink: &mut dyn Sink, at: &mut Checkpoint, text: &str| {
            at.part_bytes += text.len() as u64;
            at.part_raw_bytes += text.len() as u64;
            sink.write(text.as_bytes())
        };
        let end = |sink: &mut dyn Sink, at: &mut Checkpoint| {
            emit(sink, at, ">")?;
            sink.end(&Part {
                index: at.part,
                rows: at.part_rows,
                bytes: at.part_bytes,
                raw_bytes: at.part_raw_bytes,
            })
        };
        let begin = |sink: &mut dyn Sink, at: &mut Checkpoint| {
            *at = Checkpoint { part: at.part + 1, rows: at.rows, ..Checkpoint::default() };
            sink.begin(at.part)?;
            emit(sink, at, "<")
        };
        if at.part == 0 {
            begin(sink, &mut at).map_err(io)?;
        }
        let mut has_restarted = from.is_some();
        while at.rows < numbers.rows {
            numbers.wait_for(at.rows, control)?;
            if at.rows >= numbers.fail_at && numbers.failures.load(Ordering::Relaxed) > 0 {
                numbers.failures.fetch_sub(1, Ordering::Relaxed);
                return Err(SourceError::Unreadable { what: "on purpose".into() }.into());
            }
            if Some(at.rows) == numbers.restart_at && !has_restarted {
                has_restarted = true;
                sink.restart().map_err(io)?;
                at = Checkpoint::default();
                begin(sink, &mut at).map_err(io)?;
            }
            if at.part_rows == per_part {
                end(sink, &mut at).map_err(io)?;
                begin(sink, &mut at).map_err(io)?;
            }
            let line = format!("{}\n", at.rows);
            emit(sink, &mut at, &line).map_err(io)?;
            (at.rows, at.part_rows) = (at.rows + 1, at.part_rows + 1);
            control.set_rows(at.rows);
            if at.rows % CHUNK == 0 {
                sink.checkpoint(&at).map_err(io)?;
            }
        }
        end(sink, &mut at).map_err(io)?;
        Ok(Summary { rows: at.rows, parts: at.part })
    }

    fn count(&self, _: &Control) -> Result<u64, ExportError> {
        self.0.counted.fetch_add(1, Ordering::Relaxed);
        Ok(self.0.rows)
    }

    fn rows_max(&self) -> Option<u64> {
        Some(self.0.rows_max.load(Ordering::Relaxed)).filter(|max| *max != u64::MAX)
    }
}

pub(super) struct Shelf(pub(super) Arc<Numbers>);

impl Catalog for Shelf {
    fn open(&self, spec: &Spec, _: &Path) -> Result<Arc<dyn Work>, WorkError> {
        if spec.snapshot == "gone" {
            return Err(SourceError::Changed { what: "a file".into() }.into());
        }
        Ok(Arc::new(Count(Arc::clone(&self.0), spec.rows_per_file)))
    }
}

/// Open jobs and a bell that rings when one changes.
pub(super) struct Bench {
    pub(super) jobs: Jobs,
    bell: mpsc::Receiver<DownloadId>,
}

impl Bench {
    pub(super) fn open(dir: &Path, numbers: &Arc<Numbers>) -> Self {
        Self::open_with(JobsConfig::new(dir), numbers)
    }

    pub(super) fn open_with(config: JobsConfig, numbers: &Arc<Numbers>) -> Self {
        Self::of(config, Arc::new(Shelf(Arc::clone(numbers))))
    }

    pub(super) fn of(config: JobsConfig, catalog: Arc<dyn Catalog>) -> Self {
        let (ring, bell) = mpsc::sync_channel(10_000);
        let on_change = Box::new(move |id| {
            let _ = ring.try_send(id);
        });
        Self { jobs: Jobs::open(config, catalog, on_change).unwrap(), bell }
    }

    pub(super) fn create(&self, n: u8, request: JobRequest) -> Accepted {
        self.jobs.create(id(n), request).unwrap()
    }

    pub(super) fn record(&self, n: u8) -> Record {
        self.jobs.read(|table| table.job(id(n)).unwrap().record().clone())
    }

    pub(super) fn progress(&self, n: u8) -> Progress {
        self.jobs.read(|table| table.job(id(n)).unwrap().progress())
    }

    /// Waits until the job is as asked; every change rings.
    pub(super) fn until(&self, n: u8, wanted: impl Fn(&Record) -> bool) -> Record {
        loop {
            let record = self.record(n);
            if wanted(&record) {
                return record;
            }
            self.bell.recv_timeout(Duration::from_secs(20)).expect("the job changes");
        }
    }

    pub(super) fn files(&self, n: u8) -> Vec<String> {
        let record = self.record(n);
        let path = |index| self.jobs.part_path(id(n), &record.spec.file_name(index)).unwrap();
        record.parts.iter().map(|part| fs::read_to_string(path(part.index)).unwrap()).collect()
    }
}

pub(super) fn id(n: u8) -> DownloadId {
    DownloadId::from_bytes([n; 16])
}

pub(super) fn me() -> Principal {
    Principal::anonymous()
}

pub(super) fn request(n: u8, rows: u64, per_part: u64) -> JobRequest {
    JobRequest {
        principal: me(),
        request_id: RequestId::parse(&format!("r{n}")).unwrap(),
        spec: Spec {
            dataset: "numbers".into(),
            snapshot: "v1".into(),
            request: "{}".into(),
            request_key: "k".into(),
            format: "csv".into(),
            codec: None,
            formula_guard: false,
            time_zone: UtcOffset::Zulu,
            file_stem: "numbers_a_b".into(),
            file_suffix: ".csv".into(),
            content_type: "text/csv; charset=utf-8".into(),
            rows_per_file: per_part,
        },
        total: Total { rows, is_exact: true, scan_rows: rows },
    }
}

pub(super) fn expected(rows: u64, per_part: u64) -> Vec<String> {
    (1..=rows.div_ceil(per_part).max(1)).map(|part| part_text(rows, per_part, part)).collect()
}

#[test]
fn a_finished_job_has_its_files_and_survives() {
    let dir = tempfile::tempdir().unwrap();
    let numbers = Numbers::new(95);
    let bench = Bench::open(dir.path(), &numbers);
    assert_eq!(bench.create(1, request(1, 95, 40)), Accepted { id: id(1), is_duplicate: false });
    let record = bench.until(1, |r| r.state == JobState::Completed);
    assert_eq!(bench.files(1), expected(95, 40));
    for (part, text) in record.parts.iter().zip(expected(95, 40)) {
        let sha: String = Sha256::digest(&text).iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!((&part.sha256, part.bytes), (&sha, text.len() as u64));
    }
    assert_eq!(record.parts.iter().map(|p| p.rows).collect::<Vec<_>>(), [40, 40, 15]);
    assert_eq!(bench.jobs.part_path(id(1), "../record.json"), None);
    assert_eq!(bench.jobs.part_path(id(1), "record.json"), None);
    drop(bench);

    let bench = Bench::open(dir.path(), &numbers);
    assert_eq!(bench.record(1), record);
    assert_eq!(bench.files(1), expected(95, 40));
    assert_eq!(bench.create(2, request(1, 95, 40)), Accepted { id: id(1), is_duplicate: true });
    assert_eq!(numbers.seen_from.lock().unwrap().len(), 1, "nothing was written again");
}

#[test]
fn the_same_request_at_the_same_time_makes_one_job() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::open(dir.path(), &Numbers::new(5));
    let got: Vec<Accepted> = std::thread::scope(|scope| {
        let ask = |n| {
            let bench = &bench.jobs;
            scope.spawn(move || bench.create(id(n), request(1, 5, 10)).unwrap())
        };
        let asked: Vec<_> = (1..=8).map(ask).collect();
        asked.into_iter().map(|t| t.join().unwrap()).collect()
    });
    assert_eq!(got.iter().filter(|a| !a.is_duplicate).count(), 1);
    assert!(got.iter().all(|a| a.id == got[0].id));
}

#[test]
fn a_pause_stops_rows_and_a_resume_goes_on_with_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let numbers = Numbers::held_at(300, 155);
    let bench = Bench::open(dir.path(), &numbers);
    bench.create(1, request(1, 300, 100));
    bench.until(1, |r| !r.parts.is_empty());
    bench.jobs.pause(&me(), id(1)).unwrap();
    assert_eq!(bench.record(1).state, JobState::Paused);
    numbers.allow(u64::MAX);
    assert_eq!(bench.record(1).parts.len(), 1, "nobody writes any more");
    bench.jobs.pause(&me(), id(1)).unwrap();
    bench.jobs.resume(&me(), id(1)).unwrap();
    bench.until(1, |r| r.state == JobState::Completed);
    assert_eq!(bench.files(1), expected(300, 100));
    numbers.went_on_after(100);
    let refused = bench.jobs.pause(&me(), id(1)).unwrap_err();
    assert_eq!(refused.code().as_str(), "INVALID_STATE");
}

#[test]
fn a_cancelled_job_leaves_only_its_record() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::open(dir.path(), &Numbers::held_at(300, 155));
    bench.create(1, request(1, 300, 100));
    bench.until(1, |r| !r.parts.is_empty());
    bench.jobs.cancel(&me(), id(1)).unwrap();
    assert_eq!(bench.record(1).state, JobState::Cancelled);
    assert!(bench.jobs.shutdown(Duration::from_secs(10)));
    let left: Vec<_> = fs::read_dir(dir.path().join("jobs").join(id(1).to_string()))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(left, ["record.json"]);
}

#[test]
fn a_deleted_job_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::open(dir.path(), &Numbers::held_at(300, 155));
    bench.create(1, request(1, 300, 100));
    bench.until(1, |r| !r.parts.is_empty());
    bench.jobs.delete(&me(), id(1)).unwrap();
    assert!(bench.jobs.read(|table| table.job(id(1)).is_none()));
    assert!(bench.jobs.shutdown(Duration::from_secs(10)));
    assert_eq!(fs::read_dir(dir.path().join("jobs")).unwrap().count(), 0);
}

#[test]
fn a_stopped_server_goes_on_with_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let numbers = Numbers::held_at(300, 155);
    let bench = Bench::open(dir.path(), &numbers);
    bench.create(1, request(1, 300, 100));
    bench.until(1, |r| !r.parts.is_empty());
    assert!(bench.jobs.shutdown(Duration::from_secs(10)));
    assert_eq!(bench.jobs.create(id(2), request(2, 1, 1)).unwrap_err().code().as_str(), "SHUTTING_DOWN");
    drop(bench);
    numbers.allow(u64::MAX);
    let bench = Bench::open(dir.path(), &numbers);
    let record = bench.until(1, |r| r.state == JobState::Completed);
    assert_eq!((record.restarts, bench.files(1)), (1, expected(300, 100)));
    numbers.went_on_after(100);
}

/// Copies a state directory as a crash would leave it.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else if entry.file_name() != "lock" {
            // A file may be renamed under the copier's hands: then it is not part of this crash.
            let _ = fs::copy(entry.path(), target);
        }
    }
}

#[test]
fn a_crash_at_any_row_ends_in_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let numbers = Numbers::held_at(120, 0);
    let bench = Bench::open(&dir.path().join("first"), &numbers);
    bench.create(1, request(1, 120, 50));
    let job = dir.path().join("first/jobs").join(id(1).to_string());
    for at in [0, 1, 9, 35, 50, 51, 77, 100, 119] {
        numbers.allow(at);
        // The rows are on their way to the file; however many have come is a crash of its own.
        let crashed = dir.path().join(format!("crash-{at}"));
        copy(&dir.path().join("first"), &crashed);
        let later = Bench::open(&crashed, &Numbers::new(120));
        let record = later.until(1, |r| r.state == JobState::Completed);
        assert_eq!((record.restarts, later.files(1)), (1, expected(120, 50)), "crash about row {at}");
    }
    assert!(job.join("record.json").exists());
}

#[test]
fn damage_at_the_edges_of_a_crash_is_repaired() {
    type Damage = fn(&Path);
    let part2 = "numbers_a_b-part00002.csv";
    let cases: [(&str, Damage); 8] = [
        ("runs of a sort", |job| {
            fs::create_dir(job.join("scratch")).unwrap();
            fs::write(job.join("scratch").join("run-7"), "half a run").unwrap();
        }),
        ("half a checkpoint", |job| fs::write(job.join("checkpoint.json.new"), "{\"par").unwrap()),
        ("bytes past the checkpoint", |job| {
            let tmp = job.join("numbers_a_b-part00002.csv.tmp");
            let mut text = fs::read(&tmp).unwrap();
            text.extend_from_slice(b"half a ro");
            fs::write(tmp, text).unwrap();
        }),
        ("fewer bytes than the checkpoint", |job| {
            fs::write(job.join("numbers_a_b-part00002.csv.tmp"), "<").unwrap()
        }),
        ("no checkpoint", |job| fs::remove_file(job.join("checkpoint.json")).unwrap()),
        ("torn checkpoint", |job| fs::write(job.join("checkpoint.json"), "{\"part\":2,").unwrap()),
        ("torn log line", |job| {
            let mut text = fs::read(job.join("parts.jsonl")).unwrap();
            text.truncate(text.len() - 5);
            fs::write(job.join("parts.jsonl"), text).unwrap();
        }),
        ("renamed, not logged", |job| {
            fs::rename(job.join("numbers_a_b-part00002.csv.tmp"), job.join("numbers_a_b-part00002.csv"))
                .unwrap();
        }),
    ];
    let dir = tempfile::tempdir().unwrap();
    let numbers = Numbers::held_at(300, 155);
    let bench = Bench::open(&dir.path().join("first"), &numbers);
    bench.create(1, request(1, 300, 100));
    bench.until(1, |r| !r.parts.is_empty());
    assert!(bench.jobs.shutdown(Duration::from_secs(10)), "a checkpoint in part 2 is written");
    for (n, (name, damage)) in cases.into_iter().enumerate() {
        let crashed = dir.path().join(format!("crash-{n}"));
        copy(&dir.path().join("first"), &crashed);
        let job = crashed.join("jobs").join(id(1).to_string());
        assert!(job.join(format!("{part2}.tmp")).exists());
        damage(&job);
        let later = Bench::open(&crashed, &Numbers::new(300));
        later.until(1, |r| r.state == JobState::Completed);
        assert_eq!(later.files(1), expected(300, 100), "{name}");
        drop(later); // records are written by now
        let mut left: Vec<_> = fs::read_dir(job).unwrap().map(|e| e.unwrap().file_name()).collect();
        left.retain(|name| !["record.json", "parts.jsonl"].iter().any(|keep| name == keep));
        assert_eq!(left.len(), 3, "{name}: more than the parts: {left:?}");
    }
}

#[test]
fn a_part_finished_after_the_checkpoint_stays_finished() {
    let dir = tempfile::tempdir().unwrap();
    let numbers = Numbers::held_at(300, 95);
    let bench = Bench::open(&dir.path().join("first"), &numbers);
    bench.create(1, request(1, 300, 100));
    bench.until(1, |r| r.state == JobState::Generating);
    bench.jobs.pause(&me(), id(1)).unwrap();
    let checkpoint = dir.path().join("first/jobs").join(id(1).to_string()).join("checkpoint.json");
    let kept = fs::read(&checkpoint);
    numbers.allow(155);
    bench.jobs.resume(&me(), id(1)).unwrap();
    bench.until(1, |r| !r.parts.is_empty());
    assert!(bench.jobs.shutdown(Duration::from_secs(10)));
    // The crash lost the newer checkpoint, not the finished part.
    match kept {
        Ok(kept) => fs::write(&checkpoint, kept).unwrap(),
        Err(_) => fs::remove_file(&checkpoint).unwrap(),
    }
    let crashed = dir.path().join("crash");
    copy(&dir.path().join("first"), &crashed);
    let held = Numbers::held_at(300, 0);
    let later = Bench::open(&crashed, &held);
    assert_eq!(later.record(1).parts.len(), 1, "listed from the start");
    held.allow(u64::MAX);
    later.until(1, |r| r.state == JobState::Completed);
    assert_eq!(later.files(1), expected(300, 100));
}

#[test]
fn a_source_that_fails_for_a_while_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut numbers = Arc::into_inner(Numbers::new(100)).unwrap();
    (numbers.failures, numbers.fail_at) = (AtomicU32::new(3), 0);
    let numbers = Arc::new(numbers);
    let mut config = JobsConfig::new(dir.path());
    config.limits.retry_delay_ms = 1;
    let bench = Bench::open_with(config, &numbers);
    bench.create(1, request(1, 100, 100));
    bench.until(1, |r| r.state == JobState::Completed);
    assert_eq!(bench.files(1), expected(100, 100));
    assert_eq!(numbers.seen_from.lock().unwrap().len(), 4, "three retries");

    numbers.failures.store(4, Ordering::Relaxed);
    bench.create(2, request(2, 100, 100));
    let record = bench.until(2, |r| r.state == JobState::Failed);
    assert_eq!(record.failure.unwrap().code, ErrorCode::SourceError);
}

#[test]
fn a_source_that_changed_fails_the_job_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::open(dir.path(), &Numbers::new(5));
    let mut request = request(1, 5, 5);
    request.spec.snapshot = "gone".into();
    bench.create(1, request);
    let failure = bench.until(1, |r| r.state == JobState::Failed).failure.unwrap();
    assert_eq!((failure.code.as_str(), failure.recoverable), ("SOURCE_CHANGED", false));
}

#[test]
fn rows_out_of_order_void_what_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let mut numbers = Arc::into_inner(Numbers::new(130)).unwrap();
    numbers.restart_at = Some(120);
    let bench = Bench::open(dir.path(), &Arc::new(numbers));
    bench.create(1, request(1, 130, 50));
    bench.until(1, |r| r.state == JobState::Completed);
    assert_eq!(bench.files(1), expected(130, 50));
}

#[test]
fn a_job_of_unknown_size_stops_at_the_part_limit() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = JobsConfig::new(dir.path());
    config.limits.max_parts = 3;
    let bench = Bench::open_with(config, &Numbers::new(40));
    let mut unknown = request(1, 40, 10);
    unknown.total.is_exact = false;
    bench.create(1, unknown);
    let failure = bench.until(1, |r| r.state == JobState::Failed).failure.unwrap();
    assert_eq!(failure.code.as_str(), "LIMIT_EXCEEDED");
}

#[test]
fn rows_are_counted_beside_a_long_run() {
    let dir = tempfile::tempdir().unwrap();
    let numbers = Numbers::held_at(40, 20);
    let bench = Bench::open(dir.path(), &numbers);
    let mut unknown = request(1, 1_000, 100);
    unknown.total.is_exact = false;
    bench.create(1, unknown);
    let record = bench.until(1, |r| r.total.is_exact);
    assert_eq!((record.total.rows, record.state), (40, JobState::Generating));
    numbers.allow(u64::MAX);
    bench.until(1, |r| r.state == JobState::Completed);
    assert_eq!((bench.progress(1).percent, numbers.counted.load(Ordering::Relaxed)), (100.0, 1));
}

#[test]
fn expired_files_are_deleted_and_then_the_record() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = JobsConfig::new(dir.path());
    (config.retention.file_ttl_ms, config.retention.record_ttl_ms) = (50, 50);
    let bench = Bench::open_with(config, &Numbers::new(5));
    bench.create(1, request(1, 5, 5));
    let gone = |bench: &Bench| bench.jobs.read(|table| table.job(id(1)).is_none());
    while !gone(&bench) {
        bench.bell.recv_timeout(Duration::from_secs(20)).expect("the job changes");
    }
    assert!(bench.jobs.shutdown(Duration::from_secs(10)));
    assert_eq!(fs::read_dir(dir.path().join("jobs")).unwrap().count(), 0);
}

#[test]
fn leftovers_without_a_record_are_deleted_at_start() {
    let dir = tempfile::tempdir().unwrap();
    let jobs = dir.path().join("jobs");
    fs::create_dir_all(jobs.join(id(1).to_string())).unwrap();
    fs::write(jobs.join(id(1).to_string()).join("numbers.csv"), "1").unwrap();
    fs::write(jobs.join("stray"), "1").unwrap();
    fs::create_dir(jobs.join("holidays")).unwrap();
    let damaged = jobs.join(id(2).to_string());
    fs::create_dir_all(&damaged).unwrap();
    fs::write(damaged.join("record.json"), "{").unwrap();
    let bench = Bench::open(dir.path(), &Numbers::new(5));
    assert!(bench.jobs.read(JobTable::is_empty));
    let mut left: Vec<_> = fs::read_dir(&jobs).unwrap().map(|e| e.unwrap().path()).collect();
    left.sort();
    let want = [damaged, jobs.join("holidays"), jobs.join("stray")];
    assert_eq!(left, want, "a damaged record is for people to look at, and other names are not ours");
}

#[test]
fn a_directory_serves_one_process() {
    let dir = tempfile::tempdir().unwrap();
    let _first = Bench::open(dir.path(), &Numbers::new(5));
    let second = Jobs::open(JobsConfig::new(dir.path()), Arc::new(Shelf(Numbers::new(5))), Box::new(|_| {}));
    assert!(matches!(second, Err(JobsError::Locked)));
}

#[test]
fn a_nearly_full_disk_refuses_new_jobs() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = JobsConfig::new(dir.path());
    config.free_bytes_min = Some(u64::MAX);
    let bench = Bench::open_with(config, &Numbers::new(5));
    let refused = bench.jobs.create(id(1), request(1, 5, 5)).unwrap_err();
    assert_eq!((refused.code().as_str(), refused.retry_after_ms().is_some()), ("OVERLOADED", true));
    assert!(bench.jobs.storage() != Condition::Well);
}

#[test]
fn a_record_that_cannot_be_written_is_not_a_job() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::open(dir.path(), &Numbers::new(5));
    fs::remove_dir_all(dir.path().join("jobs")).unwrap();
    let refused = bench.jobs.create(id(1), request(1, 5, 5)).unwrap_err();
    assert_eq!(refused.code().as_str(), "FILE_SYSTEM");
    assert!(bench.jobs.read(JobTable::is_empty));
    fs::create_dir(dir.path().join("jobs")).unwrap();
    while bench.jobs.storage() != Condition::Well {
        std::thread::yield_now();
    }
    bench.create(1, request(1, 5, 5));
    bench.until(1, |r| r.state == JobState::Completed);
}

#[test]
fn a_record_that_could_not_be_written_is_written_later() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::open(dir.path(), &Numbers::held_at(50, 20));
    bench.create(1, request(1, 50, 50));
    let job = dir.path().join("jobs").join(id(1).to_string());
    // In the way of the file that becomes the record.
    fs::create_dir(job.join("record.json.new")).unwrap();
    bench.jobs.pause(&me(), id(1)).unwrap();
    let stored = || fs::read_to_string(job.join("record.json")).unwrap();
    assert!(!stored().contains("\"paused\"") && bench.jobs.storage() != Condition::Well);
    fs::remove_dir(job.join("record.json.new")).unwrap();
    while bench.jobs.storage() != Condition::Well {
        std::thread::yield_now();
    }
    assert!(stored().contains("\"paused\""), "{}", stored());
}

#[test]
fn a_job_over_its_row_bound_fails_before_it_runs() {
    for (name, rows, total, want) in [
        ("known too late", 11, Total { rows: 50, is_exact: false, scan_rows: 50 }, Some("LIMIT_EXCEEDED")),
        ("at the bound", 10, Total { rows: 50, is_exact: false, scan_rows: 50 }, None),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let numbers = Numbers::new(rows);
        numbers.rows_max.store(10, Ordering::Relaxed);
        let bench = Bench::open(dir.path(), &numbers);
        let mut request = request(1, rows, 50);
        request.total = total;
        bench.create(1, request);
        let failure = bench.until(1, |r| r.state.is_final()).failure;
        assert_eq!(failure.as_ref().map(|e| e.code.as_str()), want, "{name}");
        assert_eq!(numbers.seen_from.lock().unwrap().is_empty(), want.is_some(), "{name}");
    }
}

#[test]
fn a_run_without_rows_for_too_long_times_out() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = JobsConfig::new(dir.path());
    (config.source_timeout_ms, config.limits.retries_max) = (100, 0);
    let bench = Bench::open_with(config, &Numbers::held_at(50, 20));
    bench.create(1, request(1, 50, 50));
    let failure = bench.until(1, |r| r.state == JobState::Failed).failure.unwrap();
    assert_eq!(failure.code.as_str(), "TIMEOUT");
}

#[test]
fn a_sink_error_is_a_file_error() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = JobsConfig::new(dir.path());
    config.limits.retries_max = 0;
    let numbers = Numbers::held_at(300, 50);
    let bench = Bench::open_with(config, &numbers);
    bench.create(1, request(1, 300, 100));
    let job = dir.path().join("jobs").join(id(1).to_string());
    bench.until(1, |r| r.state == JobState::Generating);
    while !job.join("numbers_a_b-part00001.csv.tmp").exists() {
        std::thread::yield_now();
    }
    fs::remove_file(job.join("numbers_a_b-part00001.csv.tmp")).unwrap();
    numbers.allow(u64::MAX);
    let failure = bench.until(1, |r| r.state == JobState::Failed).failure.unwrap();
    assert_eq!(failure.code.as_str(), "FILE_SYSTEM");
}
