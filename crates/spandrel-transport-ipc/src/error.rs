//! What can go wrong before there is a link.

use std::io;

/// A link to another process that could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IpcError {
    /// A process has these streams once; somebody holds them already.
    #[error("{what} is in use already: a process has it once; keep the first link")]
    Taken {
        /// Which streams.
        what: &'static str,
    },
    /// The parent opened no channel.
    #[error(
        "no channel: NODE_CHANNEL_FD is not set; start this process with child_process.fork, or spawn with 'ipc' in stdio"
    )]
    NoChannel,
    /// The parent names a descriptor that cannot be one.
    #[error("NODE_CHANNEL_FD is {found:?}, expected the number of a descriptor from 3 on")]
    Number {
        /// The variable's value, at most 32 characters of it.
        found: String,
    },
    /// The descriptor is not what it should be: the variable came from another process.
    #[error(
        "descriptor {fd} of NODE_CHANNEL_FD is {found}, expected a connected unix socket; do not pass the variable on to other processes"
    )]
    Descriptor {
        /// The descriptor.
        fd: i32,
        /// What it is.
        found: &'static str,
    },
    /// The parent wants to talk in V8's own binary form.
    #[error(
        "channel of serialization {mode:?}, expected json; start this process without the option serialization: 'advanced'"
    )]
    Serialization {
        /// The variable's value, at most 32 characters of it.
        mode: String,
    },
    /// A process could not be started, or the system refused a stream.
    #[error("cannot open the streams: {0}")]
    Io(#[from] io::Error),
}

/// What is shown of a value from outside.
#[cfg(unix)]
pub(crate) fn shown(text: &str) -> String {
    text.chars().take(32).collect()
}
