//! What differs between the two ledgers when they are kept on disk.

use std::collections::HashMap;

use spandrel_chain::{CoinSet, Kind};
use spandrel_chain_protocol::{Coins, Notes, ReceiptId, Txid};
use spandrel_consensus::{Change, Delta, IdHash, Unspent};

use crate::codec::{put_delta, read_delta};

/// A ledger that can be kept. Sealed, since its [`Kind`] is.
pub trait Stored: Kind<State: Send, Undo: Send + Sync> {
    /// Appends the bytes of an undo.
    fn put_undo(undo: &Self::Undo, out: &mut Vec<u8>);

    /// Reads them; `None` when they are none.
    fn read_undo(bytes: &[u8]) -> Option<Self::Undo>;

    /// Makes a state of what a coin store kept.
    fn state(
        key: [u64; 2],
        coins: impl Iterator<Item = (Txid, Unspent)>,
        receipts: impl Iterator<Item = ReceiptId>,
    ) -> Self::State;

    /// The receipts a block used.
    fn receipts(undo: &Self::Undo) -> &[ReceiptId];

    /// Adds all of a state to what is to be written, and gives all receipts.
    fn gather_state<'a>(state: &'a Self::State, net: &mut Net<'a>) -> Vec<ReceiptId>;

    /// Adds what one block did, or what undoing it did.
    fn gather<'a>(undo: &'a Self::Undo, is_connected: bool, net: &mut Net<'a>);
}

/// The sum of what blocks did: coins that came and went again are not in it.
#[derive(Debug)]
pub struct Net<'a> {
    /// Was it there before, and what is there now.
    coins: HashMap<Txid, (bool, Option<&'a Unspent>), IdHash>,
}

impl<'a> Net<'a> {
    pub(crate) fn new(key: [u64; 2]) -> Self {
        Self { coins: HashMap::with_hasher(IdHash::new(key)) }
    }

    /// A row had these unspent outputs and has those now.
    fn coin(&mut self, txid: Txid, before: Option<&Unspent>, after: Option<&'a Unspent>) {
        self.coins.entry(txid).or_insert((before.is_some(), None)).1 = after;
    }

    pub(crate) fn coins(&self) -> Vec<(Txid, Option<&'a Unspent>)> {
        let changed = self.coins.iter().filter(|(_, (was_there, now))| *was_there || now.is_some());
        let mut coins: Vec<_> = changed.map(|(txid, (_, now))| (*txid, *now)).collect();
        coins.sort_unstable_by_key(|(txid, _)| *txid);
        coins
    }
}

impl Stored for Notes {
    fn put_undo((): &(), _: &mut Vec<u8>) {}

    fn read_undo(bytes: &[u8]) -> Option<()> {
        bytes.is_empty().then_some(())
    }

    fn state(
        _: [u64; 2],
        _: impl Iterator<Item = (Txid, Unspent)>,
        _: impl Iterator<Item = ReceiptId>,
    ) -> Self::State {
    }

    fn receipts((): &()) -> &[ReceiptId] {
        &[]
    }

    fn gather_state<'a>((): &'a (), _: &mut Net<'a>) -> Vec<ReceiptId> {
        Vec::new()
    }

    fn gather<'a>((): &'a (), _: bool, _: &mut Net<'a>) {}
}

impl Stored for Coins {
    fn put_undo(undo: &Delta, out: &mut Vec<u8>) {
        put_delta(undo, out);
    }

    fn read_undo(bytes: &[u8]) -> Option<Delta> {
        read_delta(bytes)
    }

    fn state(
        key: [u64; 2],
        coins: impl Iterator<Item = (Txid, Unspent)>,
        receipts: impl Iterator<Item = ReceiptId>,
    ) -> CoinSet {
        CoinSet::from_parts(key, coins, receipts)
    }

    fn receipts(undo: &Delta) -> &[ReceiptId] {
        &undo.receipts
    }

    fn gather_state<'a>(state: &'a CoinSet, net: &mut Net<'a>) -> Vec<ReceiptId> {
        for (txid, unspent) in state.iter() {
            net.coin(*txid, None, Some(unspent));
        }
        state.receipts().copied().collect()
    }

    fn gather<'a>(undo: &'a Delta, is_connected: bool, net: &mut Net<'a>) {
        for Change { txid, before, after } in &undo.changes {
            let (from, to) = if is_connected { (before, after) } else { (after, before) };
            net.coin(*txid, from.as_ref(), to.as_ref());
        }
    }
}

#[cfg(test)]
mod tests {
    use spandrel_chain_protocol::{Account, Amount, TxOut};

    use super::*;

    #[test]
    fn what_came_and_went_is_not_written() {
        let unspent = |n: u8| {
            let amount = Amount::new(u64::from(n)).unwrap();
            Unspent::of_outputs(&[TxOut::new(Account::from_bytes([n; 20]), amount)])
        };
        let (none, one, two) = (None, unspent(1), unspent(2));
        for (name, steps, want) in [
            ("made", &[(&none, &one, true)][..], Some(&one)),
            ("made and spent", &[(&none, &one, true), (&one, &none, true)], None),
            ("made and undone", &[(&none, &one, true), (&none, &one, false)], None),
            ("spent", &[(&one, &none, true)], Some(&none)),
            ("spent and made again", &[(&one, &none, true), (&none, &two, true)], Some(&two)),
            ("spent and undone", &[(&one, &none, true), (&one, &none, false)], Some(&one)),
            ("a making from before undone", &[(&none, &one, false)], Some(&none)),
        ] {
            let txid = Txid::from_bytes([7; 32]);
            let undo = |before: &Option<Unspent>, after: &Option<Unspent>| Delta {
                changes: vec![Change { txid, before: before.clone(), after: after.clone() }],
                receipts: vec![],
            };
            let steps: Vec<_> =
                steps.iter().map(|(before, after, is_on)| (undo(before, after), *is_on)).collect();
            let mut net = Net::new([1, 2]);
            steps.iter().for_each(|(undo, is_on)| Coins::gather(undo, *is_on, &mut net));
            let want: Vec<_> = want.into_iter().map(|unspent| (txid, unspent.as_ref())).collect();
            assert_eq!(net.coins(), want, "{name}");
        }
    }
}
