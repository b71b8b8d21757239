//! The clock of a driver.

use std::time::Duration;

use spandrel_wire::Millis;
use tokio::time::Instant;

/// Monotonic milliseconds since [`start`](Self::start), on the runtime's clock: it stands still with that in tests. Whoever
/// drives a machine owns one.
#[derive(Debug, Clone, Copy)]
pub struct Clock(Instant);

impl Clock {
    /// A clock that shows 0 now.
    #[must_use]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// The time.
    #[must_use]
    pub fn now(self) -> Millis {
        Millis::new(u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// The moment a time stands for; one that is further away than the runtime can count is tomorrow.
    #[must_use]
    pub fn instant(self, at: Millis) -> Instant {
        const DAY: Duration = Duration::from_secs(86_400);
        self.0.checked_add(Duration::from_millis(at.get())).unwrap_or_else(|| Instant::now() + DAY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn times_and_moments_agree() {
        let clock = Clock::start();
        assert_eq!(clock.now(), Millis::new(0));
        tokio::time::sleep_until(clock.instant(Millis::new(1_234))).await;
        assert_eq!(clock.now(), Millis::new(1_234));
        assert!(clock.instant(Millis::new(u64::MAX)) > clock.instant(Millis::new(1_234)));
    }
}
