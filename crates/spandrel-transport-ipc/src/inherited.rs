//! The one place that takes over a descriptor by its number.

#![expect(unsafe_code, reason = "a descriptor inherited from the parent is known by its number only")]

use std::{
    os::fd::{BorrowedFd, FromRawFd as _, OwnedFd, RawFd},
    os::unix::net::UnixStream,
    sync::atomic::{AtomicBool, Ordering},
};

use rustix::{
    fs::{FileType, fstat},
    io::{FdFlags, fcntl_setfd},
};

use crate::IpcError;

static TAKEN: AtomicBool = AtomicBool::new(false);

/// Takes over the connected unix socket a parent left open under this number, once in the life of the process.
///
/// The number comes from the environment, so it is looked at before it is believed: from 3 on, open, a socket, of the
/// unix family, connected. A descriptor that fails is left alone.
pub(crate) fn take_unix_socket(fd: RawFd) -> Result<UnixStream, IpcError> {
    let wrong = |found: &'static str| IpcError::Descriptor { fd, found };
    if fd < 3 {
        return Err(wrong("a standard stream"));
    }
    if TAKEN.swap(true, Ordering::SeqCst) {
        return Err(IpcError::Taken { what: "the channel to the parent" });
    }
    // SAFETY: `fd` is not -1. The borrow is used for system calls that answer EBADF when it is not open, and it is not
    // closed by it.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    let is_socket =
        fstat(borrowed).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Socket);
    let found = if fstat(borrowed).is_err() {
        Some("not open")
    } else if !is_socket {
        Some("no socket")
    } else if rustix::net::sockopt::socket_domain(borrowed) != Ok(rustix::net::AddressFamily::UNIX) {
        Some("a socket of another kind")
    } else if rustix::net::getpeername(borrowed).is_err() {
        Some("a socket that is not connected")
    } else {
        None
    };
    if let Some(found) = found {
        TAKEN.store(false, Ordering::SeqCst);
        return Err(wrong(found));
    }
    // Our own children get their own channels.
    fcntl_setfd(borrowed, FdFlags::CLOEXEC).map_err(std::io::Error::from)?;
    // SAFETY: `fd` is an open, connected unix socket (just checked). The parent put it there for this process and said so
    // in the environment; nothing else here opens descriptors by number, and `TAKEN` lets nobody take it twice.
    let owned = unsafe { OwnedFd::from_raw_fd(fd) };
    Ok(UnixStream::from(owned))
}
