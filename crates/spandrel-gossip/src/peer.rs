//! One connection, in no particular dialect.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use spandrel_chain_protocol::{BlockHash, Height};
use spandrel_wire::{Frame, Millis};

use crate::outbox::Outbox;
use crate::{Address, Dialect, Limits, Way};

/// What is known of a connection, and what waits in either direction.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) dialect: Dialect,
    pub(crate) way: Way,
    pub(crate) local: Option<SocketAddr>,
    pub(crate) remote: SocketAddr,
    /// What was dialled.
    pub(crate) address: Option<Address>,
    pub(crate) inbox: Inbox,
    pub(crate) outbox: Outbox,
    pub(crate) malformed: u32,
    /// Has it said something of sense?
    pub(crate) is_proved: bool,
    /// Its connection is at an end, its last words are still to be looked at.
    pub(crate) is_gone: bool,
    pub(crate) talk: Talk,
}

/// Documents that wait to be looked at, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    pub(crate) frames: VecDeque<Frame>,
    pub(crate) bytes: usize,
    /// One of them is being looked at.
    pub(crate) is_busy: bool,
    /// The driver does not read.
    pub(crate) is_paused: bool,
}

/// Where the talk about the tips stands.
#[derive(Debug, Default)]
pub(crate) struct Talk {
    /// The last block the peer showed to have.
    pub(crate) has: Option<BlockHash>,
    /// The height it showed last.
    pub(crate) height: Option<Height>,
    /// The tip it was told last, and when.
    pub(crate) told: Option<(BlockHash, Millis)>,
    /// A chain came from it since.
    pub(crate) is_answered: bool,
    /// When to tell the tip again, should the peer still be ahead.
    pub(crate) retell_at: Option<Millis>,
    /// The tip whose chain it got last, and when.
    pub(crate) chain: Option<(BlockHash, Millis)>,
    /// It is owed the whole chain, from this time on.
    pub(crate) owed: Option<Millis>,
    /// Our tip when its chain was higher than ours and yet not better.
    pub(crate) lighter: Option<BlockHash>,
}

impl Peer {
    pub(crate) fn new(
        now: Millis,
        dialect: Dialect,
        way: Way,
        local: Option<SocketAddr>,
        remote: SocketAddr,
        limits: &Limits,
    ) -> Self {
        let pause_ms = if dialect.is_paced() { limits.pause_ms } else { 0 };
        Self {
            dialect,
            way,
            local,
            remote,
            address: None,
            inbox: Inbox::default(),
            outbox: Outbox::new(now, pause_ms, limits),
            malformed: 0,
            is_proved: false,
            is_gone: false,
            talk: Talk::default(),
        }
    }

    pub(crate) const fn is_dialled(&self) -> bool {
        matches!(self.way, Way::Dialled(_))
    }

    /// Does it know this block?
    pub(crate) fn knows(&self, hash: &BlockHash) -> bool {
        let talk = &self.talk;
        talk.has == Some(*hash)
            || talk.told.is_some_and(|(told, _)| told == *hash)
            || talk.chain.is_some_and(|(sent, _)| sent == *hash)
    }
}

/// What connections of one place are counted by: the address, of IPv6 its first 64 bits; nothing for loopback.
pub(crate) fn place(remote: &SocketAddr) -> Option<IpAddr> {
    match remote.ip().to_canonical() {
        ip if ip.is_loopback() => None,
        IpAddr::V6(ip) => Some(IpAddr::V6((u128::from(ip) >> 64 << 64).into())),
        ip => Some(ip),
    }
}

/// A peer as the owner sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerInfo {
    /// What it speaks.
    pub dialect: Dialect,
    /// Who dialled.
    pub way: Way,
    /// Its end, IPv4 written as IPv4.
    pub remote: SocketAddr,
    /// What was dialled.
    pub address: Option<Address>,
    /// The height of the last block it showed.
    pub height: Option<Height>,
    /// Malformed messages so far.
    pub malformed: u32,
    /// Bytes that wait to be looked at.
    pub inbox_bytes: usize,
    /// Bytes it has not taken.
    pub unsent_bytes: usize,
}

impl From<&Peer> for PeerInfo {
    fn from(peer: &Peer) -> Self {
        Self {
            dialect: peer.dialect,
            way: peer.way,
            remote: SocketAddr::new(peer.remote.ip().to_canonical(), peer.remote.port()),
            address: peer.address.clone(),
            height: peer.talk.height,
            malformed: peer.malformed,
            inbox_bytes: peer.inbox.bytes,
            unsent_bytes: peer.outbox.unsent_bytes(),
        }
    }
}
