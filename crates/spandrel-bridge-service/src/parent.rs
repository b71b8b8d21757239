//! The line to the parent: what it says comes in batches, what it is told goes out in one write.

use std::task::{Context, Poll};

use spandrel_bridge_protocol::{FromParent, LineError, ToParent};
use spandrel_transport::{Batch, Close, Frame, Link, LinkError, WireError};
use spandrel_wire::Millis;

use crate::{
    Limits,
    reports::{Reports, Weight},
    sparse::Sparse,
};

/// The parent has ended its side, or the channel is broken: there is nobody to work for any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ParentGone;

/// The link to the parent, and what waits for it.
pub(crate) struct ParentPort {
    link: Box<dyn Link>,
    reports: Reports,
    /// Taken from `reports`, on its way into the link.
    leaving: Batch,
    is_unflushed: bool,
    is_gone: bool,
    /// Lines of `data` and answers that the parent did not take in time.
    given_up: u64,
    /// Lines of the parent that were too long, as the link counts them.
    too_long: u64,
    given_up_log: Sparse,
    too_long_log: Sparse,
    broken_log: Sparse<LineError>,
    untold_log: Sparse<WireError>,
    now: Millis,
}

impl ParentPort {
    pub(crate) fn new(link: Box<dyn Link>, limits: &Limits) -> Self {
        Self {
            link,
            reports: Reports::new(limits),
            leaving: Batch::with_limits(&limits.of_parent()),
            is_unflushed: false,
            is_gone: false,
            given_up: 0,
            too_long: 0,
            given_up_log: Sparse::default(),
            too_long_log: Sparse::default(),
            broken_log: Sparse::default(),
            untold_log: Sparse::default(),
            now: Millis::new(0),
        }
    }

    /// Queues a report; it goes out with the next poll.
    pub(crate) fn report(&mut self, now: Millis, message: &ToParent) {
        self.now = now;
        let weight = match message {
            ToParent::Data(_) => Weight::Data,
            ToParent::Encrypt(_) | ToParent::Decrypt(_) => Weight::Answer,
            _ => Weight::Event,
        };
        let given_up = self.reports.push(message.to_frame(), weight) as u64;
        if given_up > 0 {
            self.given_up += given_up;
            if let Some(told) = self.given_up_log.admit(now, given_up, ()) {
                tell_given_up(told);
            }
        }
    }

    /// Moves lines in both directions. Ready with how many came in, or when the parent is gone. What was reported goes out
    /// whether it is ready or not.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        now: Millis,
        incoming: &mut Batch,
    ) -> Poll<Result<usize, ParentGone>> {
        self.now = now;
        if self.is_gone {
            return Poll::Ready(Err(ParentGone));
        }
        let received = match self.poll_out(cx) {
            Poll::Ready(Err(gone)) => Err(gone),
            _ => match self.link.poll_recv(cx, incoming) {
                Poll::Ready(Ok(0) | Err(_)) => Err(ParentGone),
                Poll::Ready(Ok(taken)) => Ok(Some(taken)),
                Poll::Pending => Ok(None),
            },
        };
        self.count_too_long(now);
        match received {
            Ok(Some(taken)) => Poll::Ready(Ok(taken)),
            Ok(None) => Poll::Pending,
            Err(gone) => {
                self.is_gone = true;
                Poll::Ready(Err(gone))
            }
        }
    }

    /// Sends what was reported; ready when all is on its way.
    pub(crate) fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ParentGone>> {
        let sent = self.poll_leaving(cx);
        self.is_gone |= matches!(sent, Poll::Ready(Err(_)));
        sent
    }

    fn poll_leaving(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ParentGone>> {
        loop {
            while !self.leaving.is_full() {
                let Some(line) = self.reports.pop() else { break };
                let _ = self.leaving.push(line); // not full
            }
            if self.leaving.is_empty() {
                break;
            }
            self.is_unflushed = true;
            match self.link.poll_send(cx, &mut self.leaving) {
                Poll::Ready(Ok(())) => {}
                // One line that the channel does not carry, too long for it; those behind it still go.
                Poll::Ready(Err(LinkError::Wire(error))) => {
                    self.given_up += 1;
                    if let Some(told) = self.untold_log.admit(self.now, 1, error) {
                        tell_untold(told);
                    }
                }
                Poll::Ready(Err(_)) => return Poll::Ready(Err(ParentGone)),
                Poll::Pending => return Poll::Pending,
            }
        }
        if self.is_unflushed {
            if std::task::ready!(self.link.poll_flush(cx)).is_err() {
                return Poll::Ready(Err(ParentGone));
            }
            self.is_unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Says goodbye, as far as the channel knows one: a parent in the same process sees its end.
    pub(crate) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.link.poll_close(cx, &Close::normal()).map(|_| ())
    }

    fn count_too_long(&mut self, now: Millis) {
        let all = self.link.stats().frames_dropped;
        let fresh = all - self.too_long;
        if fresh > 0 {
            self.too_long = all;
            if let Some(told) = self.too_long_log.admit(now, fresh, ()) {
                tell_too_long(told);
            }
        }
    }

    /// One message of the parent, `None` for a line that is none.
    pub(crate) fn said(&mut self, line: &Frame, now: Millis) -> Option<FromParent> {
        match FromParent::decode(line.data()) {
            Ok(said) => Some(said),
            Err(error) => {
                if let Some(told) = self.broken_log.admit(now, 1, error) {
                    tell_broken(told);
                }
                None
            }
        }
    }

    /// Logs what was held back and is due.
    pub(crate) fn log_late(&mut self, now: Millis) {
        if let Some(told) = self.given_up_log.due(now) {
            tell_given_up(told);
        }
        if let Some(told) = self.too_long_log.due(now) {
            tell_too_long(told);
        }
        if let Some(told) = self.broken_log.due(now) {
            tell_broken(told);
        }
        if let Some(told) = self.untold_log.due(now) {
            tell_untold(told);
        }
    }

    /// When [`log_late`](Self::log_late) has something.
    pub(crate) fn late_at(&self) -> Option<Millis> {
        let (given_up, too_long) = (self.given_up_log.wake(), self.too_long_log.wake());
        let due = [given_up, too_long, self.broken_log.wake(), self.untold_log.wake()];
        due.into_iter().flatten().min()
    }

    /// Must those who cause events wait until the parent has read some?
    pub(crate) fn is_clogged(&self) -> bool {
        self.reports.is_clogged()
    }

    pub(crate) fn facts(&self) -> ParentFacts {
        let stats = self.link.stats();
        ParentFacts {
            waiting_bytes: self.reports.bytes() + self.leaving.bytes() + stats.queued_bytes,
            given_up: self.given_up,
            too_long: self.too_long,
            lines_in: stats.frames_in,
            lines_out: stats.frames_out,
        }
    }
}

impl std::fmt::Debug for ParentPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ParentPort").field("facts", &self.facts()).finish_non_exhaustive()
    }
}

/// Counters of the channel to the parent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ParentFacts {
    pub(crate) waiting_bytes: usize,
    pub(crate) given_up: u64,
    pub(crate) too_long: u64,
    pub(crate) lines_in: u64,
    pub(crate) lines_out: u64,
}

fn tell_given_up((lines, ()): (u64, ())) {
    tracing::warn!(lines, "the parent does not read: the oldest data for it was dropped");
}

fn tell_too_long((lines, ()): (u64, ())) {
    tracing::warn!(lines, "a line of the parent was too long and was dropped");
}

fn tell_untold((lines, error): (u64, WireError)) {
    tracing::warn!(%error, lines, "a message was dropped: the parent's channel does not carry it");
}

fn tell_broken((lines, error): (u64, LineError)) {
    tracing::warn!(%error, lines, "a line of the parent was skipped");
}
