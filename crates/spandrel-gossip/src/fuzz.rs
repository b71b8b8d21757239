//! Entries for the fuzzer: bytes are a list of facts, some of them the bytes of a peer, and what comes out has to make
//! sense after each.

pub mod toy;

use std::collections::BTreeMap;
use std::sync::Arc;

use spandrel_chain_protocol::{CoinMessage, Coins, NoteMessage, Notes, WallMillis};
use spandrel_wire::{Bytes, BytesMut, Codec as _, Frame, JsonCodec, Limits as WireLimits, Millis, OutBuf};

use crate::{
    Address, Books as _, Config, DialId, Dialect, Gossip, Input, Limits, MemoryBooks, Output, PeerId, Task,
    Way,
};

const WALL: WallMillis = WallMillis::new(1_700_000_000_000);
/// Facts of one run; more bytes say nothing more.
const STEPS_MAX: usize = 300;
const PEERS_MAX: usize = 5;
const TASKS_MAX: usize = 2;

/// Peers of the note dialect, saying anything at any time.
pub fn fuzz_jenny_peer(data: &[u8]) {
    Run::new(Dialect::Jenny).all(data);
}

/// Peers of the coin dialect, saying anything at any time, in any pieces.
pub fn fuzz_ingchain_peer(data: &[u8]) {
    Run::new(Dialect::Ingchain).all(data);
}

struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    fn next(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn below(&mut self, max: usize) -> usize {
        usize::from(self.next()) % max.max(1)
    }

    fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }
}

/// An open connection as the driver sees it.
struct Link {
    codec: JsonCodec,
    input: BytesMut,
    unwritten: usize,
    written_at: Option<u64>,
    is_paused: bool,
}

struct Run {
    dialect: Dialect,
    gossip: Gossip,
    books: MemoryBooks<toy::Toy>,
    /// Somebody else's chain, to take messages from.
    other: MemoryBooks<toy::Toy>,
    links: BTreeMap<PeerId, Link>,
    tasks: Vec<Task>,
    dials: Vec<DialId>,
    limits: Limits,
    now: u64,
    next_peer: u64,
}

impl Run {
    fn new(dialect: Dialect) -> Self {
        let limits = Limits::default()
            .with_peers_max(PEERS_MAX, 3)
            .with_inbox_max(4_000, 6)
            .with_unsent_max(60_000, 60_000)
            .with_tasks_max(TASKS_MAX)
            .with_document_bytes_max(9_000);
        let books = toy::books();
        let mut other = toy::books();
        for nth in 0..4 {
            toy::mine_note(&mut other, "other", WALL.after(nth));
            toy::mine_coin(&mut other, 9, WALL.after(nth));
        }
        Self {
            dialect,
            gossip: Gossip::new(Config::new(1).with_limits(limits.clone()), books.tips()),
            books,
            other,
            links: BTreeMap::new(),
            tasks: Vec::new(),
            dials: Vec::new(),
            limits,
            now: 0,
            next_peer: 0,
        }
    }

    fn all(&mut self, data: &[u8]) {
        let mut script = Script(data);
        for _ in 0..STEPS_MAX {
            if script.0.is_empty() {
                break;
            }
            self.one(&mut script);
        }
        while let Some(task) = self.tasks.pop() {
            self.finish(task);
        }
        self.step(Input::Stop);
        assert!(self.links.is_empty(), "a connection outlives the node");
        assert_eq!((self.gossip.inboxes_bytes(), self.gossip.peers().count()), (0, 0));
    }

    fn one(&mut self, script: &mut Script<'_>) {
        let which = script.below(16);
        let peer = self.pick(script);
        match (which, peer) {
            (0, _) => self.open(script),
            (1, Some(peer)) => {
                self.links.remove(&peer);
                self.step(Input::Closed(peer));
            }
            (2, Some(peer)) => {
                let part = script.below(4) + 1;
                let Some(link) = self.links.get_mut(&peer) else { return };
                let bytes = link.unwritten.div_ceil(part);
                link.unwritten -= bytes;
                if link.unwritten == 0 && bytes > 0 {
                    link.written_at = Some(self.now);
                }
                self.step(Input::Written { peer, bytes });
            }
            (3, _) => {
                self.now += u64::from(script.next()) * u64::from(script.next());
                self.step(Input::Tick);
            }
            (4, _) => {
                self.books.set_now(WALL.after(self.now));
                let taken = match self.dialect {
                    Dialect::Jenny => toy::mine_note(&mut self.books, "own", WALL.after(self.now)),
                    Dialect::Ingchain => {
                        let miner = script.next() % 3 + 1;
                        toy::mine_coin(&mut self.books, miner, WALL.after(self.now))
                    }
                };
                if let Some(taken) = taken {
                    self.step(Input::Mined(taken));
                }
            }
            (5, _) => {
                let row = toy::pay(&self.books, script.next() % 3 + 1, 2, 7, u64::from(script.next()));
                if let Some(row) = row.map(Arc::new)
                    && self.books.submit(Arc::clone(&row)).is_ok()
                {
                    self.step(Input::Submitted(row));
                }
            }
            (6, _) => {
                let at =
                    ["tcp://a:1", "ws://b:2", "tcp://c:3"].get(script.below(3)).copied().unwrap_or_default();
                if let Ok(address) = at.parse::<Address>() {
                    let is_wanted = !script.next().is_multiple_of(4);
                    self.step(if is_wanted { Input::Dial(address) } else { Input::Forget(address) });
                }
            }
            (7, _) => {
                if let Some(dial) = self.dials.pop() {
                    self.step(Input::DialFailed(dial));
                }
            }
            (8..=10, _) if !self.tasks.is_empty() => {
                let task = self.tasks.remove(script.below(self.tasks.len()));
                self.finish(task);
            }
            (11..=13, Some(peer)) => {
                let text = self.text(script);
                self.receive(peer, &text);
            }
            (_, Some(peer)) => {
                let len = script.below(60);
                self.receive(peer, script.take(len));
            }
            _ => {}
        }
    }

    fn pick(&self, script: &mut Script<'_>) -> Option<PeerId> {
        let at = script.below(self.links.len());
        self.links.keys().nth(at).copied()
    }

    fn open(&mut self, script: &mut Script<'_>) {
        self.next_peer += 1;
        let (peer, dialect) = (PeerId(self.next_peer), self.dialect);
        let flags = script.next();
        let way = match self.dials.pop().filter(|_| flags & 1 > 0) {
            Some(dial) => Way::Dialled(dial),
            None => Way::Accepted,
        };
        let socket = |at: u8| std::net::SocketAddr::from(([192, 0, 2, at >> 1 & 3], u16::from(at >> 3 & 3)));
        let (local, remote) = (Some(socket(script.next())), socket(flags));
        let wire = WireLimits::default().with_frame_bytes_max(self.limits.document_bytes_max);
        let link = Link {
            codec: JsonCodec::new(&wire).objects_only(),
            input: BytesMut::new(),
            unwritten: 0,
            written_at: None,
            is_paused: false,
        };
        self.links.insert(peer, link);
        self.step(Input::Opened { peer, dialect, way, local, remote });
    }

    /// A message of sense, perhaps with one byte changed.
    fn text(&self, script: &mut Script<'_>) -> Vec<u8> {
        let books = if script.next() & 1 > 0 { &self.books } else { &self.other };
        let (which, at) = (script.below(6), script.below(6));
        let note = books.note_blocks().get(at).or(books.note_blocks().first());
        let coin = books.coin_blocks().get(at).or(books.coin_blocks().first());
        let (Some(note), Some(coin)) = (note, coin) else { return Vec::new() };
        let mut text = match (self.dialect, which) {
            (dialect, 0) => dialect.question().into_data().to_vec(),
            (Dialect::Jenny, 1..=3) => NoteMessage::write_all_block(note),
            (Dialect::Ingchain, 1 | 2) => CoinMessage::write_all_block(coin),
            (Dialect::Ingchain, 3) => {
                let row = toy::pay(&self.books, script.next() % 3 + 1, 2, 7, u64::from(script.next()));
                row.map(|row| CoinMessage::write_transaction(&row)).unwrap_or_default()
            }
            (Dialect::Jenny, _) => {
                let blocks = books
                    .note_blocks()
                    .iter()
                    .map(|block| spandrel_chain_protocol::Block::<Notes>::clone(block));
                NoteMessage::ReceivedChain(blocks.collect()).to_json()
            }
            (Dialect::Ingchain, _) => {
                let blocks = books
                    .coin_blocks()
                    .iter()
                    .map(|block| spandrel_chain_protocol::Block::<Coins>::clone(block));
                CoinMessage::ReceivedChain(blocks.collect()).to_json()
            }
        };
        if script.next() & 3 == 0 {
            let at = usize::from(script.next()) * 7 % text.len().max(1);
            if let Some(byte) = text.get_mut(at) {
                *byte = script.next();
            }
        }
        text
    }

    /// Gives bytes to the machine as a driver does: whole documents, none from a peer that is not read.
    fn receive(&mut self, peer: PeerId, bytes: &[u8]) {
        let Some(link) = self.links.get_mut(&peer).filter(|link| !link.is_paused) else { return };
        if self.dialect == Dialect::Jenny {
            let bytes = Bytes::copy_from_slice(bytes);
            let frame = Frame::try_text(bytes.clone()).unwrap_or_else(|_| Frame::binary(bytes));
            return self.step(Input::Received { peer, frame });
        }
        link.input.extend_from_slice(bytes);
        while let Some(link) = self.links.get_mut(&peer) {
            match link.codec.decode(&mut link.input, false, &mut OutBuf::new()) {
                Ok(Some(frame)) => self.step(Input::Received { peer, frame }),
                Ok(None) => return,
                Err(_) => {
                    self.links.remove(&peer);
                    return self.step(Input::Closed(peer));
                }
            }
        }
    }

    fn finish(&mut self, task: Task) {
        self.books.set_now(WALL.after(self.now));
        let done = task.run(&mut self.books);
        self.step(Input::Done(done));
    }

    fn step(&mut self, input: Input) {
        self.gossip.step(Millis::new(self.now), input);
        while let Some(output) = self.gossip.poll() {
            self.work(output);
        }
        self.check();
    }

    fn work(&mut self, output: Output) {
        match output {
            Output::Send { peer, frame } => {
                let link = self.links.get_mut(&peer).expect("sends to open connections only");
                assert!(frame.len() <= self.limits.document_bytes_max, "a document over the limit");
                if self.dialect == Dialect::Ingchain {
                    assert_eq!(link.unwritten, 0, "one document at a time");
                    let at = link.written_at.map_or(u64::MAX, |at| self.now - at);
                    assert!(at >= self.limits.pause_ms, "documents too close");
                }
                link.unwritten += frame.len();
            }
            Output::Close { peer, .. } => {
                assert!(self.links.remove(&peer).is_some(), "closes what is open");
            }
            Output::Pause(peer) | Output::Resume(peer) => {
                let is_pause = matches!(output, Output::Pause(_));
                let link = self.links.get_mut(&peer).expect("is open");
                assert_ne!(std::mem::replace(&mut link.is_paused, is_pause), is_pause, "said twice");
            }
            Output::Dial { dial, .. } => self.dials.push(dial),
            Output::Task(task) => self.tasks.push(task),
            Output::Event(_) => {}
        }
    }

    fn check(&mut self) {
        assert!(self.gossip.tasks() <= TASKS_MAX);
        let infos: Vec<_> = self.gossip.peers().collect();
        assert!(infos.len() <= PEERS_MAX);
        assert!(infos.iter().map(|(peer, _)| peer).eq(self.links.keys()), "both know the same connections");
        for (_, info) in &infos {
            assert!(info.unsent_bytes <= self.limits.unsent_bytes_max);
            assert!(info.malformed < self.limits.bad_messages_max);
        }
        // A timer in the past would spin: one tick has to settle it.
        if self.gossip.wake().is_some_and(|wake| wake.get() <= self.now) {
            self.gossip.step(Millis::new(self.now), Input::Tick);
            while let Some(output) = self.gossip.poll() {
                self.work(output);
            }
            assert!(self.gossip.wake().is_none_or(|wake| wake.get() > self.now), "a timer that never helps");
        }
    }
}
