//! How disk and sources are, for a health check.

use std::collections::BTreeMap;

use spandrel_jobs::ErrorCode;

/// How something that jobs depend on is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// Nothing to say.
    Well,
    /// It works; somebody should look. A few words, without paths.
    Worrying(String),
    /// It does not work now.
    Failing(String),
}

/// A source that has not failed for this long is given another chance to be well, in milliseconds: a server that
/// says it is unhealthy may not be asked for anything that would show the contrary.
const FRESH_MS: u64 = 60_000;

/// Runs of each data set that failed one after another.
#[derive(Debug, Default)]
pub(super) struct SourceFailures(BTreeMap<String, Failures>);

#[derive(Debug, Default)]
struct Failures {
    in_a_row: u32,
    last_ms: u64,
}

impl SourceFailures {
    /// A run of `dataset` ended. There are as many entries as data sets, at most.
    pub(super) fn note(&mut self, dataset: &str, failed: Option<ErrorCode>, now_ms: u64) {
        match failed {
            None => {
                self.0.remove(dataset);
            }
            Some(ErrorCode::SourceError | ErrorCode::Timeout | ErrorCode::NetworkError) => {
                let failures = self.0.entry(dataset.to_owned()).or_default();
                failures.in_a_row = failures.in_a_row.saturating_add(1);
                failures.last_ms = now_ms;
            }
            Some(_) => {}
        }
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// The data sets that give trouble.
    pub(super) fn conditions(&self, retries_max: u32, now_ms: u64) -> Vec<(String, Condition)> {
        let condition = |(name, failures): (&String, &Failures)| {
            let is_failing =
                failures.in_a_row > retries_max && now_ms.saturating_sub(failures.last_ms) < FRESH_MS;
            let condition = match is_failing {
                true => Condition::Failing("it cannot be read".into()),
                false => Condition::Worrying("the last read failed".into()),
            };
            (name.clone(), condition)
        };
        self.0.iter().map(condition).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_fails_after_all_tries_of_a_job_and_not_for_ever() {
        let mut sources = SourceFailures::default();
        let is_failing = |s: &SourceFailures, now| match s.conditions(3, now).as_slice() {
            [] => None,
            [(name, condition)] => Some((name.clone(), matches!(condition, Condition::Failing(_)))),
            more => panic!("{more:?}"),
        };
        sources.note("logs", Some(ErrorCode::FileSystem), 0);
        assert_eq!(is_failing(&sources, 0), None, "not the source's fault");
        for n in 0..3 {
            sources.note("logs", Some(ErrorCode::SourceError), n);
        }
        assert_eq!(is_failing(&sources, 5), Some(("logs".into(), false)));
        sources.note("logs", Some(ErrorCode::Timeout), 10);
        assert_eq!(is_failing(&sources, 10), Some(("logs".into(), true)));
        assert_eq!(is_failing(&sources, 10 + FRESH_MS), Some(("logs".into(), false)), "long ago");
        sources.note("logs", None, 20);
        assert_eq!(is_failing(&sources, 20), None);
    }
}
