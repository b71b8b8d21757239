//! How a bridge ends.

/// Why a bridge ended. Both are the ends it is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Exit {
    /// The parent closed its channel, or is gone: nobody is left to work for.
    ParentGone,
    /// It was asked to stop.
    Stopped,
}

impl Exit {
    /// The exit code of a process that does nothing else.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        0
    }
}
