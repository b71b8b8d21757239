//! Keeps a chain on disk: every block that was reported is there after a crash, and the machine comes back as it stood.
//!
//! It never opens a socket, reads a clock, draws a random number, checks a rule or a signature, or starts a thread. It
//! blocks on files: call it from a thread that may wait.
//!
//! ```
//! use std::sync::Arc;
//! use spandrel_chain::{CoinLedger, NoArchive, Offered, Secrets};
//! use spandrel_chain_protocol::{Account, Coins, Nonce, WallMillis};
//! use spandrel_consensus::SecpVerifier;
//! use spandrel_store::{ChainStore, Folder, Start};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let dir = dir.path();
//! let start = Start::new([1, 2]); // random in a real node
//! let (mut store, chain) = ChainStore::<Coins>::open(Arc::new(Folder::open(dir)?), &start)?;
//! let secrets = Secrets { tables: start.key, signatures: [3; 32] };
//! let mut ledger = CoinLedger::on(chain, secrets, &start.chain_limits);
//!
//! let now = WallMillis::new(1_655_100_000_000);
//! let mut block = ledger.draft(Account::from_bytes([7; 20]), now)?;
//! block.header.nonce = Nonce::new(1).unwrap();
//! block.header.hash = block.compute_hash();
//! if let (Offered::Adopted(update), _) = ledger.offer(Arc::new(block), now, &SecpVerifier, &store)? {
//!     store.commit(&update)?; // durable: now others may hear of it
//!     if store.is_flush_due() {
//!         store.flush(ledger.chain())?;
//!     }
//! }
//! drop(store); // as if the process was killed
//!
//! let (store, chain) = ChainStore::<Coins>::open(Arc::new(Folder::open(dir)?), &start)?;
//! assert_eq!((chain.height().get(), chain.state().supply()), (2, 50));
//! assert_eq!(store.recovery().replayed_blocks, 1);
//! # Ok(())
//! # }
//! ```
//!
//! # How it keeps what it keeps
//!
//! The **journal** is the truth: an append-only file of blocks with their undo, one commit and one sync for what belongs
//! together, so a reorganisation is there whole or not at all. The **coin store** is a copy of the state as of some commit,
//! so that a start reads little: it follows rarely, remembers where it is, and is made anew when it is of no use. A start
//! takes heads and coins from it, replays the journal from there, and cuts a torn end.
//!
//! The bytes of the journal are specified in `journal.rs`, those of undo and heads in `codec.rs`, the tables in
//! `coins/redb.rs`; durability is that of sections 2.5, 2.6 and 7 of the older chain dialects. Limits: [`Limits`], all
//! tested.
//!
//! Reading order: `store`, `journal`, `codec`, `stored`, `coins`, `disk`.

mod codec;
mod coins;
mod disk;
mod error;
#[doc(hidden)]
pub mod fuzz;
mod journal;
mod limits;
mod store;
mod stored;
mod texts;

pub use codec::{Head, Point};
pub use coins::{Batch, CoinStore, Items, NoCoins, RedbCoins};
pub use disk::{Disk, DiskFile, Fault, Folder, Loss, MemoryDisk};
pub use error::StoreError;
pub use limits::Limits;
pub use store::{ChainStore, Damage, Recovery, Start};
pub use stored::{Net, Stored};
pub use texts::Texts;
