//! The one place where the server reads a clock.

use spandrel_wire::Millis;
use tokio::time::{Duration, Instant};

/// Milliseconds since the server was made, on the runtime's clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn now(self) -> Millis {
        Millis::new(u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    pub(crate) fn instant(self, at: Millis) -> Instant {
        // Further away than the clock can count is never.
        self.0
            .checked_add(Duration::from_millis(at.get()))
            .unwrap_or_else(|| self.0 + Duration::from_secs(86_400))
    }
}
