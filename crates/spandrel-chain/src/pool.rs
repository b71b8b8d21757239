//! Rows that wait for a block. They are checked against the confirmed state alone, so no row builds on another and any of
//! them may go into a block in any order.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use spandrel_chain_protocol::{Coins, Height, OutPoint, ReceiptId, Transaction, Txid};
use spandrel_consensus::{CoinView, IdHash, RowError, Rules, SignatureCheck, Unsigned, Verifier, check_row};

use crate::{Limits, Update};

/// A row does not come into the pool, or leaves it without being confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PoolError {
    /// This very row is there already. Nothing to do, and nothing to pass on.
    #[error("row is in the pool")]
    Known,
    /// The pool has no room. Try again after the next block.
    #[error("pool is full with {rows} rows of {bytes} bytes")]
    Full {
        /// Rows in the pool.
        rows: usize,
        /// Bytes of their text.
        bytes: usize,
    },
    /// Another row of the pool spends the same output.
    #[error("input {at} is spent by another row of the pool")]
    SpentInPool {
        /// Place of the input.
        at: usize,
    },
    /// The row breaks a rule; collisions with rows of the pool count as collisions with the chain.
    #[error(transparent)]
    Row(#[from] RowError),
}

/// Why a row left the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// It stands in a block of the best chain.
    Confirmed {
        /// Of this height.
        height: Height,
    },
    /// It is given up.
    Dropped(PoolError),
}

/// A row came or went because of blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PoolChange {
    /// A row of a block that left the best chain waits again.
    Returned(Arc<Transaction>),
    /// A row left.
    Left(Arc<Transaction>, Left),
}

#[derive(Debug, Clone)]
struct Waiting {
    row: Arc<Transaction>,
    bytes: usize,
    seen: u64,
    receipt: Option<ReceiptId>,
}

/// The pool. Keyed by identifier; an output is spent by one row at most, a receipt used by one.
#[derive(Debug)]
pub struct Pool {
    rows: HashMap<Txid, Waiting, IdHash>,
    order: BTreeMap<u64, Txid>,
    spent: HashMap<OutPoint, Txid, IdHash>,
    receipts: HashMap<ReceiptId, Txid, IdHash>,
    bytes: usize,
    seen: u64,
    rows_max: usize,
    bytes_max: usize,
}

impl Pool {
    /// An empty pool. `key` should be random and stay here.
    #[must_use]
    pub fn new(key: [u64; 2], limits: &Limits) -> Self {
        let hash = IdHash::new(key);
        Self {
            rows: HashMap::with_hasher(hash),
            order: BTreeMap::new(),
            spent: HashMap::with_hasher(hash),
            receipts: HashMap::with_hasher(hash),
            bytes: 0,
            seen: 0,
            rows_max: limits.pool_rows_max,
            bytes_max: limits.pool_bytes_max,
        }
    }

    /// Takes a row that is valid on the confirmed state and collides with no other. The signature is checked last; the
    /// check that passed is returned for a memory of such.
    ///
    /// # Errors
    ///
    /// [`PoolError`]; nothing has changed then.
    pub fn admit(
        &mut self,
        row: Arc<Transaction>,
        coins: &impl CoinView,
        rules: Rules,
        verifier: &impl Verifier,
    ) -> Result<Option<SignatureCheck>, PoolError> {
        let (owed, bytes) = self.check(&row, coins, rules)?;
        if owed.check.as_ref().is_some_and(|check| !verifier.is_valid(check)) {
            return Err(RowError::Signature.into());
        }
        self.insert(row, bytes, owed.receipt);
        Ok(owed.check)
    }

    /// Follows the best chain to a new tip: confirmed and colliding rows leave, those of lost blocks come back when they
    /// still fit. `coins` is the state at the new tip.
    ///
    /// Every row that leaves is named with its reason.
    pub fn follow(&mut self, update: &Update<Coins>, coins: &impl CoinView, rules: Rules) -> Vec<PoolChange> {
        let mut changes = Vec::new();
        if update.disconnected.is_empty() {
            for step in &update.connected {
                self.confirm(&step.block.data, step.block.header.height, &mut changes);
            }
        } else {
            self.refill(update, coins, rules, &mut changes);
        }
        changes
    }

    /// Takes a row out; `None` when it is not there.
    pub fn remove(&mut self, txid: &Txid) -> Option<Arc<Transaction>> {
        let waiting = self.rows.remove(txid)?;
        self.order.remove(&waiting.seen);
        self.bytes -= waiting.bytes;
        for point in points(&waiting.row) {
            self.spent.remove(&point);
        }
        if let Some(id) = &waiting.receipt {
            self.receipts.remove(id);
        }
        Some(waiting.row)
    }

    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Is it empty?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Bytes of text of all rows.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The row with this identifier.
    #[must_use]
    pub fn get(&self, txid: &Txid) -> Option<&Arc<Transaction>> {
        self.rows.get(txid).map(|waiting| &waiting.row)
    }

    /// Does a row of the pool spend this output?
    #[must_use]
    pub fn is_spent(&self, point: &OutPoint) -> bool {
        self.spent.contains_key(point)
    }

    /// Does a row of the pool use this receipt?
    #[must_use]
    pub fn is_receipt_used(&self, id: &ReceiptId) -> bool {
        self.receipts.contains_key(id)
    }

    /// All rows, the oldest first, with the length of their text.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<Transaction>, usize)> {
        self.order
            .values()
            .filter_map(|txid| self.rows.get(txid))
            .map(|waiting| (&waiting.row, waiting.bytes))
    }

    /// Everything but the signature.
    fn check(
        &self,
        row: &Transaction,
        coins: &impl CoinView,
        rules: Rules,
    ) -> Result<(Unsigned, usize), PoolError> {
        if let Some(waiting) = self.rows.get(&row.txid) {
            return Err(if *waiting.row == *row { PoolError::Known } else { RowError::TxidTaken.into() });
        }
        let bytes = row.json_len();
        if self.rows.len() >= self.rows_max || self.bytes.saturating_add(bytes) > self.bytes_max {
            return Err(PoolError::Full { rows: self.rows.len(), bytes: self.bytes });
        }
        let owed = check_row(row, coins, rules)?;
        if let Some(at) = points(row).position(|point| self.spent.contains_key(&point)) {
            return Err(PoolError::SpentInPool { at });
        }
        if owed.receipt.is_some_and(|id| self.receipts.contains_key(&id)) {
            return Err(RowError::ReceiptUsed.into());
        }
        Ok((owed, bytes))
    }

    fn insert(&mut self, row: Arc<Transaction>, bytes: usize, receipt: Option<ReceiptId>) {
        let txid = row.txid;
        self.seen += 1;
        self.order.insert(self.seen, txid);
        self.spent.extend(points(&row).map(|point| (point, txid)));
        if let Some(id) = receipt {
            self.receipts.insert(id, txid);
        }
        self.bytes += bytes;
        self.rows.insert(txid, Waiting { row, bytes, seen: self.seen, receipt });
    }

    /// A block on the tip: its rows and everything that collides with them go. No other row can become invalid by it.
    fn confirm(&mut self, data: &Coins, height: Height, changes: &mut Vec<PoolChange>) {
        for row in data.rows() {
            if let Some(own) = self.remove(&row.txid) {
                let left = if is_same_payment(&own, row) {
                    Left::Confirmed { height }
                } else {
                    Left::Dropped(RowError::TxidTaken.into())
                };
                changes.push(PoolChange::Left(own, left));
            }
            for point in points(row) {
                if let Some(own) = self.spent.get(&point).copied().and_then(|txid| self.remove(&txid)) {
                    let at = points(&own).position(|own| own == point).unwrap_or_default();
                    changes.push(PoolChange::Left(own, Left::Dropped(RowError::MissingInput { at }.into())));
                }
            }
            let id = row.receipt.as_ref().filter(|_| !row.is_coinbase()).map(|receipt| receipt.id());
            if let Some(own) =
                id.and_then(|id| self.receipts.get(&id).copied()).and_then(|txid| self.remove(&txid))
            {
                changes.push(PoolChange::Left(own, Left::Dropped(RowError::ReceiptUsed.into())));
            }
        }
    }

    /// After a reorganisation: everything is looked at anew, rows of lost blocks first, since they were there first.
    fn refill(
        &mut self,
        update: &Update<Coins>,
        coins: &impl CoinView,
        rules: Rules,
        changes: &mut Vec<PoolChange>,
    ) {
        let mut confirmed: HashMap<Txid, (&Transaction, Height), IdHash> =
            HashMap::with_hasher(IdHash::fixed());
        for step in &update.connected {
            let height = step.block.header.height;
            confirmed.extend(step.block.data.rows().iter().map(|row| (row.txid, (row, height))));
        }
        let lost = update.disconnected.iter().rev().flat_map(|step| step.block.data.rows().iter().skip(1));
        let mut todo: Vec<(Arc<Transaction>, bool)> = lost.map(|row| (Arc::new(row.clone()), true)).collect();
        let own: Vec<Txid> = self.order.values().copied().collect();
        todo.extend(own.iter().filter_map(|txid| self.remove(txid)).map(|row| (row, false)));
        for (row, is_lost) in todo {
            if let Some((twin, height)) = confirmed.get(&row.txid)
                && is_same_payment(&row, twin)
            {
                // A row of a lost block that stands in a new one never was in the pool.
                if !is_lost {
                    changes.push(PoolChange::Left(row, Left::Confirmed { height: *height }));
                }
                continue;
            }
            // Signatures were checked when the row came, alone or in its block.
            match self.check(&row, coins, rules) {
                Ok((owed, bytes)) => {
                    self.insert(Arc::clone(&row), bytes, owed.receipt);
                    if is_lost {
                        changes.push(PoolChange::Returned(row));
                    }
                }
                // The same row waited in the pool and stood in the lost block: impossible, and no loss.
                Err(PoolError::Known) => {}
                Err(why) => changes.push(PoolChange::Left(row, Left::Dropped(why))),
            }
        }
    }
}

fn points(row: &Transaction) -> impl Iterator<Item = OutPoint> {
    row.inputs.iter().filter_map(|input| input.out_point())
}

/// Do two rows of one identifier spend the same? Then they are one payment, whatever else is written on them.
fn is_same_payment(a: &Transaction, b: &Transaction) -> bool {
    a.txid == b.txid && points(a).eq(points(b))
}
