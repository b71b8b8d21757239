//! Unspent outputs: how rules look at them, and what a block changes.

use std::collections::{HashMap, HashSet};

use spandrel_chain_protocol::{Account, Amount, OutPoint, OutputIndex, ReceiptId, TxOut, Txid};

use crate::IdHash;

/// One unspent output, with its place in its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Coin {
    /// Its place in its row.
    pub index: OutputIndex,
    /// Who owns it.
    pub account: Account,
    /// How much it holds.
    pub amount: Amount,
}

/// The unspent outputs of one row: at least one, in the order of their places.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Unspent {
    first: Coin,
    rest: Vec<Coin>,
}

impl Unspent {
    /// All outputs of a new row; `None` when it has none.
    #[must_use]
    pub fn of_outputs(outputs: &[TxOut]) -> Option<Self> {
        let mut coins = (0..).zip(outputs).map(|(index, output)| Coin {
            index: OutputIndex::new(index).unwrap_or(OutputIndex::MAX),
            account: output.account,
            amount: output.amount,
        });
        let first = coins.next()?;
        let mut rest = Vec::with_capacity(outputs.len().saturating_sub(1));
        rest.extend(coins);
        Some(Self { first, rest })
    }

    /// Coins as a store kept them; `None` when there are none or they are not in the order of their places.
    #[must_use]
    pub fn from_coins(coins: &[Coin]) -> Option<Self> {
        let (first, rest) = coins.split_first()?;
        coins.is_sorted_by(|a, b| a.index < b.index).then(|| Self { first: *first, rest: rest.to_vec() })
    }

    /// The coin at a place.
    #[must_use]
    pub fn get(&self, index: OutputIndex) -> Option<&Coin> {
        if self.first.index == index {
            return Some(&self.first);
        }
        self.rest.get(self.rest.binary_search_by_key(&index, |coin| coin.index).ok()?)
    }

    /// All coins, in the order of their places.
    pub fn iter(&self) -> impl Iterator<Item = &Coin> {
        std::iter::once(&self.first).chain(&self.rest)
    }

    /// The same without one coin; `None` when it was the last.
    #[must_use]
    pub fn without(mut self, index: OutputIndex) -> Option<Self> {
        if self.first.index == index {
            if self.rest.is_empty() {
                return None;
            }
            self.first = self.rest.remove(0);
        } else if let Ok(at) = self.rest.binary_search_by_key(&index, |coin| coin.index) {
            self.rest.remove(at);
        }
        Some(self)
    }
}

/// The state that rows are checked against. Fill it before: it cannot fail.
pub trait CoinView {
    /// The unspent outputs of a row, if any are left.
    fn unspent(&self, txid: &Txid) -> Option<&Unspent>;

    /// Was this receipt used on the chain?
    fn is_receipt_used(&self, id: &ReceiptId) -> bool;

    /// One unspent output.
    fn coin(&self, at: &OutPoint) -> Option<&Coin> {
        self.unspent(&at.txid)?.get(at.index)
    }
}

impl<V: CoinView + ?Sized> CoinView for &V {
    fn unspent(&self, txid: &Txid) -> Option<&Unspent> {
        (**self).unspent(txid)
    }

    fn is_receipt_used(&self, id: &ReceiptId) -> bool {
        (**self).is_receipt_used(id)
    }
}

/// What a block does to the unspent outputs of one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The row.
    pub txid: Txid,
    /// Its outputs before the block.
    pub before: Option<Unspent>,
    /// And after it.
    pub after: Option<Unspent>,
}

/// What a block does to the state: applied by writing every `after`, undone by writing every `before`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delta {
    /// Each row that was touched, once, in the order of the first touch.
    pub changes: Vec<Change>,
    /// Receipts used, in the order of their rows.
    pub receipts: Vec<ReceiptId>,
}

/// A state with changes over another one.
#[derive(Debug)]
pub(crate) struct Overlay<'v, V> {
    base: &'v V,
    delta: Delta,
    places: HashMap<Txid, usize, IdHash>,
    receipts: HashSet<ReceiptId, IdHash>,
}

impl<'v, V: CoinView> Overlay<'v, V> {
    pub(crate) fn new(base: &'v V, rows: usize) -> Self {
        let delta = Delta { changes: Vec::with_capacity(rows * 2), receipts: Vec::with_capacity(rows) };
        Self {
            base,
            delta,
            // One block has few enough rows that no collision hurts: a fixed key does.
            places: HashMap::with_capacity_and_hasher(rows * 2, IdHash::fixed()),
            receipts: HashSet::with_capacity_and_hasher(rows, IdHash::fixed()),
        }
    }

    /// Spends one output that is there.
    pub(crate) fn spend(&mut self, at: &OutPoint) {
        let change = self.touch(at.txid);
        if let Some(left) = change.after.take() {
            change.after = left.without(at.index);
        }
    }

    /// Makes the outputs of a row whose identifier is free.
    pub(crate) fn make(&mut self, txid: Txid, outputs: &[TxOut]) {
        self.touch(txid).after = Unspent::of_outputs(outputs);
    }

    pub(crate) fn use_receipt(&mut self, id: ReceiptId) {
        if self.receipts.insert(id) {
            self.delta.receipts.push(id);
        }
    }

    pub(crate) fn into_delta(self) -> Delta {
        self.delta
    }

    #[expect(clippy::indexing_slicing, reason = "places only holds places of changes")]
    fn touch(&mut self, txid: Txid) -> &mut Change {
        let changes = &mut self.delta.changes;
        let at = *self.places.entry(txid).or_insert_with(|| {
            let before = self.base.unspent(&txid).cloned();
            changes.push(Change { txid, after: before.clone(), before });
            changes.len() - 1
        });
        &mut changes[at]
    }
}

impl<V: CoinView> CoinView for Overlay<'_, V> {
    fn unspent(&self, txid: &Txid) -> Option<&Unspent> {
        match self.places.get(txid) {
            Some(at) => self.delta.changes.get(*at)?.after.as_ref(),
            None => self.base.unspent(txid),
        }
    }

    fn is_receipt_used(&self, id: &ReceiptId) -> bool {
        self.receipts.contains(id) || self.base.is_receipt_used(id)
    }
}
