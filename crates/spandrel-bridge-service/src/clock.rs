//! The one clock of a bridge.

use spandrel_wire::Millis;
use tokio::time::Instant;

/// Monotonic milliseconds since the bridge was made. Stands still with tokio's clock in tests.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now() }
    }

    pub(crate) fn now(self) -> Millis {
        Millis::new(u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// The moment a time stands for.
    pub(crate) fn instant(self, at: Millis) -> Instant {
        self.start + std::time::Duration::from_millis(at.get().min(u64::from(u32::MAX) * 1000))
    }
}
