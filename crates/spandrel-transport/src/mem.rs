//! Links inside one process: bounded, deterministic, with the limits and the end of the others.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
};

use futures_util::future::BoxFuture;
use spandrel_wire::{Batch, Close, Endpoint, Limits, WireError};
use tokio::sync::mpsc;

use crate::{
    AcceptError, DialError, Incoming, Link, LinkError, LinkStats, ListenError, Listener, Peer, Transport,
};

/// Peers that may wait to be accepted on one name.
const BACKLOG: usize = 128;
/// Longest ping, as on the wires that have them.
const PING_BYTES_MAX: usize = 125;

/// Transport of scheme `mem`. Each value is a network of its own; clones share it.
#[derive(Clone, Default)]
pub struct MemTransport {
    limits: Limits,
    names: Arc<Mutex<HashMap<String, mpsc::Sender<MemLink>>>>,
}

impl MemTransport {
    /// Makes a network with default limits.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes a network with these limits.
    #[must_use]
    pub fn with_limits(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }
}

impl Transport for MemTransport {
    fn scheme(&self) -> &'static str {
        "mem"
    }

    fn dial<'a>(&'a self, to: &'a Endpoint) -> BoxFuture<'a, Result<Box<dyn Link>, DialError>> {
        Box::pin(async move {
            let Endpoint::Mem { name } = to else {
                return Err(DialError::Unsupported { endpoint: to.to_string() });
            };
            let door = lock(&self.names).get(name).cloned();
            let nobody = || DialError::Io(std::io::ErrorKind::ConnectionRefused.into());
            let (here, mut there) = MemLink::pair(&self.limits);
            there.peer.path.clone_from(name);
            door.ok_or_else(nobody)?.send(there).await.map_err(|_| nobody())?;
            Ok(Box::new(here) as Box<dyn Link>)
        })
    }

    fn listen<'a>(&'a self, at: &'a Endpoint) -> BoxFuture<'a, Result<Box<dyn Listener>, ListenError>> {
        Box::pin(async move {
            let Endpoint::Mem { name } = at else {
                return Err(ListenError::Unsupported { endpoint: at.to_string() });
            };
            let mut names = lock(&self.names);
            if names.get(name).is_some_and(|door| !door.is_closed()) {
                return Err(ListenError::Io(std::io::ErrorKind::AddrInUse.into()));
            }
            let (door, arrivals) = mpsc::channel(BACKLOG);
            names.insert(name.clone(), door);
            Ok(Box::new(MemListener { local: at.clone(), arrivals }) as Box<dyn Listener>)
        })
    }
}

impl fmt::Debug for MemTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(lock(&self.names).keys()).finish()
    }
}

struct MemListener {
    local: Endpoint,
    arrivals: mpsc::Receiver<MemLink>,
}

impl Listener for MemListener {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming, AcceptError>> {
        let link = ready!(self.arrivals.poll_recv(cx)).ok_or(AcceptError::Closed)?;
        Poll::Ready(Ok(Incoming::new(None, async { Ok(Box::new(link) as Box<dyn Link>) })))
    }

    fn local(&self) -> &Endpoint {
        &self.local
    }
}

/// One direction: what one side sent and the other has not taken.
struct Pipe {
    frames: Batch,
    goodbye: Option<Close>,
    is_gone: bool,
    pings: u64,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// One end of an in-memory link.
pub struct MemLink {
    incoming: Arc<Mutex<Pipe>>,
    outgoing: Arc<Mutex<Pipe>>,
    peer: Peer,
    stats: LinkStats,
    frame_bytes_max: usize,
    closed: Option<Close>,
    is_closing: bool,
}

impl MemLink {
    /// Makes both ends of a link.
    #[must_use]
    pub fn pair(limits: &Limits) -> (Self, Self) {
        let pipe = || {
            Arc::new(Mutex::new(Pipe {
                frames: Batch::with_bounds(limits.queued_bytes_max, limits.batch_frames_max),
                goodbye: None,
                is_gone: false,
                pings: 0,
                reader: None,
                writer: None,
            }))
        };
        let (a, b) = (pipe(), pipe());
        let end = |incoming: &Arc<Mutex<Pipe>>, outgoing: &Arc<Mutex<Pipe>>| Self {
            incoming: Arc::clone(incoming),
            outgoing: Arc::clone(outgoing),
            peer: Peer::new("mem"),
            stats: LinkStats::default(),
            frame_bytes_max: limits.frame_bytes_max,
            closed: None,
            is_closing: false,
        };
        (end(&a, &b), end(&b, &a))
    }
}

impl Link for MemLink {
    fn poll_recv(&mut self, cx: &mut Context<'_>, out: &mut Batch) -> Poll<Result<usize, LinkError>> {
        if self.closed.is_some() {
            return Poll::Ready(Ok(0));
        }
        if self.is_closing {
            return Poll::Ready(Err(LinkError::Closed));
        }
        let mut pipe = lock(&self.incoming);
        let mut taken = 0;
        while !out.is_full() {
            let Some(frame) = pipe.frames.pop() else { break };
            self.stats.bytes_in += frame.len() as u64;
            taken += 1;
            let _ = out.push(frame); // not full
        }
        if taken > 0 {
            wake(&mut pipe.writer);
            self.stats.frames_in += taken as u64;
            return Poll::Ready(Ok(taken));
        }
        if let Some(why) = pipe.goodbye.clone() {
            drop(pipe);
            self.closed = Some(why.clone());
            say_goodbye(&self.outgoing, why);
            return Poll::Ready(Ok(0));
        }
        if pipe.is_gone {
            return Poll::Ready(Err(LinkError::Gone));
        }
        pipe.frames.shrink();
        pipe.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, queue: &mut Batch) -> Poll<Result<(), LinkError>> {
        let mut pipe = lock(&self.outgoing);
        while let Some(frame) = queue.front() {
            if pipe.goodbye.is_some() || pipe.is_gone {
                let error = if pipe.is_gone { LinkError::Gone } else { LinkError::Closed };
                queue.clear();
                return Poll::Ready(Err(error));
            }
            if frame.len() > self.frame_bytes_max {
                let len = frame.len() as u64;
                queue.pop();
                wake(&mut pipe.reader);
                return Poll::Ready(Err(WireError::TooLong { len, max: self.frame_bytes_max }.into()));
            }
            if pipe.frames.is_full() {
                wake(&mut pipe.reader);
                pipe.writer = Some(cx.waker().clone());
                return Poll::Pending;
            }
            let Some(frame) = queue.pop() else { break };
            self.stats.frames_out += 1;
            self.stats.bytes_out += frame.len() as u64;
            let _ = pipe.frames.push(frame); // not full
        }
        wake(&mut pipe.reader);
        Poll::Ready(Ok(()))
    }

    fn poll_flush(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), LinkError>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(&mut self, _cx: &mut Context<'_>, why: &Close) -> Poll<Result<(), LinkError>> {
        self.is_closing = true;
        say_goodbye(&self.outgoing, why.clone());
        let mut pipe = lock(&self.incoming);
        pipe.frames.clear();
        if self.closed.is_none() {
            self.closed.clone_from(&pipe.goodbye);
        }
        wake(&mut pipe.writer);
        Poll::Ready(Ok(()))
    }

    fn ping(&mut self, payload: &[u8]) -> Result<bool, LinkError> {
        if payload.len() > PING_BYTES_MAX {
            return Err(WireError::TooLong { len: payload.len() as u64, max: PING_BYTES_MAX }.into());
        }
        let mut pipe = lock(&self.outgoing);
        if pipe.goodbye.is_some() {
            return Err(LinkError::Closed);
        }
        pipe.pings += 1;
        drop(pipe);
        // The other side's answer, which needs nobody there to poll.
        lock(&self.incoming).pings += 1;
        Ok(true)
    }

    fn peer(&self) -> &Peer {
        &self.peer
    }

    fn stats(&self) -> LinkStats {
        let activity = self.stats.frames_in + lock(&self.incoming).pings;
        LinkStats { activity, ..self.stats }
    }

    fn close_info(&self) -> Option<&Close> {
        self.closed.as_ref()
    }
}

impl Drop for MemLink {
    fn drop(&mut self) {
        for pipe in [&self.incoming, &self.outgoing] {
            let mut pipe = lock(pipe);
            pipe.is_gone = true;
            wake(&mut pipe.reader);
            wake(&mut pipe.writer);
        }
    }
}

impl fmt::Debug for MemLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemLink")
            .field("peer", &self.peer)
            .field("stats", &self.stats)
            .finish_non_exhaustive()
    }
}

fn say_goodbye(pipe: &Mutex<Pipe>, why: Close) {
    let mut pipe = lock(pipe);
    pipe.goodbye.get_or_insert(why);
    wake(&mut pipe.reader);
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

/// A panic while the lock was held left the pipe whole: every change is one step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
