//! What the dialects have in common, and where they differ: the rest of the machine asks here and knows neither.

use std::sync::Arc;

use spandrel_chain_protocol::{
    Block, CoinMessage, Coins, FormError, Ignored, Ledger, Limits, NoteMessage, Notes, Payload, Transaction,
};
use spandrel_wire::{Bytes, Frame};

/// A language of peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Dialect {
    /// "jenny chain": the note ledger over WebSocket, one message a frame.
    Jenny,
    /// "ingchain": the coin ledger over TCP, JSON documents without anything between.
    Ingchain,
}

impl Dialect {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Jenny, Self::Ingchain];

    /// The ledger it is about.
    #[must_use]
    pub const fn ledger(self) -> Ledger {
        match self {
            Self::Jenny => Ledger::Note,
            Self::Ingchain => Ledger::Coin,
        }
    }

    /// The dialect of a ledger.
    #[must_use]
    pub const fn of(ledger: Ledger) -> Self {
        match ledger {
            Ledger::Note => Self::Jenny,
            Ledger::Coin => Self::Ingchain,
        }
    }

    /// "Send me your last block", which both ends say first.
    pub(crate) fn question(self) -> Frame {
        Frame::text(match self {
            Self::Jenny => NoteMessage::LATEST_BLOCK,
            Self::Ingchain => CoinMessage::LATEST_BLOCK,
        })
    }

    /// Is a block made here told by asking? Peers answer with their older tip and get the chain (section 4, rule 6).
    pub(crate) const fn tells_by_asking(self) -> bool {
        matches!(self, Self::Jenny)
    }

    /// Is a chain that was taken sent on whole (section 4, rule 4), rather than by its tip (5.2)?
    pub(crate) const fn relays_chains(self) -> bool {
        matches!(self, Self::Jenny)
    }

    /// Do its originals lose documents that arrive merged with others (5.1)?
    pub(crate) const fn is_paced(self) -> bool {
        matches!(self, Self::Ingchain)
    }

    /// Has its wire no frames of its own, so that what is no JSON ends the stream (5.1)?
    pub(crate) const fn breaks_on_junk(self) -> bool {
        matches!(self, Self::Ingchain)
    }
}

/// What a peer said, in words that all dialects share.
#[derive(Debug)]
pub(crate) enum Said<P> {
    /// "Send me your last block."
    Question,
    /// One block.
    Block(Block<P>),
    /// A whole chain, the first block first.
    Chain(Vec<Block<P>>),
    /// A chain of the first block alone: an answer that holds nothing.
    EmptyChain,
    /// A row for the pool.
    Row(Box<Transaction>),
    /// Nothing that matters.
    Nothing,
}

/// A ledger that peers speak about.
pub(crate) trait Spoken: Payload {
    fn understand(text: &str, limits: &Limits) -> Result<Said<Self>, FormError>;

    fn write_block(block: &Block<Self>) -> Vec<u8>;

    /// What stands before the first block of a chain, and after the last.
    const CHAIN: (&[u8], &[u8]);
}

impl Spoken for Notes {
    const CHAIN: (&[u8], &[u8]) = (br#"{"type":2,"payload":["#, b"]}");

    fn understand(text: &str, limits: &Limits) -> Result<Said<Self>, FormError> {
        Ok(match NoteMessage::from_json(text, limits)? {
            NoteMessage::LatestBlock => Said::Question,
            NoteMessage::AllBlock(block) => Said::Block(*block),
            NoteMessage::ReceivedChain(blocks) => Said::Chain(blocks),
        })
    }

    fn write_block(block: &Block<Self>) -> Vec<u8> {
        NoteMessage::write_all_block(block)
    }
}

impl Spoken for Coins {
    const CHAIN: (&[u8], &[u8]) = (br#"{"type":"receivedChain","payload":["#, b"]}");

    fn understand(text: &str, limits: &Limits) -> Result<Said<Self>, FormError> {
        Ok(match CoinMessage::from_json(text, limits)? {
            CoinMessage::LatestBlock => Said::Question,
            CoinMessage::AllBlock(block) => Said::Block(*block),
            CoinMessage::ReceivedChain(blocks) => Said::Chain(blocks),
            CoinMessage::ReceivedTransaction(row) => Said::Row(row),
            CoinMessage::Ignored(Ignored::OneBlock) => Said::EmptyChain,
            CoinMessage::Ignored(_) => Said::Nothing,
        })
    }

    fn write_block(block: &Block<Self>) -> Vec<u8> {
        CoinMessage::write_all_block(block)
    }
}

/// The message that carries a row.
pub(crate) fn row_frame(row: &Transaction) -> Frame {
    text_frame(CoinMessage::write_transaction(row))
}

/// The message that carries one block.
pub(crate) fn block_frame<P: Spoken>(block: &Block<P>) -> Frame {
    text_frame(P::write_block(block))
}

/// A frame of JSON that was written here.
fn text_frame(json: Vec<u8>) -> Frame {
    Frame::from_checked_text(Bytes::from(json))
}

/// Writes the message of a whole chain; `None` as soon as it is over `bytes_max`.
pub(crate) fn chain_frame<P: Spoken>(
    blocks: impl IntoIterator<Item = Arc<Block<P>>>,
    bytes_max: usize,
) -> Option<Frame> {
    let (before, after) = P::CHAIN;
    let mut text = before.to_vec();
    for (at, block) in blocks.into_iter().enumerate() {
        if at > 0 {
            text.push(b',');
        }
        block.write_json(&mut text);
        if text.len() + after.len() > bytes_max {
            return None;
        }
    }
    text.extend_from_slice(after);
    (text.len() <= bytes_max).then(|| text_frame(text))
}
