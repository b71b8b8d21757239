//! The dialect of the note ledger: numbers for types, the one block of an answer in a list.

use super::read_pair;
use crate::json::{Reader, read_document};
use crate::{FormError, Limits, NoteBlock};

/// A message of the note dialect, one WebSocket message each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoteMessage {
    /// Type 0, `latest_block`: "send me your last block".
    LatestBlock,
    /// Type 1, `all_block`: one block, the answer to type 0 or an announcement.
    AllBlock(Box<NoteBlock>),
    /// Type 2, `received_chain`: a whole chain, genesis first.
    ReceivedChain(Vec<NoteBlock>),
}

impl NoteMessage {
    /// The text of a question for the last block.
    pub const LATEST_BLOCK: &str = r#"{"type":0,"payload":{}}"#;

    /// Reads one message.
    ///
    /// # Errors
    ///
    /// [`FormError`]; what is no shape of this dialect counts against the peer
    /// ([`is_shape`](FormError::is_shape), or not [`is_json`](FormError::is_json)).
    pub fn from_json(text: &str, limits: &Limits) -> Result<Self, FormError> {
        read_document(text, limits, |reader| {
            read_pair(reader, kind, payload, |kind| match kind {
                0 => Ok(Self::LatestBlock),
                _ => Err(FormError::Missing { object: "message", member: "payload" }),
            })
        })
    }

    /// Writes the message as JSON.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        match self {
            Self::LatestBlock => Self::LATEST_BLOCK.into(),
            Self::AllBlock(block) => Self::write_all_block(block),
            Self::ReceivedChain(blocks) => {
                let mut out = Vec::from(&br#"{"type":2,"payload":["#[..]);
                for (at, block) in blocks.iter().enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    block.write_json(&mut out);
                }
                out.extend_from_slice(b"]}");
                out
            }
        }
    }

    /// Writes an `all_block` of a block one only has a reference to.
    #[must_use]
    pub fn write_all_block(block: &NoteBlock) -> Vec<u8> {
        let mut out = Vec::from(&br#"{"type":1,"payload":["#[..]);
        block.write_json(&mut out);
        out.extend_from_slice(b"]}");
        out
    }
}

fn kind(reader: &mut Reader<'_>) -> Result<u64, FormError> {
    const WANT: FormError = FormError::Type { member: "type", want: "0, 1 or 2" };
    match reader.int("type") {
        Ok(kind @ 0..=2) => Ok(kind),
        Ok(_) => Err(WANT),
        Err(error) if error.is_json() => Err(WANT),
        Err(error) => Err(error),
    }
}

fn payload(reader: &mut Reader<'_>, kind: u64) -> Result<NoteMessage, FormError> {
    const ONE: FormError = FormError::Type { member: "payload", want: "a list of one block" };
    match kind {
        0 => reader.skip().map(|_| NoteMessage::LatestBlock),
        1 => {
            let mut only = None;
            reader.list("payload", |reader| {
                if only.is_some() {
                    return Err(ONE);
                }
                only = Some(NoteBlock::read(reader)?);
                Ok(())
            })?;
            only.map(|block| NoteMessage::AllBlock(Box::new(block))).ok_or(ONE)
        }
        _ => match NoteBlock::read_list(reader)? {
            blocks if blocks.is_empty() => Err(FormError::Type { member: "payload", want: "a whole chain" }),
            blocks => Ok(NoteMessage::ReceivedChain(blocks)),
        },
    }
}
