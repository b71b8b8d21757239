//! Entries for the fuzzer: nothing here may panic, whatever the bytes.

use std::collections::HashMap;

use spandrel_chain_protocol::{
    BlockHash, CoinBlock, Coins, Height, Limits, NoteBlock, Payload, ReceiptId, Stamp, Txid, WallMillis,
    version_for,
};

use crate::{
    Ancestors, CoinView, IdHash, Rules, SignatureCheck, Unspent, Verifier, check_coin_block,
    check_note_block, strict_der,
};

/// A parent that fits under whatever block is tried.
struct Below(Height, BlockHash, WallMillis);

impl Ancestors for Below {
    fn parent(&self) -> (Height, BlockHash) {
        (self.0, self.1)
    }

    fn stamp(&self, _: Height) -> Option<Stamp> {
        Some(Stamp { timestamp: self.2, difficulty: spandrel_chain_protocol::Difficulty::ZERO })
    }
}

/// Every output that a block spends is there, and belongs to its sender; so that rows are looked at closely.
#[derive(Default)]
struct Generous(HashMap<Txid, Unspent, IdHashDefault>);

type IdHashDefault = std::hash::BuildHasherDefault<std::hash::DefaultHasher>;

impl CoinView for Generous {
    fn unspent(&self, txid: &Txid) -> Option<&Unspent> {
        self.0.get(txid)
    }

    fn is_receipt_used(&self, _: &ReceiptId) -> bool {
        false
    }
}

struct Yes;

impl Verifier for Yes {
    fn is_valid(&self, _: &SignatureCheck) -> bool {
        true
    }
}

/// Blocks as they come, and once more with everything mended that a miner would mend.
pub fn fuzz_rules(data: &[u8]) {
    let _ = strict_der(data);
    let Ok(text) = std::str::from_utf8(data) else { return };
    let now = WallMillis::new(1_655_200_000_000);
    for rules in [Rules::default(), Rules::compat_unsigned()] {
        if let Ok(mut block) = NoteBlock::from_json(text, &Limits::default()) {
            let below = Below(block.header.height, block.header.previous_hash, now);
            let _ = check_note_block(&block, &below, now, rules);
            mend(&mut block, &below);
            let _ = check_note_block(&block, &below, now, rules);
        }
        if let Ok(mut block) = CoinBlock::from_json(text, &Limits::default()) {
            let below = Below(block.header.height, block.header.previous_hash, now);
            let coins = generous(&block);
            let _ = check_coin_block(&block, &below, &coins, now, rules, &Yes);
            if let Coins::Rows(rows) = &mut block.data {
                for row in rows.iter_mut() {
                    row.txid = row.compute_txid();
                }
                block.header.version = version_for(rows);
            }
            mend(&mut block, &below);
            if let Ok(delta) = check_coin_block(&block, &below, &coins, now, rules, &Yes) {
                let sum = |side: Option<&Unspent>| -> u128 {
                    side.map(|unspent| unspent.iter().map(|coin| u128::from(coin.amount.get())).sum())
                        .unwrap_or_default()
                };
                let (before, after) = delta.changes.iter().fold((0, 0), |(before, after), change| {
                    (before + sum(change.before.as_ref()), after + sum(change.after.as_ref()))
                });
                assert_eq!(
                    after,
                    before + u128::from(spandrel_chain_protocol::REWARD),
                    "a block makes its reward and no more"
                );
            }
        }
    }
    let _ = IdHash::fixed();
}

fn mend<P: Payload>(block: &mut spandrel_chain_protocol::Block<P>, below: &Below) {
    block.header.height = below.0.next();
    block.header.timestamp = below.2;
    block.header.difficulty = crate::next_difficulty(P::LEDGER, below, below.2);
    if let Some(root) = block.data.merkle_root() {
        block.header.merkle_root = root;
    }
    for nonce in 1..100 {
        block.header.nonce = spandrel_chain_protocol::Nonce::new(nonce).unwrap_or_default();
        block.header.hash = block.compute_hash();
        if block.header.hash.meets(block.header.difficulty) {
            break;
        }
    }
}

fn generous(block: &CoinBlock) -> Generous {
    let mut coins = Generous::default();
    for row in block.data.rows().iter().skip(1) {
        let owner = row.receipt.as_ref().map(|receipt| receipt.account);
        let total = row.outputs.iter().map(|output| output.amount.get()).fold(0, u64::saturating_add);
        for (at, point) in row.inputs.iter().filter_map(|input| input.out_point()).enumerate() {
            let amount = if at == 0 { total.saturating_sub(row.inputs.len() as u64 - 1) } else { 1 };
            let (Some(account), Some(amount)) = (
                owner.or(row.outputs.first().map(|o| o.account)),
                spandrel_chain_protocol::Amount::new(amount),
            ) else {
                continue;
            };
            let coin = crate::Coin { index: point.index, account, amount };
            if let Some(unspent) = Unspent::from_coins(&[coin]) {
                coins.0.entry(point.txid).or_insert(unspent);
            }
        }
    }
    coins
}

/// Bytes of a delta: what is read is written the same.
pub fn fuzz_delta(data: &[u8]) {
    if let Ok(delta) = crate::Delta::decode(data) {
        let mut again = Vec::new();
        delta.encode(&mut again);
        assert_eq!(again, data, "a delta has one spelling");
    }
}

/// A message, a key and a signature, 129 bytes: both libraries give the same answer.
#[cfg(all(feature = "secp256k1", feature = "k256"))]
pub fn fuzz_signatures(data: &[u8]) {
    let Some((message, rest)) = data.split_first_chunk() else { return };
    let Some((key, rest)) = rest.split_first_chunk() else { return };
    let Some((signature, _)) = rest.split_first_chunk() else { return };
    let key = spandrel_chain_protocol::PublicKey::from_bytes(*key);
    let check = SignatureCheck { message: *message, key, signature: *signature };
    let (one, other) = (crate::SecpVerifier.is_valid(&check), crate::PureVerifier.is_valid(&check));
    assert_eq!(one, other, "{check:?}");
}
