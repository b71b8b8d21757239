//! Keys and bearer tokens of a configuration.

use std::collections::HashMap;
use std::fmt;
use std::sync::{PoisonError, RwLock};

use http::{HeaderMap, header};
use spandrel_crypto::Token;
use spandrel_download_protocol::{ErrorCode, ErrorResponse};
use spandrel_jobs::Principal;
use spandrel_session::KeyId;

use crate::auth::{Authenticator, Key, Proof, TokenDigest};
use crate::error::ServiceError;

/// Most keys of a [`Keyring`], and most tokens: every request is compared with every token.
pub const CREDENTIALS_MAX: usize = 1_000;

/// Whether callers have to prove who they are (`auth.mode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AuthMode {
    /// No. Everybody is `anonymous`, but who comes with the id of a key has to have the key, and is its principal.
    #[default]
    None,
    /// Yes: by bearer token or by key.
    Required,
}

/// A bearer token and whose it is. Only its SHA-256 is kept.
#[derive(Debug, Clone)]
pub struct Bearer {
    digest: TokenDigest,
    principal: Principal,
}

impl Bearer {
    /// `token` stands for `principal`.
    #[must_use]
    pub fn new(token: &Token, principal: Principal) -> Self {
        Self { digest: TokenDigest::of(token), principal }
    }
}

/// An [`Authenticator`] of keys and bearer tokens, which can be replaced while the server runs.
///
/// ```
/// use spandrel_crypto::{SecretKey, Token};
/// use spandrel_download_service::{AuthMode, Authenticator, Bearer, Key, KeyId, Keyring, Principal};
///
/// let alice = Principal::new("alice");
/// let key = Key::new(KeyId::new("k1")?, SecretKey::from_bytes([7; 32]), alice.clone());
/// let token = Bearer::new(&Token::new("a-long-random-token")?, alice.clone());
/// let ring = Keyring::new(AuthMode::Required, vec![key], vec![token])?;
/// let mut headers = http::HeaderMap::new();
/// assert!(ring.authenticate(&headers).is_err());
/// headers.insert("authorization", "Bearer a-long-random-token".parse()?);
/// assert_eq!(ring.authenticate(&headers)?, alice);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Keyring {
    mode: AuthMode,
    entries: RwLock<Entries>,
}

struct Entries {
    keys: HashMap<KeyId, Key>,
    tokens: Vec<Bearer>,
}

impl Keyring {
    /// A ring of these.
    ///
    /// # Errors
    /// [`ServiceError::Credentials`] when two keys have one id, a token is there twice, or there are more than
    /// [`CREDENTIALS_MAX`].
    pub fn new(mode: AuthMode, keys: Vec<Key>, tokens: Vec<Bearer>) -> Result<Self, ServiceError> {
        Ok(Self { mode, entries: RwLock::new(Entries::new(keys, tokens)?) })
    }

    /// Takes these instead of those there were. Call [`Service::recheck`](crate::Service::recheck) afterwards, so that
    /// sessions of what is gone end.
    ///
    /// # Errors
    /// As [`new`](Self::new); everything stays as it was then.
    pub fn replace(&self, keys: Vec<Key>, tokens: Vec<Bearer>) -> Result<(), ServiceError> {
        let entries = Entries::new(keys, tokens)?;
        *self.entries.write().unwrap_or_else(PoisonError::into_inner) = entries;
        Ok(())
    }

    fn read<R>(&self, look: impl FnOnce(&Entries) -> R) -> R {
        look(&self.entries.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Entries {
    fn new(keys: Vec<Key>, tokens: Vec<Bearer>) -> Result<Self, ServiceError> {
        let wrong = |what: String| Err(ServiceError::Credentials(what));
        if keys.len().max(tokens.len()) > CREDENTIALS_MAX {
            return wrong(format!("more than {CREDENTIALS_MAX} keys or tokens"));
        }
        let mut by_id = HashMap::with_capacity(keys.len());
        for key in keys {
            if let Some(twice) = by_id.insert(key.id().clone(), key) {
                return wrong(format!("two keys have the id {}; ids are unique", twice.id().as_str()));
            }
        }
        for (at, token) in tokens.iter().enumerate() {
            if tokens.iter().skip(at + 1).any(|other| other.digest == token.digest) {
                return wrong(format!("a bearer token of {} is there twice", token.principal.as_str()));
            }
        }
        Ok(Self { keys: by_id, tokens })
    }

    /// Looks at every token, found or not: the time says nothing.
    fn find(&self, digest: &TokenDigest) -> Option<&Principal> {
        let mut found = None;
        for token in &self.tokens {
            if token.digest == *digest {
                found = Some(&token.principal);
            }
        }
        found
    }
}

impl Authenticator for Keyring {
    fn authenticate(&self, headers: &HeaderMap) -> Result<Principal, ErrorResponse> {
        if self.is_open() {
            return Ok(Principal::anonymous());
        }
        if !headers.contains_key(header::AUTHORIZATION) {
            let message = "this server wants a bearer token";
            return Err(ErrorResponse::new(ErrorCode::AuthRequired, message));
        }
        // What is no token goes the way of a wrong one.
        let digest = TokenDigest::in_headers(headers).unwrap_or_else(TokenDigest::of_none);
        let found = self.read(|entries| entries.find(&digest).cloned());
        found.ok_or_else(|| ErrorResponse::new(ErrorCode::AuthInvalid, "this bearer token is not known"))
    }

    fn is_open(&self) -> bool {
        self.mode == AuthMode::None
    }

    fn key(&self, id: &KeyId, wall_ms: u64) -> Option<Key> {
        self.read(|entries| entries.keys.get(id).filter(|key| key.is_valid(wall_ms)).cloned())
    }

    fn holds(&self, proof: &Proof, wall_ms: u64) -> bool {
        match proof {
            Proof::Key(key) => self.key(key.id(), wall_ms).is_some_and(|now| now.is_same(key)),
            Proof::Bearer(digest, who) => self.read(|entries| entries.find(digest) == Some(who)),
            Proof::Nothing => true,
        }
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.read(|entries| {
            f.debug_struct("Keyring")
                .field("mode", &self.mode)
                .field("keys", &entries.keys.len())
                .field("tokens", &entries.tokens.len())
                .finish()
        })
    }
}

#[cfg(test)]
mod tests {
    use spandrel_crypto::SecretKey;

    use super::*;

    fn key(id: &str, secret: u8) -> Key {
        Key::new(KeyId::new(id).unwrap(), SecretKey::from_bytes([secret; 32]), Principal::new("alice"))
    }

    fn bearer(token: &str, who: &str) -> Bearer {
        Bearer::new(&Token::new(token).unwrap(), Principal::new(who))
    }

    fn ring(mode: AuthMode) -> Keyring {
        Keyring::new(mode, vec![key("k1", 1)], vec![bearer("one", "alice"), bearer("two", "bob")]).unwrap()
    }

    #[test]
    fn headers_give_a_principal_or_the_right_refusal() {
        let required = ring(AuthMode::Required);
        for (name, values, want) in [
            ("none", &[][..], Err(ErrorCode::AuthRequired)),
            ("right", &["Bearer one"], Ok("alice")),
            ("the other", &["bearer two"], Ok("bob")),
            ("wrong", &["Bearer three"], Err(ErrorCode::AuthInvalid)),
            ("beginning of one", &["Bearer on"], Err(ErrorCode::AuthInvalid)),
            ("no scheme", &["one"], Err(ErrorCode::AuthInvalid)),
            ("another scheme", &["Basic one"], Err(ErrorCode::AuthInvalid)),
            ("empty", &[""], Err(ErrorCode::AuthInvalid)),
            ("no token", &["Bearer "], Err(ErrorCode::AuthInvalid)),
            ("two of them", &["Bearer one", "Bearer one"], Err(ErrorCode::AuthInvalid)),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::AUTHORIZATION, value.parse().unwrap());
            }
            let got = required.authenticate(&headers).map_err(|e| e.code);
            assert_eq!(got.as_ref().map(Principal::as_str), want.as_ref().copied(), "{name}");
            let open = ring(AuthMode::None).authenticate(&headers).unwrap();
            assert_eq!(open, Principal::anonymous(), "{name}");
        }
    }

    #[test]
    fn a_key_lives_from_its_first_to_its_last_millisecond() {
        let ring = Keyring::new(AuthMode::None, vec![key("k1", 1).with_life(10, 20)], vec![]).unwrap();
        let id = KeyId::new("k1").unwrap();
        for (at, want) in [(9, false), (10, true), (20, true), (21, false)] {
            assert_eq!(ring.key(&id, at).is_some(), want, "{at}");
        }
        assert!(ring.key(&KeyId::new("k2").unwrap(), 15).is_none());
    }

    #[test]
    fn what_is_replaced_no_longer_holds() {
        let ring = ring(AuthMode::Required);
        let token = |text| TokenDigest::of(&Token::new(text).unwrap());
        let (alice, bob) = (Principal::new("alice"), Principal::new("bob"));
        let proofs = [
            Proof::Key(key("k1", 1)),
            Proof::Bearer(token("one"), alice.clone()),
            Proof::Bearer(token("two"), bob),
            Proof::Nothing,
        ];
        let held = |ring: &Keyring| proofs.each_ref().map(|proof| ring.holds(proof, 0));
        assert_eq!(held(&ring), [true; 4]);
        assert!(ring.replace(vec![key("k1", 1), key("k1", 2)], vec![]).is_err(), "two keys of one id");
        assert!(ring.replace(vec![], vec![bearer("a", "x"), bearer("a", "x")]).is_err(), "a token twice");
        assert_eq!(held(&ring), [true; 4], "a refused change changes nothing");
        ring.replace(vec![key("k1", 2)], vec![bearer("one", "bob"), bearer("two", "bob")]).unwrap();
        assert_eq!(held(&ring), [false, false, true, true], "another secret, another principal");
    }

    #[test]
    fn one_key_too_many_is_refused() {
        let keys = |n: usize| (0..n).map(|n| key(&format!("k{n}"), 1)).collect::<Vec<_>>();
        assert!(Keyring::new(AuthMode::None, keys(CREDENTIALS_MAX), vec![]).is_ok());
        assert!(Keyring::new(AuthMode::None, keys(CREDENTIALS_MAX + 1), vec![]).is_err());
    }

    #[test]
    fn nothing_secret_is_printed() {
        let ring = ring(AuthMode::Required);
        let all = format!("{ring:?} {:?} {:?}", key("k1", 0x41), bearer("hush", "alice"));
        assert!(!all.contains("hush") && !all.contains("65, 65") && !all.contains("AAAA"), "{all}");
    }
}
