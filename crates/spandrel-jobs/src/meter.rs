//! Speed and progress of a running job (protocol section 9).

use std::collections::VecDeque;

/// Speed is taken over this long.
const WINDOW_MS: u64 = 5_000;
/// Samples closer together than this replace each other, so that a window has a bounded number.
const SPACING_MS: u64 = 100;

/// Rows over time of one run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Meter {
    samples: VecDeque<Sample>,
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    at_ms: u64,
    rows: u64,
    scanned: u64,
}

impl Meter {
    /// Begins a run.
    pub(crate) fn start(&mut self, at_ms: u64, rows: u64, scanned: u64) {
        self.samples.clear();
        self.samples.push_back(Sample { at_ms, rows, scanned });
    }

    /// Ends a run: speed is zero from here.
    pub(crate) fn stop(&mut self) {
        self.samples.clear();
    }

    /// Notes how far the run is.
    pub(crate) fn sample(&mut self, at_ms: u64, rows: u64, scanned: u64) {
        let sample = Sample { at_ms, rows, scanned };
        let close = self.samples.len() > 1
            && self.samples.iter().nth_back(1).is_some_and(|s| at_ms.saturating_sub(s.at_ms) < SPACING_MS);
        if close {
            self.samples.pop_back();
        }
        self.samples.push_back(sample);
        // The second sample is at or before the window's start: the first one is not needed any more.
        while self.samples.get(1).is_some_and(|s| s.at_ms.saturating_add(WINDOW_MS) <= at_ms) {
            self.samples.pop_front();
        }
    }

    /// Written rows and looked-at rows per second.
    pub(crate) fn speed(&self) -> (f64, f64) {
        let (Some(first), Some(last)) = (self.samples.front(), self.samples.back()) else {
            return (0.0, 0.0);
        };
        let ms = last.at_ms.saturating_sub(first.at_ms);
        if ms == 0 {
            return (0.0, 0.0);
        }
        let rate = |a: u64, b: u64| float(b.saturating_sub(a)) * 1_000.0 / float(ms);
        (rate(first.rows, last.rows), rate(first.scanned, last.scanned))
    }
}

/// Percent times 100 of `done` in `all`, rounded down; 0 when `all` is 0.
pub(crate) fn hundredths(done: u64, all: u64) -> u16 {
    if all == 0 {
        return 0;
    }
    let share = u128::from(done.min(all)) * 10_000 / u128::from(all);
    u16::try_from(share).unwrap_or(10_000)
}

/// Seconds for `left` rows at `speed`, to the millisecond; -1 when that is unknown.
pub(crate) fn seconds_left(left: u64, speed: f64) -> f64 {
    if speed <= 0.0 {
        return -1.0;
    }
    (float(left) * 1_000.0 / speed).ceil() / 1_000.0
}

/// The nearest binary64: counts are far below 2^53.
fn float(n: u64) -> f64 {
    n as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_is_rounded_down_and_never_over() {
        for (name, done, all, want) in [
            ("nothing to do", 0, 0, 0),
            ("none", 0, 3, 0),
            ("a third", 1, 3, 3_333),
            ("nearly all", 9_999_999, 10_000_000, 9_999),
            ("all", 7, 7, 10_000),
            ("more than all", 8, 7, 10_000),
            ("far end", u64::MAX, u64::MAX, 10_000),
        ] {
            assert_eq!(hundredths(done, all), want, "{name}");
        }
    }

    #[test]
    fn speed_covers_five_seconds_or_the_whole_run() {
        let mut meter = Meter::default();
        assert_eq!(meter.speed().0, 0.0);
        meter.start(1_000, 50, 0);
        assert_eq!(meter.speed().0, 0.0, "no time has passed");
        meter.sample(1_500, 150, 0);
        assert_eq!(meter.speed().0, 200.0, "since the start");
        for ms in (1_600..=20_000).step_by(100) {
            meter.sample(ms, 150 + (ms - 1_500), 0);
        }
        assert_eq!(meter.speed().0, 1_000.0, "the slow start is out of the window");
        for ms in (20_100..=30_000).step_by(100) {
            meter.sample(ms, 18_650, 0);
        }
        assert_eq!(meter.speed().0, 0.0, "a stalled run");
    }

    #[test]
    fn time_left_is_never_infinite() {
        assert_eq!(seconds_left(10, 0.0), -1.0);
        assert_eq!(seconds_left(0, 5.0), 0.0);
        assert_eq!(seconds_left(10, 3.0), 3.334);
    }

    proptest::proptest! {
        /// However often the meter is fed, it keeps a bounded number of samples.
        #[test]
        fn prop_samples_are_bounded(steps in proptest::collection::vec(0_u64..300, 0..2_000)) {
            let mut meter = Meter::default();
            meter.start(0, 0, 0);
            let mut at = 0;
            for step in steps {
                at += step;
                meter.sample(at, at, at);
                proptest::prop_assert!(meter.samples.len() <= 110);
            }
        }
    }
}
