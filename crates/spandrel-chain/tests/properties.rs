//! Laws of the machine, over random chains: undoing restores, order does not matter, a mutation changes nothing, the pool
//! agrees with a naive one.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

#[path = "../../spandrel-consensus/tests/common/mod.rs"]
mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use common::{Ledger, Person, mine};
use proptest::prelude::*;
use spandrel_chain::{
    Chain, ChainError, CoinLedger, CoinSet, Left, Limits, NoArchive, Offered, PoolChange, Secrets,
};
use spandrel_chain_protocol::{CoinBlock, Coins, Transaction, Txid, WallMillis};
use spandrel_consensus::{CoinView, Rules, SecpVerifier, check_row, supply_at};

const NOW: WallMillis = WallMillis::new(1_700_000_000_000);
const SECRETS: Secrets = Secrets { tables: [1, 2], signatures: [3; 32] };

/// Numbers from a seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % below.max(1)
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.roll(at + 1));
        }
    }
}

fn people() -> Vec<Person> {
    (1..5).map(Person::new).collect()
}

fn start() -> Ledger {
    let mut ledger = Ledger::new(Rules::default());
    ledger.branch.blocks = vec![CoinBlock::genesis()];
    let mut first = ledger.draft(Person::new(1).account(), vec![]);
    first.header.timestamp = WallMillis::new(1_655_100_000_000);
    mine(&mut first);
    let delta = spandrel_consensus::check_rows(&first, &ledger.state, ledger.rules, &SecpVerifier).unwrap();
    ledger.state.apply(&delta);
    ledger.branch.blocks.push(first);
    ledger
}

/// A row that somebody can sign at this state; perhaps it collides with others.
fn any_row(ledger: &Ledger, dice: &mut Dice) -> Option<Transaction> {
    let people = people();
    let payer = people[dice.roll(people.len())];
    let mut coins = ledger.state.coins_of(payer.account());
    dice.shuffle(&mut coins);
    coins.truncate(1 + dice.roll(3));
    let held: u64 = coins.iter().map(|(_, amount)| amount.get()).sum();
    let amount = 1 + u64::try_from(dice.roll(usize::try_from(held).unwrap())).unwrap();
    let to = people[dice.roll(people.len())].account();
    let nonce = format!("n{}", dice.roll(3));
    let receipt = payer.receipt(to, amount.min(held).max(1), (dice.roll(2) == 0).then_some(nonce.as_str()));
    Transaction::pay(receipt, &coins)
}

/// A valid block with up to three rows; it may hold chains of them.
fn any_block(ledger: &Ledger, dice: &mut Dice) -> CoinBlock {
    let mut ahead = ledger.clone();
    let mut rows: Vec<Transaction> = Vec::new();
    let miner = people()[dice.roll(4)].account();
    for _ in 0..dice.roll(4) {
        let Some(row) = any_row(&ahead, dice) else { continue };
        rows.push(row);
        let block = ledger.draft(miner, rows.clone());
        match ledger.check(&block) {
            Ok(delta) => {
                ahead = ledger.clone();
                ahead.state.apply(&delta);
            }
            Err(_) => drop(rows.pop()),
        }
    }
    ledger.draft(miner, rows)
}

/// A tree of valid blocks; each entry is the ledger at one block.
fn any_tree(dice: &mut Dice, blocks: usize) -> Vec<Ledger> {
    let mut tree = vec![start()];
    for _ in 0..blocks {
        // Mostly on a late one, so that branches grow long.
        let at = tree.len() - 1 - dice.roll(tree.len().min(4));
        let mut next = tree[at].clone();
        let block = any_block(&next, dice);
        next.push(block).unwrap();
        tree.push(next);
    }
    tree
}

fn work(ledger: &Ledger) -> u128 {
    ledger.branch.blocks.iter().map(|block| 1_u128 << block.header.difficulty.bits()).sum()
}

fn coins() -> Chain<Coins> {
    Chain::new(CoinSet::new([1, 2]), [3, 4], Rules::default(), &Limits::default())
}

/// The state of the machine as the reference has it.
fn same_state(set: &CoinSet, reference: &common::State) -> bool {
    let unspent: BTreeMap<_, _> = set.iter().map(|(txid, unspent)| (*txid, unspent.clone())).collect();
    let receipts = set.receipts().copied().collect();
    unspent == reference.unspent && reference.receipts == receipts
}

/// Each case signs and mines a lot: few by default, `PROPTEST_CASES` for more.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(24)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    /// Connecting blocks and undoing them restores the state bit for bit, at every height.
    #[test]
    fn prop_undo_restores_the_state(seed in any::<u64>(), blocks in 1_usize..25) {
        let mut dice = Dice(seed);
        let (mut ledger, mut set) = (start(), CoinSet::new([seed, 1]));
        let mut states = Vec::new();
        let mut deltas = Vec::new();
        set.apply(&spandrel_consensus::check_rows(&ledger.branch.blocks[1], &set, ledger.rules, &SecpVerifier).unwrap()).unwrap();
        for _ in 0..blocks {
            states.push(set.clone());
            let block = any_block(&ledger, &mut dice);
            let delta = ledger.push(block).unwrap();
            set.apply(&delta).unwrap();
            deltas.push(delta);
            prop_assert!(same_state(&set, &ledger.state));
            prop_assert_eq!(set.supply(), supply_at(ledger.branch.blocks.last().unwrap().header.height));
        }
        while let (Some(delta), Some(state)) = (deltas.pop(), states.pop()) {
            prop_assert!(set.undo(&delta).is_ok());
            prop_assert_eq!(&set, &state);
            prop_assert_eq!(set.supply(), state.supply());
        }
    }

    /// Any order of arrival of the same blocks gives the same tip and the same state, when one tip is the heaviest.
    #[test]
    fn prop_order_does_not_matter(seed in any::<u64>(), blocks in 2_usize..22, orders in 1_usize..4) {
        let mut dice = Dice(seed);
        let mut tree = any_tree(&mut dice, blocks);
        // One more on the heaviest makes it the only one.
        let best = (0..tree.len()).max_by_key(|at| work(&tree[*at])).unwrap();
        let mut last = tree[best].clone();
        last.push(any_block(&last, &mut dice)).unwrap();
        tree.push(last);
        let best = tree.last().unwrap();
        for _ in 0..orders {
            let mut chain = coins();
            let mut todo: Vec<&Ledger> = tree.iter().collect();
            dice.shuffle(&mut todo);
            while !todo.is_empty() {
                let before = todo.len();
                todo.retain(|ledger| {
                    if dice.roll(6) == 0 {
                        // As the older dialects do it: the whole chain.
                        let blocks = ledger.branch.blocks.iter().cloned().map(Arc::new).collect();
                        chain.offer_chain(blocks, NOW, &SecpVerifier, &NoArchive).unwrap();
                        return false;
                    }
                    let block = Arc::new(ledger.branch.blocks.last().unwrap().clone());
                    match chain.offer(block, NOW, &SecpVerifier, &NoArchive) {
                        Ok(_) => false,
                        Err(ChainError::UnknownParent { .. }) => true,
                        Err(e) => panic!("{e}"),
                    }
                });
                prop_assert!(todo.len() < before || todo.is_empty() || chain.height().get() > 1);
            }
            prop_assert_eq!(chain.tip().hash, best.branch.blocks.last().unwrap().header.hash);
            prop_assert_eq!(chain.work().tries(), work(best));
            prop_assert!(same_state(chain.state(), &best.state));
        }
    }

    /// Any single mutation of a valid block is refused and changes nothing; the honest copy is taken afterwards.
    #[test]
    fn prop_a_mutation_changes_nothing(seed in any::<u64>(), tries in 1_usize..60) {
        let mut dice = Dice(seed);
        let mut ours = CoinLedger::new(SECRETS, Rules::default(), &Limits::default());
        let mut theirs = start();
        for _ in 0..3 {
            let block = any_block(&theirs, &mut dice);
            theirs.push(block).unwrap();
        }
        let blocks = theirs.branch.blocks.iter().cloned().map(Arc::new).collect();
        ours.offer_chain(blocks, NOW, &SecpVerifier, &NoArchive).unwrap();
        if let Some(row) = any_row(&theirs, &mut dice) {
            let _ = ours.submit(Arc::new(row), &SecpVerifier);
        }
        let good = any_block(&theirs, &mut dice);
        let text = good.to_json();
        for _ in 0..tries {
            let mut text = text.clone();
            let at = dice.roll(text.len());
            match dice.roll(4) {
                0 => text[at] ^= 1 << dice.roll(7),
                1 => text[at] = b"0123456789abcdef"[dice.roll(16)],
                2 => drop(text.remove(at)),
                _ => text.insert(at, b"0123456789abcdefA\"{}[],:"[dice.roll(24)]),
            }
            let Ok(text) = std::str::from_utf8(&text) else { continue };
            let Ok(block) = CoinBlock::from_json(text, &spandrel_chain_protocol::Limits::default()) else { continue };
            if block == good {
                continue;
            }
            let before = (ours.chain().state().clone(), *ours.chain().tip(), ours.chain().side_len(), ours.pool().len());
            let offered = ours.offer(Arc::new(block), NOW, &SecpVerifier, &NoArchive);
            prop_assert!(offered.is_err(), "{} -> {offered:?}", text);
            let after = (ours.chain().state().clone(), *ours.chain().tip(), ours.chain().side_len(), ours.pool().len());
            prop_assert_eq!(before, after);
        }
        let (offered, _) = ours.offer(Arc::new(good), NOW, &SecpVerifier, &NoArchive).unwrap();
        prop_assert!(matches!(offered, Offered::Adopted(_)));
    }

    /// The pool holds what a naive one holds, whatever rows and blocks come, forks included; every row that leaves is named;
    /// and the block it makes is valid.
    #[test]
    fn prop_pool_agrees_with_model(seed in any::<u64>(), steps in 1_usize..30) {
        let mut dice = Dice(seed);
        let rows_max = 1 + dice.roll(6);
        let limits = Limits::default().with_pool_max(rows_max, 1 << 20);
        let mut ours = CoinLedger::new(SECRETS, Rules::default(), &limits);
        let mut tree = vec![start()];
        let mut model: Vec<Transaction> = Vec::new();
        let mut tip = 0;
        ours.offer(Arc::new(tree[0].branch.blocks[1].clone()), NOW, &SecpVerifier, &NoArchive).unwrap();
        for _ in 0..steps {
            if dice.roll(3) > 0 {
                let Some(row) = any_row(&tree[tip], &mut dice) else { continue };
                let want = fits(&model, &row, &tree[tip].state) && model.len() < rows_max;
                let got = ours.submit(Arc::new(row.clone()), &SecpVerifier);
                prop_assert_eq!(got.is_ok(), want, "{:?}", got);
                if want {
                    model.push(row);
                }
            } else {
                let at = tree.len() - 1 - dice.roll(tree.len().min(3));
                let mut next = tree[at].clone();
                let block = if at == tip && dice.roll(2) == 0 {
                    let mut block = ours.draft(Person::new(4).account(), next.branch.next_stamp()).unwrap();
                    mine(&mut block);
                    block
                } else {
                    any_block(&next, &mut dice)
                };
                next.push(block.clone()).unwrap();
                let (offered, changes) = ours.offer(Arc::new(block), NOW, &SecpVerifier, &NoArchive).unwrap();
                tree.push(next);
                let Offered::Adopted(update) = offered else { continue };
                let lost: Vec<Transaction> =
                    update.disconnected.iter().rev().flat_map(|step| step.block.data.rows()[1..].to_vec()).collect();
                let candidates: Vec<(bool, Transaction)> =
                    lost.iter().cloned().map(|row| (true, row)).chain(model.drain(..).map(|row| (false, row))).collect();
                tip = tree.len() - 1;
                let confirmed: Vec<Transaction> =
                    update.connected.iter().flat_map(|step| step.block.data.rows().to_vec()).collect();
                let mut named = BTreeMap::new();
                for change in changes {
                    let (row, what) = match change {
                        PoolChange::Returned(row) => (row, "returned"),
                        PoolChange::Left(row, Left::Confirmed { .. }) => (row, "confirmed"),
                        PoolChange::Left(row, Left::Dropped(_)) => (row, "dropped"),
                    };
                    prop_assert!(named.insert(key(&row), what).is_none(), "named once");
                }
                for (is_lost, row) in candidates {
                    let is_confirmed = confirmed.iter().any(|other| key(other) == key(&row));
                    let stays = !is_confirmed && model.len() < rows_max && fits(&model, &row, &tree[tip].state);
                    let want = match (is_lost, is_confirmed, stays) {
                        (true, true, _) | (false, false, true) => None,
                        (false, true, _) => Some("confirmed"),
                        (true, false, true) => Some("returned"),
                        (_, false, false) => Some("dropped"),
                    };
                    prop_assert_eq!(named.remove(&key(&row)), want);
                    if stays {
                        model.push(row);
                    }
                }
                prop_assert!(named.is_empty(), "{:?}", named);
            }
            let pool: Vec<Transaction> = ours.pool().iter().map(|(row, _)| Transaction::clone(row)).collect();
            prop_assert_eq!(&pool, &model);
            prop_assert_eq!(ours.pool().bytes(), model.iter().map(Transaction::json_len).sum::<usize>());
            prop_assert!(same_state(ours.chain().state(), &tree[tip].state));
            let mut next = ours.draft(Person::new(2).account(), tree[tip].branch.next_stamp()).unwrap();
            prop_assert_eq!(next.data.rows().len(), model.len() + 1);
            mine(&mut next);
            prop_assert!(tree[tip].check(&next).is_ok());
        }
    }
}

type Key = (Txid, Vec<(Option<Txid>, u64)>);

fn key(row: &Transaction) -> Key {
    (row.txid, row.inputs.iter().map(|input| (input.txid, input.index.get())).collect())
}

/// Valid on the state, and nothing shared with any row that waits.
fn fits(model: &[Transaction], row: &Transaction, state: &impl CoinView) -> bool {
    let spends = |row: &Transaction| row.inputs.iter().map(|i| i.out_point()).collect::<Vec<_>>();
    let id = |row: &Transaction| row.receipt.as_ref().map(|receipt| receipt.id());
    check_row(row, state, Rules::default()).is_ok()
        && !model.iter().any(|other| {
            other.txid == row.txid
                || id(other) == id(row)
                || spends(other).iter().any(|point| spends(row).contains(point))
        })
}
