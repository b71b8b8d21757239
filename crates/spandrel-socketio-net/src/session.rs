//! The task of one session: owns its WebSocket and its timer.

use std::{
    future::Future,
    mem,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
};

use hyper::upgrade::OnUpgrade;
use spandrel_socketio::server::CloseReason;
use spandrel_transport::{Batch, Close, Link, LinkError, Peer, WireError};
use spandrel_transport_ws::accept_upgraded;
use spandrel_wire::Millis;
use tokio::time::{Sleep, sleep_until};

use crate::{server::Inner, socket::Shared};

/// A WebSocket whose answer 101 is on its way.
pub(crate) struct Upgrading {
    pub(crate) on: OnUpgrade,
    pub(crate) peer: Peer,
}

/// Moves frames between the WebSocket and the machine, keeps the time, and takes the session out of the map at its end.
///
/// A polling session has one too, which mostly sleeps: its requests go to the machine directly.
pub(crate) struct Task {
    inner: Arc<Inner>,
    shared: Arc<Shared>,
    socket: Socket,
    /// A WebSocket on its way out.
    parting: Option<Parting>,
    inq: Batch,
    outq: Batch,
    /// Frames are left in the machine because `outq` was full.
    has_more: bool,
    timer: Option<Pin<Box<Sleep>>>,
    /// When the timer fires, if it has not fired yet.
    armed: Millis,
    /// The application has no room: nothing is read.
    is_blocked: bool,
    is_over: bool,
}

enum Socket {
    None,
    Upgrading(Box<Upgrading>),
    Open(Box<dyn Link>),
    /// Writes what is left, at most until then.
    HangingUp(Box<dyn Link>, Millis),
}

struct Parting {
    link: Box<dyn Link>,
    why: Close,
}

/// What came from the WebSocket.
enum Seen {
    Nothing,
    Opened,
    Frames,
    Gone(CloseReason),
}

impl Future for Task {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let mut is_reading_on = false;
        loop {
            let seen = this.read(cx);
            let has_seen = !matches!(seen, Seen::Nothing);
            // After a batch the next read mostly finds nothing: there is nothing to do for it then.
            if has_seen || !is_reading_on {
                this.part(cx);
                let goes_on = this.step(cx, seen) | this.write(cx);
                if this.is_over {
                    return Poll::Ready(());
                }
                if goes_on || has_seen {
                    is_reading_on = !goes_on;
                    continue;
                }
            }
            if !this.has_fired(cx) {
                return Poll::Pending;
            }
            is_reading_on = false;
        }
    }
}

impl Task {
    pub(crate) fn new(inner: Arc<Inner>, shared: Arc<Shared>) -> Self {
        let (inq, outq) = (Batch::with_limits(&inner.link_limits), Batch::with_limits(&inner.link_limits));
        Self {
            inner,
            shared,
            socket: Socket::None,
            parting: None,
            inq,
            outq,
            has_more: false,
            timer: None,
            armed: Millis::MAX,
            is_blocked: false,
            is_over: false,
        }
    }

    /// Reads what the WebSocket has.
    fn read(&mut self, cx: &mut Context<'_>) -> Seen {
        match &mut self.socket {
            Socket::Upgrading(upgrading) => match Pin::new(&mut upgrading.on).poll(cx) {
                Poll::Pending => Seen::Nothing,
                Poll::Ready(Ok(upgraded)) => {
                    let peer = mem::take(&mut upgrading.peer);
                    self.socket = Socket::Open(accept_upgraded(upgraded, peer, &self.inner.link_limits));
                    Seen::Opened
                }
                Poll::Ready(Err(_)) => self.lose(CloseReason::Gone),
            },
            Socket::Open(link) if !self.is_blocked => match link.poll_recv(cx, &mut self.inq) {
                Poll::Pending => Seen::Nothing,
                Poll::Ready(Ok(0)) => self.lose(CloseReason::Gone),
                Poll::Ready(Ok(_)) => Seen::Frames,
                Poll::Ready(Err(LinkError::Wire(WireError::TooLong { .. }))) => {
                    self.lose(CloseReason::TooLong)
                }
                Poll::Ready(Err(error)) => {
                    tracing::debug!(id = self.shared.id.0, %error, "WebSocket lost");
                    self.lose(CloseReason::Gone)
                }
            },
            _ => Seen::Nothing,
        }
    }

    /// The WebSocket is gone, or said goodbye and waits for ours.
    fn lose(&mut self, why: CloseReason) -> Seen {
        if let Socket::Open(link) = mem::replace(&mut self.socket, Socket::None) {
            self.parting = Some(Parting { link, why: Close::normal() });
        }
        self.outq.clear();
        self.has_more = false;
        self.shared.unwritten_link.store(0, Ordering::Relaxed);
        Seen::Gone(why)
    }

    /// Tells the machine what came and takes what it has to say. `true` when there is more to do
    /// with the WebSocket by that.
    fn step(&mut self, cx: &mut Context<'_>, seen: Seen) -> bool {
        let now = self.inner.clock.now();
        let shared = Arc::clone(&self.shared);
        let mut core = shared.lock();
        match seen {
            Seen::Nothing => {}
            Seen::Opened if core.is_told => {}
            Seen::Opened => core.tell(&shared),
            Seen::Frames => {
                while let Some(frame) = self.inq.pop() {
                    core.machine.frame(now, frame);
                    core.collect(&shared);
                }
                self.inq.shrink();
            }
            Seen::Gone(why) => core.machine.socket_gone(now, why),
        }
        if core.machine.wake().is_some_and(|at| at <= now) {
            if self.is_blocked {
                core.machine.excuse(now); // what the client said meanwhile is still unread
            }
            core.machine.tick(now);
        }
        core.collect(&shared);
        let was_blocked = mem::replace(&mut self.is_blocked, core.poll_deliver(&shared, cx).is_pending());
        let mut has_changed = was_blocked && !self.is_blocked; // what lies unread wakes nobody
        if let Socket::Open(_) | Socket::HangingUp(..) = self.socket {
            while !self.outq.is_full()
                && let Some(frame) = core.machine.next_frame()
            {
                let _ = self.outq.push(frame); // not full
            }
            self.has_more = core.machine.has_frame();
        }
        if mem::take(&mut core.has_hung_up) {
            self.hang_up(now);
            has_changed = true;
        }
        // Behind the one that was given up: a client may try again at once.
        if let Some(upgrading) = core.upgrading.take() {
            self.socket = Socket::Upgrading(Box::new(upgrading));
            has_changed = true;
        }
        self.is_over = core.is_cut
            || (core.machine.is_over()
                && !self.is_blocked
                && matches!(self.socket, Socket::None)
                && self.parting.is_none());
        self.arm(core.machine.wake(), now);
        core.armed = self.armed;
        // Waking takes the waker out; what wakes the task from elsewhere leaves it.
        if core.task.as_ref().is_none_or(|task| !task.will_wake(cx.waker())) {
            core.task = Some(cx.waker().clone());
        }
        let getter = core.getter_wake();
        drop(core);
        if let Some(getter) = getter {
            getter.wake();
        }
        has_changed
    }

    fn hang_up(&mut self, now: Millis) {
        self.socket = match mem::replace(&mut self.socket, Socket::None) {
            Socket::Open(link) => Socket::HangingUp(link, now.after(self.inner.link_limits.close_ms)),
            Socket::HangingUp(link, until) => Socket::HangingUp(link, until),
            Socket::None | Socket::Upgrading(_) => Socket::None,
        };
    }

    /// Writes what was taken from the machine, all with one flush. `true` when there is more to do.
    fn write(&mut self, cx: &mut Context<'_>) -> bool {
        let (Socket::Open(link) | Socket::HangingUp(link, _)) = &mut self.socket else { return false };
        let is_gone = loop {
            match link.poll_send(cx, &mut self.outq) {
                // A frame that is too long for this link; those behind it still go.
                Poll::Ready(Err(LinkError::Wire(_))) => {}
                Poll::Ready(Err(_)) => break true,
                Poll::Pending => break false,
                Poll::Ready(Ok(())) => break matches!(link.poll_flush(cx), Poll::Ready(Err(_))),
            }
        };
        self.outq.shrink();
        let unwritten = self.outq.bytes().saturating_add(link.stats().queued_bytes);
        self.shared.unwritten_link.store(unwritten, Ordering::Relaxed);
        let has_room = self.outq.is_empty();
        match self.socket {
            Socket::HangingUp(_, until) => {
                let is_done = is_gone || (has_room && !self.has_more) || until <= self.inner.clock.now();
                if is_done {
                    self.let_go();
                }
                is_done || (has_room && self.has_more)
            }
            // Why a WebSocket is gone is for the reading to tell: it may be saying goodbye.
            _ => has_room && self.has_more && !is_gone,
        }
    }

    /// Nothing more goes out but the goodbye.
    fn let_go(&mut self) {
        if let Socket::HangingUp(link, _) = mem::replace(&mut self.socket, Socket::None) {
            self.parting = Some(Parting { link, why: Close::normal() });
        }
        self.outq.clear();
        self.has_more = false;
        self.shared.unwritten_link.store(0, Ordering::Relaxed);
    }

    fn part(&mut self, cx: &mut Context<'_>) {
        if let Some(parting) = &mut self.parting
            && parting.link.poll_close(cx, &parting.why).is_ready()
        {
            self.parting = None;
        }
    }

    /// Sets the timer, unless it fires soon enough: a session that hears from its client all the time sets it once in a
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
        let deadline = self.inner.clock.instant(at);
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
    /// Also at the end of the runtime: the application hears of every session's end.
    fn drop(&mut self) {
        let shared = &self.shared;
        shared.unwritten_link.store(0, Ordering::Relaxed);
        let mut core = shared.lock();
        core.machine.close(self.inner.clock.now());
        core.collect(shared);
        shared.queue.force(&mut core.pending);
        core.task = None;
        core.upgrading = None;
        let getter = core.getter_wake();
        drop(core);
        if let Some(getter) = getter {
            getter.wake();
        }
        self.inner.remove(shared);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two thousand idle sessions are two thousand of these, beside their WebSocket.
    #[test]
    fn a_session_is_small() {
        let (task, shared) = (size_of::<Task>(), size_of::<Shared>());
        assert!(task <= 320 && shared <= 640, "the task takes {task} bytes, what it shares {shared}");
    }
}
