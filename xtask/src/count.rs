//! Adds up the `test result:` lines of `cargo test`, which prints one per binary and no total.

use std::fmt;

/// Sums over all test binaries and doc-tests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl Count {
    /// Takes one line of output; lines that are not a result change nothing.
    pub(crate) fn take(&mut self, line: &str) {
        let Some(rest) = line.strip_prefix("test result: ") else { return };
        for (number, word) in rest.split([';', '.']).filter_map(|part| part.trim().split_once(' ')) {
            let Ok(number) = number.parse::<u64>() else { continue };
            match word {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.skipped += number,
                _ => {}
            }
        }
    }

    /// Moves tests that passed only because they skipped themselves to where they belong.
    pub(crate) fn skip(&mut self, tests: u64) {
        let moved = tests.min(self.passed);
        self.passed -= moved;
        self.skipped += moved;
    }

    /// Tests that were seen at all.
    pub(crate) fn total(&self) -> u64 {
        self.passed + self.failed + self.skipped
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_add_up_over_binaries() {
        let mut count = Count::default();
        for line in [
            "running 3 tests",
            "test a ... ok",
            "test result: ok. 12 passed; 0 failed; 3 ignored; 0 measured; 0 filtered out; finished in 0.05s",
            "test result: FAILED. 1 passed; 2 failed; 0 ignored; 7 measured; 9 filtered out; finished in 1.20s",
            "a test result: ok. 100 passed; 0 failed",
        ] {
            count.take(line);
        }
        assert_eq!(count, Count { passed: 13, failed: 2, skipped: 3 });
        assert_eq!(count.to_string(), "13 passed, 2 failed, 3 skipped");
    }

    #[test]
    fn nothing_run_is_a_total_of_zero() {
        let mut count = Count::default();
        count.take("test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out");
        assert_eq!(count.total(), 0);
    }

    #[test]
    fn skipped_by_themselves_do_not_count_as_passed() {
        let mut count = Count { passed: 5, failed: 0, skipped: 1 };
        count.skip(2);
        assert_eq!(count, Count { passed: 3, failed: 0, skipped: 3 });
        count.skip(9);
        assert_eq!(count, Count { passed: 0, failed: 0, skipped: 6 }, "more skips than passes");
    }
}
