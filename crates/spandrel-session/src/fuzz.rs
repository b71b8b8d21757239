//! Entry points for the fuzz member; not part of the API.

use spandrel_crypto::SecretKey;
use spandrel_wire::{Frame, Millis, WallMillis};

use crate::{
    Direction, Freshness, KeyId, Layers, LayersConfig, ReplayCache, ReplayError, ReplayLimits, SealForm,
    SealKeys, Sealing, Side, Signer, Signing,
    secure::{Size, deflate, inflate, read_json, write_json},
    sign_message, signing_key, verify_message,
};

const SECRET: [u8; 32] = [0x11; 32];

fn kid() -> Option<KeyId> {
    KeyId::new("k1").ok()
}

/// Reads a foreign text as a signed message of key `k1` (secret 32 times 0x11), client to server. What verifies has to
/// be what signing its head again gives; nothing shorter or longer verifies.
pub fn fuzz_signed_tail(data: &[u8]) {
    let (Ok(text), Some(kid)) = (std::str::from_utf8(data), kid()) else { return };
    let key = signing_key(&SecretKey::from_bytes(SECRET));
    let to = Direction::ClientToServer;
    let Ok(signed) = verify_message(&key, &kid, to, text) else { return };
    let fresh = Freshness::default().check(WallMillis::new(1_710_000_000_000), signed.timestamp_ms);
    assert_eq!(fresh.is_ok(), signed.timestamp_ms.abs_diff(1_710_000_000_000) <= 30_000, "the window");
    assert!(verify_message(&key, &kid, Direction::ServerToClient, text).is_err(), "reflected");
    let longer = format!("{text} ");
    assert!(verify_message(&key, &kid, to, &longer).is_err(), "something behind");
    if signed.timestamp_ms <= WallMillis::MAX.get() {
        let at = WallMillis::new(signed.timestamp_ms);
        let again = sign_message(&key, &kid, to, &signed.nonce, at, format!("{}}}", signed.head));
        assert!(again.is_err() || again.as_deref() == Ok(text), "two spellings of one message");
    }
}

/// Takes bytes as a frame of a sealed session: the first bit says text or binary, the second whether the subprotocol
/// deflates. What a server opens it opens once; what the JSON form holds it says in one way.
pub fn fuzz_sealed_forms(data: &[u8]) {
    let Some((flags, rest)) = data.split_first() else { return };
    let mut config = LayersConfig::new(Side::Server);
    config.deflates = flags & 2 != 0;
    config.message_bytes_max = 1 << 16;
    config.sealing =
        Sealing::Keys(SealKeys::derive(&SecretKey::from_bytes(SECRET), &CLIENT_NONCE, &SERVER_NONCE));
    config.signer = kid().map(|kid| Signer {
        kid,
        key: signing_key(&SecretKey::from_bytes(SECRET)),
        mode: Signing::IfPeerDoes,
    });
    config.form = SealForm::Json;
    let mut server = Layers::new(config);
    let data = bytes::Bytes::copy_from_slice(rest);
    let frame = if flags & 1 == 0 { Frame::binary(data) } else { Frame::from_checked_text(data) };
    let opened = server.inbound(&frame).map(|text| text.len());
    assert!(opened.as_ref().is_ok_and(|len| *len <= 1 << 16) || opened.is_err(), "over the limit");
    assert!(server.inbound(&frame).is_err(), "a frame opens once");
    if let Some((text, iv, tag)) = std::str::from_utf8(rest).ok().and_then(read_json) {
        let again = write_json(&text, &iv, &tag);
        assert_eq!(read_json(&again), Some((text, iv, tag)), "written as read");
    }
}

/// The nonces of the golden sealed messages, so that those open.
const CLIENT_NONCE: [u8; 16] = 0x3dd9_203a_08b1_2bcc_cdf3_979f_a121_1ed5_u128.to_be_bytes();
const SERVER_NONCE: [u8; 16] = 0xe20b_71f4_77d9_9263_0d7c_2327_d512_bd23_u128.to_be_bytes();

/// Inflates foreign bytes within 4 KiB and holds no more than that. What inflates, deflates and inflates to itself.
pub fn fuzz_inflate(data: &[u8]) {
    const MAX: usize = 4096;
    let Ok(text) = inflate(data, MAX) else { return };
    assert!(text.len() <= MAX && text.capacity() <= MAX + 1, "over the limit");
    assert_eq!(inflate(data, text.len()).as_ref(), Ok(&text), "a limit of its own length");
    if let Some(less) = text.len().checked_sub(1) {
        assert!(inflate(data, less).is_err(), "a limit below");
    }
    let mut stream = Vec::new();
    assert!(deflate(&text, &mut stream, Size::MayGrow), "there is room");
    assert_eq!(inflate(&stream, MAX), Ok(text), "there and back");
}

/// Drives a small replay cache beside a list of everything that was ever admitted.
///
/// The first two bytes choose how many nonces it holds, in all and of a key, and its window; every further pair is one message: the first
/// byte is how much time passes (none up to 128, 16 ms for each above), the second chooses key and nonce.
pub fn fuzz_replay(data: &[u8]) {
    let [held, window, operations @ ..] = data else { return };
    let limits = ReplayLimits {
        nonces_max: usize::from(*held % 24) + 1,
        per_key_max: usize::from(*held / 24) + 1,
        window_ms: u64::from(*window) * 8 + 1,
    };
    let kids: Vec<KeyId> = ["a", "b", "c"].iter().filter_map(|kid| KeyId::new(kid).ok()).collect();
    let mut model = Model { limits, admitted: Vec::new() };
    let mut cache = ReplayCache::new(limits);
    let mut now = 0;
    for operation in operations.chunks_exact(2) {
        let [pause, what] = operation else { return };
        now += u64::from(pause.saturating_sub(128)) * 16;
        let (Some(kid), nonce) = (kids.get(usize::from(*what) % 3), [what / 3 % 16; 16]) else { return };
        let got = cache.admit(Millis::new(now), kid, &nonce);
        model.agree(now, kid, nonce, got);
        assert!(cache.len() <= limits.nonces_max, "more than may be held");
        if let Err(ReplayError::Full { retry_after_ms }) = got {
            let mut later = cache;
            now += retry_after_ms;
            let retried = later.admit(Millis::new(now), kid, &nonce);
            assert_eq!(retried, Ok(()), "it said when there would be room");
            model.agree(now, kid, nonce, retried);
            cache = later;
        }
    }
}

/// Everything that was ever admitted, and when.
struct Model {
    limits: ReplayLimits,
    admitted: Vec<(u64, KeyId, [u8; 16])>,
}

impl Model {
    /// Between one window and a quarter more a nonce may be held or forgotten; outside of that there is no choice.
    fn agree(&mut self, now: u64, kid: &KeyId, nonce: [u8; 16], got: Result<(), ReplayError>) {
        let window = self.limits.window_ms;
        let most = window + (window / 4).max(1);
        let same = |entry: &&(u64, KeyId, [u8; 16])| entry.1 == *kid && entry.2 == nonce;
        let newest = self.admitted.iter().rev().find(same).map(|(at, ..)| now - at);
        let maybe_held = || self.admitted.iter().filter(|(at, ..)| now - at < most);
        let of_key = maybe_held().filter(|(_, of, _)| of == kid).count();
        match got {
            Ok(()) => {
                assert!(newest.is_none_or(|age| age >= window), "forgotten early: {newest:?} of {window} ms");
                self.admitted.push((now, kid.clone(), nonce));
            }
            Err(ReplayError::Seen) => {
                assert!(newest.is_some_and(|age| age < most), "never seen, or held too long")
            }
            Err(ReplayError::Full { retry_after_ms }) => {
                assert!(newest.is_none_or(|age| age >= window), "a known nonce is refused as known");
                let is_full =
                    maybe_held().count() >= self.limits.nonces_max || of_key >= self.limits.per_key_max;
                assert!(is_full, "not full");
                assert!((1..=most).contains(&retry_after_ms), "{retry_after_ms} ms is no time to wait");
            }
            Err(error) => panic!("{error}: nothing asked for that"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn golden_messages_reach_the_far_side() {
        let data: serde_json::Value =
            serde_json::from_str(include_str!("../tests/data/signed.json")).unwrap();
        for case in data["good"].as_array().unwrap() {
            fuzz_signed_tail(case["message"].as_str().unwrap().as_bytes());
        }
        let data: serde_json::Value =
            serde_json::from_str(include_str!("../tests/data/sealed.json")).unwrap();
        for case in data["good"].as_array().unwrap() {
            fuzz_sealed_forms(&[&[1], case["json"].as_str().unwrap().as_bytes()].concat());
        }
    }

    proptest! {
        /// The cache agrees with a list of everything that was ever admitted, however messages and pauses fall.
        #[test]
        fn prop_replay_agrees_with_model(data in prop::collection::vec(any::<u8>(), 2..400)) {
            fuzz_replay(&data);
        }

        /// No bytes make a target fail.
        #[test]
        fn prop_never_panics_on_any_bytes(data in prop::collection::vec(any::<u8>(), 0..200)) {
            fuzz_signed_tail(&data);
            fuzz_sealed_forms(&data);
            fuzz_inflate(&data);
        }
    }
}
