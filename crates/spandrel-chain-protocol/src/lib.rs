//! Vocabulary of the two older chain dialects: blocks, rows, receipts and peer messages, and what is hashed of them.
//!
//! It reads strict JSON into typed values or says what is wrong, writes JSON in the family's order, and computes every
//! hash of both ledgers. It never opens a socket, reads a clock, draws a random number, checks a signature, or decides
//! whether a well-formed block is valid: that is for the rules.
//!
//! ```
//! use spandrel_chain_protocol::{CoinBlock, CoinMessage, Limits, Payload};
//!
//! let genesis = CoinBlock::genesis();
//! assert_eq!(genesis.header.hash.to_string(), "84ffab55c48e36cc480e2fd4c4bb0dc5ee1bb2d41a4f2a78a1533a8bb7df8370");
//! assert_eq!(genesis.data.merkle_root(), Some(genesis.header.merkle_root));
//!
//! let text = CoinMessage::write_all_block(&genesis);
//! let text = std::str::from_utf8(&text).unwrap();
//! let message = CoinMessage::from_json(text, &Limits::default()).unwrap();
//! assert_eq!(message, CoinMessage::AllBlock(Box::new(genesis)));
//!
//! let error = CoinMessage::from_json(r#"{"type":"allBlock","payload":7}"#, &Limits::default()).unwrap_err();
//! assert!(error.is_shape());
//! ```
//!
//! Bytes: sections 2 (blocks, hashes, difficulty), 3 (accounts, receipts, rows), 4 and 5 (messages) of the older chain
//! dialects; the tables in `tests/data` hold this crate to them. On TCP the documents follow each other without length
//! or separator: `spandrel_wire::JsonCodec` finds their ends.
//!
//! Limits: [`Limits`] (document and nesting), [`BLOCK_BYTES_MAX`], [`EXTRA_DEPTH_MAX`], [`EXTRA_MEMBERS_MAX`], [`Version::BYTES_MAX`],
//! [`INT_MAX`], all tested.
//!
//! Reading order: `numbers`, `ids`, `block`, `transaction`, `receipt`, `merkle`, `difficulty`, `message`; the reader
//! itself is `json`.

mod block;
mod difficulty;
mod error;
#[doc(hidden)]
pub mod fuzz;
mod hex;
mod ids;
mod json;
mod limits;
mod merkle;
mod message;
mod numbers;
mod receipt;
mod transaction;

pub use block::{
    BLOCK_BYTES_MAX, Block, CoinBlock, Coins, Header, Ledger, NoteBlock, Notes, Payload, VERSION,
    committed_version, version_for,
};
pub use difficulty::{INTERVAL_BLOCKS, INTERVAL_MS, Stamp, adjust, expected_difficulty};
pub use error::FormError;
pub use ids::{
    Account, BlockHash, BodyCommitment, DER_BYTES_MAX, DigitsError, MerkleRoot, PublicKey, ReceiptId,
    ReceiptNonce, SignatureText, Txid, Version,
};
pub use json::{EXTRA_DEPTH_MAX, EXTRA_MEMBERS_MAX, Extra};
pub use limits::Limits;
pub use merkle::{is_ambiguous_leaf, merkle_root_of_rows, merkle_root_of_texts};
pub use message::{CoinMessage, Ignored, NoteMessage};
pub use numbers::{Amount, Difficulty, Height, INT_MAX, Nonce, OutputIndex};
pub use receipt::Receipt;
pub use spandrel_wire::WallMillis;
pub use transaction::{OutPoint, REWARD, Transaction, TxIn, TxOut, body_commitment};
