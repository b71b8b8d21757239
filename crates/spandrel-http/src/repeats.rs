//! One kind of log line, so that nobody can fill a disk with it.

use std::sync::{Mutex, PoisonError};

/// A line is written at once when none was in the last minute; of those that follow the hundredth, the thousandth and
/// so on, which say how many were left out.
const WINDOW_MS: u64 = 60_000;
const FIRST_SUMMARY: u64 = 100;

/// Counts one kind of log line that strangers can cause. Keep one per kind, as a `static` or beside what it is about.
///
/// ```
/// let missing = spandrel_http::Repeats::new();
/// let written: Vec<u64> = (0..1_000).filter_map(|_| missing.admit(5)).collect();
/// assert_eq!(written, [0, 98, 899], "three lines, and how many there were between them");
/// assert_eq!(missing.admit(60_005), Some(0), "another minute");
/// ```
#[derive(Debug, Default)]
pub struct Repeats(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Monotonic milliseconds.
    began_ms: Option<u64>,
    seen: u64,
    left_out: u64,
    next: u64,
}

impl Repeats {
    /// Nothing was seen yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(Mutex::new(State { began_ms: None, seen: 0, left_out: 0, next: 0 }))
    }

    /// Whether the line of this moment is to be written: `Some` with how many were left out since the last one.
    /// `now_ms` is of a monotonic clock.
    pub fn admit(&self, now_ms: u64) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.began_ms.is_none_or(|began| now_ms.saturating_sub(began) >= WINDOW_MS) {
            state.began_ms = Some(now_ms);
            (state.seen, state.next) = (1, FIRST_SUMMARY);
            return Some(std::mem::take(&mut state.left_out));
        }
        state.seen += 1;
        if state.seen < state.next {
            state.left_out += 1;
            return None;
        }
        state.next = state.next.saturating_mul(10);
        Some(std::mem::take(&mut state.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_a_few_lines_and_every_line_is_accounted_for() {
        let kind = Repeats::new();
        let (mut lines, mut left_out) = (0, 0);
        for n in 0..1_000_000_u64 {
            if let Some(before) = kind.admit(n / 1_000) {
                lines += 1;
                left_out += before;
            }
        }
        assert_eq!((lines, lines + left_out), (6, 1_000_000), "1, 100, 1,000 ... 1,000,000");
    }

    #[test]
    fn a_rare_line_is_always_written() {
        let kind = Repeats::new();
        for minute in 0..100 {
            assert_eq!(kind.admit(minute * WINDOW_MS), Some(0));
        }
    }
}
