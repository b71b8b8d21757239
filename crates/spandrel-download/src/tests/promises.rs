//! Promises to an attachment, kept whatever happens in whatever order.

use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Bench, job_id, request};
use crate::fuzz;

/// What happens in a simulated hour.
#[derive(Debug, Clone)]
enum Act {
    Ask(usize),
    Attach(usize, u8),
    Detach(usize, u8),
    Pause(usize, u8),
    Resume(usize, u8),
    Cancel(usize, u8),
    Wrote(u8, u64),
    Finish(u8),
    Pass(u64),
}

fn act() -> impl Strategy<Value = Act> {
    let (peer, job) = (0_usize..3, 1_u8..8);
    prop_oneof![
        2 => peer.clone().prop_map(Act::Ask),
        2 => (peer.clone(), job.clone()).prop_map(|(p, j)| Act::Attach(p, j)),
        1 => (peer.clone(), job.clone()).prop_map(|(p, j)| Act::Detach(p, j)),
        1 => (peer.clone(), job.clone()).prop_map(|(p, j)| Act::Pause(p, j)),
        1 => (peer.clone(), job.clone()).prop_map(|(p, j)| Act::Resume(p, j)),
        1 => (peer, job.clone()).prop_map(|(p, j)| Act::Cancel(p, j)),
        4 => (job.clone(), 0_u64..1_100).prop_map(|(j, r)| Act::Wrote(j, r)),
        2 => job.prop_map(Act::Finish),
        4 => (0_u64..1_500).prop_map(Act::Pass),
    ]
}

/// Follows the messages of one connection and complains about every broken promise of sections 8.3 and 9.
#[derive(Default)]
struct Judge {
    open: HashMap<String, (u64, f64)>,
    progress_at: Vec<u64>,
    free: usize,
}

impl Judge {
    fn see(&mut self, at: u64, message: &Value) -> Result<(), String> {
        let data = &message["data"];
        let job = || data["downloadId"].as_str().unwrap_or_default().to_owned();
        match message["event"].as_str().unwrap_or_default() {
            "download:start" => {
                self.open.entry(job()).or_insert((0, 0.0));
                self.free += 1;
            }
            "download:progress" => {
                self.progress_at.push(at);
                let one = [data.clone()];
                let all = data.as_array().map_or(&one[..], Vec::as_slice);
                if data.is_array() && all.len() < 2 {
                    return Err("an array of one".into());
                }
                for update in all {
                    let id = update["downloadId"].as_str().unwrap_or_default();
                    let seen = self.open.get_mut(id).ok_or("progress outside an attachment")?;
                    let new = (
                        update["processedRows"].as_u64().unwrap_or(0),
                        update["progress"].as_f64().unwrap_or(-1.0),
                    );
                    if new.0 < seen.0 || new.1 < seen.1 {
                        return Err(format!("progress fell from {seen:?} to {new:?}"));
                    }
                    *seen = new;
                }
            }
            "download:complete" => {
                self.free += 1;
                match self.open.remove(&job()) {
                    Some((rows, percent)) if percent == 100.0 && Some(rows) == data["totalRows"].as_u64() => {
                    }
                    other => return Err(format!("complete after {other:?}")),
                }
            }
            "download:error" if data["code"] == "CANCELLED" => {
                self.free += 1;
                self.open.remove(&job()).ok_or("a second end")?;
            }
            _ => {}
        }
        Ok(())
    }
}

proptest! {
    /// On every connection and for every attachment: start, then progress that never falls, then exactly one end; and
    /// no more progress messages than one a second, one per start and one per end.
    #[test]
    fn prop_attachments_keep_their_promises(acts in proptest::collection::vec(act(), 1..150)) {
        let mut bench = Bench::new(3);
        let mut judges: [Judge; 3] = Default::default();
        let mut read = [0; 3];
        for act in acts {
            let data = |job: u8| json!({ "downloadId": job_id(job).to_string() });
            let mut detached = None;
            match act {
                Act::Ask(p) => { if bench.jobs < 7 { bench.say(p, "download:request", request(1_000)); } }
                Act::Attach(p, j) => { bench.say(p, "download:attach", data(j)); }
                Act::Detach(p, j) => { bench.say(p, "download:detach", data(j)); detached = Some((p, j)); }
                Act::Pause(p, j) => { bench.say(p, "download:pause", data(j)); }
                Act::Resume(p, j) => { bench.say(p, "download:resume", data(j)); }
                Act::Cancel(p, j) => { bench.say(p, "download:cancel", data(j)); }
                Act::Wrote(j, rows) => bench.wrote(j, rows),
                Act::Finish(j) => bench.finished(j, 1_000),
                Act::Pass(ms) => bench.pass(ms),
            }
            for (p, judge) in judges.iter_mut().enumerate() {
                for (at, message) in &bench.peers[p].got[read[p]..] {
                    prop_assert_eq!(judge.see(*at, message), Ok(()), "connection {}: {}", p, message);
                }
                read[p] = bench.peers[p].got.len();
                if let Some((_, job)) = detached.filter(|(who, _)| *who == p) {
                    judge.open.remove(&job_id(job).to_string());
                }
                let follows: BTreeMap<_, _> = judge.open.keys().map(|id| (id.clone(), ())).collect();
                let real: BTreeMap<_, _> = bench.peers[p].follows.iter().map(|id| (id.to_string(), ())).collect();
                prop_assert_eq!(follows, real);
                let allowed = usize::try_from(bench.now_ms / 1_000).unwrap() + judge.free + 1;
                prop_assert!(judge.progress_at.len() <= allowed);
            }
        }
    }

    /// No text whatever makes a conversation panic.
    #[test]
    fn prop_never_panics_on_text(text in proptest::collection::vec(any::<u8>(), 0..400)) {
        fuzz::fuzz_conversation(&text);
    }
}
