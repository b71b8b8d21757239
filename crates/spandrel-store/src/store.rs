//! The store: journal and coin store together, and the machine that comes back from them.

use std::cell::RefCell;
use std::sync::Arc;

use spandrel_chain::{Archive, Chain, Step, Update};
use spandrel_chain_protocol::{Block, BlockHash, Header, Height, MerkleRoot, Nonce, VERSION, Version};
use spandrel_consensus::Rules;

use crate::journal::{self, Commit, Content, HEAD_BYTES, Journal, Next, Record};
use crate::stored::Net;
use crate::texts::Texts;
use crate::{Batch, CoinStore, Disk, Head, Limits, Point, RedbCoins, StoreError, Stored};

/// The names of the files, when syncing them fails.
const FOLDER: &str = "the folder of the chain";

/// What the machine is made with, and what to do about damage.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Start {
    /// Key of the hash tables; random, see [`Chain::new`].
    pub key: [u64; 2],
    /// The rules in force.
    pub rules: Rules,
    /// Bounds of the machine.
    pub chain_limits: spandrel_chain::Limits,
    /// Bounds of the store.
    pub limits: Limits,
    /// What to do when blocks that were durable cannot be read.
    pub damage: Damage,
}

impl Start {
    /// Everything else by default.
    #[must_use]
    pub fn new(key: [u64; 2]) -> Self {
        Self {
            key,
            rules: Rules::default(),
            chain_limits: spandrel_chain::Limits::default(),
            limits: Limits::default(),
            damage: Damage::default(),
        }
    }
}

/// What to do when blocks that were durable cannot be read. (A torn end, left by a crash, is always cut: it was never
/// reported.)
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Damage {
    /// Say so and change nothing.
    #[default]
    Refuse,
    /// Keep the blocks below it. The rest of the journal is copied to `blocks.journal.cut` first.
    Cut,
}

/// What opening found and did, for the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovery {
    /// Bytes of the journal that made no whole commit and were cut.
    pub cut_bytes: u64,
    /// Blocks that joined after the coin store's last point and were replayed.
    pub replayed_blocks: u64,
    /// The coin store was missing or of no use and was made anew from the journal.
    pub is_rebuilt: bool,
    /// Durable blocks were given up, as [`Damage::Cut`] says.
    pub is_salvaged: bool,
}

/// Keeps one ledger on disk.
///
/// What a [`Chain`] gives out as an [`Update`] goes to [`commit`](Self::commit) before anybody hears of it. When that
/// fails, nothing of it is done: keep the update, take no other block, and call again. From time to time, after telling
/// others, [`flush`](Self::flush) lets the coin store follow. The value belongs to one task; what it gives out for reading
/// ([`Texts`]) may go to others.
#[derive(Debug)]
pub struct ChainStore<P: Stored, C: CoinStore = RedbCoins> {
    disk: Arc<dyn Disk>,
    limits: Limits,
    key: [u64; 2],
    journal: Journal,
    genesis: Block<P>,
    /// The best chain without the first block.
    heads: Vec<Head>,
    coins: Option<C>,
    /// The file of the coin store must be removed before it is used again.
    is_spoiled: bool,
    pending: Pending<P>,
    recovery: Recovery,
}

/// What the coin store does not have yet.
#[derive(Debug)]
struct Pending<P: Stored> {
    /// Where it is.
    base: Option<Point>,
    steps: Vec<(Arc<P::Undo>, bool)>,
    /// How many heads it has that still hold.
    heads_kept: usize,
    /// There were too many steps, so they are not kept: the next flush writes everything.
    is_over: bool,
}

impl<P: Stored> Pending<P> {
    const fn at(base: Option<Point>, heads_kept: usize) -> Self {
        Self { base, steps: Vec::new(), heads_kept, is_over: false }
    }

    fn push(&mut self, undo: Arc<P::Undo>, is_connected: bool, max: usize) {
        if self.steps.len() >= max {
            self.over();
        }
        if !self.is_over {
            self.steps.push((undo, is_connected));
        }
    }

    fn over(&mut self) {
        self.is_over = true;
        self.steps = Vec::new();
    }
}

/// A block that joined or left after the coin store's point.
struct Replay {
    head: Head,
    is_connected: bool,
}

impl<P: Stored, C: CoinStore> ChainStore<P, C> {
    /// Opens what is on the disk, or begins with the first block alone, and makes the machine that stood there.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; [`StoreError::Damaged`] when durable blocks are missing. A coin store that is damaged or missing is
    /// no error: it is made anew from the journal.
    pub fn open(disk: Arc<dyn Disk>, start: &Start) -> Result<(Self, Chain<P>), StoreError> {
        match Self::try_open(&disk, start) {
            Err(StoreError::Damaged { file, .. } | StoreError::Sync { file, .. })
                if file != journal::FILE && file != FOLDER => {}
            Err(StoreError::Chain(_)) => {}
            done => return done,
        }
        // The journal decides; the coin store is only a copy.
        C::remove(&disk)?;
        let (mut store, chain) = Self::try_open(&disk, start)?;
        store.recovery.is_rebuilt = true;
        Ok((store, chain))
    }

    fn try_open(disk: &Arc<dyn Disk>, start: &Start) -> Result<(Self, Chain<P>), StoreError> {
        let journal = Journal::open(disk, P::LEDGER, &start.limits)?;
        let coins = C::open(disk, &start.limits)?;
        let base = coins.point();
        let mut store = Self {
            disk: Arc::clone(disk),
            limits: start.limits.clone(),
            key: start.key,
            journal,
            genesis: P::genesis(),
            heads: Vec::new(),
            coins: None,
            is_spoiled: false,
            pending: Pending::at(base, 0),
            recovery: Recovery::default(),
        };
        // Also those that an earlier process made and could not sync.
        disk.sync_names().map_err(StoreError::sync(FOLDER))?;
        if let Some(point) = base {
            store.stand_at(&point, &coins, start.damage)?;
        }
        let mut last = None;
        let replay = store.scan(start.damage, &mut last)?;
        let chain = store.replay(start, &coins, &replay)?;
        if let Some(last) = last {
            store.journal.write_again(last)?;
        }
        store.journal.cut()?;
        store.coins = Some(coins);
        Ok((store, chain))
    }

    /// Takes the heads of the coin store, when they are those of this journal.
    fn stand_at(&mut self, point: &Point, coins: &C, damage: Damage) -> Result<(), StoreError> {
        let unfit = |what| StoreError::Damaged { file: "the coin store", at: point.end, what };
        let len = self.journal.len()?;
        if len < point.end {
            let what = "durable blocks are missing at the end";
            return Err(match damage {
                Damage::Refuse => StoreError::Damaged { file: journal::FILE, at: len, what },
                Damage::Cut => unfit(what),
            });
        }
        self.heads = coins.heads()?.collect::<Result<_, _>>()?;
        if self.heads.len() as u64 != point.blocks || self.heads.last().is_some_and(|h| h.hash != point.tip) {
            return Err(unfit("its heads are not those of its point"));
        }
        if let Some(last) = self.heads.last() {
            let mut bytes = [0; HEAD_BYTES];
            let read = self.journal.file().read_at(last.at, &mut bytes);
            let record = read.ok().and_then(|()| Record::read(&bytes, last.at));
            if record.is_none_or(|record| record.head != *last) {
                return Err(unfit("it belongs to another journal"));
            }
        }
        self.pending.heads_kept = self.heads.len();
        self.journal.go_to(point.end, point.commits);
        Ok(())
    }

    /// Reads the commits after the coin store's point; `last` is where the last of them starts.
    fn scan(&mut self, damage: Damage, last: &mut Option<u64>) -> Result<Vec<Replay>, StoreError> {
        let (len, mut replay) = (self.journal.len()?, Vec::new());
        loop {
            let what = match self.journal.next(len)? {
                Next::End => return Ok(replay),
                Next::Commit(commit) => match self.take(&commit, &mut replay) {
                    Ok(()) => {
                        *last = Some(commit.start);
                        continue;
                    }
                    Err(what) => what,
                },
                Next::Torn(what) => {
                    if !self.journal.has_later_commit(len)? {
                        self.recovery.cut_bytes = len - self.journal.end;
                        return Ok(replay);
                    }
                    what
                }
            };
            let at = self.journal.end;
            if damage == Damage::Refuse {
                return Err(StoreError::Damaged { file: journal::FILE, at, what });
            }
            self.keep_rest(len)?;
            (self.recovery.cut_bytes, self.recovery.is_salvaged) = (len - at, true);
            return Ok(replay);
        }
    }

    fn take(&mut self, commit: &Commit, replay: &mut Vec<Replay>) -> Result<(), &'static str> {
        let kept = self.kept(commit.fork).ok_or("a commit stands on no block of the chain")?;
        let dropped = self.heads.get(kept..).unwrap_or_default();
        let mut previous = kept
            .checked_sub(1)
            .and_then(|top| self.heads.get(top))
            .map_or(self.genesis.header.hash, |h| h.hash);
        for (height, record) in (commit.fork + 1..).zip(&commit.records) {
            if (record.height, record.previous) != (height, previous) {
                return Err("a block does not stand on the one before");
            }
            previous = record.head.hash;
        }
        replay.extend(dropped.iter().rev().map(|head| Replay { head: *head, is_connected: false }));
        replay.extend(commit.records.iter().map(|record| Replay { head: record.head, is_connected: true }));
        self.heads.truncate(kept);
        self.heads.extend(commit.records.iter().map(|record| record.head));
        self.pending.heads_kept = self.pending.heads_kept.min(kept);
        self.journal.follow(commit);
        Ok(())
    }

    /// Copies what is about to be given up.
    fn keep_rest(&self, len: u64) -> Result<(), StoreError> {
        const FILE: &str = "blocks.journal.cut";
        const PART_BYTES: u64 = 1 << 20;
        let to = self.disk.open(FILE).map_err(StoreError::disk(FILE))?;
        to.set_len(0).map_err(StoreError::disk(FILE))?;
        let (mut at, start) = (self.journal.end, self.journal.end);
        while at < len {
            let mut part = vec![0; usize::try_from(PART_BYTES.min(len - at)).unwrap_or_default()];
            self.journal.file().read_at(at, &mut part).map_err(StoreError::disk(journal::FILE))?;
            to.write_at(at - start, &part).map_err(StoreError::disk(FILE))?;
            at += part.len() as u64;
        }
        to.sync().map_err(StoreError::sync(FILE))?;
        self.disk.sync_names().map_err(StoreError::sync(FILE))
    }

    /// Makes the machine: the state of the coin store, then what happened since.
    fn replay(&mut self, start: &Start, coins: &C, replay: &[Replay]) -> Result<Chain<P>, StoreError> {
        let failed = RefCell::new(None);
        let mut state = {
            let (coins, receipts) = (coins.coins()?, coins.receipts()?);
            let coins = coins.map_while(|coin| keep_error(coin, &failed));
            let receipts = receipts.map_while(|receipt| keep_error(receipt, &failed));
            P::state(start.key, coins, receipts)
        };
        if let Some(error) = failed.into_inner() {
            return Err(error);
        }
        for Replay { head, is_connected } in replay {
            let undo = self.undo(head)?;
            if *is_connected {
                P::reconnect(&mut state, &undo)?;
                self.recovery.replayed_blocks += 1;
            } else {
                P::disconnect(&mut state, &undo)?;
            }
            self.pending.push(Arc::new(undo), *is_connected, self.limits.flush_blocks.saturating_mul(2));
        }
        self.bound_pending();
        P::audit(&state, self.height())?;
        let mut chain = Chain::new(state, start.key, start.rules, &start.chain_limits);
        let mut header = self.genesis.header.clone();
        for head in &self.heads {
            header = header_on(&header, head);
            chain.restore(&header, None)?;
        }
        Ok(chain)
    }

    /// The undo of a block whose record was read already.
    fn undo(&self, head: &Head) -> Result<P::Undo, StoreError> {
        let mut bytes = vec![0; head.undo_len as usize];
        let at = head.at + HEAD_BYTES as u64 + u64::from(head.text_len);
        self.journal.file().read_at(at, &mut bytes).map_err(StoreError::disk(journal::FILE))?;
        P::read_undo(&bytes).ok_or(StoreError::Damaged {
            file: journal::FILE,
            at,
            what: "an undo cannot be read",
        })
    }

    /// Makes an update durable, with one sync however many blocks it holds.
    ///
    /// # Errors
    ///
    /// [`StoreError::Disk`] and [`StoreError::Sync`]: nothing of it counts (after a crash all of it may be there, or none);
    /// call again with the same update. [`StoreError::OutOfStep`] when it does not stand on what was committed before.
    /// [`StoreError::TooLong`] for a block that no rules allow.
    pub fn commit(&mut self, update: &Update<P>) -> Result<(), StoreError> {
        let kept = self.fits(update)?;
        let heads = self.journal.append(update)?;
        self.heads.truncate(kept);
        self.heads.extend(heads);
        let pending = &mut self.pending;
        pending.heads_kept = pending.heads_kept.min(kept);
        let max = self.limits.flush_blocks.saturating_mul(2);
        let left = update.disconnected.iter().map(|step| (step, false));
        for (step, is_connected) in left.chain(update.connected.iter().map(|step| (step, true))) {
            pending.push(Arc::clone(&step.undo), is_connected, max);
        }
        self.bound_pending();
        Ok(())
    }

    fn fits(&self, update: &Update<P>) -> Result<usize, StoreError> {
        let out = |what| StoreError::OutOfStep { fork: update.fork.get(), tip: self.height().get(), what };
        let kept = self.kept(update.fork.get()).ok_or_else(|| out("that block is not stored"))?;
        let leaving = self.heads.get(kept..).unwrap_or_default();
        let lost = update.disconnected.iter().map(|step| step.block.header.hash);
        if !leaving.iter().rev().map(|head| head.hash).eq(lost) {
            return Err(out("other blocks stand above it"));
        }
        let mut previous = self.hash_at(kept);
        for step in &update.connected {
            if step.block.header.previous_hash != previous {
                return Err(out("its blocks do not follow"));
            }
            previous = step.block.header.hash;
        }
        if update.connected.is_empty() { Err(out("no block joins")) } else { Ok(kept) }
    }

    /// Should the coin store follow now?
    #[must_use]
    pub fn is_flush_due(&self) -> bool {
        self.pending.is_over
            || self.pending.steps.len() >= self.limits.flush_blocks
            || self.unflushed_bytes() >= self.limits.flush_bytes
    }

    /// Bytes of journal that a restart would replay.
    #[must_use]
    pub fn unflushed_bytes(&self) -> u64 {
        self.journal.end.saturating_sub(self.pending.base.map_or(journal::START, |base| base.end))
    }

    fn bound_pending(&mut self) {
        if self.unflushed_bytes() >= self.limits.flush_bytes.saturating_mul(2) {
            self.pending.over();
        }
    }

    /// Lets the coin store follow to the tip of `chain`, which every update was committed of. Until it works again, a
    /// failing coin store costs nothing but time at the next start.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; the coin store is where it was, and the next call tries again.
    pub fn flush(&mut self, chain: &Chain<P>) -> Result<(), StoreError> {
        if chain.tip().hash != self.tip_hash() {
            let (fork, tip) = (chain.height().get(), self.height().get());
            return Err(StoreError::OutOfStep { fork, tip, what: "the machine stands elsewhere" });
        }
        let point = Point {
            end: self.journal.end,
            commits: self.journal.commits,
            blocks: self.heads.len() as u64,
            tip: self.heads.last().map_or(BlockHash::ZERO, |head| head.hash),
        };
        let mut coins = self.take_coins()?;
        if coins.point() != Some(point) {
            let pending = &self.pending;
            let is_whole =
                pending.is_over || coins.point() != pending.base || !coins.can_keep(pending.heads_kept);
            let (mut net, mut stack, mut loose_receipts) = (Net::new(self.key), Vec::new(), Vec::new());
            if is_whole {
                loose_receipts = P::gather_state(chain.state(), &mut net);
            } else {
                for (undo, is_connected) in &pending.steps {
                    P::gather(undo, *is_connected, &mut net);
                    if *is_connected {
                        stack.push(P::receipts(undo));
                    } else {
                        // Below those that joined since the last point are only blocks that were there before.
                        stack.pop();
                    }
                }
            }
            let batch = Batch {
                point,
                is_whole,
                heads_kept: if is_whole { 0 } else { pending.heads_kept },
                heads: &self.heads,
                coins: net.coins(),
                receipts: stack,
                loose_receipts,
            };
            if let Err(error) = coins.write(&batch) {
                self.is_spoiled = !matches!(error, StoreError::Disk { .. });
                drop(coins);
                if self.is_spoiled && C::remove(&self.disk).is_ok() {
                    self.is_spoiled = false;
                }
                return Err(error);
            }
        }
        self.coins = Some(coins);
        self.pending = Pending::at(Some(point), self.heads.len());
        Ok(())
    }

    fn take_coins(&mut self) -> Result<C, StoreError> {
        if let Some(coins) = self.coins.take() {
            return Ok(coins);
        }
        if self.is_spoiled {
            C::remove(&self.disk)?;
            self.is_spoiled = false;
        }
        let coins = C::open(&self.disk, &self.limits).inspect_err(|error| {
            self.is_spoiled = matches!(error, StoreError::Damaged { .. } | StoreError::Sync { .. });
        })?;
        self.disk.sync_names().map_err(StoreError::sync(FOLDER))?;
        Ok(coins)
    }

    /// Flushes, packs the coin store and closes. Without it nothing is lost; the next start replays more.
    ///
    /// # Errors
    ///
    /// As [`flush`](Self::flush).
    pub fn close(mut self, chain: &Chain<P>) -> Result<(), StoreError> {
        self.flush(chain)?;
        self.coins.as_mut().map_or(Ok(()), C::tidy)
    }

    /// The height of the stored tip.
    #[must_use]
    pub fn height(&self) -> Height {
        self.height_of_place(self.heads.len())
    }

    /// The hash of the stored tip.
    #[must_use]
    pub fn tip_hash(&self) -> BlockHash {
        self.hash_at(self.heads.len())
    }

    /// What opening found and did.
    #[must_use]
    pub const fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// Bytes of the journal.
    #[must_use]
    pub const fn journal_bytes(&self) -> u64 {
        self.journal.end
    }

    /// The height of a block of the stored chain. Looks from the tip down, a few nanoseconds a block:
    /// [`Chain::height_of`] looks it up.
    #[must_use]
    pub fn height_of(&self, hash: &BlockHash) -> Option<Height> {
        if self.genesis.header.hash == *hash {
            return Some(self.genesis.header.height);
        }
        self.heads.iter().rposition(|head| head.hash == *hash).map(|at| self.height_of_place(at + 1))
    }

    /// The text of the block at a height, as JSON without white space; `None` above the tip.
    ///
    /// # Errors
    ///
    /// [`StoreError::Damaged`] and [`StoreError::Disk`].
    pub fn text(&self, height: Height) -> Result<Option<Vec<u8>>, StoreError> {
        match self.kept(height.get()) {
            None => Ok(None),
            Some(0) => Ok(Some(self.genesis.to_json())),
            Some(_) => Ok(self.content(height)?.map(Content::into_text)),
        }
    }

    /// The block at a height; `None` above the tip.
    ///
    /// # Errors
    ///
    /// [`StoreError::Damaged`] and [`StoreError::Disk`].
    pub fn block(&self, height: Height) -> Result<Option<Block<P>>, StoreError> {
        match self.kept(height.get()) {
            None => Ok(None),
            Some(0) => Ok(Some(self.genesis.clone())),
            Some(_) => self.content(height)?.map(|content| parse(content.text())).transpose(),
        }
    }

    /// The block at a height and what undoes it; `None` above the tip, and for the first one.
    ///
    /// # Errors
    ///
    /// [`StoreError::Damaged`] and [`StoreError::Disk`].
    pub fn step(&self, height: Height) -> Result<Option<Step<P>>, StoreError> {
        let Some(content) = self.content(height)? else { return Ok(None) };
        let undo = P::read_undo(content.undo());
        let undo = undo.ok_or_else(|| unreadable("an undo cannot be read"))?;
        Ok(Some(Step { block: Arc::new(parse(content.text())?), undo: Arc::new(undo) }))
    }

    /// The texts of all blocks from a height on, lowest first, as the chain stands now: later reorganisations do not
    /// change what it gives. Holds about a megabyte, or one block.
    #[must_use]
    pub fn texts(&self, from: Height) -> Texts {
        let first = self.genesis.header.height.get();
        let genesis = (from.get() <= first).then(|| self.genesis.to_json());
        let place = usize::try_from(from.get().saturating_sub(first + 1)).unwrap_or(usize::MAX);
        let heads = self.heads.get(place..).unwrap_or_default().to_vec();
        Texts::new(Arc::clone(self.journal.file()), genesis, self.height_of_place(place + 1), heads)
    }

    fn content(&self, height: Height) -> Result<Option<Content>, StoreError> {
        let place = self.kept(height.get()).and_then(|kept| kept.checked_sub(1));
        let Some(head) = place.and_then(|place| self.heads.get(place)) else { return Ok(None) };
        Content::read(&**self.journal.file(), head, height).map(Some)
    }

    /// How many heads stand up to and with a height; `None` when the chain does not reach it.
    fn kept(&self, height: u64) -> Option<usize> {
        let kept = usize::try_from(height.checked_sub(self.genesis.header.height.get())?).ok()?;
        (kept <= self.heads.len()).then_some(kept)
    }

    fn height_of_place(&self, kept: usize) -> Height {
        self.genesis.header.height.checked_add(kept as u64).unwrap_or(Height::MAX)
    }

    fn hash_at(&self, kept: usize) -> BlockHash {
        let head = kept.checked_sub(1).and_then(|place| self.heads.get(place));
        head.map_or(self.genesis.header.hash, |head| head.hash)
    }
}

impl<P: Stored, C: CoinStore> Archive<P> for ChainStore<P, C> {
    fn read(&self, hash: &BlockHash) -> Option<Step<P>> {
        self.step(self.height_of(hash)?).ok().flatten()
    }
}

/// Remembers the first error and ends there.
fn keep_error<T>(item: Result<T, StoreError>, failed: &RefCell<Option<StoreError>>) -> Option<T> {
    item.map_err(|error| *failed.borrow_mut() = Some(error)).ok()
}

/// What the machine looks at of the header of a stored block; the rest is left out.
fn header_on(below: &Header, head: &Head) -> Header {
    Header {
        version: Version::new(VERSION).unwrap_or_else(|| below.version.clone()),
        height: below.height.next(),
        timestamp: head.stamp.timestamp,
        previous_hash: below.hash,
        merkle_root: MerkleRoot::from_bytes([0; 32]),
        nonce: Nonce::ZERO,
        difficulty: head.stamp.difficulty,
        hash: head.hash,
    }
}

fn parse<P: Stored>(text: &[u8]) -> Result<Block<P>, StoreError> {
    let limits = spandrel_chain_protocol::Limits::default();
    let text = std::str::from_utf8(text).map_err(|_| unreadable("a block is no text"))?;
    Block::from_json(text, &limits).map_err(|_| unreadable("a block cannot be read"))
}

const fn unreadable(what: &'static str) -> StoreError {
    StoreError::Damaged { file: journal::FILE, at: 0, what }
}
