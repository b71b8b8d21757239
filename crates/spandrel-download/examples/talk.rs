//! A conversation without a network: one download from request to completion.
#![expect(clippy::print_stdout, reason = "an example shows its result")]

use spandrel_download::{
    Ask, Conversation, Done, FileUrl, Limits, Output, Pings, SessionConfig, Urls, World,
};
use spandrel_download_protocol::SystemHealth;
use spandrel_jobs::{DownloadId, Job, JobTable, NewJob, Now, Principal, Retention, Spec, Total, UtcOffset};

struct Plain;

impl Urls for Plain {
    fn file_url(&self, job: &Job, name: &str, _: u64, expires_ms: u64) -> FileUrl {
        FileUrl { url: format!("/v1/files/{}/{name}", job.id()), expires_ms }
    }
}

fn main() {
    let now = Now { mono_ms: 0, wall_ms: 1_700_000_000_000 };
    let health = SystemHealth::of(vec![], now.wall_ms, 0, 0);
    let mut table = JobTable::new(spandrel_jobs::Limits::default(), Retention::default());
    let config = SessionConfig {
        session: 1,
        session_id: "example".into(),
        protocol: "spandrel.download.v1+json".into(),
        principal: Principal::anonymous(),
        features: vec![],
        server_nonce: None,
        sent_bytes_max: 1 << 20,
        pings: Pings::Frames,
        limits: Limits::default(),
    };
    let mut conversation = Conversation::new(now, config, &health);
    let request = r#"{"event":"download:request","timestamp":1,"requestId":"r1","data":{"compression":false,
        "outputFormat":"csv","searchParams":{"timeFrom":"2024-03-01T00:00:00Z","timeTo":"2024-03-02T00:00:00Z","filters":[]}}}"#;
    let question = conversation.message(now, request);
    assert!(question.is_none(), "a request is a command, not a question");
    while let Some(output) = conversation.poll() {
        match output {
            Output::Send(text) => println!("{text}"),
            Output::Do(command) => {
                let Ask::Create { text, .. } = &command.ask else { continue };
                let id = create(&mut table, now, text);
                let done = Ok(Done::Created { id, is_duplicate: false });
                let world = World { table: &table, urls: &Plain, health: &health };
                conversation.done(now, world, &command, done);
                table.finished(now, id, 10);
                conversation.job(now, World { table: &table, urls: &Plain, health: &health }, id);
            }
            other => println!("({other:?})"),
        }
    }
}

fn create(table: &mut JobTable, now: Now, request: &str) -> DownloadId {
    let id = DownloadId::from_bytes([7; 16]);
    let spec = Spec {
        dataset: "logs".into(),
        snapshot: String::new(),
        request: request.into(),
        request_key: request.into(),
        format: "csv".into(),
        codec: None,
        formula_guard: false,
        time_zone: UtcOffset::Zulu,
        file_stem: "logs".into(),
        file_suffix: ".csv".into(),
        content_type: "text/csv; charset=utf-8".into(),
        rows_per_file: 500_000,
    };
    let request_id = spandrel_jobs::RequestId::parse("r1").expect("a request id of the right form");
    let total = Total { rows: 10, is_exact: true, scan_rows: 10 };
    let new = NewJob { id, principal: Principal::anonymous(), request_id, spec, total };
    table.create(now, new).expect("the table is empty");
    table.stored(now, id);
    id
}
