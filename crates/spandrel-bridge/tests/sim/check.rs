//! What must hold after every event, judged from the outside: by who said what in which room, not by the
//! bridges' tables.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

use spandrel_bridge::{CloudMode, RunningMode, ToParent, Value};

use crate::world::{Peer, Port, World, event};

const LAST_EVENTS: usize = 200;
const GUARD_MS: u64 = 5_000;

/// Who said a message, and as which of its own.
#[derive(Debug, Clone)]
pub(crate) enum Said {
    Program { index: usize, life: u64, room: Option<String>, n: u64 },
    Browser { index: usize, n: u64 },
}

impl Said {
    pub(crate) fn read(value: &Value) -> Option<Self> {
        let number = |name| value.member(name).and_then(|value| value.as_u64());
        let index = |name| number(name).and_then(|index| usize::try_from(index).ok());
        match index("p") {
            Some(index) => {
                let room = value.member("room").and_then(|room| room.text().map(|text| text.into_owned()));
                Some(Self::Program { index, life: number("life")?, room, n: number("n")? })
            }
            None => Some(Self::Browser { index: index("b")?, n: number("n")? }),
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Checks {
    pub(crate) is_tracing: bool,
    trace: DefaultHasher,
    last: VecDeque<String>,
    /// The newest each browser heard of each life of a program.
    down: HashMap<(usize, usize, u64), u64>,
    /// The newest each program heard of each browser in this life.
    up: HashMap<(usize, usize), u64>,
    acknowledged: HashMap<usize, u64>,
    /// What each program must be told next.
    modes: HashMap<usize, Option<CloudMode>>,
    /// Rooms of the sessions whose end each program must be told now.
    closes: HashMap<usize, Vec<Option<String>>>,
    pub(crate) heard: u64,
    /// Everything heard, as far as it is of interest: by a browser of a program, and the other way.
    pub(crate) heard_down: Option<Vec<(usize, usize, u64)>>,
    pub(crate) heard_up: Option<Vec<(usize, usize, u64)>>,
}

impl Checks {
    pub(crate) fn note(&mut self, now: u64, event: impl FnOnce() -> String) {
        if self.is_tracing {
            let line = format!("{now} {}", event());
            line.hash(&mut self.trace);
            if self.last.len() == LAST_EVENTS {
                self.last.pop_front();
            }
            self.last.push_back(line);
        }
    }

    pub(crate) fn last_events(&self) -> Vec<String> {
        self.last.iter().cloned().collect()
    }

    /// One number for everything that happened.
    pub(crate) fn trace(&self) -> u64 {
        self.trace.finish()
    }

    pub(crate) fn program_starts(&mut self, index: usize) {
        self.up.retain(|(program, _), _| *program != index);
    }

    pub(crate) fn program_ends(&mut self, index: usize) {
        self.modes.remove(&index);
        self.closes.remove(&index);
    }

    pub(crate) fn newest_down(&self, browser: usize, program: usize, life: u64) -> u64 {
        self.down.get(&(browser, program, life)).copied().unwrap_or_default()
    }

    pub(crate) fn newest_up(&self, program: usize, browser: usize) -> u64 {
        self.up.get(&(program, browser)).copied().unwrap_or_default()
    }
}

impl World {
    /// A host is about to send: may this session hear it?
    pub(crate) fn checks_sending(&self, host: usize, wire: usize, text: &str) {
        let it = &self.wires[wire];
        if !it.is_open_at_host {
            self.fail(&format!("program {host} sends on wire {wire}, which is closed"));
        }
        if text.starts_with("43") {
            return;
        }
        let message = event(text).arg(0).unwrap_or(Value::NULL);
        let said = Said::read(&message.member("data").unwrap_or(message));
        let is_right = match (&said, it.peer) {
            (Some(Said::Program { index, life, room, .. }), Peer::Browser(browser)) => {
                let ear = self.browsers[browser].room.as_ref();
                let program = &self.programs[*index];
                let is_own = ear.is_some() && ear == room.as_ref();
                // What was said before there was a room may go to the first.
                let is_first = room.is_none()
                    && program.life == *life
                    && ear.is_some_and(|ear| program.rooms.first() == Some(ear));
                is_own || is_first || (*index == host && self.may_hear_a_stranger(host, ear))
            }
            (Some(Said::Browser { index, .. }), Peer::Program { index: program, life, .. }) => {
                let (ear, mouth) = (&self.programs[program], self.browsers[*index].room.as_ref());
                ear.life != life || mouth.is_some_and(|room| ear.rooms.contains(room))
            }
            _ => false,
        };
        if !is_right {
            self.fail(&format!("wrong room: host {host} gives {said:?} to {:?}", it.peer));
        }
    }

    /// May a browser of another room, or of none, hear the host's own program?
    fn may_hear_a_stranger(&self, host: usize, ear: Option<&String>) -> bool {
        let is_matched =
            ear.is_some() && self.clients_of(host).any(|wire| self.wires[wire].claim.as_ref() == ear);
        self.is_alone(host) || (self.programs[host].room_told().is_none() && !is_matched)
    }

    pub(crate) fn checks_heard_by_browser(&mut self, browser: usize, said: &Said) {
        let Said::Program { index, life, n, .. } = *said else { return };
        let newest = self.checks.down.insert((browser, index, life), n).unwrap_or_default();
        if n <= newest {
            self.fail(&format!("browser {browser} hears {said:?} after {newest}"));
        }
        if let Some(heard) = &mut self.checks.heard_down {
            heard.push((browser, index, n));
        }
        self.checks.heard += 1;
    }

    pub(crate) fn checks_heard_by_parent(&mut self, program: usize, said: &Said) {
        let Said::Browser { index, n } = *said else { return };
        let (it, mouth) = (&self.programs[program], self.browsers[index].room.as_ref());
        let is_own = match mouth {
            Some(room) => it.rooms.contains(room),
            None => it.room_told().is_none(),
        };
        let is_all_there_is = self.port == Port::Of(program) && self.is_alone(program);
        if !is_own && !is_all_there_is {
            self.fail(&format!(
                "wrong room: program {program} with {:?} hears {said:?} of {mouth:?}",
                it.rooms
            ));
        }
        let newest = self.checks.up.insert((program, index), n).unwrap_or_default();
        if n <= newest {
            self.fail(&format!("program {program} hears {said:?} after {newest}"));
        }
        if let Some(heard) = &mut self.checks.heard_up {
            heard.push((program, index, n));
        }
        self.checks.heard += 1;
    }

    pub(crate) fn checks_acknowledged(&mut self, wire: usize, text: &str) {
        let id = text
            .strip_prefix("43")
            .and_then(|text| text.strip_suffix("[true]"))
            .and_then(|id| id.parse().ok());
        let Some(id) = id else { self.fail(&format!("wire {wire} is answered {text}")) };
        let newest = self.checks.acknowledged.insert(wire, id).unwrap_or_default();
        if id <= newest {
            self.fail(&format!("wire {wire} is answered {id} after {newest}"));
        }
    }

    /// These sessions end now: each that was reported must be reported once more.
    pub(crate) fn checks_closes(&mut self, program: usize, wires: &[usize]) {
        let of = |wire: &usize| {
            let it = &self.wires[*wire];
            it.is_open_at_host.then(|| match it.peer {
                Peer::Browser(browser) => self.browsers[browser].room.clone(),
                Peer::Program { .. } => it.claim.clone(),
            })
        };
        let rooms: Vec<_> = wires.iter().filter_map(of).collect();
        self.checks.closes.entry(program).or_default().extend(rooms);
    }

    pub(crate) fn checks_report(&mut self, program: usize, message: &ToParent) {
        let expected = self.checks.modes.remove(&program).flatten();
        let sessions = self.clients_of(program).next().is_some();
        let wants = match message {
            ToParent::RunningModeChanged(RunningMode::Server) => Some(CloudMode::Single),
            ToParent::RunningModeChanged(RunningMode::Client) => Some(CloudMode::Cloud),
            ToParent::Connection if sessions => Some(CloudMode::Cloud),
            ToParent::Connection => Some(CloudMode::Single),
            _ => None,
        };
        match message {
            ToParent::CloudModeChanged(mode) => {
                let last_went = *mode == CloudMode::Single && !sessions;
                if expected.map_or(!last_went, |expected| expected != *mode) {
                    self.fail(&format!("program {program} is told {mode:?}, expected {expected:?}"));
                }
            }
            _ if expected.is_some() => {
                self.fail(&format!("program {program} is told {message:?}, expected {expected:?}"));
            }
            ToParent::Close(room) => {
                let room = room.as_ref().map(|room| room.as_str().to_owned());
                let closes = self.checks.closes.entry(program).or_default();
                match closes.iter().position(|expected| *expected == room) {
                    Some(found) => drop(closes.remove(found)),
                    None => {
                        self.fail(&format!("program {program} is told of a close of {room:?} that was none"))
                    }
                }
            }
            _ => {}
        }
        self.checks.modes.insert(program, wants);
    }

    /// After each fact: nothing is owed, and nothing grew over its bound.
    pub(crate) fn checks_step(&self, program: usize) {
        if self.checks.closes.get(&program).is_some_and(|closes| !closes.is_empty()) {
            self.fail(&format!("program {program} is not told of a close"));
        }
        if self.checks.modes.get(&program).is_some_and(Option::is_some) {
            self.fail(&format!("program {program} is not told the mode"));
        }
        let status = self.programs[program].bridge.status();
        if status.held_messages > 3 * 1_024 || status.held_bytes > 3 << 20 {
            self.fail(&format!("program {program} holds too much: {status:?}"));
        }
    }

    /// The process ends itself: every session must have been reported.
    pub(crate) fn checks_ended(&self, program: usize) {
        self.checks_step(program);
    }

    pub(crate) fn sessions_of(&self, host: usize) -> impl Iterator<Item = usize> + '_ {
        let life = self.programs[host].life;
        (0..self.wires.len()).filter(move |wire| {
            let it = &self.wires[*wire];
            it.is_open_at_host && it.host == host && it.host_life == life
        })
    }

    fn clients_of(&self, host: usize) -> impl Iterator<Item = usize> + '_ {
        self.sessions_of(host).filter(|wire| matches!(self.wires[*wire].peer, Peer::Program { .. }))
    }

    /// No other program is here, and it is not so soon after a take-over that one may be on its way.
    fn is_alone(&self, host: usize) -> bool {
        let program = &self.programs[host];
        let is_recent = program.took_over.is_some_and(|since| self.now < since + GUARD_MS);
        self.clients_of(host).next().is_none() && !(is_recent && program.room_told().is_some())
    }
}
