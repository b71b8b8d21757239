//! The time of jobs.

use std::fmt;
use std::time::{Duration, Instant, SystemTime};

use spandrel_jobs::Now;

/// Tells the time. Timeouts, retries, speed and retention follow [`Now::mono_ms`], which must never go back;
/// [`Now::wall_ms`] only ends up in stamps, so it may jump.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The time now.
    fn now(&self) -> Now;
}

/// The clock of the system.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    origin: Instant,
}

impl Default for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the driver owns the clock")]
    fn default() -> Self {
        Self { origin: Instant::now() }
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the driver owns the clock")]
    fn now(&self) -> Now {
        let ms = |d: Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Now { mono_ms: ms(self.origin.elapsed()), wall_ms: ms(wall) }
    }
}
