//! Who a caller is: the seam, and what a session was let in for.

use std::fmt;
use std::sync::Arc;

use http::{HeaderMap, header};
use spandrel_crypto::{SecretKey, Token, sha256};
use spandrel_download_protocol::ErrorResponse;
use spandrel_jobs::Principal;
use spandrel_session::{KeyId, signing_key};

/// Says who a request comes from. [`Open`] and [`Keyring`](crate::Keyring) are here; bring your own for cookies, client
/// certificates or another service that knows.
pub trait Authenticator: Send + Sync + fmt::Debug {
    /// The principal of a request or upgrade with these headers.
    ///
    /// # Errors
    /// `AUTH_REQUIRED` when there are no credentials, `AUTH_INVALID` when they are wrong; answered 401. An upgrade that
    /// was `AUTH_REQUIRED` may still prove itself by a key.
    fn authenticate(&self, headers: &HeaderMap) -> Result<Principal, ErrorResponse>;

    /// Everybody is one principal and may fetch every file; file URLs need no signature. Headers are not looked at then.
    fn is_open(&self) -> bool;

    /// The key of signed and sealed sessions with this id, if it is valid at `wall_ms` (milliseconds since 1970).
    /// Default: there are no keys.
    fn key(&self, id: &KeyId, wall_ms: u64) -> Option<Key> {
        let _ = (id, wall_ms);
        None
    }

    /// Whether a session that was let in for `proof` may go on. Asked after
    /// [`Service::recheck`](crate::Service::recheck); default: a key has to be there still, the rest holds.
    fn holds(&self, proof: &Proof, wall_ms: u64) -> bool {
        match proof {
            Proof::Key(key) => self.key(key.id(), wall_ms).is_some_and(|now| now.is_same(key)),
            Proof::Nothing | Proof::Bearer(..) => true,
        }
    }
}

/// Auth mode `none`: everybody is `anonymous`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Open;

impl Authenticator for Open {
    fn authenticate(&self, _: &HeaderMap) -> Result<Principal, ErrorResponse> {
        Ok(Principal::anonymous())
    }

    fn is_open(&self) -> bool {
        true
    }
}

/// What a session was let in for.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Proof {
    /// Nothing that could be taken away: everybody may come in, or the principal was told by other means.
    Nothing,
    /// A bearer token, and whose it was.
    Bearer(TokenDigest, Principal),
    /// The possession of a key.
    Key(Key),
}

/// SHA-256 of a bearer token: compared in constant time, never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenDigest(SecretKey);

impl TokenDigest {
    /// Of a token.
    #[must_use]
    pub fn of(token: &Token) -> Self {
        Self::of_text(token.expose())
    }

    /// Of the one bearer token in these headers.
    pub(crate) fn in_headers(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(header::AUTHORIZATION).iter();
        let only = values.next().filter(|_| values.next().is_none())?;
        Token::from_authorization(only.to_str().ok()?).map(|token| Self::of(&token))
    }

    /// Of no token that can be sent.
    pub(crate) fn of_none() -> Self {
        Self::of_text("")
    }

    fn of_text(text: &str) -> Self {
        Self(SecretKey::from_bytes(sha256(text.as_bytes())))
    }
}

impl fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenDigest(..)")
    }
}

/// A key of signed and sealed sessions (protocol section 13.1). Cheap to clone.
#[derive(Clone)]
pub struct Key(Arc<Facts>);

#[derive(Clone)]
struct Facts {
    id: KeyId,
    secret: SecretKey,
    signing: SecretKey,
    principal: Principal,
    not_before_ms: u64,
    not_after_ms: u64,
}

impl Key {
    /// A key that is valid for ever.
    #[must_use]
    pub fn new(id: KeyId, secret: SecretKey, principal: Principal) -> Self {
        let signing = signing_key(&secret);
        Self(Arc::new(Facts { id, secret, signing, principal, not_before_ms: 0, not_after_ms: u64::MAX }))
    }

    /// Bounds its life: valid from the first to the last millisecond since 1970, both included.
    #[must_use]
    pub fn with_life(self, not_before_ms: u64, not_after_ms: u64) -> Self {
        Self(Arc::new(Facts { not_before_ms, not_after_ms, ..Facts::clone(&self.0) }))
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &KeyId {
        &self.0.id
    }

    /// Whose it is.
    #[must_use]
    pub fn principal(&self) -> &Principal {
        &self.0.principal
    }

    /// Last millisecond since 1970 it is valid in.
    #[must_use]
    pub fn not_after_ms(&self) -> u64 {
        self.0.not_after_ms
    }

    /// Whether it is valid at `wall_ms`, milliseconds since 1970.
    #[must_use]
    pub fn is_valid(&self, wall_ms: u64) -> bool {
        (self.0.not_before_ms..=self.0.not_after_ms).contains(&wall_ms)
    }

    pub(crate) fn secret(&self) -> &SecretKey {
        &self.0.secret
    }

    pub(crate) fn signing(&self) -> &SecretKey {
        &self.0.signing
    }

    /// The same secret for the same principal; its life may have changed.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.0.secret == other.0.secret && self.0.principal == other.0.principal
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("id", &self.0.id)
            .field("principal", &self.0.principal)
            .field("not_before_ms", &self.0.not_before_ms)
            .field("not_after_ms", &self.0.not_after_ms)
            .finish_non_exhaustive()
    }
}
