//! The best chain: adoption, reorganisation, refusals that change nothing, bounds.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

#[path = "../../spandrel-consensus/tests/common/mod.rs"]
mod common;

use std::collections::HashMap;
use std::sync::Arc;

use common::{Ledger, Person, coin_chain, mine, note_chain, seal};
use spandrel_chain::{
    Archive, Chain, ChainError, CoinSet, Kind, Limits, NoArchive, Offered, Step, Update, draft_notes,
};
use spandrel_chain_protocol::{
    Block, BlockHash, CoinBlock, Coins, Height, NoteBlock, Notes, Transaction, Version, WallMillis,
};
use spandrel_consensus::{BlockError, Rules, SecpVerifier, supply_at};

const NOW: WallMillis = WallMillis::new(1_700_000_000_000);

fn coins(limits: &Limits) -> Chain<Coins> {
    Chain::new(CoinSet::new([1, 2]), [3, 4], Rules::default(), limits)
}

fn notes() -> Chain<Notes> {
    Chain::new((), [3, 4], Rules::default(), &Limits::default())
}

fn arcs<P>(blocks: &[Block<P>]) -> Vec<Arc<Block<P>>>
where
    Block<P>: Clone,
{
    blocks.iter().cloned().map(Arc::new).collect()
}

fn offer(chain: &mut Chain<Coins>, block: &CoinBlock) -> Result<Offered<Coins>, ChainError> {
    chain.offer(Arc::new(block.clone()), NOW, &SecpVerifier, &NoArchive)
}

fn offer_chain(chain: &mut Chain<Coins>, blocks: &[CoinBlock]) -> Result<Offered<Coins>, ChainError> {
    chain.offer_chain(arcs(blocks), NOW, &SecpVerifier, &NoArchive)
}

fn adopted<P: Kind>(offered: Result<Offered<P>, ChainError>) -> Update<P> {
    match offered {
        Ok(Offered::Adopted(update)) => update,
        other => panic!("not adopted: {other:?}"),
    }
}

/// Everything that a refusal must leave alone.
fn picture(chain: &Chain<Coins>) -> (CoinSet, BlockHash, usize, (usize, usize)) {
    (chain.state().clone(), chain.tip().hash, chain.entries().len(), chain.side_len())
}

/// A miner's own view, on the real first block.
fn ledger() -> Ledger {
    let mut ledger = Ledger::new(Rules::default());
    ledger.branch.blocks = vec![CoinBlock::genesis()];
    let mut first = ledger.draft(Person::new(1).account(), vec![]);
    first.header.timestamp = WallMillis::new(1_655_100_000_000);
    mine(&mut first);
    ledger.state.apply(&ledger_delta(&ledger, &first));
    ledger.branch.blocks.push(first);
    ledger
}

fn ledger_delta(ledger: &Ledger, block: &CoinBlock) -> spandrel_consensus::Delta {
    spandrel_consensus::check_rows(block, &ledger.state, ledger.rules, &SecpVerifier).unwrap()
}

fn grow(ledger: &mut Ledger, blocks: usize, miner: u8) {
    for _ in 0..blocks {
        ledger.push(ledger.draft(Person::new(miner).account(), vec![])).unwrap();
    }
}

#[test]
fn the_chains_of_the_tables_are_adopted_whole_or_block_by_block() {
    let blocks = coin_chain();
    let mut whole = coins(&Limits::default());
    let update = adopted(offer_chain(&mut whole, &blocks));
    assert_eq!(
        (update.fork.get(), update.connected.len(), update.disconnected.len()),
        (1, blocks.len() - 1, 0)
    );
    let mut single = coins(&Limits::default());
    for block in &blocks[1..] {
        let update = adopted(offer(&mut single, block));
        assert_eq!(update.connected[0].block.header.hash, block.header.hash);
        assert_eq!(single.state().supply(), supply_at(single.height()));
        assert_eq!(single.tip_block().as_deref(), Some(block));
    }
    assert_eq!(picture(&whole), picture(&single));
    assert_eq!(whole.state().balance(&"b9615d90684bb5b2ca5f859ab0f0b704075871aa".parse().unwrap()), 1050);
    assert_eq!(whole.height_of(&blocks[5].header.hash), Some(blocks[5].header.height));
    assert_eq!(whole.at(Height::new(6).unwrap()).unwrap().hash, blocks[5].header.hash);
    assert!(matches!(offer_chain(&mut whole, &blocks), Ok(Offered::Known)));
    assert!(matches!(offer(&mut whole, &blocks[3]), Ok(Offered::Known)));
    assert!(matches!(offer_chain(&mut whole, &blocks[..9]), Ok(Offered::Known)));

    let mut chain = notes();
    let update = adopted(chain.offer_chain(arcs(&note_chain()), NOW, &SecpVerifier, &NoArchive));
    assert_eq!((update.connected.len(), chain.height().get()), (25, 25));
    assert_eq!(chain.tip_block().unwrap().header.hash, note_chain()[25].header.hash);
}

#[test]
fn the_heavier_chain_wins_and_a_tie_keeps_the_first() {
    let (mut a, mut b) = (ledger(), ledger());
    grow(&mut a, 3, 2);
    grow(&mut b, 3, 3);
    let mut chain = coins(&Limits::default());
    adopted(offer_chain(&mut chain, &a.branch.blocks));
    let before = picture(&chain);
    assert!(matches!(offer_chain(&mut chain, &b.branch.blocks), Ok(Offered::NotBetter)));
    assert_eq!(picture(&chain), before);
    grow(&mut b, 1, 3);
    let update = adopted(offer_chain(&mut chain, &b.branch.blocks));
    assert_eq!((update.fork.get(), update.disconnected.len(), update.connected.len()), (2, 3, 4));
    let heights: Vec<u64> = update.disconnected.iter().map(|step| step.block.header.height.get()).collect();
    assert_eq!(heights, [5, 4, 3], "highest first");
    assert_eq!(chain.state().balance(&Person::new(2).account()), 0);
    assert_eq!(chain.state().balance(&Person::new(3).account()), 200);
    // The lost branch is still here, and one block makes it the better one again after another.
    grow(&mut a, 2, 2);
    assert!(matches!(offer(&mut chain, &a.branch.blocks[5]), Ok(Offered::Side)));
    let update = adopted(offer(&mut chain, &a.branch.blocks[6]));
    assert_eq!((update.disconnected.len(), update.connected.len()), (4, 5));
    assert_eq!(chain.tip().hash, a.branch.parent_hash());
    assert_eq!(chain.side_len().0, 4);
}

trait ParentHash {
    fn parent_hash(&self) -> BlockHash;
}

impl ParentHash for common::Branch<Coins> {
    fn parent_hash(&self) -> BlockHash {
        self.blocks.last().unwrap().header.hash
    }
}

#[test]
fn a_block_without_its_parent_asks_for_the_chain() {
    let mut other = ledger();
    grow(&mut other, 3, 2);
    let mut chain = coins(&Limits::default());
    let height = other.branch.blocks[3].header.height;
    assert_eq!(offer(&mut chain, &other.branch.blocks[3]).unwrap_err(), ChainError::UnknownParent { height });
    for block in &other.branch.blocks[1..] {
        adopted(offer(&mut chain, block));
    }
}

#[test]
fn a_better_chain_with_one_bad_row_changes_nothing() {
    let (mut own, mut other) = (ledger(), ledger());
    grow(&mut own, 2, 2);
    // Blocks that build on each other have to be put back in their order.
    let two = Person::new(2);
    let first = two.pay(Person::new(4).account(), 30, &own.state.coins_of(two.account())[..1]);
    let second =
        Person::new(4).pay(two.account(), 30, &[(common::point(first.txid, 0), first.outputs[0].amount)]);
    for row in [first, second] {
        own.push(own.draft(two.account(), vec![row])).unwrap();
    }
    let mut chain = coins(&Limits::default());
    adopted(offer_chain(&mut chain, &own.branch.blocks));
    let before = picture(&chain);
    grow(&mut other, 3, 3);
    let thief = Person::new(9).receipt(Person::new(9).account(), 50, None);
    let stolen = Transaction::pay(thief, &other.state.coins_of(Person::new(1).account())).unwrap();
    let bad = other.draft(Person::new(3).account(), vec![stolen]);
    other.branch.blocks.push(bad);
    for _ in 0..3 {
        let next = other.draft(Person::new(3).account(), vec![]);
        other.branch.blocks.push(next);
    }
    let error = offer_chain(&mut chain, &other.branch.blocks).unwrap_err();
    assert!(
        matches!(error, ChainError::Invalid { height, why: BlockError::Row { at: 1, .. } } if height.get() == 6),
        "{error:?}"
    );
    assert_eq!(picture(&chain), before);
    // One by one: the good part waits beside, the bad one is refused when it would be connected, and nothing is left of it.
    for block in &other.branch.blocks[2..5] {
        assert!(matches!(offer(&mut chain, block), Ok(Offered::Side)));
    }
    assert!(matches!(offer(&mut chain, &other.branch.blocks[5]), Ok(Offered::Side)));
    let error = offer(&mut chain, &other.branch.blocks[6]).unwrap_err();
    assert!(matches!(error, ChainError::Invalid { height, .. } if height.get() == 6), "{error:?}");
    assert_eq!(chain.side_len().0, 3);
    assert!(matches!(offer(&mut chain, &other.branch.blocks[6]), Err(ChainError::UnknownParent { .. })));
    assert_eq!((chain.tip().hash, chain.state()), (before.1, &before.0));
}

#[test]
fn chains_of_others_are_refused() {
    let mut chain = coins(&Limits::default());
    assert_eq!(offer_chain(&mut chain, &[]).unwrap_err(), ChainError::Empty);
    let mut blocks = coin_chain();
    blocks[0].data = Coins::Text("another beginning".into());
    let height = blocks[0].header.height;
    assert_eq!(
        offer_chain(&mut chain, &blocks).unwrap_err(),
        ChainError::Invalid { height, why: BlockError::Genesis }
    );
    let mut blocks = coin_chain();
    blocks.remove(4);
    assert!(matches!(
        offer_chain(&mut chain, &blocks),
        Err(ChainError::Invalid { why: BlockError::Height { .. }, .. })
    ));
    let mut blocks = coin_chain();
    blocks.reverse();
    assert!(matches!(
        offer_chain(&mut chain, &blocks),
        Err(ChainError::Invalid { why: BlockError::Genesis, .. })
    ));
    let mut notes = notes();
    let mut blocks = note_chain();
    blocks[20].data.push("more");
    let refused = notes.offer_chain(arcs(&blocks), NOW, &SecpVerifier, &NoArchive);
    assert!(matches!(refused, Err(ChainError::Invalid { why: BlockError::MerkleRoot, .. })));
    assert_eq!((chain.height().get(), notes.height().get()), (1, 0));
}

#[test]
fn another_body_of_a_hash_does_not_poison_it() {
    let mut own = ledger();
    grow(&mut own, 2, 1);
    let mut chain = coins(&Limits::default());
    adopted(offer_chain(&mut chain, &own.branch.blocks));
    let ann = Person::new(1);
    let row = ann.pay(Person::new(2).account(), 20, &own.state.coins_of(ann.account())[..1]);
    let good = own.draft(ann.account(), vec![row]);
    let text = String::from_utf8(good.to_json()).unwrap();
    // What the hash does not cover: a receipt's receiver, and what nobody knows.
    let limits = spandrel_chain_protocol::Limits::default();
    let receiver = format!("\"received\":\"{}\"", Person::new(2).account());
    for (name, other) in [
        (
            "another receiver in the receipt",
            text.replace(
                &receiver,
                &receiver.replace(": \"", "").replacen('0', "1", 1).replacen('a', "b", 1),
            ),
        ),
        ("no receipt", text.split(",\"receipt\":").next().unwrap().to_owned() + "}]}"),
        ("too long", text.replacen('{', &format!("{{\"pad\":\"{}\",", "x".repeat(1_000_000)), 1)),
    ] {
        let other = CoinBlock::from_json(&other, &limits).unwrap();
        assert_eq!(other.header.hash, good.header.hash, "{name}");
        assert_eq!(other.compute_hash(), good.header.hash, "{name}: the header is the same");
        let before = picture(&chain);
        assert!(offer(&mut chain, &other).is_err(), "{name}");
        assert_eq!(picture(&chain), before, "{name}");
    }
    adopted(offer(&mut chain, &good));
}

/// What a driver stores.
#[derive(Default)]
struct Shelf(HashMap<BlockHash, Step<Coins>>);

impl Shelf {
    fn keep(&mut self, update: &Update<Coins>) {
        self.0.extend(update.connected.iter().map(|step| (step.block.header.hash, step.clone())));
    }
}

impl Archive<Coins> for Shelf {
    fn read(&self, hash: &BlockHash) -> Option<Step<Coins>> {
        self.0.get(hash).cloned()
    }
}

#[test]
fn old_blocks_come_from_the_archive() {
    let (mut own, mut other) = (ledger(), ledger());
    grow(&mut own, 6, 2);
    grow(&mut other, 7, 3);
    let limits = Limits::default().with_recent_bytes_max(2000);
    let (mut chain, mut shelf) = (coins(&limits), Shelf::default());
    for block in &own.branch.blocks[1..] {
        let update = adopted(chain.offer(Arc::new(block.clone()), NOW, &SecpVerifier, &shelf));
        shelf.keep(&update);
        assert!(chain.recent_bytes() <= 2000);
    }
    assert!(chain.recent_bytes() > 1000);
    let before = picture(&chain);
    let refused = chain.offer_chain(arcs(&other.branch.blocks), NOW, &SecpVerifier, &NoArchive).unwrap_err();
    assert!(matches!(refused, ChainError::Archive { .. }) && refused.is_fault(), "{refused:?}");
    assert_eq!(picture(&chain), before, "what was undone is done again");
    let update = adopted(chain.offer_chain(arcs(&other.branch.blocks), NOW, &SecpVerifier, &shelf));
    assert_eq!((update.disconnected.len(), update.connected.len()), (6, 7));
    let mut tiny = coins(&Limits::default().with_recent_bytes_max(0));
    adopted(offer_chain(&mut tiny, &own.branch.blocks));
    assert_eq!(tiny.tip_block().as_deref(), own.branch.blocks.last(), "the tip is kept whatever its size");
}

#[test]
fn blocks_beside_the_chain_are_bounded() {
    let own = {
        let mut own = ledger();
        grow(&mut own, 5, 2);
        own
    };
    let limits = Limits::default().with_side_max(3, 1 << 20);
    let mut chain = coins(&limits);
    adopted(offer_chain(&mut chain, &own.branch.blocks));
    // A branch of two and many of one: the lightest of one go first.
    let mut two = ledger();
    grow(&mut two, 2, 3);
    for block in &two.branch.blocks[2..] {
        assert!(matches!(offer(&mut chain, block), Ok(Offered::Side)));
    }
    for miner in 4..10 {
        let mut one = ledger();
        grow(&mut one, 1, miner);
        assert!(matches!(offer(&mut chain, &one.branch.blocks[2]), Ok(Offered::Side)));
        assert!(chain.side_len().0 <= 3);
    }
    assert!(two.branch.blocks[2..].iter().all(|block| chain.contains(&block.header.hash)));
    grow(&mut two, 4, 3);
    assert!(matches!(offer(&mut chain, &two.branch.blocks[4]), Ok(Offered::Side)));
    assert!(matches!(offer(&mut chain, &two.branch.blocks[5]), Ok(Offered::Side)));
    assert!(
        !chain.contains(&two.branch.blocks[5].header.hash),
        "a branch longer than the bound loses its end"
    );
    assert_eq!(chain.side_len().0, 3);
    assert!(matches!(offer(&mut chain, &two.branch.blocks[6]), Err(ChainError::UnknownParent { .. })));
    let bytes = two.branch.blocks[2].json_len();
    let mut narrow = coins(&Limits::default().with_side_max(100, bytes * 2 + bytes / 2));
    adopted(offer_chain(&mut narrow, &own.branch.blocks));
    for miner in 4..10 {
        let mut one = ledger();
        grow(&mut one, 1, miner);
        assert!(matches!(offer(&mut narrow, &one.branch.blocks[2]), Ok(Offered::Side)));
        assert!(narrow.side_len().1 <= bytes * 2 + bytes / 2);
    }
    assert_eq!(narrow.side_len().0, 2);
}

#[test]
fn a_stored_chain_is_put_back() {
    let mut own = ledger();
    grow(&mut own, 8, 2);
    let (mut chain, mut shelf) = (coins(&Limits::default()), Shelf::default());
    let update = adopted(offer_chain(&mut chain, &own.branch.blocks));
    shelf.keep(&update);
    let mut again = coins(&Limits::default());
    for step in &update.connected {
        again.restore(&step.block.header, Some(&step.undo)).unwrap();
    }
    assert_eq!(again.entries(), chain.entries());
    assert_eq!(again.state(), chain.state());
    let tip = &update.connected.last().unwrap().block.header;
    assert!(matches!(again.restore(tip, None), Err(ChainError::Corrupt { .. })));
    assert!(matches!(coins(&Limits::default()).restore(tip, None), Err(ChainError::Corrupt { .. })));

    // A store that flushed its coins at a later block: the blocks below bring no changes.
    let parts = chain.state().iter().map(|(txid, unspent)| (*txid, unspent.clone()));
    let state = CoinSet::from_parts([5, 6], parts, chain.state().receipts().copied());
    let mut flushed = Chain::<Coins>::new(state, [3, 4], Rules::default(), &Limits::default());
    for step in &update.connected {
        flushed.restore(&step.block.header, None).unwrap();
    }
    assert_eq!(flushed.state(), chain.state());
    let mut other = ledger();
    grow(&mut other, 9, 3);
    let update = adopted(flushed.offer_chain(arcs(&other.branch.blocks), NOW, &SecpVerifier, &shelf));
    assert_eq!(update.disconnected.len(), 8);
}

#[test]
fn note_drafts_hold_what_a_block_may_hold() {
    let mut chain = notes();
    for (name, items, want) in [
        ("nothing", vec![], "NoData"),
        ("a root", vec!["0".repeat(64)], "AmbiguousLeaf"),
        ("too much", vec!["x".repeat(1_000_000)], "TooLarge"),
    ] {
        let error = draft_notes(&chain, items, NOW).unwrap_err();
        assert!(format!("{error:?}").starts_with(want), "{name}: {error:?}");
    }
    for height in 1..30 {
        let mut block: NoteBlock = draft_notes(&chain, vec![format!("note {height}")], NOW).unwrap();
        mine(&mut block);
        adopted(chain.offer(Arc::new(block), NOW, &SecpVerifier, &NoArchive));
    }
    assert_eq!(chain.tip().stamp.difficulty.bits(), 2, "fast blocks get harder");
}

#[test]
fn a_block_from_the_future_is_taken_later() {
    let mut chain = notes();
    let mut block = draft_notes(&chain, vec!["soon".into()], NOW.after(7_200_001)).unwrap();
    mine(&mut block);
    let block = Arc::new(block);
    let refused = chain.offer(Arc::clone(&block), NOW, &SecpVerifier, &NoArchive).unwrap_err();
    assert!(matches!(refused, ChainError::Invalid { why: BlockError::TooNew { .. }, .. }));
    adopted(chain.offer(block, NOW.after(1), &SecpVerifier, &NoArchive));
}

#[test]
fn a_claim_of_work_is_not_enough() {
    let mut own = ledger();
    grow(&mut own, 3, 2);
    let mut chain = coins(&Limits::default());
    adopted(offer_chain(&mut chain, &own.branch.blocks));
    let before = picture(&chain);
    let mut claim = ledger().draft(Person::new(3).account(), vec![]);
    claim.header.difficulty = spandrel_chain_protocol::Difficulty::new(255);
    claim.header.hash = claim.compute_hash();
    let blocks = [ledger().branch.blocks, vec![claim.clone()]].concat();
    assert!(offer_chain(&mut chain, &blocks).is_err());
    assert!(offer(&mut chain, &claim).is_err());
    assert_eq!(picture(&chain), before);
    let mut sealed = claim;
    sealed.header.difficulty = spandrel_chain_protocol::Difficulty::ZERO;
    seal(&mut sealed);
    sealed.header.version = Version::new("any").unwrap();
    mine(&mut sealed);
    assert!(matches!(offer(&mut chain, &sealed), Ok(Offered::Side)));
}
