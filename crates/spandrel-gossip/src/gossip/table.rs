//! Who is connected: admission, dials, and ends.

use spandrel_wire::Millis;

use super::Gossip;
use crate::peer::{Peer, place};
use crate::{Address, CloseReason, Event, Output, PeerId, Way};

impl Gossip {
    pub(super) fn want(&mut self, now: Millis, address: Address) {
        if self.is_stopped {
            return;
        }
        let why = if self.own.contains(&address) {
            CloseReason::Oneself
        } else if !self.dials.want(now, address.clone()) {
            CloseReason::Full { peers: self.limits.targets_max }
        } else {
            return;
        };
        self.out.push_back(Output::Event(Event::NotDialled { address, why }));
    }

    /// Dials what is due.
    pub(super) fn dial(&mut self, now: Millis) {
        while !self.is_stopped
            && let Some((dial, address)) = self.dials.due(now, self.places())
        {
            self.out.push_back(Output::Dial { dial, address });
        }
    }

    /// How many more connections there may be.
    pub(super) fn places(&self) -> usize {
        self.limits.peers_max.saturating_sub(self.peers.len())
    }

    pub(super) fn retry(&mut self, lost: Option<(Address, u64)>) {
        if let Some((address, after_ms)) = lost.filter(|_| !self.is_stopped) {
            self.out.push_back(Output::Event(Event::Retry { address, after_ms }));
        }
    }

    pub(super) fn open(&mut self, now: Millis, id: PeerId, mut new: Peer) {
        if self.peers.contains_key(&id) {
            return;
        }
        if let Way::Dialled(dial) = new.way {
            new.address = self.dials.opened(dial, id);
        }
        if let Some(why) = self.why_not(&new) {
            if let Some((address, after_ms)) = self.dials.closed(now, id) {
                self.not_again(address, after_ms, why);
            }
            return self.out.push_back(Output::Close { peer: id, why });
        }
        if let Some((twin, address)) = self.twin(&new) {
            // Both ends are here: neither is of any use, and neither is dialled again.
            for address in address.into_iter().chain(new.address) {
                self.dials.forget(&address);
                self.not_again(address, 0, CloseReason::Oneself);
            }
            self.out.push_back(Output::Close { peer: id, why: CloseReason::Oneself });
            return self.close(now, twin, CloseReason::Oneself);
        }
        let connected = Event::Connected { peer: id, dialect: new.dialect, remote: new.remote, way: new.way };
        self.out.push_back(Output::Event(connected));
        let question = new.dialect.question();
        self.peers.insert(id, new);
        self.send(now, id, question, false);
    }

    fn not_again(&mut self, address: Address, after_ms: u64, why: CloseReason) {
        let event = match why {
            CloseReason::Duplicate | CloseReason::Oneself => {
                self.dials.forget(&address);
                Event::NotDialled { address, why }
            }
            _ => Event::Retry { address, after_ms },
        };
        self.out.push_back(Output::Event(event));
    }

    /// Why a connection is not kept.
    fn why_not(&self, new: &Peer) -> Option<CloseReason> {
        if self.is_stopped {
            return Some(CloseReason::Stopping);
        }
        let limits = &self.limits;
        let kept_free = if new.is_dialled() { 0 } else { limits.dial_slots.min(self.dials.unmet()) };
        if self.peers.len() + kept_free >= limits.peers_max {
            return Some(CloseReason::Full { peers: limits.peers_max });
        }
        if new.is_dialled() && new.address.is_none() {
            return Some(CloseReason::Unwanted);
        }
        let others = || self.peers.values();
        let is_twice = |other: &Peer| {
            other.is_dialled() && !other.is_gone && other.remote == new.remote && other.dialect == new.dialect
        };
        if new.is_dialled() && others().any(is_twice) {
            return Some(CloseReason::Duplicate);
        }
        let here = place(&new.remote)?;
        let peers = limits.peers_per_address_max;
        let neighbours = others().filter(|other| place(&other.remote) == Some(here)).count();
        (neighbours >= peers).then_some(CloseReason::FullAddress { peers })
    }

    /// The other end of a connection to oneself: its ends are ours the other way round.
    fn twin(&self, new: &Peer) -> Option<(PeerId, Option<Address>)> {
        let local = new.local?;
        let is_twin = |other: &Peer| {
            other.remote == local && other.local == Some(new.remote) && other.is_dialled() != new.is_dialled()
        };
        let twin = self.peers.iter().find(|(_, other)| !other.is_gone && is_twin(other));
        twin.map(|(id, other)| (*id, other.address.clone()))
    }

    /// Ends a connection and forgets it.
    pub(super) fn close(&mut self, now: Millis, id: PeerId, why: CloseReason) {
        if !self.remove(id) {
            return;
        }
        self.out.push_back(Output::Close { peer: id, why });
        self.out.push_back(Output::Event(Event::Disconnected { peer: id, why: Some(why) }));
        let lost = self.dials.closed(now, id);
        self.retry(lost);
        self.resume();
    }

    /// A connection has ended. What came before its end is still looked at, in its turn; it keeps its place till then.
    pub(super) fn lose(&mut self, now: Millis, id: PeerId) {
        let Some(peer) = self.peers.get_mut(&id).filter(|peer| !peer.is_gone) else { return };
        peer.is_gone = true;
        self.paused -= usize::from(std::mem::take(&mut peer.inbox.is_paused));
        if peer.inbox.frames.is_empty() && !peer.inbox.is_busy {
            self.peers.remove(&id);
        }
        self.out.push_back(Output::Event(Event::Disconnected { peer: id, why: None }));
        let lost = self.dials.closed(now, id);
        self.retry(lost);
    }

    pub(super) fn stop(&mut self, now: Millis) {
        self.is_stopped = true;
        let ids: Vec<PeerId> = self.peers.keys().copied().collect();
        for id in ids {
            let is_gone = self.peers.get(&id).is_some_and(|peer| peer.is_gone);
            if is_gone {
                self.remove(id);
            } else {
                self.close(now, id, CloseReason::Stopping);
            }
        }
    }

    /// Takes a peer out of the table; `false` when it is not there.
    fn remove(&mut self, id: PeerId) -> bool {
        let Some(peer) = self.peers.remove(&id) else { return false };
        self.inboxes_bytes -= peer.inbox.bytes;
        self.paused -= usize::from(peer.inbox.is_paused);
        self.turns.retain(|turn| *turn != id);
        true
    }
}
