//! What is kept of every block of a branch: enough for the rules of the next one.

use std::collections::HashMap;

use spandrel_chain_protocol::{BlockHash, Header, Height, Stamp, WallMillis};
use spandrel_consensus::{Ancestors, IdHash, Work};

/// The facts of one block that its descendants are checked against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Its hash.
    pub hash: BlockHash,
    /// When it was made and how hard.
    pub stamp: Stamp,
    /// The work of the chain up to it.
    pub work: Work,
}

impl Entry {
    /// The entry of a block on top of `below`.
    pub(crate) const fn on(below: Work, header: &Header) -> Self {
        let stamp = Stamp { timestamp: header.timestamp, difficulty: header.difficulty };
        Self { hash: header.hash, stamp, work: below.plus(header.difficulty) }
    }
}

/// The best chain, by place.
#[derive(Debug, Clone)]
pub(crate) struct Index {
    first: Height,
    entries: Vec<Entry>,
    places: HashMap<BlockHash, usize, IdHash>,
}

impl Index {
    pub(crate) fn new(genesis: &Header, key: [u64; 2]) -> Self {
        let mut index = Self {
            first: genesis.height,
            entries: Vec::new(),
            places: HashMap::with_hasher(IdHash::new(key)),
        };
        index.push(Entry::on(Work::ZERO, genesis));
        index
    }

    pub(crate) fn push(&mut self, entry: Entry) {
        self.places.insert(entry.hash, self.entries.len());
        self.entries.push(entry);
    }

    /// Drops everything above a place.
    pub(crate) fn truncate(&mut self, top: usize) {
        for entry in self.entries.drain(top.saturating_add(1).min(self.entries.len())..) {
            self.places.remove(&entry.hash);
        }
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(crate) fn tip(&self) -> &Entry {
        self.entries.last().expect("the first block is never dropped")
    }

    pub(crate) const fn top(&self) -> usize {
        self.entries.len() - 1
    }

    pub(crate) fn height(&self, place: usize) -> Height {
        let place = u64::try_from(place).unwrap_or(u64::MAX);
        self.first.checked_add(place).unwrap_or(Height::MAX)
    }

    pub(crate) fn place_of(&self, hash: &BlockHash) -> Option<usize> {
        self.places.get(hash).copied()
    }

    pub(crate) fn at(&self, height: Height) -> Option<&Entry> {
        self.entries.get(usize::try_from(height.get().checked_sub(self.first.get())?).ok()?)
    }

    /// A branch that leaves the best chain at a place.
    pub(crate) fn branch<'a>(&'a self, fork: usize, above: &'a [Entry]) -> Branch<'a> {
        Branch { index: self, fork, above }
    }
}

/// Blocks of the best chain up to a fork, then others.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Branch<'a> {
    index: &'a Index,
    fork: usize,
    above: &'a [Entry],
}

impl Branch<'_> {
    fn entry(&self, place: usize) -> Option<&Entry> {
        match place.checked_sub(self.fork + 1) {
            Some(above) => self.above.get(above),
            None => self.index.entries.get(place),
        }
    }

    pub(crate) fn work(&self) -> Work {
        self.entry(self.fork + self.above.len()).map(|entry| entry.work).unwrap_or_default()
    }
}

impl Ancestors for Branch<'_> {
    fn parent(&self) -> (Height, BlockHash) {
        let place = self.fork + self.above.len();
        (self.index.height(place), self.entry(place).map_or(BlockHash::ZERO, |entry| entry.hash))
    }

    fn stamp(&self, height: Height) -> Option<Stamp> {
        let place = usize::try_from(height.get().checked_sub(self.index.first.get())?).ok()?;
        self.entry(place).map(|entry| entry.stamp)
    }
}

/// The earliest stamp a block after the tip may carry is part of what a template needs.
pub(crate) fn stamp_after(below: &impl Ancestors, now: WallMillis) -> WallMillis {
    spandrel_consensus::next_timestamp(below, now)
}
