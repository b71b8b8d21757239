//! The disk below jobs: whatever changes it goes through here.
//!
//! So everything is readable by the owner only whatever the umask, space is looked at before bytes are written,
//! and tests can make any single step fail.

#[cfg(test)]
pub(crate) mod power;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::space::{self, Space};

/// A handle; clones watch the same disk. The default one watches nothing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disk {
    watch: Option<Arc<Watch>>,
    #[cfg(test)]
    pub(crate) faults: Option<Arc<faults::Faults>>,
}

#[derive(Debug)]
struct Watch {
    dir: PathBuf,
    /// Free bytes for new work; `None`: the smaller of 5 % and 512 MiB.
    reserve_bytes: Option<u64>,
    /// A job gave way and its files are being removed: the others go on meanwhile.
    is_clearing: AtomicBool,
}

impl Watch {
    fn space(&self) -> Option<(Space, u64)> {
        let space = space::of(&self.dir)?;
        Some((space, self.reserve_bytes.unwrap_or_else(|| space::reserve(space.total_bytes))))
    }
}

impl Disk {
    /// Watches the space of the disk that holds `dir`.
    pub(crate) fn watching(mut self, dir: &Path, reserve_bytes: Option<u64>) -> Self {
        let dir = dir.to_owned();
        self.watch = Some(Arc::new(Watch { dir, reserve_bytes, is_clearing: AtomicBool::new(false) }));
        self
    }

    /// Whether there is room to begin something.
    pub(crate) fn has_reserve(&self) -> bool {
        self.strike(Op::Space).is_ok()
            && self
                .watch
                .as_ref()
                .and_then(|watch| watch.space())
                .is_none_or(|(space, reserve)| space.free_bytes >= reserve)
    }

    /// Whether what runs may write on: down to half of the reserve.
    pub(crate) fn is_nearly_full(&self) -> bool {
        let space = self.watch.as_ref().and_then(|watch| watch.space());
        space.is_some_and(|(space, reserve)| space.free_bytes < reserve / 2)
    }

    /// Looks at the space before a chunk is written. One job at a time is told to give way: its files may be all
    /// that the others need.
    ///
    /// # Errors
    /// `StorageFull`, until [`cleared`](Self::cleared).
    pub(crate) fn room(&self) -> io::Result<()> {
        self.strike(Op::Space)?;
        let Some(watch) = self.watch.as_ref().filter(|_| self.is_nearly_full()) else { return Ok(()) };
        if watch.is_clearing.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::StorageFull, "free disk space is below the reserve"))
    }

    /// The files of a job were removed.
    pub(crate) fn cleared(&self) {
        if let Some(watch) = &self.watch {
            watch.is_clearing.store(false, Ordering::Release);
        }
    }

    /// A folder and those above it, private.
    pub(crate) fn create_dirs(&self, path: &Path) -> io::Result<()> {
        self.make_dir(path, true)
    }

    /// [`create_dirs`](Self::create_dirs), and a loss of power does not take those it made away.
    pub(crate) fn create_dirs_durably(&self, path: &Path) -> io::Result<()> {
        let made: Vec<&Path> =
            path.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.exists()).collect();
        self.create_dirs(path)?;
        made.into_iter().filter_map(Path::parent).try_for_each(|above| {
            let here = Path::new(".");
            self.sync_dir(if above.as_os_str().is_empty() { here } else { above })
        })
    }

    /// A folder in one that is there: where that is gone, a disk is, and nothing may grow in its place.
    pub(crate) fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.make_dir(path, false)
    }

    fn make_dir(&self, path: &Path, is_recursive: bool) -> io::Result<()> {
        self.strike(Op::Create)?;
        let mut builder = fs::DirBuilder::new();
        builder.recursive(is_recursive);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        self.doing(|| builder.create(path), |(), note| note(Step::Folder(path)))
    }

    /// A new, empty, private file.
    pub(crate) fn create(&self, path: &Path) -> io::Result<File> {
        self.strike(Op::Create)?;
        let open = || private().write(true).create(true).truncate(true).open(path);
        self.doing(open, |file, note| note(Step::File(path, file)))
    }

    pub(crate) fn append(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.strike(Op::Create)?;
        let mut file = private().append(true).open(path)?;
        self.write(&mut file, bytes)
    }

    pub(crate) fn write(&self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        if let Err(e) = self.strike(Op::Write) {
            // A disk that fills up takes a part first.
            let _ = file.write_all(bytes.get(..bytes.len() / 2).unwrap_or_default());
            return Err(e);
        }
        let write = || file.write_all(bytes).map(|()| file);
        self.doing(write, |file, note| note(Step::Write(file, bytes))).map(|_| ())
    }

    pub(crate) fn set_len(&self, file: &File, len: u64) -> io::Result<()> {
        self.strike(Op::Write)?;
        self.doing(|| file.set_len(len), |(), note| note(Step::SetLen(file, len)))
    }

    /// After an error the handle is of no more use: what was written through it may be gone, and a later sync
    /// would not say so.
    pub(crate) fn sync(&self, file: &File) -> io::Result<()> {
        self.strike(Op::Sync)?;
        let sync = || if self.is_test_of_steps() { Ok(()) } else { file.sync_all() };
        self.doing(sync, |(), note| note(Step::Sync(file)))
    }

    pub(crate) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.strike(Op::Rename)?;
        self.doing(|| fs::rename(from, to), |(), note| note(Step::Rename(from, to)))
    }

    /// Removes a file, or a folder with all in it. What is not there is removed already.
    pub(crate) fn remove(&self, path: &Path) -> io::Result<()> {
        let remove = || if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        let is_gone = |e: io::Error| if e.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(e) };
        self.doing(|| remove().or_else(is_gone), |(), note| note(Step::Remove(path)))
    }

    /// Removes a folder that is empty; one that is not stays.
    pub(crate) fn remove_empty(&self, path: &Path) {
        let _ = self.doing(|| fs::remove_dir(path), |(), note| note(Step::Remove(path)));
    }

    /// Makes names in a directory durable.
    pub(crate) fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.strike(Op::Sync)?;
        // Windows cannot open a directory as a file and does not need it: its renames are journaled.
        let is_idle = cfg!(windows) || self.is_test_of_steps();
        let sync = || if is_idle { Ok(()) } else { File::open(dir)?.sync_all() };
        self.doing(sync, |(), note| note(Step::SyncFolder(dir)))
    }

    /// Writes a small file so that a crash leaves the old or the new one.
    pub(crate) fn write_atomic(&self, dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
        let tmp = dir.join(format!("{name}.new"));
        let mut file = self.create(&tmp)?;
        self.write(&mut file, bytes)?;
        self.sync(&file)?;
        self.rename(&tmp, &dir.join(name))?;
        self.sync_dir(dir)
    }

    /// Every change of the disk ends here, so that tests can note them in their order.
    #[cfg(not(test))]
    fn doing<T>(
        &self,
        act: impl FnOnce() -> io::Result<T>,
        _: impl FnOnce(&T, &mut dyn FnMut(Step<'_>)),
    ) -> io::Result<T> {
        act()
    }

    #[cfg(test)]
    fn doing<T>(
        &self,
        act: impl FnOnce() -> io::Result<T>,
        tell: impl FnOnce(&T, &mut dyn FnMut(Step<'_>)),
    ) -> io::Result<T> {
        let Some(journal) = self.faults.as_ref().and_then(|faults| faults.journal.as_ref()) else {
            return act();
        };
        let mut journal = journal.lock().unwrap();
        let done = act()?;
        tell(&done, &mut |step| journal.note(&step));
        Ok(done)
    }

    #[cfg(test)]
    fn strike(&self, op: Op) -> io::Result<()> {
        self.faults.as_ref().map_or(Ok(()), |faults| faults.strike(op))
    }

    /// Hundreds of jobs, one for each step: no power is lost meanwhile.
    #[cfg(test)]
    fn is_test_of_steps(&self) -> bool {
        self.faults.is_some()
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "as above")]
    fn is_test_of_steps(&self) -> bool {
        false
    }

    #[cfg(not(test))]
    #[expect(
        clippy::unused_self,
        clippy::unnecessary_wraps,
        reason = "the place where tests make steps fail"
    )]
    fn strike(&self, _: Op) -> io::Result<()> {
        Ok(())
    }
}

/// Whether waiting a few seconds may help. A full or read-only disk does not mend by itself, and the files of the
/// job may be what fills it.
pub(crate) fn may_pass(e: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    !matches!(e.kind(), StorageFull | QuotaExceeded | ReadOnlyFilesystem | FileTooLarge)
}

/// What can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    Space,
    Create,
    Write,
    Sync,
    Rename,
}

/// A change that was made.
#[cfg_attr(not(test), expect(dead_code, reason = "only tests look at it"))]
enum Step<'a> {
    Folder(&'a Path),
    File(&'a Path, &'a File),
    Write(&'a File, &'a [u8]),
    SetLen(&'a File, u64),
    Sync(&'a File),
    Rename(&'a Path, &'a Path),
    SyncFolder(&'a Path),
    Remove(&'a Path),
}

fn private() -> OpenOptions {
    #[cfg_attr(not(unix), expect(unused_mut, reason = "modes are of unix"))]
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Makes the folder, and ours that are there already, private.
pub(crate) fn make_private(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}

/// Failing steps for tests.
#[cfg(test)]
pub(crate) mod faults {
    use std::io;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    use super::Op;
    use super::power::Journal;

    /// Fails one step, or every step from one on.
    #[derive(Debug)]
    pub(crate) struct Faults {
        /// Steps before the one that fails.
        pub(crate) after: AtomicU64,
        /// The disk is gone for good from there.
        pub(crate) is_lasting: AtomicBool,
        pub(crate) kind: io::ErrorKind,
        /// Only these steps count; empty: all.
        pub(crate) only: &'static [Op],
        pub(crate) has_struck: AtomicBool,
        pub(crate) seen: AtomicU64,
        /// Notes what changes, for a loss of power at any step.
        pub(crate) journal: Option<Mutex<Journal>>,
    }

    impl Faults {
        pub(crate) fn new(after: u64, kind: io::ErrorKind) -> Self {
            Self {
                after: AtomicU64::new(after),
                is_lasting: AtomicBool::new(false),
                kind,
                only: &[],
                has_struck: AtomicBool::new(false),
                seen: AtomicU64::new(0),
                journal: None,
            }
        }

        /// The disk works again.
        pub(crate) fn heal(&self) {
            self.is_lasting.store(false, Ordering::SeqCst);
            self.after.store(u64::MAX, Ordering::SeqCst);
        }

        pub(super) fn strike(&self, op: Op) -> io::Result<()> {
            if !self.only.is_empty() && !self.only.contains(&op) {
                return Ok(());
            }
            let now = self.seen.fetch_add(1, Ordering::SeqCst);
            let at = self.after.load(Ordering::SeqCst);
            if now == at || now > at && self.is_lasting.load(Ordering::SeqCst) {
                self.has_struck.store(true, Ordering::SeqCst);
                return Err(io::Error::new(self.kind, "a fault on purpose"));
            }
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(unix)]
    fn files_and_folders_are_private() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::default();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let inner = dir.path().join("a/b");
        disk.create_dirs(&inner).unwrap();
        assert_eq!((mode(&inner), mode(&dir.path().join("a"))), (0o700, 0o700));
        disk.write_atomic(&inner, "x", b"text").unwrap();
        assert_eq!((mode(&inner.join("x")), fs::read(inner.join("x")).unwrap()), (0o600, b"text".to_vec()));
    }

    #[test]
    fn one_job_at_a_time_gives_way() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::default().watching(dir.path(), Some(u64::MAX));
        assert!(!disk.has_reserve() && disk.is_nearly_full());
        assert_eq!(disk.room().unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert!(disk.clone().room().is_ok(), "the files of the first are on their way out");
        disk.cleared();
        assert!(disk.room().is_err());
        let roomy = Disk::default().watching(dir.path(), Some(1));
        assert!(roomy.has_reserve() && roomy.room().is_ok());
        assert!(Disk::default().has_reserve(), "nothing is watched");
    }
}
