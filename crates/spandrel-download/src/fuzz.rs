//! Entry points for fuzzers: plain functions that must never panic.

use spandrel_download_protocol::{Check, CheckStatus, ErrorCode, ErrorResponse, SystemHealth};
use spandrel_jobs::{Job, JobTable, Limits as JobLimits, Now, Principal, Retention};

use crate::{Conversation, FileUrl, Limits, Output, Pings, SessionConfig, Urls, World};

struct NoUrls;

impl Urls for NoUrls {
    fn file_url(&self, _: &Job, file_name: &str, wall_ms: u64, _: u64) -> FileUrl {
        FileUrl { url: file_name.to_owned(), expires_ms: wall_ms }
    }
}

/// Feeds a conversation the lines of `data` as messages, one every 10 ms; every command fails.
pub fn fuzz_conversation(data: &[u8]) {
    let table = JobTable::new(JobLimits::default(), Retention::default());
    let check = Check { name: "source".into(), status: CheckStatus::Ok, message: None };
    let health = SystemHealth::of(vec![check], 0, 0, 0);
    let world = World { table: &table, urls: &NoUrls, health: &health };
    let config = SessionConfig {
        session: 1,
        session_id: "fuzz".into(),
        protocol: "spandrel.download.v1+json".into(),
        principal: Principal::anonymous(),
        features: Vec::new(),
        server_nonce: None,
        sent_bytes_max: 1 << 20,
        pings: Pings::Frames,
        limits: Limits::default(),
    };
    let mut now = Now { mono_ms: 0, wall_ms: 1_700_000_000_000 };
    let mut conversation = Conversation::new(now, config, &health);
    for line in String::from_utf8_lossy(data).split('\n') {
        if let Some(question) = conversation.message(now, line) {
            conversation.answer(now, world, question);
        }
        while let Some(output) = conversation.poll() {
            if let Output::Do(command) = output {
                let error = ErrorResponse::new(ErrorCode::Overloaded, "not now");
                conversation.done(now, world, &command, Err(error));
            }
        }
        now.mono_ms += 10;
        conversation.tick(now);
    }
}
