//! Policies of a message session as pure machines: progress batching, heartbeat, reconnect backoff, rate limit,
//! refusal count.
//!
//! None of them opens a socket, reads a clock or draws a random number: the driver passes [`Millis`] and random
//! numbers in, and does what comes out. They know no message either.
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
//! Specified in the download protocol: sections 9 (batching), 10.2 (heartbeat), 10.3 (backoff), 14 (rate), 3
//! (refusals). Each machine has its bounds in a struct with defaults: [`BatchLimits`], [`HeartbeatTimes`],
//! [`BackoffPolicy`], [`Rate`], [`RefusalLimit`].

mod backoff;
mod batcher;
mod heartbeat;
mod rate;
mod refusals;
mod secure;

pub use backoff::{Backoff, BackoffPolicy, Retry};
pub use batcher::{BatchLimits, Batched, Batcher};
pub use heartbeat::{Beat, Heartbeat, HeartbeatTimes};
pub use rate::{Rate, RateLimit};
pub use refusals::{RefusalCounter, RefusalLimit};
pub use secure::{
    AuthFailure, AuthRefusal, Direction, Entropy, Freshness, KeyId, KeyIdError, LayerError, Layers,
    LayersConfig, ReplayCache, ReplayError, ReplayLimits, SealForm, SealKeys, Sealing, Side, Signed, Signer,
    Signing, sign_message, signing_key, verify_message,
};
pub use spandrel_wire::{Close, Frame, Millis, WallMillis};
