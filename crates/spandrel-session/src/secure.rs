//! What lies between a message text and a frame: sign, deflate, seal, and back (sections 2.1 and 13).

mod deflate;
mod error;
mod key_id;
mod layers;
mod replay;
mod seal;
mod sign;
#[cfg(test)]
mod testing;

pub(crate) use deflate::{Size, deflate, inflate};
pub(crate) use seal::{read_json, write_json};

pub use error::{AuthFailure, AuthRefusal, LayerError};
pub use key_id::{KeyId, KeyIdError};
pub use layers::{Entropy, Layers, LayersConfig, Sealing, Signer, Signing};
pub use replay::{ReplayCache, ReplayError, ReplayLimits};
pub use seal::{SealForm, SealKeys};
pub use sign::{Freshness, Signed, sign_message, signing_key, verify_message};

/// What every key derivation, signature and seal of the protocol begins with; the salt of every key derived for it.
pub const LABEL: &str = "spandrel.download.v1";

/// Which way a message goes. Bound into signature and seal, so that no message can be sent back to its sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// `c2s`.
    ClientToServer,
    /// `s2c`.
    ServerToClient,
}

impl Direction {
    /// The name that is signed.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClientToServer => "c2s",
            Self::ServerToClient => "s2c",
        }
    }
}

/// Which end of a connection this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// Dials, and speaks after the hello.
    Client,
    /// Accepts, and says hello.
    Server,
}

impl Side {
    /// Direction of what this side sends.
    #[must_use]
    pub const fn outbound(self) -> Direction {
        match self {
            Self::Client => Direction::ClientToServer,
            Self::Server => Direction::ServerToClient,
        }
    }

    /// Direction of what this side receives.
    #[must_use]
    pub const fn inbound(self) -> Direction {
        match self {
            Self::Client => Direction::ServerToClient,
            Self::Server => Direction::ClientToServer,
        }
    }
}
