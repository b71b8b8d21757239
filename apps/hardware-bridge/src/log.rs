//! Lines on stderr and stdout, which belong to the parent: it may have closed them, or read them no more.

use std::io::{self, IsTerminal as _, Write};

use tracing::level_filters::LevelFilter;

/// The longest line that is written in one piece or not at all: what a pipe that says it is writable takes (POSIX
/// `PIPE_BUF` on Linux).
const LINE_BYTES_MAX: usize = 4096;

/// Takes the log from here on. Events below `level` cost one comparison.
pub(crate) fn start(level: LevelFilter) {
    let _ = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_target(false)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(|| Stderr)
        .try_init();
}

/// Writes one line to stderr, if somebody takes it.
pub(crate) fn line(text: &str) {
    let _ = Stderr.write(format!("{text}\n").as_bytes());
}

/// Drops what nobody takes: the one thread of this process must not wait for a parent that does not read.
struct Stderr;

impl Write for Stderr {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if is_writable() {
            let kept = line.get(..LINE_BYTES_MAX).unwrap_or(line);
            let _ = io::stderr().write_all(kept);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(unix)]
fn is_writable() -> bool {
    use rustix::event::{PollFd, PollFlags, poll};
    let stderr = io::stderr();
    let mut fds = [PollFd::new(&stderr, PollFlags::OUT)];
    poll(&mut fds, Some(&rustix::event::Timespec::default())).is_ok_and(|ready| ready > 0)
}

#[cfg(not(unix))]
fn is_writable() -> bool {
    true
}

/// Writes text to stdout, if somebody takes it.
pub(crate) fn out(text: &str) {
    let mut out = io::stdout();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
