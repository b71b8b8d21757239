//! One task that owns the machine, the channel to the parent and the map of sockets.
//!
//! A round takes what is ready from every side at once, steps the machine through it, and lets all that follows go out in
//! one write per side with the next round. Nothing is locked and no message is copied on its way.

mod seat;
mod shown;
mod work;

use std::{
    collections::BTreeMap,
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use spandrel_bridge::{Bridge, ConnId, Input, LinkId, Output, Role};
use spandrel_bridge_protocol::RoomId;
use spandrel_socketio::{Event, server::SendError};
use spandrel_socketio_net::{Events, ServerEvent};
use spandrel_transport::{Batch, Clock};
use spandrel_wire::Millis;
use tokio::{
    task::unconstrained,
    time::{Duration, Instant, Sleep, sleep_until, timeout},
};

use self::seat::Seat;
use crate::{
    Config, Exit,
    gate::{Gate, is_child_server},
    handle::Controls,
    host_link::{HostLink, HostLinkError},
    metrics::Counts,
    parent::{ParentGone, ParentPort},
    port::Port,
    rest::Flow,
    sparse::Sparse,
};

/// What a session's query says of it.
pub(crate) const CHILD_SERVER: &str = "childServer";
pub(crate) const ROOM_ID: &str = "roomId";
/// Events of sockets taken in one round.
const EVENTS: usize = 256;
/// Rounds in a row without a wait after which other tasks get a turn: sessions share the thread.
const ROUNDS: u32 = 4;
/// What the ends of sessions and of the channel may take once the parent has been told everything.
const LAST_BYTES: Duration = Duration::from_millis(250);
/// A program that is killed lets go of its connections a moment before its port. For so many milliseconds after the host
/// was lost the port may still be its own.
const HOST_DYING_MS: u64 = 60;

/// What a hub is put together of.
pub(crate) struct Parts {
    pub(crate) clock: Clock,
    pub(crate) config: Config,
    pub(crate) bridge: Bridge,
    pub(crate) parent: ParentPort,
    pub(crate) port: Port,
    pub(crate) events: Events,
    pub(crate) gate: Arc<Gate>,
    pub(crate) controls: Controls,
    pub(crate) counts: Counts,
}

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
    too_long: Sparse<SendError>,
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
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { clock, config, bridge, parent, port, events, gate, controls, counts } = parts;
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
            too_long: Sparse::default(),
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
            // At once, however much was done since the last wait: the sessions that were given acknowledgements run only
            // when this task waits, and whoever gets one finds the parent told.
            let _ = unconstrained(poll_fn(|cx| Poll::Ready(self.parent.poll_out(cx)))).await;
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
            self.port.poll(cx, now);
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
        let due =
            self.bridge.wake().into_iter().chain(of_host).chain(self.listen_again).chain(self.late_at(cx));
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
        self.counts.from_parent.add(round.lines.len() as u64);
        for event in round.host.drain(..) {
            // Given up a moment ago, its last words are nobody's.
            if let Host::Open(link, _) = self.host {
                self.counts.from_host.inc();
                is_over |= self.step(now, Input::HostEvent { link, event });
            }
        }
        // Before what the parent says: a host that is lost gets none of it, it is held for the next.
        is_over |= self.take_host_news(now, round);
        is_over |= self.take_comings(now, round);
        while let Some(line) = round.lines.pop() {
            if let Some(said) = self.parent.said(&line, now) {
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
        self.log_late(now);
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

    /// Whoever came is there before the parent speaks: it may have heard of it elsewhere. So is the place of whoever left
    /// without another word. What sessions said comes behind the parent: it may be about what that said.
    fn take_comings(&mut self, now: Millis, round: &mut Round) -> bool {
        let is_coming = |event: &ServerEvent| matches!(event, ServerEvent::Opened(_));
        if round.lines.is_empty() || !round.events.iter().any(is_coming) {
            return false;
        }
        let mut spoke = Vec::new();
        let comings = round.events.extract_if(.., |event| match event {
            ServerEvent::Received { id, .. } => {
                spoke.push(*id);
                false
            }
            ServerEvent::Closed { id, .. } => !spoke.contains(id),
            event => is_coming(event),
        });
        comings.fold(false, |is_over, event| self.take_event(now, event) | is_over)
    }

    fn take_event(&mut self, now: Millis, event: ServerEvent) -> bool {
        match event {
            ServerEvent::Opened(socket) => {
                let conn = ConnId(socket.id().0);
                let is_client = is_child_server(socket.query(CHILD_SERVER));
                let role = if is_client { Role::Client } else { Role::Browser };
                let room = socket.query(ROOM_ID).map(RoomId::from);
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

    /// The last words: the parent gets what was reported to it, browsers what was sent to them, within bounds.
    async fn end(mut self, exit: Exit) -> Exit {
        self.port.close();
        self.log_late(Millis::new(u64::MAX));
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
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub").field("bridge", &self.bridge).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
