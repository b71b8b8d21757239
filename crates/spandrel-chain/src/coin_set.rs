//! The unspent outputs and used receipts of a chain, in memory.

use std::collections::{HashMap, HashSet};

use spandrel_chain_protocol::{Account, Amount, OutPoint, ReceiptId, Txid};
use spandrel_consensus::{Change, CoinView, Delta, IdHash, Unspent};

use crate::ChainError;

/// The state of the coin ledger at one block.
///
/// A block's [`Delta`] is applied and undone as it is: undoing gives back exactly what was there.
#[derive(Debug, Clone)]
pub struct CoinSet {
    unspent: HashMap<Txid, Unspent, IdHash>,
    receipts: HashSet<ReceiptId, IdHash>,
    supply: u64,
}

impl PartialEq for CoinSet {
    fn eq(&self, other: &Self) -> bool {
        self.supply == other.supply && self.unspent == other.unspent && self.receipts == other.receipts
    }
}

impl Eq for CoinSet {}

impl CoinSet {
    /// The state of the first block: nothing. `key` should be random and stay here, since strangers choose identifiers.
    #[must_use]
    pub fn new(key: [u64; 2]) -> Self {
        let hash = IdHash::new(key);
        Self { unspent: HashMap::with_hasher(hash), receipts: HashSet::with_hasher(hash), supply: 0 }
    }

    /// Puts back what a store kept.
    #[must_use]
    pub fn from_parts(
        key: [u64; 2],
        unspent: impl IntoIterator<Item = (Txid, Unspent)>,
        receipts: impl IntoIterator<Item = ReceiptId>,
    ) -> Self {
        let mut set = Self::new(key);
        set.unspent.extend(unspent);
        set.receipts.extend(receipts);
        set.supply = set.unspent.values().map(held).fold(0, u64::saturating_add);
        set
    }

    /// The sum of all unspent outputs.
    #[must_use]
    pub const fn supply(&self) -> u64 {
        self.supply
    }

    /// How many rows have unspent outputs.
    #[must_use]
    pub fn len(&self) -> usize {
        self.unspent.len()
    }

    /// Is nothing unspent?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.unspent.is_empty()
    }

    /// Every row with unspent outputs, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&Txid, &Unspent)> {
        self.unspent.iter()
    }

    /// Every receipt used, in no order.
    pub fn receipts(&self) -> impl Iterator<Item = &ReceiptId> {
        self.receipts.iter()
    }

    /// The unspent outputs of an account, by row and place. Looks at every output: for people, not for peers.
    #[must_use]
    pub fn coins_of(&self, account: &Account) -> Vec<(OutPoint, Amount)> {
        let mut coins: Vec<(OutPoint, Amount)> = self
            .unspent
            .iter()
            .flat_map(|(txid, unspent)| unspent.iter().map(move |coin| (*txid, coin)))
            .filter(|(_, coin)| coin.account == *account)
            .map(|(txid, coin)| (OutPoint { txid, index: coin.index }, coin.amount))
            .collect();
        coins.sort_unstable_by_key(|(point, _)| *point);
        coins
    }

    /// What an account holds. Looks at every output.
    #[must_use]
    pub fn balance(&self, account: &Account) -> u64 {
        let coins = self.unspent.values().flat_map(Unspent::iter).filter(|coin| coin.account == *account);
        coins.map(|coin| coin.amount.get()).fold(0, u64::saturating_add)
    }

    /// Does what a block did.
    ///
    /// # Errors
    ///
    /// [`ChainError::Corrupt`] when the set is not the one the block was checked against; it is of no use then.
    pub fn apply(&mut self, delta: &Delta) -> Result<(), ChainError> {
        for change in &delta.changes {
            self.replace(change.txid, change.before.as_ref(), change.after.as_ref())?;
        }
        for id in &delta.receipts {
            if !self.receipts.insert(*id) {
                return Err(ChainError::Corrupt { what: "a receipt is used twice" });
            }
        }
        Ok(())
    }

    /// Undoes what a block did.
    ///
    /// # Errors
    ///
    /// [`ChainError::Corrupt`] when the set is not the one the block left; it is of no use then.
    pub fn undo(&mut self, delta: &Delta) -> Result<(), ChainError> {
        for Change { txid, before, after } in &delta.changes {
            self.replace(*txid, after.as_ref(), before.as_ref())?;
        }
        for id in &delta.receipts {
            if !self.receipts.remove(id) {
                return Err(ChainError::Corrupt { what: "a used receipt is not there" });
            }
        }
        Ok(())
    }

    fn replace(
        &mut self,
        txid: Txid,
        from: Option<&Unspent>,
        to: Option<&Unspent>,
    ) -> Result<(), ChainError> {
        let old = match to {
            Some(unspent) => self.unspent.insert(txid, unspent.clone()),
            None => self.unspent.remove(&txid),
        };
        if old.as_ref() != from {
            return Err(ChainError::Corrupt { what: "an unspent output is another one" });
        }
        let (less, more) = (from.map_or(0, held), to.map_or(0, held));
        match self.supply.checked_sub(less).and_then(|rest| rest.checked_add(more)) {
            Some(supply) => self.supply = supply,
            None => return Err(ChainError::Corrupt { what: "the supply cannot be counted" }),
        }
        Ok(())
    }
}

fn held(unspent: &Unspent) -> u64 {
    unspent.iter().map(|coin| coin.amount.get()).fold(0, u64::saturating_add)
}

impl CoinView for CoinSet {
    fn unspent(&self, txid: &Txid) -> Option<&Unspent> {
        self.unspent.get(txid)
    }

    fn is_receipt_used(&self, id: &ReceiptId) -> bool {
        self.receipts.contains(id)
    }
}
