//! One session as the application, the requests and the session's task share it.

use std::{
    collections::BTreeMap,
    fmt, mem,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker, ready},
};

use spandrel_socketio::{
    Ack, Encoded, Frame, Value, encode_ack, encode_event,
    server::{Carrier, CloseReason, Output, SendError, Session},
};
use spandrel_transport::Clock;
use spandrel_wire::Millis;
use tokio::sync::oneshot;

use crate::{
    AskError, ServerEvent,
    budget::{Budget, FLOOR},
    events::Queue,
    query::Query,
    server::Inner,
    session::Upgrading,
};

/// Number of a session, unique for the life of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketId(pub u64);

/// 15 random bytes in base64url.
pub(crate) type Sid = [u8; 20];

/// A session as the application holds it. Cloning counts a reference; keeping one keeps no connection open.
#[derive(Clone)]
pub struct Socket(pub(crate) Arc<Shared>);

impl Socket {
    /// Returns its number.
    #[must_use]
    pub fn id(&self) -> SocketId {
        self.0.id
    }

    /// Returns a parameter of the query the client connected with, percent-decoded; the first of several. Those of the
    /// transport (`EIO`, `transport`, `sid`, `t`, `b64`, `j`) are not kept.
    #[must_use]
    pub fn query(&self, name: &str) -> Option<&str> {
        self.0.query.get(name)
    }

    /// Returns the address the client connected from.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// Takes a packet for the client. Never waits. A packet for many is encoded once and costs each a reference.
    ///
    /// # Errors
    ///
    /// [`SendError::Closed`]; [`SendError::TooLong`], which drops the packet alone; or [`SendError::TooSlow`] when more than
    /// [`queued_bytes_max`](spandrel_socketio::Limits::queued_bytes_max) would wait, what is being written included: the
    /// session is closed then.
    pub fn send(&self, packet: &Encoded) -> Result<(), SendError> {
        self.0.sending(|core, now| core.machine.send(now, packet))
    }

    /// Sends an event. Never waits. For an event that goes to many, [`send`](Self::send) one that was encoded once.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn emit(&self, name: &str, args: &[&Value]) -> Result<(), SendError> {
        self.send(&encode_event(name, args, None))
    }

    /// Answers an event that asked for it, with its [`ack_id`](spandrel_socketio::Event::ack_id). Never waits.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn acknowledge(&self, ack_id: u64, args: &[&Value]) -> Result<(), SendError> {
        self.send(&encode_ack(ack_id, args))
    }

    /// Sends an event at once and waits for the client's acknowledgement, as long as the session lasts: a client that
    /// never answers keeps it waiting, so set a bound of your own. Cancel safe: the event is sent, its answer is passed
    /// over. An answer does not stand in line with the events the client sent before it.
    ///
    /// # Errors
    ///
    /// [`AskError::NotSent`] as [`send`](Self::send), and with [`SendError::TooManyAcks`] over
    /// [`acks_max`](spandrel_socketio::Limits::acks_max), which harms nothing; [`AskError::Closed`].
    pub fn ask(
        &self,
        name: &str,
        args: &[&Value],
    ) -> impl Future<Output = Result<Ack, AskError<SendError>>> + Send + 'static {
        let (answer, answered) = oneshot::channel();
        let asked: Result<u64, SendError> = self.0.sending(|core, now| {
            let id = core.machine.ask(now, name, args)?;
            core.answers.get_or_insert_default().0.insert(id, answer);
            Ok(id)
        });
        let waiting = asked.map(|id| Waiting { shared: Arc::clone(&self.0), id });
        async move {
            let _waiting = waiting?;
            answered.await.map_err(|_| AskError::Closed)
        }
    }

    /// Closes the session after what was sent before is written. The client sees a lost connection, and reconnects if it
    /// does so at all.
    pub fn close(&self) {
        self.end(Session::close);
    }

    /// Closes the session with a Socket.IO disconnect: clients do not come back by themselves.
    pub fn disconnect(&self) {
        self.end(Session::disconnect);
    }

    /// Returns what carries the session now: an upgrade changes it.
    #[must_use]
    pub fn carrier(&self) -> Carrier {
        self.0.lock().machine.carrier()
    }

    /// Returns the bytes that wait to be written.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.0.lock().machine.queued_bytes().saturating_add(self.0.unwritten())
    }

    fn end(&self, how: impl FnOnce(&mut Session, Millis)) {
        self.0.step(|machine, now| how(machine, now));
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket")
            .field("id", &self.0.id.0)
            .field("address", &self.0.address)
            .finish_non_exhaustive()
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
        if core.take_answer(self.id).is_some() {
            core.machine.forget(self.id);
        }
    }
}

/// What all holders of a session share.
pub(crate) struct Shared {
    pub(crate) id: SocketId,
    /// Its name on the wire; whoever knows it may speak for the client.
    pub(crate) sid: Sid,
    pub(crate) query: Query,
    pub(crate) address: SocketAddr,
    pub(crate) clock: Clock,
    pub(crate) queue: Arc<Queue>,
    budget: Arc<Budget>,
    /// Bytes the WebSocket has taken and not written.
    pub(crate) unwritten_link: AtomicUsize,
    /// Bytes of answers to GETs that HTTP has not taken.
    pub(crate) unwritten_answers: AtomicUsize,
    /// Held for moments, never over a wait; the event queue's lock is taken inside it, no other.
    core: Mutex<Core>,
}

impl Shared {
    pub(crate) fn new(
        id: SocketId,
        sid: Sid,
        query: Query,
        address: SocketAddr,
        inner: &Inner,
        machine: Session,
    ) -> Arc<Self> {
        let core = Core {
            machine,
            task: None,
            getter: None,
            poster: None,
            held_link: 0,
            held_body: 0,
            held: 0,
            upgrading: None,
            pending: Vec::new(),
            answers: None,
            armed: Millis::MAX,
            has_hung_up: false,
            is_told: false,
            is_cut: false,
            is_crowded: false,
            is_too_long: false,
        };
        let (unwritten_link, unwritten_answers) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(Self {
            id,
            sid,
            query,
            address,
            clock: inner.clock,
            queue: Arc::clone(&inner.queue),
            budget: Arc::clone(&inner.budget),
            unwritten_link,
            unwritten_answers,
            core: Mutex::new(core),
        })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with the machine and sees to what follows.
    pub(crate) fn step<T>(self: &Arc<Self>, act: impl FnOnce(&mut Session, Millis) -> T) -> T {
        let now = self.clock.now();
        let mut core = self.lock();
        let done = act(&mut core.machine, now);
        core.settle(self);
        let (wakes, held) = (core.wakes(), core.count_held());
        drop(core);
        wakes.wake();
        self.note_held(held);
        done
    }

    /// Has the machine take a packet, and sees to what follows.
    #[inline]
    fn sending<T>(&self, act: impl FnOnce(&mut Core, Millis) -> T) -> T {
        let mut core = self.lock();
        core.machine.set_unwritten(self.unwritten());
        let done = act(&mut core, self.clock.now());
        core.settle(self);
        let wakes = core.wakes();
        drop(core);
        wakes.wake();
        done
    }

    /// Waits until the application has room for what this session received.
    pub(crate) fn poll_delivered(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.lock().poll_deliver(self, cx)
    }

    /// Hands a WebSocket to the task.
    pub(crate) fn give(&self, upgrading: Upgrading) {
        let mut core = self.lock();
        core.upgrading = Some(upgrading);
        let wakes = core.wakes();
        drop(core);
        wakes.wake();
    }

    /// Waits for the answer to the held GET: its frames and their bytes, which count as unwritten from now on. Only its
    /// handler calls this.
    pub(crate) fn poll_answer(&self, cx: &mut Context<'_>) -> Poll<(Vec<Frame>, usize)> {
        let mut core = self.lock();
        let Some(frames) = core.machine.answer() else {
            core.getter = Some(cx.waker().clone());
            return Poll::Pending;
        };
        let bytes: usize = frames.iter().map(Frame::len).sum();
        self.unwritten_answers.fetch_add(bytes, Ordering::Relaxed);
        core.getter = None;
        let wakes = core.wakes();
        drop(core);
        wakes.wake();
        Poll::Ready((frames, bytes))
    }

    /// Notes how much of a message the WebSocket has received.
    pub(crate) fn hold_link(self: &Arc<Self>, bytes: usize) {
        self.hold(|core| core.held_link = bytes);
    }

    /// Notes how much of a body has been read.
    pub(crate) fn hold_body(self: &Arc<Self>, bytes: usize) {
        self.hold(|core| core.held_body = bytes);
    }

    fn hold(self: &Arc<Self>, note: impl FnOnce(&mut Core)) {
        let mut core = self.lock();
        note(&mut core);
        let held = core.count_held();
        drop(core);
        self.note_held(held);
    }

    /// Tells the budget what has changed, and ends who holds most when it is too much. Not under a lock.
    pub(crate) fn note_held(self: &Arc<Self>, held: Option<usize>) {
        let Some(bytes) = held else { return };
        if let Some(most) = self.budget.note(self, bytes, self.clock.now()) {
            most.crowd_out();
        }
    }

    /// Ends the session so that what it holds is given back.
    fn crowd_out(self: &Arc<Self>) {
        let now = self.clock.now();
        let mut core = self.lock();
        core.is_crowded = true;
        core.held = 0;
        core.machine.post_failed(now, Some(CloseReason::Crowded));
        core.settle(self);
        // A WebSocket would be read on while it says goodbye.
        core.is_cut |= core.held_link > 0 || core.machine.carrier() == Carrier::WebSocket;
        let wakes = core.wakes();
        drop(core);
        wakes.wake();
    }

    /// Waits until what is left of a body is of no use.
    pub(crate) fn poll_useless(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut core = self.lock();
        if !core.machine.is_taking() {
            return Poll::Ready(());
        }
        if core.poster.as_ref().is_none_or(|poster| !poster.will_wake(cx.waker())) {
            core.poster = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Ends the session at once, without a goodbye.
    pub(crate) fn cut(&self) {
        let mut core = self.lock();
        core.is_cut = true;
        let task = core.task.take();
        drop(core);
        if let Some(task) = task {
            task.wake();
        }
    }

    fn unwritten(&self) -> usize {
        let link = self.unwritten_link.load(Ordering::Relaxed);
        link.saturating_add(self.unwritten_answers.load(Ordering::Relaxed))
    }
}

/// The part under the lock.
pub(crate) struct Core {
    pub(crate) machine: Session,
    /// The session's task, when it waits.
    pub(crate) task: Option<Waker>,
    /// The handler of the held GET.
    getter: Option<Waker>,
    /// The handler that reads the body of a POST.
    poster: Option<Waker>,
    /// Bytes of the WebSocket's message under way.
    pub(crate) held_link: usize,
    /// Bytes of the body that is being read.
    held_body: usize,
    /// What was noted of both and of what the machine holds.
    held: usize,
    /// A WebSocket on its way to the task.
    pub(crate) upgrading: Option<Upgrading>,
    /// Events the application has no room for yet.
    pub(crate) pending: Vec<ServerEvent>,
    /// Of a session that asks, which few do.
    answers: Option<Box<Answers>>,
    /// What the task's timer is set to.
    pub(crate) armed: Millis,
    /// The machine wants the WebSocket closed.
    pub(crate) has_hung_up: bool,
    /// The application knows of the session.
    pub(crate) is_told: bool,
    /// The task is to drop everything.
    pub(crate) is_cut: bool,
    /// The session is closed because it held most of what was half received.
    pub(crate) is_crowded: bool,
    /// It is closed because a message is too long.
    pub(crate) is_too_long: bool,
}

/// Who waits, by the number of the question.
#[derive(Default)]
struct Answers(BTreeMap<u64, oneshot::Sender<Ack>>);

impl Core {
    /// Tells the application of the session, once what opens it is on its way. One that was closed before is never told:
    /// its end is past.
    pub(crate) fn tell(&mut self, shared: &Arc<Shared>) {
        if !self.machine.is_open() {
            return;
        }
        self.is_told = true;
        self.pending.push(ServerEvent::Opened(Socket(Arc::clone(shared))));
        shared.queue.push(&mut self.pending);
    }

    /// Takes the machine's outputs.
    pub(crate) fn settle(&mut self, shared: &Shared) {
        self.collect(shared);
        if !self.pending.is_empty() {
            shared.queue.push(&mut self.pending);
        }
    }

    /// As [`settle`](Self::settle), but leaves the events for [`poll_deliver`](Self::poll_deliver).
    pub(crate) fn collect(&mut self, shared: &Shared) {
        let id = shared.id;
        while let Some(output) = self.machine.poll() {
            match output {
                Output::Received(event) => self.pending.push(ServerEvent::Received { id, event }),
                Output::Acked(ack) => {
                    if let Some(answer) = self.take_answer(ack.id()) {
                        let _ = answer.send(ack); // whoever asked may have stopped waiting
                    }
                }
                Output::HangUp => self.has_hung_up = true,
                Output::Closed(why) => self.closed(shared, why),
                _ => {}
            }
        }
    }

    fn take_answer(&mut self, id: u64) -> Option<oneshot::Sender<Ack>> {
        self.answers.as_mut()?.0.remove(&id)
    }

    pub(crate) fn closed(&mut self, shared: &Shared, why: CloseReason) {
        tracing::debug!(id = shared.id.0, %why, "session closed");
        self.is_too_long = why == CloseReason::TooLong;
        self.answers = None; // whoever waits is told
        if self.is_told {
            self.pending.push(ServerEvent::Closed { id: shared.id, why });
        }
    }

    /// Hands the events over; pending while the application has no room.
    pub(crate) fn poll_deliver(&mut self, shared: &Shared, cx: &mut Context<'_>) -> Poll<()> {
        if !self.pending.is_empty() {
            ready!(shared.queue.poll_push(cx, &mut self.pending));
        }
        if self.pending.capacity() > PENDING_KEEP {
            self.pending = Vec::new();
        }
        Poll::Ready(())
    }

    /// Who has to be woken. Wake them once the lock is given back.
    pub(crate) fn wakes(&mut self) -> Wakes {
        let is_due = self.machine.has_frame()
            || self.has_hung_up
            || self.upgrading.is_some()
            || self.machine.is_over()
            || !self.pending.is_empty()
            || self.machine.wake().is_some_and(|at| at < self.armed);
        let task = (is_due || self.is_cut).then(|| self.task.take()).flatten();
        Wakes { task, getter: self.getter_wake(), poster: self.poster_wake() }
    }

    /// What is to be noted of what the session holds, if it matters.
    pub(crate) fn count_held(&mut self) -> Option<usize> {
        let parts = [self.held_link, self.held_body, self.machine.held_bytes()];
        let all = parts.into_iter().fold(0, usize::saturating_add);
        let held = if all < FLOOR || self.is_crowded { 0 } else { all };
        (mem::replace(&mut self.held, held) != held).then_some(held)
    }

    /// The handler that reads a body, when nobody takes it any more.
    pub(crate) fn poster_wake(&mut self) -> Option<Waker> {
        if self.machine.is_taking() { None } else { self.poster.take() }
    }

    /// The handler of the held GET, when there is an answer for it.
    pub(crate) fn getter_wake(&mut self) -> Option<Waker> {
        if self.machine.has_answer() { self.getter.take() } else { None }
    }
}

/// Room for this many events is kept by a session that receives none.
const PENDING_KEEP: usize = 4;

#[must_use]
pub(crate) struct Wakes {
    task: Option<Waker>,
    getter: Option<Waker>,
    poster: Option<Waker>,
}

impl Wakes {
    pub(crate) fn wake(self) {
        self.task.into_iter().chain(self.getter).chain(self.poster).for_each(Waker::wake);
    }
}
