//! libsecp256k1.

use secp256k1::{Message, PublicKey, ecdsa};

use super::{SignatureCheck, Verifier};

/// Checks with libsecp256k1.
#[derive(Debug, Clone, Copy, Default)]
pub struct SecpVerifier;

impl Verifier for SecpVerifier {
    fn is_valid(&self, check: &SignatureCheck) -> bool {
        let Ok(mut signature) = ecdsa::Signature::from_compact(&check.signature) else { return false };
        // The library takes low s only; this ledger takes both.
        signature.normalize_s();
        let Ok(key) = PublicKey::from_byte_array_compressed(*check.key.as_bytes()) else { return false };
        ecdsa::verify(&signature, Message::from_digest(check.message), &key).is_ok()
    }
}
