//! A bounded run of frames, the unit in which links are polled.

use std::collections::VecDeque;

use crate::{Frame, Limits};

/// Frames in order, bounded by bytes first and by count second.
///
/// The bounds keep buffers small enough to be freed and reused while they are warm: with large frames a batch of
/// 16-64 KiB runs at about half the cost of an unbounded one.
#[derive(Debug, Clone)]
pub struct Batch {
    frames: VecDeque<Frame>,
    bytes: usize,
    bytes_max: usize,
    frames_max: usize,
}

impl Batch {
    /// Makes an empty batch with the default bounds of [`Limits`]. Allocates nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::with_limits(&Limits::default())
    }

    /// Makes an empty batch with the batch bounds of `limits`.
    #[must_use]
    pub fn with_limits(limits: &Limits) -> Self {
        Self::with_bounds(limits.batch_bytes_max, limits.batch_frames_max)
    }

    /// Makes an empty batch that is full at `bytes_max` bytes or `frames_max` frames (at least 1).
    #[must_use]
    pub fn with_bounds(bytes_max: usize, frames_max: usize) -> Self {
        Self { frames: VecDeque::new(), bytes: 0, bytes_max, frames_max: frames_max.max(1) }
    }

    /// Adds a frame at the end. An empty batch takes a frame of any size.
    ///
    /// # Errors
    ///
    /// Gives the frame back when the batch [`is_full`](Self::is_full).
    pub fn push(&mut self, frame: Frame) -> Result<(), Frame> {
        if self.is_full() {
            return Err(frame);
        }
        self.bytes = self.bytes.saturating_add(frame.len());
        self.frames.push_back(frame);
        Ok(())
    }

    /// Takes the oldest frame.
    pub fn pop(&mut self) -> Option<Frame> {
        let frame = self.frames.pop_front()?;
        self.bytes = self.bytes.saturating_sub(frame.len());
        Some(frame)
    }

    /// Drops every frame and keeps the room.
    pub fn clear(&mut self) {
        self.frames.clear();
        self.bytes = 0;
    }

    /// Gives memory back when there is nothing in it and room for many.
    pub fn shrink(&mut self) {
        if self.frames.is_empty() && self.frames.capacity() > 4 {
            self.frames = VecDeque::new();
        }
    }

    /// Returns the oldest frame without taking it.
    #[must_use]
    pub fn front(&self) -> Option<&Frame> {
        self.frames.front()
    }

    /// Walks over the frames, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Frame> {
        self.frames.iter()
    }

    /// Returns the number of frames.
    #[must_use]
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// Is there no frame?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Returns the payload bytes of all frames.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Is a bound reached? An empty batch is never full.
    #[must_use]
    pub fn is_full(&self) -> bool {
        !self.frames.is_empty() && (self.bytes >= self.bytes_max || self.frames.len() >= self.frames_max)
    }
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_by_bytes_and_by_frames() {
        for (name, bytes_max, frames_max, size, want) in [
            ("bytes come first", 100, 10, 40, 3),
            ("then frames", 100, 2, 1, 2),
            ("empty takes any size", 10, 10, 1000, 1),
            ("never less than one", 0, 0, 1, 1),
        ] {
            let mut batch = Batch::with_bounds(bytes_max, frames_max);
            let taken = (0..20).filter(|_| batch.push(Frame::binary(vec![0; size])).is_ok()).count();
            assert_eq!((taken, batch.len(), batch.bytes()), (want, want, want * size), "{name}");
            assert!(batch.is_full(), "{name}");
        }
    }

    proptest::proptest! {
        /// The byte count is the sum of the frames inside, whatever was pushed and popped.
        #[test]
        fn prop_bytes_agree_with_frames(ops in proptest::collection::vec((proptest::bool::ANY, 0_usize..50), 0..100)) {
            let mut batch = Batch::with_bounds(400, 16);
            for (push, size) in ops {
                if push {
                    let _ = batch.push(Frame::binary(vec![0; size]));
                } else {
                    batch.pop();
                }
                proptest::prop_assert_eq!(batch.bytes(), batch.iter().map(Frame::len).sum::<usize>());
                proptest::prop_assert!(batch.len() <= 16 && batch.bytes() < 450);
            }
        }
    }
}
