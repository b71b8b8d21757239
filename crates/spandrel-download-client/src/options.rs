//! How a client behaves.

use std::path::PathBuf;

use spandrel_crypto::Token;
use spandrel_session::BackoffPolicy;
use spandrel_transport::Fingerprint;

use crate::{ClientError, Credentials, Seal};

/// How a client behaves; start from the default.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ClientOptions {
    /// Who the client is.
    pub credentials: Credentials,
    /// Token for HTTP beside a key, sent to the server's own origin only.
    pub http_bearer: Option<Token>,
    /// Whether messages are sealed.
    pub seal: Seal,
    /// Whether long messages may be deflated, where the server offers it. Together with sealing the length of a
    /// message then tells something about what is in it (protocol section 13.4).
    pub deflates: bool,
    /// Whose certificates are trusted, with `https`, `wss` and `tcps` addresses.
    pub trust: Trust,
    /// `http://` or `https://` address of the server, for sessions over `tcp`, `tcps` and `unix`, whose addresses do
    /// not tell. Without it files can be fetched only from servers that configure `publicBaseUrl`.
    pub http_url: Option<String>,
    /// When to connect again.
    pub backoff: BackoffPolicy,
    /// Milliseconds from connecting to the hello, 10,000.
    pub hello_ms: u64,
    /// Unanswered requests and followed jobs at once, 1000 each: the server's own bound of attachments.
    pub under_way_max: usize,
    /// Bytes of one message, sent or inflated, 1 MiB: the server's own bound.
    pub message_bytes_max: usize,
    /// Bytes of one JSON answer over HTTP, 16 MiB: lists of jobs.
    pub answer_bytes_max: usize,
    /// Milliseconds for one JSON answer over HTTP, 60,000: a preview may count for a while.
    pub answer_ms: u64,
    /// Milliseconds a transfer may stand still, 30,000; then it is broken off and continued.
    pub stall_ms: u64,
    /// Tries to continue a transfer that made no progress, 5.
    pub transfer_tries: u32,
    /// Milliseconds before the first of them, 500; doubled each time.
    pub transfer_delay_ms: u64,
    /// Milliseconds a signed message of the server may be off the server's own clock, either way, 30,000.
    pub window_ms: u64,
}

/// Whose certificates are trusted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trust {
    /// Those the operating system trusts.
    #[default]
    Platform,
    /// Those signed by an authority in this PEM file, and no others.
    CaFile(PathBuf),
    /// Exactly the certificate with this SHA-256, whatever name and dates it has: for servers that signed their own.
    Pin(Fingerprint),
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            credentials: Credentials::None,
            http_bearer: None,
            seal: Seal::Off,
            deflates: false,
            trust: Trust::Platform,
            http_url: None,
            backoff: BackoffPolicy::default(),
            hello_ms: 10_000,
            under_way_max: 1000,
            message_bytes_max: 1 << 20,
            answer_bytes_max: 16 << 20,
            answer_ms: 60_000,
            stall_ms: 30_000,
            transfer_tries: 5,
            transfer_delay_ms: 500,
            window_ms: 30_000,
        }
    }
}

impl ClientOptions {
    /// Identifies by these credentials.
    #[must_use]
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = credentials;
        self
    }

    /// Seals messages, or not.
    #[must_use]
    pub const fn seal(mut self, seal: Seal) -> Self {
        self.seal = seal;
        self
    }

    /// Deflates long messages where the server offers it.
    #[must_use]
    pub const fn deflates(mut self, deflates: bool) -> Self {
        self.deflates = deflates;
        self
    }

    /// Trusts these certificates.
    #[must_use]
    pub fn trust(mut self, trust: Trust) -> Self {
        self.trust = trust;
        self
    }

    /// Fetches files from this `http://` or `https://` address.
    #[must_use]
    pub fn http_url(mut self, url: impl Into<String>) -> Self {
        self.http_url = Some(url.into());
        self
    }

    /// The token for HTTP: the one beside a key, or the one that is the credentials.
    pub(crate) fn http_token(&self) -> Option<&Token> {
        match &self.credentials {
            Credentials::Bearer(token) => Some(self.http_bearer.as_ref().unwrap_or(token)),
            _ => self.http_bearer.as_ref(),
        }
    }

    pub(crate) const fn check(&self) -> Result<(), ClientError> {
        if !matches!(self.seal, Seal::Off) && !self.credentials.is_key() {
            return Err(ClientError::Options("sealing needs a key"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "ERERERERERERERERERERERERERERERERERERERERERE";

    #[test]
    fn nothing_secret_is_printed() {
        let mut options = ClientOptions::default().credentials(Credentials::key("k1", SECRET).unwrap());
        options.http_bearer = crate::bearer("hidden-token\n").ok();
        let text = format!("{options:?}");
        assert!(
            text.contains("k1") && !text.contains("hidden") && !text.contains("0x11") && !text.contains("17"),
            "{text}"
        );
        assert!(options.http_token().is_some());
    }

    #[test]
    fn what_is_no_credential_is_told_without_repeating_it() {
        for (id, secret) in [("k 1", SECRET), ("", SECRET), ("k1", "hidden"), ("k1", "")] {
            let error = Credentials::key(id, secret).unwrap_err().to_string();
            assert!(!error.contains("hidden"), "{error}");
        }
        for token in ["", "a b", "hidden\nhidden"] {
            let error = Credentials::bearer(token).unwrap_err().to_string();
            assert!(!error.contains("hidden"), "{error}");
        }
        assert!(Credentials::key("k1", &format!("{SECRET}\n")).is_ok(), "files end with a line end");
    }

    #[test]
    fn only_a_key_seals() {
        assert!(ClientOptions::default().seal(Seal::Required).check().is_err());
        let bearer = Credentials::bearer("abc").unwrap();
        assert!(ClientOptions::default().credentials(bearer).seal(Seal::IfOffered).check().is_err());
        let key = Credentials::key("k1", SECRET).unwrap();
        assert!(ClientOptions::default().credentials(key).seal(Seal::Required).check().is_ok());
    }
}
