//! The network: who is there, what is under way between them, and virtual time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::fmt::Write as _;

use spandrel_chain_protocol::WallMillis;
use spandrel_gossip::fuzz::toy;
use spandrel_gossip::{Address, DialId, Dialect, Frame, Gossip, Input, Millis, Output, PeerId, Task, Way};

use crate::liar::Liar;
use crate::node::Node;
use crate::random::Random;

/// One end of a wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) who: usize,
    pub(crate) life: u32,
    pub(crate) peer: PeerId,
}

/// An ordered connection. What is sent arrives later, or never when it is cut.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) dialect: Dialect,
    pub(crate) ends: [End; 2],
    pub(crate) is_open: bool,
    /// Has this end been told that it is closed?
    told: [bool; 2],
    latency_ms: u64,
    /// When the last thing sent to this end arrives.
    last_at: [u64; 2],
    /// Not read by this end, and what waits for it.
    paused: [bool; 2],
    held: [VecDeque<Frame>; 2],
}

#[derive(Debug)]
enum What {
    Arrive { wire: usize, to: usize, frame: Frame },
    Ended { wire: usize, to: usize },
    Written { wire: usize, by: usize, bytes: usize },
    Tick { who: usize, life: u32 },
    Task { who: usize, life: u32, task: Task },
    Reach { who: usize, life: u32, dial: DialId, address: Address },
    MineNote { who: usize },
    MineCoin { who: usize },
    Pay { who: usize },
    Chaos,
    Lie { who: usize },
}

#[derive(Debug)]
struct Due {
    at: u64,
    nth: u64,
    what: What,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.nth) == (other.at, other.nth)
    }
}
impl Eq for Due {}
impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.nth).cmp(&(other.at, other.nth))
    }
}

#[derive(Debug)]
pub(crate) enum Someone {
    Node(Box<Node>),
    Liar(Box<Liar>),
}

pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) now: u64,
    pub(crate) random: Random,
    pub(crate) all: Vec<Someone>,
    pub(crate) wires: Vec<Wire>,
    by_peer: BTreeMap<(usize, u32, PeerId), (usize, usize)>,
    due: BinaryHeap<Reverse<Due>>,
    nth: u64,
    next_peer: u64,
    /// Sides of a partition; empty when there is none.
    sides: Vec<bool>,
    pub(crate) is_chaotic: bool,
    pub(crate) lies_until: u64,
    pub(crate) trace: Trace,
    pub(crate) paid: u64,
    pub(crate) sent: u64,
}

/// A hash of everything that happened; its lines too, when somebody looks.
pub(crate) struct Trace {
    pub(crate) hash: u64,
    pub(crate) is_shown: bool,
}

impl std::fmt::Write for Trace {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        for byte in text.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
        if self.is_shown {
            print!("{text}");
        }
        Ok(())
    }
}

macro_rules! note {
    ($world:expr, $($what:tt)*) => {{
        let now = $world.now;
        write!($world.trace, "{now:>7} ").and_then(|()| writeln!($world.trace, $($what)*)).expect("no error");
    }};
}

pub(crate) fn address(who: usize, dialect: Dialect) -> Address {
    let text = match dialect {
        Dialect::Jenny => format!("ws://10.0.0.{who}:7545"),
        _ => format!("tcp://10.0.0.{who}:7546"),
    };
    text.parse().expect("an address")
}

impl World {
    pub(crate) fn new(seed: u64, nodes: usize, liars: usize, is_shown: bool) -> Self {
        let mut random = Random::new(seed);
        let mut all: Vec<Someone> =
            (0..nodes).map(|who| Someone::Node(Box::new(Node::new(who, &mut random)))).collect();
        all.extend((0..liars).map(|_| Someone::Liar(Box::new(Liar::new(&mut random)))));
        Self {
            seed,
            now: 0,
            random,
            all,
            wires: Vec::new(),
            by_peer: BTreeMap::new(),
            due: BinaryHeap::new(),
            nth: 0,
            next_peer: 0,
            sides: Vec::new(),
            is_chaotic: true,
            lies_until: u64::MAX,
            trace: Trace { hash: 0xcbf2_9ce4_8422_2325, is_shown },
            paid: 0,
            sent: 0,
        }
    }

    pub(crate) fn nodes(&self) -> impl Iterator<Item = (usize, &Node)> {
        self.all.iter().enumerate().filter_map(|(who, one)| match one {
            Someone::Node(node) => Some((who, &**node)),
            Someone::Liar(_) => None,
        })
    }

    pub(crate) fn node(&mut self, who: usize) -> Option<&mut Node> {
        match &mut self.all[who] {
            Someone::Node(node) => Some(node),
            Someone::Liar(_) => None,
        }
    }

    pub(crate) fn node_count(&self) -> usize {
        self.nodes().count()
    }

    fn schedule(&mut self, in_ms: u64, what: What) {
        self.nth += 1;
        self.due.push(Reverse(Due { at: self.now + in_ms, nth: self.nth, what }));
    }

    pub(crate) fn begin(&mut self) {
        for who in 0..self.all.len() {
            if self.node(who).is_some() {
                self.start(who);
                for _ in 0..2 {
                    let (a, b) = (self.random.within(0, 100_000), self.random.within(0, 90_000));
                    self.schedule(a, What::MineNote { who });
                    self.schedule(b, What::MineCoin { who });
                    let pay = self.random.within(30_000, 110_000);
                    self.schedule(pay, What::Pay { who });
                }
            } else {
                self.schedule(500, What::Lie { who });
            }
        }
        for _ in 0..12 {
            let at = self.random.within(1_000, 100_000);
            self.schedule(at, What::Chaos);
        }
    }

    pub(crate) fn start(&mut self, who: usize) {
        let now = self.now;
        let Some(node) = self.node(who) else { return };
        if node.gossip.is_some() {
            return;
        }
        node.start(who, now);
        let targets = node.targets.clone();
        note!(self, "{who} starts");
        for address in targets {
            self.step(who, Input::Dial(address));
        }
    }

    pub(crate) fn kill(&mut self, who: usize) {
        let Some(node) = self.node(who) else { return };
        if node.gossip.take().is_none() {
            return;
        }
        node.life += 1;
        note!(self, "{who} is killed");
        for wire in 0..self.wires.len() {
            if self.wires[wire].is_open && self.wires[wire].ends.iter().any(|end| end.who == who) {
                self.cut(wire);
            }
        }
    }

    /// Breaks a wire: what is under way on it is lost, and each end notices when it does.
    pub(crate) fn cut(&mut self, wire: usize) {
        self.wires[wire].is_open = false;
        for to in 0..2 {
            let in_ms = self.random.within(0, 1_500);
            self.schedule(in_ms, What::Ended { wire, to });
        }
    }

    pub(crate) fn open_wires(&self) -> Vec<usize> {
        (0..self.wires.len()).filter(|wire| self.wires[*wire].is_open).collect()
    }

    fn is_apart(&self, a: usize, b: usize) -> bool {
        !self.sides.is_empty() && self.sides[a] != self.sides[b]
    }

    pub(crate) fn part(&mut self) {
        self.sides = (0..self.all.len()).map(|_| self.random.once_in(2)).collect();
        for wire in self.open_wires() {
            let [a, b] = self.wires[wire].ends.map(|end| end.who);
            if self.is_apart(a, b) {
                self.cut(wire);
            }
        }
        note!(self, "partition");
    }

    pub(crate) fn heal(&mut self) {
        self.sides.clear();
        note!(self, "healed");
    }

    pub(crate) fn run_until(&mut self, end: u64) {
        while let Some(Reverse(due)) = self.due.peek() {
            if due.at > end {
                break;
            }
            let Some(Reverse(due)) = self.due.pop() else { break };
            self.now = due.at;
            self.happen(due.what);
        }
        self.now = end;
    }

    fn happen(&mut self, what: What) {
        match what {
            What::Arrive { wire, to, frame } => self.arrive(wire, to, frame),
            What::Ended { wire, to } => self.ended(wire, to),
            What::Written { wire, by, bytes } => {
                let end = self.wires[wire].ends[by];
                if self.wires[wire].is_open {
                    self.step_life(end.who, end.life, Input::Written { peer: end.peer, bytes });
                }
            }
            What::Tick { who, life } => {
                let now = self.now;
                let is_due = self.node(who).is_some_and(|node| node.tick_at == Some(now));
                if is_due {
                    if let Some(node) = self.node(who) {
                        node.tick_at = None;
                    }
                    self.step_life(who, life, Input::Tick);
                }
            }
            What::Task { who, life, task } => {
                let now = self.now;
                let Some(node) = self.node(who).filter(|node| node.life == life && node.gossip.is_some())
                else {
                    return;
                };
                let wall = node.wall(now);
                node.books.set_now(wall);
                let done = task.run(&mut node.books);
                self.step(who, Input::Done(done));
            }
            What::Reach { who, life, dial, address } => self.reach(who, life, dial, &address),
            What::MineNote { who } => self.mine_note(who),
            What::MineCoin { who } => self.mine_coin(who),
            What::Pay { who } => {
                let to = self.random.within(1, 9);
                self.pay(who, u8::try_from(to).expect("small"), false);
            }
            What::Chaos => crate::chaos(self),
            What::Lie { who } => self.lie(who),
        }
    }

    pub(crate) fn mine_note(&mut self, who: usize) {
        let (now, text) = (self.now, format!("note {who} at {}", self.now));
        let Some(node) = self.node(who).filter(|node| node.gossip.is_some()) else { return };
        let wall = node.wall(now);
        let taken = toy::mine_note(&mut node.books, &text, wall).expect("a block of its own");
        self.step(who, Input::Mined(taken));
    }

    pub(crate) fn mine_coin(&mut self, who: usize) {
        let now = self.now;
        let miner = u8::try_from(who + 1).expect("few");
        let Some(node) = self.node(who).filter(|node| node.gossip.is_some()) else { return };
        let wall = node.wall(now);
        // Nothing to mine when another row has the identifier this coinbase would have.
        let Some(taken) = toy::mine_coin(&mut node.books, miner, wall) else { return };
        self.step(who, Input::Mined(taken));
    }

    /// Pays from the node's account; says whether it could. A node that was killed has forgotten its pool and may spend
    /// a coin again, unless `is_fresh` asks for one that no pool spends.
    pub(crate) fn pay(&mut self, who: usize, to: u8, is_fresh: bool) -> bool {
        let tag = self.paid;
        let from = u8::try_from(who + 1).expect("few");
        let amount = self.random.within(1, 30);
        let Some(node) = self.node(who).filter(|node| node.gossip.is_some()) else { return false };
        let Some(row) = toy::pay(&node.books, from, to, amount, tag) else { return false };
        let is_spent = |node: &Node| {
            let mut points = row.inputs.iter().filter_map(|input| input.out_point());
            points.any(|point| node.books.coins().pool().is_spent(&point))
        };
        if is_fresh && self.nodes().any(|(_, node)| is_spent(node)) {
            return false;
        }
        let Some(node) = self.node(who) else { return false };
        let row = std::sync::Arc::new(row);
        if spandrel_gossip::Books::submit(&mut node.books, std::sync::Arc::clone(&row)).is_err() {
            return false;
        }
        self.paid += 1;
        self.step(who, Input::Submitted(row));
        true
    }

    fn step_life(&mut self, who: usize, life: u32, input: Input) {
        if self.node(who).is_some_and(|node| node.life == life) {
            self.step(who, input);
        }
    }

    pub(crate) fn step(&mut self, who: usize, input: Input) {
        let now = Millis::new(self.now);
        let Some(node) = self.node(who) else { return };
        let (life, Some(gossip)) = (node.life, node.gossip.as_mut()) else { return };
        let changes = matches!(input, Input::Done(_) | Input::Mined(_) | Input::Submitted(_));
        gossip.step(now, input);
        let outputs: Vec<Output> = std::iter::from_fn(|| gossip.poll()).collect();
        for output in outputs {
            self.work(who, life, output);
        }
        let at = self.now;
        let Some(node) = self.node(who) else { return };
        if changes {
            node.check(at);
        }
        let wake = node.gossip.as_ref().and_then(Gossip::wake).map(|wake| wake.get().max(at));
        if wake == Some(at) {
            node.idle_ticks += 1;
            assert!(node.idle_ticks < 1_000, "a timer that never helps");
        } else {
            node.idle_ticks = 0;
        }
        if let Some(wake) = wake.filter(|wake| node.tick_at.is_none_or(|at| at > *wake)) {
            node.tick_at = Some(wake);
            self.schedule(wake - at, What::Tick { who, life });
        }
    }

    fn work(&mut self, who: usize, life: u32, output: Output) {
        match output {
            Output::Send { peer, frame } => {
                let now = self.now;
                if let Some(node) = self.node(who) {
                    node.sends(now, peer, &frame);
                }
                if let Some((wire, end)) = self.by_peer.get(&(who, life, peer)).copied() {
                    self.put(wire, 1 - end, frame);
                }
            }
            Output::Close { peer, why } => {
                note!(self, "{who} closes {peer:?}: {why}");
                let Some((wire, end)) = self.by_peer.get(&(who, life, peer)).copied() else { return };
                let other = self.wires[wire].ends[1 - end].who;
                if matches!(self.all[other], Someone::Node(_)) {
                    crate::check_close(self.seed, who, other, why);
                }
                if let Some(node) = self.node(who) {
                    node.closed(peer);
                }
                self.wires[wire].told[end] = true;
                let in_ms = self.wires[wire].last_at[1 - end].saturating_sub(self.now) + 1;
                self.schedule(in_ms, What::Ended { wire, to: 1 - end });
            }
            Output::Pause(peer) | Output::Resume(peer) => {
                let is_pause = matches!(output, Output::Pause(_));
                let Some((wire, end)) = self.by_peer.get(&(who, life, peer)).copied() else { return };
                self.wires[wire].paused[end] = is_pause;
                if !is_pause {
                    for frame in std::mem::take(&mut self.wires[wire].held[end]) {
                        self.schedule(0, What::Arrive { wire, to: end, frame });
                    }
                }
            }
            Output::Dial { dial, address } => {
                let in_ms = self.random.within(5, 200);
                self.schedule(in_ms, What::Reach { who, life, dial, address });
            }
            Output::Task(task) => {
                let in_ms = self.random.within(0, 8);
                self.schedule(in_ms, What::Task { who, life, task });
            }
            Output::Event(event) => {
                note!(self, "{who} {event:?}");
                let seed = self.seed;
                if let Some(node) = self.node(who) {
                    node.event(seed, event);
                }
            }
        }
    }

    /// Puts a document on a wire.
    pub(crate) fn put(&mut self, wire: usize, to: usize, frame: Frame) {
        let jitter = self.random.within(0, 30);
        let one = &mut self.wires[wire];
        if !one.is_open {
            return;
        }
        self.sent += 1;
        let at = (self.now + one.latency_ms + jitter).max(one.last_at[to]);
        one.last_at[to] = at;
        let in_ms = at - self.now;
        self.schedule(in_ms, What::Arrive { wire, to, frame });
    }

    fn arrive(&mut self, wire: usize, to: usize, frame: Frame) {
        let one = &mut self.wires[wire];
        if !one.is_open || one.told[to] {
            return;
        }
        if one.paused[to] {
            one.held[to].push_back(frame);
            return;
        }
        let (end, bytes) = (one.ends[to], frame.len());
        let is_read = match &mut self.all[end.who] {
            Someone::Node(_) => true,
            Someone::Liar(liar) => liar.hear(one.dialect, &frame),
        };
        if is_read {
            self.schedule(0, What::Written { wire, by: 1 - to, bytes });
            self.step_life(end.who, end.life, Input::Received { peer: end.peer, frame });
        }
    }

    fn ended(&mut self, wire: usize, to: usize) {
        let one = &mut self.wires[wire];
        one.is_open = false;
        let end = one.ends[to];
        if std::mem::replace(&mut one.told[to], true) {
            return;
        }
        if let Some(node) = self.node(end.who) {
            node.closed(end.peer);
        }
        self.step_life(end.who, end.life, Input::Closed(end.peer));
    }

    fn reach(&mut self, who: usize, life: u32, dial: DialId, address: &Address) {
        let dialect = address.dialect();
        let other = (0..self.all.len()).find(|other| crate::world::address(*other, dialect) == *address);
        let is_there = other.filter(|other| match &self.all[*other] {
            Someone::Node(node) => node.gossip.is_some(),
            Someone::Liar(_) => true,
        });
        let Some(other) = is_there.filter(|other| !self.is_apart(who, *other)) else {
            return self.step_life(who, life, Input::DialFailed(dial));
        };
        if self.node(who).is_none_or(|node| node.life != life || node.gossip.is_none()) {
            return;
        }
        self.connect(who, Some(dial), other, dialect);
    }

    /// Opens a wire. `dial` names the attempt of a node; a liar has none.
    pub(crate) fn connect(&mut self, who: usize, dial: Option<DialId>, other: usize, dialect: Dialect) {
        self.next_peer += 2;
        let (here, there) = (PeerId(self.next_peer), PeerId(self.next_peer + 1));
        let life = |one: &Someone| match one {
            Someone::Node(node) => node.life,
            Someone::Liar(_) => 0,
        };
        let ends = [
            End { who, life: life(&self.all[who]), peer: here },
            End { who: other, life: life(&self.all[other]), peer: there },
        ];
        let wire = self.wires.len();
        self.wires.push(Wire {
            dialect,
            ends,
            is_open: true,
            told: [false; 2],
            latency_ms: self.random.within(1, 120),
            last_at: [0; 2],
            paused: [false; 2],
            held: Default::default(),
        });
        for (nth, end) in ends.iter().enumerate() {
            self.by_peer.insert((end.who, end.life, end.peer), (wire, nth));
        }
        let port = 40_000 + u16::try_from(self.next_peer % 20_000).expect("small");
        let last = |who: usize| u8::try_from(who).expect("few");
        let socket = |who: usize, port: u16| std::net::SocketAddr::from(([10, 0, 0, last(who)], port));
        let listen = if dialect == Dialect::Jenny { 7545 } else { 7546 };
        let (a, b) = (socket(who, port), socket(other, listen));
        note!(self, "{who} and {other} speak {dialect:?}");
        if let Some(dial) = dial {
            let way = Way::Dialled(dial);
            self.step(who, Input::Opened { peer: here, dialect, way, local: Some(a), remote: b });
        }
        let way = Way::Accepted;
        self.step(other, Input::Opened { peer: there, dialect, way, local: Some(b), remote: a });
    }

    fn lie(&mut self, who: usize) {
        if self.now >= self.lies_until {
            return;
        }
        let in_ms = self.random.within(500, 6_000);
        self.schedule(in_ms, What::Lie { who });
        if self.random.once_in(4) {
            let nodes = self.node_count() as u64;
            let other = usize::try_from(self.random.within(0, nodes)).expect("an index");
            let dialect = if self.random.once_in(2) { Dialect::Jenny } else { Dialect::Ingchain };
            let is_up = self.node(other).is_some_and(|node| node.gossip.is_some());
            if is_up && !self.is_apart(who, other) {
                self.connect(who, None, other, dialect);
            }
        }
        for wire in self.open_wires() {
            let Some(end) = self.wires[wire].ends.iter().position(|end| end.who == who) else { continue };
            let dialect = self.wires[wire].dialect;
            let Someone::Liar(liar) = &mut self.all[who] else { return };
            for frame in liar.speak(dialect, &mut self.random) {
                self.put(wire, 1 - end, frame);
            }
        }
    }

    /// Keeps apart what is not a set of those who are connected.
    pub(crate) fn tips(&self) -> BTreeSet<(u64, String, u64, String)> {
        let tips = self.nodes().map(|(_, node)| {
            let (notes, coins) = (node.books.notes(), node.books.coins().chain());
            (
                notes.height().get(),
                notes.tip().hash.to_string(),
                coins.height().get(),
                coins.tip().hash.to_string(),
            )
        });
        tips.collect()
    }
}

/// The clock on the wall of a node that is `skew_ms` ahead (or behind, below the middle).
pub(crate) const fn wall(now: u64, skew_ms: u64) -> WallMillis {
    WallMillis::new(1_700_000_000_000 + now + skew_ms)
}
