//! How the server is: data sets, disk, memory.

use spandrel_download_protocol::{Check, CheckStatus};

use crate::service::Inner;

/// Looked at again after this long, in milliseconds: messages that carry it are frequent.
pub(crate) const FRESH_MS: u64 = 1_000;

pub(crate) fn checks(inner: &Inner) -> Vec<Check> {
    let check = |name: &str, warning: Option<String>| Check {
        name: name.into(),
        status: if warning.is_some() { CheckStatus::Warn } else { CheckStatus::Ok },
        message: warning,
    };
    let sources = inner.datasets.warnings();
    let limit = inner.config.limits.memory_warn_bytes;
    let memory = resident_bytes().filter(|bytes| *bytes > limit);
    vec![
        check("source", (!sources.is_empty()).then(|| sources.join("; "))),
        check("storage", inner.jobs.storage_warning()),
        check(
            "memory",
            memory.map(|bytes| format!("{} MiB are in use, over {} MiB", bytes >> 20, limit >> 20)),
        ),
    ]
}

/// Resident memory, where the system tells.
pub(crate) fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.trim().strip_suffix("kB")?;
    Some(kib.trim().parse::<u64>().ok()? << 10)
}
