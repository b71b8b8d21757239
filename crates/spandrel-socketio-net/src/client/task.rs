//! The task of one session: owns its requests, its WebSocket and its timer.

use std::{
    future::Future,
    mem,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
};

use futures_util::future::BoxFuture;
use spandrel_socketio::client::{CloseReason, Output, Session};
use spandrel_transport::{Batch, Clock, Close, DialError, Link, LinkError};
use spandrel_wire::Millis;
use tokio::{
    sync::oneshot,
    time::{Sleep, sleep_until},
};

use super::{
    ClientConfig, ClientEvent, ClientEvents, ClientSocket, ConnectError,
    requests::{Answered, Ask, Failure, HttpConnection, ask},
    socket::{Core, Shared, wake},
    target::{Target, link_limits},
};

/// Says once whether the server let the client in.
type Opened = oneshot::Receiver<Result<(), ConnectError>>;

/// Starts a session and the task that carries it.
pub(super) fn start(config: ClientConfig) -> (ClientSocket, ClientEvents, Opened) {
    let clock = Clock::start();
    let session = Session::new(clock.now(), config.session.clone());
    let shared = Arc::new(Shared::new(clock, session, config.events_max, config.events_bytes_max));
    let (opening, opened) = oneshot::channel();
    let limits = link_limits(&config);
    let task = Task {
        target: Arc::new(Target::new(&config)),
        shared: Arc::clone(&shared),
        opening: Some(opening),
        failure: None,
        get: Exchange::default(),
        post: Exchange::default(),
        socket: Socket::None,
        inq: Batch::with_limits(&limits),
        outq: Batch::with_limits(&limits),
        has_more: false,
        is_blocked: false,
        close_ms: config.close_ms,
        timer: None,
        armed: Millis::MAX,
    };
    tokio::spawn(task);
    (ClientSocket(Arc::clone(&shared)), ClientEvents(shared), opened)
}

/// Moves what is under way between the wire and the machine, and keeps the time.
struct Task {
    target: Arc<Target>,
    shared: Arc<Shared>,
    opening: Option<oneshot::Sender<Result<(), ConnectError>>>,
    /// Why the server could not be reached, more exactly than the machine knows.
    failure: Option<DialError>,
    get: Exchange,
    post: Exchange,
    socket: Socket,
    inq: Batch,
    outq: Batch,
    /// Frames are left in the machine because `outq` was full.
    has_more: bool,
    /// The application has no room: nothing is read.
    is_blocked: bool,
    close_ms: u64,
    timer: Option<Pin<Box<Sleep>>>,
    /// When the timer fires, if it has not fired yet.
    armed: Millis,
}

/// Requests of one kind: one under way at most, over a connection that is kept.
#[derive(Default)]
struct Exchange {
    under_way: Option<BoxFuture<'static, Answered>>,
    kept: Option<HttpConnection>,
}

enum Socket {
    None,
    Dialling(BoxFuture<'static, Result<Box<dyn Link>, DialError>>),
    Open(Box<dyn Link>),
    /// Writes what is left, at most until then.
    HangingUp(Box<dyn Link>, Millis),
    /// Says goodbye.
    Parting(Box<dyn Link>),
}

impl Future for Task {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        loop {
            let mut has_moved = this.poll_requests(cx);
            has_moved |= this.read(cx);
            has_moved |= this.advance(cx);
            has_moved |= this.write(cx);
            if this.is_done() {
                return Poll::Ready(());
            }
            if !has_moved && !this.has_fired(cx) {
                return Poll::Pending;
            }
        }
    }
}

impl Task {
    /// Takes answers of requests. One that brings events waits while the application has no room.
    fn poll_requests(&mut self, cx: &mut Context<'_>) -> bool {
        let mut has_moved = false;
        if let Some(result) = self.post.poll(cx) {
            has_moved = true;
            match result {
                Ok(_) => self.shared.lock().session.post_done(),
                Err(failure) => self.failed(failure),
            }
        }
        if !self.is_blocked
            && let Some(result) = self.get.poll(cx)
        {
            has_moved = true;
            let now = self.shared.clock.now();
            match result {
                Ok((form, body)) => self.shared.lock().session.answer(now, body, form),
                Err(failure) => self.failed(failure),
            }
        }
        has_moved
    }

    fn failed(&mut self, failure: Failure) {
        tracing::debug!(?failure, "polling request failed");
        let status = if let Failure::Status(status) = failure { Some(status) } else { None };
        if let Failure::Dial(error) = failure {
            self.failure = Some(error);
        }
        self.shared.lock().session.request_failed(status);
    }

    /// Reads what the WebSocket has.
    fn read(&mut self, cx: &mut Context<'_>) -> bool {
        match &mut self.socket {
            Socket::Dialling(dialling) => match dialling.as_mut().poll(cx) {
                Poll::Pending => false,
                Poll::Ready(Ok(link)) => {
                    self.socket = Socket::Open(link);
                    self.shared.lock().session.socket_open();
                    true
                }
                Poll::Ready(Err(error)) => {
                    tracing::debug!(%error, "no WebSocket");
                    let status =
                        if let DialError::Refused { status, .. } = error { Some(status) } else { None };
                    self.failure = Some(error);
                    self.lose(status);
                    true
                }
            },
            Socket::Open(link) if !self.is_blocked => match link.poll_recv(cx, &mut self.inq) {
                Poll::Pending => false,
                Poll::Ready(Ok(1..)) => {
                    let now = self.shared.clock.now();
                    let mut core = self.shared.lock();
                    while let Some(frame) = self.inq.pop() {
                        core.session.frame(now, frame);
                    }
                    drop(core);
                    self.inq.shrink();
                    true
                }
                Poll::Ready(Ok(0)) => {
                    self.lose(None);
                    true
                }
                Poll::Ready(Err(error)) => {
                    tracing::debug!(%error, "WebSocket lost");
                    self.lose(None);
                    true
                }
            },
            Socket::Parting(link) => {
                let has_parted = link.poll_close(cx, &Close::normal()).is_ready();
                if has_parted {
                    self.socket = Socket::None;
                }
                has_parted
            }
            _ => false,
        }
    }

    /// The WebSocket is gone, or was not to be had.
    fn lose(&mut self, status: Option<u16>) {
        self.socket = match mem::replace(&mut self.socket, Socket::None) {
            Socket::Open(link) => Socket::Parting(link),
            _ => Socket::None,
        };
        self.drop_unwritten();
        self.shared.lock().session.socket_gone(status);
    }

    /// Has the machine do what is due, and does what it asks for. `true` when something was begun by that.
    fn advance(&mut self, cx: &mut Context<'_>) -> bool {
        let shared = Arc::clone(&self.shared);
        let now = shared.clock.now();
        let mut core = shared.lock();
        if core.is_abandoned {
            core.session.disconnect(now);
        }
        if core.session.wake().is_some_and(|at| at <= now) {
            if self.is_blocked {
                core.session.excuse(now); // what the server said meanwhile is still unread
            }
            core.session.tick(now);
        }
        let mut has_moved = false;
        while let Some(output) = core.session.poll() {
            has_moved = true;
            self.act(&mut core, now, output);
        }
        if let Some(body) = core.session.next_post() {
            has_moved = true;
            let ask = Ask { sid: core.session.sid().map(str::to_owned), body: Some(body) };
            self.post.begin(&self.target, ask);
        }
        has_moved |= self.fill(&mut core.session);
        let was_blocked = mem::replace(&mut self.is_blocked, !core.is_abandoned && core.is_over_bounds());
        core.is_blocked = self.is_blocked;
        has_moved |= was_blocked && !self.is_blocked;
        self.arm(core.session.wake(), now);
        if core.task.as_ref().is_none_or(|task| !task.will_wake(cx.waker())) {
            core.task = Some(cx.waker().clone());
        }
        let reader = core.reader_to_wake();
        drop(core);
        wake(reader);
        has_moved
    }

    fn act(&mut self, core: &mut Core, now: Millis, output: Output) {
        match output {
            Output::Get => {
                let ask = Ask { sid: core.session.sid().map(str::to_owned), body: None };
                self.get.begin(&self.target, ask);
            }
            Output::Dial => {
                let (target, sid) = (Arc::clone(&self.target), core.session.sid().map(str::to_owned));
                self.socket = Socket::Dialling(Box::pin(async move { target.socket(sid.as_deref()).await }));
            }
            Output::HangUp => {
                self.socket = match mem::replace(&mut self.socket, Socket::None) {
                    Socket::Open(link) => Socket::HangingUp(link, now.after(self.close_ms)),
                    Socket::Dialling(_) => Socket::None,
                    other => other,
                };
            }
            Output::Connected => {
                if let Some(opening) = self.opening.take() {
                    let _ = opening.send(Ok(())); // whoever gave up has dropped its end: see `is_abandoned`
                }
            }
            Output::Upgraded => core.tell(ClientEvent::Upgraded),
            Output::Received(event) => core.tell(ClientEvent::Received(event)),
            Output::Acked(ack) => {
                if let Some(answer) = core.answers.remove(&ack.id()) {
                    let _ = answer.send(ack); // or nobody waits any more
                }
            }
            Output::Closed(why) => {
                self.get = Exchange::default();
                self.post = Exchange::default();
                self.close(core, why);
            }
            _ => {}
        }
    }

    fn close(&mut self, core: &mut Core, why: CloseReason) {
        let Some(opening) = self.opening.take() else { return core.tell(ClientEvent::Closed(why)) };
        let error = match (self.failure.take(), &why) {
            (Some(error), CloseReason::Gone | CloseReason::Refused { .. }) => ConnectError::Dial(error),
            _ => ConnectError::Closed(why),
        };
        let _ = opening.send(Err(error));
        core.end();
    }

    /// Takes frames for the WebSocket.
    fn fill(&mut self, session: &mut Session) -> bool {
        let (Socket::Open(_) | Socket::HangingUp(..)) = self.socket else { return false };
        let before = self.outq.len();
        while !self.outq.is_full()
            && let Some(frame) = session.next_frame()
        {
            let _ = self.outq.push(frame); // not full
        }
        self.has_more = self.outq.is_full();
        self.outq.len() > before
    }

    /// Writes what was taken from the machine, all with one flush. `true` when there is more to do.
    fn write(&mut self, cx: &mut Context<'_>) -> bool {
        let (Socket::Open(link) | Socket::HangingUp(link, _)) = &mut self.socket else { return false };
        let is_flushed = loop {
            match link.poll_send(cx, &mut self.outq) {
                // A frame that is too long for this link; those behind it still go.
                Poll::Ready(Err(LinkError::Wire(_))) => {}
                Poll::Ready(Err(_)) => break Err(()),
                Poll::Pending => break Ok(false),
                Poll::Ready(Ok(())) => match link.poll_flush(cx) {
                    Poll::Ready(Err(_)) => break Err(()),
                    flushed => break Ok(flushed.is_ready()),
                },
            }
        };
        self.outq.shrink();
        let unwritten = self.outq.bytes().saturating_add(link.stats().queued_bytes);
        self.shared.unwritten.store(unwritten, Ordering::Relaxed);
        let has_room = self.outq.is_empty() && self.has_more;
        if let Socket::HangingUp(_, until) = self.socket {
            let is_late = until <= self.shared.clock.now();
            let is_done = is_late || is_flushed != Ok(false) && !has_room;
            if is_done {
                self.part();
            }
            return is_done || has_room;
        }
        if is_flushed.is_err() {
            self.lose(None);
            return true;
        }
        has_room
    }

    fn part(&mut self) {
        if let Socket::HangingUp(link, _) = mem::replace(&mut self.socket, Socket::None) {
            self.socket = Socket::Parting(link);
        }
        self.drop_unwritten();
    }

    fn drop_unwritten(&mut self) {
        self.outq.clear();
        self.has_more = false;
        self.shared.unwritten.store(0, Ordering::Relaxed);
    }

    fn is_done(&self) -> bool {
        matches!(self.socket, Socket::None) && self.shared.lock().session.is_over()
    }

    /// Sets the timer, unless it fires soon enough: a session that hears from its server all the time sets it once in a
    /// while, not for each message.
    fn arm(&mut self, wake: Option<Millis>, now: Millis) {
        let mut at = wake.unwrap_or(Millis::MAX);
        if let Socket::HangingUp(_, until) = self.socket {
            at = at.min(until);
        }
        if at >= self.armed && self.armed > now {
            return;
        }
        self.armed = at;
        if at == Millis::MAX {
            self.timer = None;
            return;
        }
        let deadline = self.shared.clock.instant(at);
        match &mut self.timer {
            Some(timer) => timer.as_mut().reset(deadline),
            None => self.timer = Some(Box::pin(sleep_until(deadline))),
        }
    }

    fn has_fired(&mut self, cx: &mut Context<'_>) -> bool {
        let has_fired = self.timer.as_mut().is_some_and(|timer| timer.as_mut().poll(cx).is_ready());
        if has_fired {
            self.timer = None;
            self.armed = Millis::MAX;
        }
        has_fired
    }
}

impl Drop for Task {
    /// Also at the end of the runtime: the application hears of the session's end.
    fn drop(&mut self) {
        self.shared.unwritten.store(0, Ordering::Relaxed);
        let shared = Arc::clone(&self.shared);
        let mut core = shared.lock();
        core.task = None;
        if !core.session.is_over() {
            core.session.socket_gone(None);
            core.session.request_failed(None);
            while let Some(output) = core.session.poll() {
                if let Output::Closed(why) = output {
                    self.close(&mut core, why);
                }
            }
        }
        let reader = core.reader_to_wake();
        drop(core);
        wake(reader);
    }
}

impl Exchange {
    fn begin(&mut self, target: &Arc<Target>, request: Ask) {
        self.under_way = Some(Box::pin(ask(Arc::clone(target), self.kept.take(), request)));
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Option<Result<(spandrel_socketio::Form, bytes::Bytes), Failure>> {
        let Poll::Ready(Answered { kept, result }) = self.under_way.as_mut()?.as_mut().poll(cx) else {
            return None;
        };
        self.under_way = None;
        self.kept = kept;
        Some(result)
    }
}
