//! Signed URLs: a path that may be fetched until a time, without further credentials.

use spandrel_crypto::{SecretKey, decode_base64url, derive, encode_base64url, sign, verify};

/// A signed URL does not open its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// The signature is not ours for this path and time, or a part is missing, doubled or misspelt.
    #[error("signature of the url is missing or wrong; ask for a fresh url")]
    Invalid,
    /// Ours, but its time is over. A fresh one helps.
    #[error("url has expired; ask for a fresh url")]
    Expired,
}

/// Signs and checks URLs of the form `{path}?exp={unix seconds}&sig={base64url}`.
///
/// The signature is HMAC-SHA256 over `GET`, LF, the path as sent (not decoded), LF, the digits of `exp`. It
/// covers HEAD too. `Debug` prints no key.
#[derive(Debug, Clone)]
pub struct UrlSigner {
    key: SecretKey,
}

impl UrlSigner {
    /// Derives the signing key from the server's secret; `label` names the protocol (salt `label`, info `url`).
    #[must_use]
    pub fn new(server_secret: &SecretKey, label: &str) -> Self {
        Self { key: derive(server_secret, label.as_bytes(), b"url") }
    }

    /// Gives the query, without `?`, that opens `path` up to and including `exp_unix_s`.
    #[must_use]
    pub fn sign(&self, path: &str, exp_unix_s: u64) -> String {
        let exp = exp_unix_s.to_string();
        let sig = encode_base64url(&sign(&self.key, &parts(path, &exp)));
        format!("exp={exp}&sig={sig}")
    }

    /// Whether a request came with a signed URL at all: then it is judged by that, not by other credentials.
    #[must_use]
    pub fn is_signed(query: Option<&str>) -> bool {
        query.is_some_and(|query| members(query).any(|(name, _)| name == "sig" || name == "exp"))
    }

    /// Checks the query of a request for `path` (as sent, not decoded) at `now_unix_s`, in constant time.
    /// Parameters other than `exp` and `sig` are not looked at and not covered.
    ///
    /// # Errors
    ///
    /// [`UrlError::Invalid`] unless `exp` (digits without leading zero) and `sig` are there once each and
    /// belong together; then [`UrlError::Expired`] after `exp`.
    pub fn check(&self, path: &str, query: &str, now_unix_s: u64) -> Result<(), UrlError> {
        let exp = only(query, "exp")?;
        let sig = decode_base64url(only(query, "sig")?).map_err(|_| UrlError::Invalid)?;
        let exp_unix_s = exp.parse::<u64>().map_err(|_| UrlError::Invalid)?;
        if exp_unix_s.to_string() != exp {
            return Err(UrlError::Invalid);
        }
        verify(&self.key, &parts(path, exp), &sig).map_err(|_| UrlError::Invalid)?;
        if now_unix_s > exp_unix_s { Err(UrlError::Expired) } else { Ok(()) }
    }
}

const fn parts<'a>(path: &'a str, exp: &'a str) -> [&'a [u8]; 4] {
    [b"GET\n", path.as_bytes(), b"\n", exp.as_bytes()]
}

fn members(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query.split('&').map(|member| member.split_once('=').unwrap_or((member, "")))
}

fn only<'a>(query: &'a str, name: &str) -> Result<&'a str, UrlError> {
    let mut found = members(query).filter(|(n, _)| *n == name).map(|(_, value)| value);
    match (found.next(), found.next()) {
        (Some(value), None) => Ok(value),
        _ => Err(UrlError::Invalid),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PATH: &str =
        "/v1/files/dl_AAAAAAAAAAAAAAAAAAAAAA/logs_20240301T000000Z_20240302T000000Z-part00001.csv";
    const SIG: &str = "qVubVokqPglbcYG-TG_GfOc5CkwJe2o9yDiJmUNIi8c";
    const EXP: u64 = 1_710_000_900;

    fn signer() -> UrlSigner {
        UrlSigner::new(&SecretKey::from_bytes([0x44; 32]), "spandrel.download.v1")
    }

    #[test]
    fn the_golden_url_is_made_and_accepted() {
        let query = format!("exp={EXP}&sig={SIG}");
        assert_eq!(signer().sign(PATH, EXP), query);
        for (now, want) in [
            (0, Ok(())),
            (EXP, Ok(())),
            (EXP + 1, Err(UrlError::Expired)),
            (u64::MAX, Err(UrlError::Expired)),
        ] {
            assert_eq!(signer().check(PATH, &query, now), want, "at {now}");
        }
        assert_eq!(signer().check(PATH, &format!("sig={SIG}&exp={EXP}&x"), EXP), Ok(()), "any order");
        assert!(!format!("{:?}", signer()).contains("63"), "no key in Debug");
    }

    #[test]
    fn whatever_is_changed_is_invalid_also_when_late() {
        let (part2, upper) = (PATH.replace("00001", "00002"), SIG.to_uppercase());
        for (name, path, query) in [
            ("other path", part2.as_str(), format!("exp={EXP}&sig={SIG}")),
            ("longer path", &format!("{PATH}/"), format!("exp={EXP}&sig={SIG}")),
            ("encoded path", &PATH.replace('_', "%5F"), format!("exp={EXP}&sig={SIG}")),
            ("longer life", PATH, format!("exp={}&sig={SIG}", EXP + 1)),
            ("leading zero", PATH, format!("exp=0{EXP}&sig={SIG}")),
            ("plus sign", PATH, format!("exp=+{EXP}&sig={SIG}")),
            ("fraction", PATH, format!("exp={EXP}.0&sig={SIG}")),
            ("past 64 bits", PATH, format!("exp=99999999999999999999&sig={SIG}")),
            ("no exp", PATH, format!("sig={SIG}")),
            ("no sig", PATH, format!("exp={EXP}")),
            ("empty sig", PATH, format!("exp={EXP}&sig=")),
            ("nothing", PATH, String::new()),
            ("two exps", PATH, format!("exp={EXP}&exp={EXP}&sig={SIG}")),
            ("two sigs", PATH, format!("exp={EXP}&sig={SIG}&sig={SIG}")),
            ("padded", PATH, format!("exp={EXP}&sig={SIG}=")),
            ("upper case", PATH, format!("exp={EXP}&sig={upper}")),
            ("cut off", PATH, format!("exp={EXP}&sig={}", &SIG[..40])),
            ("encoded sig", PATH, format!("exp={EXP}&sig={}", SIG.replace('-', "%2D"))),
            ("other name", PATH, format!("exp={EXP}&Sig={SIG}")),
        ] {
            for now in [0, EXP + 1] {
                assert_eq!(signer().check(path, &query, now), Err(UrlError::Invalid), "{name} at {now}");
            }
        }
        let other = UrlSigner::new(&SecretKey::from_bytes([0x45; 32]), "spandrel.download.v1");
        assert_eq!(other.check(PATH, &format!("exp={EXP}&sig={SIG}"), 0), Err(UrlError::Invalid));
    }

    #[test]
    fn a_request_says_whether_it_is_signed() {
        for (query, want) in [
            (None, false),
            (Some(""), false),
            (Some("wait=5"), false),
            (Some("signature=1"), false),
            (Some("sig"), true),
            (Some("exp=1"), true),
            (Some("a=b&sig=x"), true),
        ] {
            assert_eq!(UrlSigner::is_signed(query), want, "{query:?}");
        }
    }

    proptest! {
        /// What is signed opens its own path until its time, and no later.
        #[test]
        fn prop_signed_until_expired(path in "/[a-z0-9/._-]{0,30}", exp in any::<u64>(), now in any::<u64>()) {
            let want = if now > exp { Err(UrlError::Expired) } else { Ok(()) };
            prop_assert_eq!(signer().check(&path, &signer().sign(&path, exp), now), want);
        }
    }
}
