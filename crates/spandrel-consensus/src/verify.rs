//! Signature checks behind a trait, so that rules compile without a curve.

#[cfg(feature = "k256")]
mod pure;
#[cfg(feature = "secp256k1")]
mod secp;

#[cfg(feature = "k256")]
pub use pure::PureVerifier;
#[cfg(feature = "secp256k1")]
pub use secp::SecpVerifier;
use spandrel_chain_protocol::PublicKey;

/// One ECDSA check on secp256k1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SignatureCheck {
    /// The 32 bytes that were signed; not hashed again.
    pub message: [u8; 32],
    /// The compressed key, perhaps not on the curve.
    pub key: PublicKey,
    /// r and s, perhaps out of range; s may be in either half.
    pub signature: [u8; 64],
}

/// Checks signatures. Every implementation gives the same answers: r and s from 1 to n - 1, s in either half, the key on
/// the curve.
pub trait Verifier {
    /// Does the signature fit?
    fn is_valid(&self, check: &SignatureCheck) -> bool;

    /// Checks many; an implementation may use several threads.
    ///
    /// # Errors
    ///
    /// The place of the first that does not fit.
    fn check_all(&self, checks: &[SignatureCheck]) -> Result<(), usize> {
        match checks.iter().position(|check| !self.is_valid(check)) {
            None => Ok(()),
            Some(at) => Err(at),
        }
    }
}

impl<V: Verifier + ?Sized> Verifier for &V {
    fn is_valid(&self, check: &SignatureCheck) -> bool {
        (**self).is_valid(check)
    }

    fn check_all(&self, checks: &[SignatureCheck]) -> Result<(), usize> {
        (**self).check_all(checks)
    }
}
