//! Keys in a file: a JSON object, the keys in it sealed under a password.
//!
//! ```text
//! {"format":"spandrel-keystore","version":1,
//!  "kdf":{"name":"argon2id","memoryKib":65536,"passes":3,"lanes":1,"salt":"<32 digits>"},
//!  "passwordCheck":"<32 digits>","iv":"<24 digits>","sealed":"<digits>","checksum":"<64 digits>"}
//! ```
//!
//! Argon2id (RFC 9106) of the password and `salt` gives 32 bytes; HKDF of those gives the sealing key (info `seal`) and,
//! cut to 16 bytes, `passwordCheck` (info `check`). `sealed` is AES-256-GCM of the keys, its tag last, bound to
//! everything before `iv`. `checksum` is SHA-256 of the text of all other members in this order: with it a damaged file
//! and a wrong password are told apart. Sealed are, one after the other: 32 bytes of key, one of the label's length, the
//! label.

use std::fmt;

use argon2::{Algorithm, Argon2, Params, Version};
use serde::{Deserialize, Serialize};
use spandrel_chain_protocol::Account;
use spandrel_crypto::{IV_LEN, SEAL_TAG_LEN, SealKey, SecretKey, derive, hex, sha256};
use zeroize::Zeroizing;

use crate::key::KEY_BYTES;
use crate::{Limits, PrivateKey};

const FORMAT: &str = "spandrel-keystore";
const VERSION: u32 = 1;
const ARGON2ID: &str = "argon2id";

/// Bytes of a salt.
pub const SALT_BYTES: usize = 16;

const CHECK_BYTES: usize = 16;

/// A keystore cannot be opened or changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeystoreError {
    /// The text is no keystore of this program.
    #[error("not a keystore: {what}")]
    Form {
        /// What does not fit. Never holds any of the text.
        what: &'static str,
    },
    /// A newer program wrote it.
    #[error("keystore of version {version}, this program knows {VERSION}")]
    Newer {
        /// What the file says.
        version: u32,
    },
    /// The file was changed since it was written. Take the copy kept beside it.
    #[error("keystore is damaged")]
    Damaged,
    /// The password is another one.
    #[error("wrong password")]
    WrongPassword,
    /// Opening it would take more memory or time than allowed here.
    #[error("keystore asks for {what} over the limit")]
    TooCostly {
        /// What it asks too much of.
        what: &'static str,
    },
    /// The key is there already.
    #[error("key of {account} is in the keystore")]
    Known {
        /// Its account.
        account: Account,
    },
    /// There are as many keys as there may be.
    #[error("keystore is full with {max} keys")]
    Full {
        /// The most there may be.
        max: usize,
    },
    /// The label is too long.
    #[error("label of {len} bytes is over the limit of {max}")]
    Label {
        /// Its bytes.
        len: usize,
        /// The most it may have.
        max: usize,
    },
}

/// What it takes to try one password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Memory, in KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
    /// Lanes, which this implementation runs one after the other.
    pub lanes: u32,
}

impl Default for Cost {
    /// 64 MiB and three passes, the second choice of RFC 9106 with one lane: about a third of a second.
    fn default() -> Self {
        Self { memory_kib: 64 << 10, passes: 3, lanes: 1 }
    }
}

/// A key with a name for people.
#[derive(Debug, Clone)]
pub struct NamedKey {
    /// The key.
    pub key: PrivateKey,
    /// A name, perhaps empty.
    pub label: String,
}

/// An open keystore. Keeps the password's derived secret, not the password, so that it can be sealed again quickly.
pub struct Keystore {
    keys: Vec<NamedKey>,
    kdf: Kdf,
    master: SecretKey,
    limits: Limits,
}

impl Keystore {
    /// Makes an empty keystore. The salt has to be random.
    ///
    /// # Errors
    ///
    /// [`KeystoreError::TooCostly`].
    pub fn create(
        password: &[u8],
        cost: Cost,
        salt: [u8; SALT_BYTES],
        limits: Limits,
    ) -> Result<Self, KeystoreError> {
        let kdf = Kdf {
            name: ARGON2ID.to_owned(),
            memory_kib: cost.memory_kib,
            passes: cost.passes,
            lanes: cost.lanes,
            salt: hex(&salt),
        };
        let master = kdf.derive(password, &salt, &limits)?;
        Ok(Self { keys: Vec::new(), kdf, master, limits })
    }

    /// Opens the text of a keystore.
    ///
    /// # Errors
    ///
    /// [`KeystoreError`]: another format, a damaged file and a wrong password are told apart.
    pub fn open(text: &str, password: &[u8], limits: Limits) -> Result<Self, KeystoreError> {
        if text.len() > limits.text_bytes_max {
            return Err(KeystoreError::TooCostly { what: "text" });
        }
        let file = File::parse(text)?;
        let salt: [u8; SALT_BYTES] =
            digits(&file.kdf.salt).and_then(|salt| salt.try_into().ok()).ok_or(KeystoreError::Damaged)?;
        let master = file.kdf.derive(password, &salt, &limits)?;
        if check_of(&master, &salt) != file.password_check {
            return Err(KeystoreError::WrongPassword);
        }
        let keys = file.unseal(&master, &salt, &limits)?;
        Ok(Self { keys, kdf: file.kdf, master, limits })
    }

    /// Writes the keystore. The vector has to be random, another one each time.
    ///
    /// # Errors
    ///
    /// None that a caller can bring about; the type leaves room.
    pub fn seal(&self, iv: [u8; IV_LEN]) -> Result<String, KeystoreError> {
        let salt = digits(&self.kdf.salt).ok_or(KeystoreError::Damaged)?;
        let mut file = File {
            format: FORMAT.to_owned(),
            version: VERSION,
            kdf: self.kdf.clone(),
            password_check: check_of(&self.master, &salt),
            iv: hex(&iv),
            sealed: String::new(),
            checksum: String::new(),
        };
        let mut plain = Zeroizing::new(Vec::with_capacity(self.plain_len()));
        for NamedKey { key, label } in &self.keys {
            plain.extend_from_slice(key.expose());
            plain.push(u8::try_from(label.len()).unwrap_or_default());
            plain.extend_from_slice(label.as_bytes());
        }
        let tag = seal_key(&self.master, &salt)
            .seal(&iv, &file.bound(), &mut plain)
            .map_err(|_| KeystoreError::Full { max: self.limits.keys_max })?;
        file.sealed = hex(&plain) + &hex(&tag);
        file.checksum = file.sum();
        serde_json::to_string(&file).map_err(|_| KeystoreError::Form { what: "it cannot be written" })
    }

    /// Takes another password from the next [`seal`](Self::seal) on. The salt has to be random.
    ///
    /// # Errors
    ///
    /// [`KeystoreError::TooCostly`]; the old password stays then.
    pub fn set_password(
        &mut self,
        password: &[u8],
        cost: Cost,
        salt: [u8; SALT_BYTES],
    ) -> Result<(), KeystoreError> {
        let fresh = Self::create(password, cost, salt, self.limits.clone())?;
        (self.kdf, self.master) = (fresh.kdf, fresh.master);
        Ok(())
    }

    /// Takes a key in.
    ///
    /// # Errors
    ///
    /// [`KeystoreError::Known`], [`KeystoreError::Full`] and [`KeystoreError::Label`].
    pub fn add(&mut self, key: PrivateKey, label: &str) -> Result<Account, KeystoreError> {
        let account = key.account();
        let max = self.limits.label_bytes_max.min(usize::from(u8::MAX));
        if label.len() > max {
            return Err(KeystoreError::Label { len: label.len(), max });
        }
        if self.get(&account).is_some() {
            return Err(KeystoreError::Known { account });
        }
        if self.keys.len() >= self.limits.keys_max {
            return Err(KeystoreError::Full { max: self.limits.keys_max });
        }
        self.keys.push(NamedKey { key, label: label.to_owned() });
        Ok(account)
    }

    /// The key of an account.
    #[must_use]
    pub fn get(&self, account: &Account) -> Option<&PrivateKey> {
        self.keys.iter().map(|named| &named.key).find(|key| key.account() == *account)
    }

    /// All keys, the oldest first.
    #[must_use]
    pub fn keys(&self) -> &[NamedKey] {
        &self.keys
    }

    fn plain_len(&self) -> usize {
        self.keys.iter().map(|named| KEY_BYTES + 1 + named.label.len()).sum()
    }
}

impl fmt::Debug for Keystore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keystore({} keys)", self.keys.len())
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Kdf {
    name: String,
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    salt: String,
}

impl Kdf {
    fn derive(&self, password: &[u8], salt: &[u8], limits: &Limits) -> Result<SecretKey, KeystoreError> {
        for (what, value, max) in [
            ("memory", self.memory_kib, limits.memory_kib_max),
            ("passes", self.passes, limits.passes_max),
            ("lanes", self.lanes, limits.lanes_max),
        ] {
            if value > max {
                return Err(KeystoreError::TooCostly { what });
            }
        }
        let form = |_| KeystoreError::Form { what: "costs that Argon2 does not allow" };
        let params = Params::new(self.memory_kib, self.passes, self.lanes, Some(KEY_BYTES)).map_err(form)?;
        let mut secret = Zeroizing::new([0; KEY_BYTES]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(password, salt, &mut *secret)
            .map_err(form)?;
        Ok(SecretKey::from_bytes(*secret))
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    format: String,
    version: u32,
    kdf: Kdf,
    password_check: String,
    iv: String,
    sealed: String,
    checksum: String,
}

/// What tells a keystore of any version.
#[derive(Deserialize)]
struct Head {
    format: String,
    version: u32,
}

impl File {
    fn parse(text: &str) -> Result<Self, KeystoreError> {
        let head: Head = serde_json::from_str(text)
            .map_err(|_| KeystoreError::Form { what: "no JSON object with format and version" })?;
        if head.format != FORMAT {
            return Err(KeystoreError::Form { what: "another format" });
        }
        if head.version > VERSION {
            return Err(KeystoreError::Newer { version: head.version });
        }
        let file: Self = serde_json::from_str(text).map_err(|_| KeystoreError::Damaged)?;
        if file.version != VERSION || file.kdf.name != ARGON2ID || file.checksum != file.sum() {
            return Err(KeystoreError::Damaged);
        }
        Ok(file)
    }

    /// The checksum that follows from the other members.
    fn sum(&self) -> String {
        let bare = Self { checksum: String::new(), ..self.clone() };
        hex(&sha256(serde_json::to_string(&bare).unwrap_or_default().as_bytes()))
    }

    /// What the sealed part is bound to.
    fn bound(&self) -> Vec<u8> {
        let bare = Self { iv: String::new(), sealed: String::new(), checksum: String::new(), ..self.clone() };
        serde_json::to_vec(&bare).unwrap_or_default()
    }

    fn unseal(
        &self,
        master: &SecretKey,
        salt: &[u8],
        limits: &Limits,
    ) -> Result<Vec<NamedKey>, KeystoreError> {
        let iv: [u8; IV_LEN] =
            digits(&self.iv).and_then(|iv| iv.try_into().ok()).ok_or(KeystoreError::Damaged)?;
        let mut plain = Zeroizing::new(digits(&self.sealed).ok_or(KeystoreError::Damaged)?);
        let at = plain.len().checked_sub(SEAL_TAG_LEN).ok_or(KeystoreError::Damaged)?;
        let tag: [u8; SEAL_TAG_LEN] =
            plain.get(at..).and_then(|tag| tag.try_into().ok()).ok_or(KeystoreError::Damaged)?;
        plain.truncate(at);
        seal_key(master, salt)
            .open(&iv, &self.bound(), &mut plain, &tag)
            .map_err(|_| KeystoreError::Damaged)?;
        let (mut keys, mut rest) = (Vec::new(), plain.as_slice());
        while !rest.is_empty() {
            if keys.len() >= limits.keys_max {
                return Err(KeystoreError::Full { max: limits.keys_max });
            }
            let (named, tail) = read_key(rest).ok_or(KeystoreError::Damaged)?;
            keys.push(named);
            rest = tail;
        }
        Ok(keys)
    }
}

fn read_key(text: &[u8]) -> Option<(NamedKey, &[u8])> {
    let (secret, rest) = text.split_first_chunk::<KEY_BYTES>()?;
    let (len, rest) = rest.split_first()?;
    let (label, rest) = rest.split_at_checked(usize::from(*len))?;
    let label = std::str::from_utf8(label).ok()?.to_owned();
    Some((NamedKey { key: PrivateKey::from_bytes(secret).ok()?, label }, rest))
}

fn seal_key(master: &SecretKey, salt: &[u8]) -> SealKey {
    SealKey::new(&derive(master, salt, b"seal"))
}

fn check_of(master: &SecretKey, salt: &[u8]) -> String {
    let check = derive(master, salt, b"check");
    hex(check.expose().first_chunk::<CHECK_BYTES>().unwrap_or(&[0; CHECK_BYTES]))
}

fn digits(text: &str) -> Option<Vec<u8>> {
    let nibble = |digit: &u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    if !text.len().is_multiple_of(2) {
        return None;
    }
    text.as_bytes()
        .chunks_exact(2)
        .map(|two| match two {
            [high, low] => Some(nibble(high)? << 4 | nibble(low)?),
            _ => None,
        })
        .collect()
}
