//! Bugs get a name that is in the answer and in the log, and nothing else of them is in the answer.

use std::any::Any;
use std::hash::{BuildHasher as _, RandomState};

use spandrel_jobs::{ErrorCode, ErrorResponse};

/// Logs a bug and gives the `INTERNAL` that its victim is told: `details.incident` is in the log line too.
///
/// ```
/// let error = spandrel_export_engine::internal("the moon is gone");
/// let incident = error.details.as_ref().and_then(|d| d["incident"].as_str()).map(str::len);
/// assert_eq!((error.code.as_str(), incident), ("INTERNAL", Some(16)));
/// assert!(!error.message.contains("moon"));
/// ```
pub fn internal(what: &str) -> ErrorResponse {
    // Random keys of a fresh hasher: enough to tell incidents apart.
    let incident = format!("{:016x}", RandomState::new().hash_one(what));
    tracing::error!(incident, what, "a bug");
    ErrorResponse::new(ErrorCode::Internal, "the server made a mistake; its log knows the incident")
        .with_detail("incident", incident)
        .with_retry_after(5_000)
}

/// What a panic said, for [`internal`].
///
/// ```
/// let panic = std::panic::catch_unwind(|| panic!("no {}", "way")).unwrap_err();
/// assert_eq!(spandrel_export_engine::panic_text(&*panic), "no way");
/// ```
pub fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic without words")
}
