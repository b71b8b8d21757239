//! A folder of the real disk: private, and locked while it is open.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Disk, DiskFile};
use crate::StoreError;

/// A folder that only its owner can read (0700, files 0600), held by one process at a time: the lock is held, not written
/// down, so nothing stays behind when the process is killed.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Makes the folder if it is not there, and takes the lock.
    ///
    /// # Errors
    ///
    /// [`StoreError::Locked`] when another process (or this one) has it, [`StoreError::Disk`].
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let path = path.into();
        let failed = StoreError::disk("the folder of the chain");
        let lock = match make(&path).and_then(|()| options().open(path.join("lock"))) {
            Ok(lock) => lock,
            Err(error) => return Err(failed(error)),
        };
        match lock.try_lock() {
            Ok(()) => Ok(Self { path, _lock: lock }),
            Err(fs::TryLockError::WouldBlock) => {
                Err(StoreError::Locked { folder: path.display().to_string() })
            }
            Err(fs::TryLockError::Error(error)) => Err(failed(error)),
        }
    }
}

/// The folder and those above it, so that a loss of power does not take them away.
fn make(path: &Path) -> io::Result<()> {
    let missing: Vec<&Path> =
        path.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.exists()).collect();
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)?;
    #[cfg(unix)]
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
    missing
        .into_iter()
        .filter_map(Path::parent)
        .try_for_each(|above| sync_folder(if above.as_os_str().is_empty() { Path::new(".") } else { above }))
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

fn sync_folder(path: &Path) -> io::Result<()> {
    // Windows cannot open a folder as a file and does not need it: its names are journaled.
    if cfg!(windows) { Ok(()) } else { File::open(path)?.sync_all() }
}

impl Disk for Folder {
    fn open(&self, name: &'static str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(Real(options().open(self.path.join(name))?)))
    }

    fn remove(&self, name: &'static str) -> io::Result<()> {
        match fs::remove_file(self.path.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }

    fn sync_names(&self) -> io::Result<()> {
        sync_folder(&self.path)
    }
}

#[derive(Debug)]
struct Real(File);

impl DiskFile for Real {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    #[cfg(unix)]
    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(&self.0, into, at)
    }

    #[cfg(unix)]
    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        std::os::unix::fs::FileExt::write_all_at(&self.0, bytes, at)
    }

    #[cfg(windows)]
    fn read_at(&self, mut at: u64, mut into: &mut [u8]) -> io::Result<()> {
        while !into.is_empty() {
            match std::os::windows::fs::FileExt::seek_read(&self.0, into, at)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => {
                    into = into.get_mut(n..).unwrap_or_default();
                    at += n as u64;
                }
            }
        }
        Ok(())
    }

    #[cfg(windows)]
    fn write_at(&self, mut at: u64, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match std::os::windows::fs::FileExt::seek_write(&self.0, bytes, at)? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                n => {
                    bytes = bytes.get(n..).unwrap_or_default();
                    at += n as u64;
                }
            }
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        // The length is part of what `sync_data` keeps; only times are left out.
        self.0.sync_data()
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
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let path = dir.path().join("a/b");
        let folder = Folder::open(&path).unwrap();
        folder.open("file").unwrap().write_at(3, b"text").unwrap();
        assert_eq!((mode(&path), mode(&dir.path().join("a"))), (0o700, 0o700));
        assert_eq!((mode(&path.join("file")), mode(&path.join("lock"))), (0o600, 0o600));
        assert_eq!(fs::read(path.join("file")).unwrap(), b"\0\0\0text");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        drop(folder);
        let _folder = Folder::open(&path).unwrap();
        assert_eq!(mode(&path), 0o700, "a folder that was there is made private");
    }

    #[test]
    fn one_at_a_time_holds_a_folder() {
        let dir = tempfile::tempdir().unwrap();
        let first = Folder::open(dir.path()).unwrap();
        let second = Folder::open(dir.path()).unwrap_err();
        assert!(matches!(&second, StoreError::Locked { .. }), "{second}");
        assert!(second.may_pass());
        drop(first);
        Folder::open(dir.path()).unwrap();
    }

    #[test]
    fn names_come_and_go() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path()).unwrap();
        let exists = || dir.path().join("file").exists();
        folder.remove("file").unwrap();
        let file = folder.open("file").unwrap();
        file.set_len(7).unwrap();
        file.sync().unwrap();
        folder.sync_names().unwrap();
        assert_eq!((exists(), file.len().unwrap()), (true, 7));
        let past_end = file.read_at(5, &mut [0; 3]).unwrap_err();
        assert_eq!(past_end.kind(), io::ErrorKind::UnexpectedEof);
        folder.remove("file").unwrap();
        assert!(!exists());
    }
}
