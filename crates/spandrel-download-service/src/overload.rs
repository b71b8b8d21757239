//! Refusals for want of room, and the bytes that wait for all peers together.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use spandrel_download::spread;
use spandrel_download_protocol::{ErrorCode, ErrorResponse};

/// Spreads the `retryAfter` of a refusal for want of room, and sees that there is one. Others stay as they are.
pub(crate) fn spread_refusal(mut error: ErrorResponse) -> ErrorResponse {
    static REFUSALS: AtomicU64 = AtomicU64::new(0);
    if matches!(error.code, ErrorCode::Overloaded | ErrorCode::ShuttingDown) {
        let seed = REFUSALS.fetch_add(1, Ordering::Relaxed);
        error.retry_after_ms = Some(spread(error.retry_after_ms.unwrap_or(5_000), seed));
    }
    error
}

/// A connection with fewer bytes than this waiting is no reason for anything.
const SMALL_BYTES: usize = 64 * 1024;

/// Bytes that wait for all peers together.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    held: Arc<AtomicUsize>,
    max: usize,
}

impl Budget {
    pub(crate) fn new(max: usize) -> Self {
        Self { held: Arc::default(), max }
    }

    pub(crate) fn share(&self) -> Share {
        Share { budget: self.clone(), own: 0 }
    }

    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }
}

/// The part of one connection, given back when dropped.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Budget,
    own: usize,
}

impl Share {
    /// So many bytes wait for this peer. Returns what to make of it: while all together hold too much, whoever holds
    /// more than a little holds more than its bound.
    pub(crate) fn report(&mut self, bytes: usize) -> usize {
        if bytes != self.own {
            self.budget.held.fetch_add(bytes, Ordering::Relaxed);
            self.budget.held.fetch_sub(self.own, Ordering::Relaxed);
            self.own = bytes;
        }
        if bytes > SMALL_BYTES && self.budget.held() > self.budget.max { usize::MAX } else { bytes }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.held.fetch_sub(self.own, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_refusals_for_want_of_room_are_spread() {
        let of = |code| spread_refusal(ErrorResponse::new(code, "").with_retry_after(1_000)).retry_after_ms;
        assert_eq!(of(ErrorCode::NotReady), Some(1_000));
        let times: std::collections::BTreeSet<_> =
            (0..50).filter_map(|_| of(ErrorCode::Overloaded)).collect();
        assert!(times.len() > 30 && times.iter().all(|ms| (500..=1_500).contains(ms)), "{times:?}");
        let bare = spread_refusal(ErrorResponse::new(ErrorCode::ShuttingDown, ""));
        assert!(bare.retry_after_ms.is_some(), "never without");
    }

    #[test]
    fn whoever_holds_much_gives_way_when_all_hold_too_much() {
        let budget = Budget::new(1_000_000);
        let (mut a, mut b, mut small) = (budget.share(), budget.share(), budget.share());
        assert_eq!(a.report(900_000), 900_000);
        assert_eq!((b.report(200_000), small.report(1_000)), (usize::MAX, 1_000));
        assert_eq!(a.report(900_000), usize::MAX);
        drop(a);
        assert_eq!((b.report(200_000), budget.held()), (200_000, 201_000));
        drop((b, small));
        assert_eq!(budget.held(), 0);
    }
}
