//! Loss of power after every step of the disk: what was not synced may be gone, torn or there.

use std::collections::HashSet;
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use spandrel_jobs::{JobState, Record, Spec};

use super::fault_tests::{Stepping, Trades};
use super::tests::{Bench, Numbers, Shelf, id, me, request};
use super::*;
use crate::disk::faults::Faults;
use crate::disk::power::{BytesAre, Journal, NamesAre, put};

/// Three jobs: numbers in parts, a sorted and compressed export in parts, and one that is cancelled.
struct Three {
    numbers: Arc<Numbers>,
    trades: Arc<Trades>,
    held: Arc<Numbers>,
}

impl Catalog for Three {
    fn open(&self, spec: &Spec, scratch: &Path) -> Result<Arc<dyn Work>, WorkError> {
        match spec.dataset.as_str() {
            "trades" => self.trades.open(spec, scratch),
            "held" => Shelf(Arc::clone(&self.held)).open(spec, scratch),
            _ => Shelf(Arc::clone(&self.numbers)).open(spec, scratch),
        }
    }
}

const JOBS: [(u8, &str, u64, u64); 3] =
    [(1, "numbers", 60, 30), (2, "trades", 3_000, 1_500), (3, "held", 60, 30)];

fn request_of((n, dataset, rows, per_part): (u8, &str, u64, u64)) -> JobRequest {
    let mut request = request(n, rows, per_part);
    request.spec.dataset = dataset.into();
    request
}

fn config(dir: &Path, journal: Option<Journal>) -> (JobsConfig, Arc<Faults>) {
    let mut faults = Faults::new(u64::MAX, std::io::ErrorKind::Other);
    faults.journal = journal.map(Mutex::new);
    let faults = Arc::new(faults);
    let mut config = JobsConfig::new(dir.join("state"));
    config.disk.faults = Some(Arc::clone(&faults));
    config.clock = Arc::new(Stepping::default());
    config.source_timeout_ms = u64::MAX;
    (config, faults)
}

fn files(bench: &Bench, record: &Record) -> Vec<Vec<u8>> {
    let path = |index| bench.jobs.part_path(record.id, &record.spec.file_name(index)).unwrap();
    record.parts.iter().map(|part| fs::read(path(part.index)).unwrap()).collect()
}

/// What the jobs are to give, and every step on the way there.
fn workload(dir: &Path, trades: &Arc<Trades>) -> (Vec<Vec<Vec<u8>>>, Journal) {
    let (numbers, held) = (Numbers::held_at(60, 0), Numbers::held_at(60, 40));
    let three = Three { numbers: Arc::clone(&numbers), trades: Arc::clone(trades), held: Arc::clone(&held) };
    let (config, faults) = config(dir, Some(Journal::new(dir)));
    let journal = || faults.journal.as_ref().unwrap().lock().unwrap();
    let bench = Bench::of(config, Arc::new(three));
    let [first, second, third] = JOBS;
    bench.create(1, request_of(first));
    journal().mark("created 1");
    numbers.allow(25);
    bench.until(1, |r| r.rows == 25);
    bench.jobs.pause(&me(), id(1)).unwrap();
    bench.jobs.resume(&me(), id(1)).unwrap();
    numbers.allow(45);
    bench.until(1, |r| !r.parts.is_empty());
    bench.create(2, request_of(second));
    journal().mark("created 2");
    numbers.allow(u64::MAX);
    let mut want = Vec::new();
    for n in [1, 2] {
        let record = bench.until(n, |r| r.state == JobState::Completed);
        want.push(files(&bench, &record));
    }
    bench.create(3, request_of(third));
    journal().mark("created 3");
    bench.until(3, |r| r.rows == 40);
    bench.jobs.cancel(&me(), id(3)).unwrap();
    journal().mark("cancelled 3");
    assert!(bench.jobs.shutdown(Duration::from_secs(10)));
    // The same rows and cuts as the first: the same bytes.
    want.push(want[0].clone());
    drop(bench);
    let journal = std::mem::replace(&mut *journal(), Journal::new(dir));
    (want, journal)
}

/// Files that are listed are whole, at once; what was accepted comes to its end; nothing else stays.
fn goes_on(dir: &Path, three: Three, marks: &[&str], want: &[Vec<Vec<u8>>], case: &str) {
    let (config, _) = config(dir, None);
    let bench = Bench::of(config, Arc::new(three));
    let records = || -> Vec<Record> {
        let known = |n| bench.jobs.read(|table| table.job(id(n)).map(|job| job.record().clone()));
        (1..=3).filter_map(known).collect()
    };
    let listed = |record: &Record| {
        let want = &want[usize::from(record.id.as_bytes()[0]) - 1];
        for (part, bytes) in record.parts.iter().zip(files(&bench, record)) {
            let sha: String = Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
            assert!(
                part.sha256 == sha,
                "{case}: {} is not what its digest says",
                record.spec.file_name(part.index)
            );
            assert!(want[part.index as usize - 1] == bytes, "{case}: other bytes in part {}", part.index);
        }
        want.len()
    };
    let found = records();
    for record in &found {
        listed(record);
    }
    for (n, created) in [(1, "created 1"), (2, "created 2"), (3, "created 3")] {
        let is_there = found.iter().any(|record| record.id == id(n));
        assert!(is_there || !marks.contains(&created), "{case}: job {n} was accepted and is gone");
    }
    for record in found {
        let n = record.id.as_bytes()[0];
        if record.state == JobState::Paused {
            bench.jobs.resume(&me(), id(n)).unwrap();
        }
        let record = bench.until(n, |r| r.state.is_final());
        if n == 3 && record.state == JobState::Cancelled {
            continue;
        }
        assert!(!(n == 3 && marks.contains(&"cancelled 3")), "{case}: a cancelled job is back");
        assert_eq!(record.state, JobState::Completed, "{case}: job {n}: {:?}", record.failure);
        assert_eq!(listed(&record), record.parts.len(), "{case}: job {n}");
    }
    assert!(bench.jobs.shutdown(Duration::from_secs(10)), "{case}");
    let records = records();
    drop(bench);
    for entry in fs::read_dir(dir.join("state/jobs")).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        let record = records.iter().find(|record| record.id.to_string() == name);
        let record = record.unwrap_or_else(|| panic!("{case}: {name} belongs to nothing"));
        for entry in fs::read_dir(entry.path()).unwrap().map(Result::unwrap) {
            let name = entry.file_name().into_string().unwrap();
            let is_file = record.parts.iter().any(|part| record.spec.file_name(part.index) == name);
            let is_log = name == "parts.jsonl" && record.state == JobState::Completed;
            assert!(
                is_file || is_log || name == "record.json",
                "{case}: {name} was left in job {}",
                record.id
            );
        }
    }
}

#[test]
fn power_lost_after_any_step_costs_nothing_that_was_told() {
    use BytesAre as Bytes;
    use NamesAre as Names;
    let dir = tempfile::tempdir().unwrap();
    let shop = dir.path().join("trades");
    fs::create_dir(&shop).unwrap();
    let trades = Arc::new(Trades::new(&shop));
    let first = dir.path().join("first");
    fs::create_dir(&first).unwrap();
    let (want, journal) = workload(&first, &trades);
    let fates = [
        (Names::Lost, Bytes::Lost, 0),
        (Names::Kept, Bytes::Lost, 0),
        (Names::Lost, Bytes::Kept, 0),
        (Names::Kept, Bytes::Torn, 1),
        (Names::Kept, Bytes::Zeros, 0),
        (Names::Cut, Bytes::Torn, 2),
        (Names::Mixed, Bytes::Torn, 3),
        (Names::Mixed, Bytes::Kept, 4),
    ];
    let mut seen = HashSet::new();
    for n in 0..=journal.len() {
        let marks = journal.marks(n);
        for (names, bytes, seed) in fates {
            let tree = journal.after(n, names, bytes, seed);
            let mut hash = DefaultHasher::new();
            (&tree, &marks).hash(&mut hash);
            if !seen.insert(hash.finish()) {
                continue;
            }
            let case =
                format!("step {n}, {}, names {names:?}, bytes {bytes:?}, seed {seed}", journal.step(n));
            let crashed = dir.path().join("crashed");
            let _ = fs::remove_dir_all(&crashed);
            fs::create_dir(&crashed).unwrap();
            put(&crashed, &tree);
            let (numbers, held) = (Numbers::new(60), Numbers::new(60));
            goes_on(&crashed, Three { numbers, trades: Arc::clone(&trades), held }, &marks, &want, &case);
        }
    }
    assert!(journal.len() > 100 && seen.len() > 100, "{} steps, {} disks", journal.len(), seen.len());
}
