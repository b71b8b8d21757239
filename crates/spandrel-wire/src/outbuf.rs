//! Bytes on their way out: small pieces copied together, large ones queued as they are.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
};

use bytes::{Buf, Bytes};

/// Bytes waiting to be written, laid out for vectored writes.
///
/// Pieces up to [`OutBuf::COPY_BYTES_MAX`] are copied to a tail; larger ones are queued without a copy.
#[derive(Debug, Default)]
pub struct OutBuf {
    chunks: VecDeque<Bytes>,
    tail: Vec<u8>,
    /// Bytes of `tail` already written; 0 while `chunks` holds anything.
    tail_at: usize,
    len: usize,
}

impl OutBuf {
    /// Longest piece that is copied rather than queued, in bytes.
    pub const COPY_BYTES_MAX: usize = 4096;
    /// A tail this long becomes a piece of its own: a growing one would be copied each time it doubles.
    const TAIL_BYTES_MAX: usize = 16 << 10;
    /// Largest tail kept for reuse once everything is written, in bytes.
    const KEEP_BYTES_MAX: usize = 2048;

    /// Makes an empty buffer. Allocates nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { chunks: VecDeque::new(), tail: Vec::new(), tail_at: 0, len: 0 }
    }

    /// Copies bytes to the end.
    pub fn put_slice(&mut self, bytes: &[u8]) {
        if self.tail.len() + bytes.len() > Self::TAIL_BYTES_MAX && !self.tail.is_empty() {
            self.close_tail();
            self.tail.reserve_exact(Self::TAIL_BYTES_MAX.max(bytes.len()));
        }
        self.tail.extend_from_slice(bytes);
        self.len = self.len.saturating_add(bytes.len());
    }

    /// Adds bytes to the end; large ones are not copied.
    pub fn put_bytes(&mut self, bytes: Bytes) {
        if bytes.len() <= Self::COPY_BYTES_MAX {
            return self.put_slice(&bytes);
        }
        self.close_tail();
        self.len = self.len.saturating_add(bytes.len());
        self.chunks.push_back(bytes);
    }

    /// Adds `bytes` to the end with `edit` applied to the copy, as a masked payload needs it.
    pub fn put_edited(&mut self, bytes: &[u8], edit: impl FnOnce(&mut [u8])) {
        self.put_slice(bytes);
        let at = self.tail.len() - bytes.len();
        if let Some(copy) = self.tail.get_mut(at..) {
            edit(copy);
        }
    }

    /// Drops the first `n` bytes, which have been written.
    pub fn advance(&mut self, n: usize) {
        let mut left = n.min(self.len);
        self.len -= left;
        while let Some(front) = self.chunks.front_mut() {
            if left < front.len() {
                front.advance(left);
                return;
            }
            left -= front.len();
            self.chunks.pop_front();
        }
        self.tail_at += left;
        if self.tail_at >= self.tail.len() {
            self.tail.clear();
            self.tail_at = 0;
        }
    }

    /// Gives memory back when everything is written and much is held.
    pub fn shrink(&mut self) {
        if self.len == 0 && self.tail.capacity() > Self::KEEP_BYTES_MAX {
            self.tail = Vec::new();
        }
        if self.chunks.is_empty() && self.chunks.capacity() > 8 {
            self.chunks = VecDeque::new();
        }
    }

    /// Drops everything.
    pub fn clear(&mut self) {
        *self = Self::new();
    }

    /// Fills `slices` with what comes first and returns how many were filled.
    pub fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let tail = self.tail.get(self.tail_at..).unwrap_or_default();
        let pieces = self.chunks.iter().map(|c| &c[..]).chain((!tail.is_empty()).then_some(tail));
        slices.iter_mut().zip(pieces).map(|(slot, piece)| *slot = IoSlice::new(piece)).count()
    }

    /// Returns the first contiguous piece, empty when there is none.
    #[must_use]
    pub fn chunk(&self) -> &[u8] {
        self.chunks.front().map_or_else(|| self.tail.get(self.tail_at..).unwrap_or_default(), |c| &c[..])
    }

    /// Copies everything out, for tests and simulators.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        let mut all: Vec<u8> = self.chunks.iter().flat_map(|c| c.iter().copied()).collect();
        all.extend_from_slice(self.tail.get(self.tail_at..).unwrap_or_default());
        all
    }

    /// Returns the bytes waiting.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Is nothing waiting?
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Is the next write one piece?
    #[must_use]
    pub fn is_contiguous(&self) -> bool {
        self.chunks.is_empty() || (self.chunks.len() == 1 && self.tail.is_empty())
    }

    /// Makes the tail a queued piece, if it holds anything.
    fn close_tail(&mut self) {
        if self.tail_at < self.tail.len() {
            let mut tail = Bytes::from(std::mem::take(&mut self.tail));
            tail.advance(self.tail_at);
            self.chunks.push_back(tail);
        } else {
            self.tail.clear();
        }
        self.tail_at = 0;
    }
}

impl io::Write for OutBuf {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.put_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_pieces_are_not_copied() {
        let big = Bytes::from(vec![1; OutBuf::COPY_BYTES_MAX + 1]);
        let small = Bytes::from(vec![2; OutBuf::COPY_BYTES_MAX]);
        let mut out = OutBuf::new();
        out.put_bytes(small.clone());
        out.put_bytes(big.clone());
        let mut slices = [IoSlice::new(&[]); 4];
        assert_eq!(out.chunks_vectored(&mut slices), 2);
        assert_ne!(slices[0].as_ptr(), small.as_ptr());
        assert_eq!(slices[1].as_ptr(), big.as_ptr());
    }

    #[test]
    fn memory_goes_back_after_a_large_tail() {
        let mut out = OutBuf::new();
        for _ in 0..100 {
            out.put_slice(&[0; 1000]);
        }
        out.advance(usize::MAX);
        out.shrink();
        assert_eq!((out.len(), out.tail.capacity()), (0, 0));
    }

    proptest::proptest! {
        /// What goes in comes out in order, whatever the sizes and however it is taken.
        #[test]
        fn prop_bytes_keep_their_order(
            pieces in proptest::collection::vec((0_usize..6000, proptest::bool::ANY), 0..12),
            steps in proptest::collection::vec(1_usize..5000, 1..40),
        ) {
            let (mut out, mut want, mut got) = (OutBuf::new(), Vec::new(), Vec::new());
            let mut steps = steps.iter().cycle();
            for (i, (len, shared)) in pieces.into_iter().enumerate() {
                let piece = vec![u8::try_from(i).unwrap(); len];
                want.extend_from_slice(&piece);
                if shared { out.put_bytes(piece.into()); } else { out.put_slice(&piece); }
                let n = (*steps.next().unwrap()).min(out.chunk().len());
                got.extend_from_slice(&out.chunk()[..n]);
                out.advance(n);
                proptest::prop_assert_eq!(out.len(), out.to_vec().len());
                proptest::prop_assert_eq!(out.len() + got.len(), want.len());
            }
            got.extend(out.to_vec());
            proptest::prop_assert_eq!(got, want);
        }
    }
}
