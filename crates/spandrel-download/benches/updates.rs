//! What a second of a running export costs its follower's connection: ten changes in, one message out.
//!
//! `cargo bench -p spandrel-download --bench updates`. An export uses a core for the same second or more, so a median of
//! 20 ms would be 2 % of it; divide accordingly. `plain` is the conversation alone, `signed_and_sealed` adds both layers,
//! `all_layers` deflates too.

use std::hint::black_box;

use divan::Bencher;
use spandrel_crypto::SecretKey;
use spandrel_download::{Conversation, FileUrl, Output, Pings, SessionConfig, Urls, World};
use spandrel_download_protocol::{DownloadId, RequestId, SystemHealth, UtcOffset};
use spandrel_jobs::{Job, JobTable, Limits, NewJob, Now, Principal, Retention, Spec, Total};
use spandrel_session::{
    Entropy, KeyId, Layers, LayersConfig, SealKeys, Sealing, Side, Signer, Signing, WallMillis, signing_key,
};

fn main() {
    divan::Divan::default().sample_count(1_000).config_with_args().main();
}

const WALL_MS: u64 = 1_710_000_000_000;

struct Plain;

impl Urls for Plain {
    fn file_url(&self, job: &Job, file_name: &str, _: u64, expires_ms: u64) -> FileUrl {
        FileUrl { url: format!("/v1/files/{}/{file_name}", job.id()), expires_ms }
    }
}

/// A connection that follows one job of a table.
struct Followed {
    now_ms: u64,
    rows: u64,
    table: JobTable,
    health: SystemHealth,
    conversation: Conversation,
    id: DownloadId,
}

impl Followed {
    fn new() -> Self {
        let health = SystemHealth::of(Vec::new(), WALL_MS, 1, 0);
        let now = Now { mono_ms: 0, wall_ms: WALL_MS };
        let config = SessionConfig {
            session: 1,
            session_id: "s".into(),
            protocol: "spandrel.download.v1+json+aes256gcm".into(),
            principal: Principal::anonymous(),
            features: Vec::new(),
            server_nonce: None,
            sent_bytes_max: 1 << 20,
            pings: Pings::Frames,
            limits: spandrel_download::Limits::default(),
        };
        let conversation = Conversation::new(now, config, &health);
        let table = JobTable::new(Limits::default(), Retention::default());
        let id = DownloadId::from_bytes([1; 16]);
        let mut followed = Self { now_ms: 0, rows: 0, table, health, conversation, id };
        // A bound, not the number: the parts it would take are not counted then.
        let total = Total { rows: u64::MAX / 4, is_exact: false, scan_rows: u64::MAX / 4 };
        let request_id = RequestId::parse("r-1").expect("an id");
        let new = NewJob { id, principal: Principal::anonymous(), request_id, spec: spec(), total };
        followed.table.create(now, new).expect("there is room");
        followed.work();
        let attach = r#"{"event":"download:attach","data":{"downloadId":"dl_AQEBAQEBAQEBAQEBAQEBAQ"},"timestamp":1,"requestId":"a"}"#;
        let question = followed.conversation.message(now, attach).expect("an attach is asked of the world");
        let world = World { table: &followed.table, urls: &Plain, health: &followed.health };
        followed.conversation.answer(now, world, question);
        while followed.conversation.poll().is_some() {}
        followed
    }

    fn work(&mut self) {
        let now = self.now();
        while let Some(work) = self.table.poll() {
            if let spandrel_jobs::Output::Persist(id) = work {
                self.table.stored(now, id);
            }
        }
    }

    fn now(&self) -> Now {
        Now { mono_ms: self.now_ms, wall_ms: WALL_MS + self.now_ms }
    }

    /// Ten changes in a second; `out` takes the messages.
    fn second(&mut self, mut out: impl FnMut(String)) {
        for _ in 0..10 {
            self.now_ms += 100;
            self.rows += 250_000;
            let now = self.now();
            self.table.progress(now, self.id, self.rows, self.rows, self.rows * 100);
            self.work();
            let world = World { table: &self.table, urls: &Plain, health: &self.health };
            self.conversation.job(now, world, self.id);
            self.conversation.heard(now);
            self.conversation.tick(now);
            while let Some(work) = self.conversation.poll() {
                if let Output::Send(text) = work {
                    out(text);
                }
            }
        }
    }
}

fn spec() -> Spec {
    Spec {
        dataset: "trades".into(),
        snapshot: "s".into(),
        request: "{}".into(),
        request_key: "{}".into(),
        format: "csv".into(),
        codec: None,
        formula_guard: false,
        time_zone: UtcOffset::Zulu,
        file_stem: "trades".into(),
        file_suffix: ".csv".into(),
        content_type: "text/csv; charset=utf-8".into(),
        rows_per_file: 500_000,
    }
}

fn layers(deflates: bool) -> Layers {
    let secret = SecretKey::from_bytes([0x11; 32]);
    let mut config = LayersConfig::new(Side::Server);
    config.deflates = deflates;
    config.sealing = Sealing::Keys(SealKeys::derive(&secret, &[1; 16], &[2; 16]));
    config.sealed_messages_max = u64::MAX;
    let kid = KeyId::new("k1").expect("a key id");
    config.signer = Some(Signer { kid, key: signing_key(&secret), mode: Signing::Required });
    Layers::new(config)
}

fn run(bencher: Bencher<'_, '_>, mut layers: Option<Layers>) {
    let mut followed = Followed::new();
    let mut messages = 0_u64;
    followed.second(drop); // the first update goes past the batch
    bencher.bench_local(|| {
        followed.second(|text| {
            messages += 1;
            match &mut layers {
                Some(layers) => {
                    let entropy = || Entropy { nonce: messages_bytes(messages), iv: [7; 12] };
                    let wall = WallMillis::new(WALL_MS);
                    let _ = black_box(layers.outbound(text, wall, entropy).expect("it is short"));
                }
                None => drop(black_box(text)),
            }
        });
    });
    assert!(messages > 0, "every second but the first brings a message");
}

fn messages_bytes(n: u64) -> [u8; 16] {
    u128::from(n).to_be_bytes()
}

#[divan::bench]
fn plain(bencher: Bencher<'_, '_>) {
    run(bencher, None);
}

#[divan::bench]
fn signed_and_sealed(bencher: Bencher<'_, '_>) {
    run(bencher, Some(layers(false)));
}

#[divan::bench]
fn all_layers(bencher: Bencher<'_, '_>) {
    run(bencher, Some(layers(true)));
}
