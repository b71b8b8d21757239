//! What the layers cost beside the bare primitives, on a message of 1 KiB, there and back.
//!
//! Run: `cargo bench -p spandrel-session --bench layers`. Read the medians as ratios within one run: `seal::layers`
//! against `seal::bare`, `sign::layers` against `sign::bare`. "There and back" is one `outbound` and one `inbound` (with
//! `verify` where signed); bare is the primitive twice, in place, on a buffer that is already there.

use aes_gcm::{
    Aes256Gcm, KeyInit as _, Nonce,
    aead::{AeadInOut as _, inout::InOutBuf},
};
use divan::{Bencher, black_box, counter::BytesCount};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use spandrel_crypto::SecretKey;
use spandrel_session::{
    Entropy, Freshness, KeyId, Layers, LayersConfig, Millis, ReplayCache, ReplayLimits, SealKeys, Sealing,
    Side, Signer, Signing, WallMillis, signing_key,
};

fn main() {
    divan::Divan::default().sample_count(2000).config_with_args().main();
}

const WALL: WallMillis = WallMillis::new(1_710_000_000_000);

/// A progress batch of 1 KiB, as the server sends it once a second.
fn message() -> String {
    let mut text = String::from(r#"{"event":"download:progress","data":["#);
    for n in 0.. {
        let entry = format!(
            r#"{{"requestId":"r-{n}","progress":{}.25,"processedRows":{},"downloadId":"dl_{n:022}","state":"generating"}},"#,
            n * 7 % 100,
            n * 12_345
        );
        if text.len() + entry.len() > 940 {
            break;
        }
        text.push_str(&entry);
    }
    let tail = r#"],"timestamp":1710000000000,"requestId":"srv-1","x-fill":"#;
    let fill = 1024 - text.len() - tail.len() - 3;
    text.pop();
    format!("{text}{tail}\"{}\"}}", "x".repeat(fill + 1))
}

/// Client and server of one connection.
fn pair(deflates: bool, seals: bool, signs: bool) -> (Layers, Layers) {
    let secret = SecretKey::from_bytes([0x11; 32]);
    let kid = KeyId::new("k1").expect("a key id");
    let layers = |side| {
        let mut config = LayersConfig::new(side);
        config.deflates = deflates;
        config.sealed_messages_max = u64::MAX;
        if seals {
            config.sealing = Sealing::Keys(SealKeys::derive(&secret, &[1; 16], &[2; 16]));
        }
        config.signer =
            signs.then(|| Signer { kid: kid.clone(), key: signing_key(&secret), mode: Signing::Required });
        Layers::new(config)
    };
    (layers(Side::Client), layers(Side::Server))
}

/// One message there and back.
fn there_and_back(bencher: Bencher<'_, '_>, (mut client, mut server): (Layers, Layers)) {
    let text = message();
    assert_eq!(text.len(), 1024);
    let mut cache = ReplayCache::new(ReplayLimits::default());
    let mut n = 0_u128;
    bencher.counter(BytesCount::of_str(&text)).with_inputs(|| text.clone()).bench_local_values(|text| {
        n += 1;
        let entropy = || Entropy { nonce: n.to_le_bytes(), iv: [7; 12] };
        let now = Millis::new(u64::try_from(n / 16).unwrap_or(0));
        let frame = client.outbound(text, WALL, entropy).expect("within the limits");
        let text = server.inbound(&frame).expect("as it was sent");
        let admit = |kid: &KeyId, nonce: &[u8; 16], _: u64| cache.admit(now, kid, nonce);
        server.verify(&text, WALL, &Freshness::default(), admit).expect("well signed");
        black_box(text.len())
    });
}

#[divan::bench_group]
mod seal {
    use super::*;

    #[divan::bench]
    fn bare(bencher: Bencher<'_, '_>) {
        let key = Aes256Gcm::new(&[0x11; 32].into());
        let mut buffer = message().into_bytes();
        bencher.counter(BytesCount::of_slice(&buffer)).bench_local(|| {
            let (nonce, aad) = (Nonce::from([7; 12]), [0; 33]);
            let tag = key
                .encrypt_inout_detached(&nonce, &aad, InOutBuf::from(&mut buffer[..]))
                .expect("short enough");
            key.decrypt_inout_detached(&nonce, &aad, InOutBuf::from(&mut buffer[..]), &tag)
                .expect("as sealed");
        });
    }

    #[divan::bench]
    fn layers(bencher: Bencher<'_, '_>) {
        there_and_back(bencher, pair(false, true, false));
    }
}

#[divan::bench_group]
mod sign {
    use super::*;

    #[divan::bench]
    fn bare(bencher: Bencher<'_, '_>) {
        let key = signing_key(&SecretKey::from_bytes([0x11; 32]));
        let text = message();
        bencher.counter(BytesCount::of_str(&text)).bench_local(|| {
            let mac =
                || Hmac::<Sha256>::new_from_slice(key.expose()).expect("any length").chain_update(&text);
            let tag = mac().finalize().into_bytes();
            mac().verify(&tag).expect("the same text");
        });
    }

    #[divan::bench]
    fn layers(bencher: Bencher<'_, '_>) {
        there_and_back(bencher, pair(false, false, true));
    }
}

#[divan::bench_group]
mod replay {
    use super::*;

    /// One nonce into a cache that holds half a million, as at 8,000 messages a second.
    #[divan::bench]
    fn admit(bencher: Bencher<'_, '_>) {
        let (kid, mut cache) =
            (KeyId::new("k1").expect("a key id"), ReplayCache::new(ReplayLimits::default()));
        let mut n = 0_u128;
        let mut admit = || {
            n += 1;
            let now = Millis::new(u64::try_from(n / 8).unwrap_or(0));
            cache.admit(now, &kid, &n.to_le_bytes()).expect("never seen")
        };
        (0..500_000).for_each(|_| admit());
        bencher.bench_local(admit);
    }
}

#[divan::bench_group]
mod stack {
    use super::*;

    #[divan::bench]
    fn plain(bencher: Bencher<'_, '_>) {
        there_and_back(bencher, pair(false, false, false));
    }

    #[divan::bench]
    fn deflated(bencher: Bencher<'_, '_>) {
        there_and_back(bencher, pair(true, false, false));
    }

    #[divan::bench]
    fn signed_and_sealed(bencher: Bencher<'_, '_>) {
        there_and_back(bencher, pair(false, true, true));
    }

    #[divan::bench]
    fn signed_deflated_and_sealed(bencher: Bencher<'_, '_>) {
        there_and_back(bencher, pair(true, true, true));
    }
}
