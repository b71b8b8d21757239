//! Progress batching (section 9): newest value per key, sent when full or a second after the first entry.

use spandrel_wire::Millis;

/// Bounds of a [`Batcher`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    /// Entries that make a batch full, 100, at least 1: a message stays small.
    pub entries_max: usize,
    /// Milliseconds an entry may wait, 1000: a person sees one step a second.
    pub timeout_ms: u64,
}

impl Default for BatchLimits {
    fn default() -> Self {
        Self { entries_max: 100, timeout_ms: 1000 }
    }
}

/// What a [`Batcher`] lets go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Batched<V> {
    /// Goes out bare.
    One(V),
    /// Goes out as an array, two or more, in order of first entry.
    Many(Vec<V>),
}

/// Holds the newest value of each key until its time has come.
///
/// A newer value takes the place of the older one without moving its turn, so nobody starves. Send what
/// [`push`](Self::push), [`tick`](Self::tick) and [`flush`](Self::flush) return at once.
#[derive(Debug, Clone)]
pub struct Batcher<K, V> {
    limits: BatchLimits,
    entries: Vec<(K, V)>,
    due: Millis,
}

impl<K: PartialEq, V> Batcher<K, V> {
    /// An empty batch.
    pub const fn new(limits: BatchLimits) -> Self {
        Self { limits, entries: Vec::new(), due: Millis::MAX }
    }

    /// Takes a value in; gives the batch out when that fills it.
    pub fn push(&mut self, now: Millis, key: K, value: V) -> Option<Batched<V>> {
        self.hold(now, key, value);
        if self.entries.len() >= self.limits.entries_max { self.flush() } else { None }
    }

    /// Takes a value in and gives nothing out: the receiver has no room now. As many entries as there are keys are
    /// held, and a batch that is over full is due at once.
    pub fn hold(&mut self, now: Millis, key: K, value: V) {
        if let Some(entry) = self.entries.iter_mut().find(|(k, _)| *k == key) {
            entry.1 = value;
            return;
        }
        if self.entries.is_empty() {
            self.due = now.after(self.limits.timeout_ms);
        }
        self.entries.push((key, value));
        if self.entries.len() >= self.limits.entries_max {
            self.due = self.due.min(now);
        }
    }

    /// Gives the batch out when its time has come.
    pub fn tick(&mut self, now: Millis) -> Option<Batched<V>> {
        if now >= self.due { self.flush() } else { None }
    }

    /// Gives out what there is, before a terminal event.
    pub fn flush(&mut self) -> Option<Batched<V>> {
        self.due = Millis::MAX;
        let mut values: Vec<V> = self.entries.drain(..).map(|(_, value)| value).collect();
        if values.len() > 1 {
            return Some(Batched::Many(values));
        }
        values.pop().map(Batched::One)
    }

    /// Drops the value of a key nobody follows any more.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let at = self.entries.iter().position(|(k, _)| k == key)?;
        let (_, value) = self.entries.remove(at);
        if self.entries.is_empty() {
            self.due = Millis::MAX;
        }
        Some(value)
    }

    /// When to [`tick`](Self::tick); `None` while empty.
    pub fn wake(&self) -> Option<Millis> {
        (!self.entries.is_empty()).then_some(self.due)
    }

    /// Whether a value of this key waits.
    pub fn contains(&self, key: &K) -> bool {
        self.entries.iter().any(|(k, _)| k == key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn show(batch: Batched<(String, u64)>) -> Value {
        match batch {
            Batched::One(one) => json!([one]),
            Batched::Many(many) => json!(many),
        }
    }

    #[test]
    fn listed_batches_come_out_as_listed() {
        let cases: Vec<Value> = serde_json::from_str(include_str!("../tests/data/batches.json")).unwrap();
        for case in cases {
            let mut batcher = Batcher::new(BatchLimits::default());
            let mut out = Vec::new();
            let drain = |batcher: &mut Batcher<_, _>, until: u64, out: &mut Vec<Value>| {
                while let Some(due) = batcher.wake().filter(|due| due.get() <= until) {
                    out.push(json!([due.get(), show(batcher.tick(due).unwrap())]));
                }
            };
            for event in case["in"].as_array().unwrap() {
                let (at, key) = (event[0].as_u64().unwrap(), event[1].as_str().unwrap().to_owned());
                drain(&mut batcher, at.saturating_sub(1), &mut out);
                let gone = match event[2].as_u64() {
                    Some(rows) => batcher.push(Millis::new(at), key.clone(), (key.clone(), rows)),
                    None => batcher.flush(),
                };
                out.extend(gone.map(|batch| json!([at, show(batch)])));
                if event[2] == "end" {
                    out.push(json!([at, key]));
                }
            }
            drain(&mut batcher, u64::MAX, &mut out);
            assert_eq!(json!(out), case["out"], "{}", case["name"]);
        }
    }

    #[test]
    fn a_full_batch_goes_at_once_and_the_rest_waits() {
        let mut batcher = Batcher::new(BatchLimits::default());
        let now = Millis::new(10);
        let full: Vec<usize> = (0..120)
            .filter_map(|key| batcher.push(now, key, key))
            .map(|batch| match batch {
                Batched::One(_) => 1,
                Batched::Many(many) => many.len(),
            })
            .collect();
        assert_eq!(full, [100]);
        assert_eq!(batcher.wake(), Some(Millis::new(1010)));
        assert!(matches!(batcher.tick(Millis::new(1010)), Some(Batched::Many(rest)) if rest.len() == 20));
        assert_eq!(batcher.wake(), None);
    }

    #[test]
    fn held_values_wait_for_room_also_when_the_batch_is_full() {
        let mut batcher = Batcher::new(BatchLimits { entries_max: 2, timeout_ms: 1000 });
        let now = Millis::new(10);
        for key in [0, 1, 2, 1] {
            batcher.hold(now, key, key * 10);
        }
        assert_eq!(batcher.wake(), Some(now), "a full batch is due");
        assert_eq!(batcher.tick(now), Some(Batched::Many(vec![0, 10, 20])));
    }

    #[test]
    fn a_removed_key_is_not_sent() {
        let mut batcher = Batcher::new(BatchLimits::default());
        batcher.push(Millis::new(0), "a", 1);
        assert_eq!((batcher.remove(&"a"), batcher.remove(&"a")), (Some(1), None));
        assert_eq!((batcher.wake(), batcher.tick(Millis::MAX), batcher.flush()), (None, None, None));
    }

    proptest! {
        /// However values come, none waits longer than the timeout, none is sent twice, and the newest of each key
        /// is the last one sent.
        #[test]
        fn prop_newest_values_arrive_in_time(steps in proptest::collection::vec((0_u64..400, 0_u8..5), 1..80)) {
            let limits = BatchLimits { entries_max: 4, timeout_ms: 1000 };
            let mut batcher = Batcher::new(limits);
            let (mut now, mut serial) = (0, 0_u64);
            let mut waiting: std::collections::BTreeMap<u8, (u64, u64)> = Default::default();
            let check = |batch: Batched<(u8, u64)>, at: u64, waiting: &mut std::collections::BTreeMap<u8, (u64, u64)>| {
                let values = match batch { Batched::One(v) => vec![v], Batched::Many(v) => { assert!(v.len() > 1); v } };
                for (key, value) in values {
                    let (since, newest) = waiting.remove(&key).expect("sent once");
                    assert_eq!(value, newest);
                    assert!(at - since <= limits.timeout_ms);
                }
            };
            for (pause, key) in steps {
                now += pause;
                while let Some(due) = batcher.wake().filter(|d| d.get() <= now) {
                    let batch = batcher.tick(due).expect("it is due");
                    check(batch, due.get(), &mut waiting);
                }
                serial += 1;
                waiting.entry(key).or_insert((now, serial)).1 = serial;
                if let Some(batch) = batcher.push(Millis::new(now), key, (key, serial)) {
                    check(batch, now, &mut waiting);
                }
            }
            if let Some(batch) = batcher.flush() { check(batch, now, &mut waiting); }
            prop_assert!(waiting.is_empty());
        }
    }
}
