//! Log lines that others can cause, at most one a second.

use spandrel_wire::Millis;

/// Lines of one kind: at most one in this time.
const PAUSE_MS: u64 = 1_000;

/// Decides which line of one kind is written, and counts the others.
#[derive(Debug, Default)]
pub(crate) struct Sparse {
    last: Option<Millis>,
    held: u64,
}

impl Sparse {
    /// `Some` when a line is to be written now: with how many cases it stands for, this one and those held back before it.
    pub(crate) fn admit(&mut self, now: Millis, cases: u64) -> Option<u64> {
        self.held = self.held.saturating_add(cases);
        if self.last.is_some_and(|last| now < last.after(PAUSE_MS)) {
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.held))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_a_line_a_second_and_every_case_is_counted() {
        let mut log = Sparse::default();
        let lines: Vec<_> = (0..10_000).filter_map(|ms| log.admit(Millis::new(ms / 4), 1)).collect();
        assert_eq!(lines, [1, 4_000, 4_000]);
        assert_eq!(log.admit(Millis::new(60_000), 3), Some(2_002));
    }
}
