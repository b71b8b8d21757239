//! Both sides of a sealed, signed and deflated session, and what a meddler on the way gets.
//!
//! Run: `cargo run -p spandrel-session --example sealed`

#![expect(clippy::print_stdout, reason = "an example shows its result")]

use std::error::Error;

use spandrel_crypto::SecretKey;
use spandrel_session::{
    Entropy, Frame, Freshness, KeyId, Layers, LayersConfig, Millis, ReplayCache, ReplayLimits, SealKeys,
    Sealing, Side, Signer, Signing, WallMillis, signing_key,
};

// A driver reads its clocks and the system's random generator; an example has fixed ones.
const NOW: Millis = Millis::new(0);
const CLOCK: WallMillis = WallMillis::new(1_710_000_000_000);
const CLIENT_NONCE: [u8; 16] = [1; 16]; // `cn` of the URL
const SERVER_NONCE: [u8; 16] = [2; 16]; // `serverNonce` of the hello

fn config(side: Side, secret: &SecretKey) -> Result<LayersConfig, Box<dyn Error>> {
    let mut config = LayersConfig::new(side);
    config.deflates = true;
    config.signer =
        Some(Signer { kid: KeyId::new("k1")?, key: signing_key(secret), mode: Signing::Required });
    config.sealing = match side {
        Side::Server => Sealing::Keys(SealKeys::derive(secret, &CLIENT_NONCE, &SERVER_NONCE)),
        Side::Client => Sealing::AfterHello,
    };
    Ok(config)
}

fn main() -> Result<(), Box<dyn Error>> {
    let secret = SecretKey::from_base64url("ERERERERERERERERERERERERERERERERERERERERERE")?;
    let mut server = Layers::new(config(Side::Server, &secret)?);
    let mut client = Layers::new(config(Side::Client, &secret)?);
    let mut seen = ReplayCache::new(ReplayLimits::for_freshness(30_000));
    let mut count = 0;
    let mut entropy = || {
        count += 1;
        Entropy { nonce: [count; 16], iv: [count; 12] }
    };

    // The hello goes in the clear; then the client has both nonces, and so the keys.
    let hello = server.hello(r#"{"event":"connection:health"}"#.to_owned(), CLOCK, &mut entropy)?;
    println!("client reads {}", client.inbound(&hello)?);
    client.seal_with(SealKeys::derive(&secret, &CLIENT_NONCE, &SERVER_NONCE));

    let frame = client.outbound(r#"{"event":"status:check","data":{}}"#.to_owned(), CLOCK, &mut entropy)?;
    println!("on the wire {} bytes {:02x?}..", frame.len(), frame.data().slice(..16).to_vec());

    let text = server.inbound(&frame)?;
    server.verify(&text, CLOCK, &Freshness::default(), |kid, nonce, _| seen.admit(NOW, kid, nonce))?;
    println!("server reads {text}");

    let mut changed = frame.data().to_vec();
    changed.reverse();
    for (name, frame) in [("again", &frame), ("changed", &Frame::binary(changed))] {
        if let Err(refused) = server.inbound(frame) {
            println!("{name}: {refused}; close {}", refused.close());
        }
    }
    Ok(())
}
