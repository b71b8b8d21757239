//! Part files of one job: written as `.tmp`, hashed while written, synced, renamed, logged.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use sha2::{Digest, Sha256};
use spandrel_jobs::{PartFile, Spec};

use super::store::{CHECKPOINT, PARTS, SCRATCH, read_checkpoint, read_parts, remove};
use crate::disk::Disk;
use crate::{Checkpoint, Part, Sink};

/// A checkpoint is made durable at most this often, in milliseconds: about what a crash costs.
const SAVE_EVERY_MS: u64 = 1_000;

/// Free space is looked at when a part begins and then this often, in bytes.
const LOOK_EVERY_BYTES: u64 = 256 * 1024;

/// What the sink tells its job.
#[derive(Debug)]
pub(crate) enum Event {
    /// A part has its final name.
    Done(PartFile),
    /// All parts are void.
    Voided,
}

/// Writes the parts of one run.
pub(crate) struct PartSink<'a> {
    disk: Disk,
    dir: PathBuf,
    spec: &'a Spec,
    parts_max: u32,
    done: BTreeMap<u32, PartFile>,
    open: Option<Open>,
    last: Option<Checkpoint>,
    saved_ms: u64,
    saving: Option<JoinHandle<Result<(), Unsaved>>>,
    /// Counts the threads that write checkpoints.
    savers: Arc<AtomicUsize>,
    clock: &'a (dyn Fn() -> u64 + Sync),
    tell: &'a (dyn Fn(Event) + Sync),
    is_over_limit: bool,
    /// A sync failed: nothing that was written since the last good one can be relied on.
    is_unsure: bool,
}

enum Open {
    Write {
        index: u32,
        file: File,
        hash: Sha256,
        bytes: u64,
    },
    /// The part is finished already; a run that began before its end repeats it for nothing.
    Skip {
        index: u32,
    },
}

impl<'a> PartSink<'a> {
    /// A sink that goes on where an earlier run of the same job was, and the place for
    /// [`Export::run`](crate::Export::run) to continue from.
    pub(crate) fn open(
        disk: Disk,
        dir: PathBuf,
        spec: &'a Spec,
        parts_max: u32,
        clock: &'a (dyn Fn() -> u64 + Sync),
        tell: &'a (dyn Fn(Event) + Sync),
        savers: &Arc<AtomicUsize>,
    ) -> io::Result<(Self, Option<Checkpoint>)> {
        let is_there = |part: &PartFile| {
            fs::metadata(dir.join(spec.file_name(part.index))).is_ok_and(|meta| meta.len() == part.bytes)
        };
        let logged = read_parts(&dir);
        let done: BTreeMap<u32, PartFile> =
            logged.into_iter().filter(|part| is_there(part)).map(|part| (part.index, part)).collect();
        let mut sink = Self {
            disk,
            spec,
            parts_max,
            done,
            open: None,
            last: None,
            saved_ms: clock(),
            saving: None,
            savers: Arc::clone(savers),
            clock,
            tell,
            is_over_limit: false,
            is_unsure: false,
            dir,
        };
        let from = read_checkpoint(&sink.dir).filter(|at| sink.take_up(at).unwrap_or(false));
        if from.is_none() {
            sink.open = None;
        }
        sink.rewrite_log()?;
        sink.sweep();
        sink.last.clone_from(&from);
        Ok((sink, from))
    }

    /// Whether the run was ended because it would write too many parts.
    pub(crate) fn is_over_limit(&self) -> bool {
        self.is_over_limit
    }

    /// Stored bytes of finished parts and of the part taken up.
    pub(crate) fn bytes(&self) -> u64 {
        let open = match &self.open {
            Some(Open::Write { bytes, .. }) => *bytes,
            _ => 0,
        };
        self.done.values().map(|part| part.bytes).sum::<u64>() + open
    }

    /// Makes the newest checkpoint durable: the run has stopped.
    pub(crate) fn save(&mut self) -> io::Result<()> {
        self.join_save()?;
        let Some(at) = self.last.as_ref().filter(|_| !self.is_unsure) else { return Ok(()) };
        let file = match &self.open {
            Some(Open::Write { file, .. }) => Some(file),
            _ => None,
        };
        let saved = save(&self.disk, &self.dir, file, &serde_json::to_vec(at)?);
        self.sure(saved)
    }

    /// Makes the finished job durable.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        self.join_save()?;
        let synced =
            File::open(self.dir.join(PARTS)).and_then(|log| self.disk.sync(&log)).map_err(Unsaved::unsure);
        self.sure(synced)?;
        remove(&self.disk, &self.dir.join(CHECKPOINT));
        self.disk.sync_dir(&self.dir)
    }

    /// After a failed sync the part under way begins anew, under a new handle: the kernel may have dropped what it
    /// could not write, and would not say so a second time. Finished parts were synced one by one.
    fn sure<T>(&mut self, synced: Result<T, Unsaved>) -> io::Result<T> {
        synced.map_err(|unsaved| {
            if unsaved.is_unsure {
                self.is_unsure = true;
                if let Some(Open::Write { index, .. }) = self.open.take() {
                    remove(&self.disk, &self.tmp(index));
                }
                remove(&self.disk, &self.dir.join(CHECKPOINT));
            }
            unsaved.error
        })
    }

    /// Brings the part under way to exactly the state of the checkpoint; false when that is impossible.
    fn take_up(&mut self, at: &Checkpoint) -> io::Result<bool> {
        let before_is_done = (1..at.part).all(|index| self.done.contains_key(&index));
        if at.part == 0 || !before_is_done {
            return Ok(false);
        }
        if self.done.contains_key(&at.part) {
            self.open = Some(Open::Skip { index: at.part });
            return Ok(true);
        }
        let tmp = self.tmp(at.part);
        if !tmp.exists() {
            // Renamed, and then the log line was lost: a part under way again.
            self.disk.rename(&self.path(at.part), &tmp)?;
        }
        let mut file = OpenOptions::new().read(true).write(true).open(&tmp)?;
        if file.metadata()?.len() < at.part_bytes {
            return Ok(false);
        }
        self.disk.set_len(&file, at.part_bytes)?;
        let mut hash = Sha256::new();
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let n = file.read(&mut buffer)?;
            let Some(bytes) = buffer.get(..n).filter(|bytes| !bytes.is_empty()) else { break };
            hash.update(bytes);
        }
        self.open = Some(Open::Write { index: at.part, file, hash, bytes: at.part_bytes });
        Ok(true)
    }

    /// Leaves only log lines of parts that are there.
    fn rewrite_log(&self) -> io::Result<()> {
        let mut text = Vec::new();
        for part in self.done.values() {
            serde_json::to_writer(&mut text, part)?;
            text.push(b'\n');
        }
        self.disk.write_atomic(&self.dir, PARTS, &text)
    }

    /// Removes files that belong to nothing.
    fn sweep(&self) {
        let open = match &self.open {
            Some(Open::Write { index, .. }) => Some(self.tmp(*index)),
            _ => None,
        };
        let keep: Vec<PathBuf> = self.done.keys().map(|index| self.path(*index)).chain(open).collect();
        for entry in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let is_part =
                entry.file_name().to_str().is_some_and(|name| name.starts_with(&self.spec.file_stem));
            if is_part && !keep.contains(&entry.path()) {
                remove(&self.disk, &entry.path());
            }
        }
        // Of a process that was killed: a sort removes only the runs it wrote itself.
        for name in [SCRATCH.to_owned(), format!("{CHECKPOINT}.new"), format!("{PARTS}.new")] {
            remove(&self.disk, &self.dir.join(name));
        }
    }

    fn path(&self, index: u32) -> PathBuf {
        self.dir.join(self.spec.file_name(index))
    }

    fn tmp(&self, index: u32) -> PathBuf {
        self.dir.join(format!("{}.tmp", self.spec.file_name(index)))
    }

    fn join_save(&mut self) -> io::Result<()> {
        let Some(saving) = self.saving.take() else { return Ok(()) };
        let saved = saving.join();
        let saved = saved.unwrap_or_else(|_| Err(io::Error::other("the checkpoint writer failed").into()));
        self.sure(saved)
    }
}

impl Drop for PartSink<'_> {
    /// However a run ends: nothing of it is written after it.
    fn drop(&mut self) {
        if let Some(saving) = self.saving.take() {
            let _ = saving.join();
        }
    }
}

/// A thread that writes a checkpoint.
struct Saver(Arc<AtomicUsize>);

impl Saver {
    fn new(savers: &Arc<AtomicUsize>) -> Self {
        savers.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(savers))
    }
}

impl Drop for Saver {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Sink for PartSink<'_> {
    fn begin(&mut self, part: u32) -> io::Result<()> {
        if part > self.parts_max {
            self.is_over_limit = true;
            return Err(io::Error::other("more parts than a job may have"));
        }
        self.open = Some(if self.done.contains_key(&part) {
            Open::Skip { index: part }
        } else {
            let file = self.disk.create(&self.tmp(part))?;
            Open::Write { index: part, file, hash: Sha256::new(), bytes: 0 }
        });
        Ok(())
    }

    fn write(&mut self, chunk: &[u8]) -> io::Result<()> {
        match &mut self.open {
            Some(Open::Write { file, hash, bytes, .. }) => {
                let len = u64::try_from(chunk.len()).unwrap_or(u64::MAX);
                if *bytes == 0 || bytes.saturating_add(len) / LOOK_EVERY_BYTES > *bytes / LOOK_EVERY_BYTES {
                    self.disk.room()?;
                }
                self.disk.write(file, chunk)?;
                hash.update(chunk);
                *bytes = bytes.saturating_add(len);
                Ok(())
            }
            Some(Open::Skip { .. }) => Ok(()),
            None => Err(io::Error::other("bytes outside a part")),
        }
    }

    fn end(&mut self, part: &Part) -> io::Result<()> {
        self.join_save()?;
        match self.open.take() {
            Some(Open::Write { index, file, hash, bytes }) if index == part.index && bytes == part.bytes => {
                let synced = self.disk.sync(&file).map_err(Unsaved::unsure);
                if synced.is_err() {
                    remove(&self.disk, &self.tmp(index));
                }
                self.sure(synced)?;
                self.disk.rename(&self.tmp(index), &self.path(index))?;
                // Who is told of a part finds it after a power cut too, and never an older one under its name.
                self.disk.sync_dir(&self.dir)?;
                let done = PartFile {
                    index,
                    rows: part.rows,
                    bytes,
                    raw_bytes: part.raw_bytes,
                    sha256: hex(&hash.finalize()),
                };
                let mut line = serde_json::to_vec(&done)?;
                line.push(b'\n');
                // One write, so that a crash tears at most this line; synced with the next checkpoint.
                self.disk.append(&self.dir.join(PARTS), &line)?;
                self.done.insert(index, done.clone());
                (self.tell)(Event::Done(done));
                Ok(())
            }
            Some(Open::Skip { index })
                if self
                    .done
                    .get(&index)
                    .is_some_and(|d| (d.index, d.rows, d.bytes) == (part.index, part.rows, part.bytes)) =>
            {
                Ok(())
            }
            _ => Err(io::Error::other("a part that does not end as it was written")),
        }
    }

    fn checkpoint(&mut self, at: &Checkpoint) -> io::Result<()> {
        self.last = Some(at.clone());
        let now = (self.clock)();
        if now.saturating_sub(self.saved_ms) < SAVE_EVERY_MS
            || self.saving.as_ref().is_some_and(|s| !s.is_finished())
        {
            return Ok(());
        }
        self.join_save()?;
        self.saved_ms = now;
        let file = match &self.open {
            Some(Open::Write { file, .. }) => Some(file.try_clone()?),
            _ => None,
        };
        let (disk, dir, text) = (self.disk.clone(), self.dir.clone(), serde_json::to_vec(at)?);
        // Beside the run: a sync takes as long as the disk likes.
        let saver = Saver::new(&self.savers);
        let save = move || {
            let _saver = saver;
            save(&disk, &dir, file.as_ref(), &text)
        };
        self.saving = Some(std::thread::Builder::new().name("checkpoint".into()).spawn(save)?);
        Ok(())
    }

    fn restart(&mut self) -> io::Result<()> {
        self.join_save()?;
        self.open = None;
        self.last = None;
        self.done.clear();
        remove(&self.disk, &self.dir.join(CHECKPOINT));
        self.rewrite_log()?;
        self.sweep();
        (self.tell)(Event::Voided);
        Ok(())
    }
}

/// A checkpoint that is not on disk.
struct Unsaved {
    error: io::Error,
    /// A sync of the part or the log failed, so what they hold is in doubt.
    is_unsure: bool,
}

impl Unsaved {
    fn unsure(error: io::Error) -> Self {
        Self { error, is_unsure: true }
    }
}

impl From<io::Error> for Unsaved {
    fn from(error: io::Error) -> Self {
        Self { error, is_unsure: false }
    }
}

/// File first, then the checkpoint that speaks of it.
fn save(disk: &Disk, dir: &Path, file: Option<&File>, checkpoint: &[u8]) -> Result<(), Unsaved> {
    if let Some(file) = file {
        disk.sync(file).map_err(Unsaved::unsure)?;
    }
    let log = File::open(dir.join(PARTS))?;
    disk.sync(&log).map_err(Unsaved::unsure)?;
    Ok(disk.write_atomic(dir, CHECKPOINT, checkpoint)?)
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
