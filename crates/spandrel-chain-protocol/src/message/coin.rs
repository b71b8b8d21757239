//! The dialect of the coin ledger: names for types, payloads bare.

use super::read_pair;
use crate::json::{Reader, read_document};
use crate::{CoinBlock, FormError, Limits, Transaction};

/// A message of the coin dialect, one JSON object on a stream each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CoinMessage {
    /// `latestBlock`: "send me your last block".
    LatestBlock,
    /// `allBlock`: one block, not in a list.
    AllBlock(Box<CoinBlock>),
    /// `receivedChain`: a whole chain of at least two blocks, genesis first.
    ReceivedChain(Vec<CoinBlock>),
    /// `receivedTransaction`: one row.
    ReceivedTransaction(Box<Transaction>),
    /// Something the dialect says to ignore, at no cost to the peer.
    Ignored(Ignored),
}

/// Why a message is ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ignored {
    /// The type is none of the four names.
    UnknownType,
    /// `allBlock` or `receivedTransaction` with a list.
    List,
    /// `receivedChain` with something that is no list.
    NoList,
    /// `receivedChain` with one block: everybody has that one.
    OneBlock,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    LatestBlock,
    AllBlock,
    ReceivedChain,
    ReceivedTransaction,
    Unknown,
}

impl CoinMessage {
    /// The text of a question for the last block.
    pub const LATEST_BLOCK: &str = r#"{"type":"latestBlock","payload":{}}"#;

    /// Reads one message.
    ///
    /// # Errors
    ///
    /// [`FormError`]: not [`is_json`](FormError::is_json) ends the stream, [`is_shape`](FormError::is_shape) counts
    /// against the peer, the rest is refused and costs nothing.
    pub fn from_json(text: &str, limits: &Limits) -> Result<Self, FormError> {
        read_document(text, limits, |reader| {
            read_pair(reader, kind, payload, |kind| match kind {
                Kind::LatestBlock => Ok(Self::LatestBlock),
                Kind::ReceivedChain => Ok(Self::Ignored(Ignored::NoList)),
                Kind::Unknown => Ok(Self::Ignored(Ignored::UnknownType)),
                Kind::AllBlock | Kind::ReceivedTransaction => {
                    Err(FormError::Missing { object: "message", member: "payload" })
                }
            })
        })
    }

    /// Writes the message as JSON; an ignored one has no text of its own and gives `{}`.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        match self {
            Self::LatestBlock => Self::LATEST_BLOCK.into(),
            Self::AllBlock(block) => Self::write_all_block(block),
            Self::ReceivedChain(blocks) => {
                let mut out = Vec::from(&br#"{"type":"receivedChain","payload":["#[..]);
                for (at, block) in blocks.iter().enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    block.write_json(&mut out);
                }
                out.extend_from_slice(b"]}");
                out
            }
            Self::ReceivedTransaction(row) => Self::write_transaction(row),
            Self::Ignored(_) => b"{}".into(),
        }
    }

    /// Writes an `allBlock` of a block one only has a reference to.
    #[must_use]
    pub fn write_all_block(block: &CoinBlock) -> Vec<u8> {
        let mut out = Vec::from(&br#"{"type":"allBlock","payload":"#[..]);
        block.write_json(&mut out);
        out.push(b'}');
        out
    }

    /// Writes a `receivedTransaction` of a row one only has a reference to.
    #[must_use]
    pub fn write_transaction(row: &Transaction) -> Vec<u8> {
        let mut out = Vec::from(&br#"{"type":"receivedTransaction","payload":"#[..]);
        row.put(&mut out);
        out.push(b'}');
        out
    }
}

fn kind(reader: &mut Reader<'_>) -> Result<Kind, FormError> {
    if reader.peek() != Some(b'"') {
        // A type that is no string is none of the four names either.
        return reader.skip().map(|_| Kind::Unknown);
    }
    Ok(match &*reader.string("type")? {
        "latestBlock" => Kind::LatestBlock,
        "allBlock" => Kind::AllBlock,
        "receivedChain" => Kind::ReceivedChain,
        "receivedTransaction" => Kind::ReceivedTransaction,
        _ => Kind::Unknown,
    })
}

fn payload(reader: &mut Reader<'_>, kind: Kind) -> Result<CoinMessage, FormError> {
    let is_list = reader.peek() == Some(b'[');
    let ignored = match (kind, is_list) {
        (Kind::Unknown, _) => Some(Ignored::UnknownType),
        (Kind::AllBlock | Kind::ReceivedTransaction, true) => Some(Ignored::List),
        (Kind::ReceivedChain, false) => Some(Ignored::NoList),
        _ => None,
    };
    if let Some(why) = ignored {
        return reader.skip().map(|_| CoinMessage::Ignored(why));
    }
    Ok(match kind {
        Kind::AllBlock => CoinMessage::AllBlock(Box::new(CoinBlock::read(reader)?)),
        Kind::ReceivedTransaction => CoinMessage::ReceivedTransaction(Box::new(Transaction::read(reader)?)),
        Kind::ReceivedChain => match CoinBlock::read_list(reader)? {
            blocks if blocks.is_empty() => {
                return Err(FormError::Type { member: "payload", want: "a whole chain" });
            }
            blocks if blocks.len() == 1 => CoinMessage::Ignored(Ignored::OneBlock),
            blocks => CoinMessage::ReceivedChain(blocks),
        },
        Kind::LatestBlock | Kind::Unknown => {
            reader.skip()?;
            CoinMessage::LatestBlock
        }
    })
}
