//! One machine with a port, programs that want it, and browsers that look for their programs. Everything that
//! takes time is an event in one queue; nothing here knows the rules, except how sockets and processes
//! behave.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use spandrel_bridge::{
    Bridge, Config, ConnId, Event, FromParent, Input, LinkId, Millis, Output, Security, ToParent, Value,
};
use spandrel_socketio::{Decoder, Frame, Packet};

use crate::check::{Checks, Said};
use crate::random::Random;

/// A session whose peer is silent so long is given up.
const PING_TIMEOUT_MS: u64 = 6_000;
/// What a page waits after it lost its bridge.
pub(crate) const PAGE_RETURN_MS: u64 = 1_500;
/// What a page waits for an answer.
pub(crate) const PAGE_TIMEOUT_MS: u64 = 1_000;

pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) now: u64,
    pub(crate) random: Random,
    /// Shortest time on the way; the longest is just under twice that.
    pub(crate) latency_ms: u64,
    queue: BinaryHeap<Reverse<Scheduled>>,
    pub(crate) scheduled: u64,
    pub(crate) port: Port,
    pub(crate) programs: Vec<Program>,
    pub(crate) browsers: Vec<Browser>,
    pub(crate) wires: Vec<Wire>,
    pub(crate) checks: Checks,
    pub(crate) is_talking: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Port {
    Free,
    Of(usize),
    /// A program that is no bridge: it hangs up at once, or never answers.
    Foreign {
        answers: bool,
    },
}

/// A desktop program: its bridge, and what it says.
pub(crate) struct Program {
    pub(crate) bridge: Bridge,
    /// Started so often; facts for an earlier life are void.
    pub(crate) life: u64,
    pub(crate) is_alive: bool,
    pub(crate) is_frozen: bool,
    pub(crate) security: Security,
    /// What waits while it is frozen.
    pub(crate) inbox: VecDeque<Input>,
    /// Frozen so often.
    pub(crate) freezes: u64,
    pub(crate) room: Option<String>,
    /// The last room its parent told it, heard or not.
    pub(crate) room_said: Option<String>,
    /// Every room of this life that its bridge has heard of.
    pub(crate) rooms: Vec<String>,
    pub(crate) said: u64,
    pub(crate) was_client: bool,
    pub(crate) took_over: Option<u64>,
    pub(crate) wakes_at: Option<u64>,
}

pub(crate) struct Browser {
    pub(crate) room: Option<String>,
    pub(crate) wire: Option<usize>,
    pub(crate) is_connected: bool,
    pub(crate) said: u64,
    pub(crate) unsent: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    Browser(usize),
    Program { index: usize, life: u64, link: LinkId },
}

/// A socket, from the call to the end of both sides.
pub(crate) struct Wire {
    pub(crate) host: usize,
    pub(crate) host_life: u64,
    pub(crate) peer: Peer,
    /// The host knows it and has not heard of its end.
    pub(crate) is_open_at_host: bool,
    pub(crate) is_done_at_host: bool,
    pub(crate) is_done_at_peer: bool,
    /// Nothing passes any more.
    pub(crate) is_cut: bool,
    /// What its program claimed.
    pub(crate) claim: Option<String>,
    pub(crate) to_host_until: u64,
    pub(crate) to_peer_until: u64,
}

struct Scheduled {
    at: u64,
    order: u64,
    what: What,
}

#[derive(Debug, Clone)]
pub(crate) enum What {
    ToHost(usize, Sent),
    ToPeer(usize, Sent),
    Fact { program: usize, life: u64, input: Input },
    Wake { program: usize, life: u64 },
    Thaw { program: usize, freeze: u64 },
    Silence { program: usize, freeze: u64 },
    Page { browser: usize },
    PageTimeout { browser: usize, wire: usize },
    BrowserSpeaks { browser: usize },
    ProgramSpeaks { program: usize, life: u64 },
    Opens { program: usize, life: u64 },
    GetsRoom { program: usize, life: u64 },
    ForeignLeaves,
    Chaos { until: u64 },
}

#[derive(Debug, Clone)]
pub(crate) enum Sent {
    Open,
    Text(String),
    Close,
}

impl World {
    pub(crate) fn new(seed: u64, programs: usize, rooms_of_browsers: &[Option<String>]) -> Self {
        let mut random = Random::new(seed);
        let mut world = Self {
            seed,
            now: 0,
            latency_ms: random.within(1, 10),
            random,
            queue: BinaryHeap::new(),
            scheduled: 0,
            port: Port::Free,
            programs: vec![],
            browsers: vec![],
            wires: vec![],
            checks: Checks::default(),
            is_talking: true,
        };
        for index in 0..programs {
            let program = world.program(0, Some(format!("R{index}")));
            world.programs.push(program);
        }
        for room in rooms_of_browsers {
            let browser =
                Browser { room: room.clone(), wire: None, is_connected: false, said: 0, unsent: vec![] };
            world.browsers.push(browser);
        }
        world
    }

    fn program(&mut self, life: u64, room: Option<String>) -> Program {
        let security = if self.random.once_in(3) { Security::Tls } else { Security::Plain };
        Program {
            bridge: Bridge::new(Config::new(security, self.random.next())),
            life,
            is_alive: false,
            is_frozen: false,
            security,
            inbox: VecDeque::new(),
            freezes: 0,
            room,
            room_said: None,
            rooms: vec![],
            said: 0,
            was_client: false,
            took_over: None,
            wakes_at: None,
        }
    }

    /// Does what is due until then.
    pub(crate) fn run_until(&mut self, until: u64) {
        while self.queue.peek().is_some_and(|Reverse(next)| next.at <= until) {
            let Some(Reverse(next)) = self.queue.pop() else { break };
            self.now = next.at;
            self.happens(next.what);
        }
        self.now = until;
    }

    pub(crate) fn schedule_chaos(&mut self, until: u64) {
        self.after(self.latency_ms, What::Chaos { until });
    }

    /// A browser opens its page.
    pub(crate) fn page(&mut self, browser: usize, in_ms: u64) {
        self.after(in_ms, What::Page { browser });
        self.after(in_ms, What::BrowserSpeaks { browser });
    }

    /// A program starts and says what it says at first, in one of the possible orders.
    pub(crate) fn start(&mut self, index: usize) {
        let (life, room) = (self.programs[index].life + 1, self.programs[index].room.clone());
        let fresh = self.program(life, room);
        self.programs[index] = Program { is_alive: true, ..fresh };
        self.checks.program_starts(index);
        self.note(|| format!("program {index} starts"));
        let open_ms = self.random.within(0, 50);
        self.after(open_ms, What::Opens { program: index, life });
        let room_ms = if self.random.once_in(4) { 700 } else { self.random.within(0, 60) };
        self.after(room_ms, What::GetsRoom { program: index, life });
        self.after(60, What::ProgramSpeaks { program: index, life });
    }

    pub(crate) fn kill(&mut self, index: usize) {
        self.note(|| format!("program {index} is killed"));
        self.dies(index);
    }

    pub(crate) fn terminate(&mut self, index: usize) {
        self.note(|| format!("program {index} is asked to end"));
        self.fact(index, Input::Terminate);
    }

    pub(crate) fn freeze(&mut self, index: usize, ms: u64) {
        if !self.programs[index].is_alive || self.programs[index].is_frozen {
            return;
        }
        self.note(|| format!("program {index} hangs for {ms} ms"));
        let program = &mut self.programs[index];
        program.is_frozen = true;
        program.freezes += 1;
        let freeze = program.freezes;
        self.after(ms, What::Thaw { program: index, freeze });
        self.after(PING_TIMEOUT_MS, What::Silence { program: index, freeze });
    }

    pub(crate) fn thaw_all(&mut self) {
        for index in 0..self.programs.len() {
            self.thaws(index);
        }
    }

    pub(crate) fn cut(&mut self, wire: usize) {
        self.note(|| format!("wire {wire} is cut"));
        self.wires[wire].is_cut = true;
        let (at_host, at_peer) = (self.way(), self.way());
        self.after(at_host, What::ToHost(wire, Sent::Close));
        self.after(at_peer, What::ToPeer(wire, Sent::Close));
    }

    pub(crate) fn foreign_comes(&mut self, ms: u64, answers: bool) {
        if self.port == Port::Free {
            self.note(|| format!("a foreign program has the port for {ms} ms"));
            self.port = Port::Foreign { answers };
            self.after(ms, What::ForeignLeaves);
        }
    }

    pub(crate) fn foreign_leaves(&mut self) {
        if matches!(self.port, Port::Foreign { .. }) {
            self.note(|| "the foreign program leaves".into());
            self.port = Port::Free;
        }
    }

    /// The program gets another room.
    pub(crate) fn moves(&mut self, index: usize, room: String) {
        self.programs[index].room = Some(room.clone());
        self.fact(index, Input::Parent(FromParent::AddRoomId(room.into())));
    }

    pub(crate) fn program_speaks(&mut self, index: usize) {
        let program = &mut self.programs[index];
        if !program.is_alive {
            return;
        }
        program.said += 1;
        let room = program.room_said.as_ref().map_or("null".to_owned(), |room| format!("\"{room}\""));
        let text = format!(r#"{{"p":{index},"life":{},"room":{room},"n":{}}}"#, program.life, program.said);
        let value = Value::parse(text).expect("a value");
        self.fact(index, Input::Parent(FromParent::Send(Some(value))));
    }

    pub(crate) fn browser_speaks(&mut self, index: usize) {
        let browser = &mut self.browsers[index];
        browser.said += 1;
        // Every third asks for an acknowledgement.
        let ack = if browser.said.is_multiple_of(3) { browser.said.to_string() } else { String::new() };
        let text = format!(r#"42{ack}["message",{{"b":{index},"n":{}}}]"#, browser.said);
        match browser.wire.filter(|_| browser.is_connected) {
            Some(wire) => self.towards_host(wire, Sent::Text(text)),
            // The client library keeps what is said while there is no connection.
            None if browser.unsent.len() < 20 => browser.unsent.push(text),
            None => {}
        }
    }

    pub(crate) fn fail(&self, what: &str) -> ! {
        panic!(
            "{what}\nat {} ms of seed {}: SPANDREL_SEED={} replays it\nlast events:\n{}",
            self.now,
            self.seed,
            self.seed,
            self.checks.last_events().join("\n")
        )
    }

    pub(crate) fn note(&mut self, event: impl FnOnce() -> String) {
        self.checks.note(self.now, event);
    }

    fn happens(&mut self, what: What) {
        self.checks.note(self.now, || format!("{what:?}"));
        match what {
            What::ToHost(wire, sent) => self.at_host(wire, sent),
            What::ToPeer(wire, sent) => self.at_peer(wire, sent),
            What::Fact { program, life, input } => {
                if self.programs[program].life == life {
                    self.fact(program, input);
                }
            }
            What::Opens { program, life } => {
                if self.programs[program].life == life {
                    self.fact(program, Input::Parent(FromParent::Open));
                }
            }
            What::GetsRoom { program, life } => {
                if let Some(room) = self.programs[program].room.clone()
                    && self.programs[program].life == life
                {
                    self.moves(program, room);
                }
            }
            What::Wake { program, life } => self.wakes(program, life),
            What::Thaw { program, freeze } => {
                if self.programs[program].freezes == freeze {
                    self.thaws(program);
                }
            }
            What::Silence { program, freeze } => self.silence(program, freeze),
            What::Page { browser } => self.browser_calls(browser),
            What::PageTimeout { browser, wire } => {
                if self.browsers[browser].wire == Some(wire) && !self.browsers[browser].is_connected {
                    self.peer_closes(wire);
                    self.browser_lost(browser, 1);
                }
            }
            What::BrowserSpeaks { browser } => {
                if self.is_talking {
                    self.browser_speaks(browser);
                }
                let pause = self.random.within(50, 600);
                self.after(pause, What::BrowserSpeaks { browser });
            }
            What::ProgramSpeaks { program, life } => {
                if self.programs[program].life == life && self.programs[program].is_alive {
                    if self.is_talking {
                        self.program_speaks(program);
                    }
                    let pause = self.random.within(30, 400);
                    self.after(pause, What::ProgramSpeaks { program, life });
                }
            }
            What::ForeignLeaves => self.foreign_leaves(),
            What::Chaos { until } => {
                if self.now < until {
                    crate::chaos(self);
                    let pause = self.random.within(50, 2_500);
                    self.after(pause, What::Chaos { until });
                }
            }
        }
    }

    /// A fact for a program: at once, or when it is no longer frozen.
    pub(crate) fn fact(&mut self, index: usize, input: Input) {
        let program = &mut self.programs[index];
        if !program.is_alive {
            return;
        }
        if let Input::Parent(FromParent::AddRoomId(room)) = &input
            && program.room_said.as_deref() != Some(room.as_str())
        {
            program.room_said = Some(room.as_str().to_owned());
        }
        if program.is_frozen {
            return program.inbox.push_back(input);
        }
        let mut facts = VecDeque::from([input]);
        while let Some(input) = facts.pop_front() {
            self.before_step(index, &input);
            let now = Millis::new(self.now);
            self.programs[index].bridge.step(now, input);
            while let Some(output) = self.programs[index].bridge.poll() {
                self.does(index, output, &mut facts);
            }
            self.checks_step(index);
        }
        self.sets_timer(index);
    }

    /// What the outside knows about the bridge's place in the world.
    fn before_step(&mut self, index: usize, input: &Input) {
        let now = self.now;
        let program = &mut self.programs[index];
        match input {
            Input::Listening => program.took_over = program.was_client.then_some(now),
            Input::ListenFailed => program.was_client = true,
            Input::Parent(FromParent::AddRoomId(room)) => program.rooms.push(room.as_str().to_owned()),
            Input::Closed { conn } => {
                let wire = wire_of(*conn);
                self.checks_closes(index, &[wire]);
                self.wires[wire].is_open_at_host = false;
            }
            Input::Terminate => {
                let all: Vec<_> = self.sessions_of(index).collect();
                self.checks_closes(index, &all);
            }
            Input::Opened { conn, .. } => {
                self.wires[wire_of(*conn)].is_open_at_host = true;
                self.towards_peer(wire_of(*conn), Sent::Open);
            }
            Input::Event { conn, event } if event.is_named("matchTarget") => {
                let claim = event.arg(0).and_then(|arg| arg.text().map(|text| text.into_owned()));
                self.wires[wire_of(*conn)].claim = claim;
            }
            _ => {}
        }
    }

    fn does(&mut self, index: usize, output: Output, facts: &mut VecDeque<Input>) {
        match output {
            Output::Report(message) => self.reports(index, &message),
            Output::Listen => {
                let is_free = self.port == Port::Free;
                if is_free {
                    self.port = Port::Of(index);
                }
                facts.push_back(if is_free { Input::Listening } else { Input::ListenFailed });
            }
            Output::StopListening => self.stops(index),
            Output::Send(audience, packet) => {
                let conns: Vec<_> = self.programs[index].bridge.audience(&audience).collect();
                let text = packet.text().as_text().expect("text").to_owned();
                for conn in conns {
                    self.checks_sending(index, wire_of(conn), &text);
                    self.towards_peer(wire_of(conn), Sent::Text(text.clone()));
                }
            }
            Output::Close(conn) => {
                let wire = wire_of(conn);
                self.wires[wire].is_open_at_host = false;
                self.wires[wire].is_done_at_host = true;
                self.towards_peer(wire, Sent::Close);
            }
            Output::Dial(link, security) => self.program_calls(index, link, security),
            Output::SendHost(link, packet) => {
                let text = packet.text().as_text().expect("text").to_owned();
                match self.wire_of_link(index, link) {
                    Some(wire) => self.towards_host(wire, Sent::Text(text)),
                    None => self.fail("a packet for a host that is not there"),
                }
            }
            Output::HangUp(link) => {
                if let Some(wire) = self.wire_of_link(index, link) {
                    self.peer_closes(wire);
                }
            }
            Output::Exit(code) => {
                assert_eq!(code, 0);
                self.checks_ended(index);
                self.dies(index);
            }
            Output::Note(_) | Output::Encrypt(_) | Output::Decrypt(_) => {}
        }
    }

    pub(crate) fn sets_timer(&mut self, index: usize) {
        let program = &mut self.programs[index];
        let wake = program.bridge.wake().map(|wake| wake.get().max(self.now));
        if program.is_alive && wake != program.wakes_at {
            program.wakes_at = wake;
            let life = program.life;
            if let Some(wake) = wake {
                self.after(wake - self.now, What::Wake { program: index, life });
            }
        }
    }

    fn wakes(&mut self, index: usize, life: u64) {
        let now = self.now;
        let program = &mut self.programs[index];
        // A timer that was set anew meanwhile does not fire.
        if program.life == life && program.wakes_at == Some(now) {
            program.wakes_at = None;
            self.fact(index, Input::Tick);
        }
    }

    fn thaws(&mut self, index: usize) {
        let program = &mut self.programs[index];
        if !program.is_alive || !std::mem::take(&mut program.is_frozen) {
            return;
        }
        let inbox = std::mem::take(&mut program.inbox);
        let life = program.life;
        self.note(|| format!("program {index} goes on"));
        for input in inbox {
            if self.programs[index].life == life {
                self.fact(index, input);
            }
        }
        // Its timers are due.
        self.fact(index, Input::Tick);
    }

    /// The others have not heard from a frozen program for too long.
    fn silence(&mut self, index: usize, freeze: u64) {
        let program = &self.programs[index];
        if !program.is_frozen || program.freezes != freeze {
            return;
        }
        let (life, latest) = (program.life, self.now - PING_TIMEOUT_MS);
        self.note(|| format!("program {index} is silent since {latest}"));
        for wire in 0..self.wires.len() {
            let it = &self.wires[wire];
            if it.host == index && it.host_life == life && !it.is_done_at_peer {
                let peer = it.peer;
                self.peer_closes(wire);
                self.peer_lost(peer);
            } else if matches!(it.peer, Peer::Program { index: it, life: its, .. } if it == index && its == life)
                && !it.is_done_at_host
            {
                let (host, conn) = (it.host, ConnId(wire as u64));
                self.wires[wire].is_done_at_host = true;
                self.towards_peer(wire, Sent::Close);
                self.fact(host, Input::Closed { conn });
            }
        }
    }

    /// Everything of the process ends; the kernel still delivers what it sent, then the end of each socket.
    fn dies(&mut self, index: usize) {
        let program = &mut self.programs[index];
        if !program.is_alive {
            return;
        }
        program.is_alive = false;
        program.is_frozen = false;
        program.inbox.clear();
        let life = program.life;
        self.checks.program_ends(index);
        self.stops(index);
        for wire in 0..self.wires.len() {
            if matches!(self.wires[wire].peer, Peer::Program { index: it, life: its, .. } if it == index && its == life)
            {
                self.peer_closes(wire);
            }
        }
    }

    /// Frees the port and ends the sessions of a host.
    fn stops(&mut self, index: usize) {
        if self.port == Port::Of(index) {
            self.port = Port::Free;
        }
        let life = self.programs[index].life;
        for wire in 0..self.wires.len() {
            let it = &mut self.wires[wire];
            if it.host == index && it.host_life == life {
                it.is_open_at_host = false;
                if !std::mem::replace(&mut it.is_done_at_host, true) {
                    self.towards_peer(wire, Sent::Close);
                }
            }
        }
    }

    pub(crate) fn after(&mut self, ms: u64, what: What) {
        self.scheduled += 1;
        self.queue.push(Reverse(Scheduled { at: self.now + ms, order: self.scheduled, what }));
    }

    pub(crate) fn reports(&mut self, index: usize, message: &ToParent) {
        self.checks.note(self.now, || format!("program {index} is told {message:?}"));
        self.checks_report(index, message);
        if let ToParent::Data(value) = message {
            match Said::read(value) {
                Some(said @ Said::Browser { .. }) => self.checks_heard_by_parent(index, &said),
                other => self.fail(&format!("a parent was told {other:?}")),
            }
        }
    }

    pub(crate) fn browser_hears(&mut self, browser: usize, wire: usize, text: &str) {
        if text.starts_with("43") {
            return self.checks_acknowledged(wire, text);
        }
        let said = event(text).arg(0).and_then(|arg| arg.member("data")).and_then(|data| Said::read(&data));
        match said {
            Some(said @ Said::Program { .. }) => self.checks_heard_by_browser(browser, &said),
            other => self.fail(&format!("browser {browser} was told {other:?}")),
        }
    }
}

impl Program {
    /// The room as its bridge knows it.
    pub(crate) fn room_told(&self) -> Option<&String> {
        self.rooms.last()
    }
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

pub(crate) fn wire_of(conn: ConnId) -> usize {
    usize::try_from(conn.0).expect("an index")
}

pub(crate) fn event(text: &str) -> Event {
    match Decoder::new(&spandrel_socketio::Limits::default()).push(Frame::text(text)) {
        Ok(Some(Packet::Event(event))) => event,
        other => panic!("{text} is no event: {other:?}"),
    }
}
