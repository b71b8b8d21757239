//! The files a certificate comes from, and whether they have changed.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use rustls::pki_types::CertificateDer;
use tokio::time::Instant;

use super::{
    pem,
    server::{Certified, certify},
};
use crate::TlsError;

/// Files are looked at so often at most.
const PAUSE: Duration = Duration::from_secs(1);

/// PEM files of a chain, the server's own certificate first, and the file of the private key.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) certificates: Vec<PathBuf>,
    pub(super) key: PathBuf,
}

impl Files {
    pub(super) fn read(&self) -> Result<Certified, TlsError> {
        let mut chain: Vec<CertificateDer<'static>> = Vec::new();
        for file in &self.certificates {
            let text = pem::read(file, "certificate")?;
            for certificate in pem::certificates(&file.display().to_string(), &text)? {
                // A file may hold the rest of the chain already.
                if !chain.contains(&certificate) {
                    chain.push(certificate);
                }
            }
        }
        let secret = pem::read(&self.key, "private key")?;
        certify(chain, pem::key(&self.key.display().to_string(), &secret)?)
    }

    /// What the system says of each file.
    pub(super) fn stamp(&self) -> Vec<Option<Stamp>> {
        self.certificates.iter().chain([&self.key]).map(|file| Stamp::of(file)).collect()
    }
}

/// What tells one content of a file from another without reading it. Links are followed: renewed certificates are often
/// links that point somewhere else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stamp {
    modified: Option<SystemTime>,
    len: u64,
    /// Device, number, and time of the last change of any kind.
    #[cfg(unix)]
    identity: (u64, u64, i64, i64),
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let file = std::fs::metadata(path).ok()?;
        Some(Self {
            modified: file.modified().ok(),
            len: file.len(),
            #[cfg(unix)]
            identity: {
                use std::os::unix::fs::MetadataExt as _;
                (file.dev(), file.ino(), file.ctime(), file.ctime_nsec())
            },
        })
    }
}

/// Files, and how they looked when they were last read.
pub(super) struct Sources {
    pub(super) files: Files,
    pub(super) watch: Watch,
}

impl Sources {
    pub(super) const fn new(files: Files, seen: Vec<Option<Stamp>>) -> Self {
        Self { files, watch: Watch(Mutex::new(Seen { seen, next: None })) }
    }

    /// Have the files changed? Says so once per change, and looks at most once a second.
    pub(super) fn is_changed(&self, now: Instant) -> bool {
        let mut seen = self.watch.lock();
        if seen.next.is_some_and(|next| now < next) {
            return false;
        }
        seen.next = Some(now + PAUSE);
        let stamp = self.files.stamp();
        let is_changed = stamp != seen.seen;
        seen.seen = stamp;
        is_changed
    }
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.files.fmt(f)
    }
}

/// How the files looked, shared by clones of a server.
pub(super) struct Watch(Mutex<Seen>);

pub(super) struct Seen {
    pub(super) seen: Vec<Option<Stamp>>,
    /// When to look next.
    next: Option<Instant>,
}

impl Watch {
    pub(super) fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
