//! Fixed bytes of what is kept beside the blocks' own text. Integers are little-endian.
//!
//! | thing | bytes |
//! |---|---|
//! | varint | 7 bits a byte, lowest first, the top bit says that more follow; the shortest form only |
//! | coin | varint place, 20 bytes account, varint amount |
//! | unspent outputs | varint number of coins, then these; 0 says none |
//! | undo of a coin block | varint changes; each: 32 bytes row, outputs before, outputs after; varint receipts, 32 bytes each |
//! | head | 32 hash, 8 timestamp, 1 difficulty, 8 place in the journal, 4 bytes of text, 4 bytes of undo |
//! | point | 8 end in the journal, 8 number of commits, 8 number of blocks, 32 hash of the last |

use spandrel_chain_protocol::{
    Account, Amount, BlockHash, Difficulty, OutputIndex, ReceiptId, Stamp, Txid, WallMillis,
};
use spandrel_consensus::{Change, Coin, Delta, Unspent};

/// Where a block of the best chain is, and what the rules of later blocks ask of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Its hash.
    pub hash: BlockHash,
    /// When it was made and how hard.
    pub stamp: Stamp,
    /// Where its record starts in the journal.
    pub at: u64,
    /// Bytes of its text.
    pub text_len: u32,
    /// Bytes of its undo.
    pub undo_len: u32,
}

/// The place in the history that a coin store is complete up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    /// The end of the last commit in the journal, in bytes.
    pub end: u64,
    /// How many commits there are up to it.
    pub commits: u64,
    /// How many blocks the best chain has there, without the first.
    pub blocks: u64,
    /// The hash of the last of them; zeros when there is none.
    pub tip: BlockHash,
}

impl Head {
    /// Bytes of its record in the journal before text and undo.
    pub(crate) const RECORD_BYTES: usize = 104;

    /// The end of its record in the journal.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.at + Self::RECORD_BYTES as u64 + self.text_len as u64 + self.undo_len as u64
    }

    /// Bytes of one.
    pub(crate) const BYTES: usize = 57;

    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.hash.as_bytes());
        out.extend_from_slice(&self.stamp.timestamp.get().to_le_bytes());
        out.push(self.stamp.difficulty.bits());
        out.extend_from_slice(&self.at.to_le_bytes());
        out.extend_from_slice(&self.text_len.to_le_bytes());
        out.extend_from_slice(&self.undo_len.to_le_bytes());
    }

    pub(crate) fn take(bytes: &mut Bytes<'_>) -> Option<Self> {
        let hash = BlockHash::from_bytes(bytes.array()?);
        let timestamp = WallMillis::new(bytes.u64()?);
        let difficulty = Difficulty::new(bytes.array::<1>()?[0]);
        let stamp = Stamp { timestamp, difficulty };
        Some(Self { hash, stamp, at: bytes.u64()?, text_len: bytes.u32()?, undo_len: bytes.u32()? })
    }
}

impl Point {
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        for number in [self.end, self.commits, self.blocks] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(self.tip.as_bytes());
    }

    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let mut bytes = Bytes(bytes);
        let (end, commits, blocks) = (bytes.u64()?, bytes.u64()?, bytes.u64()?);
        let tip = BlockHash::from_bytes(bytes.array()?);
        bytes.is_done().then_some(Self { end, commits, blocks, tip })
    }
}

/// What is left to read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bytes<'a>(pub(crate) &'a [u8]);

impl Bytes<'_> {
    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*first)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) const fn is_done(&self) -> bool {
        self.0.is_empty()
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            let bits = u64::from(byte & 0x7f);
            value |= bits.checked_shl(shift)?;
            if bits << shift >> shift != bits || byte == 0 && shift > 0 {
                return None;
            }
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    /// A number of things that need so many bytes each at least: no more than there can be.
    fn count(&mut self, bytes_each: usize) -> Option<usize> {
        let count = usize::try_from(self.varint()?).ok()?;
        (count <= self.0.len() / bytes_each).then_some(count)
    }
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    loop {
        let [low, ..] = value.to_le_bytes();
        value >>= 7;
        if value == 0 {
            return out.push(low & 0x7f);
        }
        out.push(low | 0x80);
    }
}

/// Writes unspent outputs; none are a zero.
pub(crate) fn put_unspent(unspent: Option<&Unspent>, out: &mut Vec<u8>) {
    let count = unspent.map_or(0, |unspent| unspent.iter().count());
    put_varint(out, count as u64);
    for coin in unspent.into_iter().flat_map(Unspent::iter) {
        put_varint(out, coin.index.get());
        out.extend_from_slice(coin.account.as_bytes());
        put_varint(out, coin.amount.get());
    }
}

pub(crate) fn take_unspent(bytes: &mut Bytes<'_>) -> Option<Option<Unspent>> {
    let count = bytes.count(22)?;
    let mut coin = || {
        let index = OutputIndex::new(bytes.varint()?)?;
        let account = Account::from_bytes(bytes.array()?);
        Some(Coin { index, account, amount: Amount::new(bytes.varint()?)? })
    };
    match count {
        0 => Some(None),
        1 => Unspent::from_coins(&[coin()?]).map(Some),
        _ => {
            let coins: Option<Vec<Coin>> = (0..count).map(|_| coin()).collect();
            Unspent::from_coins(&coins?).map(Some)
        }
    }
}

pub(crate) fn put_delta(delta: &Delta, out: &mut Vec<u8>) {
    put_varint(out, delta.changes.len() as u64);
    for Change { txid, before, after } in &delta.changes {
        out.extend_from_slice(txid.as_bytes());
        put_unspent(before.as_ref(), out);
        put_unspent(after.as_ref(), out);
    }
    put_varint(out, delta.receipts.len() as u64);
    for id in &delta.receipts {
        out.extend_from_slice(id.as_bytes());
    }
}

pub(crate) fn read_delta(bytes: &[u8]) -> Option<Delta> {
    let mut bytes = Bytes(bytes);
    let mut changes = Vec::with_capacity(bytes.count(34)?);
    for _ in 0..changes.capacity() {
        let txid = Txid::from_bytes(bytes.array()?);
        let (before, after) = (take_unspent(&mut bytes)?, take_unspent(&mut bytes)?);
        changes.push(Change { txid, before, after });
    }
    let count = bytes.count(32)?;
    let receipts: Option<Vec<ReceiptId>> =
        (0..count).map(|_| bytes.array().map(ReceiptId::from_bytes)).collect();
    let receipts = receipts?;
    bytes.is_done().then_some(Delta { changes, receipts })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_varint_has_one_form() {
        for (name, bytes, want) in [
            ("zero", &[0][..], Some(0)),
            ("one byte", &[0x7f], Some(127)),
            ("two bytes", &[0x80, 1], Some(128)),
            ("largest", &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1], Some(u64::MAX)),
            ("one over", &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2], None),
            ("endless", &[0x80; 11], None),
            ("cut", &[0x80], None),
            ("empty", &[], None),
            ("a zero too much", &[0x81, 0], None),
        ] {
            assert_eq!(Bytes(bytes).varint(), want, "{name}");
            if let Some(value) = want {
                let mut out = Vec::new();
                put_varint(&mut out, value);
                assert_eq!(out, bytes, "{name}");
            }
        }
    }

    #[test]
    fn a_count_is_no_promise_of_memory() {
        let mut bytes = Vec::new();
        put_varint(&mut bytes, u64::from(u32::MAX));
        bytes.extend([0; 100]);
        assert_eq!(read_delta(&bytes), None);
    }

    prop_compose! {
        fn any_unspent()(
            coins in prop::collection::btree_map(0_u64..9, (any::<[u8; 20]>(), 1_u64..1 << 53), 0..4)
        ) -> Option<Unspent> {
            let coins: Vec<Coin> = coins.into_iter().map(|(index, (account, amount))| Coin {
                index: OutputIndex::new(index).unwrap(),
                account: Account::from_bytes(account),
                amount: Amount::new(amount).unwrap(),
            }).collect();
            Unspent::from_coins(&coins)
        }
    }

    prop_compose! {
        pub(crate) fn any_delta()(
            changes in prop::collection::vec((any::<[u8; 32]>(), any_unspent(), any_unspent()), 0..5),
            receipts in prop::collection::vec(any::<[u8; 32]>(), 0..4),
        ) -> Delta {
            let change = |(txid, before, after)| Change { txid: Txid::from_bytes(txid), before, after };
            Delta {
                changes: changes.into_iter().map(change).collect(),
                receipts: receipts.into_iter().map(ReceiptId::from_bytes).collect(),
            }
        }
    }

    proptest! {
        /// An undo is read back as it was written, no part of it is one, and nothing may follow it.
        #[test]
        fn prop_roundtrip_delta(delta in any_delta(), more: u8) {
            let mut bytes = Vec::new();
            put_delta(&delta, &mut bytes);
            prop_assert_eq!(read_delta(&bytes), Some(delta));
            for len in 0..bytes.len() {
                prop_assert_eq!(read_delta(&bytes[..len]), None);
            }
            bytes.push(more);
            prop_assert_eq!(read_delta(&bytes), None);
        }

        /// Heads and points are read back as they were written.
        #[test]
        fn prop_roundtrip_head_and_point(hash: [u8; 32], a: u64, b: u64, c: u64, d: u32, e: u32, bits: u8) {
            let hash = BlockHash::from_bytes(hash);
            let stamp = Stamp { timestamp: WallMillis::new(a), difficulty: Difficulty::new(bits) };
            let head = Head { hash, stamp, at: b, text_len: d, undo_len: e };
            let mut bytes = Vec::new();
            head.put(&mut bytes);
            prop_assert_eq!(bytes.len(), Head::BYTES);
            prop_assert_eq!(Head::take(&mut Bytes(&bytes)), Some(head));
            let point = Point { end: a, commits: b, blocks: c, tip: hash };
            let mut bytes = Vec::new();
            point.put(&mut bytes);
            prop_assert_eq!(Point::read(&bytes), Some(point));
            prop_assert_eq!(Point::read(&bytes[1..]), None);
        }
    }
}
