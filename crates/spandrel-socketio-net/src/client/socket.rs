//! The two ends of a session as the application holds them.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    future::poll_fn,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

use spandrel_socketio::{
    Ack, Encoded, Event, Value,
    client::{CloseReason, SendError, Session},
    encode_event,
};
use spandrel_transport::Clock;
use tokio::sync::oneshot;

/// What a session tells.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientEvent {
    /// The server sent an event. If it asks for an acknowledgement, answer with [`ClientSocket::acknowledge`].
    Received(Event),
    /// From here on a WebSocket carries the session, instead of polling.
    Upgraded,
    /// The session is over. Comes once and last.
    Closed(CloseReason),
}

/// A question that was not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AskError<E = SendError> {
    /// It was not sent.
    #[error(transparent)]
    NotSent(#[from] E),
    /// The session ended before the answer came.
    #[error("the session ended before the answer came")]
    Closed,
}

/// The sending end of a session. Cloning counts a reference; dropping the last one ends nothing.
#[derive(Clone)]
pub struct ClientSocket(pub(super) Arc<Shared>);

impl ClientSocket {
    /// Takes a packet for the server. Never waits; packets go out together.
    ///
    /// # Errors
    ///
    /// [`SendError::Closed`]; [`SendError::TooLong`] over
    /// [`message_bytes_max`](spandrel_socketio::Limits::message_bytes_max); [`SendError::Full`] when more than
    /// [`queued_bytes_max`](spandrel_socketio::Limits::queued_bytes_max) would wait. In the last two cases the packet alone is dropped, the session goes on.
    pub fn send(&self, packet: &Encoded) -> Result<(), SendError> {
        self.0.step(|session| session.send(packet))
    }

    /// Sends an event. Never waits.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn emit(&self, name: &str, args: &[&Value]) -> Result<(), SendError> {
        self.send(&encode_event(name, args, None))
    }

    /// Sends an event at once and waits for the server's acknowledgement, as long as the session lasts. Cancel safe: the
    /// event is sent, its answer is passed over.
    ///
    /// # Errors
    ///
    /// [`AskError`].
    pub fn ask(
        &self,
        name: &str,
        args: &[&Value],
    ) -> impl Future<Output = Result<Ack, AskError>> + Send + 'static {
        let (answer, answered) = oneshot::channel();
        let mut core = self.0.lock();
        core.session.set_unwritten(self.0.unwritten.load(Ordering::Relaxed));
        let asked = core.session.ask(name, args);
        if let Ok(id) = asked {
            core.answers.insert(id, answer);
        }
        let task = core.task.clone();
        drop(core);
        wake(task);
        let waiting = asked.map(|id| Waiting { shared: Arc::clone(&self.0), id });
        async move {
            let _waiting = waiting?;
            answered.await.map_err(|_| AskError::Closed)
        }
    }

    /// Answers an event that asked for it. Does nothing for one that did not.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn acknowledge(&self, event: &Event, args: &[&Value]) -> Result<(), SendError> {
        event.ack_id().map_or(Ok(()), |id| self.0.step(|session| session.acknowledge(id, args)))
    }

    /// Leaves, after what was sent before is written; [`ClientEvent::Closed`] follows.
    pub fn disconnect(&self) {
        self.0.step(|session| session.disconnect(self.0.clock.now()));
    }

    /// Can the session still send and receive?
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.0.lock().session.is_open()
    }

    /// Does a WebSocket carry the session?
    #[must_use]
    pub fn is_over_websocket(&self) -> bool {
        self.0.lock().session.is_over_websocket()
    }

    /// Returns the bytes that wait to be written.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        let mut core = self.0.lock();
        core.session.set_unwritten(self.0.unwritten.load(Ordering::Relaxed));
        core.session.waiting_bytes()
    }
}

impl fmt::Debug for ClientSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientSocket").field("is_open", &self.is_open()).finish_non_exhaustive()
    }
}

/// The receiving end of a session. Dropping it leaves the server.
pub struct ClientEvents(pub(super) Arc<Shared>);

impl ClientEvents {
    /// Receives the next event; `None` after [`ClientEvent::Closed`]. Cancel safe.
    pub async fn recv(&mut self) -> Option<ClientEvent> {
        let mut taken = None;
        poll_fn(|cx| self.poll_take(cx, 1, |event| taken = Some(event))).await;
        taken
    }

    /// Receives what is there, at least one event and at most `max`, into `out`, and returns how many; 0 after
    /// [`ClientEvent::Closed`], or when `max` is 0. Cancel safe.
    pub async fn recv_many(&mut self, out: &mut Vec<ClientEvent>, max: usize) -> usize {
        if max == 0 {
            return 0;
        }
        poll_fn(|cx| self.poll_take(cx, max, |event| out.push(event))).await
    }

    fn poll_take(
        &mut self,
        cx: &mut Context<'_>,
        max: usize,
        mut each: impl FnMut(ClientEvent),
    ) -> Poll<usize> {
        let mut core = self.0.lock();
        if core.events.is_empty() {
            if core.is_ended {
                return Poll::Ready(0);
            }
            core.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let count = core.events.len().min(max);
        for _ in 0..count {
            let Some(event) = core.events.pop_front() else { break };
            core.bytes = core.bytes.saturating_sub(cost(&event));
            each(event);
        }
        if core.events.is_empty() && core.events.capacity() > KEEP {
            core.events = VecDeque::new();
        }
        let task = if core.is_blocked && !core.is_over_bounds() { core.task.clone() } else { None };
        drop(core);
        wake(task);
        Poll::Ready(count)
    }
}

impl Drop for ClientEvents {
    fn drop(&mut self) {
        let mut core = self.0.lock();
        core.is_abandoned = true;
        let events = std::mem::take(&mut core.events);
        core.bytes = 0;
        let task = core.task.clone();
        drop(core);
        drop(events);
        wake(task);
    }
}

impl fmt::Debug for ClientEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientEvents").field("waiting", &self.0.lock().events.len()).finish_non_exhaustive()
    }
}

/// What both ends and the task share.
pub(crate) struct Shared {
    pub(super) clock: Clock,
    /// Bytes the task has taken and not written.
    pub(super) unwritten: AtomicUsize,
    core: Mutex<Core>,
}

pub(super) struct Core {
    pub(super) session: Session,
    pub(super) answers: HashMap<u64, oneshot::Sender<Ack>>,
    pub(super) task: Option<Waker>,
    events: VecDeque<ClientEvent>,
    bytes: usize,
    events_max: usize,
    bytes_max: usize,
    reader: Option<Waker>,
    /// Nobody takes events any more.
    pub(super) is_abandoned: bool,
    /// The task waits for room.
    pub(super) is_blocked: bool,
    is_ended: bool,
}

impl Shared {
    pub(super) fn new(clock: Clock, session: Session, events_max: usize, bytes_max: usize) -> Self {
        let core = Core {
            session,
            answers: HashMap::new(),
            task: None,
            events: VecDeque::new(),
            bytes: 0,
            events_max: events_max.max(1),
            bytes_max: bytes_max.max(1),
            reader: None,
            is_abandoned: false,
            is_blocked: false,
            is_ended: false,
        };
        Self { clock, unwritten: AtomicUsize::new(0), core: Mutex::new(core) }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with the machine and has the task look after it.
    fn step<T>(&self, act: impl FnOnce(&mut Session) -> T) -> T {
        let mut core = self.lock();
        core.session.set_unwritten(self.unwritten.load(Ordering::Relaxed));
        let done = act(&mut core.session);
        let task = core.task.clone();
        drop(core);
        wake(task);
        done
    }
}

impl Core {
    /// Takes an event for the application.
    pub(super) fn tell(&mut self, event: ClientEvent) {
        if let ClientEvent::Closed(_) = event {
            self.is_ended = true;
            self.answers.clear();
        }
        if !self.is_abandoned {
            self.bytes = self.bytes.saturating_add(cost(&event));
            self.events.push_back(event);
        }
    }

    /// The session is over and nobody needs to be told.
    pub(super) fn end(&mut self) {
        self.is_ended = true;
        self.answers.clear();
    }

    /// Is there more for the application than may wait?
    pub(super) fn is_over_bounds(&self) -> bool {
        self.events.len() >= self.events_max || self.bytes >= self.bytes_max
    }

    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.events.len()
    }

    /// Returns whom to wake when there is something to take.
    pub(super) fn reader_to_wake(&mut self) -> Option<Waker> {
        if self.events.is_empty() && !self.is_ended { None } else { self.reader.take() }
    }
}

/// Room for this many events is kept while there are none.
const KEEP: usize = 64;

fn cost(event: &ClientEvent) -> usize {
    match event {
        ClientEvent::Received(event) => event.len_bytes(),
        _ => 0,
    }
}

pub(super) fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// A question under way; dropped, its answer is passed over.
struct Waiting {
    shared: Arc<Shared>,
    id: u64,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut core = self.shared.lock();
        if core.answers.remove(&self.id).is_some() {
            core.session.forget(self.id);
        }
    }
}
