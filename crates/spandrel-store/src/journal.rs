//! The journal: every block that ever joined the best chain, with what undoes it, in the order in which it did.
//!
//! It only grows. What belongs together (one block, a chain from one message, a reorganisation) is one commit: a record
//! for each block that joined, then one that says so, then one sync. A commit counts when that last record and all it
//! speaks of are there; what follows the last such commit was never reported and is cut.
//!
//! | record | bytes |
//! |---|---|
//! | start of the file | `SPNJRNL1`, 4 version, 1 ledger (0 notes, 1 coins), 3 zeros, 4 CRC-32 of these |
//! | block | `BLCK`, 4 CRC-32 of the rest of these 104 bytes, 4 bytes of text, 4 bytes of undo, 8 height, 8 timestamp, 4 CRC-32 of text and undo, 1 difficulty, 3 zeros, 32 hash, 32 hash of the parent; then text (JSON) and undo |
//! | commit | `CMIT`, 4 CRC-32 of the rest of these 44 bytes, 8 number of the commit from 1 on, 8 place of its first record, 8 height of the last block that stays, 4 number of blocks, 4 CRC-32 over the heads of its records, 4 zeros |

use std::io;
use std::sync::Arc;

use spandrel_chain::{Step, Update};
use spandrel_chain_protocol::{BlockHash, Difficulty, Header, Height, Ledger, Stamp, WallMillis};

use crate::codec::Bytes;
use crate::{Disk, DiskFile, Head, Limits, StoreError, Stored};

pub(crate) const FILE: &str = "blocks.journal";

const MAGIC: &[u8; 8] = b"SPNJRNL1";
const VERSION: u32 = 1;
const BLOCK: u32 = u32::from_le_bytes(*b"BLCK");
const COMMIT: u32 = u32::from_le_bytes(*b"CMIT");
const COMMIT_BYTES: usize = 44;
/// Bytes before the first record.
pub(crate) const START: u64 = START_BYTES as u64;
const START_BYTES: usize = 20;
/// Bytes of a block's record before its text.
pub(crate) const HEAD_BYTES: usize = Head::RECORD_BYTES;

/// The head of a block's record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) height: u64,
    pub(crate) previous: BlockHash,
    pub(crate) content_crc: u32,
    pub(crate) head: Head,
}

impl Record {
    fn write(&self) -> [u8; HEAD_BYTES] {
        let Head { hash, stamp, text_len, undo_len, .. } = &self.head;
        sealed(
            BLOCK,
            &[
                &text_len.to_le_bytes(),
                &undo_len.to_le_bytes(),
                &self.height.to_le_bytes(),
                &stamp.timestamp.get().to_le_bytes(),
                &self.content_crc.to_le_bytes(),
                &[stamp.difficulty.bits(), 0, 0, 0],
                hash.as_bytes(),
                self.previous.as_bytes(),
            ],
        )
    }

    pub(crate) fn read(bytes: &[u8; HEAD_BYTES], at: u64) -> Option<Self> {
        let mut bytes = opened(BLOCK, bytes)?;
        let (text_len, undo_len) = (bytes.u32()?, bytes.u32()?);
        let (height, timestamp, content_crc) = (bytes.u64()?, bytes.u64()?, bytes.u32()?);
        let [difficulty, ..] = bytes.array::<4>()?;
        let (hash, previous) = (bytes.array()?, bytes.array()?);
        let stamp = Stamp { timestamp: WallMillis::new(timestamp), difficulty: Difficulty::new(difficulty) };
        let head = Head { hash: BlockHash::from_bytes(hash), stamp, at, text_len, undo_len };
        Some(Self { height, previous: BlockHash::from_bytes(previous), content_crc, head })
    }
}

/// One commit, without what its blocks hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Commit {
    pub(crate) number: u64,
    /// Place of its first record.
    pub(crate) start: u64,
    /// The height of the last block that stays.
    pub(crate) fork: u64,
    pub(crate) records: Vec<Record>,
    /// Where the next one starts.
    pub(crate) end: u64,
}

#[derive(Debug, Clone, Copy)]
struct Seal {
    number: u64,
    start: u64,
    fork: u64,
    blocks: u32,
    heads_crc: u32,
}

impl Seal {
    fn write(&self) -> [u8; COMMIT_BYTES] {
        sealed(
            COMMIT,
            &[
                &self.number.to_le_bytes(),
                &self.start.to_le_bytes(),
                &self.fork.to_le_bytes(),
                &self.blocks.to_le_bytes(),
                &self.heads_crc.to_le_bytes(),
                &[0; 4],
            ],
        )
    }

    fn read(bytes: &[u8; COMMIT_BYTES]) -> Option<Self> {
        let mut bytes = opened(COMMIT, bytes)?;
        let (number, start, fork) = (bytes.u64()?, bytes.u64()?, bytes.u64()?);
        Some(Self { number, start, fork, blocks: bytes.u32()?, heads_crc: bytes.u32()? })
    }
}

/// Kind, checksum, and the parts one after the other; they fill it.
fn sealed<const N: usize>(kind: u32, parts: &[&[u8]]) -> [u8; N] {
    let mut bytes = [0; N];
    let mut rest = bytes.get_mut(8..).unwrap_or_default();
    for part in parts {
        let Some((place, after)) = rest.split_at_mut_checked(part.len()) else { break };
        place.copy_from_slice(part);
        rest = after;
    }
    let crc = crc32fast::hash(bytes.get(8..).unwrap_or_default());
    let seal = u64::from(crc) << 32 | u64::from(kind);
    if let Some(place) = bytes.first_chunk_mut() {
        *place = seal.to_le_bytes();
    }
    bytes
}

fn opened(kind: u32, bytes: &[u8]) -> Option<Bytes<'_>> {
    let mut bytes = Bytes(bytes);
    (bytes.u32()? == kind && bytes.u32()? == crc32fast::hash(bytes.0)).then_some(bytes)
}

/// What stands at a place where a commit should start.
#[derive(Debug)]
pub(crate) enum Next {
    Commit(Commit),
    /// The file ends here.
    End,
    /// Something that is no whole commit.
    Torn(&'static str),
}

/// The file, open for appending at its durable end.
#[derive(Debug)]
pub(crate) struct Journal {
    disk: Arc<dyn Disk>,
    file: Arc<dyn DiskFile>,
    /// The end of the last commit: everything before it is durable.
    pub(crate) end: u64,
    pub(crate) commits: u64,
    /// There may be more than that in the file.
    needs_cut: bool,
    /// The handle failed and must not be trusted again.
    needs_handle: bool,
    write_bytes: usize,
    record_bytes_max: usize,
    /// Kept from one commit to the next: a block's megabyte need not be asked for again each time.
    buffer: Vec<u8>,
}

impl Journal {
    /// Opens the file, or makes it. What is in it is found with [`next`](Self::next); [`cut`](Self::cut) ends that.
    pub(crate) fn open(disk: &Arc<dyn Disk>, ledger: Ledger, limits: &Limits) -> Result<Self, StoreError> {
        let file = disk.open(FILE).map_err(StoreError::disk(FILE))?;
        let mut start = [0; START_BYTES];
        let len = file.len().map_err(StoreError::disk(FILE))?;
        if len >= START {
            file.read_at(0, &mut start).map_err(StoreError::disk(FILE))?;
        }
        if len > START || is_start(&start) {
            check_start(&start, ledger)?;
        }
        if len <= START {
            // Nothing was ever committed to it. Also when it looks well: an earlier process may have failed to sync it.
            file.set_len(0).map_err(StoreError::disk(FILE))?;
            file.write_at(0, &start_of(ledger)).map_err(StoreError::disk(FILE))?;
            file.sync().map_err(StoreError::sync(FILE))?;
        }
        Ok(Self {
            disk: Arc::clone(disk),
            file,
            end: START,
            commits: 0,
            needs_cut: true,
            needs_handle: false,
            write_bytes: limits.write_bytes,
            record_bytes_max: limits.record_bytes_max,
            buffer: Vec::new(),
        })
    }

    pub(crate) const fn file(&self) -> &Arc<dyn DiskFile> {
        &self.file
    }

    pub(crate) fn len(&self) -> Result<u64, StoreError> {
        self.file.len().map_err(StoreError::disk(FILE))
    }

    /// Looks at what starts at the end.
    pub(crate) fn next(&self, len: u64) -> Result<Next, StoreError> {
        if self.end == len {
            return Ok(Next::End);
        }
        let mut window = Window { file: &*self.file, len, at: self.end, bytes: Vec::new(), first: 0 };
        match self.commit(&mut window) {
            Ok(Ok(commit)) => Ok(Next::Commit(commit)),
            Ok(Err(what)) => Ok(Next::Torn(what)),
            Err(error) => Err(StoreError::Disk { file: FILE, source: error }),
        }
    }

    /// The commit at the window; the inner error says why there is none.
    fn commit(&self, window: &mut Window<'_>) -> io::Result<Result<Commit, &'static str>> {
        let (start, mut records, mut heads) = (window.at, Vec::new(), crc32fast::Hasher::new());
        loop {
            let Some(kind) = window.peek::<4>()? else { return Ok(Err("the file ends in a record")) };
            let kind = u32::from_le_bytes(kind);
            if kind == COMMIT {
                let Some(bytes) = window.take()? else { return Ok(Err("the file ends in a record")) };
                let Some(seal) = Seal::read(&bytes) else { return Ok(Err("a commit has another checksum")) };
                let Ok(blocks) = u32::try_from(records.len()) else { return Ok(Err("too many blocks")) };
                if seal.number != self.commits + 1
                    || (seal.start, seal.blocks, seal.heads_crc) != (start, blocks, heads.finalize())
                    || blocks == 0
                {
                    return Ok(Err("a commit speaks of other records"));
                }
                return Ok(Ok(Commit {
                    number: seal.number,
                    start,
                    fork: seal.fork,
                    records,
                    end: window.at,
                }));
            }
            let at = window.at;
            let Some(bytes) = window.take()? else { return Ok(Err("the file ends in a record")) };
            let Some(record) = Record::read(&bytes, at) else {
                return Ok(Err("a record has another checksum"));
            };
            heads.update(&bytes);
            let content = u64::from(record.head.text_len) + u64::from(record.head.undo_len);
            if content > self.record_bytes_max as u64 {
                return Ok(Err("a record is over the limit"));
            }
            let Some(crc) = window.skip(content)? else { return Ok(Err("the file ends in a record")) };
            if crc != record.content_crc {
                return Ok(Err("a block has another checksum"));
            }
            records.push(record);
        }
    }

    /// Is there a later commit behind what is torn at the end? Then that was durable once, since every commit is synced
    /// before the next one is written.
    pub(crate) fn has_later_commit(&self, len: u64) -> Result<bool, StoreError> {
        let mut window = Window { file: &*self.file, len, at: self.end, bytes: Vec::new(), first: 0 };
        let pattern = COMMIT.to_le_bytes();
        loop {
            let found = window.find(&pattern).map_err(StoreError::disk(FILE))?;
            if !found {
                return Ok(false);
            }
            let seal = window.peek::<COMMIT_BYTES>().map_err(StoreError::disk(FILE))?;
            if seal.and_then(|bytes| Seal::read(&bytes)).is_some_and(|seal| seal.number > self.commits + 1) {
                return Ok(true);
            }
            window.at += 1;
        }
    }

    /// Takes a commit that was found as durable.
    pub(crate) fn follow(&mut self, commit: &Commit) {
        (self.end, self.commits) = (commit.end, commit.number);
    }

    /// Writes a commit that was found at the end once more, as it is. An earlier process may have failed to sync it and
    /// died; then the system may show bytes that it will never write by itself.
    pub(crate) fn write_again(&self, start: u64) -> Result<(), StoreError> {
        let mut at = start;
        while at < self.end {
            let mut part = vec![0; usize::try_from(WINDOW_BYTES.min(self.end - at)).unwrap_or_default()];
            self.file.read_at(at, &mut part).map_err(StoreError::disk(FILE))?;
            self.file.write_at(at, &part).map_err(StoreError::disk(FILE))?;
            at += part.len() as u64;
        }
        Ok(())
    }

    /// Goes to a place that is known to be the end of a commit.
    pub(crate) fn go_to(&mut self, end: u64, commits: u64) {
        (self.end, self.commits) = (end, commits);
    }

    /// Cuts what follows the last commit. Called before the first commit, and again when one failed.
    pub(crate) fn cut(&mut self) -> Result<(), StoreError> {
        if self.needs_handle {
            self.file = self.disk.open(FILE).map_err(StoreError::disk(FILE))?;
            self.needs_handle = false;
            self.needs_cut = true;
        }
        if !self.needs_cut {
            return Ok(());
        }
        if self.len()? != self.end {
            self.file.set_len(self.end).map_err(StoreError::disk(FILE))?;
        }
        self.sync()?;
        self.needs_cut = false;
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        self.file.sync().map_err(|error| {
            self.needs_handle = true;
            StoreError::sync(FILE)(error)
        })
    }

    /// Appends what joined, as one: written, then synced once. Gives the new heads; after an error nothing counts.
    pub(crate) fn append<P: Stored>(&mut self, update: &Update<P>) -> Result<Vec<Head>, StoreError> {
        self.cut()?;
        self.needs_cut = true;
        let mut out = Out { at: self.end, bytes: std::mem::take(&mut self.buffer) };
        out.bytes.clear();
        let mut heads = Vec::with_capacity(update.connected.len());
        let mut heads_crc = crc32fast::Hasher::new();
        for step in &update.connected {
            heads.push(self.put::<P>(step, &mut out, &mut heads_crc)?);
            if out.bytes.len() >= self.write_bytes {
                out.write(&*self.file)?;
            }
        }
        let seal = Seal {
            number: self.commits + 1,
            start: self.end,
            fork: update.fork.get(),
            blocks: u32::try_from(heads.len()).unwrap_or(u32::MAX),
            heads_crc: heads_crc.finalize(),
        };
        out.bytes.extend_from_slice(&seal.write());
        out.write(&*self.file)?;
        self.sync()?;
        (self.end, self.commits) = (out.at, seal.number);
        self.needs_cut = false;
        out.bytes.shrink_to(self.write_bytes);
        self.buffer = out.bytes;
        Ok(heads)
    }

    fn put<P: Stored>(
        &self,
        step: &Step<P>,
        out: &mut Out,
        heads_crc: &mut crc32fast::Hasher,
    ) -> Result<Head, StoreError> {
        let Header { height, timestamp, previous_hash, difficulty, hash, .. } = &step.block.header;
        let from = out.bytes.len();
        out.bytes.resize(from + HEAD_BYTES, 0);
        step.block.write_json(&mut out.bytes);
        let text_end = out.bytes.len();
        P::put_undo(&step.undo, &mut out.bytes);
        let content = out.bytes.get(from + HEAD_BYTES..).unwrap_or_default();
        if content.len() > self.record_bytes_max {
            let (height, bytes, max) = (height.get(), content.len(), self.record_bytes_max);
            return Err(StoreError::TooLong { height, bytes, max });
        }
        let len = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
        let head = Head {
            hash: *hash,
            stamp: Stamp { timestamp: *timestamp, difficulty: *difficulty },
            at: out.at + from as u64,
            text_len: len(text_end - from - HEAD_BYTES),
            undo_len: len(out.bytes.len() - text_end),
        };
        let content_crc = crc32fast::hash(content);
        let record = Record { height: height.get(), previous: *previous_hash, content_crc, head }.write();
        heads_crc.update(&record);
        if let Some(place) = out.bytes.get_mut(from..from + HEAD_BYTES) {
            place.copy_from_slice(&record);
        }
        Ok(head)
    }
}

/// Bytes that wait to be written.
struct Out {
    at: u64,
    bytes: Vec<u8>,
}

impl Out {
    fn write(&mut self, file: &dyn DiskFile) -> Result<(), StoreError> {
        file.write_at(self.at, &self.bytes).map_err(StoreError::disk(FILE))?;
        self.at += self.bytes.len() as u64;
        self.bytes.clear();
        Ok(())
    }
}

/// Text and undo of a block, checked.
#[derive(Debug)]
pub(crate) struct Content {
    bytes: Vec<u8>,
    text_end: usize,
}

impl Content {
    /// Reads one record; `height` is what it must say of itself.
    pub(crate) fn read(file: &dyn DiskFile, head: &Head, height: Height) -> Result<Self, StoreError> {
        let text_end = HEAD_BYTES + head.text_len as usize;
        let mut bytes = vec![0; text_end + head.undo_len as usize];
        file.read_at(head.at, &mut bytes).map_err(|error| Self::failed(head, error))?;
        Self::check(&bytes, head, height)?;
        Ok(Self { bytes, text_end })
    }

    /// Checks a whole record, and gives its text.
    pub(crate) fn check<'a>(bytes: &'a [u8], head: &Head, height: Height) -> Result<&'a [u8], StoreError> {
        let damaged = |what| StoreError::Damaged { file: FILE, at: head.at, what };
        let (start, content) =
            bytes.split_first_chunk().ok_or_else(|| damaged("the file ends before this block"))?;
        let record = Record::read(start, head.at).ok_or_else(|| damaged("a record has another checksum"))?;
        if record.head != *head || record.height != height.get() {
            return Err(damaged("another block stands here"));
        }
        if crc32fast::hash(content) != record.content_crc {
            return Err(damaged("a block has another checksum"));
        }
        content.get(..head.text_len as usize).ok_or_else(|| damaged("a block is cut"))
    }

    pub(crate) fn failed(head: &Head, error: io::Error) -> StoreError {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            return StoreError::Damaged { file: FILE, at: head.at, what: "the file ends before this block" };
        }
        StoreError::Disk { file: FILE, source: error }
    }

    pub(crate) fn text(&self) -> &[u8] {
        self.bytes.get(HEAD_BYTES..self.text_end).unwrap_or_default()
    }

    pub(crate) fn undo(&self) -> &[u8] {
        self.bytes.get(self.text_end..).unwrap_or_default()
    }

    pub(crate) fn into_text(mut self) -> Vec<u8> {
        self.bytes.truncate(self.text_end);
        self.bytes.drain(..HEAD_BYTES.min(self.bytes.len()));
        self.bytes
    }
}

/// A part of the file that is read once, in order.
struct Window<'a> {
    file: &'a dyn DiskFile,
    len: u64,
    at: u64,
    bytes: Vec<u8>,
    first: u64,
}

const WINDOW_BYTES: u64 = 1 << 20;

impl Window<'_> {
    /// What is in memory from here on, at least so many bytes unless the file ends.
    fn bytes(&mut self, want: u64) -> io::Result<&[u8]> {
        let held = |this: &Self| usize::try_from(this.at.checked_sub(this.first)?).ok();
        let have = held(self).map_or(0, |at| self.bytes.len().saturating_sub(at)) as u64;
        if have < want.min(self.len.saturating_sub(self.at)) {
            let len = WINDOW_BYTES.max(want).min(self.len.saturating_sub(self.at));
            self.bytes.resize(usize::try_from(len).unwrap_or(0), 0);
            self.file.read_at(self.at, &mut self.bytes)?;
            self.first = self.at;
        }
        Ok(held(self).and_then(|at| self.bytes.get(at..)).unwrap_or_default())
    }

    fn peek<const N: usize>(&mut self) -> io::Result<Option<[u8; N]>> {
        Ok(self.bytes(N as u64)?.first_chunk().copied())
    }

    fn take<const N: usize>(&mut self) -> io::Result<Option<[u8; N]>> {
        let taken = self.peek()?;
        self.at += N as u64;
        Ok(taken)
    }

    /// Goes over bytes and gives their checksum.
    fn skip(&mut self, mut len: u64) -> io::Result<Option<u32>> {
        let mut crc = crc32fast::Hasher::new();
        while len > 0 {
            let here = self.bytes(1)?;
            let part = here.get(..usize::try_from(len).unwrap_or(usize::MAX).min(here.len())).unwrap_or(here);
            if part.is_empty() {
                return Ok(None);
            }
            crc.update(part);
            let part = part.len() as u64;
            self.at += part;
            len -= part;
        }
        Ok(Some(crc.finalize()))
    }

    /// Goes to the next place with these bytes.
    fn find(&mut self, pattern: &[u8; 4]) -> io::Result<bool> {
        loop {
            let here = self.bytes(4)?;
            if here.len() < 4 {
                return Ok(false);
            }
            let found = here.windows(4).position(|four| four == pattern);
            let step = found.unwrap_or(here.len() - 3) as u64;
            self.at += step;
            if found.is_some() {
                return Ok(true);
            }
        }
    }
}

fn start_of(ledger: Ledger) -> [u8; START_BYTES] {
    let mut bytes = Vec::with_capacity(START_BYTES);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&[ledger_code(ledger), 0, 0, 0]);
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
    let mut start = [0; START_BYTES];
    start.iter_mut().zip(bytes).for_each(|(to, byte)| *to = byte);
    start
}

const fn ledger_code(ledger: Ledger) -> u8 {
    match ledger {
        Ledger::Note => 0,
        Ledger::Coin => 1,
    }
}

fn is_start(start: &[u8; START_BYTES]) -> bool {
    let (head, crc) = start.split_at(16);
    *crc == crc32fast::hash(head).to_le_bytes() && head.starts_with(MAGIC)
}

fn check_start(start: &[u8; START_BYTES], ledger: Ledger) -> Result<(), StoreError> {
    if !is_start(start) {
        return Err(StoreError::Damaged { file: FILE, at: 0, what: "the start is not that of a journal" });
    }
    let mut bytes = Bytes(start.get(8..).unwrap_or_default());
    let (version, code) = (bytes.u32().unwrap_or_default(), bytes.array::<1>().unwrap_or_default());
    if version > VERSION {
        return Err(StoreError::Newer { file: FILE, version, known: VERSION });
    }
    if code != [ledger_code(ledger)] {
        return Err(StoreError::OtherLedger { file: FILE });
    }
    Ok(())
}

/// The same bytes as far as they look like records, with checksums that fit, so that a fuzzer gets behind them.
pub(crate) fn sealed_again(data: &[u8]) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::with_capacity(data.len()), data);
    if let Some((start, after)) = rest.split_first_chunk::<START_BYTES>() {
        out.extend_from_slice(start.get(..16).unwrap_or_default());
        out.extend_from_slice(&crc32fast::hash(&out).to_le_bytes());
        rest = after;
    }
    let (mut heads, mut start, mut blocks, mut number) = (crc32fast::Hasher::new(), out.len() as u64, 0, 0);
    loop {
        let kind = rest.first_chunk().map(|kind| u32::from_le_bytes(*kind));
        if kind == Some(BLOCK)
            && let Some((head, after)) = rest.split_first_chunk::<HEAD_BYTES>()
        {
            let mut fields = Bytes(head.get(8..).unwrap_or_default());
            let mut len = || usize::try_from(fields.u32().unwrap_or_default()).unwrap_or_default();
            let len = len().saturating_add(len()).min(after.len());
            let (content, after) = after.split_at(len);
            let (before, behind) = (head.get(8..32).unwrap_or_default(), head.get(36..).unwrap_or_default());
            let crc = crc32fast::hash(content).to_le_bytes();
            let head: [u8; HEAD_BYTES] = sealed(BLOCK, &[before, &crc, behind]);
            heads.update(&head);
            out.extend_from_slice(&head);
            out.extend_from_slice(content);
            (rest, blocks) = (after, blocks + 1);
        } else if kind == Some(COMMIT)
            && let Some((seal, after)) = rest.split_first_chunk::<COMMIT_BYTES>()
        {
            number += 1;
            let mut fields = Bytes(seal.get(24..).unwrap_or_default());
            let fork = fields.u64().unwrap_or_default();
            let heads_crc = std::mem::take(&mut heads).finalize();
            out.extend_from_slice(&Seal { number, start, fork, blocks, heads_crc }.write());
            (rest, start, blocks) = (after, out.len() as u64, 0);
        } else {
            out.extend_from_slice(rest);
            return out;
        }
    }
}
