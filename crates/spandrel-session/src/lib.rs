//! A message session as pure machines: what secures a connection's messages (sign, deflate, seal), and its policies
//! (progress batching, heartbeat, reconnect backoff, rate limit, refusal count, gathering of fast streams).
//!
//! None of them opens a socket, reads a clock or draws a random number: the driver passes [`Millis`], [`WallMillis`]
//! and random numbers in, and does what comes out. They know no message either: a message is a text.
//!
//! ```
//! use spandrel_session::{Batched, Batcher, BatchLimits, Millis};
//!
//! let mut batcher = Batcher::new(BatchLimits::default());
//! assert_eq!(batcher.push(Millis::new(0), "job", 10), None);
//! assert_eq!(batcher.push(Millis::new(300), "job", 20), None);
//! assert_eq!(batcher.wake(), Some(Millis::new(1000)));
//! assert_eq!(batcher.tick(Millis::new(1000)), Some(Batched::One(20)));
//! ```
//!
//! **Driving rule**, the same for every machine that has a `wake`: after each call, set one timer to `wake()`; when
//! it fires, call `tick(now)`. Calling `tick` early or twice does no harm. `now` must not go backwards; if it does,
//! the machines wait longer but stay sound.
//!
//! # Layers
//!
//! [`Layers`] stands between the texts of one connection and its frames, on either side. Outbound it signs, deflates
//! and seals; inbound it opens, inflates within a limit, and checks UTF-8, signature, age and novelty, in that order.
//!
//! ```
//! use spandrel_crypto::SecretKey;
//! use spandrel_session::{
//!     Entropy, Freshness, KeyId, Layers, LayersConfig, Millis, ReplayCache, ReplayLimits, SealKeys, Sealing, Side,
//!     Signer, Signing, WallMillis, signing_key,
//! };
//!
//! let secret = SecretKey::from_bytes([0x11; 32]); // shared with the other side
//! let layers = |side| {
//!     let mut config = LayersConfig::new(side);
//!     config.deflates = true;
//!     config.sealing = Sealing::Keys(SealKeys::derive(&secret, &[1; 16], &[2; 16])); // both sides' nonces
//!     let kid = KeyId::new("k1").expect("a key id");
//!     config.signer = Some(Signer { kid, key: signing_key(&secret), mode: Signing::Required });
//!     Layers::new(config)
//! };
//! let (mut client, mut server) = (layers(Side::Client), layers(Side::Server));
//! let (now, clock) = (Millis::new(0), WallMillis::new(1_710_000_000_000)); // the driver's clocks
//!
//! let text = r#"{"event":"status:check","data":{},"timestamp":1,"requestId":"r"}"#;
//! let entropy = || Entropy { nonce: [3; 16], iv: [4; 12] }; // from the system's generator
//! let frame = client.outbound(text.to_owned(), clock, entropy)?;
//!
//! let mut seen = ReplayCache::new(ReplayLimits::default());
//! let text = server.inbound(&frame)?;
//! server
//!     .verify(&text, clock, &Freshness::default(), |kid, nonce, _| seen.admit(now, kid, nonce))
//!     .expect("signed just now and never seen");
//! assert!(text.starts_with(r#"{"event":"status:check""#)); // now parse it, `auth` and all
//! # Ok::<(), spandrel_session::LayerError>(())
//! ```
//!
//! A frame that cannot be read is a [`LayerError`], which carries the close code; a message whose signature is refused
//! is an [`AuthRefusal`], which carries what to answer and whether to close. Nothing else can go wrong with a frame.
//!
//! - An idle connection holds no buffer and no compressor: 48 bytes, about 100 more when signed, about 1.3 KiB more
//!   when sealed (two expanded AES keys, on x86-64).
//! - The plaintext of a frame that does not open is never made; nothing that is not authenticated is inflated.
//! - Signatures, tags and keys are compared in constant time; `Debug` of none of the types shows a key.
//!
//! # Specified where
//!
//! In the download protocol: sections 2.1 and 13 (layers), 9 (batching), 10.2 (heartbeat), 10.3 (backoff), 14 (rate), 3
//! (refusals). Decided here where it is silent: the JSON form of a sealed message takes its three members in any order
//! and with white space between, but no escapes; a sealed message after the 2^24th is refused by its receiver too; a
//! full replay cache is no failure of the sender and counts as none.
//!
//! Each machine has its bounds in a struct with defaults: [`LayersConfig`], [`Freshness`], [`ReplayLimits`],
//! [`BatchLimits`], [`HeartbeatTimes`], [`BackoffPolicy`], [`Rate`], [`RefusalLimit`], [`GatherPolicy`].

mod backoff;
mod batcher;
#[doc(hidden)]
pub mod fuzz;
mod gather;
mod heartbeat;
mod rate;
mod refusals;
mod secure;

pub use backoff::{Backoff, BackoffPolicy, Retry};
pub use batcher::{BatchLimits, Batched, Batcher};
pub use gather::{Gather, GatherPolicy};
pub use heartbeat::{Beat, Heartbeat, HeartbeatTimes};
pub use rate::{Rate, RateLimit};
pub use refusals::{RefusalCounter, RefusalLimit};
pub use secure::{
    AuthFailure, AuthRefusal, Direction, Entropy, Freshness, KeyId, KeyIdError, LABEL, LayerError, Layers,
    LayersConfig, ReplayCache, ReplayError, ReplayLimits, SealForm, SealKeys, Sealing, Side, Signed, Signer,
    Signing, sign_message, signing_key, verify_message,
};
pub use spandrel_wire::{Close, Frame, Millis, WallMillis};
