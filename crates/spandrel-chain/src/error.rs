//! Why the machine does not take a block.

use spandrel_chain_protocol::Height;
use spandrel_consensus::BlockError;

/// A block or a chain was not taken. Nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// The parent is not known. Ask whoever sent the block for its chain.
    #[error("parent of block {height} is not known")]
    UnknownParent {
        /// What the block says of its height.
        height: Height,
    },
    /// A block breaks a rule. [`BlockError::verdict`] says what that means for its hash.
    #[error("block {height}: {why}")]
    Invalid {
        /// What the block says of its height.
        height: Height,
        /// The rule.
        why: BlockError,
    },
    /// A chain without blocks.
    #[error("chain without blocks")]
    Empty,
    /// The archive did not give a block of the best chain back that a reorganisation needs. The store is damaged: stop.
    #[error("block {height} of the best chain cannot be read back")]
    Archive {
        /// The block.
        height: Height,
    },
    /// The state is not what the chain made it. Stop and rebuild it.
    #[error("state does not fit the chain: {what}")]
    Corrupt {
        /// What does not fit.
        what: &'static str,
    },
}

impl ChainError {
    /// Is this the machine's own trouble rather than that of the block? Then nothing should be taken any more.
    #[must_use]
    pub const fn is_fault(&self) -> bool {
        matches!(self, Self::Archive { .. } | Self::Corrupt { .. })
    }
}
