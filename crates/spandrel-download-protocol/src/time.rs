//! Instants and offsets as the protocol writes them (section 5): RFC 3339 with a mandatory offset.

use std::fmt;

/// An instant: nanoseconds since 1970-01-01T00:00:00Z.
///
/// 128 bits, because 64 bits of nanoseconds do not hold the years 0001 to 9999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i128);

impl Timestamp {
    /// From nanoseconds since 1970.
    pub const fn from_nanos(nanos: i128) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since 1970.
    pub const fn nanos(self) -> i128 {
        self.0
    }
}

/// Offset from UTC used to print timestamps: whole minutes, -23:59 to +23:59; `Z` is the default.
///
/// `Z` and `+00:00` print differently, so the spelling is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum UtcOffset {
    /// Printed as `Z`.
    #[default]
    Zulu,
    /// Minutes east of UTC, printed as `±hh:mm`.
    Minutes(i16),
}

impl UtcOffset {
    /// Minutes east of UTC.
    pub const fn minutes(self) -> i16 {
        match self {
            Self::Zulu => 0,
            Self::Minutes(m) => m,
        }
    }
}

impl fmt::Display for UtcOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zulu => f.write_str("Z"),
            Self::Minutes(m) => {
                let sign = if *m < 0 { '-' } else { '+' };
                write!(f, "{sign}{:02}:{:02}", m.unsigned_abs() / 60, m.unsigned_abs() % 60)
            }
        }
    }
}
