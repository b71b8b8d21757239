//! The machine: connections in and out, and what waits on them. What is said about blocks is in `talk`.

mod table;
mod talk;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};

use spandrel_chain_protocol::{FormError, Height, Ledger};
use spandrel_wire::{Frame, Millis};

use crate::dials::Dials;
use crate::peer::{Peer, PeerInfo};
use crate::task::{Seen, What};
use crate::{Address, CloseReason, Done, Event, Input, Limits, Output, PeerId, Task, Tip};

/// What a machine is started with.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// Its bounds.
    pub limits: Limits,
    /// Addresses of this very node, which are not dialled.
    pub own: Vec<Address>,
    /// Spreads the pauses between dials; no secret.
    pub seed: u64,
}

impl Config {
    /// The default bounds, no address of its own.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { limits: Limits::default(), own: Vec::new(), seed }
    }

    /// Sets the bounds.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets the addresses of this node.
    #[must_use]
    pub fn with_own(mut self, own: Vec<Address>) -> Self {
        self.own = own;
        self
    }
}

/// One chain as peers see it.
#[derive(Debug)]
struct Voice {
    tip: Tip,
    /// The message of the whole chain up to the tip, and when it was last used.
    text: Option<(Frame, Millis)>,
    is_writing: bool,
    /// From this height on the chain is too long to be sent.
    too_long_at: Option<Height>,
}

impl Voice {
    const fn new(tip: Tip) -> Self {
        Self { tip, text: None, is_writing: false, too_long_at: None }
    }

    fn is_too_long(&self) -> bool {
        self.too_long_at.is_some_and(|height| self.tip.height >= height)
    }
}

/// All peers of a node. Drain [`poll`](Self::poll) to `None` after each [`step`](Self::step), do what comes out in that
/// order, set one timer to [`wake`](Self::wake), and step with [`Input::Tick`] when it fires. A tick too early or too
/// many does no harm.
#[derive(Debug)]
pub struct Gossip {
    limits: Limits,
    reading: spandrel_chain_protocol::Limits,
    own: Vec<Address>,
    notes: Voice,
    coins: Voice,
    peers: BTreeMap<PeerId, Peer>,
    dials: Dials,
    /// Peers with something to be looked at and nothing that is, in the order of their turns.
    turns: VecDeque<PeerId>,
    tasks: usize,
    inboxes_bytes: usize,
    /// Peers that are not read.
    paused: usize,
    out: VecDeque<Output>,
    is_stopped: bool,
    is_faulty: bool,
}

impl Gossip {
    /// A node without peers whose chains have these tips.
    #[must_use]
    pub fn new(config: Config, tips: [Tip; 2]) -> Self {
        let Config { limits, own, seed } = config;
        let reading =
            spandrel_chain_protocol::Limits::default().with_document_bytes_max(limits.document_bytes_max);
        let [notes, coins] = match tips {
            [notes, coins] if notes.ledger == Ledger::Note => [notes, coins],
            [coins, notes] => [notes, coins],
        };
        Self {
            dials: Dials::new(seed, &limits),
            limits,
            reading,
            own,
            notes: Voice::new(notes),
            coins: Voice::new(coins),
            peers: BTreeMap::new(),
            turns: VecDeque::new(),
            tasks: 0,
            inboxes_bytes: 0,
            paused: 0,
            out: VecDeque::new(),
            is_stopped: false,
            is_faulty: false,
        }
    }

    /// Takes one fact. `now` must not go backwards.
    pub fn step(&mut self, now: Millis, input: Input) {
        match input {
            Input::Dial(address) => self.want(now, address),
            Input::Forget(address) => self.dials.forget(&address),
            Input::DialFailed(dial) => {
                let lost = self.dials.failed(now, dial);
                self.retry(lost);
            }
            Input::Opened { peer, dialect, way, local, remote } => {
                let new = Peer::new(now, dialect, way, local, remote, &self.limits);
                self.open(now, peer, new);
            }
            Input::Received { peer, frame } => self.receive(now, peer, frame),
            Input::Written { peer, bytes } => self.written(now, peer, bytes),
            Input::Closed(peer) => self.lose(now, peer),
            Input::Done(Done(What::Looked { peer, seen })) => self.looked(now, peer, seen),
            Input::Done(Done(What::Chain { ledger, tip, frame })) => {
                self.chain_written(now, ledger, tip, frame);
            }
            Input::Mined(taken) => self.mined(now, taken),
            Input::Submitted(row) => self.row_added(now, row, None),
            Input::Tick => self.tick(now),
            Input::Stop => self.stop(now),
        }
        self.dial(now);
        self.dispatch();
    }

    /// The next piece of work.
    pub fn poll(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// When the machine wants an [`Input::Tick`], if nothing else happens before.
    #[must_use]
    pub fn wake(&self) -> Option<Millis> {
        let mut next = self.dials.wake(self.places());
        if self.is_stopped {
            next = None;
        }
        let mut sooner = |at: Option<Millis>| next = next.into_iter().chain(at).min();
        for voice in [&self.notes, &self.coins] {
            sooner(voice.text.as_ref().map(|(_, used)| used.after(self.limits.chain_text_ms)));
        }
        for peer in self.peers.values().filter(|peer| !peer.is_gone) {
            sooner(peer.outbox.wake());
            sooner(peer.outbox.stuck_since().map(|since| since.after(self.limits.unmoved_ms)));
            sooner(peer.talk.retell_at);
            // A chain that waits for its text or for the peer is no matter of time.
            let waits = peer.outbox.holds_chain() || self.voice(peer.dialect.ledger()).is_writing;
            sooner(peer.talk.owed.filter(|_| !waits && !self.is_faulty));
        }
        next
    }

    /// The open connections.
    pub fn peers(&self) -> impl Iterator<Item = (PeerId, PeerInfo)> {
        self.peers.iter().filter(|(_, peer)| !peer.is_gone).map(|(id, peer)| (*id, PeerInfo::from(peer)))
    }

    /// The tip that peers of a ledger are told.
    #[must_use]
    pub fn tip(&self, ledger: Ledger) -> &Tip {
        &self.voice(ledger).tip
    }

    /// Bytes of all peers that wait to be looked at.
    #[must_use]
    pub const fn inboxes_bytes(&self) -> usize {
        self.inboxes_bytes
    }

    /// Checks that are under way.
    #[must_use]
    pub const fn tasks(&self) -> usize {
        self.tasks
    }

    fn receive(&mut self, now: Millis, id: PeerId, frame: Frame) {
        let Some(peer) = self.peers.get_mut(&id).filter(|peer| !peer.is_gone) else { return };
        let inbox = &mut peer.inbox;
        if inbox.frames.len() >= self.limits.inbox_documents_max.saturating_mul(4) {
            let documents = inbox.frames.len();
            return self.close(now, id, CloseReason::Flood { documents });
        }
        inbox.bytes += frame.len();
        self.inboxes_bytes += frame.len();
        if inbox.frames.is_empty() && !inbox.is_busy {
            self.turns.push_back(id);
        }
        inbox.frames.push_back(frame);
        let is_full = inbox.bytes >= self.limits.inbox_bytes_max
            || inbox.frames.len() >= self.limits.inbox_documents_max
            || self.inboxes_bytes >= self.limits.inboxes_bytes_max;
        if is_full && !inbox.is_paused {
            inbox.is_paused = true;
            self.paused += 1;
            self.out.push_back(Output::Pause(id));
        }
    }

    /// Gives out checks, one a peer, in turns.
    fn dispatch(&mut self) {
        while self.tasks < self.limits.tasks_max && !self.is_faulty {
            let Some(id) = self.turns.pop_front() else { return };
            let Some(peer) = self.peers.get_mut(&id) else { continue };
            let Some(frame) = peer.inbox.frames.pop_front() else { continue };
            peer.inbox.is_busy = true;
            peer.inbox.bytes -= frame.len();
            self.inboxes_bytes -= frame.len();
            self.tasks += 1;
            self.out.push_back(Output::Task(Task::look(id, peer.dialect, frame, self.reading.clone())));
            self.resume();
        }
    }

    /// Reads on from those whose inbox has emptied to a quarter.
    fn resume(&mut self) {
        let limits = &self.limits;
        if self.paused == 0 || self.inboxes_bytes >= limits.inboxes_bytes_max {
            return;
        }
        for (id, peer) in &mut self.peers {
            let inbox = &mut peer.inbox;
            let is_empty = inbox.bytes <= limits.inbox_bytes_max / 4
                && inbox.frames.len() <= limits.inbox_documents_max / 4;
            if inbox.is_paused && is_empty && !peer.is_gone {
                inbox.is_paused = false;
                self.paused -= 1;
                self.out.push_back(Output::Resume(*id));
            }
        }
    }

    /// A document was looked at.
    fn looked(&mut self, now: Millis, id: PeerId, seen: Seen) {
        self.tasks = self.tasks.saturating_sub(1);
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.inbox.is_busy = false;
            if !peer.inbox.frames.is_empty() {
                self.turns.push_back(id);
            } else if peer.is_gone {
                self.peers.remove(&id);
            }
        }
        if let Seen::Malformed(why) = seen {
            return self.malformed(now, id, why);
        }
        self.prove(id);
        self.hear(now, id, seen);
    }

    /// Counts what has another shape; what has the shape and a value no rule allows costs nothing (section 5.2).
    fn malformed(&mut self, now: Millis, id: PeerId, why: FormError) {
        let Some(peer) = self.peers.get_mut(&id).filter(|peer| !peer.is_gone) else { return };
        let is_broken = !why.is_json() && peer.dialect.breaks_on_junk();
        if !why.is_json() || why.is_shape() {
            peer.malformed += 1;
        }
        let count = peer.malformed;
        self.out.push_back(Output::Event(Event::Dropped { peer: id, why, count }));
        if is_broken {
            self.close(now, id, CloseReason::Broken);
        } else if count >= self.limits.bad_messages_max {
            self.close(now, id, CloseReason::Misbehaved { count });
        }
    }

    /// The peer speaks the dialect: the next pause before dialling it is short again.
    fn prove(&mut self, id: PeerId) {
        let Some(peer) = self.peers.get_mut(&id).filter(|peer| !peer.is_proved) else { return };
        peer.is_proved = true;
        if let Some(address) = &peer.address {
            self.dials.proved(address);
        }
    }

    /// Queues a document for a peer and sends what may go.
    fn send(&mut self, now: Millis, id: PeerId, frame: Frame, is_chain: bool) {
        let Some(peer) = self.peers.get_mut(&id).filter(|peer| !peer.is_gone) else { return };
        peer.outbox.push(frame, is_chain);
        let bytes = peer.outbox.unsent_bytes();
        if bytes > self.limits.unsent_bytes_max {
            return self.close(now, id, CloseReason::Backlog { bytes });
        }
        self.pump(now, id);
    }

    fn written(&mut self, now: Millis, id: PeerId, bytes: usize) {
        let Some(peer) = self.peers.get_mut(&id).filter(|peer| !peer.is_gone) else { return };
        if peer.outbox.written(now, bytes) {
            self.chain_ended(now, id);
        }
        self.pump(now, id);
        self.pay(now, id);
    }

    fn pump(&mut self, now: Millis, id: PeerId) {
        let Some(peer) = self.peers.get_mut(&id).filter(|peer| !peer.is_gone) else { return };
        while let Some(frame) = peer.outbox.pop(now) {
            self.out.push_back(Output::Send { peer: id, frame });
        }
    }

    fn tick(&mut self, now: Millis) {
        let keep_ms = self.limits.chain_text_ms;
        for voice in [&mut self.notes, &mut self.coins] {
            voice.text.take_if(|(_, used)| now.since(*used) >= keep_ms);
        }
        let ids: Vec<PeerId> = self.peers.keys().copied().collect();
        for id in ids {
            let Some(peer) = self.peers.get(&id).filter(|peer| !peer.is_gone) else { continue };
            let ms = peer.outbox.stuck_since().map_or(0, |since| now.since(since));
            if ms >= self.limits.unmoved_ms {
                self.close(now, id, CloseReason::Unmoved { ms });
                continue;
            }
            self.pump(now, id);
            self.retell(now, id);
            self.pay(now, id);
        }
    }

    fn voice(&self, ledger: Ledger) -> &Voice {
        match ledger {
            Ledger::Note => &self.notes,
            Ledger::Coin => &self.coins,
        }
    }

    fn voice_mut(&mut self, ledger: Ledger) -> &mut Voice {
        match ledger {
            Ledger::Note => &mut self.notes,
            Ledger::Coin => &mut self.coins,
        }
    }
}
