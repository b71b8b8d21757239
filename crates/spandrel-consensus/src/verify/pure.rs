//! Pure Rust.

use k256::ecdsa::signature::hazmat::PrehashVerifier as _;
use k256::ecdsa::{Signature, VerifyingKey};

use super::{SignatureCheck, Verifier};

/// Checks without a C library, in about twice the time.
#[derive(Debug, Clone, Copy, Default)]
pub struct PureVerifier;

impl Verifier for PureVerifier {
    fn is_valid(&self, check: &SignatureCheck) -> bool {
        let Ok(signature) = Signature::from_slice(&check.signature) else { return false };
        // The library takes low s only; this ledger takes both.
        let signature = signature.normalize_s();
        let Ok(key) = VerifyingKey::from_sec1_bytes(check.key.as_bytes()) else { return false };
        key.verify_prehash(&check.message, &signature).is_ok()
    }
}
