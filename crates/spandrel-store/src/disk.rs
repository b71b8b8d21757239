//! The disk below a store: a folder, or memory with faults for tests and simulations.

mod folder;
mod memory;

use std::fmt::Debug;
use std::io;
use std::sync::Arc;

pub use folder::Folder;
pub use memory::{Fault, Loss, MemoryDisk};

/// A flat set of named files that belongs to one store.
///
/// # Contract
///
/// 1. Bytes are sure after [`DiskFile::sync`], names after [`sync_names`](Self::sync_names); before that a loss of power may
///    take all, some or none of them, in any order.
/// 2. A failed write may have written a part. A failed sync says nothing about what is there, and is not mended by another
///    one on the same bytes.
/// 3. Nobody else changes the files meanwhile.
pub trait Disk: Debug + Send + Sync {
    /// Opens a file for reading and writing; makes an empty one when it is not there.
    ///
    /// # Errors
    /// What the system says.
    fn open(&self, name: &'static str) -> io::Result<Arc<dyn DiskFile>>;

    /// Removes a file; what is not there is removed already.
    ///
    /// # Errors
    /// What the system says.
    fn remove(&self, name: &'static str) -> io::Result<()>;

    /// Makes the names of files durable.
    ///
    /// # Errors
    /// What the system says.
    fn sync_names(&self) -> io::Result<()>;
}

/// A file that is read and written at places.
#[expect(clippy::len_without_is_empty, reason = "asking for the length may fail")]
pub trait DiskFile: Debug + Send + Sync {
    /// Its length in bytes.
    ///
    /// # Errors
    /// What the system says.
    fn len(&self) -> io::Result<u64>;

    /// Fills the whole buffer from a place.
    ///
    /// # Errors
    /// `UnexpectedEof` past the end, or what the system says.
    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<()>;

    /// Writes all bytes to a place, which may be past the end.
    ///
    /// # Errors
    /// What the system says; a part may be written then.
    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<()>;

    /// Cuts the file, or lengthens it with zeros.
    ///
    /// # Errors
    /// What the system says.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Makes everything written so far durable.
    ///
    /// # Errors
    /// What the system says. The handle is of no more use for what was not durable then.
    fn sync(&self) -> io::Result<()>;
}
