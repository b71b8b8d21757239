//! The machine: takes blocks, keeps the best chain, and says what changed.

use std::collections::VecDeque;
use std::sync::Arc;

use spandrel_chain_protocol::{Block, BlockHash, Difficulty, Header, Height, Payload, WallMillis};
use spandrel_consensus::{BlockError, Rules, Verifier, Work, check_header, next_difficulty};

use crate::index::{Index, stamp_after};
use crate::side::Side;
use crate::{ChainError, Entry, Kind, Limits};

/// Gives back blocks of the best chain that the machine no longer keeps.
pub trait Archive<P: Kind> {
    /// The block of this hash and what undoes it. `None` when it cannot be read.
    fn read(&self, hash: &BlockHash) -> Option<Step<P>>;
}

/// An archive with nothing in it, for chains that fit into memory.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoArchive;

impl<P: Kind> Archive<P> for NoArchive {
    fn read(&self, _: &BlockHash) -> Option<Step<P>> {
        None
    }
}

/// One block that came or went.
#[derive(Debug)]
pub struct Step<P: Kind> {
    /// The block.
    pub block: Arc<Block<P>>,
    /// What undoes it.
    pub undo: Arc<P::Undo>,
}

impl<P: Kind> Clone for Step<P> {
    fn clone(&self) -> Self {
        Self { block: Arc::clone(&self.block), undo: Arc::clone(&self.undo) }
    }
}

/// What changed, in the order in which it has to be stored and told. Store it as one, before the next call and before
/// anybody hears of it.
#[derive(Debug)]
pub struct Update<P: Kind> {
    /// The last block that both chains share.
    pub fork: Height,
    /// Blocks that left the best chain, highest first. Empty unless it was reorganised.
    pub disconnected: Vec<Step<P>>,
    /// Blocks that joined it, lowest first. Never empty.
    pub connected: Vec<Step<P>>,
}

/// What became of a block or a chain that broke no rule.
#[derive(Debug)]
pub enum Offered<P: Kind> {
    /// It is on the best chain now.
    Adopted(Update<P>),
    /// It is kept beside the best chain, if there is room.
    Side,
    /// It is on the best chain already, or kept beside it.
    Known,
    /// The chain has no more work than the best one. Its blocks were not looked at.
    NotBetter,
}

/// A chain of one ledger, as a machine without I/O.
///
/// Every call leaves it with the best valid chain it was ever offered, or as it was: a refusal changes nothing.
/// Blocks come in with the time; what has to be stored and told comes out as an [`Update`].
#[derive(Debug)]
pub struct Chain<P: Kind> {
    genesis: Block<P>,
    rules: Rules,
    index: Index,
    state: P::State,
    recent: VecDeque<(Step<P>, usize)>,
    recent_bytes: usize,
    recent_bytes_max: usize,
    side: Side<P>,
}

impl<P: Kind> Chain<P> {
    /// A chain of the first block alone, with the state there. `key` should be random and stay here: it keeps strangers
    /// from choosing hashes that fall together.
    #[must_use]
    pub fn new(state: P::State, key: [u64; 2], rules: Rules, limits: &Limits) -> Self {
        let genesis = P::genesis();
        Self {
            index: Index::new(&genesis.header, key),
            genesis,
            rules,
            state,
            recent: VecDeque::new(),
            recent_bytes: 0,
            recent_bytes_max: limits.recent_bytes_max,
            side: Side::new(key, limits),
        }
    }

    /// Puts the next block back that was stored by this machine before; its rules are not checked again. The state is
    /// changed by `undo` when it is given, and left alone when the state has that block already.
    ///
    /// # Errors
    ///
    /// [`ChainError::Corrupt`] when the block does not stand on the tip or the state does not fit.
    pub fn restore(&mut self, header: &Header, undo: Option<&P::Undo>) -> Result<(), ChainError> {
        if header.previous_hash != self.index.tip().hash || header.height != self.height().next() {
            return Err(ChainError::Corrupt { what: "a stored block does not stand on the one before" });
        }
        if let Some(undo) = undo {
            P::reconnect(&mut self.state, undo)?;
            P::audit(&self.state, header.height)?;
        }
        self.recent.clear();
        self.recent_bytes = 0;
        self.index.push(Entry::on(self.index.tip().work, header));
        Ok(())
    }

    /// Takes one block, wherever it stands.
    ///
    /// # Errors
    ///
    /// [`ChainError`]; nothing has changed then.
    pub fn offer(
        &mut self,
        block: Arc<Block<P>>,
        now: WallMillis,
        verifier: &impl Verifier,
        archive: &impl Archive<P>,
    ) -> Result<Offered<P>, ChainError> {
        let header = &block.header;
        if self.contains(&header.hash) {
            return Ok(Offered::Known);
        }
        let mut path = self.side.path_to(&header.previous_hash);
        let foot = path.first().map_or(header.previous_hash, |(lowest, _)| lowest.header.previous_hash);
        let Some(fork) = self.index.place_of(&foot) else {
            return Err(ChainError::UnknownParent { height: header.height });
        };
        let above: Vec<Entry> = path.iter().map(|(_, entry)| *entry).collect();
        let work = self.check(&block, fork, &above, now)?;
        let entry = Entry::on(work, header);
        if !entry.work.beats(self.work()) {
            self.side.insert(block, entry);
            return Ok(Offered::Side);
        }
        path.push((block, entry));
        self.switch(fork, path, verifier, archive).map(Offered::Adopted)
    }

    /// Takes a whole chain, the first block first: all of it or nothing.
    ///
    /// Blocks that are on the best chain already are not looked at again. No signature is checked before every header
    /// and every body has its form.
    ///
    /// # Errors
    ///
    /// [`ChainError`]; nothing has changed then.
    pub fn offer_chain(
        &mut self,
        blocks: Vec<Arc<Block<P>>>,
        now: WallMillis,
        verifier: &impl Verifier,
        archive: &impl Archive<P>,
    ) -> Result<Offered<P>, ChainError> {
        let first = blocks.first().ok_or(ChainError::Empty)?;
        if **first != self.genesis {
            return Err(ChainError::Invalid { height: first.header.height, why: BlockError::Genesis });
        }
        let own = self.index.entries().iter();
        let shared = own.zip(&blocks).take_while(|(own, block)| own.hash == block.header.hash).count();
        let fork = shared.saturating_sub(1);
        let fresh = || blocks.iter().skip(shared);
        let below = self.index.entries().get(fork).map(|entry| entry.work).unwrap_or_default();
        if shared == blocks.len() {
            return Ok(Offered::Known);
        }
        let claimed = fresh().fold(below, |work, block| work.plus(block.header.difficulty));
        if !claimed.beats(self.work()) {
            return Ok(Offered::NotBetter);
        }
        let mut above = Vec::with_capacity(blocks.len() - shared);
        for block in fresh() {
            let branch = self.index.branch(fork, &above);
            check_header(P::LEDGER, &block.header, &branch, now, self.rules)
                .map_err(|why| invalid(block, why))?;
            above.push(Entry::on(branch.work(), &block.header));
        }
        for block in fresh() {
            P::check_shape(block, self.rules).map_err(|why| invalid(block, why))?;
        }
        let path = blocks.into_iter().skip(shared).zip(above).collect();
        self.switch(fork, path, verifier, archive).map(Offered::Adopted)
    }

    /// Checks everything that needs no state; gives the work below the block.
    fn check(
        &self,
        block: &Block<P>,
        fork: usize,
        above: &[Entry],
        now: WallMillis,
    ) -> Result<Work, ChainError> {
        let branch = self.index.branch(fork, above);
        check_header(P::LEDGER, &block.header, &branch, now, self.rules)
            .map_err(|why| invalid(block, why))?;
        P::check_shape(block, self.rules).map_err(|why| invalid(block, why))?;
        Ok(branch.work())
    }

    /// Goes over to another branch: all of it, or back to what was.
    fn switch(
        &mut self,
        fork: usize,
        path: Vec<(Arc<Block<P>>, Entry)>,
        verifier: &impl Verifier,
        archive: &impl Archive<P>,
    ) -> Result<Update<P>, ChainError> {
        let mut left: Vec<(Step<P>, Entry)> = Vec::new();
        let mut joined: Vec<Step<P>> = Vec::with_capacity(path.len());
        if let Err(error) = self.try_switch(fork, &path, verifier, archive, &mut left, &mut joined) {
            if !matches!(error, ChainError::Corrupt { .. }) {
                self.roll_back(&left, &joined)?;
            }
            if let (ChainError::Invalid { .. }, Some((bad, _))) = (&error, path.get(joined.len())) {
                // Another copy of it may come; what stands on this one came with it.
                self.side.remove_with_descendants(&bad.header.hash);
            }
            return Err(error);
        }
        let fork_height = self.index.height(fork);
        self.index.truncate(fork);
        for _ in &left {
            if let Some((_, bytes)) = self.recent.pop_back() {
                self.recent_bytes -= bytes;
            }
        }
        for (block, entry) in &path {
            self.side.take(&block.header.hash);
            self.index.push(*entry);
        }
        self.remember(&joined);
        for (step, entry) in left.iter().rev() {
            self.side.insert(Arc::clone(&step.block), *entry);
        }
        if !left.is_empty() {
            let index = &self.index;
            self.side.prune(|hash| index.place_of(hash).is_some());
        }
        let disconnected = left.into_iter().map(|(step, _)| step).collect();
        Ok(Update { fork: fork_height, disconnected, connected: joined })
    }

    /// Changes the state only; what was done so far stands in `left` and `joined`.
    fn try_switch(
        &mut self,
        fork: usize,
        path: &[(Arc<Block<P>>, Entry)],
        verifier: &impl Verifier,
        archive: &impl Archive<P>,
        left: &mut Vec<(Step<P>, Entry)>,
        joined: &mut Vec<Step<P>>,
    ) -> Result<(), ChainError> {
        let leaving = self.index.entries().get(fork + 1..).unwrap_or_default();
        for (nth, entry) in leaving.iter().rev().enumerate() {
            let kept = self.recent.iter().rev().nth(nth).map(|(step, _)| step.clone());
            let height = self.index.height(self.index.top() - nth);
            let step = kept.or_else(|| archive.read(&entry.hash)).ok_or(ChainError::Archive { height })?;
            if step.block.header.hash != entry.hash {
                return Err(ChainError::Archive { height });
            }
            P::disconnect(&mut self.state, &step.undo)?;
            left.push((step, *entry));
        }
        for (block, _) in path {
            let undo = Arc::new(P::connect(&mut self.state, block, self.rules, verifier)?);
            joined.push(Step { block: Arc::clone(block), undo });
        }
        Ok(())
    }

    fn roll_back(&mut self, left: &[(Step<P>, Entry)], joined: &[Step<P>]) -> Result<(), ChainError> {
        for step in joined.iter().rev() {
            P::disconnect(&mut self.state, &step.undo)?;
        }
        for (step, _) in left.iter().rev() {
            P::reconnect(&mut self.state, &step.undo)?;
        }
        P::audit(&self.state, self.height())
    }

    /// Keeps the last blocks, up to the bound and at least one.
    fn remember(&mut self, joined: &[Step<P>]) {
        let mut fresh_bytes = 0;
        let mut fresh: Vec<(Step<P>, usize)> = Vec::new();
        for step in joined.iter().rev() {
            let bytes = step.block.json_len();
            if !fresh.is_empty() && fresh_bytes + bytes > self.recent_bytes_max {
                self.recent.clear();
                self.recent_bytes = 0;
                break;
            }
            fresh_bytes += bytes;
            fresh.push((step.clone(), bytes));
        }
        self.recent.extend(fresh.into_iter().rev());
        self.recent_bytes += fresh_bytes;
        while self.recent_bytes > self.recent_bytes_max && self.recent.len() > 1 {
            if let Some((_, bytes)) = self.recent.pop_front() {
                self.recent_bytes -= bytes;
            }
        }
    }

    /// The height of the tip.
    #[must_use]
    pub fn height(&self) -> Height {
        self.index.height(self.index.top())
    }

    /// The tip.
    #[must_use]
    pub fn tip(&self) -> &Entry {
        self.index.tip()
    }

    /// The tip's whole block, when the machine still has it: always, but after [`restore`](Self::restore).
    #[must_use]
    pub fn tip_block(&self) -> Option<Arc<Block<P>>> {
        if self.index.top() == 0 {
            return Some(Arc::new(self.genesis.clone()));
        }
        self.recent.back().map(|(step, _)| Arc::clone(&step.block))
    }

    /// The work of the best chain.
    #[must_use]
    pub fn work(&self) -> Work {
        self.index.tip().work
    }

    /// What is known of the block of the best chain at a height.
    #[must_use]
    pub fn at(&self, height: Height) -> Option<&Entry> {
        self.index.at(height)
    }

    /// The best chain, the first block first.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        self.index.entries()
    }

    /// The height of a block of the best chain.
    #[must_use]
    pub fn height_of(&self, hash: &BlockHash) -> Option<Height> {
        self.index.place_of(hash).map(|place| self.index.height(place))
    }

    /// Is the block on the best chain or kept beside it?
    #[must_use]
    pub fn contains(&self, hash: &BlockHash) -> bool {
        self.index.place_of(hash).is_some() || self.side.contains(hash)
    }

    /// How many blocks are kept beside the best chain, and the bytes of their text.
    #[must_use]
    pub fn side_len(&self) -> (usize, usize) {
        (self.side.len(), self.side.bytes())
    }

    /// The bytes of text of the last blocks that are kept.
    #[must_use]
    pub const fn recent_bytes(&self) -> usize {
        self.recent_bytes
    }

    /// The state at the tip.
    #[must_use]
    pub const fn state(&self) -> &P::State {
        &self.state
    }

    /// The rules in force.
    #[must_use]
    pub const fn rules(&self) -> Rules {
        self.rules
    }

    /// What the next block has to say: its stamp (the clock, but no earlier than the median) and the difficulty that
    /// follows from it.
    #[must_use]
    pub fn next_stamp(&self, now: WallMillis) -> (WallMillis, Difficulty) {
        let branch = self.index.branch(self.index.top(), &[]);
        let stamp = stamp_after(&branch, now);
        (stamp, next_difficulty(P::LEDGER, &branch, stamp))
    }
}

fn invalid<P: Payload>(block: &Block<P>, why: BlockError) -> ChainError {
    ChainError::Invalid { height: block.header.height, why }
}
