//! `auth` of the configuration: who may come in, and by what.

use serde::de::{Deserialize, Deserializer, Error as _};
use spandrel_crypto::{SecretKey, Token};
use spandrel_download_service::{AuthMode, Bearer, Key, KeyId, Keyring, Principal};

use super::written::{Members, Written};

/// Largest `notAfter`, 2^53 - 1: a key of that age never ends.
const NEVER_MS: u64 = (1 << 53) - 1;
/// Bytes of the longest name of a principal.
const PRINCIPAL_BYTES_MAX: usize = 128;

/// Holds what was read as the service takes it: tokens are kept as digests only. No error about it shows what was written,
/// which may be a secret in the wrong place.
#[derive(Debug, Default)]
pub(crate) struct Auth {
    is_required: bool,
    pub(crate) window_ms: Option<u64>,
    keys: Vec<Key>,
    tokens: Vec<Bearer>,
}

impl<'de> Deserialize<'de> for Auth {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::read(Written::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl Auth {
    pub(crate) fn is_required(&self) -> bool {
        self.is_required
    }

    pub(crate) fn has_secrets(&self) -> bool {
        !self.keys.is_empty() || !self.tokens.is_empty()
    }

    /// What is configured, as the service takes it.
    pub(crate) fn keyring(&self) -> Result<Keyring, String> {
        let mode = if self.is_required { AuthMode::Required } else { AuthMode::None };
        Keyring::new(mode, self.keys.clone(), self.tokens.clone()).map_err(|e| format!("auth: {e}"))
    }

    /// Takes the keys and tokens over into a ring that is in use; its mode stays.
    pub(crate) fn replace(&self, ring: &Keyring) -> Result<(), String> {
        ring.replace(self.keys.clone(), self.tokens.clone()).map_err(|e| format!("auth: {e}"))
    }

    /// Whether anybody could come in at all: a server that starts otherwise is a mistake. One that runs may have its last
    /// key or token taken away.
    pub(crate) fn admits_somebody(&self) -> Result<(), String> {
        if self.is_required && !self.has_secrets() {
            return Err(
                "auth.mode is \"required\" but there are neither auth.keys nor auth.bearerTokens, so that \
                        nobody could come in"
                    .into(),
            );
        }
        Ok(())
    }

    pub(super) fn check(&self) -> Result<(), String> {
        self.keyring().map(|_| ())
    }

    fn read(written: Written) -> Result<Self, String> {
        let mut auth = Members::of("auth", written, &["mode", "windowMs", "keys", "bearerTokens"])?;
        let is_required = match auth.take("mode") {
            None => false,
            Some(Written::Text(mode)) if mode == "none" => false,
            Some(Written::Text(mode)) if mode == "required" => true,
            Some(_) => return Err("auth.mode is neither \"none\" nor \"required\"".into()),
        };
        let window_ms = auth.number("windowMs")?;
        if window_ms == Some(0) {
            return Err(
                "auth.windowMs is 0, with which no signature would be in time; it is at least 1".into()
            );
        }
        Ok(Self {
            is_required,
            window_ms,
            keys: auth.list("keys", key)?,
            tokens: auth.list("bearerTokens", bearer)?,
        })
    }
}

fn key(at: &str, written: Written) -> Result<Key, String> {
    let mut key = Members::of(at, written, &["id", "secret", "principal", "notBefore", "notAfter"])?;
    let id = KeyId::new(&key.text("id")?)
        .map_err(|_| format!("{at}.id is not 1 to 32 characters of A-Z a-z 0-9 _ -"))?;
    let secret = SecretKey::from_base64url(&key.text("secret")?).map_err(|_| {
        format!("{at}.secret is not 32 bytes as base64url: 43 characters of A-Z a-z 0-9 _ - without padding")
    })?;
    let principal = principal(&mut key)?;
    let not_before = key.number("notBefore")?.unwrap_or(0);
    let not_after = key.number("notAfter")?.unwrap_or(NEVER_MS);
    if not_before > not_after || not_after > NEVER_MS {
        return Err(format!(
            "{at}.notBefore and notAfter are not milliseconds since 1970, one not after the other"
        ));
    }
    let end_ms = if not_after == NEVER_MS { u64::MAX } else { not_after };
    Ok(Key::new(id, secret, principal).with_life(not_before, end_ms))
}

fn bearer(at: &str, written: Written) -> Result<Bearer, String> {
    let mut bearer = Members::of(at, written, &["token", "principal"])?;
    let token = Token::new(bearer.text("token")?)
        .map_err(|_| format!("{at}.token is not 1 to 4096 characters of A-Z a-z 0-9 - . _ ~ + /"))?;
    Ok(Bearer::new(&token, principal(&mut bearer)?))
}

fn principal(entry: &mut Members<'_>) -> Result<Principal, String> {
    let name = entry.text("principal")?;
    if (1..=PRINCIPAL_BYTES_MAX).contains(&name.len()) && !name.chars().any(char::is_control) {
        return Ok(Principal::new(&name));
    }
    let at = entry.at;
    Err(format!("{at}.principal is not 1 to {PRINCIPAL_BYTES_MAX} bytes without control characters"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "ERERERERERERERERERERERERERERERERERERERERERE";

    fn auth(text: &str) -> Result<(), String> {
        serde_json::from_str::<Auth>(text).map_err(|e| e.to_string())?.check()
    }

    #[test]
    fn wrong_members_are_named_with_what_is_expected() {
        let key = |more: &str| format!(r#"{{"keys":[{{"id":"k1","principal":"p",{more}}}]}}"#);
        let secret = format!(r#""secret":"{SECRET}""#);
        for (name, text, want) in [
            ("short secret", key(r#""secret":"abc""#), "auth.keys[0].secret is not 32 bytes"),
            ("padded secret", key(&format!(r#""secret":"{SECRET}=""#)), "auth.keys[0].secret"),
            ("id", format!(r#"{{"keys":[{{"id":"a b","principal":"p",{secret}}}]}}"#), "auth.keys[0].id"),
            (
                "principal",
                format!(r#"{{"keys":[{{"id":"a","principal":"",{secret}}}]}}"#),
                "auth.keys[0].principal",
            ),
            ("life", key(&format!(r#"{secret},"notBefore":2,"notAfter":1"#)), "auth.keys[0].notBefore"),
            ("unknown", key(&format!(r#"{secret},"notafter":1"#)), "auth.keys[0] has a member"),
            ("missing", r#"{"keys":[{"id":"a","principal":"p"}]}"#.into(), "auth.keys[0].secret is missing"),
            ("twice", key(&format!("{secret},{secret}")), "auth.keys[0] has secret twice"),
            ("number", key(&format!(r#"{secret},"notBefore":-1"#)), "auth.keys[0].notBefore is not"),
            (
                "two of one id",
                format!(
                    r#"{{"keys":[{{"id":"a","principal":"p",{secret}}},{{"id":"a","principal":"p",{secret}}}]}}"#
                ),
                "two keys have the id a",
            ),
            (
                "token",
                r#"{"bearerTokens":[{"token":"a b","principal":"p"}]}"#.into(),
                "auth.bearerTokens[0].token",
            ),
            ("mode", r#"{"mode":"maybe"}"#.into(), "auth.mode is neither"),
            ("window", r#"{"windowMs":0}"#.into(), "auth.windowMs is 0"),
        ] {
            let error = auth(&text).unwrap_err();
            assert!(error.contains(want), "{name}: {error}");
            assert!(!error.contains(SECRET), "{name}: {error}");
        }
        assert_eq!(auth(&key(&secret)), Ok(()));
    }

    #[test]
    fn secrets_are_not_printed() {
        let text = format!(
            r#"{{"keys":[{{"id":"k1","secret":"{SECRET}","principal":"p"}}],
                "bearerTokens":[{{"token":"HUSH","principal":"p"}}]}}"#
        );
        let auth: Auth = serde_json::from_str(&text).unwrap();
        let all = format!("{auth:?} {:?}", auth.keyring());
        assert!(!all.contains("HUSH") && !all.contains(SECRET) && all.contains("k1"), "{all}");
    }
}
