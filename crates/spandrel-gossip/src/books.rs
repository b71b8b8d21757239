//! The ledgers as the machine needs them: a driver puts its store behind this, a test a chain in memory.

use std::sync::Arc;

use spandrel_chain::{Chain, ChainError, CoinLedger, Kind, NoArchive, Offered, PoolChange, PoolError};
use spandrel_chain_protocol::{Block, BlockHash, Coins, Height, Ledger, Notes, Transaction, WallMillis};
use spandrel_consensus::{Verifier, Work};
use spandrel_wire::Frame;

use crate::dialect::{Spoken, block_frame, chain_frame};

/// One ledger with its clock, its verifier and its store.
pub trait Book<P: Kind> {
    /// Takes one block; what it changes is stored when this returns.
    ///
    /// # Errors
    ///
    /// [`ChainError`]; nothing has changed then.
    fn offer(&mut self, block: Arc<Block<P>>) -> Result<Taken, ChainError>;

    /// Takes a whole chain; what it changes is stored, as one, when this returns.
    ///
    /// # Errors
    ///
    /// [`ChainError`]; nothing has changed then.
    fn offer_chain(&mut self, blocks: Vec<Arc<Block<P>>>) -> Result<Taken, ChainError>;

    /// The message that carries the whole chain, see [`write_notes`] and [`write_coins`], and the hash of its tip.
    /// Without a frame when it would be longer than `bytes_max`.
    fn write_chain(&self, bytes_max: usize) -> (BlockHash, Option<Frame>);
}

/// Both ledgers.
pub trait Books: Book<Notes> + Book<Coins> {
    /// Takes a row into the pool.
    ///
    /// # Errors
    ///
    /// [`PoolError`]; nothing has changed then.
    fn submit(&mut self, row: Arc<Transaction>) -> Result<(), PoolError>;
}

/// The tip of a chain, and the message that announces it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tip {
    pub(crate) ledger: Ledger,
    pub(crate) height: Height,
    pub(crate) hash: BlockHash,
    pub(crate) work: Work,
    pub(crate) frame: Frame,
}

impl Tip {
    /// The tip of a note chain, and the work of the chain up to it.
    #[must_use]
    pub fn of_notes(block: &Block<Notes>, work: Work) -> Self {
        Self::of(block, work)
    }

    /// The tip of a coin chain, and the work of the chain up to it.
    #[must_use]
    pub fn of_coins(block: &Block<Coins>, work: Work) -> Self {
        Self::of(block, work)
    }

    fn of<P: Spoken>(block: &Block<P>, work: Work) -> Self {
        let header = &block.header;
        Self { ledger: P::LEDGER, height: header.height, hash: header.hash, work, frame: block_frame(block) }
    }

    /// Its height.
    #[must_use]
    pub const fn height(&self) -> Height {
        self.height
    }

    /// Its hash.
    #[must_use]
    pub const fn hash(&self) -> BlockHash {
        self.hash
    }
}

/// What became of a block or a chain that broke no rule, in the words of [`Offered`].
#[derive(Debug, Clone, PartialEq)]
pub enum Taken {
    /// It is on the best chain, and stored.
    Adopted {
        /// The tip now.
        tip: Tip,
        /// How many blocks left the best chain.
        disconnected: usize,
        /// How many joined it.
        connected: usize,
        /// Rows that came or went.
        pool: Vec<PoolChange>,
    },
    /// It is kept beside the best chain.
    Side,
    /// It was known.
    Known,
    /// It has no more work than the best chain.
    NotBetter,
}

impl Taken {
    /// Sums up what the note chain said. `work` is that of the chain now.
    #[must_use]
    pub fn of_notes(offered: &Offered<Notes>, work: Work) -> Self {
        Self::of(offered, work, Vec::new())
    }

    /// Sums up what the coin chain said, and what became of the pool. `work` is that of the chain now.
    #[must_use]
    pub fn of_coins(offered: &Offered<Coins>, work: Work, pool: Vec<PoolChange>) -> Self {
        Self::of(offered, work, pool)
    }

    fn of<P: Kind + Spoken>(offered: &Offered<P>, work: Work, pool: Vec<PoolChange>) -> Self {
        match offered {
            Offered::Adopted(update) => match update.connected.last() {
                Some(last) => Self::Adopted {
                    tip: Tip::of(&*last.block, work),
                    disconnected: update.disconnected.len(),
                    connected: update.connected.len(),
                    pool,
                },
                None => Self::Known,
            },
            Offered::Side => Self::Side,
            Offered::Known => Self::Known,
            Offered::NotBetter => Self::NotBetter,
        }
    }
}

/// Writes the message of a whole note chain, genesis first; `None` as soon as it is over `bytes_max`.
pub fn write_notes(blocks: impl IntoIterator<Item = Arc<Block<Notes>>>, bytes_max: usize) -> Option<Frame> {
    chain_frame(blocks, bytes_max)
}

/// Writes the message of a whole coin chain, genesis first; `None` as soon as it is over `bytes_max`.
pub fn write_coins(blocks: impl IntoIterator<Item = Arc<Block<Coins>>>, bytes_max: usize) -> Option<Frame> {
    chain_frame(blocks, bytes_max)
}

/// Both ledgers in memory, for tests and examples. Its clock is set by hand.
#[derive(Debug)]
pub struct MemoryBooks<V> {
    notes: Chain<Notes>,
    coins: CoinLedger,
    note_blocks: Vec<Arc<Block<Notes>>>,
    coin_blocks: Vec<Arc<Block<Coins>>>,
    verifier: V,
    now: WallMillis,
}

impl<V: Verifier> MemoryBooks<V> {
    /// Books with chains that may have grown already; then they must hold all their blocks still.
    #[must_use]
    pub fn new(notes: Chain<Notes>, coins: CoinLedger, verifier: V) -> Self {
        let note_blocks = vec![Arc::new(<Notes as Kind>::genesis())];
        let coin_blocks = vec![Arc::new(<Coins as Kind>::genesis())];
        Self { notes, coins, note_blocks, coin_blocks, verifier, now: WallMillis::default() }
    }

    /// Sets the clock.
    pub const fn set_now(&mut self, now: WallMillis) {
        self.now = now;
    }

    /// The note chain.
    #[must_use]
    pub const fn notes(&self) -> &Chain<Notes> {
        &self.notes
    }

    /// The coin ledger.
    #[must_use]
    pub const fn coins(&self) -> &CoinLedger {
        &self.coins
    }

    /// The blocks of the note chain, genesis first.
    #[must_use]
    pub fn note_blocks(&self) -> &[Arc<Block<Notes>>] {
        &self.note_blocks
    }

    /// The blocks of the coin chain, genesis first.
    #[must_use]
    pub fn coin_blocks(&self) -> &[Arc<Block<Coins>>] {
        &self.coin_blocks
    }

    /// The tips, to begin with.
    #[must_use]
    pub fn tips(&self) -> [Tip; 2] {
        let note = self.note_blocks.last().expect("the first block is always there");
        let coin = self.coin_blocks.last().expect("the first block is always there");
        [Tip::of_notes(note, self.notes.work()), Tip::of_coins(coin, self.coins.chain().work())]
    }
}

/// Makes a list of blocks follow a chain.
fn follow<P: Kind>(blocks: &mut Vec<Arc<Block<P>>>, offered: &Offered<P>) {
    if let Offered::Adopted(update) = offered {
        blocks.truncate(blocks.len() - update.disconnected.len());
        blocks.extend(update.connected.iter().map(|step| Arc::clone(&step.block)));
    }
}

impl<V: Verifier> Book<Notes> for MemoryBooks<V> {
    fn offer(&mut self, block: Arc<Block<Notes>>) -> Result<Taken, ChainError> {
        let offered = self.notes.offer(block, self.now, &self.verifier, &NoArchive)?;
        follow(&mut self.note_blocks, &offered);
        Ok(Taken::of_notes(&offered, self.notes.work()))
    }

    fn offer_chain(&mut self, blocks: Vec<Arc<Block<Notes>>>) -> Result<Taken, ChainError> {
        let offered = self.notes.offer_chain(blocks, self.now, &self.verifier, &NoArchive)?;
        follow(&mut self.note_blocks, &offered);
        Ok(Taken::of_notes(&offered, self.notes.work()))
    }

    fn write_chain(&self, bytes_max: usize) -> (BlockHash, Option<Frame>) {
        (self.notes.tip().hash, write_notes(self.note_blocks.iter().cloned(), bytes_max))
    }
}

impl<V: Verifier> Book<Coins> for MemoryBooks<V> {
    fn offer(&mut self, block: Arc<Block<Coins>>) -> Result<Taken, ChainError> {
        let (offered, pool) = self.coins.offer(block, self.now, &self.verifier, &NoArchive)?;
        follow(&mut self.coin_blocks, &offered);
        Ok(Taken::of_coins(&offered, self.coins.chain().work(), pool))
    }

    fn offer_chain(&mut self, blocks: Vec<Arc<Block<Coins>>>) -> Result<Taken, ChainError> {
        let (offered, pool) = self.coins.offer_chain(blocks, self.now, &self.verifier, &NoArchive)?;
        follow(&mut self.coin_blocks, &offered);
        Ok(Taken::of_coins(&offered, self.coins.chain().work(), pool))
    }

    fn write_chain(&self, bytes_max: usize) -> (BlockHash, Option<Frame>) {
        (self.coins.chain().tip().hash, write_coins(self.coin_blocks.iter().cloned(), bytes_max))
    }
}

impl<V: Verifier> Books for MemoryBooks<V> {
    fn submit(&mut self, row: Arc<Transaction>) -> Result<(), PoolError> {
        self.coins.submit(row, &self.verifier)
    }
}
