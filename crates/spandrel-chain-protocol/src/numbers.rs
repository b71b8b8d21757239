//! Integers of the ledgers: each has a type, all fit what JavaScript counts exactly.

use std::fmt;

use crate::FormError;
pub use crate::json::INT_MAX;
use crate::json::Reader;

macro_rules! int53 {
    ($(#[$doc:meta])* $name:ident, $unit:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u64);

        impl $name {
            /// Zero.
            pub const ZERO: Self = Self(0);
            /// The largest, 2^53 - 1.
            pub const MAX: Self = Self(INT_MAX);

            #[doc = concat!("Makes one from a number of ", $unit, "; `None` above 2^53 - 1.")]
            #[must_use]
            pub const fn new(value: u64) -> Option<Self> {
                if value > INT_MAX { None } else { Some(Self(value)) }
            }

            #[doc = concat!("Returns the number of ", $unit, ".")]
            #[must_use]
            pub const fn get(self) -> u64 {
                self.0
            }

            /// Adds; `None` above 2^53 - 1.
            #[must_use]
            pub const fn checked_add(self, other: u64) -> Option<Self> {
                match self.0.checked_add(other) {
                    Some(sum) => Self::new(sum),
                    None => None,
                }
            }

            /// Subtracts; `None` below zero.
            #[must_use]
            pub const fn checked_sub(self, other: u64) -> Option<Self> {
                match self.0.checked_sub(other) {
                    Some(rest) => Some(Self(rest)),
                    None => None,
                }
            }

            pub(crate) fn read(reader: &mut Reader<'_>, member: &'static str) -> Result<Self, FormError> {
                reader.int(member).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

int53! {
    /// The place of a block in its chain: 0 for the genesis block of notes, 1 for that of coins.
    Height, "blocks"
}
int53! {
    /// A number of coins. Outputs hold at least 1; sums may be 0.
    Amount, "coins"
}
int53! {
    /// What a miner turns until the hash fits.
    Nonce, "tries"
}
int53! {
    /// The place of an output in its row; in a coinbase input, the height of the block.
    OutputIndex, "places"
}

impl Height {
    /// The height of the next block. At the end of what can be counted it stays, and no block fits there.
    #[must_use]
    pub const fn next(self) -> Self {
        if self.0 < INT_MAX { Self(self.0 + 1) } else { self }
    }
}

/// How many leading bits of a hash have to be zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Difficulty(u8);

impl Difficulty {
    /// No bit has to be zero.
    pub const ZERO: Self = Self(0);

    /// Makes one from a number of bits.
    #[must_use]
    pub const fn new(bits: u8) -> Self {
        Self(bits)
    }

    /// Returns the number of bits.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    pub(crate) fn read(reader: &mut Reader<'_>, member: &'static str) -> Result<Self, FormError> {
        let value = reader.int(member)?;
        u8::try_from(value)
            .map(Self)
            .map_err(|_| FormError::Value { member, want: "an integer from 0 to 255" })
    }
}

impl fmt::Display for Difficulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_end_where_javascript_stops_counting() {
        assert_eq!(Height::new(INT_MAX).map(Height::get), Some(9_007_199_254_740_991));
        assert_eq!(Height::new(INT_MAX + 1), None);
        assert_eq!(Height::MAX.next(), Height::MAX);
        assert_eq!(Height::ZERO.next().get(), 1);
        assert_eq!(Amount::MAX.checked_add(1), None);
        assert_eq!(Amount::MAX.checked_add(u64::MAX), None);
        assert_eq!(Amount::ZERO.checked_sub(1), None);
        assert_eq!(Amount::new(50).and_then(|a| a.checked_sub(20)), Amount::new(30));
    }
}
