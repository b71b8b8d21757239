//! Who the client is, and what it wants done to its messages.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use spandrel_crypto::{SecretKey, Token};
use spandrel_session::KeyId;
use zeroize::Zeroizing;

use crate::ClientError;

/// Most bytes of a file that holds a secret: twice the longest token.
const SECRET_BYTES_MAX: u64 = 8192;

/// Who the client is (protocol section 13). Prints nothing secret.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum Credentials {
    /// Nobody in particular; the server calls it `anonymous`, or refuses.
    #[default]
    None,
    /// A bearer token, for messages and for HTTP. Who reads the line can use it: TLS first. Not over `tcp`.
    Bearer(Token),
    /// A key: every message in both directions is signed with it, and sealed if [`Seal`] says so. It never travels.
    /// HTTP knows no keys: files come by the signed addresses of the session, the rest needs
    /// [`ClientOptions::http_bearer`](crate::ClientOptions::http_bearer) where the server wants credentials.
    Key {
        /// Name of the key, as the server has it.
        id: KeyId,
        /// The 32 secret bytes.
        secret: SecretKey,
    },
}

/// Whether messages are sealed (AES-256-GCM) on top of being signed. Needs [`Credentials::Key`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Seal {
    /// Signed only.
    #[default]
    Off,
    /// Sealed with servers that offer it, else signed only. Somebody who sits on the line can make a server look as
    /// if it did not.
    IfOffered,
    /// Sealed, or not at all: other servers are left with code 4406.
    Required,
}

impl Credentials {
    /// A key from its parts as configuration files hold them: a name, and 32 bytes as 43 characters of base64url.
    ///
    /// # Errors
    ///
    /// [`ClientError::Options`] which says what is expected, never what came.
    pub fn key(id: &str, secret: &str) -> Result<Self, ClientError> {
        let id = KeyId::new(id)
            .map_err(|_| ClientError::Options("a key id has 1 to 32 characters of A-Z, a-z, 0-9, _ and -"))?;
        let secret = SecretKey::from_base64url(secret.trim()).map_err(|_| {
            ClientError::Options("a key is 32 bytes written as 43 characters of base64url, without padding")
        })?;
        Ok(Self::Key { id, secret })
    }

    /// A bearer token.
    ///
    /// # Errors
    ///
    /// [`ClientError::Options`] when no header could carry it.
    pub fn bearer(token: &str) -> Result<Self, ClientError> {
        Ok(Self::Bearer(bearer(token)?))
    }

    pub(crate) const fn is_key(&self) -> bool {
        matches!(self, Self::Key { .. })
    }
}

/// Reads a secret from a file that holds nothing else, blank space around it aside. Says so in the log when others
/// may read the file, too. Blocks.
///
/// # Errors
///
/// [`ClientError::File`] when it cannot be read, is longer than 8192 bytes or no text. The error never
/// repeats what is in the file.
pub fn read_secret(path: &Path) -> Result<Zeroizing<String>, ClientError> {
    let mut text = Zeroizing::new(String::with_capacity(256));
    let read = File::open(path).and_then(|file| {
        warn_of_readers(path, &file);
        file.take(SECRET_BYTES_MAX + 1).read_to_string(&mut text)
    });
    let len = read.map_err(ClientError::file(path))?;
    if u64::try_from(len).unwrap_or(u64::MAX) > SECRET_BYTES_MAX {
        let why = std::io::Error::other(format!("expected a secret of at most {SECRET_BYTES_MAX} bytes"));
        return Err(ClientError::file(path)(why));
    }
    let trimmed = text.trim().to_owned();
    Ok(Zeroizing::new(trimmed))
}

#[cfg(unix)]
fn warn_of_readers(path: &Path, file: &File) {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = file.metadata().map_or(0, |m| if m.is_file() { m.permissions().mode() } else { 0 });
    if mode & 0o077 != 0 {
        tracing::warn!(path = %path.display(), "others may read this secret: chmod 600 it");
    }
}

#[cfg(not(unix))]
fn warn_of_readers(_: &Path, _: &File) {}

/// A token as it stands in a file or in the environment.
///
/// # Errors
///
/// [`ClientError::Options`] when no header could carry it.
pub fn bearer(token: &str) -> Result<Token, ClientError> {
    Token::new(token.trim()).map_err(|_| {
        ClientError::Options(
            "a bearer token has 1 to 4096 of the characters A-Z a-z 0-9 - . _ ~ + / and = at its end",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_from_a_file_of_bounded_length() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        let of = |content: &[u8]| {
            std::fs::write(&path, content).unwrap();
            read_secret(&path)
        };
        assert_eq!(*of(b" abc\r\n").unwrap(), "abc");
        assert_eq!(of(&[b'a'; 8192]).unwrap().len(), 8192);
        for bad in [&[b'a'; 8193][..], b"hidden\xff"] {
            let error = of(bad).unwrap_err().to_string();
            assert!(!error.contains("hidden") && !error.contains("aaaa"), "{error}");
        }
        assert!(matches!(read_secret(&directory.path().join("none")), Err(ClientError::File { .. })));
    }
}
