//! Who the client is, and what it wants done to its messages.

use spandrel_crypto::{SecretKey, Token};
use spandrel_session::KeyId;

use crate::ClientError;

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
