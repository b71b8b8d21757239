//! An honest node, and what has to hold of it after every step.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use spandrel_chain::{Left, PoolChange};
use spandrel_chain_protocol::{Txid, WallMillis};
use spandrel_consensus::supply_at;
use spandrel_gossip::fuzz::toy::{self, Toy};
use spandrel_gossip::{Address, Book, Config, Dialect, Event, Frame, Gossip, Limits, MemoryBooks, PeerId};

use crate::random::Random;
use crate::world;

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) books: MemoryBooks<Toy>,
    pub(crate) gossip: Option<Gossip>,
    pub(crate) life: u32,
    pub(crate) targets: Vec<Address>,
    pub(crate) tick_at: Option<u64>,
    pub(crate) idle_ticks: u32,
    skew_ms: u64,
    /// The pool as the events tell it.
    told: BTreeSet<Txid>,
    pub(crate) given_up: u64,
    pub(crate) confirmed: u64,
    /// What went to each peer: when a whole chain did, and which.
    chains: BTreeMap<PeerId, (u64, Frame)>,
}

impl Node {
    pub(crate) fn new(who: usize, random: &mut Random) -> Self {
        let mut targets = BTreeSet::new();
        for dialect in Dialect::ALL {
            // Everybody is reached: each one dials somebody before, and perhaps others.
            if who > 0 {
                let before = random.within(0, who as u64);
                targets.insert(world::address(usize::try_from(before).expect("an index"), dialect));
            }
            if random.once_in(3) {
                let any = random.within(0, 8);
                targets.insert(world::address(usize::try_from(any).expect("an index"), dialect));
            }
        }
        Self {
            books: toy::books(),
            gossip: None,
            life: 0,
            targets: targets.into_iter().collect(),
            tick_at: None,
            idle_ticks: 0,
            skew_ms: random.within(0, 6_000_000),
            told: BTreeSet::new(),
            given_up: 0,
            confirmed: 0,
            chains: BTreeMap::new(),
        }
    }

    pub(crate) const fn wall(&self, now: u64) -> WallMillis {
        world::wall(now, self.skew_ms)
    }

    /// Starts, or starts again with the blocks that were stored. The pool is lost, as it is in memory only.
    pub(crate) fn start(&mut self, who: usize, now: u64) {
        let mut books = toy::books();
        books.set_now(self.wall(now));
        if self.books.note_blocks().len() > 1 {
            books.offer_chain(self.books.note_blocks().to_vec()).expect("what was stored is valid");
        }
        if self.books.coin_blocks().len() > 1 {
            books.offer_chain(self.books.coin_blocks().to_vec()).expect("what was stored is valid");
        }
        self.books = books;
        self.told.clear();
        self.chains.clear();
        self.tick_at = None;
        let limits = Limits::default().with_inbox_max(20_000, 20);
        let own = Dialect::ALL.map(|dialect| world::address(who, dialect)).to_vec();
        let config = Config::new(who as u64).with_limits(limits).with_own(own);
        self.gossip = Some(Gossip::new(config, self.books.tips()));
    }

    pub(crate) fn event(&mut self, seed: u64, event: Event) {
        match event {
            Event::RowAdded { row, .. } | Event::Pool(PoolChange::Returned(row)) => {
                assert!(self.told.insert(row.txid), "seed {seed}: a row came twice");
            }
            Event::Pool(PoolChange::Left(row, left)) => {
                // A row of a lost block that does not fit any more never was in the pool.
                self.told.remove(&row.txid);
                match left {
                    Left::Confirmed { .. } => self.confirmed += 1,
                    Left::Dropped(_) => self.given_up += 1,
                }
            }
            Event::Fault(why) => panic!("seed {seed}: {why}"),
            _ => {}
        }
    }

    /// One whole chain in two seconds for one peer and tip.
    pub(crate) fn sends(&mut self, now: u64, peer: PeerId, frame: &Frame) {
        let text = frame.as_text().expect("text");
        if !text.starts_with(r#"{"type":2"#) && !text.starts_with(r#"{"type":"receivedChain"#) {
            return;
        }
        if let Some((at, before)) = self.chains.insert(peer, (now, frame.clone())) {
            assert!(before != *frame || now >= at + 2_000, "the same chain twice in {} ms", now - at);
        }
    }

    pub(crate) fn closed(&mut self, peer: PeerId) {
        self.chains.remove(&peer);
    }

    pub(crate) fn check(&self, now: u64) {
        let chain = self.books.coins().chain();
        assert_eq!(chain.state().supply(), supply_at(chain.height()), "supply at {now}");
        let pool: BTreeSet<Txid> = self.books.coins().pool().iter().map(|(row, _)| row.txid).collect();
        assert_eq!(pool, self.told, "the events tell another pool at {now}");
        if let Some(gossip) = &self.gossip {
            assert!(gossip.tasks() <= 4);
            assert!(gossip.peers().count() <= 125);
        }
    }

    /// Every row of the pool still fits the chain, and none stands in it.
    pub(crate) fn check_pool(&self) {
        let coins = self.books.coins();
        let mut points = BTreeSet::new();
        for (row, _) in coins.pool().iter() {
            for point in row.inputs.iter().filter_map(|input| input.out_point()) {
                assert!(points.insert(point), "two rows of the pool spend one coin");
                let is_there = spandrel_consensus::CoinView::coin(coins.chain().state(), &point).is_some();
                assert!(is_there, "a row of the pool spends what is not there");
            }
        }
        let blocks = self.books.coin_blocks().iter();
        let confirmed: BTreeSet<Txid> =
            blocks.flat_map(|block| block.data.rows().iter().map(|row| row.txid)).collect();
        let waiting = |row: &Arc<_>| -> bool {
            let row: &spandrel_chain_protocol::Transaction = row;
            let is_same = |other: &spandrel_chain_protocol::Transaction| other == row;
            confirmed.contains(&row.txid)
                && self.books.coin_blocks().iter().any(|block| block.data.rows().iter().any(is_same))
        };
        assert!(!coins.pool().iter().any(|(row, _)| waiting(row)), "a confirmed row waits");
    }
}
