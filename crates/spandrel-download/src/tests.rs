//! Conversations against a job table on virtual time; a small driver does what a server would.

mod promises;
mod proofs;

use std::collections::BTreeSet;

use serde_json::{Value, json};
use spandrel_download_protocol::{
    Check, CheckStatus, CloseCode, DownloadId, ErrorCode, ErrorResponse, RequestId, SystemHealth, UtcOffset,
};
use spandrel_jobs::{
    Job, JobTable, Limits as JobLimits, NewJob, Now, PartFile, Principal, Retention, Spec, Total,
};

use crate::*;

const START: u64 = 1_700_000_000_000;

struct Plain;

impl Urls for Plain {
    fn file_url(&self, job: &Job, file_name: &str, _: u64, expires_ms: u64) -> FileUrl {
        FileUrl { url: format!("/v1/files/{}/{file_name}", job.id()), expires_ms }
    }
}

/// A server of several connections with a job table, without threads.
struct Bench {
    now_ms: u64,
    table: JobTable,
    health: SystemHealth,
    peers: Vec<Peer>,
    jobs: u8,
    changed: Vec<DownloadId>,
}

struct Peer {
    conversation: Conversation,
    follows: BTreeSet<DownloadId>,
    /// Everything sent, with the time.
    got: Vec<(u64, Value)>,
    pings: usize,
    closed: Option<CloseCode>,
    sent: usize,
}

impl Bench {
    fn new(peers: usize) -> Self {
        Self::with_limits(peers, Limits::default())
    }

    fn with_limits(peers: usize, limits: Limits) -> Self {
        Self::with_sessions(peers, limits, |_| {})
    }

    fn with_sessions(peers: usize, limits: Limits, change: impl Fn(&mut SessionConfig)) -> Self {
        let check = Check { name: "source".into(), status: CheckStatus::Ok, message: None };
        let mut jobs = JobLimits::default();
        jobs.max_active = 3;
        let mut bench = Self {
            now_ms: 0,
            table: JobTable::new(jobs, Retention::default()),
            health: SystemHealth::of(vec![check], START, 0, 0),
            peers: Vec::new(),
            jobs: 0,
            changed: Vec::new(),
        };
        for n in 0..peers {
            let mut config = SessionConfig {
                session: n as u64 + 1,
                session_id: format!("s{n}"),
                protocol: "spandrel.download.v1+json".into(),
                principal: Principal::anonymous(),
                features: vec!["format:ndjson".into()],
                server_nonce: None,
                sent_bytes_max: limits.protocol.message_bytes_max,
                pings: Pings::Frames,
                limits: limits.clone(),
            };
            change(&mut config);
            let conversation = Conversation::new(bench.now(), config, &bench.health);
            let follows = BTreeSet::new();
            bench.peers.push(Peer {
                conversation,
                follows,
                got: Vec::new(),
                pings: 0,
                closed: None,
                sent: 0,
            });
        }
        bench.settle();
        bench
    }

    fn now(&self) -> Now {
        Now { mono_ms: self.now_ms, wall_ms: START + self.now_ms }
    }

    fn with<R>(&mut self, peer: usize, step: impl FnOnce(&mut Conversation, Now, World<'_>) -> R) -> R {
        let now = self.now();
        let world = World { table: &self.table, urls: &Plain, health: &self.health };
        step(&mut self.peers[peer].conversation, now, world)
    }

    fn say(&mut self, peer: usize, event: &str, data: Value) -> String {
        self.peers[peer].sent += 1;
        let id = format!("p{peer}-{}", self.peers[peer].sent);
        self.say_as(peer, event, data, &id);
        id
    }

    fn say_as(&mut self, peer: usize, event: &str, data: Value, id: &str) {
        let text = json!({ "event": event, "data": data, "timestamp": 1, "requestId": id }).to_string();
        self.text(peer, &text);
    }

    fn text(&mut self, peer: usize, text: &str) {
        self.with(peer, |conversation, now, world| {
            if let Some(question) = conversation.message(now, text) {
                conversation.answer(now, world, question);
            }
        });
        self.settle();
    }

    fn pass(&mut self, ms: u64) {
        self.now_ms += ms;
        for peer in 0..self.peers.len() {
            self.with(peer, |conversation, now, _| conversation.tick(now));
        }
        self.settle();
    }

    /// Carries out all work of the table and of the conversations until there is none.
    fn settle(&mut self) {
        loop {
            let mut is_quiet = true;
            self.work();
            for id in std::mem::take(&mut self.changed) {
                is_quiet = false;
                self.tell(id);
            }
            for peer in 0..self.peers.len() {
                while let Some(work) = self.peers[peer].conversation.poll() {
                    is_quiet = false;
                    self.obey(peer, work);
                }
            }
            if is_quiet {
                return;
            }
        }
    }

    /// Obeys the table; what changed is told later, as a real server would.
    fn work(&mut self) {
        while let Some(work) = self.table.poll() {
            let now = self.now();
            match work {
                spandrel_jobs::Output::Persist(id) => self.table.stored(now, id),
                spandrel_jobs::Output::Stop(id) => self.table.stopped(now, id),
                spandrel_jobs::Output::Changed(id) => self.changed.push(id),
                _ => {}
            }
        }
    }

    fn tell(&mut self, id: DownloadId) {
        for peer in 0..self.peers.len() {
            if self.peers[peer].follows.contains(&id) {
                self.with(peer, |conversation, now, world| conversation.job(now, world, id));
            }
        }
    }

    fn obey(&mut self, peer: usize, work: Output) {
        let at = self.now_ms;
        let to = &mut self.peers[peer];
        assert_eq!(to.closed, None, "nothing follows the goodbye: {work:?}");
        match work {
            Output::Send(text) => to.got.push((at, serde_json::from_str(&text).unwrap())),
            Output::Ping => to.pings += 1,
            Output::Close(code, _) => to.closed = Some(code),
            Output::Follow(id) => {
                assert!(to.follows.insert(id));
                self.with(peer, |conversation, now, world| conversation.job(now, world, id));
            }
            Output::Unfollow(id) => assert!(to.follows.remove(&id)),
            Output::Do(command) => {
                let done = self.carry_out(&command);
                self.work();
                self.with(peer, |conversation, now, world| conversation.done(now, world, &command, done));
            }
        }
    }

    fn carry_out(&mut self, command: &Command) -> Result<Done, ErrorResponse> {
        let (now, me) = (self.now(), Principal::anonymous());
        match &command.ask {
            Ask::Create { request, text, has_room } => {
                if let Some(id) = self.table.find(&me, &command.request_id, text)? {
                    return Ok(Done::Created { id, is_duplicate: true });
                }
                if !has_room {
                    return Err(ErrorResponse::new(ErrorCode::LimitExceeded, "no room"));
                }
                self.jobs += 1;
                let id = job_id(self.jobs);
                let rows = request.search_params.limit.unwrap_or(1_000);
                let new = NewJob {
                    id,
                    principal: me,
                    request_id: command.request_id.clone(),
                    spec: spec(text),
                    total: Total { rows, is_exact: true, scan_rows: rows },
                };
                self.table.create(now, new)?;
                Ok(Done::Created { id, is_duplicate: false })
            }
            Ask::Pause(id) => Ok(self.table.pause(now, &me, *id).map(|()| Done::Told(*id))?),
            Ask::Resume(id) => Ok(self.table.resume(now, &me, *id).map(|()| Done::Told(*id))?),
            Ask::Cancel(id) => Ok(self.table.cancel(now, &me, *id).map(|()| Done::Told(*id))?),
        }
    }

    fn wrote(&mut self, job: u8, rows: u64) {
        let now = self.now();
        self.table.progress(now, job_id(job), rows, rows, rows * 10);
        self.settle();
    }

    fn finished(&mut self, job: u8, rows: u64) {
        let now = self.now();
        let part =
            PartFile { index: 1, rows, bytes: rows * 10, raw_bytes: rows * 10, sha256: "0".repeat(64) };
        self.table.part_done(job_id(job), part);
        self.table.finished(now, job_id(job), rows);
        self.settle();
    }

    fn events(&self, peer: usize) -> Vec<&str> {
        self.peers[peer].got.iter().map(|(_, m)| m["event"].as_str().unwrap()).collect()
    }

    fn last(&self, peer: usize) -> &Value {
        &self.peers[peer].got.last().unwrap().1
    }

    fn answer(&self, peer: usize, id: &str) -> &Value {
        let mut answers = self.peers[peer].got.iter().map(|(_, m)| m);
        answers.find(|m| m["requestId"] == id).unwrap_or_else(|| panic!("no answer to {id}"))
    }

    fn forget(&mut self) {
        self.peers.iter_mut().for_each(|peer| peer.got.clear());
    }
}

fn job_id(n: u8) -> DownloadId {
    DownloadId::from_bytes([n; 16])
}

fn spec(text: &str) -> Spec {
    Spec {
        dataset: "logs".into(),
        snapshot: "s".into(),
        request: text.into(),
        request_key: text.into(),
        format: "csv".into(),
        codec: None,
        formula_guard: false,
        time_zone: UtcOffset::Zulu,
        file_stem: "logs".into(),
        file_suffix: ".csv".into(),
        content_type: "text/csv; charset=utf-8".into(),
        rows_per_file: 500_000,
    }
}

fn request(rows: u64) -> Value {
    json!({ "searchParams": { "timeFrom": "2024-03-01T00:00:00Z", "timeTo": "2024-03-02T00:00:00Z", "filters": [], "limit": rows },
            "outputFormat": "csv", "compression": false })
}

#[test]
fn the_hello_comes_first_and_says_everything() {
    let bench = Bench::new(1);
    assert_eq!(bench.peers[0].got.len(), 1);
    let hello = bench.last(0);
    assert!(hello["requestId"].as_str().unwrap().starts_with("srv-"));
    let data = &hello["data"];
    assert_eq!((&data["kind"], &data["protocol"]), (&json!("hello"), &json!("spandrel.download.v1+json")));
    for name in [
        "serverTime",
        "sessionId",
        "heartbeatIntervalMs",
        "heartbeatTimeoutMs",
        "maxMessageBytes",
        "features",
        "systemHealth",
    ] {
        assert!(!data[name].is_null(), "{name}");
    }
    assert!(data.get("serverNonce").is_none());
}

#[test]
fn every_refused_message_is_answered_and_the_eleventh_closes() {
    let mut bench = Bench::new(1);
    for n in 1..=10 {
        bench.text(0, "nope");
        assert_eq!(bench.last(0)["data"]["code"], "MALFORMED_MESSAGE", "refusal {n}");
    }
    assert_eq!(bench.peers[0].closed, None);
    bench.say(0, "download:fly", json!({}));
    assert_eq!(
        (&bench.last(0)["data"]["code"], bench.peers[0].closed),
        (&json!("UNKNOWN_EVENT"), Some(CloseCode::POLICY))
    );
}

#[test]
fn refusals_far_apart_do_not_close() {
    let mut bench = Bench::new(1);
    for _ in 0..40 {
        bench.text(0, "[]");
        bench.pass(6_001);
    }
    assert_eq!(bench.peers[0].closed, None);
}

#[test]
fn messages_over_the_rate_are_answered_and_not_acted_on() {
    let mut bench = Bench::new(1);
    for _ in 0..200 {
        bench.say(0, "connection:health", json!({ "kind": "ping" }));
    }
    assert_eq!(bench.last(0)["data"]["kind"], "pong");
    let id = bench.say(0, "download:request", request(5));
    let refused = bench.answer(0, &id);
    assert_eq!(
        (&refused["event"], &refused["data"]["code"]),
        (&json!("system:error"), &json!("RATE_LIMITED"))
    );
    assert!(refused["data"]["retryAfter"].as_u64().unwrap() >= 1);
    assert!(bench.table.is_empty());
    bench.pass(10);
    bench.say(0, "connection:health", json!({ "kind": "ping" }));
    assert_eq!(bench.last(0)["data"]["kind"], "pong");
}

#[test]
fn a_download_is_told_from_start_to_end() {
    let mut bench = Bench::new(1);
    bench.forget();
    let id = bench.say(0, "download:request", request(1_000));
    assert_eq!(bench.events(0)[..2], ["download:start", "download:progress"], "the first update at once");
    assert_eq!(bench.last(0)["requestId"], id);
    assert!(bench.answer(0, &id)["data"].get("attached").is_none());
    bench.forget();
    for n in 1..=9 {
        bench.pass(100);
        bench.wrote(1, n * 50);
    }
    assert_eq!(bench.events(0), [""; 0], "within the batch");
    bench.pass(200);
    assert_eq!(bench.events(0), ["download:progress"]);
    assert_eq!(bench.last(0)["data"]["processedRows"], 450);
    assert_eq!(bench.last(0)["data"]["progress"], 45);
    bench.wrote(1, 600);
    bench.finished(1, 1_000);
    assert_eq!(bench.events(0)[1..], ["download:progress", "download:complete"]);
    let last = &bench.peers[0].got[1].1["data"];
    assert_eq!((&last["progress"], &last["processedRows"]), (&json!(100), &json!(1_000)));
    let done = bench.last(0);
    assert_eq!((&done["requestId"], &done["data"]["files"][0]["rows"]), (&json!(id), &json!(1_000)));
    bench.pass(5_000);
    assert_eq!(bench.events(0).len(), 3, "nothing after the end");
}

#[test]
fn updates_of_several_jobs_go_as_an_array() {
    let mut bench = Bench::new(1);
    for _ in 0..3 {
        bench.say(0, "download:request", request(1_000));
    }
    bench.forget();
    for job in 1..=3 {
        bench.wrote(job, 10);
    }
    bench.pass(1_000);
    let batch = bench.last(0);
    assert_eq!(batch["data"].as_array().unwrap().len(), 3);
    assert!(batch["requestId"].as_str().unwrap().starts_with("srv-"));
}

#[test]
fn a_full_batch_does_not_wait() {
    let limits = Limits { batch_size: 2, ..Limits::default() };
    let mut bench = Bench::with_limits(1, limits);
    for _ in 0..3 {
        bench.say(0, "download:request", request(1_000));
    }
    bench.forget();
    bench.wrote(1, 10);
    assert_eq!(bench.events(0), [""; 0]);
    bench.wrote(2, 10);
    assert_eq!(bench.events(0), ["download:progress"]);
}

#[test]
fn the_same_request_twice_attaches_and_a_different_one_conflicts() {
    let mut bench = Bench::new(2);
    bench.say_as(0, "download:request", request(9), "same");
    bench.say_as(1, "download:request", request(9), "same");
    assert_eq!(bench.answer(1, "same")["data"]["duplicate"], true);
    bench.say_as(1, "download:request", request(10), "same");
    assert_eq!(bench.last(1)["data"]["code"], "REQUEST_ID_CONFLICT");
    bench.finished(1, 9);
    bench.say_as(1, "download:request", request(9), "same");
    assert_eq!(bench.last(1)["event"], "download:complete", "the end again");
    for peer in 0..2 {
        let ends = bench.events(peer).iter().filter(|e| **e == "download:complete").count();
        assert_eq!(ends, 1 + peer, "one end per attachment");
    }
}

#[test]
fn pause_resume_and_cancel_are_told_to_everybody() {
    let mut bench = Bench::new(2);
    bench.say(0, "download:request", request(1_000));
    let job = job_id(1).to_string();
    let id = bench.say(1, "download:attach", json!({ "downloadId": job }));
    assert_eq!(bench.answer(1, &id)["data"]["attached"], true);
    assert_eq!(bench.last(1)["event"], "download:progress");
    bench.forget();
    let id = bench.say(0, "download:pause", json!({ "downloadId": job }));
    assert_eq!(bench.answer(0, &id)["data"]["activeDownloads"][&job]["state"], "paused");
    assert_eq!(bench.events(1), ["status:update"], "pushed to the other one");
    bench.say(0, "download:resume", json!({ "downloadId": job }));
    bench.say(0, "download:cancel", json!({ "downloadId": job }));
    for peer in 0..2 {
        let ends = bench.peers[peer].got.iter().filter(|(_, m)| m["event"] == "download:error");
        let ends: Vec<_> = ends
            .map(|(_, m)| (m["data"]["code"].as_str().unwrap(), m["requestId"].as_str().unwrap()))
            .collect();
        assert_eq!(ends, [("CANCELLED", "p0-1")]);
    }
    let id = bench.say(0, "download:resume", json!({ "downloadId": job }));
    assert_eq!(bench.answer(0, &id)["data"]["code"], "INVALID_STATE");
}

#[test]
fn a_job_that_vanishes_ends_as_cancelled() {
    let mut bench = Bench::new(1);
    bench.say(0, "download:request", request(1_000));
    let now = bench.now();
    bench.table.delete(now, &Principal::anonymous(), job_id(1)).unwrap();
    bench.settle();
    assert_eq!(
        (&bench.last(0)["event"], &bench.last(0)["data"]["code"]),
        (&json!("download:error"), &json!("CANCELLED"))
    );
    assert_eq!(bench.last(0)["data"]["downloadId"], job_id(1).to_string());
}

#[test]
fn jobs_of_nobody_are_not_found() {
    let mut bench = Bench::new(1);
    let unknown = json!({ "downloadId": job_id(9).to_string() });
    for event in
        ["download:attach", "download:detach", "download:pause", "download:resume", "download:cancel"]
    {
        let id = bench.say(0, event, unknown.clone());
        let answer = bench.answer(0, &id);
        assert_eq!(
            (&answer["event"], &answer["data"]["code"]),
            (&json!("download:error"), &json!("DOWNLOAD_NOT_FOUND")),
            "{event}"
        );
    }
    let id = bench.say(0, "status:check", unknown);
    assert_eq!(
        (&bench.answer(0, &id)["event"], &bench.answer(0, &id)["data"]["code"]),
        (&json!("system:error"), &json!("DOWNLOAD_NOT_FOUND"))
    );
    let id = bench.say(0, "download:attach", json!({}));
    assert_eq!(bench.answer(0, &id)["data"]["code"], "INVALID_REQUEST");
}

#[test]
fn status_has_three_scopes() {
    let mut bench = Bench::new(2);
    bench.say(0, "download:request", request(1_000));
    bench.say(1, "download:request", request(1_000));
    let mut count = |data: Value| {
        let id = bench.say(0, "status:check", data);
        bench.answer(0, &id)["data"]["activeDownloads"].as_object().unwrap().len()
    };
    assert_eq!(count(json!({})), 1);
    assert_eq!(count(json!({ "scope": "session" })), 1);
    assert_eq!(count(json!({ "scope": "all" })), 2);
    assert_eq!(count(json!({ "downloadId": job_id(2).to_string() })), 1);
}

#[test]
fn a_status_stays_a_message() {
    let mut limits = Limits::default();
    limits.protocol.message_bytes_max = 8_192;
    let mut bench = Bench::with_limits(1, limits);
    for _ in 0..40 {
        bench.say(0, "download:request", request(1_000));
    }
    let id = bench.say(0, "status:check", json!({ "scope": "all" }));
    let answer = bench.answer(0, &id);
    let listed = answer["data"]["activeDownloads"].as_object().unwrap();
    assert!(answer.to_string().len() <= 8_192 && listed.len() > 5, "{} listed", listed.len());
    assert!(listed.contains_key(&job_id(40).to_string()), "the newest first");
}

#[test]
fn one_attachment_over_the_limit_is_refused() {
    let limits = Limits { attachments_max: 2, ..Limits::default() };
    let mut bench = Bench::with_limits(1, limits);
    for _ in 0..2 {
        bench.say(0, "download:request", request(1_000));
    }
    let id = bench.say(0, "download:request", request(1_000));
    assert_eq!(bench.answer(0, &id)["data"]["code"], "LIMIT_EXCEEDED");
    assert_eq!(bench.jobs, 2, "a refused request makes no job");
    bench.say_as(0, "download:request", request(1_000), "p0-1");
    assert_eq!(bench.last(0)["event"], "download:progress", "a repeated request meets no limits");
    let id = bench.say(0, "download:attach", json!({ "downloadId": job_id(1).to_string() }));
    assert_eq!(bench.answer(0, &id)["event"], "download:start", "one it has already");
}

#[test]
fn a_silent_peer_is_pinged_and_then_closed() {
    let mut bench = Bench::new(1);
    bench.pass(9_999);
    assert_eq!(bench.peers[0].pings, 0);
    bench.pass(1);
    assert_eq!(bench.peers[0].pings, 1);
    let now = bench.now();
    bench.peers[0].conversation.heard(now);
    bench.pass(14_999);
    assert_eq!((bench.peers[0].pings, bench.peers[0].closed), (2, None));
    bench.pass(1);
    assert_eq!(bench.peers[0].closed, Some(CloseCode::HEARTBEAT));
}

#[test]
fn a_slow_reader_gets_no_progress_and_is_closed_in_the_end() {
    let mut bench = Bench::new(1);
    bench.say(0, "download:request", request(1_000));
    bench.forget();
    bench.with(0, |conversation, now, _| conversation.backlog(now, (1 << 20) + 1));
    for n in 1..=20 {
        bench.wrote(1, n * 10);
        bench.pass(1_000);
        let now = bench.now();
        bench.peers[0].conversation.heard(now);
    }
    assert_eq!(bench.events(0), [""; 0], "progress waits");
    bench.with(0, |conversation, now, _| conversation.backlog(now, 1 << 20));
    bench.pass(1);
    assert_eq!(bench.events(0), ["download:progress"], "only the newest");
    bench.with(0, |conversation, now, _| conversation.backlog(now, (1 << 20) + 1));
    bench.pass(10_000);
    let now = bench.now();
    bench.peers[0].conversation.heard(now);
    bench.pass(10_000);
    let now = bench.now();
    bench.peers[0].conversation.heard(now);
    bench.pass(9_999);
    assert_eq!(bench.peers[0].closed, None);
    bench.pass(1);
    assert_eq!(bench.peers[0].closed, Some(CloseCode::SLOW_CONSUMER));
}

#[test]
fn a_peer_that_never_reads_is_slow_not_silent() {
    let mut bench = Bench::new(1);
    bench.with(0, |conversation, now, _| conversation.backlog(now, (1 << 20) + 1));
    for _ in 0..29 {
        bench.pass(1_000);
        assert_eq!(bench.peers[0].closed, None, "at {} ms nothing was read from it", bench.now_ms);
    }
    bench.pass(1_000);
    assert_eq!(bench.peers[0].closed, Some(CloseCode::SLOW_CONSUMER));
}

#[test]
fn a_cancel_is_answered_before_the_attachment_ends() {
    let mut bench = Bench::new(2);
    bench.say(0, "download:request", request(1_000));
    bench.say(1, "download:attach", json!({ "downloadId": job_id(1).to_string() }));
    bench.forget();
    // The change is told while the command is under way, as a server with threads may do.
    let text = json!({ "event": "download:cancel", "data": { "downloadId": job_id(1).to_string() },
        "timestamp": 1, "requestId": "c1" });
    let asked = bench.with(0, |conversation, now, _| {
        assert_eq!(conversation.message(now, &text.to_string()), None);
        conversation.poll()
    });
    let Some(Output::Do(command)) = asked else { panic!("{asked:?}") };
    let done = bench.carry_out(&command);
    bench.settle();
    assert_eq!((bench.events(0), bench.events(1)), (vec![], vec!["download:error"]));
    bench.with(0, |conversation, now, world| conversation.done(now, world, &command, done));
    bench.settle();
    assert_eq!(bench.events(0), ["status:update", "download:error"]);
}

#[test]
fn a_stopping_server_says_so() {
    let mut bench = Bench::new(1);
    bench.with(0, |conversation, now, _| conversation.shut_down(now));
    bench.settle();
    assert_eq!(
        (&bench.last(0)["data"]["code"], bench.peers[0].closed),
        (&json!("SHUTTING_DOWN"), Some(CloseCode::GOING_AWAY))
    );
    assert!(bench.last(0)["data"]["retryAfter"].as_u64().unwrap() >= 1);
    bench.text(0, "nope");
    assert_eq!(bench.events(0).last(), Some(&"system:error"), "nothing is answered any more");
}

#[test]
fn server_request_ids_are_unique_across_connections() {
    let bench = Bench::new(3);
    let ids: BTreeSet<&str> = (0..3).map(|p| bench.last(p)["requestId"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 3);
    assert!(RequestId::parse(ids.first().unwrap()).is_err(), "a client may not choose one");
}

#[test]
fn long_requests_are_answered_before_more_is_read() {
    let mut bench = Bench::with_limits(1, Limits { commands_bytes_max: 1_000, ..Limits::default() });
    let ask = |bench: &mut Bench, bytes: usize| {
        let data = request(10).to_string();
        let room = " ".repeat(bytes - data.len());
        let data = data.replacen('{', &format!("{{{room}"), 1);
        let text =
            format!(r#"{{"event":"download:request","data":{data},"timestamp":1,"requestId":"b{bytes}"}}"#);
        bench.with(0, |conversation, now, _| {
            assert_eq!(conversation.message(now, &text), None);
            match conversation.poll() {
                Some(Output::Do(command)) => (command, conversation.is_busy()),
                other => panic!("expected a command, got {other:?}"),
            }
        })
    };
    let (short, is_busy) = ask(&mut bench, 999);
    assert!(!is_busy, "one byte under");
    let (long, is_busy) = ask(&mut bench, 1_001);
    assert!(is_busy);
    for (command, bytes_left) in [(short, 1_001), (long, 0)] {
        bench.with(0, |conversation, now, world| {
            conversation.done(now, world, &command, Err(ErrorResponse::new(ErrorCode::Timeout, "")));
            assert_eq!(conversation.is_busy(), bytes_left > 0, "{bytes_left} left");
        });
    }
}
