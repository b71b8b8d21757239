//! Where the unspent outputs are kept between restarts.

mod none;
mod redb;

use std::fmt::Debug;
use std::sync::Arc;

use spandrel_chain_protocol::{ReceiptId, Txid};
use spandrel_consensus::Unspent;

use crate::{Disk, Head, Limits, Point, StoreError};

pub use self::redb::RedbCoins;
pub use none::NoCoins;

/// Things read one after the other; each may fail.
pub type Items<'a, T> = Box<dyn Iterator<Item = Result<T, StoreError>> + 'a>;

/// Keeps heads, unspent outputs and used receipts as of one [`Point`] of the history.
///
/// It is a copy of what the journal says, so that a restart need not read all of it: losing it costs time, not blocks.
///
/// # Contract
///
/// 1. [`write`](Self::write) is durable and whole when it returns; after an error or a crash everything is as before.
/// 2. What is damaged or of another version is [`StoreError::Damaged`] when opened, and is then removed and written anew.
/// 3. After an error of `write` the value is dropped and opened again; after [`StoreError::Sync`] it is removed first.
pub trait CoinStore: Debug + Send + Sized {
    /// Opens it, or makes an empty one.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when it has to be made anew, [`StoreError::Disk`] when it may work later.
    fn open(disk: &Arc<dyn Disk>, limits: &Limits) -> Result<Self, StoreError>;

    /// Removes it from a disk, durably.
    ///
    /// # Errors
    /// [`StoreError::Disk`] and [`StoreError::Sync`].
    fn remove(disk: &Arc<dyn Disk>) -> Result<(), StoreError>;

    /// The point it is complete up to; `None` when it is empty.
    fn point(&self) -> Option<Point>;

    /// Can it follow to a chain that shares only so many blocks with the one it has? If not, it is written as a whole.
    fn can_keep(&self, heads_kept: usize) -> bool;

    /// The heads of all blocks up to the point, lowest first.
    ///
    /// # Errors
    /// As [`open`](Self::open), here and for each of them.
    fn heads(&self) -> Result<Items<'_, Head>, StoreError>;

    /// All unspent outputs, in any order.
    ///
    /// # Errors
    /// As [`open`](Self::open), here and for each of them.
    fn coins(&self) -> Result<Items<'_, (Txid, Unspent)>, StoreError>;

    /// All used receipts, in any order.
    ///
    /// # Errors
    /// As [`open`](Self::open), here and for each of them.
    fn receipts(&self) -> Result<Items<'_, ReceiptId>, StoreError>;

    /// Goes to another point.
    ///
    /// # Errors
    /// [`StoreError::Disk`]; [`StoreError::Sync`] when nothing that was written to it can be trusted any more.
    fn write(&mut self, batch: &Batch<'_>) -> Result<(), StoreError>;

    /// Gives space back that is not needed. Called before it is closed.
    ///
    /// # Errors
    /// [`StoreError`]; nothing is lost.
    fn tidy(&mut self) -> Result<(), StoreError>;
}

/// What differs between two points.
#[derive(Debug)]
pub struct Batch<'a> {
    /// The new point.
    pub point: Point,
    /// What was there before counts for nothing: this is all there is.
    pub is_whole: bool,
    /// How many heads stay as they are.
    pub heads_kept: usize,
    /// All heads; those from `heads_kept` on are new, and there are none after them.
    pub heads: &'a [Head],
    /// Rows whose unspent outputs changed, each once, by identifier; `None`: none are left.
    pub coins: Vec<(Txid, Option<&'a Unspent>)>,
    /// The receipts of the blocks from `heads_kept` on, block by block; those that were there for them are gone.
    pub receipts: Vec<&'a [ReceiptId]>,
    /// All receipts, when this is all there is: nobody knows of which blocks they are.
    pub loose_receipts: Vec<ReceiptId>,
}
