//! One session as the application, the requests and the session's task share it.

use std::{
    fmt,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker, ready},
};

use spandrel_socketio::{
    Encoded, Frame,
    server::{Carrier, CloseReason, Output, SendError, Session},
};
use spandrel_wire::Millis;

use crate::{ServerEvent, clock::Clock, events::Queue, query::Query, server::Inner, session::Upgrading};

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
        let mut core = self.0.lock();
        core.machine.set_unwritten(self.0.unwritten());
        let sent = core.machine.send(self.0.clock.now(), packet);
        core.settle(&self.0);
        let wakes = core.wakes();
        drop(core);
        wakes.wake();
        sent
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

/// What all holders of a session share.
pub(crate) struct Shared {
    pub(crate) id: SocketId,
    /// Its name on the wire; whoever knows it may speak for the client.
    pub(crate) sid: Sid,
    pub(crate) query: Query,
    pub(crate) address: SocketAddr,
    pub(crate) clock: Clock,
    pub(crate) queue: Arc<Queue>,
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
            upgrading: None,
            pending: Vec::new(),
            armed: Millis::MAX,
            has_hung_up: false,
            is_told: false,
            is_cut: false,
        };
        let (unwritten_link, unwritten_answers) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(Self {
            id,
            sid,
            query,
            address,
            clock: inner.clock,
            queue: Arc::clone(&inner.queue),
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
    /// A WebSocket on its way to the task.
    pub(crate) upgrading: Option<Upgrading>,
    /// Events the application has no room for yet.
    pub(crate) pending: Vec<ServerEvent>,
    /// What the task's timer is set to.
    pub(crate) armed: Millis,
    /// The machine wants the WebSocket closed.
    pub(crate) has_hung_up: bool,
    /// The application knows of the session.
    pub(crate) is_told: bool,
    /// The task is to drop everything.
    pub(crate) is_cut: bool,
}

impl Core {
    /// Tells the application of the session, once what opens it is on its way.
    pub(crate) fn tell(&mut self, shared: &Arc<Shared>) {
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
                Output::Acked(ack) => self.pending.push(ServerEvent::Acked { id, ack }),
                Output::HangUp => self.has_hung_up = true,
                Output::Closed(why) => self.closed(shared, why),
                _ => {}
            }
        }
    }

    pub(crate) fn closed(&mut self, shared: &Shared, why: CloseReason) {
        tracing::debug!(id = shared.id.0, %why, "session closed");
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
        Wakes { task: is_due.then(|| self.task.take()).flatten(), getter: self.getter_wake() }
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
}

impl Wakes {
    pub(crate) fn wake(self) {
        self.task.into_iter().chain(self.getter).for_each(Waker::wake);
    }
}
