//! How the server is: data sets, disk, memory.
//!
//! A check that fails makes the server unhealthy, which every connection is told once ([`Watchman::alarm`]); jobs that
//! it concerns are refused as long.
//!
//! Anybody is told, before proving anything: names of data sets and files are for the log.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use spandrel_download_protocol::{Check, CheckStatus, ErrorCode, ErrorResponse};
use spandrel_export_engine::Condition;
use tokio::sync::watch;

use crate::service::Inner;

/// Looked at again after this long: messages that carry it are frequent.
pub(crate) const EVERY: Duration = Duration::from_secs(1);

/// A look that takes longer than this says something by itself: the disk gives no answer.
const ANSWER_MS: u64 = 10_000;

/// The last look, and who is told when things turn bad.
#[derive(Debug)]
pub(crate) struct Watchman {
    last: Mutex<Look>,
    /// Somebody looks every second: nobody else has to wait for a disk.
    is_watched: AtomicBool,
    /// Moves whenever the server turns unhealthy; holds what connections are told then.
    pub(crate) alarm: watch::Sender<Option<ErrorResponse>>,
}

#[derive(Debug, Default)]
struct Look {
    at_ms: Option<u64>,
    checks: Vec<Check>,
    /// What is wrong with which data sets, for the log.
    trouble: String,
}

impl Watchman {
    pub(crate) fn new() -> Self {
        Self { last: Mutex::default(), is_watched: AtomicBool::new(false), alarm: watch::Sender::new(None) }
    }

    /// The checks as they are now, or were a moment ago.
    pub(crate) fn checks(&self, inner: &Inner) -> Vec<Check> {
        let now_ms = inner.now().mono_ms;
        let (age_ms, mut checks) = {
            let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            (last.at_ms.map(|at| now_ms.saturating_sub(at)), last.checks.clone())
        };
        let fresh_ms = u64::try_from(EVERY.as_millis()).unwrap_or(u64::MAX);
        match age_ms {
            Some(age) if age < fresh_ms => checks,
            Some(age) if self.is_watched.load(Ordering::Relaxed) => {
                if age >= ANSWER_MS {
                    for check in checks.iter_mut().filter(|check| check.name == "storage") {
                        check.status = CheckStatus::Fail;
                        check.message = Some("the disk gives no answer".into());
                    }
                    self.note(None, &checks, None);
                }
                checks
            }
            _ => self.look(inner),
        }
    }

    fn look(&self, inner: &Inner) -> Vec<Check> {
        let (sources, trouble) = sources(inner);
        let checks = look(inner, sources);
        self.note(Some(inner.now().mono_ms), &checks, Some(trouble));
        checks
    }

    fn note(&self, at_ms: Option<u64>, checks: &[Check], trouble: Option<String>) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let was_failing = failing(&last.checks).is_some();
        let trouble = trouble.unwrap_or_else(|| last.trouble.clone());
        let is_news = trouble != last.trouble && !trouble.is_empty();
        *last = Look { at_ms: at_ms.or(last.at_ms), checks: checks.to_vec(), trouble: trouble.clone() };
        drop(last);
        if is_news {
            tracing::warn!(what = trouble, "the data sets need a look");
        }
        match failing(checks) {
            Some(check) if !was_failing => {
                tracing::error!(check = check.name, what = check.message, "the server is unhealthy");
                self.alarm.send_replace(Some(alarm(check)));
            }
            None if was_failing => tracing::info!("the server is well again"),
            _ => {}
        }
    }
}

/// Looks every second until the server stops.
pub(crate) async fn keep_watch(inner: Arc<Inner>) {
    let stopping = inner.stopping.clone();
    let watch = async {
        loop {
            let inner = Arc::clone(&inner);
            // On a thread of its own: a disk may give no answer.
            let _ = tokio::task::spawn_blocking(move || {
                inner.watchman.look(&inner);
                inner.watchman.is_watched.store(true, Ordering::Relaxed);
            })
            .await;
            tokio::time::sleep(EVERY).await;
        }
    };
    stopping.run_until_cancelled(watch).await;
}

fn failing(checks: &[Check]) -> Option<&Check> {
    checks.iter().find(|check| check.status == CheckStatus::Fail)
}

/// Protocol section 11: what the server says by itself.
fn alarm(check: &Check) -> ErrorResponse {
    let (code, message) = match check.name.as_str() {
        "storage" => (ErrorCode::FileSystem, "the disk of the server cannot be written"),
        "memory" => (ErrorCode::MemoryLimit, "the server is short of memory"),
        _ => (ErrorCode::SourceError, "a data set cannot be read"),
    };
    ErrorResponse::new(code, message).with_retry_after(60_000)
}

/// Whether there is no memory for anything new.
pub(crate) fn is_short_of_memory(checks: &[Check]) -> bool {
    checks.iter().any(|check| check.name == "memory" && check.status == CheckStatus::Fail)
}

fn look(inner: &Inner, sources: Condition) -> Vec<Check> {
    let check = |name: &str, condition| {
        let (status, message) = match condition {
            Condition::Well => (CheckStatus::Ok, None),
            Condition::Worrying(what) => (CheckStatus::Warn, Some(what)),
            Condition::Failing(what) => (CheckStatus::Fail, Some(what)),
        };
        Check { name: name.into(), status, message }
    };
    vec![check("source", sources), check("storage", inner.jobs.storage()), check("memory", memory(inner))]
}

/// How the data sets are, without their names, and what the log is told of them.
fn sources(inner: &Inner) -> (Condition, String) {
    let mut trouble = inner.datasets.warnings();
    let mut words = Vec::new();
    if !trouble.is_empty() {
        words.push("a data set is not served whole".to_owned());
    }
    let (mut is_worrying, mut is_failing) = (false, false);
    for (name, condition) in inner.jobs.sources() {
        let (is_bad, what) = match condition {
            Condition::Well => continue,
            Condition::Worrying(what) => (false, what),
            Condition::Failing(what) => (true, what),
        };
        is_worrying |= !is_bad;
        is_failing |= is_bad;
        trouble.push(format!("{name}: {what}"));
    }
    if is_failing {
        words.push("a data set cannot be read".into());
    }
    if is_worrying {
        words.push("the last read of a data set failed".into());
    }
    let stuck = inner.jobs.stuck_len();
    if stuck > 0 {
        is_failing |= stuck >= inner.config.limits.stuck_runs_max;
        words.push(format!("{stuck} reads get no answer"));
    }
    let condition = match (words.is_empty(), is_failing) {
        (true, _) => Condition::Well,
        (_, false) => Condition::Worrying(words.join("; ")),
        (_, true) => Condition::Failing(words.join("; ")),
    };
    (condition, trouble.join("; "))
}

fn memory(inner: &Inner) -> Condition {
    let limits = &inner.config.limits;
    let Some(bytes) = resident_bytes() else { return Condition::Well };
    let words = |limit: u64| format!("{} MiB are in use, over {} MiB", bytes >> 20, limit >> 20);
    match bytes {
        bytes if bytes > limits.memory_fail_bytes => Condition::Failing(words(limits.memory_fail_bytes)),
        bytes if bytes > limits.memory_warn_bytes => Condition::Worrying(words(limits.memory_warn_bytes)),
        _ => Condition::Well,
    }
}

/// Resident memory, where the system tells.
pub(crate) fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.trim().strip_suffix("kB")?;
    Some(kib.trim().parse::<u64>().ok()? << 10)
}
