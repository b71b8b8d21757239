//! Two times that must not be mixed: one drives timers, one is written into messages.

use std::fmt;

/// Milliseconds on the driver's monotonic clock; the zero point means nothing. Drives timers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(u64);

impl Millis {
    /// The far end: a timer set to it never fires.
    pub const MAX: Self = Self(u64::MAX);

    /// Makes a point in time.
    #[must_use]
    pub const fn new(ms: u64) -> Self {
        Self(ms)
    }

    /// Returns the milliseconds since the zero point.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Returns the point `ms` later; saturates at the far end instead of wrapping.
    #[must_use]
    pub const fn after(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Returns the milliseconds from `earlier` to here, 0 when `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Milliseconds since 1970-01-01T00:00:00Z, as messages carry them. Never drives a timer: it can jump.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WallMillis(u64);

impl WallMillis {
    /// Largest value that a JSON integer carries exactly, 2^53 - 1.
    pub const MAX: Self = Self((1 << 53) - 1);

    /// Makes a stamp; values above [`WallMillis::MAX`] become it.
    #[must_use]
    pub const fn new(ms: u64) -> Self {
        if ms > Self::MAX.0 { Self::MAX } else { Self(ms) }
    }

    /// Returns the milliseconds since 1970.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Returns the stamp `ms` later, at most [`WallMillis::MAX`].
    #[must_use]
    pub const fn after(self, ms: u64) -> Self {
        Self::new(self.0.saturating_add(ms))
    }

    /// Returns how far apart two stamps are, in milliseconds, whichever is first.
    #[must_use]
    pub const fn distance(self, other: Self) -> u64 {
        self.0.abs_diff(other.0)
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.0)
    }
}

impl fmt::Display for WallMillis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_saturate() {
        assert_eq!(Millis::new(u64::MAX - 1).after(5), Millis::MAX);
        assert_eq!(Millis::new(3).since(Millis::new(10)), 0);
        assert_eq!(WallMillis::new(u64::MAX).get(), (1 << 53) - 1);
        assert_eq!(WallMillis::new(5).distance(WallMillis::new(9)), 4);
    }
}
