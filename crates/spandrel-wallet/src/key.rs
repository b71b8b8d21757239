//! A private key: signs receipts, never shows itself.

use std::fmt;

use spandrel_chain_protocol::{Account, Amount, PublicKey, Receipt, ReceiptNonce};
use spandrel_consensus::write_der;
use zeroize::{Zeroize as _, Zeroizing};

use crate::curve;

/// Bytes of a private key.
pub const KEY_BYTES: usize = 32;

/// The text is no private key, or the number has no place on the curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "no private key: 64 lower-case hexadecimal digits of a number from 1 to the order of the curve - 1 expected"
)]
pub struct KeyError;

/// A private key on secp256k1, wiped from memory on drop.
///
/// `Debug` names the account only, there is no `Display`, and the only way to the bytes is [`expose`](Self::expose).
#[derive(Clone)]
pub struct PrivateKey {
    secret: [u8; KEY_BYTES],
    public: PublicKey,
}

impl PrivateKey {
    /// Takes 32 bytes: a key somebody has, or random ones for a new key. The caller's copy is not wiped.
    ///
    /// # Errors
    ///
    /// [`KeyError`] for zero and for numbers over the order of the curve. Random bytes never are; draw again then.
    pub fn from_bytes(secret: &[u8; KEY_BYTES]) -> Result<Self, KeyError> {
        let public = curve::public_key(secret).ok_or(KeyError)?;
        Ok(Self { secret: *secret, public })
    }

    /// Reads the 64 digits that other programs keep a key in.
    ///
    /// # Errors
    ///
    /// [`KeyError`]; it never repeats what it was given.
    pub fn from_hex(text: &str) -> Result<Self, KeyError> {
        let digits = text.as_bytes();
        if digits.len() != 2 * KEY_BYTES {
            return Err(KeyError);
        }
        let mut secret = Zeroizing::new([0; KEY_BYTES]);
        for (byte, two) in secret.iter_mut().zip(digits.chunks_exact(2)) {
            for digit in two {
                let value = match digit {
                    b'0'..=b'9' => digit - b'0',
                    b'a'..=b'f' => digit - b'a' + 10,
                    _ => return Err(KeyError),
                };
                *byte = *byte << 4 | value;
            }
        }
        Self::from_bytes(&secret)
    }

    /// The key everybody may know.
    #[must_use]
    pub const fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// The account that this key owns.
    #[must_use]
    pub fn account(&self) -> Account {
        self.public.account()
    }

    /// Signs a payment: RFC 6979, so that equal payments have equal signatures, with s in the lower half.
    #[must_use]
    pub fn sign(&self, received: Account, amount: Amount, nonce: Option<ReceiptNonce>) -> Receipt {
        let message = Receipt::message(&self.public, &received, amount, nonce.as_ref());
        let signature = write_der(&curve::sign(&self.secret, message));
        Receipt {
            account: self.account(),
            public_key: self.public,
            received,
            amount,
            signature,
            nonce,
            extra: Box::default(),
        }
    }

    /// The secret bytes, for a file that keeps them sealed. Never for a log.
    #[must_use]
    pub const fn expose(&self) -> &[u8; KEY_BYTES] {
        &self.secret
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey(of {})", self.account())
    }
}

impl Drop for PrivateKey {
    fn drop(&mut self) {
        self.secret.zeroize();
    }
}
