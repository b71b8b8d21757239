//! What peers are told about blocks and rows: sections 4 (rules 1 to 6) and 5.2, in words that fit both dialects.

use std::sync::Arc;

use spandrel_chain::{ChainError, PoolError};
use spandrel_chain_protocol::{BlockHash, Height, Ledger, Transaction};
use spandrel_wire::{Frame, Millis};

use super::Gossip;
use crate::dialect::row_frame;
use crate::task::Seen;
use crate::{Dialect, Event, Output, PeerId, Taken, Task, Tip};

/// What came: only a block asks for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Brought {
    Block,
    Chain,
}

impl Gossip {
    /// A peer said something well-formed. It may be gone by now: what it brought counts all the same.
    pub(super) fn hear(&mut self, now: Millis, id: PeerId, seen: Seen) {
        match seen {
            Seen::Question => self.tell(now, id),
            Seen::Block { height, hash, taken } => {
                self.shown(id, height, hash);
                if !self.take(now, Some(id), taken, Brought::Block) {
                    self.answer(now, id, height);
                }
            }
            Seen::Chain { top, taken } => {
                self.answered(id);
                if let Some((height, hash)) = top {
                    self.shown(id, height, hash);
                }
                let is_worse = matches!(taken, Ok(Taken::NotBetter));
                self.take(now, Some(id), taken, Brought::Chain);
                if let Some((height, _)) = top.filter(|_| is_worse) {
                    self.compare(now, id, height);
                }
            }
            Seen::EmptyChain => self.answered(id),
            Seen::Row { row, taken: Ok(()) } => self.row_added(now, row, Some(id)),
            Seen::Row { taken: Err(why), .. } => {
                if why != PoolError::Known {
                    self.out.push_back(Output::Event(Event::RowRefused { peer: id, why }));
                }
            }
            Seen::Malformed(_) | Seen::Nothing => {}
        }
    }

    /// A block was made here (rule 6).
    pub(super) fn mined(&mut self, now: Millis, taken: Taken) {
        let Taken::Adopted { tip, disconnected, connected, pool } = taken else { return };
        let ledger = tip.ledger;
        self.adopt(None, tip, (disconnected, connected), pool);
        let dialect = Dialect::of(ledger);
        if dialect.tells_by_asking() {
            for id in self.others(ledger, None) {
                self.send(now, id, dialect.question(), false);
            }
            if !self.voice(ledger).is_too_long() {
                return;
            }
            // Who answers cannot be sent the chain, so the block itself has to do.
        }
        self.announce(now, ledger, None);
    }

    /// A row is new in the pool: it goes on once, and not back.
    pub(super) fn row_added(&mut self, now: Millis, row: Arc<Transaction>, from: Option<PeerId>) {
        let frame = row_frame(&row);
        self.out.push_back(Output::Event(Event::RowAdded { row, from }));
        if frame.len() > self.limits.document_bytes_max {
            return;
        }
        for id in self.others(Ledger::Coin, from) {
            self.send(now, id, frame.clone(), false);
        }
    }

    /// Passes on what was taken (rules 3 to 5). `false` when nothing was.
    fn take(
        &mut self,
        now: Millis,
        from: Option<PeerId>,
        taken: Result<Taken, ChainError>,
        brought: Brought,
    ) -> bool {
        match taken {
            Ok(Taken::Adopted { tip, disconnected, connected, pool }) => {
                let ledger = tip.ledger;
                self.adopt(from, tip, (disconnected, connected), pool);
                let sends_chain = brought == Brought::Chain
                    && Dialect::of(ledger).relays_chains()
                    && !self.voice(ledger).is_too_long();
                if sends_chain {
                    self.spread_chain(now, ledger, from);
                } else {
                    self.announce(now, ledger, from);
                }
                true
            }
            Ok(Taken::Side | Taken::Known | Taken::NotBetter) => false,
            Err(why) if why.is_fault() => {
                self.is_faulty = true;
                self.out.push_back(Output::Event(Event::Fault(why)));
                true
            }
            Err(why) => {
                if let Some(peer) = from {
                    self.out.push_back(Output::Event(Event::BlockRefused { peer, why }));
                }
                false
            }
        }
    }

    /// Follows the chain to a new tip.
    fn adopt(
        &mut self,
        from: Option<PeerId>,
        tip: Tip,
        (disconnected, connected): (usize, usize),
        pool: Vec<spandrel_chain::PoolChange>,
    ) {
        let (ledger, height, hash) = (tip.ledger, tip.height, tip.hash);
        let event = Event::Tip { ledger, height, hash, disconnected, connected, from };
        self.out.push_back(Output::Event(event));
        self.out.extend(pool.into_iter().map(|change| Output::Event(Event::Pool(change))));
        let voice = self.voice_mut(ledger);
        // Results of several tasks may come in another order: work tells which tip is the last.
        if tip.work > voice.tip.work {
            voice.tip = tip;
            voice.text = None;
        }
    }

    /// A block came that does not go on top (rule 3).
    fn answer(&mut self, now: Millis, id: PeerId, height: Height) {
        let Some(peer) = self.peers.get(&id) else { return };
        let voice = self.voice(peer.dialect.ledger());
        if height <= voice.tip.height || peer.talk.lighter == Some(voice.tip.hash) {
            return self.owe(now, id);
        }
        // It is ahead. Our tip makes it send its chain; a tip it was told just now did so already.
        let wait = match peer.talk.told {
            Some((told, at)) if told == voice.tip.hash && !peer.talk.is_answered => {
                Some(at.after(self.limits.retell_ms)).filter(|until| *until > now)
            }
            _ => None,
        };
        match wait {
            None => self.tell(now, id),
            Some(until) => {
                if let Some(peer) = self.peers.get_mut(&id) {
                    peer.talk.retell_at = Some(until);
                }
            }
        }
    }

    /// The chain of a peer was not better. When it is higher nevertheless, the peer cannot know that ours is: a question
    /// makes it show its tip, to which our chain may be the answer. Once a tip of ours.
    fn compare(&mut self, now: Millis, id: PeerId, height: Height) {
        let Some(peer) = self.peers.get(&id) else { return };
        let dialect = peer.dialect;
        let own = &self.voice(dialect.ledger()).tip;
        let (own_hash, own_height) = (own.hash, own.height);
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if height > own_height && peer.talk.lighter.replace(own_hash) != Some(own_hash) {
            self.send(now, id, dialect.question(), false);
        }
    }

    /// Sends our last block.
    fn tell(&mut self, now: Millis, id: PeerId) {
        let Some(peer) = self.peers.get(&id) else { return };
        let tip = &self.voice(peer.dialect.ledger()).tip;
        let (hash, frame) = (tip.hash, tip.frame.clone());
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.talk.told = Some((hash, now));
            peer.talk.is_answered = false;
            peer.talk.retell_at = None;
        }
        self.send(now, id, frame, false);
    }

    /// Tells it again to a peer that is still ahead and has not answered.
    pub(super) fn retell(&mut self, now: Millis, id: PeerId) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if peer.talk.retell_at.take_if(|at| *at <= now).is_none() {
            return;
        }
        let (ledger, height) = (peer.dialect.ledger(), peer.talk.height);
        if height.is_some_and(|height| height > self.voice(ledger).tip.height) {
            self.tell(now, id);
        }
    }

    /// Sends the tip to all others that do not know it.
    fn announce(&mut self, now: Millis, ledger: Ledger, from: Option<PeerId>) {
        let hash = self.voice(ledger).tip.hash;
        for id in self.others(ledger, from) {
            if self.peers.get(&id).is_some_and(|peer| !peer.knows(&hash)) {
                self.tell(now, id);
            }
        }
    }

    /// Sends the whole chain to all others that do not know its tip.
    fn spread_chain(&mut self, now: Millis, ledger: Ledger, from: Option<PeerId>) {
        let hash = self.voice(ledger).tip.hash;
        for id in self.others(ledger, from) {
            if self.peers.get(&id).is_some_and(|peer| !peer.knows(&hash)) {
                self.owe(now, id);
            }
        }
    }

    /// The peer shall have the whole chain: at once, or late when it just had it. Never twice.
    fn owe(&mut self, now: Millis, id: PeerId) {
        let pause = self.limits.chain_answer_ms;
        let Some(peer) = self.peers.get(&id) else { return };
        let tip = self.voice(peer.dialect.ledger()).tip.hash;
        let due = match peer.talk.chain {
            Some((sent, at)) if sent == tip => at.after(pause).max(now),
            _ => now,
        };
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.talk.owed = Some(peer.talk.owed.map_or(due, |owed| owed.min(due)));
        }
        self.pay(now, id);
    }

    /// Sends the whole chain when it is due, there is a text of it, and none is on its way.
    pub(super) fn pay(&mut self, now: Millis, id: PeerId) {
        let Some(peer) = self.peers.get_mut(&id).filter(|peer| !peer.is_gone) else { return };
        let ledger = peer.dialect.ledger();
        let is_due = peer.talk.owed.is_some_and(|due| due <= now) && !peer.outbox.holds_chain();
        if !is_due {
            return;
        }
        let bytes_max = self.limits.document_bytes_max;
        let voice = self.voice_mut(ledger);
        let hash = voice.tip.hash;
        if voice.is_too_long() {
            self.forgive(id);
        } else if let Some((frame, used)) = &mut voice.text {
            *used = now;
            let frame = frame.clone();
            self.send_chain(now, id, hash, frame);
        } else if !voice.is_writing && !self.is_faulty {
            self.voice_mut(ledger).is_writing = true;
            self.out.push_back(Output::Task(Task::write_chain(ledger, bytes_max)));
        }
    }

    /// The peer took the last byte of a whole chain: the pause before the same one begins.
    pub(super) fn chain_ended(&mut self, now: Millis, id: PeerId) {
        let pause = self.limits.chain_answer_ms;
        let Some(peer) = self.peers.get(&id) else { return };
        let tip = self.voice(peer.dialect.ledger()).tip.hash;
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if let Some((sent, at)) = &mut peer.talk.chain {
            *at = now;
            if *sent == tip {
                peer.talk.owed = peer.talk.owed.map(|owed| owed.max(now.after(pause)));
            }
        }
    }

    fn forgive(&mut self, id: PeerId) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.talk.owed = None;
        }
    }

    fn send_chain(&mut self, now: Millis, id: PeerId, hash: BlockHash, frame: Frame) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.talk.owed = None;
            peer.talk.chain = Some((hash, now));
        }
        self.send(now, id, frame, true);
    }

    /// The text of a chain is ready, or the chain is too long for one. A text that is behind by now is sent all the
    /// same: it is better than none while blocks come fast.
    pub(super) fn chain_written(
        &mut self,
        now: Millis,
        ledger: Ledger,
        tip: BlockHash,
        frame: Option<Frame>,
    ) {
        let voice = self.voice_mut(ledger);
        voice.is_writing = false;
        let Some(frame) = frame else {
            let height = voice.tip.height;
            let is_news = voice.too_long_at.is_none();
            voice.too_long_at = Some(voice.too_long_at.map_or(height, |at| at.min(height)));
            if is_news {
                self.out.push_back(Output::Event(Event::ChainTooLong { ledger, height }));
            }
            for id in self.others(ledger, None) {
                self.forgive(id);
            }
            return;
        };
        if tip == voice.tip.hash {
            voice.text = Some((frame.clone(), now));
        }
        for id in self.others(ledger, None) {
            let is_due = self.peers.get(&id).is_some_and(|peer| {
                peer.talk.owed.is_some_and(|due| due <= now) && !peer.outbox.holds_chain()
            });
            if is_due {
                self.send_chain(now, id, tip, frame.clone());
            }
        }
    }

    /// A peer showed a block it has.
    fn shown(&mut self, id: PeerId, height: Height, hash: BlockHash) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.talk.has = Some(hash);
            peer.talk.height = Some(height);
        }
    }

    /// A peer answered our tip with its chain.
    fn answered(&mut self, id: PeerId) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.talk.is_answered = true;
            peer.talk.retell_at = None;
        }
    }

    /// The open connections of a ledger but one.
    fn others(&self, ledger: Ledger, from: Option<PeerId>) -> Vec<PeerId> {
        let is_other = |id: &PeerId| Some(*id) != from;
        let peers = self.peers.iter().filter(|(_, peer)| !peer.is_gone && peer.dialect.ledger() == ledger);
        peers.map(|(id, _)| *id).filter(is_other).collect()
    }
}
