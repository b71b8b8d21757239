//! Why a `get` did not bring files, and the exit codes that tell it apart.

use std::path::PathBuf;

use spandrel_download_protocol::{DownloadId, ErrorCode, ErrorResponse};
use spandrel_transport::TlsError;

use crate::ClientError;

/// Why there is nothing at the end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GetError {
    /// The options contradict each other or the job. Change them.
    #[error("{0}")]
    Usage(String),
    /// The job ended without files.
    #[error("the job ended without files: {0}")]
    Job(ErrorResponse),
    /// Everything else.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Parts could not be joined; they stay where they are.
    #[error("joining into {path}: {source}; the parts are kept in {parts}", path = .path.display(), parts = .parts.display())]
    Merge {
        /// The file to be.
        path: PathBuf,
        /// Where the parts are.
        parts: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Interrupted by the user before there was a job, or before a server that does not answer told its name.
    #[error("interrupted before the server answered")]
    InterruptedEarly,
    /// Interrupted by the user.
    #[error("interrupted; job {id} {}", if *.is_cancelled { "was cancelled" } else { "is kept at the server" })]
    Interrupted {
        /// The job.
        id: DownloadId,
        /// Whether it was cancelled.
        is_cancelled: bool,
    },
}

impl GetError {
    /// Exit code for a command line:
    ///
    /// | code | meaning |
    /// |---|---|
    /// | 2 | the command or its options are wrong |
    /// | 3 | the server refused the request, or the job failed |
    /// | 4 | no connection, or none any more |
    /// | 5 | files here cannot be read or written |
    /// | 6 | cancelled or interrupted |
    /// | 7 | the server does not accept the credentials, or is not the one that is trusted, or names files where they are not fetched from |
    /// | 8 | a file arrived with other bytes than announced |
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Job(error) if error.code == ErrorCode::Cancelled => 6,
            Self::Job(_) => 3,
            Self::Merge { .. } => 5,
            Self::Interrupted { .. } | Self::InterruptedEarly => 6,
            Self::Client(error) if error.is_auth() => 7,
            // Files are fetched over lines as good as the session's, or not at all.
            Self::Client(ClientError::FileUrl { .. }) => 7,
            Self::Client(error) => match error {
                ClientError::Url { .. }
                | ClientError::Options(_)
                | ClientError::TooBig { .. }
                | ClientError::NoHttp { .. } => 2,
                ClientError::Tls(error) if !is_from_peer(error) => 2,
                ClientError::Refused(_) => 3,
                ClientError::File { .. } => 5,
                ClientError::Digest { .. } => 8,
                _ => 4,
            },
        }
    }
}

/// Whether it came up on the line, and not while the options were read.
const fn is_from_peer(error: &TlsError) -> bool {
    matches!(error, TlsError::NotTls | TlsError::Timeout { .. } | TlsError::Handshake(_))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Close, Failure};

    #[test]
    fn exit_codes_tell_the_kinds_apart() {
        let refusal = |code| ErrorResponse::new(code, "x");
        let failed = |code| ClientError::from(Failure { code, reason: String::new(), attempts: 5 });
        let digest = ClientError::Digest { path: "x".into(), announced: String::new(), got: String::new() };
        let untrusted = TlsError::Untrusted { name: String::new(), reason: String::new() };
        for (error, want) in [
            (GetError::Usage(String::new()), 2),
            (GetError::Client(refusal(ErrorCode::InvalidFilter).into()), 3),
            (GetError::Job(refusal(ErrorCode::SourceChanged)), 3),
            (GetError::Job(refusal(ErrorCode::Cancelled)), 6),
            (GetError::Client(failed(1006)), 4),
            (GetError::Client(ClientError::Http(String::new())), 4),
            (GetError::Client(failed(4401)), 7),
            (GetError::Client(refusal(ErrorCode::AuthInvalid).into()), 7),
            (GetError::Client(refusal(ErrorCode::Forbidden).into()), 7),
            (GetError::Client(ClientError::Denied { why: String::new() }), 7),
            (GetError::Client(ClientError::FileUrl { url: String::new(), why: "" }), 7),
            (GetError::Client(ClientError::Closed(Close::new(4406, ""))), 4),
            (GetError::Client(TlsError::NotTls.into()), 4),
            (GetError::Client(untrusted.into()), 7),
            (GetError::Client(TlsError::NoFiles.into()), 2),
            (GetError::Client(ClientError::Options("x")), 2),
            (
                GetError::Client(ClientError::File {
                    path: "x".into(),
                    source: std::io::ErrorKind::NotFound.into(),
                }),
                5,
            ),
            (GetError::Client(digest), 8),
            (GetError::InterruptedEarly, 6),
            (GetError::Interrupted { id: DownloadId::from_bytes([0; 16]), is_cancelled: true }, 6),
        ] {
            assert_eq!(error.exit_code(), want, "{error}");
        }
    }
}
