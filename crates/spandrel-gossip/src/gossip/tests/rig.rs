//! A node with peers that are told what it sends.

use std::net::SocketAddr;

use spandrel_chain_protocol::{CoinMessage, Ledger, NoteMessage, WallMillis};
use spandrel_wire::{Frame, Millis};

use crate::fuzz::toy::{self, Toy};
use crate::{
    Address, CloseReason, Config, DialId, Dialect, Event, Gossip, Input, Limits, MemoryBooks, Output, PeerId,
    Task, Way,
};

pub(super) const WALL: WallMillis = WallMillis::new(1_700_000_000_000);

/// A node whose peers take at once what they are sent, unless told otherwise.
pub(super) struct Rig {
    pub(super) gossip: Gossip,
    pub(super) books: MemoryBooks<Toy>,
    pub(super) now: u64,
    pub(super) sent: Vec<(u64, Frame)>,
    pub(super) closed: Vec<(u64, CloseReason)>,
    pub(super) dials: Vec<(DialId, Address)>,
    pub(super) reading: Vec<(u64, bool)>,
    pub(super) events: Vec<Event>,
    /// Tasks wait here while `holds_tasks`.
    pub(super) tasks: Vec<Task>,
    pub(super) holds_tasks: bool,
    pub(super) is_read: bool,
}

impl Rig {
    pub(super) fn new() -> Self {
        Self::with(Limits::default().with_pause_ms(0))
    }

    pub(super) fn with(limits: Limits) -> Self {
        let own = vec!["tcp://10.0.0.1:7546".parse().unwrap()];
        let books = toy::books();
        let config = Config::new(7).with_limits(limits).with_own(own);
        Self {
            gossip: Gossip::new(config, books.tips()),
            books,
            now: 0,
            sent: Vec::new(),
            closed: Vec::new(),
            dials: Vec::new(),
            reading: Vec::new(),
            events: Vec::new(),
            tasks: Vec::new(),
            holds_tasks: false,
            is_read: true,
        }
    }

    pub(super) fn step(&mut self, input: Input) {
        self.gossip.step(Millis::new(self.now), input);
        while let Some(output) = self.gossip.poll() {
            match output {
                Output::Send { peer, frame } => {
                    let bytes = frame.len();
                    self.sent.push((peer.0, frame));
                    if self.is_read {
                        self.gossip.step(Millis::new(self.now), Input::Written { peer, bytes });
                    }
                }
                Output::Close { peer, why } => self.closed.push((peer.0, why)),
                Output::Pause(peer) => self.reading.push((peer.0, false)),
                Output::Resume(peer) => self.reading.push((peer.0, true)),
                Output::Dial { dial, address } => self.dials.push((dial, address)),
                Output::Task(task) if self.holds_tasks => self.tasks.push(task),
                Output::Task(task) => self.run(task),
                Output::Event(event) => self.events.push(event),
            }
        }
    }

    fn run(&mut self, task: Task) {
        self.books.set_now(WALL.after(self.now));
        let done = task.run(&mut self.books);
        self.gossip.step(Millis::new(self.now), Input::Done(done));
    }

    pub(super) fn finish_task(&mut self) {
        let task = self.tasks.remove(0);
        self.books.set_now(WALL.after(self.now));
        let done = task.run(&mut self.books);
        self.step(Input::Done(done));
    }

    /// Opens a connection; what is said on that occasion is forgotten.
    pub(super) fn peer(&mut self, id: u64, dialect: Dialect) {
        let remote = format!("192.0.2.{id}:4000").parse().unwrap();
        self.open(id, dialect, Way::Accepted, remote);
        self.sent.clear();
    }

    pub(super) fn open(&mut self, id: u64, dialect: Dialect, way: Way, remote: SocketAddr) {
        self.step(Input::Opened { peer: PeerId(id), dialect, way, local: None, remote });
    }

    pub(super) fn hear(&mut self, id: u64, text: impl Into<String>) {
        self.step(Input::Received { peer: PeerId(id), frame: Frame::text(text.into()) });
    }

    /// Lets time pass, with a tick whenever one is asked for.
    pub(super) fn pass(&mut self, ms: u64) {
        let end = self.now + ms;
        while let Some(wake) = self.gossip.wake().filter(|wake| wake.get() <= end) {
            self.now = wake.get().max(self.now);
            self.step(Input::Tick);
        }
        self.now = end;
        self.step(Input::Tick);
    }

    /// What was said since the last look, in short: `1:question 2:block3 2:chain5`.
    pub(super) fn said(&mut self) -> String {
        let said = std::mem::take(&mut self.sent);
        let words = said.iter().map(|(peer, frame)| format!("{peer}:{}", word(frame.as_text().unwrap())));
        words.collect::<Vec<_>>().join(" ")
    }

    pub(super) fn height(&self, dialect: Dialect) -> u64 {
        self.gossip.tip(dialect.ledger()).height().get()
    }

    /// Mines here, without a word to the peers.
    pub(super) fn grow(&mut self, dialect: Dialect, blocks: u64) {
        for _ in 0..blocks {
            self.mine(dialect);
        }
        self.sent.clear();
    }

    pub(super) fn mine(&mut self, dialect: Dialect) {
        let taken = mine(&mut self.books, dialect, 1, WALL.after(self.now));
        self.step(Input::Mined(taken));
    }
}

pub(super) fn mine(books: &mut MemoryBooks<Toy>, dialect: Dialect, who: u8, now: WallMillis) -> crate::Taken {
    let taken = match dialect.ledger() {
        Ledger::Note => toy::mine_note(books, &format!("by {who}"), now),
        Ledger::Coin => toy::mine_coin(books, who, now),
    };
    taken.expect("a block of one's own")
}

/// Somebody else's chain of so many blocks on the first; heights start at 0 and 1.
pub(super) fn other_chain(dialect: Dialect, blocks: u64) -> MemoryBooks<Toy> {
    let mut books = toy::books();
    for _ in 0..blocks {
        mine(&mut books, dialect, 9, WALL);
    }
    books
}

/// The message of one block of a chain, by its place.
pub(super) fn block_text(books: &MemoryBooks<Toy>, dialect: Dialect, at: usize) -> String {
    let json = match dialect.ledger() {
        Ledger::Note => NoteMessage::write_all_block(&books.note_blocks()[at]),
        Ledger::Coin => CoinMessage::write_all_block(&books.coin_blocks()[at]),
    };
    String::from_utf8(json).unwrap()
}

/// The message of a whole chain.
pub(super) fn chain_text(books: &MemoryBooks<Toy>, dialect: Dialect) -> String {
    let json = match dialect.ledger() {
        Ledger::Note => {
            NoteMessage::ReceivedChain(books.note_blocks().iter().map(|b| (**b).clone()).collect()).to_json()
        }
        Ledger::Coin => {
            CoinMessage::ReceivedChain(books.coin_blocks().iter().map(|b| (**b).clone()).collect()).to_json()
        }
    };
    String::from_utf8(json).unwrap()
}

fn word(text: &str) -> String {
    let limits = spandrel_chain_protocol::Limits::default();
    if let Ok(message) = NoteMessage::from_json(text, &limits) {
        return match message {
            NoteMessage::LatestBlock => "question".to_owned(),
            NoteMessage::AllBlock(block) => format!("block{}", block.header.height),
            NoteMessage::ReceivedChain(blocks) => format!("chain{}", blocks.len() - 1),
        };
    }
    match CoinMessage::from_json(text, &limits).expect("a message of one of the dialects") {
        CoinMessage::LatestBlock => "question".to_owned(),
        // Heights of the coin ledger start at 1.
        CoinMessage::AllBlock(block) => format!("block{}", block.header.height.get() - 1),
        CoinMessage::ReceivedChain(blocks) => format!("chain{}", blocks.len() - 1),
        CoinMessage::ReceivedTransaction(_) => "row".to_owned(),
        CoinMessage::Ignored(why) => format!("{why:?}"),
    }
}
