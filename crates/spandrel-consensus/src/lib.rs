//! Rules of the two older ledgers as pure functions: what makes a header, a block and a row valid, and which of two chains
//! is better.
//!
//! It takes values and answers; it never opens a socket, reads a clock or a file, draws a random number, or keeps a chain:
//! the branch comes in as [`Ancestors`], the unspent outputs as [`CoinView`], the curve as [`Verifier`], the time as a
//! number.
//!
//! ```
//! use spandrel_chain_protocol::{BlockHash, Height, NoteBlock, Notes, Payload, Stamp, WallMillis};
//! use spandrel_consensus::{Ancestors, BlockError, Rules, check_note_block};
//!
//! /// A branch of the first block alone.
//! struct First(NoteBlock);
//!
//! impl Ancestors for First {
//!     fn parent(&self) -> (Height, BlockHash) {
//!         (self.0.header.height, self.0.header.hash)
//!     }
//!     fn stamp(&self, height: Height) -> Option<Stamp> {
//!         let header = &self.0.header;
//!         (height == header.height).then_some(Stamp { timestamp: header.timestamp, difficulty: header.difficulty })
//!     }
//! }
//!
//! let (below, now) = (First(NoteBlock::genesis()), WallMillis::new(1_655_100_000_000));
//! let mut block = NoteBlock::genesis();
//! block.header.height = Height::new(1).unwrap();
//! block.header.timestamp = now;
//! block.data = Notes::new(["hello"]);
//! block.header.merkle_root = block.data.merkle_root().unwrap();
//! block.header.hash = block.compute_hash();
//! assert_eq!(check_note_block(&block, &below, now, Rules::default()), Ok(()));
//!
//! block.data.push("and more");
//! assert_eq!(check_note_block(&block, &below, now, Rules::default()), Err(BlockError::MerkleRoot));
//! ```
//!
//! The rules are sections 2.2 to 2.6, 3.2 to 3.4 and 3.6 of the older chain dialects; [`BlockError`] and [`RowError`] are
//! the list of them. Bounds: `BLOCK_BYTES_MAX`, [`FUTURE_MS_MAX`], [`MEDIAN_BLOCKS`], the entries of a
//! [`SignatureCache`], all tested.
//!
//! Features: `secp256k1` (default) brings `SecpVerifier`, `k256` brings `PureVerifier`; the rules need neither.

mod block;
mod cache;
mod coins;
mod delta_bytes;
mod der;
mod error;
#[doc(hidden)]
pub mod fuzz;
mod header;
mod idhash;
mod row;
mod rules;
mod scan;
mod verify;
mod work;

pub use block::{
    check_coin_block, check_coin_shape, check_note_block, check_note_body, check_rows, supply_at,
};
pub use cache::{KnownSignatures, Remembering, SignatureCache};
pub use coins::{Change, Coin, CoinView, Delta, Unspent};
pub use delta_bytes::DeltaError;
pub use der::{strict_der, write_der};
pub use error::{BlockError, RowError, Verdict};
pub use header::{
    Ancestors, FUTURE_MS_MAX, MEDIAN_BLOCKS, check_header, median_time, next_difficulty, next_timestamp,
};
pub use idhash::{IdHash, IdHasher};
pub use row::{Unsigned, check_of, check_row};
pub use rules::Rules;
pub use scan::HeaderScan;
#[cfg(feature = "k256")]
pub use verify::PureVerifier;
#[cfg(feature = "secp256k1")]
pub use verify::SecpVerifier;
pub use verify::{SignatureCheck, Verifier};
pub use work::Work;
