//! libsecp256k1.

use secp256k1::{Message, PublicKey as CurveKey, SecretKey, ecdsa};
use spandrel_chain_protocol::PublicKey;

pub(crate) fn public_key(secret: &[u8; 32]) -> Option<PublicKey> {
    let mut key = SecretKey::from_secret_bytes(*secret).ok()?;
    let public = CurveKey::from_secret_key(&key).serialize();
    key.non_secure_erase();
    Some(PublicKey::from_bytes(public))
}

/// Signs 32 bytes with a key that is in range.
pub(crate) fn sign(secret: &[u8; 32], message: [u8; 32]) -> [u8; 64] {
    let mut key = SecretKey::from_secret_bytes(*secret).expect("a PrivateKey is in range");
    let signature = ecdsa::sign(Message::from_digest(message), &key).serialize_compact();
    key.non_secure_erase();
    signature
}
