//! What a caller of this crate may have to handle.

use std::path::PathBuf;

use spandrel_download_protocol::{ErrorCode, ErrorResponse, ProtocolError, RequestId};
use spandrel_transport::{Close, DialError, TlsError};

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
    /// The options contradict each other or the address. Change them.
    #[error("{0}")]
    Options(&'static str),
    /// The server's certificate is not trusted, or what is to be trusted cannot be used as given.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The system gives no random numbers, without which nothing can be signed or sealed.
    #[error("the system gives no random numbers")]
    NoRandom,
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
    #[error("the server closed the connection before its hello, with code {}", .0)]
    Closed(Close),
    /// The server does not take these credentials, or wants some. Trying again does not help.
    #[error("the server does not accept the credentials given, or wants some: {why}")]
    Denied {
        /// How it said so.
        why: String,
    },
    /// A message is not the server's, or not as the server sent it: wrong signature, wrong seal, sent twice, too
    /// old. The connection was closed. Perhaps the key is another one than the server's.
    #[error("cannot trust what the server sends: {why}")]
    Untrusted {
        /// Close code, 4401 where it is about signature or seal.
        code: u16,
        /// What is wrong.
        why: String,
    },
    /// The server said no; [`ErrorResponse::recoverable`] tells whether asking again later can help.
    #[error("the server refused: {0}")]
    Refused(#[from] ErrorResponse),
    /// The connection is gone for good (`connection:failed`). Jobs go on at the server: connect anew and attach.
    #[error(transparent)]
    ConnectionFailed(#[from] Failure),
    /// More is under way on this connection than [`ClientOptions`](crate::ClientOptions) allows.
    #[error("more than {max} requests are unanswered")]
    TooMany {
        /// The bound.
        max: usize,
    },
    /// Another call waits for the answer to the same request id. Use another id for another request.
    #[error("request {id} is under way already")]
    UnderWay {
        /// The id.
        id: RequestId,
    },
    /// The request is longer than the server takes. Make it smaller.
    #[error("the request of {len} bytes is over the limit of {max} bytes for a message")]
    TooBig {
        /// Bytes of the message, before any layer.
        len: usize,
        /// The smaller of the server's bound and our own.
        max: usize,
    },
    /// Something is to come over HTTP, and this session does not know where from: set
    /// [`ClientOptions::http_url`](crate::ClientOptions::http_url).
    #[error(
        "{path} comes over HTTP, and a tcp or unix address does not say where: give the server's http address too"
    )]
    NoHttp {
        /// What was asked for, without its query.
        path: String,
    },
    /// The server gave an address for a file that is not fetched from.
    #[error("the server says the file is at {url:?}: {why}")]
    FileUrl {
        /// What came, without its query.
        url: String,
        /// What was expected.
        why: &'static str,
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

/// The local event `connection:failed` (protocol section 10.3): the attempts are used up, or the server said a code
/// after which trying again is pointless.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("connection failed with code {code}{}{}", after(*.attempts), because(.reason))]
pub struct Failure {
    /// Last close code; 1006 when there was none.
    pub code: u16,
    /// Why, for people: the server's words, or what went wrong here. May be empty.
    pub reason: String,
    /// Attempts to reconnect that were made.
    pub attempts: u32,
}

fn after(attempts: u32) -> String {
    match attempts {
        0 => String::new(),
        1 => " after an attempt to reconnect".to_owned(),
        n => format!(" after {n} attempts to reconnect"),
    }
}

fn because(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(": {reason}") }
}

impl ClientError {
    /// Whether the server knows or trusts us too little, or we it: other credentials may help, waiting does not.
    pub const fn is_auth(&self) -> bool {
        match self {
            Self::Denied { .. } | Self::Tls(TlsError::Untrusted { .. }) => true,
            Self::Untrusted { code, .. } => *code == Close::UNAUTHENTICATED,
            Self::Closed(close) => matches!(close.code, Close::UNAUTHENTICATED),
            Self::ConnectionFailed(failure) => failure.code == Close::UNAUTHENTICATED,
            Self::Status { status, .. } => matches!(status, 401 | 403),
            Self::Refused(refusal) => matches!(
                refusal.code,
                ErrorCode::AuthRequired
                    | ErrorCode::AuthInvalid
                    | ErrorCode::AuthExpired
                    | ErrorCode::AuthReplayed
                    | ErrorCode::Forbidden
                    | ErrorCode::UrlInvalid
            ),
            _ => false,
        }
    }

    pub(crate) fn file(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| Self::File { path: path.to_owned(), source }
    }
}

/// A server's words, and errors that quote them, for a terminal: which would obey what it took for a command.
///
/// ```
/// assert_eq!(spandrel_download_client::printable("no \u{1b}]0;title\u{7}\u{9b}2J rows"), "no  ]0;title  2J rows");
/// ```
#[must_use]
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_reads_as_a_sentence() {
        for (code, reason, attempts, want) in [
            (4401, "authentication failed", 0, "connection failed with code 4401: authentication failed"),
            (1006, "", 5, "connection failed with code 1006 after 5 attempts to reconnect"),
            (4406, "x", 1, "connection failed with code 4406 after an attempt to reconnect: x"),
        ] {
            assert_eq!(Failure { code, reason: reason.to_owned(), attempts }.to_string(), want);
        }
    }
}
