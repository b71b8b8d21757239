//! Which rules hold.

/// The rules in force. [`Rules::default`] is what every node of this project agrees on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rules {
    unsigned: bool,
}

impl Rules {
    /// The rules of a closed classroom with original programs (`--compat-unsigned`): rows need no receipt, a body needs
    /// no commitment, and any declared difficulty that is met is taken.
    ///
    /// Anybody can spend anybody's coins under these; say so where they are switched on.
    #[must_use]
    pub const fn compat_unsigned() -> Self {
        Self { unsigned: true }
    }

    /// Are receipts, commitments and the difficulty table left out?
    #[must_use]
    pub const fn is_unsigned(self) -> bool {
        self.unsigned
    }
}
