//! The pool and the blocks made of it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

#[path = "../../spandrel-consensus/tests/common/mod.rs"]
mod common;

use std::cell::Cell;
use std::sync::Arc;

use common::{Ledger, Person, mine, point};
use spandrel_chain::{
    CoinLedger, CoinSet, Left, Limits, NoArchive, Offered, Pool, PoolChange, PoolError, Secrets,
};
use spandrel_chain_protocol::{
    Account, Amount, BLOCK_BYTES_MAX, CoinBlock, SignatureText, Transaction, TxIn, TxOut, WallMillis,
};
use spandrel_consensus::{BlockError, RowError, Rules, SecpVerifier, SignatureCheck, Verifier};

const NOW: WallMillis = WallMillis::new(1_700_000_000_000);
const SECRETS: Secrets = Secrets { tables: [1, 2], signatures: [3; 32] };

/// Node and miner side by side: the machine under test and the reference that makes blocks for it.
struct Both {
    ours: CoinLedger,
    theirs: Ledger,
}

impl Both {
    fn new(rules: Rules, limits: &Limits) -> Self {
        let mut theirs = Ledger::new(rules);
        theirs.branch.blocks = vec![CoinBlock::genesis()];
        let mut first = theirs.draft(ann().account(), vec![]);
        first.header.timestamp = WallMillis::new(1_655_100_000_000);
        mine(&mut first);
        let mut both = Self { ours: CoinLedger::new(SECRETS, rules, limits), theirs };
        let delta = spandrel_consensus::check_rows(&first, &both.theirs.state, rules, &SecpVerifier).unwrap();
        both.theirs.state.apply(&delta);
        both.theirs.branch.blocks.push(first.clone());
        both.offer(&first);
        both
    }

    fn offer(&mut self, block: &CoinBlock) -> Vec<PoolChange> {
        self.ours.offer(Arc::new(block.clone()), NOW, &SecpVerifier, &NoArchive).unwrap().1
    }

    fn block(&mut self, miner: Account, rows: Vec<Transaction>) -> Vec<PoolChange> {
        let block = self.theirs.draft(miner, rows);
        self.theirs.push(block.clone()).unwrap();
        self.offer(&block)
    }

    fn submit(&mut self, row: &Transaction) -> Result<(), PoolError> {
        self.ours.submit(Arc::new(row.clone()), &SecpVerifier)
    }

    fn coins(&self, person: Person) -> Vec<(spandrel_chain_protocol::OutPoint, Amount)> {
        self.theirs.state.coins_of(person.account())
    }
}

fn ann() -> Person {
    Person::new(1)
}

fn bob() -> Person {
    Person::new(2)
}

fn left(row: &Transaction, why: Left) -> PoolChange {
    PoolChange::Left(Arc::new(row.clone()), why)
}

fn dropped(row: &Transaction, why: RowError) -> PoolChange {
    left(row, Left::Dropped(PoolError::Row(why)))
}

#[test]
fn rows_come_in_once_and_share_nothing() {
    let mut both = Both::new(Rules::default(), &Limits::default());
    both.block(ann().account(), vec![]);
    both.block(ann().account(), vec![]);
    let coins = both.coins(ann());
    let row = ann().pay(bob().account(), 20, &coins[..1]);
    assert_eq!(both.submit(&row), Ok(()));
    assert_eq!(both.submit(&row), Err(PoolError::Known));
    let other_id = Transaction::pay(ann().receipt(bob().account(), 21, None), &coins[..1]).unwrap();
    assert_eq!(both.submit(&other_id), Err(PoolError::SpentInPool { at: 0 }));
    let same_receipt = ann().pay(bob().account(), 20, &coins[1..3]);
    assert_eq!(both.submit(&same_receipt), Err(RowError::ReceiptUsed.into()));
    let same_id = Transaction::pay(ann().receipt(bob().account(), 20, Some("2")), &coins[1..2]).unwrap();
    assert_eq!(both.submit(&same_id), Err(RowError::TxidTaken.into()));
    let unconfirmed = bob().pay(ann().account(), 5, &[(point(row.txid, 0), Amount::new(20).unwrap())]);
    assert_eq!(both.submit(&unconfirmed), Err(RowError::MissingInput { at: 0 }.into()));
    let mut forged = ann().pay(bob().account(), 22, &coins[1..2]);
    let signature = bob().receipt(bob().account(), 22, None).signature;
    forged.inputs[0].signature = Some(signature.clone());
    forged.receipt.as_mut().unwrap().signature = signature;
    assert_eq!(both.submit(&forged), Err(RowError::Signature.into()));
    assert_eq!(both.ours.pool().len(), 1);
    assert_eq!(both.ours.spendable(&ann().account()).len(), 2, "what waits is not spent twice");
    assert!(both.ours.pool().get(&row.txid).is_some());
}

#[test]
fn the_pool_is_bounded_by_rows_and_by_bytes() {
    let mut both = Both::new(Rules::default(), &Limits::default());
    for _ in 0..3 {
        both.block(ann().account(), vec![]);
    }
    let state = both.ours.chain().state();
    let rows: Vec<Arc<Transaction>> = both
        .coins(ann())
        .iter()
        .zip(1..)
        .map(|(coin, pay)| Arc::new(ann().pay(bob().account(), pay, &[*coin])))
        .collect();
    let bytes = rows[0].json_len() + rows[1].json_len();
    for (name, limits, want) in [
        ("by rows", Limits::default().with_pool_max(2, 1 << 20), 2),
        ("by bytes, exactly full", Limits::default().with_pool_max(9, bytes), 2),
        ("by bytes, one over", Limits::default().with_pool_max(9, bytes - 1), 1),
    ] {
        let mut pool = Pool::new([1, 2], &limits);
        let admit = |pool: &mut Pool, row: &Arc<Transaction>| {
            pool.admit(Arc::clone(row), state, Rules::default(), &SecpVerifier)
        };
        let taken = rows[..3].iter().take_while(|row| admit(&mut pool, row).is_ok()).count();
        assert_eq!(taken, want, "{name}");
        let full = PoolError::Full { rows: pool.len(), bytes: pool.bytes() };
        assert_eq!(admit(&mut pool, &rows[want]), Err(full), "{name}");
        assert_eq!(pool.remove(&rows[0].txid).as_ref(), Some(&rows[0]), "{name}");
        assert!(admit(&mut pool, &rows[0]).is_ok(), "{name}: room again");
    }
}

#[test]
fn every_row_that_leaves_says_why() {
    let mut both = Both::new(Rules::default(), &Limits::default());
    for _ in 0..6 {
        both.block(ann().account(), vec![]);
    }
    let coins = both.coins(ann());
    let (confirmed, stays) =
        (ann().pay(bob().account(), 20, &coins[..1]), ann().pay(bob().account(), 29, &coins[1..2]));
    let spent = ann().pay(bob().account(), 21, &coins[2..3]);
    let by_receipt = ann().pay(bob().account(), 22, &coins[3..4]);
    let by_id = ann().pay(bob().account(), 23, &coins[4..5]);
    for row in [&confirmed, &stays, &spent, &by_receipt, &by_id] {
        assert_eq!(both.submit(row), Ok(()));
    }
    // In the block: one of them; one that spends the coin of another; the receipt of the next with coins of its own; and
    // one with the identifier of the last.
    let spender = ann().pay(Person::new(3).account(), 21, &coins[2..3]);
    let twin = Transaction::pay(ann().receipt(bob().account(), 23, Some("n")), &coins[5..6]).unwrap();
    assert_eq!(twin.txid, by_id.txid);
    let receipt_with = [coins[6], coins[5]];
    let same_receipt = ann().pay(bob().account(), 22, &receipt_with[..1]);
    // The same change would be the same identifier: give it two coins.
    assert_eq!(same_receipt.txid, by_receipt.txid);
    both.block(ann().account(), vec![]);
    let fresh =
        both.coins(ann()).into_iter().find(|(at, _)| !coins.iter().any(|(own, _)| own == at)).unwrap();
    let same_receipt = ann().pay(bob().account(), 22, &[coins[6], fresh]);
    assert_ne!(same_receipt.txid, by_receipt.txid);
    let changes = both.block(bob().account(), vec![confirmed.clone(), spender, same_receipt, twin]);
    let height = both.ours.chain().height();
    assert_eq!(
        changes,
        [
            left(&confirmed, Left::Confirmed { height }),
            dropped(&spent, RowError::MissingInput { at: 0 }),
            dropped(&by_receipt, RowError::ReceiptUsed),
            dropped(&by_id, RowError::TxidTaken),
        ]
    );
    let rest: Vec<Transaction> = both.ours.pool().iter().map(|(row, _)| Transaction::clone(row)).collect();
    assert_eq!(rest, [stays]);
}

#[test]
fn rows_of_lost_blocks_wait_again() {
    let mut both = Both::new(Rules::default(), &Limits::default());
    both.block(ann().account(), vec![]);
    let fork = both.theirs.clone();
    let coins = both.coins(ann());
    let row = ann().pay(bob().account(), 20, &coins[..1]);
    let child = bob().pay(ann().account(), 5, &[(point(row.txid, 0), Amount::new(20).unwrap())]);
    let moved = ann().pay(bob().account(), 21, &coins[1..2]);
    both.submit(&moved).unwrap();
    both.block(bob().account(), vec![row.clone(), child.clone()]);
    both.block(bob().account(), vec![moved.clone()]);
    assert!(both.ours.pool().is_empty());
    let waits = bob().pay(ann().account(), 50, &both.coins(bob())[1..2]);
    both.submit(&waits).unwrap();

    let mut other = fork;
    other.push(other.draft(Person::new(3).account(), vec![moved])).unwrap();
    let mut changes = Vec::new();
    for _ in 0..2 {
        let block = other.draft(Person::new(3).account(), vec![]);
        other.push(block).unwrap();
    }
    for block in &other.branch.blocks[3..] {
        changes.extend(both.offer(block));
    }
    assert_eq!(both.ours.chain().tip().hash, other.branch.blocks.last().unwrap().header.hash);
    assert_eq!(
        changes,
        [
            PoolChange::Returned(Arc::new(row)),
            dropped(&child, RowError::MissingInput { at: 0 }),
            dropped(&waits, RowError::MissingInput { at: 0 }),
        ]
    );
}

/// Counts what it is asked.
struct Counting(Cell<usize>);

impl Verifier for Counting {
    fn is_valid(&self, check: &SignatureCheck) -> bool {
        self.0.set(self.0.get() + 1);
        SecpVerifier.is_valid(check)
    }
}

#[test]
fn a_signature_is_checked_once() {
    let mut both = Both::new(Rules::default(), &Limits::default());
    both.block(ann().account(), vec![]);
    let coins = both.coins(ann());
    let (pooled, fresh) =
        (ann().pay(bob().account(), 20, &coins[..1]), ann().pay(bob().account(), 21, &coins[1..2]));
    let verifier = Counting(Cell::new(0));
    both.ours.submit(Arc::new(pooled.clone()), &verifier).unwrap();
    assert_eq!(verifier.0.get(), 1);
    let block = both.theirs.draft(bob().account(), vec![pooled, fresh]);
    let (offered, _) = both.ours.offer(Arc::new(block), NOW, &verifier, &NoArchive).unwrap();
    assert!(matches!(offered, Offered::Adopted(_)));
    assert_eq!(verifier.0.get(), 2, "only the row that never came alone");
}

#[test]
fn a_full_pool_makes_a_full_block() {
    // Without receipts a row may have fifty outputs, so that coins for a full block are made quickly.
    let rules = Rules::compat_unsigned();
    let mut both = Both::new(rules, &Limits::default());
    for _ in 0..26 {
        both.block(ann().account(), vec![]);
    }
    let unsigned = |from, len: usize| TxIn::spend(from, SignatureText::from_text(&"s".repeat(len)));
    let one = Amount::new(1).unwrap();
    let numbered = |at: usize| {
        let mut bytes = [7; 20];
        bytes[..8].copy_from_slice(&at.to_le_bytes());
        Account::from_bytes(bytes)
    };
    let spread: Vec<Transaction> = both
        .coins(ann())
        .iter()
        .enumerate()
        .map(|(at, (from, _))| {
            let outputs = (0..50).map(|nth| TxOut::new(numbered(at * 100 + nth), one)).collect();
            Transaction::new(vec![unsigned(*from, 1)], outputs, None)
        })
        .collect();
    let sources: Vec<_> = spread.iter().flat_map(|row| (0..50).map(|nth| point(row.txid, nth))).collect();
    both.block(bob().account(), spread);
    let mut bytes = Vec::new();
    for (at, from) in sources.iter().enumerate() {
        let row =
            Transaction::new(vec![unsigned(*from, 500)], vec![TxOut::new(numbered(9000 + at), one)], None);
        bytes.push(row.json_len());
        both.submit(&row).unwrap();
    }
    assert!(bytes.iter().sum::<usize>() > BLOCK_BYTES_MAX, "more than one block holds");
    let mut block = both.ours.draft(bob().account(), both.theirs.branch.next_stamp()).unwrap();
    mine(&mut block);
    let (len, rows) = (block.json_len(), block.data.rows().len());
    assert!(len <= BLOCK_BYTES_MAX && len + bytes[0] + 20 > BLOCK_BYTES_MAX, "{len} bytes, {rows} rows");
    assert_eq!(block.data.rows()[1].txid, both.ours.pool().iter().next().unwrap().0.txid, "the oldest first");
    let waiting = both.ours.pool().len();
    let changes = both.offer(&block);
    assert_eq!(changes.len(), rows - 1);
    assert!(changes.iter().all(|change| matches!(change, PoolChange::Left(_, Left::Confirmed { .. }))));
    assert_eq!(both.ours.pool().len(), waiting + 1 - rows);
}

#[test]
fn a_draft_says_when_the_coinbase_has_no_identifier() {
    let both = Both::new(Rules::default(), &Limits::default());
    let next = Transaction::coinbase(both.ours.chain().height().next(), bob().account());
    let unspent = spandrel_consensus::Unspent::of_outputs(&next.outputs).unwrap();
    let state = CoinSet::from_parts([1, 2], [(next.txid, unspent)], []);
    let mut chain = spandrel_chain::Chain::new(state, [1, 2], Rules::default(), &Limits::default());
    chain.restore(&both.theirs.branch.blocks[1].header, None).unwrap();
    let pool = Pool::new([1, 2], &Limits::default());
    let draft = |miner| spandrel_chain::draft_coins(&chain, &pool, miner, NOW);
    assert_eq!(draft(bob().account()), Err(BlockError::CoinbaseTaken));
    assert!(draft(ann().account()).is_ok());
}

#[test]
fn secrets_are_not_printed() {
    assert_eq!(format!("{SECRETS:?}"), "Secrets(..)");
}
