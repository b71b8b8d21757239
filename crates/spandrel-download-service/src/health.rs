//! How the server is: data sets, disk, memory.
//!
//! A check that fails makes the server unhealthy, which every connection is told once ([`Watchman::alarm`]); jobs that
//! it concerns are refused as long.

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
                    self.note(None, &checks);
                }
                checks
            }
            _ => self.look(inner),
        }
    }

    fn look(&self, inner: &Inner) -> Vec<Check> {
        let checks = look(inner);
        self.note(Some(inner.now().mono_ms), &checks);
        checks
    }

    fn note(&self, at_ms: Option<u64>, checks: &[Check]) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let was_failing = failing(&last.checks).is_some();
        *last = Look { at_ms: at_ms.or(last.at_ms), checks: checks.to_vec() };
        drop(last);
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

fn look(inner: &Inner) -> Vec<Check> {
    let check = |name: &str, condition| {
        let (status, message) = match condition {
            Condition::Well => (CheckStatus::Ok, None),
            Condition::Worrying(what) => (CheckStatus::Warn, Some(what)),
            Condition::Failing(what) => (CheckStatus::Fail, Some(what)),
        };
        Check { name: name.into(), status, message }
    };
    vec![
        check("source", sources(inner)),
        check("storage", inner.jobs.storage()),
        check("memory", memory(inner)),
    ]
}

fn sources(inner: &Inner) -> Condition {
    let mut words = inner.datasets.warnings();
    let mut is_failing = false;
    for (name, condition) in inner.jobs.sources() {
        match condition {
            Condition::Well => {}
            Condition::Worrying(what) => words.push(format!("{name}: {what}")),
            Condition::Failing(what) => {
                is_failing = true;
                words.push(format!("{name}: {what}"));
            }
        }
    }
    let stuck = inner.jobs.stuck_len();
    if stuck > 0 {
        is_failing |= stuck >= inner.config.limits.stuck_runs_max;
        words.push(format!("{stuck} reads get no answer"));
    }
    match (words.is_empty(), is_failing) {
        (true, _) => Condition::Well,
        (_, false) => Condition::Worrying(words.join("; ")),
        (_, true) => Condition::Failing(words.join("; ")),
    }
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
