//! One bridge: what its parent, its sessions, its host and the time say, and what follows.

mod election;
mod routing;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use spandrel_bridge_protocol::{CloudMode, FromParent, RoomId, RunningMode, ToParent};
use spandrel_wire::Millis;

use self::election::{Link, Next};
use crate::held::Held;
use crate::pace::Pace;
use crate::rooms::Rooms;
use crate::{Audience, Config, ConnId, Input, LinkId, Note, Output, Role, Security};

/// Notes that strangers can cause come at most this often.
const NOTE_PAUSE_MS: u64 = 1_000;

/// The bridge of one program.
///
/// **Driving rule:** give it a fact with [`step`](Self::step), do what [`poll`](Self::poll) gives until it
/// gives nothing, in order, then set one timer to [`wake`](Self::wake); when it fires, step with
/// [`Input::Tick`]. Ticking early or twice does no harm. `now` must not go backwards; if it does, waits get
/// longer, nothing else.
#[derive(Debug)]
pub struct Bridge {
    config: Config,
    state: State,
    own_room: Option<RoomId>,
    rooms: Rooms,
    /// Messages of the parent that wait for a host, or for the first browser of the own room.
    held: Held,
    /// Messages of browsers that wait for the client of their room, shortly after a take-over.
    upward: Held,
    /// Messages of clients that wait for the first browser of their room, shortly after a take-over.
    downward: Held,
    pace: Pace,
    links: u64,
    noted: Option<Millis>,
    /// Why the last try for the port failed, if not since another program has it.
    refusal: Option<String>,
    out: VecDeque<Output>,
}

#[derive(Debug)]
enum State {
    /// Before `open`.
    Idle,
    /// The port was asked for.
    Electing {
        /// There was a host before.
        was_client: bool,
        /// Wait so long before the next host is called, in milliseconds: links were lost soon after they
        /// came.
        pause_ms: u64,
    },
    /// The port is ours.
    Host(Host),
    /// The port is another's.
    Client(Link),
    /// Nothing more is to be done.
    Ended,
}

#[derive(Debug)]
struct Host {
    /// End of the time after a take-over in which rooms count although no client has come.
    guard_until: Option<Millis>,
    /// Nobody of the own room was here since the take-over.
    is_awaited: bool,
}

/// How a bridge is, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// Host or client; `None` before `open` and while the port is asked for.
    pub running: Option<RunningMode>,
    /// As last told the parent.
    pub cloud: CloudMode,
    /// A client's link to its host is up.
    pub is_joined: bool,
    /// Browsers connected.
    pub browsers: usize,
    /// Clients connected.
    pub clients: usize,
    /// Rooms somebody is in or claims.
    pub rooms: usize,
    /// Messages that wait for a host, a browser or a client.
    pub held_messages: usize,
    /// Bytes of them.
    pub held_bytes: usize,
}

impl Bridge {
    /// Waits for `open`.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            pace: Pace::new(config.seed),
            config,
            state: State::Idle,
            own_room: None,
            rooms: Rooms::default(),
            held: Held::default(),
            upward: Held::default(),
            downward: Held::default(),
            links: 0,
            noted: None,
            refusal: None,
            out: VecDeque::new(),
        }
    }

    /// Takes a fact.
    pub fn step(&mut self, now: Millis, input: Input) {
        if matches!(self.state, State::Ended) {
            return;
        }
        match input {
            Input::Event { conn, event } => self.heard(now, conn, &event),
            Input::Parent(said) => self.told(now, said),
            Input::ParentGone => self.end(Ended::ParentGone),
            Input::Terminate => self.end(Ended::Asked),
            Input::Listening => self.listening(now),
            Input::ListenFailed => self.listen_failed(now, None),
            Input::ListenRefused(why) => self.listen_failed(now, Some(why)),
            Input::Opened { conn, role, room } => self.opened(now, conn, role, room),
            Input::Closed { conn } => self.closed(conn),
            Input::HostUp { link } => self.host_up(now, link),
            Input::HostRefused { link } | Input::HostDown { link } => self.host_gone(now, link),
            Input::HostEvent { link, event } => self.host_said(link, &event),
            Input::Tick => self.tick(now),
        }
        self.note_lost();
    }

    /// The next piece of work.
    pub fn poll(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// When to step with [`Input::Tick`], if nothing comes before.
    #[must_use]
    pub fn wake(&self) -> Option<Millis> {
        let limits = &self.config.limits;
        let of_state = match &self.state {
            State::Client(Link::Dialing { until, .. } | Link::Waiting { until, .. }) => Some(*until),
            State::Host(host) => host.guard_until,
            _ => None,
        };
        let of_held = self.queues().into_iter().map(|held| held.wake(limits));
        of_held.chain([of_state]).flatten().min()
    }

    /// The sessions of an audience, as they are now.
    pub fn audience<'a>(&'a self, audience: &'a Audience) -> impl Iterator<Item = ConnId> + 'a {
        self.rooms.audience(audience)
    }

    /// How it is.
    #[must_use]
    pub fn status(&self) -> Status {
        Status {
            running: match self.state {
                State::Host(_) => Some(RunningMode::Server),
                State::Client(_) => Some(RunningMode::Client),
                _ => None,
            },
            cloud: match self.state {
                State::Client(_) => CloudMode::Cloud,
                _ => self.cloud(),
            },
            is_joined: matches!(self.state, State::Client(Link::Up { .. })),
            browsers: self.rooms.len() - self.rooms.clients(),
            clients: self.rooms.clients(),
            rooms: self.rooms.rooms().len(),
            held_messages: self.queues().map(Held::len).iter().sum(),
            held_bytes: self.queues().map(Held::bytes).iter().sum(),
        }
    }

    /// The room of this program.
    #[must_use]
    pub const fn own_room(&self) -> Option<&RoomId> {
        self.own_room.as_ref()
    }

    /// Every room: its name, how many browsers are in it, whether it is a client's.
    pub fn rooms(&self) -> impl ExactSizeIterator<Item = (&RoomId, usize, bool)> {
        self.rooms.rooms()
    }

    fn told(&mut self, now: Millis, said: FromParent) {
        match said {
            FromParent::Open => self.open(),
            FromParent::AddRoomId(room) => self.add_room(now, room),
            FromParent::Send(value) => self.send(now, value.as_ref()),
            FromParent::DisconnectHardware => self.disconnect_hardware(now),
            FromParent::Encrypt(text) => self.out.push_back(Output::Encrypt(text)),
            FromParent::Decrypt(text) => self.out.push_back(Output::Decrypt(text)),
            FromParent::ConnectHardwareSuccess(_)
            | FromParent::ConnectHardwareFailed
            | FromParent::Ignored => {}
        }
    }

    /// A session opened: told to the parent with the mode, changed or not.
    fn opened(&mut self, now: Millis, conn: ConnId, role: Role, room: Option<RoomId>) {
        if !matches!(self.state, State::Host(_)) {
            return self.out.push_back(Output::Close(conn));
        }
        // A client's room is the one it claims; one without a name is none.
        let room = room.filter(|room| role == Role::Browser && !room.as_str().is_empty());
        let limits = &self.config.limits;
        let (max, room_max) = (limits.connections_max, limits.room_bytes_max);
        let bytes = room.as_ref().map_or(0, |room| room.as_str().len());
        let refusal = if self.rooms.len() >= max {
            Some(Note::TooManyConnections { max })
        } else {
            (bytes > room_max).then_some(Note::RoomTooLong { bytes, max: room_max })
        };
        if let Some(refusal) = refusal {
            self.note_at_times(now, refusal);
            return self.out.push_back(Output::Close(conn));
        }
        if !self.rooms.enter(conn, role, room.clone()) {
            return;
        }
        self.report(ToParent::Connection);
        self.report(ToParent::CloudModeChanged(self.cloud()));
        if let Some(room) = room {
            self.welcome(now, conn, &room);
        }
    }

    /// A session ended: told to the parent once, with its room.
    fn closed(&mut self, conn: ConnId) {
        let Some(gone) = self.rooms.leave(conn) else { return };
        self.report(ToParent::Close(gone.room));
        if gone.role == Role::Client && self.rooms.clients() == 0 {
            self.report(ToParent::CloudModeChanged(CloudMode::Single));
        }
    }

    fn add_room(&mut self, now: Millis, room: RoomId) {
        let (bytes, max) = (room.as_str().len(), self.config.limits.room_bytes_max);
        if bytes > max {
            return self.out.push_back(Output::Note(Note::RoomTooLong { bytes, max }));
        }
        if self.own_room.as_ref().is_some_and(|before| *before != room) {
            // What waits was for another room; what waits for none yet may go to the first.
            self.held.clear();
        }
        self.own_room = Some(room);
        self.claim_at_host();
        self.give_held(now);
    }

    fn tick(&mut self, now: Millis) {
        for held in [&mut self.held, &mut self.upward, &mut self.downward] {
            held.expire(now, &self.config.limits);
        }
        if let State::Host(host) = &mut self.state
            && host.guard_until.is_some_and(|until| now >= until)
        {
            host.guard_until = None;
        }
        if let State::Client(link) = &self.state {
            match link {
                Link::Dialing { link, until, .. } if now >= *until => self.dial_timed_out(now, *link),
                Link::Waiting { until, next } if now >= *until => match next {
                    Next::Listen => self.listen(true, 0),
                    Next::Dial => self.dial(now),
                },
                _ => {}
            }
        }
    }

    /// Ends everything. To a parent that is still there every session is reported, and the last client's
    /// going.
    fn end(&mut self, why: Ended) {
        match std::mem::replace(&mut self.state, State::Ended) {
            State::Client(Link::Dialing { link, .. } | Link::Up { link, .. }) => {
                self.out.push_back(Output::HangUp(link));
            }
            State::Host(_) | State::Electing { .. } => self.out.push_back(Output::StopListening),
            _ => {}
        }
        let had_clients = self.rooms.clients() > 0;
        let rooms = self.rooms.leave_all();
        if why == Ended::Asked {
            self.out.extend(rooms.map(|room| Output::Report(ToParent::Close(room))));
            if had_clients {
                self.report(ToParent::CloudModeChanged(CloudMode::Single));
            }
        }
        self.held = Held::default();
        self.upward = Held::default();
        self.downward = Held::default();
        self.out.push_back(Output::Exit(0));
    }

    fn report(&mut self, message: ToParent) {
        self.out.push_back(Output::Report(message));
    }

    fn note(&mut self, note: Note) {
        self.out.push_back(Output::Note(note));
    }

    fn note_at_times(&mut self, now: Millis, note: Note) {
        if self.noted.is_none_or(|noted| now.since(noted) >= NOTE_PAUSE_MS) {
            self.noted = Some(now);
            self.note(note);
        }
    }

    /// Messages that were dropped are counted until nothing waits any more: one note for all of them.
    fn note_lost(&mut self) {
        for held in [&mut self.held, &mut self.upward, &mut self.downward] {
            if held.is_empty() {
                let messages = held.take_lost();
                if messages > 0 {
                    self.out.push_back(Output::Note(Note::HeldLost { messages }));
                }
            }
        }
    }

    const fn queues(&self) -> [&Held; 3] {
        [&self.held, &self.upward, &self.downward]
    }

    fn cloud(&self) -> CloudMode {
        if self.rooms.clients() > 0 { CloudMode::Cloud } else { CloudMode::Single }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    ParentGone,
    Asked,
}
