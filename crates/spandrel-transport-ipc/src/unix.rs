//! `unix:` JSON lines over a socket in the file system.

use std::{
    fmt, fs, io,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    task::{Context, Poll, ready},
    time::Duration,
};

use spandrel_transport::{
    AcceptError, Admission, BoxFuture, DialError, Door, Driver, Endpoint, Incoming, Limits, Link,
    ListenError, Listener, Peer, Transport,
};
use spandrel_wire::LinesCodec;
use tokio::{
    net::{UnixListener, UnixSocket, UnixStream},
    time::{sleep, timeout},
};

/// Peers that may wait to be accepted.
const BACKLOG: u32 = 1024;
/// Mode of the socket's file: this user and nobody else.
const MODE: u32 = 0o600;
/// Tries to get the folder to oneself, and the pause between them.
const LOCK_TRIES: usize = 100;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// Transport of scheme `unix`.
///
/// The socket's file can be connected to by its user alone (mode 0600, set before anybody can connect) and is removed
/// when the listener is dropped. A file left behind by a process that is gone is replaced; one that somebody listens at,
/// or that is no socket, never is.
#[derive(Clone, Default)]
pub struct UnixTransport {
    limits: Limits,
    admission: Option<Admission>,
}

impl UnixTransport {
    /// Makes a transport with default limits.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the limits.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Counts the peers of its listeners here, together with those of other doors.
    #[must_use]
    pub fn with_shared_admission(mut self, admission: Admission) -> Self {
        self.admission = Some(admission);
        self
    }
}

impl Transport for UnixTransport {
    fn scheme(&self) -> &'static str {
        "unix"
    }

    fn dial<'a>(&'a self, to: &'a Endpoint) -> BoxFuture<'a, Result<Box<dyn Link>, DialError>> {
        Box::pin(async move {
            let Endpoint::Unix { path } = to else {
                return Err(DialError::Unsupported { endpoint: to.to_string() });
            };
            let after_ms = self.limits.handshake_ms;
            let stream = timeout(Duration::from_millis(after_ms), UnixStream::connect(path)).await;
            let stream = stream.map_err(|_| DialError::Timeout { after_ms })??;
            Ok(link(stream, path, &self.limits))
        })
    }

    fn listen<'a>(&'a self, at: &'a Endpoint) -> BoxFuture<'a, Result<Box<dyn Listener>, ListenError>> {
        Box::pin(async move {
            let Endpoint::Unix { path } = at else {
                return Err(ListenError::Unsupported { endpoint: at.to_string() });
            };
            let (listener, file) = bind(Path::new(path)).await?;
            let admission = self.admission.clone().unwrap_or_else(|| Admission::new(&self.limits));
            let door = Door::new(listener, admission);
            let limits = self.limits.clone();
            Ok(Box::new(UnixDoor { door, local: at.clone(), limits, _file: file }) as Box<dyn Listener>)
        })
    }
}

impl fmt::Debug for UnixTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnixTransport").finish_non_exhaustive()
    }
}

fn link(stream: impl spandrel_transport::ByteStream + 'static, path: &str, limits: &Limits) -> Box<dyn Link> {
    let mut peer = Peer::new("unix");
    path.clone_into(&mut peer.path);
    Box::new(Driver::new(stream, LinesCodec::new(limits), peer, limits))
}

struct UnixDoor {
    door: Door<UnixListener>,
    local: Endpoint,
    limits: Limits,
    _file: SocketFile,
}

impl Listener for UnixDoor {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming, AcceptError>> {
        let (stream, ()) = ready!(self.door.poll_accept(cx));
        let path = if let Endpoint::Unix { path } = &self.local { path.as_str() } else { "" };
        let link = link(stream, path, &self.limits);
        Poll::Ready(Ok(Incoming::new(None, async { Ok(link) })))
    }

    fn local(&self) -> &Endpoint {
        &self.local
    }
}

/// The file of a socket, removed on drop while it is still the one that was made.
struct SocketFile {
    path: PathBuf,
    made: (u64, u64),
}

impl SocketFile {
    fn identity(path: &Path) -> io::Result<(u64, u64)> {
        fs::symlink_metadata(path).map(|file| (file.dev(), file.ino()))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if Self::identity(&self.path).is_ok_and(|now| now == self.made) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Binds and listens. The folder is locked meanwhile, so that of two processes that find a file left behind, one replaces
/// it and the other finds that one listening.
async fn bind(path: &Path) -> io::Result<(UnixListener, SocketFile)> {
    let _lock = lock_folder_of(path).await;
    let socket = UnixSocket::new_stream()?;
    match socket.bind(path) {
        Err(e) if e.kind() == io::ErrorKind::AddrInUse => {
            clear_leftover(path).await?;
            socket.bind(path)?;
        }
        bound => bound?,
    }
    let file = SocketFile { path: path.to_owned(), made: SocketFile::identity(path)? };
    // Nobody can connect before `listen`.
    fs::set_permissions(path, fs::Permissions::from_mode(MODE))?;
    Ok((socket.listen(BACKLOG)?, file))
}

/// Removes a socket's file at which nobody listens.
async fn clear_leftover(path: &Path) -> io::Result<()> {
    let refuse = |kind, what: &str| Err(io::Error::new(kind, format!("{} {what}", path.display())));
    match fs::symlink_metadata(path) {
        Ok(file) if file.file_type().is_socket() => {}
        Ok(_) => {
            return refuse(
                io::ErrorKind::AlreadyExists,
                "exists and is no socket; remove it or choose another path",
            );
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e),
    }
    match UnixStream::connect(path).await {
        Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => Err(e),
        // Connected, or too many wait already.
        _ => refuse(io::ErrorKind::AddrInUse, "is in use: another process listens there"),
    }
}

/// Locks the folder, where the file system can; it is free again on drop. Processes of ours hold it for moments only. One
/// that holds it for longer is not ours, for everybody who may read a folder may lock it, and must not keep us from
/// binding: only the race of two starts over a file left behind is lost with the lock.
async fn lock_folder_of(path: &Path) -> Option<fs::File> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = fs::File::open(folder).ok()?;
    for _ in 0..LOCK_TRIES {
        match folder.try_lock() {
            Ok(()) => return Some(folder),
            Err(fs::TryLockError::WouldBlock) => sleep(LOCK_PAUSE).await,
            Err(fs::TryLockError::Error(_)) => return None,
        }
    }
    None
}
