//! Keys of the coin ledger: accounts, signed receipts, the choice of coins, and a keystore under a password.
//!
//! It never opens a file, draws a random number, looks at a chain, or prints a secret: random bytes and coins come in as
//! arguments, texts come out. `Debug` of a key names its account only, memory is wiped on drop.
//!
//! ```
//! use spandrel_chain_protocol::{Amount, OutPoint, OutputIndex, Txid};
//! use spandrel_wallet::{Cost, Keystore, Limits, PrivateKey, pay};
//!
//! let ann = PrivateKey::from_bytes(&[0x11; 32]).unwrap(); // random in a real wallet
//! assert_eq!(ann.account().to_string(), "b9615d90684bb5b2ca5f859ab0f0b704075871aa");
//!
//! // A payment: a receipt, and a row from a coin of 50.
//! let receipt = ann.sign("0bb580344804617879a14949cf22285f1bae3f27".parse().unwrap(), Amount::new(20).unwrap(), None);
//! let coin = OutPoint { txid: Txid::from_bytes([7; 32]), index: OutputIndex::ZERO };
//! let row = pay(&receipt, &[(coin, Amount::new(50).unwrap())], |_| false).unwrap();
//! assert_eq!(row.outputs.len(), 2);
//!
//! // The key in a file.
//! let cheap = Cost { memory_kib: 8, passes: 1, lanes: 1 }; // for a test; `Cost::default()` otherwise
//! let mut keystore = Keystore::create(b"secret", cheap, [3; 16], Limits::default()).unwrap();
//! let account = keystore.add(ann, "ann").unwrap();
//! let text = keystore.seal([4; 12]).unwrap();
//! assert!(Keystore::open(&text, b"guess", Limits::default()).is_err());
//! assert!(Keystore::open(&text, b"secret", Limits::default()).unwrap().get(&account).is_some());
//! ```
//!
//! Bytes: sections 3.1 to 3.3 of the older chain dialects (accounts, receipts, rows); the keystore's are in the head of
//! `keystore`. Limits: [`Limits`], [`INPUTS_MAX`], [`TRIES_MAX`], all tested.
//!
//! Features: `secp256k1` (default) signs with the C library, `k256` without one; both give the same bytes.

mod curve;
#[doc(hidden)]
pub mod fuzz;
mod key;
mod keystore;
mod limits;
mod select;
#[cfg(test)]
mod tests;

pub use key::{KEY_BYTES, KeyError, PrivateKey};
pub use keystore::{Cost, Keystore, KeystoreError, NamedKey, SALT_BYTES};
pub use limits::Limits;
pub use select::{INPUTS_MAX, PayError, TRIES_MAX, pay};
