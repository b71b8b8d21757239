//! Entry points for fuzzers: plain functions that must never panic.

pub(crate) mod model;
pub(crate) mod rig;

use spandrel_bridge_protocol::FromParent;
use spandrel_socketio::Value;

use self::model::Model;
use self::rig::{Rig, event};
use crate::{Config, ConnId, Input, Limits, LinkId, Role, Security};

/// Steps of one run; more bytes say nothing more.
const STEPS_MAX: usize = 2_000;

/// Rooms to be in, the first ones often: programs shall quarrel about them. The last two are over the small
/// limit and over the default one.
const ROOMS: [&str; 9] = ["a", "b", "a", "b", "a", "방/😀", "", "a room with a long name", "long"];

/// Takes operations from `data` and compares everything a bridge does with a naive model of the routing
/// tables: reports, packets and whom they reach, in order. Asserts besides: no output after the end, at most
/// one question for the port at a time, a timer whenever one is needed and never one in the past, and that
/// everything held stays within its bounds.
pub fn fuzz_bridge_machine(data: &[u8]) {
    let mut bytes = Bytes { data };
    let flags = bytes.next();
    let mut run = Run::new(flags);
    run.begin(flags >> 2 & 3);
    for _ in 0..STEPS_MAX {
        if bytes.data.is_empty() {
            break;
        }
        let input = run.input(&mut bytes);
        run.step(input);
    }
}

struct Bytes<'a> {
    data: &'a [u8],
}

impl Bytes<'_> {
    /// The next byte; 0 at the end.
    fn next(&mut self) -> u8 {
        let Some((first, rest)) = self.data.split_first() else { return 0 };
        self.data = rest;
        *first
    }

    fn below(&mut self, max: u64) -> u64 {
        u64::from(self.next()) % max
    }

    fn room(&mut self) -> String {
        let index = usize::from(self.next()) % ROOMS.len();
        let room = ROOMS.get(index).copied().unwrap_or_default();
        if room == "long" { "x".repeat(2_000) } else { room.to_owned() }
    }
}

/// A bridge, its model, and what a driver would know.
struct Run {
    rig: Rig,
    model: Model,
    conns: u64,
    messages: u64,
    is_asked_to_listen: bool,
}

impl Run {
    fn new(flags: u8) -> Self {
        let mut config =
            Config::new(if flags & 1 == 0 { Security::Plain } else { Security::Tls }, flags.into());
        if flags & 2 != 0 {
            config.limits = Limits {
                connections_max: 6,
                room_bytes_max: 16,
                held_messages_max: 3,
                held_bytes_max: 160,
                ..Limits::default()
            };
        }
        let model = Model::new(config.limits.clone());
        Self { rig: Rig::new(config), model, conns: 0, messages: 0, is_asked_to_listen: false }
    }

    /// Random facts seldom lead far: begin as a host, a client or a successor.
    fn begin(&mut self, how: u8) {
        let open = || Input::Parent(FromParent::Open);
        let link = LinkId(1);
        let facts = match how {
            0 => vec![],
            1 => vec![open(), Input::Listening],
            2 => vec![open(), Input::ListenFailed, Input::HostUp { link }],
            _ => {
                let own = Input::Parent(FromParent::AddRoomId("a".into()));
                let joined = [open(), own, Input::ListenFailed, Input::HostUp { link }];
                joined.into_iter().chain([Input::HostDown { link }, Input::Listening]).collect()
            }
        };
        for fact in facts {
            self.step(fact);
        }
    }

    fn step(&mut self, input: Input) {
        let before = self.rig.bridge.status();
        let want = self.model.step(self.rig.now, &input);
        let shown = format!("{input:?}");
        let is_tick = matches!(input, Input::Tick);
        if matches!(input, Input::Listening | Input::ListenFailed | Input::ListenRefused(_)) {
            self.is_asked_to_listen = false;
        }
        let done = self.rig.step(input);
        self.elections(&done);
        let got: Vec<_> = done.iter().filter(|line| !of_the_election(line)).collect();
        assert!(got.iter().copied().eq(want.iter()), "{shown} at {before:?}\n got {got:#?}\nwant {want:#?}");
        self.bounds(is_tick);
    }

    /// Follows the election by what the bridge asks for.
    fn elections(&mut self, done: &[String]) {
        for line in done {
            if line == "listen" {
                assert!(!self.is_asked_to_listen, "asked for the port twice");
                self.is_asked_to_listen = true;
                self.model.elects();
            } else if let Some(link) = line.strip_prefix("dial ") {
                let link = link.split(' ').next().and_then(|link| link.parse().ok()).expect("a number");
                self.model.dials(LinkId(link));
            } else if line.starts_with("hang up ") {
                self.model.hangs_up();
            }
        }
        if self.model.is_ended() {
            self.is_asked_to_listen = false;
        }
    }

    fn bounds(&self, was_tick: bool) {
        let (status, limits) = (self.rig.bridge.status(), self.model.limits());
        assert!(status.held_messages <= 3 * limits.held_messages_max);
        assert!(status.held_bytes <= 3 * limits.held_bytes_max);
        assert!(status.browsers + status.clients <= limits.connections_max);
        assert!(status.rooms <= status.browsers + status.clients);
        let wake = self.rig.bridge.wake();
        assert!(!self.model.is_waiting() || wake.is_some(), "nothing would ever happen");
        assert!(!was_tick || wake.is_none_or(|wake| wake > self.rig.now), "it would tick for ever");
    }

    fn input(&mut self, bytes: &mut Bytes<'_>) -> Input {
        match bytes.below(28) {
            0 => Input::Parent(FromParent::Open),
            1 => Input::Parent(FromParent::AddRoomId(match bytes.room() {
                empty if empty.is_empty() => "a".into(), // never comes empty
                room => room.into(),
            })),
            2..=4 => Input::Parent(FromParent::Send(self.value(bytes))),
            5 => Input::Parent(FromParent::DisconnectHardware),
            6..=8 => self.answer(bytes),
            9..=11 => {
                self.conns += u64::from(bytes.next() != 255); // else a name that was used before
                let role = if bytes.below(3) == 0 { Role::Client } else { Role::Browser };
                let room = (bytes.below(4) != 0).then(|| bytes.room().into());
                Input::Opened { conn: ConnId(self.conns), role, room }
            }
            12..=15 => Input::Event { conn: self.conn(bytes), event: event(&self.message(bytes)) },
            16 | 24 | 25 => Input::Event { conn: self.conn(bytes), event: event(&claim(bytes)) },
            17 => {
                let other = ["close", "error", "disconnect", "mode", "Message", "__proto__"];
                let name = other.get(usize::from(bytes.next()) % other.len()).copied().unwrap_or_default();
                Input::Event { conn: self.conn(bytes), event: event(&format!(r#"7["{name}",null]"#)) }
            }
            18 => Input::Closed { conn: self.conn(bytes) },
            19 => Input::HostEvent { link: self.link(bytes), event: event(&self.message(bytes)) },
            20 | 21 => {
                let waits = [0, 1, 40, 300, 900, 2_000, 5_000, 600_000];
                self.rig.advance(waits.get(usize::from(bytes.next()) % 8).copied().unwrap_or_default());
                Input::Tick
            }
            22 => {
                let wake = self.rig.bridge.wake().unwrap_or(self.rig.now);
                self.rig.advance(wake.since(self.rig.now));
                Input::Tick
            }
            26 => Input::Parent(FromParent::Send(self.value(bytes))),
            27 => Input::Event { conn: self.conn(bytes), event: event(&self.message(bytes)) },
            _ => match bytes.next() {
                0..4 => Input::Terminate,
                4..8 => Input::ParentGone,
                8..64 => Input::Parent(FromParent::Encrypt("e".into())),
                64..128 => Input::Parent(FromParent::Decrypt("d".into())),
                _ => Input::Parent(FromParent::Ignored),
            },
        }
    }

    /// What was asked for is answered; now and then something is answered that was not.
    fn answer(&mut self, bytes: &mut Bytes<'_>) -> Input {
        let (is_good, link) = (bytes.below(2) == 0, self.link(bytes));
        let of_port = if bytes.below(16) == 0 { !self.is_asked_to_listen } else { self.is_asked_to_listen };
        match (of_port, is_good, bytes.below(2)) {
            (true, true, _) => Input::Listening,
            (true, false, 0) => Input::ListenFailed,
            (true, false, _) => Input::ListenRefused("no descriptors".into()),
            (false, true, _) => Input::HostUp { link },
            (false, false, 0) => Input::HostRefused { link },
            (false, false, _) => Input::HostDown { link },
        }
    }

    fn conn(&self, bytes: &mut Bytes<'_>) -> ConnId {
        ConnId(self.conns.saturating_sub(bytes.below(6)))
    }

    fn link(&self, bytes: &mut Bytes<'_>) -> LinkId {
        let stale = u64::from(bytes.below(8) == 0);
        LinkId(self.model.last_link().saturating_sub(stale))
    }

    fn value(&mut self, bytes: &mut Bytes<'_>) -> Option<Value> {
        self.messages += 1;
        let text = match bytes.below(5) {
            0 => return None,
            1 => "null".to_owned(),
            2 => format!(r#"[{},"{}"]"#, self.messages, "m".repeat(usize::from(bytes.next()))),
            _ => self.messages.to_string(),
        };
        Some(Value::parse(text).expect("a value"))
    }

    fn message(&mut self, bytes: &mut Bytes<'_>) -> String {
        self.messages += 1;
        let ack = if bytes.below(2) == 0 { String::new() } else { bytes.next().to_string() };
        let n = self.messages;
        let args = match bytes.below(9) {
            0 => String::new(),
            1 => ",null".to_owned(),
            2 => format!(r#",{n},2,"three""#),
            3 => format!(r#",[{n}]"#),
            4 => format!(r#",{{"data":{n},"key":"k{n}"}}"#),
            5 => format!(r#",{{"key":{{"deep":[{n}]}},"key":null}}"#),
            6 => format!(r#",{{"data":"{}"}}"#, "x".repeat(usize::from(bytes.next()))),
            _ => format!(r#",{{"data":{n}}}"#),
        };
        format!(r#"{ack}["message"{args}]"#)
    }
}

fn claim(bytes: &mut Bytes<'_>) -> String {
    let room = Value::from_text(&bytes.room());
    match bytes.below(8) {
        0 => r#"["matchTarget"]"#.to_owned(),
        1 => r#"["matchTarget",null]"#.to_owned(),
        2 => r#"["matchTarget",["a"]]"#.to_owned(),
        3 => r#"["matchTarget",{"roomId":7}]"#.to_owned(),
        4 => r#"3["matchTarget","\ud83d"]"#.to_owned(),
        5 => format!(r#"["matchTarget",{{"roomId":{room},"more":1}}]"#),
        _ => format!(r#"["matchTarget",{room}]"#),
    }
}

fn of_the_election(line: &str) -> bool {
    ["listen", "dial ", "hang up ", "note "].iter().any(|start| line.starts_with(start))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(if std::env::var_os("SPANDREL_LONG").is_some() { 20_000 } else { 400 }))]

        /// Whatever happens in whatever order, a bridge does what the tables say.
        #[test]
        fn prop_agrees_with_a_naive_model(data in proptest::collection::vec(any::<u8>(), 0..1_500)) {
            super::fuzz_bridge_machine(&data);
        }
    }
}
