//! What waits for one peer: order, pace and bounds of its output.

use std::collections::VecDeque;

use spandrel_wire::{Frame, Millis};

use crate::Limits;

/// One document.
#[derive(Debug)]
struct Document {
    frame: Frame,
    is_chain: bool,
}

/// Output of one peer, handed to the driver a window at a time, or one document at a time with a pause between.
#[derive(Debug)]
pub(crate) struct Outbox {
    queue: VecDeque<Document>,
    queued_bytes: usize,
    /// Bytes the peer has not taken yet of each document that was handed out.
    handed: VecDeque<(usize, bool)>,
    handed_bytes: usize,
    chains: usize,
    pause_ms: u64,
    window_bytes: usize,
    ready_at: Millis,
    moved_at: Millis,
}

/// Charged for every document besides its bytes.
const DOCUMENT_BYTES: usize = 128;

impl Outbox {
    pub(crate) fn new(now: Millis, pause_ms: u64, limits: &Limits) -> Self {
        Self {
            queue: VecDeque::new(),
            queued_bytes: 0,
            handed: VecDeque::new(),
            handed_bytes: 0,
            chains: 0,
            pause_ms,
            window_bytes: limits.window_bytes,
            ready_at: now,
            moved_at: now,
        }
    }

    pub(crate) fn push(&mut self, frame: Frame, is_chain: bool) {
        self.queued_bytes += frame.len() + DOCUMENT_BYTES;
        self.chains += usize::from(is_chain);
        self.queue.push_back(Document { frame, is_chain });
    }

    /// The next document that may go now.
    pub(crate) fn pop(&mut self, now: Millis) -> Option<Frame> {
        let is_open = match self.pause_ms {
            0 => self.handed_bytes == 0 || self.handed_bytes < self.window_bytes,
            _ => self.handed_bytes == 0 && now >= self.ready_at,
        };
        let document = self.queue.pop_front_if(|_| is_open)?;
        self.queued_bytes -= document.frame.len() + DOCUMENT_BYTES;
        if self.handed_bytes == 0 {
            self.moved_at = now;
        }
        self.handed_bytes += document.frame.len();
        self.handed.push_back((document.frame.len(), document.is_chain));
        Some(document.frame)
    }

    /// The peer took bytes. Says whether a whole chain ended with them.
    pub(crate) fn written(&mut self, now: Millis, bytes: usize) -> bool {
        let mut bytes = bytes.min(self.handed_bytes);
        let chains = self.chains;
        if bytes == 0 {
            return false;
        }
        self.handed_bytes -= bytes;
        self.moved_at = now;
        while let Some((left, is_chain)) = self.handed.front_mut() {
            let taken = bytes.min(*left);
            *left -= taken;
            bytes -= taken;
            if *left > 0 {
                break;
            }
            self.chains -= usize::from(*is_chain);
            self.handed.pop_front();
        }
        if self.handed_bytes == 0 {
            self.ready_at = now.after(self.pause_ms);
        }
        self.chains < chains
    }

    /// Is a whole chain still on its way?
    pub(crate) const fn holds_chain(&self) -> bool {
        self.chains > 0
    }

    /// Bytes the peer has not taken, with a charge for each waiting document.
    pub(crate) const fn unsent_bytes(&self) -> usize {
        self.queued_bytes + self.handed_bytes
    }

    /// Since when nothing was taken, while something waits to be.
    pub(crate) fn stuck_since(&self) -> Option<Millis> {
        (self.handed_bytes > 0).then_some(self.moved_at)
    }

    /// When the next document may go, if time is all it waits for.
    pub(crate) fn wake(&self) -> Option<Millis> {
        (!self.queue.is_empty() && self.handed_bytes == 0).then_some(self.ready_at)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn outbox(pause_ms: u64) -> Outbox {
        Outbox::new(Millis::new(0), pause_ms, &Limits::default())
    }

    #[test]
    fn documents_keep_their_distance() {
        let mut out = outbox(20);
        out.push(Frame::text("one"), false);
        out.push(Frame::text("two"), true);
        assert_eq!(out.pop(Millis::new(0)), Some(Frame::text("one")));
        assert_eq!(out.pop(Millis::new(500)), None, "the first is not taken yet");
        out.written(Millis::new(500), 2);
        assert_eq!((out.pop(Millis::new(500)), out.wake()), (None, None));
        out.written(Millis::new(510), 1);
        assert_eq!((out.pop(Millis::new(529)), out.wake()), (None, Some(Millis::new(530))));
        assert!(out.holds_chain());
        assert_eq!(out.pop(Millis::new(530)), Some(Frame::text("two")));
        out.written(Millis::new(531), 3);
        assert!(!out.holds_chain());
        assert_eq!(out.unsent_bytes(), 0);
    }

    #[test]
    fn without_a_pause_a_window_goes_at_once() {
        let mut out = outbox(0);
        let long = Frame::text("x".repeat(200 << 10));
        (0..3).for_each(|_| out.push(long.clone(), false));
        assert!(out.pop(Millis::new(0)).is_some() && out.pop(Millis::new(0)).is_some());
        assert!(out.pop(Millis::new(0)).is_none(), "400 KiB are over the window");
        out.written(Millis::new(1), 200 << 10);
        assert!(out.pop(Millis::new(1)).is_some());
        assert_eq!(out.stuck_since(), Some(Millis::new(1)));
    }

    proptest! {
        /// Whatever the driver reports and when, every document goes out once, in order, and the counts return to zero.
        #[test]
        fn prop_documents_go_once_in_order(
            lens in prop::collection::vec(1_usize..600, 1..30),
            reports in prop::collection::vec((0_u64..40, 0_usize..700), 0..200),
            pause_ms in prop::sample::select(vec![0, 20]),
        ) {
            let mut out = outbox(pause_ms);
            lens.iter().for_each(|len| out.push(Frame::text("x".repeat(*len)), len % 2 == 0));
            let (mut now, mut sent, mut open, mut ended) = (Millis::new(0), Vec::new(), 0, None::<Millis>);
            let ends = reports.into_iter().chain((0..lens.len() * 2).map(|_| (20, 700)));
            for (ms, bytes) in ends {
                while let Some(frame) = out.pop(now) {
                    if pause_ms > 0 {
                        prop_assert_eq!(open, 0);
                        prop_assert!(ended.is_none_or(|ended| now.since(ended) >= pause_ms));
                    }
                    open += frame.len();
                    sent.push(frame.len());
                }
                now = now.after(ms);
                let bytes = bytes.min(open);
                out.written(now, bytes);
                open -= bytes;
                if bytes > 0 && open == 0 {
                    ended = Some(now);
                }
            }
            prop_assert_eq!(sent, lens);
            prop_assert_eq!((out.unsent_bytes(), out.holds_chain(), out.stuck_since()), (0, false, None));
        }
    }
}
