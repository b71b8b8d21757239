//! One task that owns the machine, the channel to the parent and the map of sockets.
//!
//! A round takes what is ready from every side at once, steps the machine through it, and lets all that follows go out in
//! one write per side with the next round. Nothing is locked and no message is copied on its way.

use std::{
    collections::BTreeMap,
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use spandrel_bridge::{Audience, Bridge, ConnId, Input, LinkId, Note, Output, Role, Security};
use spandrel_bridge_protocol::{CloudMode, RoomId, RunningMode, Secret, ToParent, decrypt, encrypt};
use spandrel_socketio::{Encoded, Event};
use spandrel_socketio_net::{Carrier, Events, ServerEvent, Socket};
use spandrel_transport::Batch;
use spandrel_wire::Millis;
use tokio::time::{Duration, Instant, Sleep, sleep_until, timeout};

use crate::{
    Config, Exit,
    clock::Clock,
    gate::{Gate, is_child_server},
    handle::Controls,
    host_link::{HostLink, HostLinkError},
    metrics::Counts,
    parent::{ParentGone, ParentPort, said},
    port::Port,
    rest::Flow,
    snapshot::{self, Mode, Snapshot, shortened},
    sparse::Sparse,
};

/// Events of sockets taken in one round.
const EVENTS: usize = 256;
/// Rounds in a row without a wait after which other tasks get a turn: sessions share the thread.
const ROUNDS: u32 = 4;
/// What the ends of sessions and of the channel may take once the parent has been told everything.
const LAST_BYTES: Duration = Duration::from_millis(250);
/// Sessions and rooms a snapshot names.
const SHOWN_MAX: usize = 100;
/// A program that is killed lets go of its connections a moment before its port. For so many milliseconds after the host
/// was lost the port may still be its own.
const HOST_DYING_MS: u64 = 60;
/// How soon it is tried again.
const LISTEN_AGAIN_MS: u64 = 5;

/// The hub. See the module.
pub(crate) struct Hub {
    clock: Clock,
    config: Config,
    bridge: Bridge,
    parent: ParentPort,
    port: Port,
    events: Events,
    seats: BTreeMap<ConnId, Seat>,
    host: Host,
    gate: Arc<Gate>,
    controls: Controls,
    counts: Counts,
    flow: Flow,
    timer: Pin<Box<Sleep>>,
    /// Until then a port that is not free may be that of the host that was lost.
    patient_until: Millis,
    listen_again: Option<Millis>,
    no_secret: Sparse,
    broken_lines: Sparse,
}

/// One session as the hub knows it.
struct Seat {
    socket: Socket,
    role: Role,
    room: Option<RoomId>,
    since: Millis,
    messages_in: u64,
    bytes_in: u64,
    messages_out: u64,
    bytes_out: u64,
}

/// The way to the host, when this is a client.
enum Host {
    None,
    Dialing(LinkId, Pin<Box<dyn Future<Output = Result<HostLink, HostLinkError>> + Send>>),
    Open(LinkId, Box<HostLink>),
}

/// What one round brought.
#[derive(Default)]
struct Round {
    lines: Batch,
    events: Vec<ServerEvent>,
    host: Vec<Event>,
    dialled: Option<(LinkId, Result<HostLink, HostLinkError>)>,
    host_lost: Option<(LinkId, HostLinkError)>,
    is_parent_gone: bool,
    is_stopped: bool,
}

impl Round {
    fn is_empty(&self) -> bool {
        self.lines.is_empty()
            && self.events.is_empty()
            && self.host.is_empty()
            && self.dialled.is_none()
            && self.host_lost.is_none()
            && !self.is_parent_gone
            && !self.is_stopped
    }
}

impl Hub {
    #[expect(clippy::too_many_arguments, reason = "the parts of a hub, put together in one place")]
    pub(crate) fn new(
        clock: Clock,
        config: Config,
        bridge: Bridge,
        parent: ParentPort,
        port: Port,
        events: Events,
        gate: Arc<Gate>,
        controls: Controls,
        counts: Counts,
    ) -> Self {
        Self {
            timer: Box::pin(sleep_until(Instant::now())),
            flow: Flow::new(clock.now(), config.rest.clone()),
            clock,
            config,
            bridge,
            parent,
            port,
            events,
            seats: BTreeMap::new(),
            host: Host::None,
            gate,
            controls,
            counts,
            patient_until: Millis::new(0),
            listen_again: None,
            no_secret: Sparse::default(),
            broken_lines: Sparse::default(),
        }
    }

    /// Runs until the parent is gone or `stop` is ready. Dropped, everything is closed at once and the parent is told nothing.
    pub(crate) async fn run(mut self, stop: impl Future<Output = ()> + Send) -> Exit {
        let mut stop = Some(Box::pin(stop));
        let mut round = Round::default();
        let mut busy = 0;
        loop {
            poll_fn(|cx| {
                let polled = self.poll_round(cx, &mut round, &mut stop);
                if polled.is_pending() {
                    busy = 0;
                }
                polled
            })
            .await;
            busy += 1;
            if busy > ROUNDS {
                busy = 0;
                tokio::task::yield_now().await;
            }
            if let Some(exit) = self.take(&mut round) {
                return self.end(exit).await;
            }
        }
    }

    /// Ready with what every side has, or when the machine wants to know the time. What is to go out goes out.
    fn poll_round<S: Future<Output = ()>>(
        &mut self,
        cx: &mut Context<'_>,
        round: &mut Round,
        stop: &mut Option<Pin<Box<S>>>,
    ) -> Poll<()> {
        let now = self.clock.now();
        self.poll_questions(cx, now);
        if let Some(stopping) = stop
            && stopping.as_mut().poll(cx).is_ready()
        {
            round.is_stopped = true;
            *stop = None;
        }
        if let Poll::Ready(Err(ParentGone)) = self.parent.poll(cx, now, &mut round.lines) {
            round.is_parent_gone = true;
        }
        self.poll_host(cx, now, round);
        // Whoever makes events waits while the parent takes none: they are never dropped.
        if !self.parent.is_clogged() {
            self.port.poll(cx);
            let _ = self.events.poll_recv_many(cx, &mut round.events, EVENTS);
        }
        let is_due = self.poll_timer(cx, now);
        if is_due || !round.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    }

    fn poll_host(&mut self, cx: &mut Context<'_>, now: Millis, round: &mut Round) {
        match &mut self.host {
            Host::None => {}
            Host::Dialing(id, dial) => {
                if let Poll::Ready(dialled) = dial.as_mut().poll(cx) {
                    round.dialled = Some((*id, dialled));
                }
            }
            Host::Open(id, link) => {
                if let Poll::Ready(Err(lost)) = link.poll(cx, now, &mut round.host) {
                    round.host_lost = Some((*id, lost));
                }
            }
        }
    }

    /// Sets the one timer to what is due first.
    fn poll_timer(&mut self, cx: &mut Context<'_>, now: Millis) -> bool {
        let of_host = match &self.host {
            Host::Open(_, link) => Some(link.wake_at()),
            _ => None,
        };
        let due = self.bridge.wake().into_iter().chain(of_host).chain(self.listen_again);
        let Some(wake) = due.min() else { return false };
        if wake <= now {
            return true;
        }
        let at = self.clock.instant(wake);
        if self.timer.deadline() != at {
            self.timer.as_mut().reset(at);
        }
        self.timer.as_mut().poll(cx).is_ready()
    }

    fn poll_questions(&mut self, cx: &mut Context<'_>, now: Millis) {
        while let Poll::Ready(Some(asker)) = self.controls.questions.poll_recv(cx) {
            let _ = asker.send(self.snapshot(now));
        }
    }

    /// Steps the machine through a round. `Some` when it wants to end: nothing is to be told it any more.
    fn take(&mut self, round: &mut Round) -> Option<Exit> {
        let now = self.clock.now();
        let mut is_over = false;
        self.flow.received(now, round.lines.len(), round.events.len());
        for event in round.host.drain(..) {
            // Given up a moment ago, its last words are nobody's.
            if let Host::Open(link, _) = self.host {
                is_over |= self.step(now, Input::HostEvent { link, event });
            }
        }
        // Before what the parent says: a host that is lost gets none of it, it is held for the next.
        is_over |= self.take_host_news(now, round);
        while let Some(line) = round.lines.pop() {
            self.counts.from_parent.inc();
            if let Some(said) = said(&line, now, &mut self.broken_lines) {
                is_over |= self.step(now, Input::Parent(said));
            }
        }
        if self.listen_again.is_some_and(|at| now >= at)
            && let Some(fact) = self.listen(now)
        {
            is_over |= self.step(now, fact);
        }
        for event in round.events.drain(..) {
            is_over |= self.take_event(now, event);
        }
        is_over |= self.step(now, Input::Tick);
        if round.is_parent_gone {
            self.step(now, Input::ParentGone);
            return Some(Exit::ParentGone);
        }
        if std::mem::take(&mut round.is_stopped) {
            is_over |= self.step(now, Input::Terminate);
        }
        is_over.then_some(Exit::Stopped)
    }

    fn take_host_news(&mut self, now: Millis, round: &mut Round) -> bool {
        let (dialled, lost) = (round.dialled.take(), round.host_lost.take());
        match (&self.host, dialled, lost) {
            (Host::Dialing(now_dialled, _), Some((link, result)), _) if *now_dialled == link => {
                match result {
                    Ok(open) => {
                        self.host = Host::Open(link, Box::new(open));
                        self.step(now, Input::HostUp { link })
                    }
                    Err(why) => {
                        tracing::debug!(%why, "the host was not reached");
                        self.host = Host::None;
                        self.step(now, Input::HostRefused { link })
                    }
                }
            }
            (Host::Open(open, _), _, Some((link, why))) if *open == link => {
                tracing::debug!(%why, "the host was lost");
                self.host = Host::None;
                self.patient_until = now.after(HOST_DYING_MS);
                self.step(now, Input::HostDown { link })
            }
            _ => false,
        }
    }

    fn take_event(&mut self, now: Millis, event: ServerEvent) -> bool {
        match event {
            ServerEvent::Opened(socket) => {
                let conn = ConnId(socket.id().0);
                let is_client = is_child_server(socket.query("childServer"));
                let role = if is_client { Role::Client } else { Role::Browser };
                let room = socket.query("roomId").map(RoomId::from);
                self.counts.opened(role);
                self.seats.insert(conn, Seat::new(socket, role, room.clone(), now));
                self.step(now, Input::Opened { conn, role, room })
            }
            ServerEvent::Received { id, event } => {
                let conn = ConnId(id.0);
                // Closed by us in this very round: nobody listens to it any more.
                let Some(seat) = self.seats.get_mut(&conn) else { return false };
                seat.messages_in += 1;
                seat.bytes_in += event.len_bytes() as u64;
                self.counts.from_browsers.inc();
                self.step(now, Input::Event { conn, event })
            }
            ServerEvent::Closed { id, why } => {
                let conn = ConnId(id.0);
                if self.seats.remove(&conn).is_none() {
                    return false;
                }
                tracing::debug!(id = id.0, %why, "a session ended");
                self.step(now, Input::Closed { conn })
            }
            // Nothing here asks a page for an acknowledgement.
            _ => false,
        }
    }

    /// Tells the machine one fact and does all that follows. `true` when it wants to end.
    fn step(&mut self, now: Millis, fact: Input) -> bool {
        let mut next = Some(fact);
        let mut is_over = false;
        while let Some(fact) = next.take() {
            self.bridge.step(now, fact);
            while let Some(work) = self.bridge.poll() {
                match work {
                    Output::Exit(_) => is_over = true,
                    Output::Listen => next = self.listen(now),
                    work => self.work(now, work),
                }
            }
        }
        is_over
    }

    fn work(&mut self, now: Millis, work: Output) {
        match work {
            Output::Send(audience, packet) => self.send(&audience, &packet),
            Output::Report(message) => self.report(now, &message),
            Output::SendHost(link, packet) => self.send_host(link, &packet),
            Output::Encrypt(text) => self.answer(now, |secret| {
                let mut salt = [0; 8];
                getrandom::fill(&mut salt).ok()?;
                Some(ToParent::Encrypt(encrypt(secret, &text, salt)))
            }),
            Output::Decrypt(text) => {
                self.answer(now, |secret| Some(ToParent::Decrypt(decrypt(secret, &text))))
            }
            Output::Close(conn) => {
                if let Some(seat) = self.seats.remove(&conn) {
                    seat.socket.close();
                }
            }
            Output::StopListening => {
                self.listen_again = None;
                self.port.close();
                self.seats.clear();
                self.controls.listening.send_replace(None);
            }
            Output::Dial(link, security) => {
                let (port, limits) = (self.config.port, self.config.limits.clone());
                let dial = HostLink::dial(port, security == Security::Tls, limits, self.clock);
                self.host = Host::Dialing(link, Box::pin(dial));
            }
            Output::HangUp(link) => self.hang_up(link),
            Output::Note(note) => self.note(&note),
            // Done where the machine is stepped.
            Output::Listen | Output::Exit(_) => {}
        }
    }

    /// One packet, encoded once, for all that shall have it.
    fn send(&mut self, audience: &Audience, packet: &Encoded) {
        let (len, mut sent) = (packet.len_bytes() as u64, 0);
        for conn in self.bridge.audience(audience) {
            let Some(seat) = self.seats.get_mut(&conn) else { continue };
            match seat.socket.send(packet) {
                Ok(()) => {
                    sent += 1;
                    seat.messages_out += 1;
                    seat.bytes_out += len;
                }
                // It closes itself, and says so.
                Err(_) => self.counts.undelivered.inc(),
            }
        }
        self.counts.to_browsers.add(sent);
        self.flow.sent(usize::try_from(sent).unwrap_or(usize::MAX));
    }

    fn report(&mut self, now: Millis, message: &ToParent) {
        self.counts.to_parent.inc();
        self.flow.reported();
        self.parent.report(now, message);
    }

    fn answer(&mut self, now: Millis, make: impl FnOnce(&Secret) -> Option<ToParent>) {
        let Some(secret) = &self.config.secret else {
            if let Some(requests) = self.no_secret.admit(now, 1) {
                tracing::warn!(requests, "encrypt and decrypt are not answered: set SPANDREL_HW_SECRET");
            }
            return;
        };
        match make(secret) {
            Some(answer) => self.report(now, &answer),
            None => tracing::error!("encrypt is not answered: the system gives no random numbers"),
        }
    }

    /// Binds the port, at once. `None`: a host that was lost a moment ago may have it still, and it is tried again soon.
    fn listen(&mut self, now: Millis) -> Option<Input> {
        self.listen_again = None;
        match self.port.listen() {
            Ok(address) => {
                if self.config.port == 0 {
                    tracing::warn!(port = address.port(), "listening on {address}, a port the system chose");
                    // What was chosen stays: programs that join shall find it.
                    self.config.port = address.port();
                }
                self.controls.listening.send_replace(Some(address));
                Some(Input::Listening)
            }
            Err(_) if now < self.patient_until => {
                self.listen_again = Some(now.after(LISTEN_AGAIN_MS));
                None
            }
            Err(error) => {
                tracing::debug!(%error, port = self.config.port, "cannot listen");
                Some(Input::ListenFailed)
            }
        }
    }

    /// A host that takes nothing is noticed by the next poll of its link.
    fn send_host(&mut self, link: LinkId, packet: &Encoded) {
        if let Host::Open(open, to) = &mut self.host
            && *open == link
        {
            to.send(packet);
        }
    }

    fn hang_up(&mut self, link: LinkId) {
        match std::mem::replace(&mut self.host, Host::None) {
            Host::Open(open, to) if open == link => {
                to.close(&mut Context::from_waker(std::task::Waker::noop()))
            }
            Host::Dialing(dialled, _) if dialled == link => {}
            other => self.host = other,
        }
    }

    fn note(&self, note: &Note) {
        match note {
            Note::TookOver | Note::Joined(_) | Note::HostLost => tracing::info!("{note}"),
            note => tracing::warn!("{note}"),
        }
    }

    /// The last words: the parent gets what was reported to it, browsers what was sent to them, within bounds.
    async fn end(mut self, exit: Exit) -> Exit {
        self.port.close();
        if exit != Exit::ParentGone {
            let bound = Duration::from_millis(self.config.limits.stop_ms);
            let told = timeout(bound, poll_fn(|cx| self.parent.poll_out(cx))).await;
            if told.is_err() {
                tracing::warn!("stopped without telling the parent everything: it does not read");
            }
            let last = poll_fn(|cx| {
                let (told, ended) = (self.parent.poll_close(cx), self.port.poll_ended(cx));
                if told.is_ready() && ended.is_ready() { Poll::Ready(()) } else { Poll::Pending }
            });
            let _ = timeout(LAST_BYTES, last).await;
        }
        exit
    }

    fn snapshot(&self, now: Millis) -> Snapshot {
        let status = self.bridge.status();
        let (own, parent) = (self.bridge.own_room(), self.parent.facts());
        let mut rooms: Vec<_> = self.bridge.rooms().collect();
        let rooms_total = rooms.len();
        rooms.sort_by_key(|(_, browsers, _)| std::cmp::Reverse(*browsers));
        let rooms = rooms.into_iter().take(SHOWN_MAX).map(|(name, browsers, is_clients)| snapshot::Room {
            name: shortened(name.as_str()),
            browsers,
            program: match is_clients {
                true => Some(snapshot::Program::Client),
                false => (own == Some(name)).then_some(snapshot::Program::Here),
            },
        });
        Snapshot {
            version: env!("CARGO_PKG_VERSION"),
            uptime_ms: now.get(),
            mode: match status.running {
                None => Mode::Closed,
                Some(RunningMode::Server) => Mode::Host,
                Some(RunningMode::Client) => Mode::Client,
            },
            cloud: status.cloud == CloudMode::Cloud,
            address: self.port.address().map(|address| address.to_string()),
            tls: self.config.tls.is_some(),
            connections: snapshot::Connections {
                browsers: status.browsers,
                clients: status.clients,
                max: self.config.limits.connections_max,
                opened: self.counts.opened_browsers.value() + self.counts.opened_clients.value(),
                refused: self.gate.refused(),
            },
            messages: snapshot::Messages {
                from_browsers: self.counts.from_browsers.value(),
                to_browsers: self.counts.to_browsers.value(),
                from_parent: self.counts.from_parent.value(),
                to_parent: self.counts.to_parent.value(),
                dropped: parent.given_up + parent.too_long + self.counts.undelivered.value(),
            },
            rooms: rooms.collect(),
            rooms_total,
            sessions: self.seats.iter().take(SHOWN_MAX).map(|(conn, seat)| seat.shown(*conn, now)).collect(),
            refusals: self.gate.last(now),
            parent: snapshot::Channel {
                waiting_bytes: parent.waiting_bytes,
                given_up: parent.given_up,
                too_long: parent.too_long,
            },
        }
    }
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub").field("bridge", &self.bridge).finish_non_exhaustive()
    }
}

impl Seat {
    const fn new(socket: Socket, role: Role, room: Option<RoomId>, since: Millis) -> Self {
        Self { socket, role, room, since, messages_in: 0, bytes_in: 0, messages_out: 0, bytes_out: 0 }
    }

    fn shown(&self, conn: ConnId, now: Millis) -> snapshot::Session {
        snapshot::Session {
            id: conn.0,
            is_client: self.role == Role::Client,
            room: self
                .room
                .as_ref()
                .filter(|_| self.role == Role::Browser)
                .map(|room| shortened(room.as_str())),
            transport: match self.socket.carrier() {
                Carrier::WebSocket => "websocket",
                Carrier::Polling => "polling",
            },
            age_ms: now.since(self.since),
            messages_in: self.messages_in,
            bytes_in: self.bytes_in,
            messages_out: self.messages_out,
            bytes_out: self.bytes_out,
            waiting_bytes: self.socket.queued_bytes(),
        }
    }
}
