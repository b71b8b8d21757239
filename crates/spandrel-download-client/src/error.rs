//! What a caller of this crate may have to handle.

use std::path::PathBuf;

use spandrel_download_protocol::{ErrorResponse, ProtocolError};
use spandrel_transport::DialError;

/// Anything this crate can fail with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The address cannot be used. Ask for another.
    #[error("{url:?} is not the address of a server: {why}")]
    Url {
        /// What came.
        url: String,
        /// What was expected.
        why: &'static str,
    },
    /// The first connection did not open. Later ones are tried again by themselves.
    #[error("cannot connect: {0}")]
    Dial(#[from] DialError),
    /// Connected, but the server's hello did not come. Perhaps it is no download server.
    #[error("connected, but no hello came within {after_ms} ms")]
    NoHello {
        /// Time allowed.
        after_ms: u64,
    },
    /// Connected, and closed by the server before its hello; the protocol's section 2.4 names the codes.
    #[error("the server closed the connection before its hello, with code {code}")]
    Closed {
        /// Close code; 1005 when there was none.
        code: u16,
    },
    /// The server said no; [`ErrorResponse::recoverable`] tells whether asking again later can help.
    #[error("the server refused: {0}")]
    Refused(#[from] ErrorResponse),
    /// The connection is gone for good, or the attempts are used up (`connection:failed`). Jobs go on at the
    /// server: connect anew and attach.
    #[error("connection failed with code {code} after {attempts} attempts to reconnect")]
    ConnectionFailed {
        /// Last close code; 1006 when there was none.
        code: u16,
        /// Attempts made.
        attempts: u32,
    },
    /// More is under way on this connection than [`ClientOptions`](crate::ClientOptions) allows.
    #[error("more than {max} requests are unanswered")]
    TooMany {
        /// The bound.
        max: usize,
    },
    /// The server said something that is not this protocol.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    /// An HTTP answer that is neither what was asked for nor a refusal of the protocol.
    #[error("http status {status} from {path}, without a reason")]
    Status {
        /// The status.
        status: u16,
        /// What was asked for, without its query.
        path: String,
    },
    /// The HTTP exchange broke off, also after the retries.
    #[error("http exchange failed: {0}")]
    Http(String),
    /// A file could not be read or written.
    #[error("{path}: {source}", path = path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file arrived whole, and is not what the server announced. It is not kept.
    #[error("{path}: sha-256 is {got}, announced was {announced}", path = path.display())]
    Digest {
        /// Which.
        path: PathBuf,
        /// As announced.
        announced: String,
        /// As received.
        got: String,
    },
}

impl ClientError {
    pub(crate) fn file(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| Self::File { path: path.to_owned(), source }
    }
}
