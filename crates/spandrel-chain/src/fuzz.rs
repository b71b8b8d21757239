//! Entries for the fuzzer: bytes are a list of actions on the machine, and a slow model has to agree after each.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use spandrel_chain_protocol::{
    Account, Amount, Block, CoinBlock, Coins, Difficulty, OutPoint, OutputIndex, Payload, SignatureText,
    Transaction, TxIn, TxOut, WallMillis, version_for,
};
use spandrel_consensus::{Rules, SignatureCheck, Verifier};

use crate::{ChainError, CoinLedger, Limits, NoArchive, Offered, PoolChange, Secrets};

const NOW: WallMillis = WallMillis::new(1_700_000_000_000);

struct Never;

impl Verifier for Never {
    fn is_valid(&self, _: &SignatureCheck) -> bool {
        panic!("rules without receipts ask for no signature")
    }
}

/// What the model knows of a block that was made: all blocks below it and every coin after it.
#[derive(Clone)]
struct Place {
    blocks: Vec<Arc<CoinBlock>>,
    coins: BTreeMap<OutPoint, (Account, Amount)>,
    work: u128,
}

impl Place {
    fn genesis() -> Self {
        Self { blocks: vec![Arc::new(CoinBlock::genesis())], coins: BTreeMap::new(), work: 1 }
    }

    fn is_taken(&self, row: &Transaction) -> bool {
        self.coins.keys().any(|point| point.txid == row.txid)
    }

    /// Does what the row does when it may; the model's own words for the rules.
    fn run(&mut self, row: &Transaction) -> bool {
        let points: BTreeSet<OutPoint> = row.inputs.iter().filter_map(|input| input.out_point()).collect();
        let spent: Option<u64> =
            points.iter().map(|point| self.coins.get(point).map(|coin| coin.1.get())).sum();
        let made: u64 = row.outputs.iter().map(|output| output.amount.get()).sum();
        let has_zero = row.outputs.iter().any(|output| output.amount == Amount::ZERO);
        if points.len() != row.inputs.len()
            || points.is_empty()
            || spent != Some(made)
            || has_zero
            || self.is_taken(row)
        {
            return false;
        }
        self.coins.retain(|point, _| !points.contains(point));
        self.make(row);
        true
    }

    fn make(&mut self, row: &Transaction) {
        for (index, output) in (0..).zip(&row.outputs) {
            let point = OutPoint { txid: row.txid, index: OutputIndex::new(index).unwrap_or_default() };
            self.coins.insert(point, (output.account, output.amount));
        }
    }
}

/// Reads actions from bytes; zeros when they are used up.
struct Script<'a>(&'a [u8]);

impl Script<'_> {
    fn next(&mut self, below: usize) -> usize {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        usize::from(*first) % below.max(1)
    }
}

fn account(nth: usize) -> Account {
    Account::from_bytes([u8::try_from(nth).unwrap_or_default(); 20])
}

/// A row over coins of a place, perhaps a wrong one.
fn row(place: &Place, script: &mut Script<'_>) -> Option<Transaction> {
    let coins: Vec<(&OutPoint, &(Account, Amount))> = place.coins.iter().collect();
    let mut inputs = Vec::new();
    let mut sum = 0;
    for _ in 0..=script.next(2) {
        let (point, (_, amount)) = coins.get(script.next(coins.len()))?;
        inputs.push(TxIn::spend(**point, SignatureText::from_text("")));
        sum += amount.get();
    }
    let first = (script.next(60) as u64).min(sum);
    let output = |nth, amount| Some(TxOut::new(account(nth), Amount::new(amount)?));
    let mut outputs = vec![output(script.next(4), first)?];
    if sum > first {
        outputs.push(output(script.next(4), sum - first)?);
    }
    Some(Transaction::new(inputs, outputs, None))
}

/// A block on a place. `None` when the model says that it breaks a rule; the block is made all the same.
fn block(place: &Place, script: &mut Script<'_>) -> Option<(Arc<CoinBlock>, Option<Place>)> {
    let below = place.blocks.last()?;
    let mut header = below.header.clone();
    header.previous_hash = header.hash;
    header.height = header.height.next();
    header.timestamp = NOW;
    // The rules without receipts let a miner say how hard it was; one try has to do.
    header.difficulty = Difficulty::new(u8::try_from(script.next(2)).unwrap_or_default());
    let mut rows = vec![Transaction::coinbase(header.height, account(script.next(4)))];
    let (mut next, mut is_valid) = (place.clone(), true);
    is_valid &= rows.first().is_some_and(|coinbase| !place.is_taken(coinbase));
    rows.iter().for_each(|coinbase| next.make(coinbase));
    for _ in 0..script.next(4) {
        let Some(row) = row(&next, script) else { continue };
        is_valid &= rows.iter().all(|other| other.txid != row.txid);
        is_valid &= next.run(&row);
        rows.push(row);
    }
    header.version = version_for(&rows);
    let data = Coins::Rows(rows);
    header.merkle_root = data.merkle_root()?;
    let mut block = Block { header, data, extra: spandrel_chain_protocol::Extra::NONE };
    block.header.hash = block.compute_hash();
    is_valid &= block.header.hash.meets(block.header.difficulty);
    let block = Arc::new(block);
    next.work += 1 << block.header.difficulty.bits();
    next.blocks.push(Arc::clone(&block));
    Some((block, is_valid.then_some(next)))
}

/// Blocks anywhere in a tree, whole chains and rows, valid or not: tip, coins and pool are those of the model.
pub fn fuzz_chain_actions(data: &[u8]) {
    let limits = Limits::default().with_pool_max(8, 1 << 16);
    let secrets = Secrets { tables: [1, 2], signatures: [3; 32] };
    let mut ledger = CoinLedger::new(secrets, Rules::compat_unsigned(), &limits);
    let (mut places, mut tip) = (vec![Place::genesis()], Place::genesis());
    let mut script = Script(data.get(..data.len().min(400)).unwrap_or_default());
    while !script.0.is_empty() {
        let action = script.next(4);
        let at = script.next(places.len());
        let Some(place) = places.get(at).cloned() else { return };
        let pool_before = ledger.pool().len();
        let changes = match action {
            0 => {
                let Some(row) = row(&tip, &mut script) else { continue };
                let _ = ledger.submit(Arc::new(row), &Never);
                Vec::new()
            }
            1 => {
                let offered = ledger.offer_chain(place.blocks.clone(), NOW, &Never, &NoArchive);
                let (offered, changes) = offered.expect("only valid chains are kept");
                assert_eq!(matches!(offered, Offered::Adopted(_)), place.work > tip.work);
                if place.work > tip.work {
                    tip = place;
                }
                changes
            }
            _ => {
                let Some((block, next)) = block(&place, &mut script) else { return };
                let offered = ledger.offer(Arc::clone(&block), NOW, &Never, &NoArchive);
                match (offered, next) {
                    (Ok((Offered::Adopted(_), changes)), Some(next)) => {
                        assert!(next.work > tip.work, "a chain without more work was adopted");
                        tip = next.clone();
                        places.push(next);
                        changes
                    }
                    (Ok((_, changes)), Some(next)) => {
                        assert!(next.work <= tip.work, "a better chain was left aside");
                        places.push(next);
                        changes
                    }
                    // An invalid body may wait beside the chain until somebody builds on it.
                    (Ok((Offered::Side | Offered::Known, changes)), None) => changes,
                    (Ok((other, _)), None) => panic!("an invalid block was adopted: {other:?}"),
                    (Err(ChainError::UnknownParent { .. }), _) => Vec::new(),
                    (Err(error), Some(_)) => panic!("a valid block was refused: {error}"),
                    (Err(error), None) => {
                        assert!(!error.is_fault(), "{error}");
                        Vec::new()
                    }
                }
            }
        };
        check(&ledger, &tip, pool_before, &changes);
    }
}

fn check(ledger: &CoinLedger, tip: &Place, pool_before: usize, changes: &[PoolChange]) {
    let chain = ledger.chain();
    assert_eq!(Some(chain.tip().hash), tip.blocks.last().map(|block| block.header.hash));
    assert_eq!(chain.work().tries(), tip.work);
    let coins: BTreeMap<OutPoint, (Account, Amount)> = chain
        .state()
        .iter()
        .flat_map(|(txid, unspent)| unspent.iter().map(|coin| (*txid, *coin)))
        .map(|(txid, coin)| (OutPoint { txid, index: coin.index }, (coin.account, coin.amount)))
        .collect();
    assert_eq!(coins, tip.coins);
    let left = changes.iter().filter(|change| matches!(change, PoolChange::Left(..))).count();
    assert!(ledger.pool().len() + left >= pool_before, "a row left without a word");
    assert!(ledger.pool().len() <= 8);
    let (mut together, mut count) = (tip.clone(), 0);
    for (row, _) in ledger.pool().iter() {
        assert!(tip.clone().run(row), "a row in the pool does not fit the chain");
        assert!(together.run(row), "two rows in the pool do not fit together");
        count += 1;
    }
    assert_eq!(count, ledger.pool().len());
}
