//! What the server tells the application: one queue for all sessions, bounded in events and in bytes.

use std::{
    collections::VecDeque,
    future::poll_fn,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use spandrel_socketio::{Ack, Event, server::CloseReason};

use crate::{Socket, SocketId};

/// What happened to a session. For each session in this order: [`Opened`](Self::Opened), any number of the others,
/// [`Closed`](Self::Closed); exactly one of the first and one of the last.
#[derive(Debug)]
#[non_exhaustive]
pub enum ServerEvent {
    /// A session is open; what is sent to the socket arrives.
    Opened(Socket),
    /// It sent an event.
    Received {
        /// Whose.
        id: SocketId,
        /// What.
        event: Event,
    },
    /// It acknowledged an event that asked for it.
    Acked {
        /// Whose.
        id: SocketId,
        /// What.
        ack: Ack,
    },
    /// It is closed.
    Closed {
        /// Which one.
        id: SocketId,
        /// Why.
        why: CloseReason,
    },
}

impl ServerEvent {
    /// What it costs while it waits, in bytes.
    fn cost(&self) -> usize {
        size_of::<Self>()
            + match self {
                Self::Received { event, .. } => event.len_bytes(),
                Self::Acked { ack, .. } => ack.len_bytes(),
                Self::Opened(_) | Self::Closed { .. } => 0,
            }
    }
}

/// The application's end of the queue. While it is full, nothing is read from any client.
///
/// Dropped, the events are thrown away and the server goes on.
#[derive(Debug)]
pub struct Events(Arc<Queue>);

impl Events {
    pub(crate) const fn new(queue: Arc<Queue>) -> Self {
        Self(queue)
    }

    /// Appends what has happened, at least one event and at most `max`, and returns how many. Cancel safe.
    ///
    /// 0 is returned once the server and its sessions are gone, and when `max` is 0.
    pub async fn recv_many(&mut self, out: &mut Vec<ServerEvent>, max: usize) -> usize {
        poll_fn(|cx| self.poll_recv_many(cx, out, max)).await
    }

    /// Polls for events; see [`recv_many`](Self::recv_many).
    pub fn poll_recv_many(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut Vec<ServerEvent>,
        max: usize,
    ) -> Poll<usize> {
        let mut state = self.0.lock();
        let count = state.events.len().min(max);
        if count == 0 {
            if max == 0 || state.is_ended {
                return Poll::Ready(0);
            }
            state.reader = Some(cx.waker().clone());
            // Those that were not worth waking before.
            let writers = mem::take(&mut state.writers);
            drop(state);
            writers.into_iter().for_each(Waker::wake);
            return Poll::Pending;
        }
        let State { events, bytes, .. } = &mut *state;
        out.extend(events.drain(..count).inspect(|event| *bytes = bytes.saturating_sub(event.cost())));
        if events.is_empty() && events.capacity() > KEEP {
            *events = VecDeque::new();
        }
        // Each may fill the queue again: some of them, who waited longest.
        let some = if self.0.has_room(&state) { state.writers.len().min(WRITERS) } else { 0 };
        let writers: Vec<Waker> = state.writers.drain(..some).collect();
        drop(state);
        writers.into_iter().for_each(Waker::wake);
        Poll::Ready(count)
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.is_abandoned = true;
        let (events, writers) = (mem::take(&mut state.events), mem::take(&mut state.writers));
        drop(state);
        drop(events);
        writers.into_iter().for_each(Waker::wake);
    }
}

/// Room for this many events is kept while there are none.
const KEEP: usize = 64;
/// Sessions woken at once when there is room again.
const WRITERS: usize = 16;

#[derive(Debug)]
pub(crate) struct Queue {
    events_max: usize,
    bytes_max: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    events: VecDeque<ServerEvent>,
    bytes: usize,
    reader: Option<Waker>,
    /// Sessions that wait for room, in order.
    writers: VecDeque<Waker>,
    /// The application takes no more.
    is_abandoned: bool,
    /// The server is gone.
    is_ended: bool,
}

impl Queue {
    pub(crate) fn new(events_max: usize, bytes_max: usize) -> Self {
        Self { events_max: events_max.max(1), bytes_max, state: Mutex::default() }
    }

    /// Takes all of `pending` when there is room for one, else nothing: over the bounds goes at most what one session
    /// read at once.
    pub(crate) fn push(&self, pending: &mut Vec<ServerEvent>) {
        let state = self.lock();
        if self.has_room(&state) {
            Self::put(state, pending);
        }
    }

    /// Takes all of `pending`, room or not. For the end of a session.
    pub(crate) fn force(&self, pending: &mut Vec<ServerEvent>) {
        Self::put(self.lock(), pending);
    }

    /// As [`push`](Self::push), and wakes the caller once there is room.
    pub(crate) fn poll_push(&self, cx: &mut Context<'_>, pending: &mut Vec<ServerEvent>) -> Poll<()> {
        let mut state = self.lock();
        if self.has_room(&state) {
            Self::put(state, pending);
            return Poll::Ready(());
        }
        if !state.writers.iter().any(|waker| waker.will_wake(cx.waker())) {
            state.writers.push_back(cx.waker().clone());
        }
        Poll::Pending
    }

    /// There will be no more events: the reader is told when it has taken those that are there.
    pub(crate) fn end(&self) {
        let mut state = self.lock();
        state.is_ended = true;
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    fn put(mut state: MutexGuard<'_, State>, pending: &mut Vec<ServerEvent>) {
        if state.is_abandoned {
            drop(state);
            pending.clear();
            return;
        }
        state.bytes += pending.iter().map(ServerEvent::cost).sum::<usize>();
        state.events.extend(pending.drain(..));
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    fn has_room(&self, state: &State) -> bool {
        state.is_abandoned || (state.events.len() < self.events_max && state.bytes < self.bytes_max)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    fn closed(n: u64) -> ServerEvent {
        ServerEvent::Closed { id: SocketId(n), why: CloseReason::Closed }
    }

    fn number(event: &ServerEvent) -> u64 {
        let ServerEvent::Closed { id, .. } = event else { panic!("{event:?}") };
        id.0
    }

    #[derive(Default)]
    struct Bell(AtomicUsize);

    impl Wake for Bell {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Bell {
        fn rings(&self) -> usize {
            self.0.load(Ordering::Relaxed)
        }
    }

    #[test]
    fn a_full_queue_takes_no_more_until_it_is_read() {
        for (name, events_max, bytes_max) in
            [("events", 3, usize::MAX), ("bytes", usize::MAX, 2 * size_of::<ServerEvent>() + 1)]
        {
            let queue = Arc::new(Queue::new(events_max, bytes_max));
            let mut events = Events::new(Arc::clone(&queue));
            let bell = Arc::<Bell>::default();
            let waker = Waker::from(Arc::clone(&bell));
            let mut cx = Context::from_waker(&waker);
            for n in 0..3 {
                assert!(queue.poll_push(&mut cx, &mut vec![closed(n)]).is_ready(), "{name}");
            }
            let mut pending = vec![closed(3), closed(4)];
            queue.push(&mut pending);
            assert!(queue.poll_push(&mut cx, &mut pending).is_pending() && pending.len() == 2, "{name}");
            assert!(queue.poll_push(&mut cx, &mut pending).is_pending(), "{name}: asked twice, kept once");
            let mut out = Vec::new();
            let waiting = &mut Context::from_waker(Waker::noop());
            assert_eq!(events.poll_recv_many(waiting, &mut out, 1), Poll::Ready(1), "{name}");
            assert_eq!(bell.rings(), 1, "{name}");
            assert!(queue.poll_push(&mut cx, &mut pending).is_ready() && pending.is_empty(), "{name}");
            assert_eq!(events.poll_recv_many(waiting, &mut out, 100), Poll::Ready(4), "{name}");
            assert_eq!(out.iter().map(number).collect::<Vec<_>>(), [0, 1, 2, 3, 4], "{name}");
            assert_eq!(queue.lock().bytes, 0, "{name}");
        }
    }

    #[test]
    fn nobody_waits_for_ever() {
        let queue = Arc::new(Queue::new(1, usize::MAX));
        let mut events = Events::new(Arc::clone(&queue));
        queue.force(&mut vec![closed(0)]);
        let bells: Vec<_> = (0..3 * WRITERS).map(|_| Arc::<Bell>::default()).collect();
        for bell in &bells {
            let waker = Waker::from(Arc::clone(bell));
            assert!(queue.poll_push(&mut Context::from_waker(&waker), &mut vec![closed(1)]).is_pending());
        }
        let rung = || bells.iter().map(|bell| bell.rings()).sum::<usize>();
        let cx = &mut Context::from_waker(Waker::noop());
        assert_eq!(events.poll_recv_many(cx, &mut Vec::new(), 8), Poll::Ready(1));
        assert_eq!(rung(), WRITERS, "some first");
        // Those never come; the reader waits, and so the others get their turn.
        assert!(events.poll_recv_many(cx, &mut Vec::new(), 8).is_pending());
        assert_eq!(rung(), bells.len());
    }

    #[test]
    fn the_reader_is_woken_by_events_and_by_the_end() {
        let queue = Arc::new(Queue::new(8, usize::MAX));
        let mut events = Events::new(Arc::clone(&queue));
        let bell = Arc::<Bell>::default();
        let waker = Waker::from(Arc::clone(&bell));
        let mut cx = Context::from_waker(&waker);
        assert!(events.poll_recv_many(&mut cx, &mut Vec::new(), 8).is_pending());
        queue.push(&mut vec![closed(1)]);
        assert_eq!(bell.rings(), 1);
        queue.end();
        assert_eq!(events.poll_recv_many(&mut cx, &mut Vec::new(), 8), Poll::Ready(1));
        assert_eq!(events.poll_recv_many(&mut cx, &mut Vec::new(), 8), Poll::Ready(0));
    }

    #[test]
    fn events_for_nobody_are_thrown_away() {
        let queue = Arc::new(Queue::new(1, usize::MAX));
        drop(Events::new(Arc::clone(&queue)));
        for _ in 0..10 {
            let mut pending = vec![closed(1)];
            assert!(queue.poll_push(&mut Context::from_waker(Waker::noop()), &mut pending).is_ready());
            assert!(pending.is_empty() && queue.lock().events.is_empty());
        }
    }
}
