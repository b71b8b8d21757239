//! The server secret: random, made once, readable by the owner only.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use spandrel_crypto::{KEY_LEN, SecretKey};

use crate::ServiceError;

/// Reads the secret of a state directory, or makes one.
pub(crate) fn load(state_dir: &Path) -> Result<SecretKey, ServiceError> {
    let failed = |e: io::Error| ServiceError::Secret(e.to_string());
    let mut folder = fs::DirBuilder::new();
    folder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut folder, 0o700);
    folder.create(state_dir).map_err(failed)?;
    let path = state_dir.join("secret");
    match fs::read(&path) {
        Ok(bytes) => SecretKey::from_slice(&bytes).map_err(|_| {
            ServiceError::Secret(format!(
                "it has {} bytes, not {KEY_LEN}; delete it to get a new one",
                bytes.len()
            ))
        }),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let mut bytes = [0; KEY_LEN];
            getrandom::fill(&mut bytes).map_err(|e| ServiceError::Secret(e.to_string()))?;
            write(&path, &bytes).map_err(failed)?;
            SecretKey::from_slice(&bytes).map_err(|e| ServiceError::Secret(e.to_string()))
        }
        Err(e) => Err(failed(e)),
    }
}

/// Whole or not at all: a secret cut short by a crash would stop every later start.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    if cfg!(windows) { Ok(()) } else { File::open(path.parent().unwrap_or(path))?.sync_all() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secret_is_made_once_and_kept_private() {
        let dir = tempfile::tempdir().unwrap();
        load(dir.path()).unwrap();
        let path = dir.path().join("secret");
        let first = fs::read(&path).unwrap();
        assert_eq!(first.len(), KEY_LEN);
        load(dir.path()).unwrap();
        assert_eq!(fs::read(&path).unwrap(), first);
        #[cfg(unix)]
        assert_eq!(
            std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions()) & 0o777,
            0o600
        );
        fs::write(&path, b"short").unwrap();
        assert!(load(dir.path()).is_err(), "never silently replaced");
    }
}
