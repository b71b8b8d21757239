//! Notices dead peers (section 10.2): any frame is life, silence past interval and timeout is death.

use spandrel_wire::Millis;

/// Times of a [`Heartbeat`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeartbeatTimes {
    /// Milliseconds between pings, 10,000.
    pub interval_ms: u64,
    /// Milliseconds of silence on top of the interval, 5,000.
    pub timeout_ms: u64,
}

impl Default for HeartbeatTimes {
    fn default() -> Self {
        Self { interval_ms: 10_000, timeout_ms: 5000 }
    }
}

/// What [`Heartbeat::tick`] asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beat {
    /// Send a ping.
    Ping,
    /// Close with 4408. Said once; nothing follows.
    Dead,
}

/// Pings every interval and tells when the peer is dead.
///
/// After a pause of the whole process, hand frames that wait in the socket to [`heard`](Self::heard) before
/// [`tick`](Self::tick), else a living peer is called dead.
#[derive(Debug, Clone)]
pub struct Heartbeat {
    times: HeartbeatTimes,
    ping: Millis,
    /// `None` once dead.
    heard: Option<Millis>,
}

impl Heartbeat {
    /// Opening the connection counts as life.
    pub const fn new(now: Millis, times: HeartbeatTimes) -> Self {
        Self { times, ping: now.after(times.interval_ms), heard: Some(now) }
    }

    /// A frame of any kind arrived.
    pub fn heard(&mut self, now: Millis) {
        self.heard = self.heard.map(|last| last.max(now));
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Millis) -> Option<Beat> {
        let dead = self.dead_at()?;
        if now >= dead {
            self.heard = None;
            return Some(Beat::Dead);
        }
        if now < self.ping {
            return None;
        }
        self.ping = now.after(self.times.interval_ms.max(1));
        Some(Beat::Ping)
    }

    /// When to [`tick`](Self::tick) next; `None` once dead.
    pub fn wake(&self) -> Option<Millis> {
        self.dead_at().map(|dead| dead.min(self.ping))
    }

    /// When the last frame arrived; `None` once dead.
    pub const fn last_heard(&self) -> Option<Millis> {
        self.heard
    }

    fn dead_at(&self) -> Option<Millis> {
        let times = self.times;
        self.heard.map(|at| at.after(times.interval_ms).after(times.timeout_ms.max(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_silent_peer_gets_one_ping_and_dies_on_time() {
        let mut heart = Heartbeat::new(Millis::new(0), HeartbeatTimes::default());
        let mut seen = Vec::new();
        while let Some(at) = heart.wake() {
            seen.push((at.get(), heart.tick(at).unwrap()));
        }
        assert_eq!(seen, [(10_000, Beat::Ping), (15_000, Beat::Dead)]);
        assert_eq!(heart.tick(Millis::MAX), None);
        heart.heard(Millis::MAX);
        assert_eq!(heart.wake(), None, "the dead stay dead");
    }

    #[test]
    fn early_ticks_do_nothing() {
        let mut heart = Heartbeat::new(Millis::new(5), HeartbeatTimes::default());
        assert_eq!(heart.tick(Millis::new(0)), None);
        assert_eq!(heart.tick(Millis::new(10_004)), None);
        assert_eq!(heart.tick(Millis::new(10_005)), Some(Beat::Ping));
        assert_eq!(heart.tick(Millis::new(10_005)), None);
    }

    proptest! {
        /// A peer that is heard within interval and timeout is never declared dead, and is pinged once an interval.
        #[test]
        fn prop_prompt_peer_never_dies(interval_ms in 1_u64..10_000, gaps in proptest::collection::vec(0_u64..100, 1..100)) {
            let times = HeartbeatTimes { interval_ms, timeout_ms: interval_ms };
            let mut heart = Heartbeat::new(Millis::new(0), times);
            let mut now = 0;
            let mut pinged = None;
            for gap in gaps {
                let next = now + 2 * interval_ms * gap / 100;
                while let Some(at) = heart.wake().filter(|at| at.get() <= next) {
                    prop_assert_eq!(heart.tick(at), Some(Beat::Ping));
                    if let Some(last) = pinged { prop_assert!(at.since(last) >= interval_ms); }
                    pinged = Some(at);
                }
                now = next;
                heart.heard(Millis::new(now));
            }
        }

        /// From the last frame to death there is never more, and never less, than interval and timeout.
        #[test]
        fn prop_silence_kills_on_time(interval_ms in 1_u64..10_000, timeout_ms in 1_u64..10_000, last in 0_u64..10_000) {
            let mut heart = Heartbeat::new(Millis::new(0), HeartbeatTimes { interval_ms, timeout_ms });
            let last = last.min(interval_ms + timeout_ms - 1);
            heart.heard(Millis::new(last));
            let died = loop {
                let at = heart.wake().expect("alive");
                if heart.tick(at) == Some(Beat::Dead) { break at; }
            };
            prop_assert_eq!(died, Millis::new(last + interval_ms + timeout_ms));
        }
    }
}
