//! Resting a moment instead of waking for every single message of a fast stream.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use spandrel_session::{Gather, GatherPolicy};
use spandrel_transport::Clock;
use spandrel_wire::Millis;

/// How long one rest is: some dozen messages of a fast stream, and less than anybody notices.
const REST: Duration = Duration::from_millis(1);
/// A rest is called for by what came in the last so many milliseconds.
const FRESH_MS: u64 = 4;

/// Lets the thread of a bridge rest while thousands of messages a second come one way.
///
/// A program that sends faster than anything reads wakes its reader for each message, and waking costs several times what
/// the message does. Sleeping a millisecond before waiting again makes one wake-up of many, and disturbs the sender
/// less too. It is done only while more than eight messages come in each millisecond and few go back, so that nobody
/// who waits for an answer is kept waiting.
///
/// For a runtime of one thread that runs nothing but a bridge:
///
/// ```
/// use spandrel_bridge_service::{Config, Rest};
///
/// let rest = Rest::default();
/// let resting = rest.clone();
/// let runtime = tokio::runtime::Builder::new_current_thread()
///     .enable_all()
///     .on_thread_park(move || resting.rest())
///     .build()?;
/// let config = Config::default().with_rest(rest);
/// # drop((runtime, config));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Rest(Arc<State>);

#[derive(Debug)]
struct State {
    clock: Clock,
    /// Milliseconds of the clock until which to rest; 0: not at all.
    until: AtomicU64,
}

impl Default for State {
    fn default() -> Self {
        Self { clock: Clock::start(), until: AtomicU64::new(0) }
    }
}

impl Rest {
    /// Blocks the thread for a millisecond if a fast stream runs; else returns at once.
    pub fn rest(&self) {
        let until = self.0.until.load(Ordering::Relaxed);
        if until == 0 {
            return;
        }
        if self.0.clock.now().get() > until {
            self.0.until.store(0, Ordering::Relaxed);
            return;
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "this is what it is for; whoever calls it owns the thread"
        )]
        std::thread::sleep(REST);
    }

    fn is_wanted(&self) {
        self.0.until.store(self.0.clock.now().get() + FRESH_MS, Ordering::Relaxed);
    }
}

/// Watches both ways through a bridge and calls for rests.
#[derive(Debug)]
pub(crate) struct Flow {
    rest: Option<Rest>,
    parent: Gather,
    sockets: Gather,
}

impl Flow {
    pub(crate) fn new(now: Millis, rest: Option<Rest>) -> Self {
        let gather = || Gather::new(now, GatherPolicy::default());
        Self { rest, parent: gather(), sockets: gather() }
    }

    /// So many lines of the parent and events of sockets came with one round.
    pub(crate) fn received(&mut self, now: Millis, lines: usize, events: usize) {
        let Some(rest) = &self.rest else { return };
        let is_fast = [(&mut self.parent, lines), (&mut self.sockets, events)]
            .into_iter()
            .fold(false, |is_fast, (gather, n)| (n > 0 && gather.received(now, n)) | is_fast);
        if is_fast {
            rest.is_wanted();
        }
    }

    /// The parent was told something.
    pub(crate) fn reported(&mut self) {
        self.parent.sent(1);
    }

    /// Sockets were sent so many packets.
    pub(crate) fn sent(&mut self, packets: usize) {
        self.sockets.sent(packets);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_resting(rest: &Rest) -> bool {
        rest.0.until.load(Ordering::Relaxed) > 0
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_one_way_rests_and_an_exchange_does_not() {
        for (lines, events, answers, wanted) in
            [(20, 0, 0, true), (0, 20, 0, true), (20, 20, 20, false), (0, 20, 20, false), (2, 0, 0, false)]
        {
            let rest = Rest::default();
            let mut flow = Flow::new(Millis::new(0), Some(rest.clone()));
            for now in 0..10 {
                for _ in 0..events {
                    flow.reported();
                }
                flow.sent(answers);
                flow.received(Millis::new(now), lines, events);
            }
            assert_eq!(is_resting(&rest), wanted, "{lines} down, {events} up, {answers} answered");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_rest_is_over_when_the_flood_is() {
        let rest = Rest::default();
        rest.is_wanted();
        rest.rest();
        assert!(is_resting(&rest));
        tokio::time::advance(Duration::from_millis(FRESH_MS + 1)).await;
        rest.rest();
        assert!(!is_resting(&rest));
    }
}
