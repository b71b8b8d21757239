//! The state directory: records written atomically, leftovers removed.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use spandrel_jobs::{DownloadId, ErrorCode, ErrorResponse, JobState, PartFile, Record};

use super::JobsError;
use crate::disk::{Disk, make_private};

/// Version of the layout; a newer one is refused rather than guessed.
const FORMAT: u32 = 1;
pub(crate) const RECORD: &str = "record.json";
pub(crate) const PARTS: &str = "parts.jsonl";
pub(crate) const CHECKPOINT: &str = "checkpoint.json";
pub(crate) const SCRATCH: &str = "scratch";
const PROBE: &str = ".probe";

/// Records of different jobs are written side by side, those of one job one after another.
const LOCKS: usize = 16;

#[derive(Debug)]
pub(crate) struct Store {
    disk: Disk,
    jobs: PathBuf,
    locks: [Mutex<()>; LOCKS],
    /// Held until [`Store::release`], or as long as the store lives.
    lock: File,
}

#[derive(Serialize, Deserialize)]
struct Stored<R> {
    format: u32,
    record: R,
}

impl Store {
    /// Opens the directory and reads its records; what belongs to none is deleted.
    pub(crate) fn open(state_dir: &Path, disk: Disk) -> Result<(Self, Vec<Record>), JobsError> {
        let jobs = state_dir.join("jobs");
        disk.create_dirs_durably(&jobs).map_err(JobsError::storage)?;
        // Whoever started the process may have made the folder, and the one above may be closed to us.
        let _ = state_dir.parent().filter(|above| above.is_dir()).map(|above| disk.sync_dir(above));
        let lock = disk.create(&state_dir.join("lock")).map_err(JobsError::storage)?;
        lock.try_lock().map_err(|_| JobsError::Locked)?;
        // One made by an older version, or by hand.
        make_private(&jobs).map_err(JobsError::storage)?;
        let store = Self { disk, jobs, locks: Default::default(), lock };
        let mut records = Vec::new();
        for entry in fs::read_dir(&store.jobs).map_err(JobsError::storage)? {
            let entry = entry.map_err(JobsError::storage)?;
            let id = entry.file_name().to_str().and_then(|name| name.parse::<DownloadId>().ok());
            let Some(id) = id else {
                if entry.file_name().to_string_lossy().starts_with(PROBE) {
                    remove(&store.disk, &entry.path());
                    continue;
                }
                // Only what has a name of ours is ours to delete: somebody may have chosen a folder in use.
                tracing::warn!(name = ?entry.file_name(), "not a job; it is left alone");
                continue;
            };
            match store.read(id) {
                Ok(Some(record)) => {
                    // Of a process that ended while it wrote the next one.
                    remove(&store.disk, &entry.path().join(format!("{RECORD}.new")));
                    records.push(record);
                }
                Ok(None) => remove(&store.disk, &entry.path()),
                // Damage is for people to look at, never silently deleted.
                Err(e) => tracing::error!(job = %id, error = %e, "a job record is damaged; it is left alone"),
            }
        }
        Ok((store, records))
    }

    /// Whether a small file can be written: how a disk that failed is found to be well again.
    pub(crate) fn probe(&self) -> io::Result<()> {
        self.disk.write_atomic(&self.jobs, PROBE, b"")?;
        self.disk.remove(&self.jobs.join(PROBE))
    }

    /// Lets another process have the directory; nothing may be written any more.
    pub(crate) fn release(&self) {
        let _ = self.lock.unlock();
    }

    pub(crate) fn dir(&self, id: DownloadId) -> PathBuf {
        self.jobs.join(id.to_string())
    }

    pub(crate) fn part_path(&self, record: &Record, index: u32) -> PathBuf {
        self.dir(record.id).join(record.spec.file_name(index))
    }

    /// Writes what `newest` gives, when it gives something: written whole or not at all, on disk on return.
    pub(crate) fn write(&self, id: DownloadId, newest: impl FnOnce() -> Option<Record>) -> io::Result<()> {
        let _guard = self.guard(id);
        let Some(record) = newest() else { return Ok(()) };
        let dir = self.dir(id);
        if !dir.exists() {
            self.disk.create_dir(&dir)?;
            self.disk.sync_dir(&self.jobs)?;
        }
        let text = serde_json::to_vec(&Stored { format: FORMAT, record: &record })?;
        self.disk.write_atomic(&dir, RECORD, &text)
    }

    /// Deletes all but the record.
    pub(crate) fn delete_files(&self, id: DownloadId) {
        let _guard = self.guard(id);
        let dir = self.dir(id);
        if !dir.join(RECORD).exists() {
            return remove(&self.disk, &dir); // forgotten while its run was stopping
        }
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            if entry.file_name() != RECORD {
                remove(&self.disk, &entry.path());
            }
        }
    }

    /// Deletes the record first, so that a crash leaves leftovers, not half a job.
    pub(crate) fn forget(&self, id: DownloadId) {
        let _guard = self.guard(id);
        let dir = self.dir(id);
        if dir.exists() {
            remove(&self.disk, &dir.join(RECORD));
            let _ = self.disk.sync_dir(&dir);
            remove(&self.disk, &dir);
        }
    }

    fn guard(&self, id: DownloadId) -> Option<std::sync::MutexGuard<'_, ()>> {
        use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(id);
        let at = usize::try_from(hash % 16).unwrap_or_default();
        self.locks.get(at).map(|lock| lock.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// `None` when there is no record.
    fn read(&self, id: DownloadId) -> io::Result<Option<Record>> {
        let dir = self.dir(id);
        let text = match fs::read(dir.join(RECORD)) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        let head: Stored<serde::de::IgnoredAny> = serde_json::from_slice(&text)?;
        if head.format > FORMAT {
            return Err(io::Error::other(format!("format {} is newer than {FORMAT}", head.format)));
        }
        let Stored { mut record, .. } = serde_json::from_slice::<Stored<Record>>(&text)?;
        if record.id != id {
            return Err(io::Error::other("the record belongs to another job"));
        }
        let logged = read_parts(&dir);
        record.parts = logged.into_iter().filter(|part| self.has_part(&record, part)).collect();
        let rows: u64 = record.parts.iter().map(|part| part.rows).sum();
        if record.state == JobState::Completed && rows != record.total.rows {
            record.state = JobState::Failed;
            record.parts.clear();
            let message = "files of the finished download are missing";
            record.failure = Some(ErrorResponse::new(ErrorCode::FileSystem, message));
        }
        if record.state != JobState::Completed {
            // What a run that continues will say of itself.
            record.rows = rows.max(read_checkpoint(&dir).map_or(0, |at| at.rows));
        }
        Ok(Some(record))
    }

    fn has_part(&self, record: &Record, part: &PartFile) -> bool {
        fs::metadata(self.part_path(record, part.index)).is_ok_and(|meta| meta.len() == part.bytes)
    }
}

/// Finished parts as logged; a torn last line is as if it were not there.
pub(crate) fn read_parts(dir: &Path) -> Vec<PartFile> {
    let text = fs::read(dir.join(PARTS)).unwrap_or_default();
    text.split_inclusive(|b| *b == b'\n').map_while(|line| serde_json::from_slice(line).ok()).collect()
}

/// Where a run may continue, if anywhere.
pub(crate) fn read_checkpoint(dir: &Path) -> Option<crate::Checkpoint> {
    serde_json::from_slice(&fs::read(dir.join(CHECKPOINT)).ok()?).ok()
}

/// Removes a file or folder; what cannot be removed is said, and tried again at the next start.
pub(crate) fn remove(disk: &Disk, path: &Path) {
    if let Err(e) = disk.remove(path) {
        tracing::warn!(error = %e, name = ?path.file_name(), "a leftover could not be removed");
    }
}
