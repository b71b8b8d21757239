//! Clocks: ours, and the server's as it told us.

use spandrel_session::Millis;
use spandrel_wire::WallMillis;
use tokio::time::Instant;

/// The server's clock, carried on by our monotonic one: whatever happens to our own wall clock, what we sign is fresh
/// at the server, and what it signs is judged on the clock it was signed by (protocol section 13.2).
#[derive(Debug, Clone, Copy)]
pub(crate) struct ServerClock {
    told: WallMillis,
    at: Millis,
}

impl ServerClock {
    /// The server said it was `told` just now.
    pub(crate) const fn new(told: WallMillis, at: Millis) -> Self {
        Self { told, at }
    }

    pub(crate) const fn now(&self, now: Millis) -> WallMillis {
        self.told.after(now.since(self.at))
    }
}

/// The monotonic clock of one client; its zero point is the client's beginning.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ticker(Instant);

impl Ticker {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn now(self) -> Millis {
        Millis::new(u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX))
    }
}

/// Milliseconds since 1970 by our own clock, for the `timestamp` of messages, which informs and decides nothing.
#[expect(clippy::disallowed_methods, reason = "the driver owns the clock")]
pub(crate) fn wall_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_clock_goes_on_by_ours() {
        let clock = ServerClock::new(WallMillis::new(1_700_000_000_000), Millis::new(50));
        assert_eq!(clock.now(Millis::new(50)).get(), 1_700_000_000_000);
        assert_eq!(clock.now(Millis::new(1050)).get(), 1_700_000_001_000);
        assert_eq!(clock.now(Millis::new(0)).get(), 1_700_000_000_000, "and never back");
    }
}
