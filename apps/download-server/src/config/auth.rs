//! `auth` of the configuration: who may come in, and by what.

use serde::Deserialize;
use spandrel_crypto::{SecretKey, Token};
use spandrel_download_service::{AuthMode, Bearer, Key, KeyId, Keyring, Principal};

/// Largest `notAfter`, 2^53 - 1: a key of that age never ends.
const NEVER_MS: u64 = (1 << 53) - 1;
/// Bytes of the longest name of a principal.
const PRINCIPAL_BYTES_MAX: usize = 128;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Auth {
    #[serde(default)]
    mode: Mode,
    pub(crate) window_ms: Option<u64>,
    #[serde(default)]
    keys: Vec<ConfiguredKey>,
    #[serde(default)]
    bearer_tokens: Vec<BearerToken>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    #[default]
    None,
    Required,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ConfiguredKey {
    id: String,
    secret: String,
    principal: String,
    #[serde(default)]
    not_before: u64,
    #[serde(default = "never")]
    not_after: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BearerToken {
    token: String,
    principal: String,
}

// Secrets stay out of logs.
impl std::fmt::Debug for ConfiguredKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key({})", self.id)
    }
}

impl std::fmt::Debug for BearerToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BearerToken({})", self.principal)
    }
}

const fn never() -> u64 {
    NEVER_MS
}

impl Auth {
    pub(crate) fn is_required(&self) -> bool {
        self.mode == Mode::Required
    }

    pub(crate) fn has_secrets(&self) -> bool {
        !self.keys.is_empty() || !self.bearer_tokens.is_empty()
    }

    /// What is configured, as the service takes it.
    pub(crate) fn keyring(&self) -> Result<Keyring, String> {
        let mode = if self.is_required() { AuthMode::Required } else { AuthMode::None };
        let (keys, tokens) = self.credentials()?;
        Keyring::new(mode, keys, tokens).map_err(|e| format!("auth: {e}"))
    }

    /// Takes the keys and tokens over into a ring that is in use; its mode stays.
    pub(crate) fn replace(&self, ring: &Keyring) -> Result<(), String> {
        let (keys, tokens) = self.credentials()?;
        ring.replace(keys, tokens).map_err(|e| format!("auth: {e}"))
    }

    fn credentials(&self) -> Result<(Vec<Key>, Vec<Bearer>), String> {
        let keys = self.keys.iter().enumerate().map(|(n, key)| key.read(n)).collect::<Result<_, _>>()?;
        let tokens = self.bearer_tokens.iter().enumerate().map(|(n, token)| token.read(n));
        Ok((keys, tokens.collect::<Result<_, _>>()?))
    }

    pub(super) fn check(&self) -> Result<(), String> {
        if self.is_required() && !self.has_secrets() {
            return Err(
                "auth.mode is \"required\" but there are neither auth.keys nor auth.bearerTokens, so \
                        that nobody could come in"
                    .into(),
            );
        }
        if self.window_ms == Some(0) {
            return Err(
                "auth.windowMs is 0, with which no signature would be in time; it is at least 1".into()
            );
        }
        self.keyring().map(|_| ())
    }
}

impl ConfiguredKey {
    fn read(&self, n: usize) -> Result<Key, String> {
        let wrong = |what: &str| Err(format!("auth.keys[{n}].{what}"));
        let Ok(id) = KeyId::new(&self.id) else {
            return wrong("id is not 1 to 32 characters of A-Z a-z 0-9 _ -");
        };
        let Ok(secret) = SecretKey::from_base64url(&self.secret) else {
            return wrong(
                "secret is not 32 bytes as base64url: 43 characters of A-Z a-z 0-9 _ - without padding",
            );
        };
        if self.not_before > self.not_after || self.not_after > NEVER_MS {
            return wrong("notBefore and notAfter are not milliseconds since 1970, one not after the other");
        }
        let principal = principal(&self.principal).map_err(|e| format!("auth.keys[{n}].{e}"))?;
        let end_ms = if self.not_after == NEVER_MS { u64::MAX } else { self.not_after };
        Ok(Key::new(id, secret, principal).with_life(self.not_before, end_ms))
    }
}

impl BearerToken {
    fn read(&self, n: usize) -> Result<Bearer, String> {
        let token = Token::new(self.token.as_str()).map_err(|_| {
            format!("auth.bearerTokens[{n}].token is not 1 to 4096 characters of A-Z a-z 0-9 - . _ ~ + /")
        })?;
        let principal = principal(&self.principal).map_err(|e| format!("auth.bearerTokens[{n}].{e}"))?;
        Ok(Bearer::new(&token, principal))
    }
}

fn principal(name: &str) -> Result<Principal, String> {
    if (1..=PRINCIPAL_BYTES_MAX).contains(&name.len()) && !name.chars().any(char::is_control) {
        return Ok(Principal::new(name));
    }
    Err(format!("principal is not 1 to {PRINCIPAL_BYTES_MAX} bytes without control characters"))
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
            ("unknown", key(&format!(r#"{secret},"notafter":1"#)), "notafter"),
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
            ("nobody", r#"{"mode":"required"}"#.into(), "nobody could come in"),
            ("mode", r#"{"mode":"maybe"}"#.into(), "maybe"),
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
