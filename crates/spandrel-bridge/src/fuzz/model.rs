//! What a bridge must do, told as simply as possible: lists that are searched from end to end, nothing kept
//! twice.

use spandrel_bridge_protocol::FromParent;
use spandrel_socketio::Event;
use spandrel_wire::Millis;

use crate::{ConnId, Input, Limits, LinkId, Role};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Idle,
    Electing,
    /// When it took over, if it did.
    Host(Option<u64>),
    Dialing(u64),
    Up(u64),
    Waiting,
    Ended,
}

/// Naive tables.
#[derive(Debug)]
pub(crate) struct Model {
    limits: Limits,
    mode: Mode,
    was_client: bool,
    last_link: u64,
    own: Option<String>,
    /// In the order they came.
    conns: Vec<(u64, Role, Option<String>)>,
    /// Rooms and the clients that have them.
    claims: Vec<(String, u64)>,
    is_awaited: bool,
    held: Vec<Wait>,
    upward: Vec<Wait>,
    downward: Vec<Wait>,
}

#[derive(Debug, Clone)]
struct Wait {
    since: u64,
    room: String,
    packet: String,
}

impl Model {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            mode: Mode::Idle,
            was_client: false,
            last_link: 0,
            own: None,
            conns: vec![],
            claims: vec![],
            is_awaited: false,
            held: vec![],
            upward: vec![],
            downward: vec![],
        }
    }

    pub(crate) const fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(crate) const fn last_link(&self) -> u64 {
        self.last_link
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.mode == Mode::Ended
    }

    /// Only time can bring it on.
    pub(crate) fn is_waiting(&self) -> bool {
        matches!(self.mode, Mode::Waiting | Mode::Dialing(_))
    }

    /// The bridge asked for the port.
    pub(crate) fn elects(&mut self) {
        assert!(
            matches!(self.mode, Mode::Idle | Mode::Waiting | Mode::Dialing(_) | Mode::Up(_)),
            "{:?}",
            self.mode
        );
        self.was_client = self.mode != Mode::Idle;
        self.mode = Mode::Electing;
    }

    /// The bridge called a host.
    pub(crate) fn dials(&mut self, link: LinkId) {
        assert!(matches!(self.mode, Mode::Waiting | Mode::Dialing(_)), "{:?}", self.mode);
        assert!(link.0 > self.last_link, "a name was used again");
        self.mode = Mode::Dialing(link.0);
        self.last_link = link.0;
    }

    /// The bridge gave up a call.
    pub(crate) fn hangs_up(&mut self) {
        if self.mode != Mode::Ended {
            assert!(matches!(self.mode, Mode::Dialing(_)), "{:?}", self.mode);
            self.mode = Mode::Waiting;
        }
    }

    /// What must be seen for this fact, apart from the election.
    pub(crate) fn step(&mut self, now: Millis, input: &Input) -> Vec<String> {
        let now = now.get();
        for list in [&mut self.held, &mut self.upward, &mut self.downward] {
            list.retain(|wait| now < wait.since + self.limits.held_ms);
        }
        if self.mode == Mode::Ended {
            return vec![];
        }
        match input {
            Input::Parent(FromParent::AddRoomId(room)) => self.add_room(room.as_str()),
            Input::Parent(FromParent::Send(value)) => {
                let data = value.as_ref().map(|value| format!(r#""data":{value}"#)).unwrap_or_default();
                self.send(now, &format!(r#"42["message",{{{data}}}]"#))
            }
            Input::Parent(FromParent::DisconnectHardware) => {
                self.send(now, r#"42["message",{"data":"disconnectHardware"}]"#)
            }
            Input::Parent(FromParent::Encrypt(text)) => vec![format!("encrypt {text}")],
            Input::Parent(FromParent::Decrypt(text)) => vec![format!("decrypt {text}")],
            Input::Parent(_) => vec![],
            Input::ParentGone | Input::Terminate => self.end(matches!(input, Input::Terminate)),
            Input::Listening if self.mode == Mode::Electing => {
                self.is_awaited = self.was_client && self.own.is_some();
                if !self.is_awaited {
                    self.held.clear();
                }
                self.mode = Mode::Host(self.was_client.then_some(now));
                vec![report("runningModeChanged", "2"), report("cloudModeChanged", "0")]
            }
            Input::ListenFailed | Input::ListenRefused(_) if self.mode == Mode::Electing => {
                self.mode = Mode::Waiting;
                vec![report("runningModeChanged", "3"), report("cloudModeChanged", "1")]
            }
            Input::Opened { conn, role, room } => {
                self.opened(conn.0, *role, room.as_ref().map(|room| room.as_str()))
            }
            Input::Closed { conn } => self.closed(conn.0),
            Input::Event { conn, event } => self.event(now, *conn, event),
            Input::HostUp { link } if self.mode == Mode::Dialing(link.0) => {
                self.mode = Mode::Up(link.0);
                let claim = self.own.iter().map(|room| claim(link.0, room));
                let held = self.held.drain(..).map(|wait| format!("host {} {}", link.0, wait.packet));
                claim.chain(held).collect()
            }
            Input::HostRefused { link } | Input::HostDown { link } if self.mode == Mode::Up(link.0) => vec![],
            Input::HostRefused { link } | Input::HostDown { link } if self.mode == Mode::Dialing(link.0) => {
                self.mode = Mode::Waiting; // unless it asks for something else at once
                vec![]
            }
            Input::HostEvent { link, event }
                if self.mode == Mode::Up(link.0) && event.is_named("message") =>
            {
                event.arg(0).map(|message| report("data", &message.to_string())).into_iter().collect()
            }
            _ => vec![],
        }
    }

    fn add_room(&mut self, room: &str) -> Vec<String> {
        if room.len() > self.limits.room_bytes_max {
            return vec![];
        }
        if self.own.as_ref().is_some_and(|own| own != room) {
            self.held.clear();
        }
        self.own = Some(room.to_owned());
        match self.mode {
            Mode::Up(link) => vec![claim(link, room)],
            Mode::Host(_) => self.give_held(),
            _ => vec![],
        }
    }

    fn send(&mut self, now: u64, packet: &str) -> Vec<String> {
        match self.mode {
            Mode::Idle | Mode::Ended => vec![],
            Mode::Up(link) => vec![format!("host {link} {packet}")],
            Mode::Host(_) if !self.has_rooms(now) => self.to_browsers(packet, |_, _| true),
            Mode::Host(_) => match self.own.clone() {
                Some(_) if self.is_awaited && self.is_recent(now) => {
                    hold(&self.limits, &mut self.held, now, "", packet);
                    vec![]
                }
                Some(own) => self.to_browsers(packet, |_, room| room == Some(&own)),
                None => {
                    self.to_browsers(packet, |it, room| room.is_none_or(|room| it.client_of(room).is_none()))
                }
            },
            _ => {
                hold(&self.limits, &mut self.held, now, "", packet);
                vec![]
            }
        }
    }

    fn opened(&mut self, conn: u64, role: Role, room: Option<&str>) -> Vec<String> {
        let room = room.filter(|room| role == Role::Browser && !room.is_empty());
        let is_full = self.conns.len() >= self.limits.connections_max;
        let is_long = room.is_some_and(|room| room.len() > self.limits.room_bytes_max);
        if !matches!(self.mode, Mode::Host(_)) || is_full || is_long {
            return vec![format!("close {conn}")];
        }
        if self.find(conn).is_some() {
            return vec![];
        }
        self.conns.push((conn, role, room.map(str::to_owned)));
        let cloud = if self.has_clients() { "1" } else { "0" };
        let mut done = vec![r#"parent {"key":"connection"}"#.to_owned(), report("cloudModeChanged", cloud)];
        if let Some(room) = room {
            if self.own.as_deref() == Some(room) {
                done.extend(self.give_held());
            }
            let waiting = take(&mut self.downward, room);
            done.extend(waiting.iter().map(|packet| format!("to {conn} {packet}")));
        }
        done
    }

    fn closed(&mut self, conn: u64) -> Vec<String> {
        let Some((_, role, room)) = self.find(conn) else { return vec![] };
        self.conns.retain(|it| it.0 != conn);
        self.claims.retain(|it| it.1 != conn);
        let mut done = vec![close(room.as_deref())];
        if role == Role::Client && !self.has_clients() {
            done.push(report("cloudModeChanged", "0"));
        }
        done
    }

    fn event(&mut self, now: u64, ConnId(conn): ConnId, event: &Event) -> Vec<String> {
        let Some((_, role, room)) = self.find(conn) else { return vec![] };
        let arg = event.arg(0);
        if event.is_named("matchTarget") && role == Role::Client {
            let target = arg.and_then(|arg| arg.member("roomId").or(Some(arg)));
            let half = |text: &str| text.contains(char::REPLACEMENT_CHARACTER);
            let text = target.and_then(|target| target.text().map(|text| text.into_owned()));
            return match text {
                Some(room)
                    if !half(&room) && !room.is_empty() && room.len() <= self.limits.room_bytes_max =>
                {
                    self.claim(conn, &room)
                }
                _ => vec![],
            };
        }
        if !event.is_named("message") {
            return vec![];
        }
        let mut done = match &arg {
            Some(message) => self.message(now, role, room, &message.to_string()),
            None => vec![],
        };
        if let Some(id) = event.ack_id() {
            let key = arg.and_then(|arg| arg.member("key")).map_or("true".to_owned(), |key| key.to_string());
            done.push(format!("to {conn} 43{id}[{key}]"));
        }
        done
    }

    fn message(&mut self, now: u64, role: Role, room: Option<String>, message: &str) -> Vec<String> {
        let packet = format!(r#"42["message",{message}]"#);
        if !self.has_rooms(now) {
            return vec![report("data", message)];
        }
        match (role, room) {
            (Role::Client, None) => vec![],
            (Role::Client, Some(room)) => {
                let nobody =
                    !self.conns.iter().any(|it| it.1 == Role::Browser && it.2.as_ref() == Some(&room));
                if nobody && self.is_recent(now) {
                    hold(&self.limits, &mut self.downward, now, &room, &packet);
                }
                self.to_browsers(&packet, |_, its| its == Some(&room))
            }
            (Role::Browser, room) => match room.as_ref().and_then(|room| self.client_of(room)) {
                Some(client) => vec![format!("to {client} {packet}")],
                None if room == self.own => vec![report("data", message)],
                None => {
                    if let Some(room) = room.filter(|_| self.is_recent(now)) {
                        hold(&self.limits, &mut self.upward, now, &room, &packet);
                    }
                    vec![]
                }
            },
        }
    }

    fn claim(&mut self, client: u64, room: &str) -> Vec<String> {
        self.claims.retain(|it| it.1 != client && it.0 != room);
        self.claims.push((room.to_owned(), client));
        for conn in self.conns.iter_mut().filter(|conn| conn.0 == client) {
            conn.2 = Some(room.to_owned());
        }
        take(&mut self.upward, room).iter().map(|packet| format!("to {client} {packet}")).collect()
    }

    fn give_held(&mut self) -> Vec<String> {
        let Some(own) = self.own.clone() else { return vec![] };
        let is_here = self.conns.iter().any(|it| it.1 == Role::Browser && it.2.as_ref() == Some(&own));
        if !is_here || !std::mem::take(&mut self.is_awaited) {
            return vec![];
        }
        let held = std::mem::take(&mut self.held);
        held.iter().flat_map(|wait| self.to_browsers(&wait.packet, |_, room| room == Some(&own))).collect()
    }

    fn end(&mut self, is_told: bool) -> Vec<String> {
        let mut done = match self.mode {
            Mode::Host(_) | Mode::Electing => vec!["stop".to_owned()],
            _ => vec![],
        };
        if is_told {
            done.extend(self.conns.iter().map(|conn| close(conn.2.as_deref())));
            if self.has_clients() {
                done.push(report("cloudModeChanged", "0"));
            }
        }
        done.push("exit 0".into());
        self.mode = Mode::Ended;
        self.conns.clear();
        done
    }

    fn find(&self, conn: u64) -> Option<(u64, Role, Option<String>)> {
        self.conns.iter().find(|it| it.0 == conn).cloned()
    }

    fn client_of(&self, room: &str) -> Option<u64> {
        self.claims.iter().find(|it| it.0 == room).map(|it| it.1)
    }

    fn to_browsers(&self, packet: &str, wants: impl Fn(&Self, Option<&String>) -> bool) -> Vec<String> {
        let browsers = self.conns.iter().filter(|it| it.1 == Role::Browser && wants(self, it.2.as_ref()));
        browsers.map(|it| format!("to {} {packet}", it.0)).collect()
    }

    fn has_clients(&self) -> bool {
        self.conns.iter().any(|it| it.1 == Role::Client)
    }

    fn has_rooms(&self, now: u64) -> bool {
        self.has_clients() || (self.own.is_some() && self.is_recent(now))
    }

    fn is_recent(&self, now: u64) -> bool {
        matches!(self.mode, Mode::Host(Some(since)) if now < since + self.limits.guard_ms)
    }
}

fn hold(limits: &Limits, list: &mut Vec<Wait>, now: u64, room: &str, packet: &str) {
    if packet.len() > limits.held_bytes_max {
        return;
    }
    list.push(Wait { since: now, room: room.to_owned(), packet: packet.to_owned() });
    let bytes = |list: &[Wait]| list.iter().map(|wait| wait.packet.len()).sum::<usize>();
    while list.len() > limits.held_messages_max || bytes(list) > limits.held_bytes_max {
        list.remove(0);
    }
}

fn take(list: &mut Vec<Wait>, room: &str) -> Vec<String> {
    let (taken, left) = list.drain(..).partition::<Vec<_>, _>(|wait| wait.room == room);
    *list = left;
    taken.into_iter().map(|wait| wait.packet).collect()
}

fn report(key: &str, value: &str) -> String {
    format!(r#"parent {{"key":"{key}","value":{value}}}"#)
}

fn close(room: Option<&str>) -> String {
    match room {
        None => r#"parent {"key":"close"}"#.to_owned(),
        Some(room) => format!(r#"parent {{"key":"close","value":"{room}"}}"#),
    }
}

fn claim(link: u64, room: &str) -> String {
    format!(r#"host {link} 42["matchTarget","{room}"]"#)
}
