//! Blocks of both ledgers: one header, two kinds of data.

use std::fmt::Debug;

use sha2::{Digest as _, Sha256};
use spandrel_wire::WallMillis;

use crate::json::{Count, Extra, Reader, Sink, Unknown, need, once, put_list, read_document};
use crate::merkle::{merkle_root_of_rows, merkle_root_of_texts};
use crate::transaction::body_commitment;
use crate::{BlockHash, Difficulty, FormError, Height, Limits, MerkleRoot, Nonce, Transaction, Version};

/// Longest block, in bytes of its JSON text without white space, unknown members included.
pub const BLOCK_BYTES_MAX: usize = 1_000_000;

/// The two ledgers. They share the form of a block and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ledger {
    /// Lists of strings; spoken over WebSocket.
    Note,
    /// Transactions; spoken over TCP.
    Coin,
}

impl Ledger {
    /// The height of the first block.
    #[must_use]
    pub const fn genesis_height(self) -> u64 {
        match self {
            Self::Note => 0,
            Self::Coin => 1,
        }
    }
}

/// Everything of a block but its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Any short text; in the coin ledger it may carry the commitment to the body.
    pub version: Version,
    /// One more than that of the parent.
    pub height: Height,
    /// When it was made. (That of both genesis blocks is in seconds and stays so.)
    pub timestamp: WallMillis,
    /// The hash of the parent.
    pub previous_hash: BlockHash,
    /// The root over the data.
    pub merkle_root: MerkleRoot,
    /// What the miner turned.
    pub nonce: Nonce,
    /// How many leading bits of the hash are zero.
    pub difficulty: Difficulty,
    /// The hash as its maker claims it.
    pub hash: BlockHash,
}

impl Header {
    /// The text before the nonce, which a miner hashes again and again.
    #[must_use]
    pub fn hash_prefix(&self, ledger: Ledger) -> Vec<u8> {
        let mut text = Vec::with_capacity(320);
        text.put(self.version.as_str().as_bytes());
        let (first, second) = match ledger {
            Ledger::Note => (self.timestamp.get(), self.height.get()),
            Ledger::Coin => (self.height.get(), self.timestamp.get()),
        };
        text.put_int(first);
        text.put_int(second);
        self.merkle_root.put(&mut text);
        self.previous_hash.put(&mut text);
        text.put_int(u64::from(self.difficulty.bits()));
        text
    }

    /// The hash that follows from the other members.
    #[must_use]
    pub fn compute_hash(&self, ledger: Ledger) -> BlockHash {
        let mut text = self.hash_prefix(ledger);
        text.put_int(self.nonce.get());
        BlockHash::from_bytes(Sha256::digest(&text).into())
    }
}

/// The data of a block: what differs between the ledgers. Sealed.
pub trait Payload: Clone + Debug + PartialEq + Eq + Send + Sync + sealed::Sealed + 'static {
    /// The ledger it belongs to.
    const LEDGER: Ledger;

    /// The root over the data; `None` when there are none.
    fn merkle_root(&self) -> Option<MerkleRoot>;
}

mod sealed {
    use super::{FormError, Reader, Sink};

    #[expect(unnameable_types, reason = "that is what seals the payloads")]
    pub trait Sealed: Sized {
        #[expect(private_interfaces, reason = "sealed: nobody outside names it")]
        fn read(reader: &mut Reader<'_>) -> Result<Self, FormError>;
        #[expect(private_bounds, reason = "sealed: nobody outside names it")]
        fn put(&self, out: &mut impl Sink);
    }
}

/// Data of a note block: strings.
///
/// Kept end to end in one buffer: a text of a megabyte can hold 300,000 empty items, and must not become a multiple of that
/// in memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notes {
    text: String,
    /// Where each item ends.
    ends: Vec<u32>,
}

impl Notes {
    /// Takes items in their order.
    pub fn new<T: AsRef<str>>(items: impl IntoIterator<Item = T>) -> Self {
        let mut notes = Self::default();
        for item in items {
            notes.push(item.as_ref());
        }
        notes
    }

    /// Appends an item. Past 4 GiB in all it is left out; a block has a megabyte.
    pub fn push(&mut self, item: &str) {
        if let Ok(end) = u32::try_from(self.text.len() + item.len()) {
            self.text.push_str(item);
            self.ends.push(end);
        }
    }

    /// The items in their order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        let mut start = 0;
        self.ends.iter().map(move |end| {
            let end = usize::try_from(*end).unwrap_or(usize::MAX);
            let item = self.text.get(start..end).unwrap_or_default();
            start = end;
            item
        })
    }

    /// Number of items.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.ends.len()
    }

    /// Are there none?
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
}

/// Data of a coin block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Coins {
    /// That of the genesis block, and of no other.
    Text(String),
    /// Rows, the coinbase first.
    Rows(Vec<Transaction>),
}

impl Coins {
    /// The rows; none in the genesis block.
    #[must_use]
    pub fn rows(&self) -> &[Transaction] {
        match self {
            Self::Text(_) => &[],
            Self::Rows(rows) => rows,
        }
    }
}

impl Payload for Notes {
    const LEDGER: Ledger = Ledger::Note;

    fn merkle_root(&self) -> Option<MerkleRoot> {
        merkle_root_of_texts(self.iter())
    }
}

impl Payload for Coins {
    const LEDGER: Ledger = Ledger::Coin;

    fn merkle_root(&self) -> Option<MerkleRoot> {
        match self {
            Self::Text(text) => merkle_root_of_texts([text.as_str()]),
            Self::Rows(rows) => merkle_root_of_rows(rows.iter().map(|row| &row.txid)),
        }
    }
}

impl sealed::Sealed for Notes {
    #[expect(private_interfaces, reason = "sealed: nobody outside names it")]
    fn read(reader: &mut Reader<'_>) -> Result<Self, FormError> {
        let mut notes = Self::default();
        reader.list("data", |reader| {
            notes.push(&reader.string("item of data")?);
            Ok(())
        })?;
        notes.text.shrink_to_fit();
        notes.ends.shrink_to_fit();
        Ok(notes)
    }

    #[expect(private_bounds, reason = "sealed: nobody outside names it")]
    fn put(&self, out: &mut impl Sink) {
        put_list(out, self.iter(), |out, item| out.put_string(item));
    }
}

impl sealed::Sealed for Coins {
    #[expect(private_interfaces, reason = "sealed: nobody outside names it")]
    fn read(reader: &mut Reader<'_>) -> Result<Self, FormError> {
        if reader.peek() == Some(b'"') {
            return reader.string("data").map(|text| Self::Text(text.into_owned()));
        }
        let mut rows = Vec::new();
        reader.list("data", |reader| {
            rows.push(Transaction::read(reader)?);
            Ok(())
        })?;
        Ok(Self::Rows(rows))
    }

    #[expect(private_bounds, reason = "sealed: nobody outside names it")]
    fn put(&self, out: &mut impl Sink) {
        match self {
            Self::Text(text) => out.put_string(text),
            Self::Rows(rows) => put_list(out, rows.iter(), |out, row| row.put(out)),
        }
    }
}

/// A block: header, data, and members nobody here knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block<P> {
    /// Everything but the data.
    pub header: Header,
    /// The data.
    pub data: P,
    /// Unknown members.
    pub extra: Extra,
}

/// A block of the note ledger.
pub type NoteBlock = Block<Notes>;

/// A block of the coin ledger.
pub type CoinBlock = Block<Coins>;

impl<P: Payload> Block<P> {
    /// Reads one block from JSON.
    ///
    /// # Errors
    ///
    /// [`FormError`] with the member at fault.
    pub fn from_json(text: &str, limits: &Limits) -> Result<Self, FormError> {
        read_document(text, limits, Self::read)
    }

    /// Reads a whole chain, a list of blocks, from JSON.
    ///
    /// # Errors
    ///
    /// [`FormError`] with the member at fault, in whichever block it is.
    pub fn list_from_json(text: &str, limits: &Limits) -> Result<Vec<Self>, FormError> {
        read_document(text, limits, Self::read_list)
    }

    /// Writes it as JSON, members in the family's order, without white space.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        self.write_json(&mut out);
        out
    }

    /// Appends what [`to_json`](Self::to_json) gives.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        self.put(out);
    }

    /// The length of [`to_json`](Self::to_json), without writing it: what the size rule counts.
    #[must_use]
    pub fn json_len(&self) -> usize {
        let mut count = Count::default();
        self.put(&mut count);
        count.0
    }

    /// The hash that follows from the header.
    #[must_use]
    pub fn compute_hash(&self) -> BlockHash {
        self.header.compute_hash(P::LEDGER)
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, FormError> {
        const WHAT: &str = "block";
        let (mut version, mut height, mut timestamp, mut previous_hash) = (None, None, None, None);
        let (mut merkle_root, mut nonce, mut difficulty, mut hash) = (None, None, None, None);
        let (mut data, mut unknown) = (None, Unknown::new());
        reader.object(WHAT, |r, key| match &*key {
            "version" => once(&mut version, WHAT, "version", Version::read(r, "version")),
            "height" => once(&mut height, WHAT, "height", Height::read(r, "height")),
            "timestamp" => once(&mut timestamp, WHAT, "timestamp", r.int("timestamp").map(WallMillis::new)),
            "previousHash" => {
                once(&mut previous_hash, WHAT, "previousHash", BlockHash::read(r, "previousHash"))
            }
            "merkleRoot" => once(&mut merkle_root, WHAT, "merkleRoot", MerkleRoot::read(r, "merkleRoot")),
            "nonce" => once(&mut nonce, WHAT, "nonce", Nonce::read(r, "nonce")),
            "difficulty" => once(&mut difficulty, WHAT, "difficulty", Difficulty::read(r, "difficulty")),
            "hash" => once(&mut hash, WHAT, "hash", BlockHash::read(r, "hash")),
            "data" => once(&mut data, WHAT, "data", P::read(r)),
            _ => unknown.keep(r, key),
        })?;
        Ok(Self {
            header: Header {
                version: need(version, WHAT, "version")?,
                height: need(height, WHAT, "height")?,
                timestamp: need(timestamp, WHAT, "timestamp")?,
                previous_hash: need(previous_hash, WHAT, "previousHash")?,
                merkle_root: need(merkle_root, WHAT, "merkleRoot")?,
                nonce: need(nonce, WHAT, "nonce")?,
                difficulty: need(difficulty, WHAT, "difficulty")?,
                hash: need(hash, WHAT, "hash")?,
            },
            data: need(data, WHAT, "data")?,
            extra: unknown.finish(WHAT)?,
        })
    }

    pub(crate) fn read_list(reader: &mut Reader<'_>) -> Result<Vec<Self>, FormError> {
        let mut blocks = Vec::new();
        reader.list("chain", |reader| {
            blocks.push(Self::read(reader)?);
            Ok(())
        })?;
        Ok(blocks)
    }

    pub(crate) fn put(&self, out: &mut impl Sink) {
        let Header { version, height, timestamp, previous_hash, merkle_root, nonce, difficulty, hash } =
            &self.header;
        out.put(br#"{"version":"#);
        out.put_string(version.as_str());
        out.put(br#","height":"#);
        out.put_int(height.get());
        out.put(br#","timestamp":"#);
        out.put_int(timestamp.get());
        out.put(br#","previousHash":"#);
        previous_hash.put_string(out);
        out.put(br#","merkleRoot":"#);
        merkle_root.put_string(out);
        out.put(br#","nonce":"#);
        out.put_int(nonce.get());
        out.put(br#","difficulty":"#);
        out.put_int(u64::from(difficulty.bits()));
        out.put(br#","hash":"#);
        hash.put_string(out);
        out.put(br#","data":"#);
        self.data.put(out);
        self.extra.put(out);
        out.put(b"}");
    }
}

/// The version every block mined here has, before a commitment is added to it.
pub const VERSION: &str = "1.0.0";

/// The version a coin block with these rows is mined with: with the commitment as soon as there is a transfer.
#[must_use]
pub fn version_for(rows: &[Transaction]) -> Version {
    let text = match rows {
        [] | [_] => VERSION.to_owned(),
        _ => committed_version(rows),
    };
    Version::new(&text).unwrap_or_else(|| Version::new(VERSION).expect("five bytes are below eighty"))
}

/// The one version with a commitment that these rows allow.
#[must_use]
pub fn committed_version(rows: &[Transaction]) -> String {
    format!("{VERSION}+{}", body_commitment(rows))
}

impl NoteBlock {
    /// The first block of the note ledger. Its hash is 64 zeros and does not follow from the header.
    #[must_use]
    pub fn genesis() -> Self {
        let data = Notes::new(["The Times 03/Jan/2009 Chancellor on brink of second bailout for banks"]);
        genesis(data, BlockHash::ZERO)
    }
}

impl CoinBlock {
    /// The first block of the coin ledger.
    #[must_use]
    pub fn genesis() -> Self {
        const TEXT: &str = "2009년 1월 3일 더 타임스, 은행들의 두번째 구제금융을 앞두고 있는 U.K 재무장관";
        let mut block = genesis(Coins::Text(TEXT.to_owned()), BlockHash::ZERO);
        block.header.hash = block.compute_hash();
        block
    }
}

fn genesis<P: Payload>(data: P, hash: BlockHash) -> Block<P> {
    let header = Header {
        version: Version::new(VERSION).expect("five bytes are below eighty"),
        height: Height::new(P::LEDGER.genesis_height()).expect("0 or 1"),
        timestamp: WallMillis::new(1_231_006_506),
        previous_hash: BlockHash::ZERO,
        merkle_root: data.merkle_root().expect("one leaf has a root"),
        nonce: Nonce::ZERO,
        difficulty: Difficulty::ZERO,
        hash,
    };
    Block { header, data, extra: Extra::NONE }
}
