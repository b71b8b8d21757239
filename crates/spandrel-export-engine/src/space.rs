//! Free space of the disk that holds the state directory.

use std::path::Path;

/// The reserve is at most this much.
const RESERVE_BYTES_MAX: u64 = 512 * 1024 * 1024;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Space {
    pub(crate) total_bytes: u64,
    /// What a user without privileges may still write.
    pub(crate) free_bytes: u64,
}

/// Protocol section 14: the smaller of 5 % and 512 MiB.
pub(crate) fn reserve(total_bytes: u64) -> u64 {
    (total_bytes / 20).min(RESERVE_BYTES_MAX)
}

/// `None` where the system does not tell.
#[cfg(unix)]
pub(crate) fn of(path: &Path) -> Option<Space> {
    let stat = rustix::fs::statvfs(path).ok()?;
    Some(Space {
        total_bytes: stat.f_blocks.saturating_mul(stat.f_frsize),
        free_bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
    })
}

/// `None` where the system does not tell.
#[cfg(not(unix))]
pub(crate) fn of(_: &Path) -> Option<Space> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reserve_is_the_smaller_of_two() {
        assert_eq!(reserve(1_000), 50);
        assert_eq!(reserve(u64::MAX), RESERVE_BYTES_MAX);
    }

    #[test]
    fn this_disk_tells_its_size() {
        let space = of(&std::env::temp_dir()).expect("the temporary folder is on a disk");
        assert!(space.total_bytes >= space.free_bytes && space.total_bytes > 0);
    }
}
