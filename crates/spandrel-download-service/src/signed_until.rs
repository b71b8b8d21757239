//! The latest time a message was signed at, for the process after this one.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::{fs, io};

use crate::secret::write;

/// Nonces are lost with the process, so the next one refuses what was signed before it began. That leaves messages of
/// clocks that are ahead: the time they were signed at is on disk before they count.
#[derive(Debug)]
pub(crate) struct SignedUntil {
    path: PathBuf,
    /// Milliseconds since 1970; everything up to it is on disk.
    kept_ms: AtomicU64,
    writing: Mutex<()>,
}

/// Written so much further than asked, so that a clock that is ahead costs one write in as long.
const LEAD_MS: u64 = 2_000;

impl SignedUntil {
    /// Reads what the process before left in a state directory; with it the first millisecond at which a message may
    /// be signed now. That is never further ahead of the clock than `window_ms`, so that a file that is wrong, or of a
    /// time when the clock was, locks nobody out for long.
    pub(crate) fn open(state_dir: &Path, wall_ms: u64, window_ms: u64) -> (Self, u64) {
        let path = state_dir.join("signed-until");
        let latest_ms = wall_ms.saturating_add(window_ms);
        let kept_ms = match fs::read_to_string(&path) {
            Ok(text) => text.trim().parse().unwrap_or_else(|_| {
                tracing::warn!("the file signed-until holds no number; all it could mean is refused");
                latest_ms
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => {
                tracing::warn!(%error, "cannot read the file signed-until; all it could say is refused");
                latest_ms
            }
        };
        let since_ms = kept_ms.min(latest_ms).saturating_add(1).max(wall_ms);
        (Self { path, kept_ms: AtomicU64::new(kept_ms.min(latest_ms)), writing: Mutex::new(()) }, since_ms)
    }

    /// Whether a message signed then may count.
    pub(crate) fn covers(&self, signed_ms: u64) -> bool {
        signed_ms <= self.kept_ms.load(Ordering::Relaxed)
    }

    /// Makes it so. Blocking. A disk that fails does not stop the server: the rule for the next process is weaker then,
    /// and the log says so.
    pub(crate) fn raise(&self, signed_ms: u64) {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.covers(signed_ms) {
            return;
        }
        let until_ms = signed_ms.saturating_add(LEAD_MS);
        if let Err(error) = write(&self.path, until_ms.to_string().as_bytes()) {
            tracing::warn!(%error, "cannot keep the time of a signature; after a restart it might count again");
        }
        self.kept_ms.fetch_max(until_ms, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_counted_does_not_count_for_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let open = |wall_ms| SignedUntil::open(dir.path(), wall_ms, 30_000);
        let (first, since) = open(1_000_000);
        assert_eq!((since, first.covers(1_000_000)), (1_000_000, false), "nothing is known");
        first.raise(1_020_000);
        assert!(first.covers(1_022_000) && !first.covers(1_022_001));
        first.raise(1_010_000);
        let (second, since) = open(1_003_000);
        assert_eq!(since, 1_022_001);
        assert!(second.covers(1_022_000), "written once");
        assert_eq!(open(1_022_000).1, 1_022_001);
        assert_eq!(open(1_500_000).1, 1_500_000, "long over");
        assert_eq!(open(900_000).1, 930_001, "never further ahead than the window");
        fs::write(dir.path().join("signed-until"), "soon").unwrap();
        assert_eq!(open(1_500_000).1, 1_530_001, "what cannot be read means the worst");
    }
}
