//! What goes between a bridge and its driver.

use std::fmt;

use spandrel_bridge_protocol::{FromParent, RoomId, ToParent};
use spandrel_socketio::{Encoded, Event};

/// Names a connection for as long as the process lives. The driver counts up: reports of one moment go in
/// this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

/// Names one attempt to reach the host, and the link that comes of it. Facts about an older one change
/// nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// A page.
    Browser,
    /// Another program's bridge (`childServer=true`).
    Client,
}

/// What a bridge serves with, and dials with first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Security {
    /// HTTP.
    Plain,
    /// HTTPS.
    Tls,
}

impl Security {
    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Plain => Self::Tls,
            Self::Tls => Self::Plain,
        }
    }
}

/// A fact.
#[derive(Debug, Clone)]
pub enum Input {
    /// The parent said something.
    Parent(FromParent),
    /// The channel of the parent is at its end.
    ParentGone,
    /// The process was asked to end (SIGTERM).
    Terminate,
    /// [`Output::Listen`] succeeded.
    Listening,
    /// [`Output::Listen`] failed: another program has the port.
    ListenFailed,
    /// It failed for another reason, which this text says.
    ListenRefused(String),
    /// A session was opened.
    Opened {
        /// A name not used before.
        conn: ConnId,
        /// Who it is.
        role: Role,
        /// `roomId` of its query. That of a client has no meaning.
        room: Option<RoomId>,
    },
    /// A session brought an event.
    Event {
        /// Which session.
        conn: ConnId,
        /// What came.
        event: Event,
    },
    /// A session ended, at either end.
    Closed {
        /// Which one.
        conn: ConnId,
    },
    /// The host took us in.
    HostUp {
        /// Which attempt.
        link: LinkId,
    },
    /// There is no host to be reached this way.
    HostRefused {
        /// Which attempt.
        link: LinkId,
    },
    /// The host said something.
    HostEvent {
        /// On which link.
        link: LinkId,
        /// What came.
        event: Event,
    },
    /// The link to the host ended, for whatever reason.
    HostDown {
        /// Which link.
        link: LinkId,
    },
    /// Time went on; also when [`wake`](crate::Bridge::wake) has come.
    Tick,
}

/// Work for the driver, to be done in this order.
#[derive(Debug, Clone)]
pub enum Output {
    /// Tell the parent.
    Report(ToParent),
    /// Encrypt the text and tell the parent; without a secret, nothing.
    Encrypt(String),
    /// Decrypt the text and tell the parent; without a secret, nothing.
    Decrypt(String),
    /// Bind the port and serve; answer with [`Input::Listening`], [`Input::ListenFailed`] or
    /// [`Input::ListenRefused`].
    Listen,
    /// Free the port and close every session at once. Nothing about them is to be told any more.
    StopListening,
    /// Send to sessions: ask [`audience`](crate::Bridge::audience) who they are before the next step.
    Send(Audience, Encoded),
    /// End a session. Nothing more about it is heard.
    Close(ConnId),
    /// Reach for the host; answer with [`Input::HostUp`] or [`Input::HostRefused`], later
    /// [`Input::HostDown`].
    Dial(LinkId, Security),
    /// Send to the host.
    SendHost(LinkId, Encoded),
    /// Give up the link or the attempt; nothing more about it is heard.
    HangUp(LinkId),
    /// Something for the log.
    Note(Note),
    /// Give the parent what was reported to it, a second at most, and end the process with this code. Nothing
    /// follows.
    Exit(u8),
}

/// Which sessions a packet goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Audience {
    /// Every browser.
    All,
    /// Every browser in the room.
    Room(RoomId),
    /// Every browser whose room is no client's, or that has none.
    Unmatched,
    /// This session.
    One(ConnId),
}

/// Something for the log. Those that strangers can cause come at most once a second.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Note {
    /// This program is the host now, after another was.
    TookOver,
    /// The port is another's, and its host took us in.
    Joined(Security),
    /// The link to the host ended.
    HostLost,
    /// Whoever has the port is no host we can join; the next attempt is in so many milliseconds.
    NoHost {
        /// The wait.
        wait_ms: u64,
    },
    /// The system does not let us listen, and there is no host to join; the next attempt is in so many
    /// milliseconds.
    CannotListen {
        /// What the system says.
        why: String,
        /// The wait.
        wait_ms: u64,
    },
    /// Messages that waited for the host or for a browser came too late or were too many.
    HeldLost {
        /// How many.
        messages: u64,
    },
    /// A room's name is over the limit: the session was closed, or the parent's `addRoomId` ignored.
    RoomTooLong {
        /// Its bytes.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// A session over the limit was closed.
    TooManyConnections {
        /// The limit.
        max: usize,
    },
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TookOver => f.write_str("the host is gone; this program is the host now"),
            Self::Joined(Security::Tls) => f.write_str("joined the host of this machine over TLS"),
            Self::Joined(Security::Plain) => f.write_str("joined the host of this machine"),
            Self::HostLost => f.write_str("lost the host"),
            Self::NoHost { wait_ms } => {
                write!(f, "another program has the port and is no host to join; trying again in {wait_ms} ms")
            }
            Self::CannotListen { why, wait_ms } => {
                write!(f, "cannot listen on the port: {why}; trying again in {wait_ms} ms")
            }
            Self::HeldLost { messages } => {
                write!(f, "{messages} messages waited too long for a host or a browser and were dropped")
            }
            Self::RoomTooLong { bytes, max } => {
                write!(f, "room name of {bytes} bytes is over the limit of {max}")
            }
            Self::TooManyConnections { max } => {
                write!(f, "closed a new connection: there are {max} already, the most allowed")
            }
        }
    }
}
