//! The parent's side: a process started with pipes as a link.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    process::Stdio,
    task::{Context, Poll},
};

use spandrel_transport::{Driver, Limits, Link, Peer};
use spandrel_wire::LinesCodec;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    process::{self, ChildStdin, ChildStdout, Command},
};

use crate::IpcError;

/// A process and the link to it.
pub struct Child {
    /// The process: wait for it, or kill it. Its standard input and output are in the link.
    pub process: process::Child,
    /// The link. Closing it closes the child's standard input, which a child takes as its parent's end.
    pub link: Box<dyn Link>,
}

/// Starts a process with its standard input and output as a link; standard error stays as `command` says. Needs a running
/// runtime with I/O enabled.
///
/// # Errors
///
/// When the process cannot be started.
pub fn spawn(mut command: Command, limits: &Limits) -> Result<Child, IpcError> {
    let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let (Some(stdin), Some(stdout)) = (process.stdin.take(), process.stdout.take()) else {
        return Err(io::Error::other("the process has no pipes").into());
    };
    let pipes = Pipes { stdout, stdin: Some(stdin) };
    let link = Box::new(Driver::new(pipes, LinesCodec::new(limits), Peer::new("pipe"), limits));
    Ok(Child { process, link })
}

impl std::fmt::Debug for Child {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Child").field("process", &self.process).finish_non_exhaustive()
    }
}

/// Both pipes as one stream; shutting it down closes the one that is written to.
struct Pipes {
    stdout: ChildStdout,
    stdin: Option<ChildStdin>,
}

impl Pipes {
    fn stdin(&mut self) -> io::Result<Pin<&mut ChildStdin>> {
        self.stdin.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }
}

impl AsyncRead for Pipes {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stdout).poll_read(cx, buf)
    }
}

impl AsyncWrite for Pipes {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.stdin()?.poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stdin()?.poll_write_vectored(cx, bufs)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stdin {
            Some(stdin) => Pin::new(stdin).poll_flush(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stdin = None;
        Poll::Ready(Ok(()))
    }
}
