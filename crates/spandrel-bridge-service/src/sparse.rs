//! Log lines that others can cause, at most one a second.

use spandrel_wire::Millis;

/// Lines of one kind: at most one in this time.
const PAUSE_MS: u64 = 1_000;

/// Decides when a line of one kind is written, for how many cases, and about the last of them. What is held back is
/// written when the pause ends: ask [`due`](Self::due) at [`wake`](Self::wake).
#[derive(Debug)]
pub(crate) struct Sparse<T = ()> {
    last: Option<Millis>,
    held: Option<(u64, T)>,
}

impl<T> Default for Sparse<T> {
    fn default() -> Self {
        Self { last: None, held: None }
    }
}

impl<T> Sparse<T> {
    /// Counts cases, of which `what` was the last. `Some` when a line is to be written now: with how many cases it stands
    /// for, these and those held back before them.
    pub(crate) fn admit(&mut self, now: Millis, cases: u64, what: T) -> Option<(u64, T)> {
        let before = self.held.take().map_or(0, |(cases, _)| cases);
        self.held = Some((before.saturating_add(cases), what));
        self.due(now)
    }

    /// What was held back, once the pause is over. [`Millis`] that never come give it in any case: at the end.
    pub(crate) fn due(&mut self, now: Millis) -> Option<(u64, T)> {
        if self.last.is_some_and(|last| now < last.after(PAUSE_MS)) {
            return None;
        }
        let held = self.held.take()?;
        self.last = Some(now);
        Some(held)
    }

    /// When something that is held back is due.
    pub(crate) fn wake(&self) -> Option<Millis> {
        let last = self.last.filter(|_| self.held.is_some())?;
        Some(last.after(PAUSE_MS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_a_line_a_second_and_every_case_is_counted() {
        let mut log = Sparse::default();
        let lines: Vec<_> = (0..10_000).filter_map(|ms| log.admit(Millis::new(ms / 4), 1, ms)).collect();
        assert_eq!(lines, [(1, 0), (4_000, 4_000), (4_000, 8_000)]);
        assert_eq!(log.admit(Millis::new(60_000), 3, 10_000), Some((2_002, 10_000)));
    }

    #[test]
    fn the_rest_of_a_burst_is_due_when_the_pause_ends() {
        let at = Millis::new;
        let mut log = Sparse::default();
        assert_eq!(log.wake(), None);
        assert_eq!(log.admit(at(5), 1, "a"), Some((1, "a")));
        assert_eq!(log.wake(), None, "nothing is held back");
        assert_eq!(log.admit(at(6), 3_127, "b"), None);
        assert_eq!(log.admit(at(7), 1, "c"), None);
        assert_eq!(log.wake(), Some(at(1_005)));
        assert_eq!(log.due(at(1_004)), None);
        assert_eq!(log.due(at(1_005)), Some((3_128, "c")));
        assert_eq!((log.wake(), log.due(at(9_000))), (None, None));
        assert_eq!(log.admit(at(1_006), 1, "d"), None, "what was late starts a pause, too");
        assert_eq!(log.due(at(u64::MAX)), Some((1, "d")), "at the end");
    }
}
