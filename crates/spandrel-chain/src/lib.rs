//! A chain as a pure machine: takes blocks and rows, keeps the best chain, its unspent outputs and a pool, and says what
//! changed.
//!
//! It never opens a socket or a file, reads a clock, draws a random number or starts a thread: time, secrets, signature
//! checks and old blocks come in as arguments, work comes out as values ([`Update`], [`PoolChange`]). A refusal changes
//! nothing, and a reorganisation happens whole or not at all.
//!
//! ```
//! use std::sync::Arc;
//! use spandrel_chain::{CoinLedger, Limits, NoArchive, Offered, Secrets};
//! use spandrel_chain_protocol::{Account, Nonce, WallMillis};
//! use spandrel_consensus::{Rules, SecpVerifier};
//!
//! let secrets = Secrets { tables: [1, 2], signatures: [3; 32] }; // random in a real node
//! let mut ledger = CoinLedger::new(secrets, Rules::default(), &Limits::default());
//! let miner: Account = "b9615d90684bb5b2ca5f859ab0f0b704075871aa".parse().unwrap();
//! let now = WallMillis::new(1_655_100_000_000);
//!
//! let mut block = ledger.draft(miner, now).unwrap();
//! block.header.nonce = Nonce::new(1).unwrap(); // the first blocks need no work
//! block.header.hash = block.compute_hash();
//! let (offered, _) = ledger.offer(Arc::new(block), now, &SecpVerifier, &NoArchive).unwrap();
//! assert!(matches!(offered, Offered::Adopted(_)));
//! assert_eq!(ledger.chain().state().balance(&miner), 50);
//! ```
//!
//! The rules are those of `spandrel-consensus`; pool and fork choice follow sections 2.6 and 3.5 of the older chain
//! dialects. Bounds: [`Limits`], all tested.
//!
//! Reading order: `coin_set`, `index`, `side`, `chain`, `pool`, `template`, `ledger`.

mod chain;
mod coin_set;
mod error;
#[doc(hidden)]
pub mod fuzz;
mod index;
mod kind;
mod ledger;
mod limits;
mod pool;
mod side;
mod template;

pub use chain::{Archive, Chain, NoArchive, Offered, Step, Update};
pub use coin_set::CoinSet;
pub use error::ChainError;
pub use index::Entry;
pub use kind::Kind;
pub use ledger::{CoinLedger, Secrets};
pub use limits::Limits;
pub use pool::{Left, Pool, PoolChange, PoolError};
pub use template::{draft_coins, draft_notes};
