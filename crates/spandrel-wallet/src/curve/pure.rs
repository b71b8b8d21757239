//! Pure Rust.

use k256::ecdsa::signature::hazmat::PrehashSigner as _;
use k256::ecdsa::{Signature, SigningKey};
use spandrel_chain_protocol::PublicKey;

pub(crate) fn public_key(secret: &[u8; 32]) -> Option<PublicKey> {
    let key = SigningKey::from_slice(secret).ok()?;
    let point = key.verifying_key().to_sec1_point(true);
    Some(PublicKey::from_bytes(point.as_bytes().try_into().ok()?))
}

/// Signs 32 bytes with a key that is in range.
pub(crate) fn sign(secret: &[u8; 32], message: [u8; 32]) -> [u8; 64] {
    let key = SigningKey::from_slice(secret).expect("a PrivateKey is in range");
    let signature: Signature = key.sign_prehash(&message).expect("32 bytes are a digest");
    signature.normalize_s().to_bytes().into()
}
