//! What goes between the machine and its driver.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;

use spandrel_chain::{ChainError, PoolChange, PoolError};
use spandrel_chain_protocol::{BlockHash, FormError, Height, Ledger, Transaction};
use spandrel_wire::{Close, Endpoint, Frame};

use crate::{Dialect, Done, Taken, Task};

/// Names a connection for as long as the process lives. The driver counts up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub u64);

/// Names one attempt to reach an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DialId(pub u64);

/// An address to dial, `ws://host:port` or `tcp://host:port`, with the dialect that is spoken there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    text: String,
    dialect: Dialect,
}

/// A text is no address of a peer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no address of a peer, expected ws://host:port or tcp://host:port")]
pub struct AddressError {
    text: String,
}

impl Address {
    /// The dialect spoken there.
    #[must_use]
    pub const fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// The address as text, in one form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let wrong = || AddressError { text: text.chars().take(64).collect() };
        let endpoint: Endpoint = text.to_ascii_lowercase().parse().map_err(|_| wrong())?;
        let dialect = match &endpoint {
            Endpoint::Ws { port: 1.., .. } => Dialect::Jenny,
            Endpoint::Tcp { port: 1.., .. } => Dialect::Ingchain,
            _ => return Err(wrong()),
        };
        Ok(Self { text: endpoint.to_string(), dialect })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// How a connection came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Way {
    /// The peer dialled.
    Accepted,
    /// We did.
    Dialled(DialId),
}

/// A fact.
#[derive(Debug)]
pub enum Input {
    /// The owner wants a connection to this address, now and whenever it breaks.
    Dial(Address),
    /// The owner does not want it any more. A connection that is open stays.
    Forget(Address),
    /// [`Output::Dial`] failed.
    DialFailed(DialId),
    /// A connection is open, its handshake (if its wire has one) done.
    Opened {
        /// A name not used before.
        peer: PeerId,
        /// What is spoken on it.
        dialect: Dialect,
        /// Who dialled.
        way: Way,
        /// Our end, where it is known: finds connections to oneself.
        local: Option<SocketAddr>,
        /// The other end.
        remote: SocketAddr,
    },
    /// A whole document came.
    Received {
        /// From whom.
        peer: PeerId,
        /// The document.
        frame: Frame,
    },
    /// The socket took bytes of what [`Output::Send`] gave; told whenever some went, so that slow is told from stuck.
    Written {
        /// Whose.
        peer: PeerId,
        /// How many, of the documents' own bytes.
        bytes: usize,
    },
    /// The connection is at its end, whoever ended it. Nothing of it comes after this.
    Closed(PeerId),
    /// A task was done. What it changed is stored.
    Done(Done),
    /// A block made here was offered to its chain. What it changed is stored.
    Mined(Taken),
    /// A row made here came into the pool.
    Submitted(Arc<Transaction>),
    /// The time of [`Gossip::wake`](crate::Gossip::wake) has come.
    Tick,
    /// The process ends: every connection is closed, nothing more is dialled or admitted.
    Stop,
}

/// Work for the driver, in this order.
#[derive(Debug)]
pub enum Output {
    /// Send a document. A wire without frames gets one document after the other, nothing around.
    Send {
        /// To whom.
        peer: PeerId,
        /// The document.
        frame: Frame,
    },
    /// Close the connection. The machine has forgotten it.
    Close {
        /// Which.
        peer: PeerId,
        /// Why.
        why: CloseReason,
    },
    /// Read nothing from this peer until [`Output::Resume`].
    Pause(PeerId),
    /// Read from this peer again.
    Resume(PeerId),
    /// Dial; answer with [`Input::Opened`] or [`Input::DialFailed`].
    Dial {
        /// Names the attempt.
        dial: DialId,
        /// Where to.
        address: Address,
    },
    /// Do this and give its [`Done`] back.
    Task(Task),
    /// Something happened that the log, the metrics or `/events` want to know.
    Event(Event),
}

/// Why the machine closes a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CloseReason {
    /// Too many malformed messages.
    #[error("{count} malformed messages")]
    Misbehaved {
        /// How many.
        count: u32,
    },
    /// What came on a stream without frames is no JSON: its position is lost.
    #[error("not JSON")]
    Broken,
    /// The peer went on sending while it was not read.
    #[error("{documents} messages wait")]
    Flood {
        /// How many documents wait.
        documents: usize,
    },
    /// Too much output waits for the peer.
    #[error("{bytes} bytes wait to be read")]
    Backlog {
        /// How many bytes.
        bytes: usize,
    },
    /// Nothing of the output was taken for too long.
    #[error("nothing was read for {ms} ms")]
    Unmoved {
        /// How long.
        ms: u64,
    },
    /// There are too many connections.
    #[error("{peers} connections are enough")]
    Full {
        /// How many there may be.
        peers: usize,
    },
    /// There are too many connections of this address.
    #[error("{peers} connections of one address are enough")]
    FullAddress {
        /// How many there may be.
        peers: usize,
    },
    /// The same address was dialled under another name.
    #[error("connected already")]
    Duplicate,
    /// Both ends are here.
    #[error("connected to oneself")]
    Oneself,
    /// Nobody dials this any more.
    #[error("not wanted")]
    Unwanted,
    /// The process ends.
    #[error("shutting down")]
    Stopping,
}

impl CloseReason {
    /// The goodbye for a wire that has one.
    #[must_use]
    pub fn close(&self) -> Close {
        let code = match self {
            Self::Duplicate | Self::Oneself | Self::Unwanted => Close::NORMAL,
            Self::Stopping => Close::GOING_AWAY,
            Self::Full { .. } | Self::FullAddress { .. } => Close::TRY_LATER,
            _ => Close::POLICY,
        };
        Close::new(code, self.to_string())
    }
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// A peer is here.
    Connected {
        /// Its name.
        peer: PeerId,
        /// What it speaks.
        dialect: Dialect,
        /// Its end.
        remote: SocketAddr,
        /// Who dialled.
        way: Way,
    },
    /// A peer is gone.
    Disconnected {
        /// Its name.
        peer: PeerId,
        /// Why we closed; `None` when the peer or the network did.
        why: Option<CloseReason>,
    },
    /// An address will be dialled again.
    Retry {
        /// The address.
        address: Address,
        /// After so many milliseconds.
        after_ms: u64,
    },
    /// An address is not dialled, or not any more.
    NotDialled {
        /// The address.
        address: Address,
        /// Why.
        why: CloseReason,
    },
    /// A chain has another tip.
    Tip {
        /// Which chain.
        ledger: Ledger,
        /// Height of the tip.
        height: Height,
        /// Its hash.
        hash: BlockHash,
        /// How many blocks left the best chain.
        disconnected: usize,
        /// How many joined it.
        connected: usize,
        /// Who brought it; `None` when it was made here.
        from: Option<PeerId>,
    },
    /// A row came into the pool.
    RowAdded {
        /// The row.
        row: Arc<Transaction>,
        /// Who brought it; `None` when it was made here.
        from: Option<PeerId>,
    },
    /// A row came or went because of blocks.
    Pool(PoolChange),
    /// A block or a chain was refused.
    BlockRefused {
        /// Who brought it.
        peer: PeerId,
        /// Which rule it breaks.
        why: ChainError,
    },
    /// A row was refused.
    RowRefused {
        /// Who brought it.
        peer: PeerId,
        /// Which rule it breaks.
        why: PoolError,
    },
    /// A message was dropped.
    Dropped {
        /// Whose.
        peer: PeerId,
        /// What is wrong with it.
        why: FormError,
        /// How many malformed ones there were of this peer.
        count: u32,
    },
    /// The chain is too long to be sent whole: peers follow by announcements only. Told once a ledger.
    ChainTooLong {
        /// Which chain.
        ledger: Ledger,
        /// Its height.
        height: Height,
    },
    /// The store or the state is damaged: stop. Nothing is checked any more.
    Fault(ChainError),
}
