//! A delta as bytes, for whoever stores it: one form per value, read strictly.
//!
//! ```text
//! delta    count, change…, count, receipt (32 bytes)…
//! change   row (32 bytes), coins before, coins after
//! coins    count, coin…            none: count 0
//! coin     place, account (20 bytes), amount
//! ```
//!
//! Counts, places and amounts are integers of seven bits a byte, the lowest first, as short as they can be.

use spandrel_chain_protocol::{Account, Amount, OutputIndex, ReceiptId, Txid};

use crate::{Change, Coin, Delta, Unspent};

/// The bytes are no delta.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("bytes are no delta: {expected} expected, {left} bytes before the end")]
pub struct DeltaError {
    expected: &'static str,
    left: usize,
}

impl Delta {
    /// Appends the bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put(self.changes.len() as u64, out);
        for change in &self.changes {
            out.extend_from_slice(change.txid.as_bytes());
            put_coins(change.before.as_ref(), out);
            put_coins(change.after.as_ref(), out);
        }
        put(self.receipts.len() as u64, out);
        for id in &self.receipts {
            out.extend_from_slice(id.as_bytes());
        }
    }

    /// Reads what [`encode`](Self::encode) wrote, and nothing else: no other spelling, no bytes after it.
    ///
    /// # Errors
    ///
    /// [`DeltaError`]. Nothing is set aside for counts that the bytes do not bear out.
    pub fn decode(bytes: &[u8]) -> Result<Self, DeltaError> {
        let mut reader = Reader(bytes);
        let changes = reader.list(34, |reader| {
            let txid = Txid::from_bytes(reader.array("a row")?);
            Ok(Change { txid, before: reader.coins()?, after: reader.coins()? })
        })?;
        let receipts = reader.list(32, |reader| reader.array("a receipt").map(ReceiptId::from_bytes))?;
        if reader.0.is_empty() { Ok(Self { changes, receipts }) } else { reader.wrong("the end") }
    }
}

fn put(mut value: u64, out: &mut Vec<u8>) {
    loop {
        let low = u8::try_from(value & 0x7f).unwrap_or_default();
        value >>= 7;
        if value == 0 {
            return out.push(low);
        }
        out.push(low | 0x80);
    }
}

fn put_coins(unspent: Option<&Unspent>, out: &mut Vec<u8>) {
    put(unspent.map_or(0, |unspent| unspent.iter().count() as u64), out);
    for coin in unspent.into_iter().flat_map(Unspent::iter) {
        put(coin.index.get(), out);
        out.extend_from_slice(coin.account.as_bytes());
        put(coin.amount.get(), out);
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    const fn wrong<T>(&self, expected: &'static str) -> Result<T, DeltaError> {
        Err(DeltaError { expected, left: self.0.len() })
    }

    fn array<const N: usize>(&mut self, expected: &'static str) -> Result<[u8; N], DeltaError> {
        let Some((array, rest)) = self.0.split_first_chunk::<N>() else { return self.wrong(expected) };
        self.0 = rest;
        Ok(*array)
    }

    fn int(&mut self) -> Result<u64, DeltaError> {
        let mut value = 0_u64;
        for place in 0..9 {
            let [byte] = self.array("an integer")?;
            value |= u64::from(byte & 0x7f) << (7 * place);
            if byte < 0x80 {
                let is_short = byte > 0 || place == 0;
                return if is_short { Ok(value) } else { self.wrong("an integer as short as it can be") };
            }
        }
        self.wrong("an integer of at most nine bytes")
    }

    /// A count and that many items of at least `item_bytes` each.
    fn list<T>(
        &mut self,
        item_bytes: usize,
        mut item: impl FnMut(&mut Self) -> Result<T, DeltaError>,
    ) -> Result<Vec<T>, DeltaError> {
        let count = usize::try_from(self.int()?).unwrap_or(usize::MAX);
        if count > self.0.len() / item_bytes {
            return self.wrong("fewer items, or more bytes");
        }
        let mut items = Vec::with_capacity(count);
        for _ in 0..count {
            items.push(item(self)?);
        }
        Ok(items)
    }

    fn coins(&mut self) -> Result<Option<Unspent>, DeltaError> {
        let coins = self.list(22, |reader| {
            let Some(index) = OutputIndex::new(reader.int()?) else { return reader.wrong("a place") };
            let account = Account::from_bytes(reader.array("an account")?);
            let Some(amount) = Amount::new(reader.int()?) else { return reader.wrong("an amount") };
            Ok(Coin { index, account, amount })
        })?;
        match Unspent::from_coins(&coins) {
            None if !coins.is_empty() => self.wrong("coins in the order of their places"),
            unspent => Ok(unspent),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn coins() -> impl Strategy<Value = Option<Unspent>> {
        let number = || prop_oneof![0_u64..3, 120_u64..140, Just(spandrel_chain_protocol::INT_MAX)];
        let coin = (any::<[u8; 20]>(), number());
        prop::collection::btree_map(number(), coin, 0..4).prop_map(|coins| {
            let coin = |(index, (account, amount)): (u64, ([u8; 20], u64))| Coin {
                index: OutputIndex::new(index).unwrap(),
                account: Account::from_bytes(account),
                amount: Amount::new(amount).unwrap(),
            };
            Unspent::from_coins(&coins.into_iter().map(coin).collect::<Vec<_>>())
        })
    }

    fn delta() -> impl Strategy<Value = Delta> {
        let change = (any::<[u8; 32]>(), coins(), coins());
        let changes = prop::collection::vec(change, 0..6);
        (changes, prop::collection::vec(any::<[u8; 32]>(), 0..4)).prop_map(|(changes, receipts)| Delta {
            changes: changes
                .into_iter()
                .map(|(txid, before, after)| Change { txid: Txid::from_bytes(txid), before, after })
                .collect(),
            receipts: receipts.into_iter().map(ReceiptId::from_bytes).collect(),
        })
    }

    proptest! {
        /// What is written is read back; one byte less or more is refused.
        #[test]
        fn prop_roundtrip_delta(delta in delta(), more in any::<u8>()) {
            let mut bytes = Vec::new();
            delta.encode(&mut bytes);
            prop_assert_eq!(Delta::decode(&bytes), Ok(delta));
            for cut in 0..bytes.len() {
                prop_assert!(Delta::decode(&bytes[..cut]).is_err());
            }
            bytes.push(more);
            prop_assert!(Delta::decode(&bytes).is_err());
        }

        /// What is read has one spelling.
        #[test]
        fn prop_one_form_per_delta(delta in delta(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let mut bytes = Vec::new();
            delta.encode(&mut bytes);
            let at = at.index(bytes.len());
            bytes[at] = byte;
            crate::fuzz::fuzz_delta(&bytes);
        }
    }

    #[test]
    fn other_spellings_are_refused() {
        for (name, bytes) in [
            ("nothing", &[][..]),
            ("a longer zero", &[0x80, 0, 0]),
            ("a count without end", &[0xff; 12]),
            ("a count over the bytes", &[0xff, 0xff, 0xff, 0x7f, 0]),
            ("a receipt too few", &[0, 1]),
        ] {
            assert!(Delta::decode(bytes).is_err(), "{name}");
        }
        assert_eq!(Delta::decode(&[0, 0]), Ok(Delta::default()));
    }
}
