use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::{
    Millis, ReplayCache, ReplayLimits,
    secure::testing::{Stack, array, entropy, kid, number, secret, signer, text, unhex},
};

const CLOCK: WallMillis = WallMillis::new(1_710_000_000_000);
const HELLO: &str =
    r#"{"event":"connection:health","data":{"kind":"hello"},"timestamp":1,"requestId":"srv-1"}"#;

const fn stack(deflates: bool, seals: bool, signing: Option<Signing>) -> Stack {
    Stack { deflates, seals, signing, ..Stack::PLAIN }
}

fn message(n: usize) -> String {
    format!(r#"{{"event":"status:check","data":{{}},"timestamp":{n},"requestId":"r-{n}"}}"#)
}

/// A message that is worth deflating.
fn long_message() -> String {
    format!(r#"{{"event":"status:check","data":{{"x-fill":"{}"}},"requestId":"r"}}"#, "abc ".repeat(300))
}

fn send(from: &mut Layers, text: &str, n: u8) -> Frame {
    from.outbound(text.to_owned(), CLOCK, || entropy(n)).expect("it fits")
}

/// What a receiver makes of a frame at the right time, without a cache.
fn receive(to: &mut Layers, frame: &Frame) -> Result<String, AuthRefusal> {
    let text = to.inbound(frame).expect("the layers open").into_owned();
    to.verify(&text, CLOCK, &Freshness::default(), |_, _, _| Ok(())).map(|()| text)
}

fn failure(refused: Result<String, AuthRefusal>) -> AuthFailure {
    refused.expect_err("refused").failure
}

/// The message as it was before it was signed.
fn unsigned(text: &str) -> String {
    find_tail(text).map_or_else(|| text.to_owned(), |at| format!("{}}}", &text[..at]))
}

#[test]
fn the_golden_message_goes_through_every_layer() {
    let data: Value = serde_json::from_str(include_str!("../../../tests/data/layered.json")).unwrap();
    let nonces: Value = serde_json::from_str(include_str!("../../../tests/data/sealed.json")).unwrap();
    let earlier: Vec<_> =
        nonces["good"].as_array().unwrap().iter().filter(|case| case["to"] == "c2s").collect();
    assert_eq!(earlier.len() as u64, number(&data, "n"), "the messages before it");
    for form in [SealForm::Binary, SealForm::Json] {
        let golden = match form {
            SealForm::Binary => Frame::binary(unhex(text(&data, "binary"))),
            SealForm::Json => Frame::text(text(&data, "json")),
        };
        let mut config = Stack { form, ..stack(true, true, None) }.config(Side::Server);
        let (cn, sn) = (text(&nonces, "client_nonce"), text(&nonces, "server_nonce"));
        config.sealing = Sealing::Keys(SealKeys::derive(&secret(), &array(cn), &array(sn)));
        let mut server = Layers::new(config.clone());
        config.side = Side::Client;
        let mut client = Layers::new(config);
        for case in &earlier {
            let frame = Frame::binary(unhex(text(case, "binary")));
            assert!(server.inbound(&frame).unwrap().starts_with('{'), "json, or zlib of it");
            send(&mut client, "{}", 0);
        }
        let opened = server.inbound(&golden).unwrap();
        assert_eq!(opened, text(&data, "signed"));

        // The way out, given the golden zlib stream: another encoder may write other bytes.
        let Seal::On(sealer) = &mut client.seal else { panic!("a sealed session") };
        let buffer = [&[0; Sealer::TEXT_AT], unhex(text(&data, "deflated")).as_slice()].concat();
        assert_eq!(sealer.seal(buffer, &array(text(&data, "iv"))).unwrap(), golden);

        let signed =
            verify_message(&signer(Signing::Required).key, &kid(), Side::Server.inbound(), &opened).unwrap();
        let at = WallMillis::new(signed.timestamp_ms);
        let entropy = || Entropy { nonce: signed.nonce, iv: [0; 12] };
        let mut signs = stack(false, false, Some(Signing::Required)).layers(Side::Client);
        let again = signs.outbound(text(&data, "text").to_owned(), at, entropy).unwrap();
        assert_eq!(again.as_text(), Some(text(&data, "signed")));
    }
}

#[test]
fn a_text_session_takes_no_binary_frame() {
    let mut server = Layers::plain(Side::Server, 100);
    let refused = server.inbound(&Frame::binary("{}")).unwrap_err();
    assert_eq!((&refused, refused.close().code), (&LayerError::BinaryFrame, 1003));
    assert_eq!(server.inbound(&Frame::text("{}")).unwrap(), "{}");
}

#[test]
fn only_messages_of_512_bytes_that_shrink_are_deflated() {
    let mut client = stack(true, false, None).layers(Side::Client);
    let filled = |len: usize| format!("{{\"x\":\"{}\"}}", "a".repeat(len - 8));
    let noise: String =
        (0..40_u8).map(|n| spandrel_crypto::encode_base64url(&spandrel_crypto::sha256(&[n]))).collect();
    let random = format!("{{\"x\":\"{noise}\"}}");
    for (name, text, want) in [
        ("511 bytes", filled(511), true),
        ("512 bytes", filled(512), false),
        ("a text that shrinks", long_message(), false),
    ] {
        assert_eq!(send(&mut client, &text, 0).is_text(), want, "{name}");
    }
    let frame = send(&mut client, &random, 0);
    assert!(frame.len() <= random.len());
    for frame in [Frame::binary("hello"), Frame::binary("")] {
        assert_eq!(client.inbound(&frame).unwrap_err().close().code, 1007);
    }
}

#[test]
fn inside_a_seal_the_first_byte_tells_json_from_zlib() {
    let (mut client, mut server) = stack(true, true, None).pair();
    let texts = [message(1), long_message(), "hello".to_owned(), String::new(), "{".repeat(700)];
    for (n, text) in (0_u8..).zip(&texts) {
        let frame = send(&mut client, text, n);
        assert_eq!(server.inbound(&frame).as_deref(), Ok(text.as_str()), "{n}");
        assert!(frame.len() < 200, "{n}: {} bytes", frame.len());
    }
    // A peer without deflate would seal this as it is.
    let (mut plain, _) = stack(false, true, None).pair();
    let (_, mut server) = stack(true, true, None).pair();
    let frame = send(&mut plain, "hello", 9);
    assert_eq!(server.inbound(&frame).unwrap_err().close().code, 1007);
}

#[test]
fn a_message_over_the_limit_is_refused_on_both_ways() {
    for (name, stack) in [
        ("plain", stack(false, false, None)),
        ("deflated", stack(true, false, None)),
        ("sealed", stack(false, true, None)),
        ("sealed as json", Stack { form: SealForm::Json, ..stack(false, true, None) }),
        ("everything", stack(true, true, Some(Signing::Required))),
    ] {
        let limited = |max| {
            let [client, server] = [Side::Client, Side::Server].map(|side| {
                let mut config = stack.config(side);
                config.message_bytes_max = max;
                Layers::new(config)
            });
            (client, server)
        };
        let text = format!("{{\"x\":\"{}\"}}", "a".repeat(9992));
        let (mut wide, _) = limited(1 << 20);
        let frame = send(&mut wide, &text, 1);
        let (mut client, mut server) = limited(frame.len().max(wide_text(&text, stack)));
        assert_eq!(send(&mut client, &text, 1), frame, "{name}: just fits");
        assert!(server.inbound(&frame).is_ok(), "{name}: just fits");

        let over = frame.len().max(wide_text(&text, stack)) - 1;
        let (mut client, mut server) = limited(over);
        let refused = client.outbound(text, CLOCK, || entropy(1)).unwrap_err();
        assert!(matches!(refused, LayerError::TooBig { max, .. } if max == over), "{name}: {refused}");
        let refused = server.inbound(&frame).unwrap_err();
        assert_eq!(
            (&refused, refused.close().code),
            (&LayerError::TooBig { len: over + 1, max: over }, 1009),
            "{name}"
        );
        assert!(client.outbound(message(1), CLOCK, || entropy(1)).is_ok(), "{name}: nothing was counted");
    }
}

/// Bytes of the signed text.
fn wide_text(text: &str, stack: Stack) -> usize {
    let mut signs = Stack { deflates: false, seals: false, ..stack }.layers(Side::Client);
    send(&mut signs, text, 1).len()
}

#[test]
fn bytes_that_are_no_text_close_1007() {
    let (mut client, mut server) = stack(false, true, None).pair();
    let Seal::On(sealer) = &mut client.seal else { panic!("a sealed session") };
    let frame = sealer.seal([&[0; Sealer::TEXT_AT], &b"\xff\xfe"[..]].concat(), &[0; 12]).unwrap();
    let refused = server.inbound(&frame).unwrap_err();
    assert_eq!((&refused, refused.close().code), (&LayerError::Utf8, 1007));
    let frame = Frame::from_checked_text(b"\xff".as_slice().into());
    assert_eq!(Layers::plain(Side::Server, 9).inbound(&frame), Err(LayerError::Utf8));
}

#[test]
fn the_hello_of_a_sealed_session_goes_in_the_clear_and_nothing_else_does() {
    let all = stack(true, true, Some(Signing::Required));
    let mut server = all.layers(Side::Server);
    let mut config = all.config(Side::Client);
    config.sealing = Sealing::AfterHello;
    let mut client = Layers::new(config);
    let early = client.outbound(message(1), CLOCK, || entropy(1));
    assert_eq!(early, Err(LayerError::NoKeysYet), "a client waits for the hello");

    let hello = server.hello(HELLO.to_owned(), CLOCK, || entropy(1)).unwrap();
    assert_eq!(hello, Frame::text(HELLO));
    assert_eq!(receive(&mut client, &hello).as_deref(), Ok(HELLO), "nobody signed it");
    assert_eq!(client.outbound(message(1), CLOCK, || entropy(1)), Err(LayerError::NoKeysYet));

    client.seal_with(crate::secure::testing::keys());
    let frame = send(&mut server, &message(2), 2);
    assert!(receive(&mut client, &frame).is_ok());
    let frame = send(&mut client, &message(3), 3);
    assert!(receive(&mut server, &frame).is_ok());
    assert_eq!(client.inbound(&hello), Err(LayerError::Unsealed), "a second hello");
}

#[test]
fn only_the_hello_is_excused_from_its_signature() {
    let mut config = stack(false, true, Some(Signing::Required)).config(Side::Client);
    config.sealing = Sealing::AfterHello;
    let mut client = Layers::new(config);
    assert!(receive(&mut client, &Frame::text(HELLO)).is_ok());
    client.seal_with(crate::secure::testing::keys());
    let frame = send(&mut stack(false, true, None).layers(Side::Server), &message(1), 1);
    assert_eq!(failure(receive(&mut client, &frame)), AuthFailure::Required);
}

#[test]
fn a_sealed_hello_or_one_that_comes_twice_is_refused() {
    let client = || {
        let mut config = stack(false, true, None).config(Side::Client);
        config.sealing = Sealing::AfterHello;
        Layers::new(config)
    };
    assert_eq!(client().inbound(&Frame::binary(HELLO)), Err(LayerError::Unsealed));
    let mut eager = client();
    assert!(eager.inbound(&Frame::text(HELLO)).is_ok());
    assert_eq!(eager.inbound(&Frame::text(HELLO)), Err(LayerError::Unsealed), "no keys yet");
    let mut server = stack(false, true, None).layers(Side::Server);
    assert_eq!(server.inbound(&Frame::text(message(1))).unwrap_err().close().code, 4401);
}

#[test]
fn the_hello_of_an_open_session_is_like_any_message() {
    let (mut client, mut server) = stack(false, false, Some(Signing::Required)).pair();
    let hello = server.hello(HELLO.to_owned(), CLOCK, || entropy(1)).unwrap();
    assert_eq!(unsigned(&receive(&mut client, &hello).unwrap()), HELLO);
    let (mut client, _) = stack(false, false, Some(Signing::Required)).pair();
    let refused = receive(&mut client, &Frame::text(HELLO));
    assert_eq!(failure(refused), AuthFailure::Required);
}

#[test]
fn without_a_key_auth_is_one_more_unknown_member() {
    let (mut signs, _) = stack(false, false, Some(Signing::Required)).pair();
    let frame = send(&mut signs, &message(1), 1);
    let mut server = Layers::plain(Side::Server, 1000);
    let text = server.inbound(&frame).unwrap();
    let admit = |_: &KeyId, _: &[u8; 16], _: u64| Err(ReplayError::Seen);
    assert_eq!(server.verify(&text, CLOCK, &Freshness::default(), admit), Ok(()));
}

#[test]
fn checks_come_in_the_order_of_the_protocol() {
    let (mut client, mut server) = stack(false, false, Some(Signing::Required)).pair();
    let now = Millis::new(0);
    let late = WallMillis::new(CLOCK.get() + 30_001);
    let mut cache = ReplayCache::new(ReplayLimits { nonces_max: 2, ..ReplayLimits::default() });
    let mut check = |text: &str, clock: WallMillis| {
        let admit = |kid: &KeyId, nonce: &[u8; 16], _: u64| cache.admit(now, kid, nonce);
        server.failures_left = 3;
        server.verify(text, clock, &Freshness::default(), admit).map_err(|refused| refused.failure)
    };
    let sent = |client: &mut Layers, n: u8| send(client, &message(1), n).as_text().unwrap().to_owned();
    let one = sent(&mut client, 1);
    assert_eq!(check(&message(1), late), Err(AuthFailure::Required));
    assert_eq!(check(&one.replace("r-1", "r-2"), late), Err(AuthFailure::Invalid), "before its age");
    assert_eq!(
        check(&one, late),
        Err(AuthFailure::Expired { server_time_ms: late.get() }),
        "before the nonce"
    );
    assert_eq!(check(&one.replace("r-1", "r-2"), CLOCK), Err(AuthFailure::Invalid));
    assert_eq!(check(&one, CLOCK), Ok(()), "what was refused did not use up the nonce");
    assert_eq!(check(&one, CLOCK), Err(AuthFailure::Replayed));
    assert_eq!(check(&sent(&mut client, 2), CLOCK), Ok(()));
    let full = check(&sent(&mut client, 3), CLOCK);
    assert_eq!(full, Err(AuthFailure::CacheFull { retry_after_ms: 75_000 }));
    assert_eq!(check(&one, CLOCK), Err(AuthFailure::Replayed), "also when full");
}

#[test]
fn the_third_failure_is_the_last_and_expiry_is_none() {
    let (mut client, mut server) = stack(false, false, Some(Signing::Required)).pair();
    let good = send(&mut client, &message(1), 1);
    let mut fail = |text: &str, clock: u64, admitted| {
        let refused = server.verify(text, WallMillis::new(clock), &Freshness::default(), |_, _, _| admitted);
        refused.unwrap_err().close.map(|close| close.code)
    };
    let (good, now) = (good.as_text().unwrap(), CLOCK.get());
    assert_eq!(fail(&message(1), now, Ok(())), None, "first");
    for _ in 0..10 {
        assert_eq!(fail(good, now + 60_000, Ok(())), None, "expired");
        assert_eq!(fail(good, now, Err(ReplayError::Full { retry_after_ms: 1 })), None, "no room");
        assert_eq!(fail(good, now, Err(ReplayError::TooFast { retry_after_ms: 1 })), None, "too fast");
    }
    assert_eq!(fail(good, now, Err(ReplayError::Seen)), None, "second");
    assert_eq!(fail(&good.replace("k1", "k2"), now, Ok(())), Some(4401), "third");
    assert_eq!(fail(good, now + 60_000, Ok(())), None, "expiry closes nothing even then");
    assert_eq!(fail(&message(1), now, Ok(())), Some(4401), "fourth");
}

#[test]
fn a_client_closes_at_the_first_failure() {
    let (_, mut server) = stack(false, false, Some(Signing::Required)).pair();
    let good = send(&mut server, &message(1), 1).as_text().unwrap().to_owned();
    let check = |text: &str, clock: u64, admitted| {
        let mut client = stack(false, false, Some(Signing::Required)).layers(Side::Client);
        let checked = client.verify(text, WallMillis::new(clock), &Freshness::default(), |_, _, _| admitted);
        checked.map_err(|refused| refused.close.map(|close| close.code))
    };
    let now = CLOCK.get();
    assert_eq!(check(&good, now, Ok(())), Ok(()));
    for (name, text, clock, admitted, want) in [
        ("not signed", message(1), now, Ok(()), 4401),
        ("changed", good.replace("r-1", "r-2"), now, Ok(()), 4401),
        ("old", good.clone(), now + 30_001, Ok(()), 4401),
        ("replayed", good.clone(), now, Err(ReplayError::Seen), 4401),
        ("too many", good.clone(), now, Err(ReplayError::Full { retry_after_ms: 1 }), 1013),
    ] {
        assert_eq!(check(&text, clock, admitted), Err(Some(want)), "{name}");
    }
    let mut client = stack(false, false, Some(Signing::Required)).layers(Side::Client);
    let (_, mut echo) = stack(false, false, Some(Signing::Required)).pair();
    let own = send(&mut client, &message(1), 1);
    assert_eq!(failure(receive(&mut client, &own)), AuthFailure::Invalid, "reflected to the client");
    let own = send(&mut echo, &message(1), 1);
    assert_eq!(failure(receive(&mut echo, &own)), AuthFailure::Invalid, "reflected to the server");
}

#[test]
fn a_server_follows_the_first_message_of_a_client() {
    for signs in [false, true] {
        let (_, mut server) = stack(false, true, Some(Signing::IfPeerDoes)).pair();
        let mode = signs.then_some(Signing::IfPeerDoes);
        let mut client = stack(false, true, mode).layers(Side::Client);
        let early = send(&mut server, &message(1), 1);
        assert_eq!(receive(&mut client, &early).as_deref(), Ok(message(1).as_str()), "unsigned before any");

        let first = send(&mut client, &message(2), 2);
        assert!(receive(&mut server, &first).is_ok());
        assert_eq!(server.is_signing(), signs);
        let answer = send(&mut server, &message(3), 3);
        let answer = receive(&mut client, &answer).unwrap();
        assert_eq!(find_tail(&answer).is_some(), signs);
    }
}

#[test]
fn once_decided_it_stays_decided() {
    let signed = |n| {
        let mut client = stack(false, false, Some(Signing::Required)).layers(Side::Client);
        send(&mut client, &message(1), n).as_text().unwrap().to_owned()
    };
    let check = |server: &mut Layers, text: &str| {
        server.verify(text, CLOCK, &Freshness::default(), |_, _, _| Ok(())).map_err(|refused| refused.failure)
    };
    let mut server = stack(false, true, Some(Signing::IfPeerDoes)).layers(Side::Server);
    assert_eq!(check(&mut server, &signed(1)), Ok(()));
    assert_eq!(check(&mut server, &message(2)), Err(AuthFailure::Required));

    let mut server = stack(false, true, Some(Signing::IfPeerDoes)).layers(Side::Server);
    assert_eq!(check(&mut server, &message(1)), Ok(()));
    assert_eq!(check(&mut server, &signed(2).replace("r-1", "r-2")), Ok(()), "auth is ignored");
    assert!(!server.is_signing());

    let mut server = stack(false, true, Some(Signing::IfPeerDoes)).layers(Side::Server);
    assert_eq!(
        check(&mut server, &signed(1).replace("r-1", "r-2")),
        Err(AuthFailure::Invalid),
        "signed badly"
    );
    assert_eq!(check(&mut server, &message(2)), Err(AuthFailure::Required));

    let mut open = stack(false, false, Some(Signing::IfPeerDoes)).layers(Side::Server);
    assert_eq!(check(&mut open, &message(1)), Err(AuthFailure::Required), "only below a seal");
    assert!(open.is_signing());
}

#[test]
fn entropy_is_drawn_only_when_it_is_used() {
    for (stack, want) in [
        (stack(true, false, None), 0),
        (stack(false, false, Some(Signing::Required)), 1),
        (stack(false, true, None), 1),
        (stack(true, true, Some(Signing::Required)), 1),
    ] {
        let mut drawn = 0;
        let mut client = stack.layers(Side::Client);
        let sent = client.outbound(long_message(), CLOCK, || {
            drawn += 1;
            entropy(1)
        });
        assert!(sent.is_ok());
        assert_eq!(drawn, want, "{stack:?}");
    }
}

#[test]
fn an_idle_connection_holds_little() {
    assert!(size_of::<Layers>() <= 64, "{} bytes", size_of::<Layers>());
    assert!(size_of::<SignState>() <= 64, "{} bytes", size_of::<SignState>());
    assert!(size_of::<Sealer>() <= 2560, "{} bytes", size_of::<Sealer>());
}

const STACKS: [(bool, bool); 4] = [(false, false), (true, false), (false, true), (true, true)];

proptest! {
    /// Any text goes through all four stacks in both directions and forms, and any message also when it is signed.
    #[test]
    fn prop_roundtrip_layers(
        texts in prop::collection::vec(("\\PC{0,50}", 1_usize..60), 1..5),
        form in prop::sample::select(vec![SealForm::Binary, SealForm::Json]),
        signs: bool,
        from_server: bool,
    ) {
        for (deflates, seals) in STACKS {
            let signing = signs.then_some(Signing::Required);
            let (client, server) = Stack { form, ..stack(deflates, seals, signing) }.pair();
            let (mut from, mut to) = if from_server { (server, client) } else { (client, server) };
            for (n, (word, times)) in (0_u8..).zip(&texts) {
                let text = if signs { format!("{{\"x\":{:?}}}", word.repeat(*times)) } else { word.repeat(*times) };
                let frame = from.outbound(text.clone(), CLOCK, || entropy(n)).unwrap();
                prop_assert!(deflates || frame.is_text() != (seals && form == SealForm::Binary));
                let got = receive(&mut to, &frame).unwrap();
                prop_assert_eq!(if signs { unsigned(&got) } else { got }, text);
            }
        }
    }

    /// A bit flipped anywhere in a signed or sealed frame never gives a message, on any stack.
    #[test]
    fn prop_any_flipped_bit_is_refused(
        word in "\\PC{0,30}",
        times in 1_usize..40,
        form in prop::sample::select(vec![SealForm::Binary, SealForm::Json]),
        bit in any::<prop::sample::Index>(),
    ) {
        for (deflates, seals) in STACKS {
            let (mut client, mut server) = Stack { form, ..stack(deflates, seals, Some(Signing::Required)) }.pair();
            let text = format!("{{\"x\":{:?}}}", word.repeat(times));
            let frame = client.outbound(text.clone(), CLOCK, || entropy(1)).unwrap();
            let mut bytes = frame.data().to_vec();
            let bit = bit.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            let changed = if frame.is_text() { Frame::from_checked_text(bytes.into()) } else { Frame::binary(bytes) };
            let got = server.inbound(&changed).map(Cow::into_owned);
            prop_assert!(!seals || got == Err(LayerError::Unsealed) || got == Err(LayerError::Utf8));
            if let Ok(got) = got {
                // A zlib stream has bits that mean nothing; the text is then the one that was signed.
                let verified = server.verify(&got, CLOCK, &Freshness::default(), |_, _, _| Ok(()));
                prop_assert!(verified.is_err() || (deflates && unsigned(&got) == text));
            }
        }
    }

    /// Whatever a stranger sends, no stack panics, and nothing of it passes for a signed or sealed message.
    #[test]
    fn prop_never_panics_on_foreign_frames(bytes in prop::collection::vec(any::<u8>(), 0..200), is_text: bool) {
        for (deflates, seals) in STACKS {
            let frame = if is_text { Frame::from_checked_text(bytes.clone().into()) } else { Frame::binary(bytes.clone()) };
            let mut server = stack(deflates, seals, Some(Signing::Required)).layers(Side::Server);
            let Ok(text) = server.inbound(&frame) else { continue };
            prop_assert!(!seals);
            prop_assert!(server.verify(&text, CLOCK, &Freshness::any(), |_, _, _| Ok(())).is_err());
        }
    }
}
