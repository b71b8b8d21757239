//! Derives a key from a secret, signs a text and verifies it: `cargo run --example sign_and_verify`.
#![expect(clippy::print_stdout, reason = "an example shows its result")]

use spandrel_crypto::{CryptoError, SecretKey, Token, derive, encode_base64url, sign, verify};

fn main() -> Result<(), CryptoError> {
    let secret = SecretKey::from_base64url("REREREREREREREREREREREREREREREREREREREREREQ")?;
    let key = derive(&secret, b"example.v1", b"sign");
    println!("keys never print: {secret:?}");

    let tag = sign(&key, &[b"order", b"\n", b"42"]);
    println!("tag: {}", encode_base64url(&tag));
    verify(&key, &[b"order\n42"], &tag)?;
    println!("another input refused: {}", verify(&key, &[b"order\n43"], &tag).is_err());

    let (ours, theirs) = (Token::new("s3cret")?, Token::from_authorization("Bearer s3cret"));
    println!("token accepted: {}", theirs == Some(ours));
    Ok(())
}
