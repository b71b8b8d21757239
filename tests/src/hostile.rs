//! Peers that mean harm, or are broken: named cases against the real binary over real sockets.
//!
//! After each case a client that was there before is served at once, the refusal is the protocol's, and when all
//! cases are over memory and descriptors are what they were.

mod documents;
mod http;
mod load;
mod raw;
mod tcp;
mod ws;

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use crate::e2e::server::Server;
use crate::e2e::ws::Ws;
use raw::Fate;

/// A good client waits no longer than this while others attack.
const SERVED_WITHIN: Duration = Duration::from_secs(1);
/// What any one attack may cost while it goes on, in KiB.
const GROWTH_MAX_KIB: u64 = 64 << 10;
/// What may remain of all of them, in KiB.
const REST_MAX_KIB: u64 = 16 << 10;

/// What the server may ever have, whatever is done to it, in MiB.
const PEAK_MAX_MIB: u64 = 256;

/// The server under attack, and the client that must not notice.
struct Victim {
    server: Server,
    good: Ws,
    before_kib: u64,
    descriptors: usize,
    cases: usize,
}

impl Victim {
    async fn new(more: Value) -> Self {
        // The good client asks after every case: the rule against floods would hit it.
        let mut config = json!({ "limits": { "messagesPerSecond": 100_000, "messageBurst": 100_000 } });
        for (name, value) in more.as_object().expect("an object") {
            config[name] = value.clone();
        }
        let server = Server::of_flights(config);
        let mut good = server.ws().await;
        good.export(&crate::e2e::data::flights()).await;
        let (before_kib, descriptors) = (server.rss_kib(), server.open_files().len());
        Self { server, good, before_kib, descriptors, cases: 0 }
    }

    /// The good client asks, as after every case.
    async fn still_serves(&mut self, case: &str) {
        self.cases += 1;
        let nothing = json!({});
        let answer = timeout(SERVED_WITHIN, self.good.ask("status:check", &nothing)).await;
        let answer = answer.unwrap_or_else(|_| panic!("{case}: others wait for more than a second"));
        assert_eq!(answer["event"], "status:update", "{case}");
        let grown = self.server.rss_kib().saturating_sub(self.before_kib);
        assert!(grown <= GROWTH_MAX_KIB, "{case}: {} MiB more", grown >> 10);
    }

    /// Everything is given back.
    async fn end(self, cases_min: usize) {
        println!("{} cases", self.cases);
        assert!(self.cases >= cases_min, "{} cases", self.cases);
        let began = Instant::now();
        loop {
            let kib = self.server.rss_kib().saturating_sub(self.before_kib);
            let descriptors = self.server.open_files().len();
            if kib <= REST_MAX_KIB && descriptors <= self.descriptors {
                break;
            }
            assert!(
                began.elapsed() < Duration::from_secs(20),
                "{} MiB and {} descriptors stay\n{:?}",
                kib >> 10,
                descriptors - self.descriptors,
                self.server.open_files(),
            );
            sleep(Duration::from_millis(20)).await;
        }
        let peak = self.server.peak_kib() >> 10;
        println!("{peak} MiB at most");
        assert!(peak <= PEAK_MAX_MIB, "{peak} MiB");
        assert!(!self.server.log().contains("panicked"), "{}", self.server.log());
    }
}

/// What has to become of a peer.
#[derive(Debug, Clone, Copy)]
enum Want {
    /// Told one of these close codes.
    Close(&'static [u16]),
    /// Answered with one of these error codes, and kept.
    Error(&'static [&'static str]),
    /// Any refusal: an error, or a close code.
    Refusal,
}

impl Want {
    #[track_caller]
    fn check(self, case: &str, fate: &Fate) {
        let is_met = match (self, fate) {
            (Self::Close(codes), Fate::Closed(code)) => codes.contains(code),
            (Self::Error(codes), Fate::Said(message)) => {
                message["event"].as_str().is_some_and(|event| event.ends_with(":error"))
                    && codes.iter().any(|code| message["data"]["code"] == *code)
            }
            (Self::Refusal, Fate::Closed(_)) => true,
            (Self::Refusal, Fate::Said(message)) => {
                message["event"].as_str().is_some_and(|event| event.ends_with(":error"))
            }
            _ => false,
        };
        assert!(is_met, "{case}: wanted {self:?}, got {fate:?}");
    }
}
