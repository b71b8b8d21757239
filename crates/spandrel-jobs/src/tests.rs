//! The table against its rules and against a naive model.

use std::collections::{BTreeMap, HashSet};

use proptest::prelude::*;

use crate::*;

const START: u64 = 1_700_000_000_000;

fn id(n: u8) -> DownloadId {
    DownloadId::from_bytes([n; 16])
}

fn rid(n: u8) -> RequestId {
    RequestId::parse(&format!("r{n}")).unwrap()
}

fn at(ms: u64) -> Now {
    Now { mono_ms: ms, wall_ms: START + ms }
}

fn spec(request: &str) -> Spec {
    Spec {
        dataset: "logs".into(),
        snapshot: "s".into(),
        request: request.into(),
        request_key: request.into(),
        format: "csv".into(),
        codec: None,
        formula_guard: false,
        time_zone: UtcOffset::Zulu,
        file_stem: "logs".into(),
        file_suffix: ".csv".into(),
        content_type: "text/csv; charset=utf-8".into(),
        rows_per_file: 100,
    }
}

fn new_job(n: u8, principal: &Principal, total: Total) -> NewJob {
    NewJob { id: id(n), principal: principal.clone(), request_id: rid(n), spec: spec("{}"), total }
}

fn exact(rows: u64) -> Total {
    Total { rows, is_exact: true, scan_rows: rows }
}

fn drain(table: &mut JobTable) -> Vec<Output> {
    std::iter::from_fn(|| table.poll()).collect()
}

fn limits(max_active: usize, each: usize, max_queued: usize) -> Limits {
    Limits { max_active, max_active_per_principal: each, max_queued, ..Limits::default() }
}

/// A table with one job of 1,000 rows that is generating.
fn running() -> (JobTable, Principal) {
    let mut table = JobTable::new(Limits::default(), Retention::default());
    let me = Principal::anonymous();
    table.create(at(0), new_job(1, &me, exact(1_000))).unwrap();
    table.stored(at(0), id(1));
    drain(&mut table);
    (table, me)
}

fn failure(code: ErrorCode) -> ErrorResponse {
    ErrorResponse::new(code, "it failed")
}

#[test]
fn nothing_runs_before_the_record_is_durable() {
    let mut table = JobTable::new(Limits::default(), Retention::default());
    let me = Principal::anonymous();
    table.create(at(0), new_job(1, &me, exact(1))).unwrap();
    assert_eq!(drain(&mut table), [Output::Persist(id(1))]);
    assert!(table.job(id(1)).is_none(), "invisible until stored");
    assert_eq!(table.find(&me, &rid(1), "{}"), Err(JobError::Storing));
    table.not_stored(id(1));
    assert_eq!(drain(&mut table), [Output::Forget(id(1))]);
    assert_eq!(table.find(&me, &rid(1), "{}"), Ok(None));
    table.create(at(0), new_job(1, &me, exact(1))).unwrap();
    table.stored(at(0), id(1));
    assert_eq!(drain(&mut table), [Output::Persist(id(1)), Output::Start(id(1)), Output::Changed(id(1))]);
}

#[test]
fn a_request_id_names_one_request_of_one_principal() {
    let (mut table, me) = running();
    assert_eq!(table.find(&me, &rid(1), "{}"), Ok(Some(id(1))));
    assert_eq!(table.find(&me, &rid(1), "{\"a\":1}"), Err(JobError::RequestIdConflict));
    assert_eq!(table.find(&Principal::new("bob"), &rid(1), "{}"), Ok(None));
    table.finished(at(10), id(1), 1_000);
    table.tick(at(10 + 86_400_000));
    assert_eq!(table.find(&me, &rid(1), "{}"), Err(JobError::Expired));
}

#[test]
fn states_allow_what_section_8_1_says() {
    type Ask = fn(&mut JobTable, Now, &Principal, DownloadId) -> Result<(), JobError>;
    let (pause, resume, cancel): (Ask, Ask, Ask) = (JobTable::pause, JobTable::resume, JobTable::cancel);
    let over = |state| Err(JobError::InvalidState { state });
    for (state, asks) in [
        (
            JobState::Completed,
            [
                (pause, over(JobState::Completed)),
                (resume, over(JobState::Completed)),
                (cancel, over(JobState::Completed)),
            ],
        ),
        (
            JobState::Cancelled,
            [(pause, over(JobState::Cancelled)), (resume, over(JobState::Cancelled)), (cancel, Ok(()))],
        ),
        (
            JobState::Failed,
            [
                (pause, over(JobState::Failed)),
                (resume, over(JobState::Failed)),
                (cancel, over(JobState::Failed)),
            ],
        ),
        (JobState::Paused, [(pause, Ok(())), (resume, Ok(())), (cancel, Ok(()))]),
        (JobState::Generating, [(pause, Ok(())), (resume, Ok(())), (cancel, Ok(()))]),
    ] {
        for (n, (ask, want)) in asks.into_iter().enumerate() {
            let (mut table, me) = running();
            match state {
                JobState::Completed => table.finished(at(1), id(1), 1_000),
                JobState::Cancelled => table.cancel(at(1), &me, id(1)).unwrap(),
                JobState::Failed => table.failed(at(1), id(1), failure(ErrorCode::SourceChanged), false),
                JobState::Paused => {
                    table.pause(at(1), &me, id(1)).unwrap();
                    table.stopped(at(1), id(1));
                }
                _ => {}
            }
            assert_eq!(table.job(id(1)).unwrap().state(), state);
            assert_eq!(ask(&mut table, at(2), &me, id(1)), want, "{state:?}, request {n}");
            let stranger = Principal::new("bob");
            assert_eq!(ask(&mut table, at(2), &stranger, id(1)), Err(JobError::NotFound), "{state:?}");
        }
    }
}

#[test]
fn a_pause_takes_effect_when_the_run_has_stopped() {
    let (mut table, me) = running();
    table.progress(at(500), id(1), 400, 400, 9);
    drain(&mut table);
    table.pause(at(600), &me, id(1)).unwrap();
    assert_eq!(drain(&mut table), [Output::Stop(id(1))]);
    assert!(table.job(id(1)).unwrap().is_pausing());
    table.pause(at(601), &me, id(1)).unwrap();
    assert_eq!(drain(&mut table), [], "told once");
    table.stopped(at(650), id(1));
    assert_eq!(drain(&mut table), [Output::Persist(id(1)), Output::Changed(id(1))]);
    let progress = table.job(id(1)).unwrap().progress();
    assert_eq!((progress.state, progress.rows, progress.remaining_s), (JobState::Paused, 400, -1.0));
    assert_eq!(table.active_len(), 0);
    table.resume(at(700), &me, id(1)).unwrap();
    assert!(drain(&mut table).contains(&Output::Start(id(1))));
}

#[test]
fn a_resume_during_a_pause_queues_again() {
    let (mut table, me) = running();
    table.pause(at(1), &me, id(1)).unwrap();
    table.resume(at(2), &me, id(1)).unwrap();
    drain(&mut table);
    table.stopped(at(3), id(1));
    assert!(drain(&mut table).contains(&Output::Start(id(1))));
    assert_eq!(table.job(id(1)).unwrap().state(), JobState::Generating);
}

#[test]
fn a_cancelled_run_keeps_its_slot_until_it_stopped() {
    let (mut table, me) = running();
    table.cancel(at(1), &me, id(1)).unwrap();
    assert_eq!(drain(&mut table), [Output::Persist(id(1)), Output::Stop(id(1)), Output::Changed(id(1))]);
    assert_eq!(table.active_len(), 1);
    table.stopped(at(2), id(1));
    assert_eq!(drain(&mut table), [Output::DeleteFiles(id(1))]);
    assert_eq!(table.active_len(), 0);
}

#[test]
fn a_deleted_job_is_gone_at_once_and_cleaned_up_later() {
    let (mut table, me) = running();
    table.delete(at(1), &me, id(1)).unwrap();
    assert!(drain(&mut table).contains(&Output::Forget(id(1))));
    assert!(table.job(id(1)).is_none());
    assert_eq!(table.delete(at(1), &me, id(1)), Err(JobError::NotFound));
    assert_eq!(table.find(&me, &rid(1), "{}"), Ok(None), "the request id is free");
    table.progress(at(2), id(1), 5, 5, 5);
    table.finished(at(3), id(1), 1_000);
    assert_eq!(drain(&mut table), [Output::DeleteFiles(id(1))]);
    assert!(table.is_empty());
}

#[test]
fn failures_that_may_pass_are_retried_after_1_2_and_4_seconds() {
    let (mut table, _) = running();
    let mut now = 0;
    for wait in [1_000, 2_000, 4_000] {
        table.failed(at(now), id(1), failure(ErrorCode::SourceError), true);
        assert_eq!(drain(&mut table), []);
        assert_eq!(table.next_tick_ms(at(now)), Some(wait));
        table.tick(at(now + wait - 1));
        assert_eq!(drain(&mut table), [], "not early");
        now += wait;
        table.tick(at(now));
        assert_eq!(drain(&mut table), [Output::Start(id(1))]);
        assert_eq!(table.job(id(1)).unwrap().state(), JobState::Generating);
    }
    table.failed(at(now), id(1), failure(ErrorCode::SourceError), true);
    assert_eq!(
        drain(&mut table),
        [Output::Persist(id(1)), Output::DeleteFiles(id(1)), Output::Changed(id(1))]
    );
    let job = table.job(id(1)).unwrap();
    assert_eq!(
        (job.state(), job.record().failure.clone()),
        (JobState::Failed, Some(failure(ErrorCode::SourceError)))
    );
}

#[test]
fn a_job_waiting_for_a_retry_pauses_at_once() {
    let (mut table, me) = running();
    table.failed(at(0), id(1), failure(ErrorCode::FileSystem), true);
    table.pause(at(1), &me, id(1)).unwrap();
    assert_eq!(table.job(id(1)).unwrap().state(), JobState::Paused);
    assert_eq!((table.active_len(), table.running().count()), (0, 0));
    drain(&mut table);
    table.tick(at(10_000));
    assert_eq!(drain(&mut table), [], "the retry is off");
}

#[test]
fn files_then_records_are_dropped_in_time() {
    let retention = Retention { file_ttl_ms: 1_000, record_ttl_ms: 500, paused_ttl_ms: 100 };
    let mut table = JobTable::new(Limits::default(), retention);
    let me = Principal::anonymous();
    table.create(at(0), new_job(1, &me, exact(1))).unwrap();
    table.stored(at(0), id(1));
    table.finished(at(10), id(1), 1);
    drain(&mut table);
    assert_eq!(table.job(id(1)).unwrap().record().expires_ms, Some(START + 1_010));
    table.tick(at(1_009));
    assert_eq!(drain(&mut table), []);
    table.tick(at(1_010));
    assert_eq!(
        drain(&mut table),
        [Output::Persist(id(1)), Output::DeleteFiles(id(1)), Output::Changed(id(1))]
    );
    assert_eq!(table.job(id(1)).unwrap().state(), JobState::Expired);
    table.tick(at(1_510));
    assert_eq!(drain(&mut table), [Output::Forget(id(1))]);
    assert_eq!((table.job(id(1)).is_none(), table.next_tick_ms(at(1_510))), (true, None));
}

#[test]
fn a_job_paused_too_long_is_cancelled() {
    let (mut table, me) = running();
    table.pause(at(0), &me, id(1)).unwrap();
    table.stopped(at(0), id(1));
    table.tick(at(604_800_000 - 1));
    assert_eq!(table.job(id(1)).unwrap().state(), JobState::Paused);
    table.tick(at(604_800_000));
    assert_eq!(table.job(id(1)).unwrap().state(), JobState::Cancelled);
}

#[test]
fn one_over_each_limit_is_refused() {
    let me = Principal::anonymous();
    let mut table = JobTable::new(limits(2, 2, 2), Retention::default());
    for n in 1..=4 {
        table.create(at(0), new_job(n, &me, exact(1))).unwrap();
        table.stored(at(0), id(n));
    }
    assert_eq!((table.active_len(), table.queued_len()), (2, 2));
    let refused = table.create(at(0), new_job(5, &me, exact(1))).unwrap_err();
    assert_eq!((refused.code(), refused.retry_after_ms()), (ErrorCode::Overloaded, Some(RETRY)));
    let parts = table.create(at(0), new_job(6, &me, exact(100_001))).unwrap_err();
    assert_eq!(parts, JobError::TooManyParts { parts: 1_001, max: 1_000 });

    let mut table = JobTable::new(Limits { jobs_max: 1, ..Limits::default() }, Retention::default());
    table.create(at(0), new_job(1, &me, exact(1))).unwrap();
    assert_eq!(table.create(at(0), new_job(2, &me, exact(1))).unwrap_err().code(), ErrorCode::Overloaded);
}

const RETRY: u64 = 5_000;

#[test]
fn progress_never_falls_and_is_whole_only_at_the_end() {
    let (mut table, _) = running();
    let seen = |table: &JobTable| {
        let p = table.job(id(1)).unwrap().progress();
        (p.percent, p.rows)
    };
    table.progress(at(100), id(1), 333, 333, 1);
    assert_eq!(seen(&table), (33.3, 333));
    table.progress(at(200), id(1), 100, 100, 1);
    assert_eq!(seen(&table), (33.3, 333), "a run that begins again");
    table.progress(at(300), id(1), 2_000, 2_000, 1);
    assert_eq!(seen(&table), (100.0, 1_000), "never more than the total");
    table.finished(at(400), id(1), 1_000);
    assert_eq!(seen(&table), (100.0, 1_000));

    let mut table = JobTable::new(Limits::default(), Retention::default());
    let bound = Total { rows: 500, is_exact: false, scan_rows: 1_000 };
    table.create(at(0), new_job(1, &Principal::anonymous(), bound)).unwrap();
    table.stored(at(0), id(1));
    table.progress(at(100), id(1), 10, 1_000, 1);
    assert_eq!(seen(&table), (99.99, 10), "everything looked at, not everything written");
    table.total_known(id(1), 20);
    assert_eq!(seen(&table), (99.99, 10));
    table.finished(at(200), id(1), 20);
    assert_eq!(seen(&table), (100.0, 20));
}

#[test]
fn no_rows_are_zero_percent_until_the_end() {
    let mut table = JobTable::new(Limits::default(), Retention::default());
    table.create(at(0), new_job(1, &Principal::anonymous(), exact(0))).unwrap();
    table.stored(at(0), id(1));
    assert_eq!(table.job(id(1)).unwrap().progress().percent, 0.0);
    table.finished(at(1), id(1), 0);
    assert_eq!(table.job(id(1)).unwrap().progress().percent, 100.0);
}

#[test]
fn a_new_process_goes_on_where_the_old_one_was() {
    let (mut table, me) = running();
    table.close();
    assert!(drain(&mut table).contains(&Output::Stop(id(1))));
    table.stopped(at(1), id(1));
    let record = table.job(id(1)).unwrap().record().clone();
    assert_eq!(record.state, JobState::Generating);

    let text = serde_json::to_string(&record).unwrap();
    let mut table = JobTable::new(Limits::default(), Retention::default());
    table.restore(at(5), serde_json::from_str(&text).unwrap());
    assert!(drain(&mut table).contains(&Output::Start(id(1))));
    let job = table.job(id(1)).unwrap();
    assert_eq!((job.state(), job.record().restarts), (JobState::Generating, 1));
    assert_eq!(table.find(&me, &rid(1), "{}"), Ok(Some(id(1))));
}

#[test]
fn a_paused_job_stays_paused_in_a_new_process() {
    let (mut table, me) = running();
    table.pause(at(1), &me, id(1)).unwrap();
    table.stopped(at(1), id(1));
    let record = table.job(id(1)).unwrap().record().clone();
    let mut table = JobTable::new(Limits::default(), Retention::default());
    table.restore(at(5), record);
    assert_eq!(drain(&mut table), []);
    let job = table.job(id(1)).unwrap();
    assert_eq!((job.state(), job.record().restarts), (JobState::Paused, 0));
}

#[test]
fn lists_are_newest_first_and_paged() {
    let mut table = JobTable::new(limits(1, 1, 100), Retention::default());
    let (me, other) = (Principal::new("a"), Principal::new("b"));
    for n in 1..=7 {
        let who = if n == 4 { &other } else { &me };
        table.create(at(u64::from(n)), new_job(n, who, exact(1))).unwrap();
        table.stored(at(0), id(n));
    }
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let page = table.list(&me, None, after, 2);
        seen.extend(page.ids);
        let Some(next) = page.next else { break };
        assert_eq!(Cursor::parse(&next.to_string()), Some(next));
        after = Some(next);
    }
    assert_eq!(seen, [7, 6, 5, 3, 2, 1].map(id));
    assert_eq!(table.list(&me, Some(JobState::Generating), None, 9).ids, [id(1)]);
    assert_eq!(Cursor::parse("nonsense"), None);
}

/// The wall clock is at `wall` when `mono` milliseconds have passed.
fn skewed(mono: u64, wall: u64) -> Now {
    Now { mono_ms: mono, wall_ms: wall }
}

const HOUR: u64 = 3_600_000;
const TEN_YEARS: u64 = 10 * 365 * 24 * HOUR;

#[test]
fn a_wall_clock_that_jumps_expires_nothing_early_or_never() {
    for (name, wall) in [
        ("an hour on", START + HOUR),
        ("an hour back", START - HOUR),
        ("ten years on", START + TEN_YEARS),
        ("ten years back", START - TEN_YEARS),
        ("back to 1970", 0),
    ] {
        let (mut table, _) = running();
        table.progress(skewed(500, wall + 500), id(1), 500, 500, 5);
        table.finished(skewed(1_000, wall + 1_000), id(1), 1_000);
        let record = table.job(id(1)).unwrap().record();
        assert_eq!((record.state, record.elapsed_ms), (JobState::Completed, 1_000), "{name}");
        drain(&mut table);
        // And once more, the other way round, while the files wait.
        let before = 1_000 + 24 * HOUR - 1;
        table.tick(skewed(before, START + TEN_YEARS));
        table.tick(skewed(before, 0));
        assert_eq!(drain(&mut table), [], "{name}: not early");
        table.tick(skewed(before + 1, 0));
        assert_eq!(table.job(id(1)).unwrap().state(), JobState::Expired, "{name}: in time");
    }
}

#[test]
fn a_new_process_counts_on_by_the_stamps_and_within_the_retention() {
    for (name, wall, left) in [
        ("an hour later", START + HOUR, 23 * HOUR),
        ("a day later", START + 25 * HOUR, 0),
        ("by a clock that went back ten years", START - TEN_YEARS, 24 * HOUR),
    ] {
        let (mut table, _) = running();
        table.finished(at(0), id(1), 1_000);
        let record = table.job(id(1)).unwrap().record().clone();
        let mut next = JobTable::new(Limits::default(), Retention::default());
        next.restore(skewed(7, wall), record);
        assert_eq!(next.next_tick_ms(skewed(7, wall)), Some(left), "{name}");
    }
}

#[test]
fn elapsed_time_covers_the_processes_before() {
    let (table, _) = running();
    let record = table.job(id(1)).unwrap().record().clone();
    let mut next = JobTable::new(Limits::default(), Retention::default());
    next.restore(skewed(5, START + 9_000), record);
    next.finished(skewed(1_005, START + TEN_YEARS), id(1), 1_000);
    assert_eq!(next.job(id(1)).unwrap().record().elapsed_ms, 10_000);
}

proptest! {
    /// However many jobs others pile up, nobody is served twice while one who waits is not served at all.
    #[test]
    fn prop_no_principal_waits_for_more_than_a_round(burst in proptest::collection::vec(1_usize..30, 2..6)) {
        let mut table = JobTable::new(limits(1, 1, 1_000), Retention::default());
        let name = |p: usize| Principal::new(&format!("p{p}"));
        // Holds the slot while the others come.
        table.create(at(0), new_job(255, &Principal::new("first"), exact(1))).unwrap();
        table.stored(at(0), id(255));
        let mut owners = BTreeMap::new();
        for (p, jobs) in burst.iter().enumerate() {
            for _ in 0..*jobs {
                let n = u8::try_from(owners.len()).unwrap();
                table.create(at(0), new_job(n, &name(p), exact(1))).unwrap();
                table.stored(at(0), id(n));
                owners.insert(id(n), p);
            }
        }
        drain(&mut table);
        let mut left = burst.clone();
        let mut served_since = vec![BTreeMap::<usize, usize>::new(); burst.len()];
        table.finished(at(1), id(255), 1);
        for _ in 0..owners.len() {
            let started: Vec<_> = drain(&mut table).into_iter()
                .filter_map(|out| match out { Output::Start(id) => Some(id), _ => None }).collect();
            prop_assert_eq!(started.len(), 1, "one slot, and somebody waits");
            let p = owners[&started[0]];
            left[p] -= 1;
            for (q, served) in served_since.iter_mut().enumerate().filter(|(q, _)| *q != p && left[*q] > 0) {
                let times = served.entry(p).or_default();
                *times += 1;
                prop_assert!(*times <= 1, "p{} was served twice while p{} waited", p, q);
            }
            served_since[p].clear();
            table.finished(at(1), started[0], 1);
        }
        prop_assert!(left.iter().all(|n| *n == 0));
    }

    /// Whatever the wall clock does, nothing is dropped before its time has passed, and nothing is kept longer.
    #[test]
    fn prop_retention_follows_time_that_passed(walls in proptest::collection::vec(0_u64..(START * 2), 1..40)) {
        let retention = Retention { file_ttl_ms: 10_000, record_ttl_ms: 5_000, paused_ttl_ms: 100 };
        let mut table = JobTable::new(Limits::default(), retention);
        let me = Principal::anonymous();
        let wall = |n: u64| walls[usize::try_from(n).unwrap() % walls.len()];
        table.create(skewed(0, wall(0)), new_job(1, &me, exact(1))).unwrap();
        table.stored(skewed(0, wall(1)), id(1));
        table.finished(skewed(0, wall(2)), id(1), 1);
        for n in 0..160 {
            let mono = n * 100;
            table.tick(skewed(mono, wall(n)));
            let state = table.job(id(1)).map(Job::state);
            let want = match mono {
                0..10_000 => Some(JobState::Completed),
                10_000..15_000 => Some(JobState::Expired),
                _ => None,
            };
            prop_assert_eq!(state, want, "after {} ms", mono);
        }
    }
}

/// What a client or the machinery may do to a table.
#[derive(Debug, Clone)]
enum Act {
    Create(u8, u8),
    Pause(u8),
    Resume(u8),
    Cancel(u8),
    Delete(u8),
    Progress(u8, u64),
    Finish(u8),
    Fail(u8, bool),
    Pass(u64),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (0_u8..12, 0_u8..3).prop_map(|(n, p)| Act::Create(n, p)),
        1 => (0_u8..12).prop_map(Act::Pause),
        1 => (0_u8..12).prop_map(Act::Resume),
        1 => (0_u8..12).prop_map(Act::Cancel),
        1 => (0_u8..12).prop_map(Act::Delete),
        1 => (0_u8..12, 0_u64..60).prop_map(|(n, r)| Act::Progress(n, r)),
        2 => (0_u8..12).prop_map(Act::Finish),
        1 => (0_u8..12, any::<bool>()).prop_map(|(n, r)| Act::Fail(n, r)),
        1 => (0_u64..3_000).prop_map(Act::Pass),
    ]
}

/// A driver that obeys every output at once and a model that knows only the rules of a state.
#[derive(Default)]
struct World {
    now: u64,
    running: HashSet<DownloadId>,
    files: HashSet<DownloadId>,
    records: HashSet<DownloadId>,
    states: BTreeMap<DownloadId, JobState>,
    owners: BTreeMap<DownloadId, Principal>,
}

impl World {
    fn obey(&mut self, table: &mut JobTable) {
        while let Some(out) = table.poll() {
            match out {
                Output::Persist(id) => {
                    if table.record_to_store(id).is_some() {
                        self.records.insert(id);
                    }
                    if table.job(id).is_none() {
                        table.stored(at(self.now), id);
                    }
                }
                Output::Start(id) => {
                    assert!(self.running.insert(id), "started twice");
                    assert!(self.records.contains(&id), "started before its record was durable");
                    self.files.insert(id);
                }
                Output::Stop(id) => {
                    if self.running.remove(&id) {
                        table.stopped(at(self.now), id);
                    }
                }
                Output::Changed(_) => {}
                Output::DeleteFiles(id) => {
                    assert!(!self.running.contains(&id), "files deleted under a run");
                    self.files.remove(&id);
                }
                Output::Forget(id) => {
                    self.records.remove(&id);
                    if !self.running.contains(&id) {
                        self.files.remove(&id);
                    }
                }
            }
        }
    }
}

proptest! {
    /// Whatever happens in whatever order: slots are within bounds and filled, states move only along the
    /// arrows of section 8.1, and files exist exactly for jobs that may have some.
    #[test]
    fn prop_table_agrees_with_model(acts in proptest::collection::vec(act(), 1..120)) {
        let retention = Retention { file_ttl_ms: 5_000, record_ttl_ms: 5_000, paused_ttl_ms: 8_000 };
        let mut table = JobTable::new(limits(3, 2, 4), retention);
        let mut world = World::default();
        for act in acts {
            let owner = |world: &World, n: u8| world.owners.get(&id(n)).cloned().unwrap_or_else(Principal::anonymous);
            let now = at(world.now);
            match act {
                Act::Create(n, p) => {
                    let who = Principal::new(&format!("p{p}"));
                    if table.job(id(n)).is_none() && table.record_to_store(id(n)).is_none() {
                        let waiting = table.queued_len();
                        match table.create(now, new_job(n, &who, exact(50))) {
                            Ok(()) => { world.owners.insert(id(n), who); }
                            Err(JobError::Overloaded { .. }) => prop_assert!(waiting >= 4),
                            Err(e) => prop_assert!(false, "{}", e),
                        }
                    }
                }
                Act::Pause(n) => { let _ = table.pause(now, &owner(&world, n), id(n)); }
                Act::Resume(n) => { let _ = table.resume(now, &owner(&world, n), id(n)); }
                Act::Cancel(n) => { let _ = table.cancel(now, &owner(&world, n), id(n)); }
                Act::Delete(n) => { let _ = table.delete(now, &owner(&world, n), id(n)); }
                Act::Progress(n, rows) => table.progress(now, id(n), rows, rows, rows),
                Act::Finish(n) => if world.running.remove(&id(n)) { table.finished(now, id(n), 50) },
                Act::Fail(n, retry) => {
                    if world.running.remove(&id(n)) { table.failed(now, id(n), failure(ErrorCode::SourceError), retry) }
                }
                Act::Pass(ms) => world.now += ms,
            }
            table.tick(at(world.now));
            world.obey(&mut table);

            let states: BTreeMap<_, _> = (0..12).map(id).filter_map(|i| Some((i, table.job(i)?.state()))).collect();
            for (job, state) in &states {
                let ok = match world.states.get(job) {
                    Some(JobState::Completed) => matches!(state, JobState::Completed | JobState::Expired),
                    Some(over) if over.is_final() => state == over,
                    _ => *state != JobState::Expired || !world.states.contains_key(job),
                };
                prop_assert!(ok || !world.records.contains(job), "{:?} became {:?}", world.states.get(job), state);
                let has = world.files.contains(job);
                match state {
                    JobState::Completed | JobState::Generating => prop_assert!(has),
                    JobState::Pending | JobState::Paused => {}
                    _ => prop_assert!(!has, "files of a job that is {:?}", state),
                }
                prop_assert_eq!(*state == JobState::Pending, table.queue_position(*job).is_some());
            }
            let mut active: BTreeMap<&Principal, usize> = BTreeMap::new();
            for (job, _) in states.iter().filter(|(_, s)| **s == JobState::Generating) {
                *active.entry(&world.owners[job]).or_default() += 1;
            }
            let total: usize = active.values().sum();
            prop_assert!(total <= 3 && active.values().all(|n| *n <= 2));
            prop_assert_eq!(total, table.active_len());
            if total < 3 {
                let idle = states.iter().find(|(job, s)| **s == JobState::Pending
                    && active.get(&world.owners[*job]).copied().unwrap_or(0) < 2);
                prop_assert!(idle.is_none(), "a free slot and a job that may have it");
            }
            prop_assert!(world.running.iter().all(|j| states.get(j) == Some(&JobState::Generating)));
            world.states = states;
        }
    }
}

#[test]
fn a_full_queue_of_one_does_not_keep_another_from_a_free_slot() {
    let mut table = JobTable::new(limits(4, 1, 2), Retention::default());
    let (a, b) = (Principal::new("a"), Principal::new("b"));
    for n in 1..=3 {
        table.create(at(0), new_job(n, &a, exact(1))).unwrap();
        table.stored(at(0), id(n));
    }
    assert_eq!((table.active_len(), table.queued_len()), (1, 2));
    let refused = table.create(at(0), new_job(4, &a, exact(1)));
    assert!(matches!(refused, Err(JobError::Overloaded { .. })), "{refused:?}");
    assert_eq!(table.create(at(0), new_job(5, &b, exact(1))), Ok(()));
    table.stored(at(0), id(5));
    assert_eq!(table.active_len(), 2);
}

#[test]
fn records_have_a_bound_in_number_and_in_bytes() {
    let long = || {
        let mut job = new_job(1, &Principal::anonymous(), exact(1));
        job.spec.request = "x".repeat(4_000);
        job
    };
    for (name, bounds) in [
        ("number", Limits { jobs_max: 1, ..Limits::default() }),
        ("bytes", Limits { record_bytes_max: 5_000, ..Limits::default() }),
    ] {
        let mut table = JobTable::new(bounds, Retention::default());
        let me = Principal::anonymous();
        table.create(at(0), long()).unwrap();
        table.stored(at(0), id(1));
        table.pause(at(0), &me, id(1)).unwrap();
        table.stopped(at(0), id(1));
        let refused = table.create(at(0), new_job(2, &me, exact(1)));
        assert!(matches!(refused, Err(JobError::Overloaded { .. })), "{name}: {refused:?}");
        assert_eq!(table.resume(at(0), &me, id(1)), Ok(()), "{name}: no new record");
        table.delete(at(0), &me, id(1)).unwrap();
        table.stopped(at(0), id(1));
        assert_eq!(table.create(at(0), new_job(2, &me, exact(1))), Ok(()), "{name}: room again");
    }
}

#[test]
fn parts_count_as_long_as_they_are_known() {
    let (mut table, me) = running();
    let before = table.held_bytes();
    for index in 1..=3 {
        table.part_done(id(1), PartFile { index, rows: 1, bytes: 1, raw_bytes: 1, sha256: "0".repeat(64) });
    }
    assert!(table.held_bytes() >= before + 3 * 64);
    table.cancel(at(0), &me, id(1)).unwrap();
    table.stopped(at(0), id(1));
    assert_eq!(table.held_bytes(), before);
}

#[test]
fn files_of_a_job_that_was_over_are_deleted_by_the_next_process() {
    for state in [JobState::Failed, JobState::Cancelled, JobState::Expired] {
        let (mut table, me) = running();
        table.cancel(at(0), &me, id(1)).unwrap();
        let mut record = table.job(id(1)).unwrap().record().clone();
        record.state = state;
        record.parts = vec![PartFile { index: 1, rows: 1, bytes: 1, raw_bytes: 1, sha256: "0".repeat(64) }];
        let mut next = JobTable::new(Limits::default(), Retention::default());
        next.restore(at(0), record);
        assert!(drain(&mut next).contains(&Output::DeleteFiles(id(1))), "{state:?}");
        assert!(next.job(id(1)).unwrap().record().parts.is_empty(), "{state:?}");
    }
}

#[test]
fn a_cursor_has_one_spelling() {
    let text = format!("5.{}", id(1));
    assert_eq!(Cursor::parse(&text).map(|c| c.to_string()), Some(text.clone()));
    for bad in
        [format!("+{text}"), format!("0{text}"), format!("{text}."), "5".into(), ".".into(), String::new()]
    {
        assert_eq!(Cursor::parse(&bad), None, "{bad:?}");
    }
}
