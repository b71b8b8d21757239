//! Why something could not be kept or read back.

use std::io;

use spandrel_chain::ChainError;

/// A call to the store failed. What was durable before is durable still.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process uses the folder. Stop it, or choose another folder.
    #[error("{folder} is in use by another process; stop it or choose another folder")]
    Locked {
        /// The folder.
        folder: String,
    },
    /// A file could not be made, read or written. The same call may be made again: nothing of it is done.
    #[error("{file} failed: {source}")]
    Disk {
        /// The file.
        file: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// A file could not be synced, so whatever was written since the last sync counts for nothing, even if a later sync
    /// says otherwise. The same call may be made again: it starts over on a new handle.
    #[error("{file} could not be synced: {source}")]
    Sync {
        /// The file.
        file: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// What was durable is not there any more. Stop; bring the file back from a copy, or open it with
    /// [`Damage::Cut`](crate::Damage::Cut), which keeps the blocks below the damage.
    #[error("{file} is damaged at byte {at}: {what}")]
    Damaged {
        /// The file.
        file: &'static str,
        /// Where.
        at: u64,
        /// What is wrong there.
        what: &'static str,
    },
    /// A later program wrote the file. Use that one.
    #[error("{file} has version {version}, and this program knows up to {known}: use the newer program")]
    Newer {
        /// The file.
        file: &'static str,
        /// Its version.
        version: u32,
        /// The newest this program reads.
        known: u32,
    },
    /// The folder holds the other ledger.
    #[error("{file} holds another ledger")]
    OtherLedger {
        /// The file.
        file: &'static str,
    },
    /// An update does not stand on what is stored: one before it was not committed, or this one was already.
    #[error("update over block {fork} does not stand on the stored tip {tip}: {what}")]
    OutOfStep {
        /// The last block the update leaves in place.
        fork: u64,
        /// The height of the stored tip.
        tip: u64,
        /// What does not fit.
        what: &'static str,
    },
    /// A block is longer than [`Limits::record_bytes_max`](crate::Limits::record_bytes_max).
    #[error("block {height} of {bytes} bytes is over the limit of {max}")]
    TooLong {
        /// The block.
        height: u64,
        /// Its bytes, with its undo.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// What is stored does not make a chain. Treat it as damage.
    #[error("stored blocks make no chain: {0}")]
    Chain(#[from] ChainError),
}

impl StoreError {
    /// Is the disk full? Then the same call works as soon as there is room.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let (Self::Disk { source, .. } | Self::Sync { source, .. }) = self else { return false };
        matches!(
            source.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
        )
    }

    /// May the same call work later, without anybody looking at the files?
    #[must_use]
    pub const fn may_pass(&self) -> bool {
        matches!(self, Self::Disk { .. } | Self::Sync { .. } | Self::Locked { .. })
    }

    pub(crate) fn disk(file: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Disk { file, source }
    }

    pub(crate) fn sync(file: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Sync { file, source }
    }
}
