//! Checks a coin chain, a JSON list of blocks with the first one first, and prints who owns what after it.
//!
//! `cargo run -p spandrel-consensus --example check_chain < chain.json`

#![expect(clippy::print_stdout, reason = "an example talks")]

use std::collections::BTreeMap;
use std::io::Read as _;

use spandrel_chain_protocol::{BlockHash, CoinBlock, Height, Limits, ReceiptId, Stamp, Txid};
use spandrel_consensus::{
    Ancestors, CoinView, Rules, SecpVerifier, Unspent, Work, check_coin_block, supply_at,
};

#[derive(Default)]
struct Ledger {
    blocks: Vec<CoinBlock>,
    unspent: BTreeMap<Txid, Unspent>,
    receipts: Vec<ReceiptId>,
}

impl Ancestors for Ledger {
    fn parent(&self) -> (Height, BlockHash) {
        self.blocks
            .last()
            .map_or((Height::ZERO, BlockHash::ZERO), |block| (block.header.height, block.header.hash))
    }

    fn stamp(&self, height: Height) -> Option<Stamp> {
        let at = usize::try_from(height.get().checked_sub(1)?).ok()?;
        let header = &self.blocks.get(at)?.header;
        Some(Stamp { timestamp: header.timestamp, difficulty: header.difficulty })
    }
}

impl CoinView for Ledger {
    fn unspent(&self, txid: &Txid) -> Option<&Unspent> {
        self.unspent.get(txid)
    }

    fn is_receipt_used(&self, id: &ReceiptId) -> bool {
        self.receipts.contains(id)
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    let mut blocks = CoinBlock::list_from_json(&text, &Limits::default())?.into_iter();
    if blocks.next() != Some(CoinBlock::genesis()) {
        return Err("the first block is not the one of this ledger".into());
    }
    let mut ledger = Ledger { blocks: vec![CoinBlock::genesis()], ..Ledger::default() };
    let mut work = Work::ZERO;
    for block in blocks {
        let now = block.header.timestamp; // trust the stamps: this is somebody's archive
        let delta = check_coin_block(&block, &ledger, &ledger, now, Rules::default(), &SecpVerifier)
            .map_err(|e| format!("block {}: {e}", block.header.height))?;
        for change in delta.changes {
            match change.after {
                Some(unspent) => drop(ledger.unspent.insert(change.txid, unspent)),
                None => drop(ledger.unspent.remove(&change.txid)),
            }
        }
        ledger.receipts.extend(delta.receipts);
        work = work.plus(block.header.difficulty);
        ledger.blocks.push(block);
    }
    let height = ledger.parent().0;
    println!("valid up to {height}, work {}, {} coins", work.tries(), supply_at(height));
    let mut balances = BTreeMap::new();
    for coin in ledger.unspent.values().flat_map(Unspent::iter) {
        *balances.entry(coin.account).or_insert(0) += coin.amount.get();
    }
    for (account, balance) in balances {
        println!("{account} {balance}");
    }
    Ok(())
}
