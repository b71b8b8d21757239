//! Who gets in, and what happens to messages that do not prove themselves, over real sockets.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod bench;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bench::{
    ALICE, BOB, BOTH, Bench, Came, DEFLATE, Dial, JSON, Peer, SEALED, bearer, handshake, key, message,
    refused, request, signed, wall_ms,
};
use serde_json::{Value, json};
use spandrel_crypto::{SecretKey, derive, sign};
use spandrel_download_service::AuthMode;
use spandrel_export_engine::{Clock, SystemClock};
use spandrel_jobs::Now;
use spandrel_session::{Direction, SealForm, Signing};
use spandrel_transport::Frame;
use tokio_tungstenite::tungstenite::Message;

const UP: Direction = Direction::ClientToServer;

fn check(id: &str) -> String {
    message("status:check", &json!({}), id)
}

#[tokio::test(flavor = "multi_thread")]
async fn http_takes_bearer_tokens_and_nothing_else() {
    let bench = Bench::start(AuthMode::Required).await;
    for path in ["/v1/downloads", "/v1/datasets", "/metrics", "/v1/openapi.json", "/v1/downloads/dl_x"] {
        let (status, head, body) = bench.http("GET", path, "", "").await;
        let code = serde_json::from_slice::<Value>(&body).unwrap()["code"].clone();
        assert_eq!((status, code), (401, json!("AUTH_REQUIRED")), "{path}");
        assert!(head.to_lowercase().contains("www-authenticate: bearer"), "{path}: {head}");
        for token in ["wrong", &ALICE[1..], "alice-token-012345678"] {
            let (status, problem) = bench.get(path, token).await;
            assert_eq!((status, &problem["code"]), (401, &json!("AUTH_INVALID")), "{path} {token}");
        }
        assert_ne!(bench.get(path, ALICE).await.0, 401, "{path}");
    }
    for path in ["/v1/downloads", "/v1/preview"] {
        assert_eq!(bench.http("POST", path, "", &request().to_string()).await.0, 401, "{path}");
    }
    assert_eq!(bench.http("GET", "/v1/downloads?kid=k1", "", "").await.0, 401, "a key is for sessions");
    for path in ["/v1/health", "/", "/app.js", "/style.css"] {
        assert_eq!(bench.http("GET", path, "", "").await.0, 200, "{path} is public");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn data_sets_are_for_those_they_name() {
    let bench = Bench::start(AuthMode::Required).await;
    let names = |list: &Value| -> Vec<String> {
        list["datasets"].as_array().unwrap().iter().map(|d| d["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&bench.get("/v1/datasets", ALICE).await.1), ["logs"]);
    assert_eq!(names(&bench.get("/v1/datasets", BOB).await.1), ["logs", "secrets"]);
    let mut wanted = request();
    wanted["searchParams"]["dataset"] = json!("secrets");
    let mut alice = bench.signed("k1", 0x11).await;
    assert_eq!(alice.ask("download:request", wanted.clone()).await["data"]["code"], "FORBIDDEN");
    let mut bob = bench.signed("k2", 0x22).await;
    assert_eq!(bob.ask("download:request", wanted.clone()).await["event"], "download:start");
    let headers = format!("Authorization: Bearer {ALICE}\r\n");
    for path in ["/v1/downloads", "/v1/preview"] {
        assert_eq!(bench.http("POST", path, &headers, &wanted.to_string()).await.0, 403, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_for_their_owner_or_for_a_signed_url() {
    let bench = Bench::start(AuthMode::Required).await;
    let mut alice = bench.signed("k1", 0x11).await;
    alice.ask("download:request", request()).await;
    let done = alice.until(|m| m["event"] == "download:complete").await;
    let url = done["data"]["files"][0]["url"].as_str().unwrap();
    let (path, query) = url.split_once('?').expect("the URL is signed");
    assert_eq!(bench.get(path, ALICE).await.0, 200);
    assert_eq!(bench.get(path, BOB).await.0, 404, "nobody learns that it exists");
    assert_eq!(bench.get(path, "").await.1["code"], "AUTH_REQUIRED");
    for method in ["GET", "HEAD"] {
        assert_eq!(bench.http(method, url, "", "").await.0, 200, "{method}");
    }
    let (exp, sig) = query.split_once("&sig=").unwrap();
    let other = if sig.starts_with('A') { "B" } else { "A" };
    for wrong in [
        format!("{path}?{exp}0&sig={sig}"),
        format!("{path}?{exp}&sig={other}{}", &sig[1..]),
        format!("{path}?sig={sig}"),
    ] {
        let (status, problem) = bench.get(&wrong, ALICE).await;
        assert_eq!((status, &problem["code"]), (403, &json!("URL_INVALID")), "{wrong}");
    }
    // As the server signed it a long time ago.
    let server =
        SecretKey::from_slice(&std::fs::read(bench.dir.path().join("state/secret")).unwrap()).unwrap();
    let url_key = derive(&server, b"spandrel.download.v1", b"url");
    let sig = spandrel_crypto::encode_base64url(&sign(&url_key, &[b"GET\n", path.as_bytes(), b"\n1000"]));
    let (status, problem) = bench.get(&format!("{path}?exp=1000&sig={sig}"), "").await;
    assert_eq!((status, &problem["code"]), (403, &json!("URL_EXPIRED")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_is_refused_with_the_right_status_or_code() {
    let bench = Bench::start(AuthMode::Required).await;
    let cn = "cn=CQkJCQkJCQkJCQkJCQkJCQ";
    let long = format!("kid={}", "k".repeat(33));
    for (name, protocol, token, query, want) in [
        ("nothing", JSON, "", "", 401),
        ("wrong token", JSON, "wrong", "", 401),
        ("wrong token beside a key", JSON, "wrong", "kid=k1", 401),
        ("malformed kid", JSON, "", "kid=bad!id", 4400),
        ("empty kid", JSON, "", "kid=", 4400),
        ("long kid", JSON, "", &long, 4400),
        ("kid twice", JSON, "", "kid=k1&kid=k1", 4400),
        ("escaped kid", JSON, "", "kid=k%31", 4400),
        ("sealed, no cn", SEALED, "", "kid=k1", 4400),
        ("sealed, short cn", SEALED, "", "kid=k1&cn=CQkJ", 4400),
        ("sealed, padded cn", BOTH, "", &format!("kid=k1&{cn}=="), 4400),
        ("sealed, cn twice", BOTH, "", &format!("kid=k1&{cn}&{cn}"), 4400),
        ("sealed, token without kid", SEALED, ALICE, cn, 4400),
        ("sealed, unknown kid without cn", SEALED, "", "kid=nobody", 4400),
        ("no subprotocol", "chat", "", "kid=k1", 4406),
    ] {
        let dial = Dial { protocol, token, query: Some(query), ..Dial::default() };
        if name == "no subprotocol" {
            // The library calls a missing subprotocol an error of the handshake; the service's own tests see 4406.
            assert!(handshake(bench.address, &dial).await.is_err());
            continue;
        }
        assert_eq!(refused(bench.address, &dial).await, want, "{name}");
    }
    let dial = Dial { token: ALICE, query: Some("kid=bad!id"), ..Dial::default() };
    let mut peer = Peer::connect(bench.address, &dial).await;
    assert!(!peer.hello_is_signed, "the bearer counts, kid is ignored");
    assert_eq!(peer.ask("status:check", json!({})).await["event"], "status:update");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_stacks_carry_a_download() {
    for mode in [AuthMode::Required, AuthMode::None] {
        let bench = Bench::start(mode).await;
        for protocol in [JSON, DEFLATE, SEALED, BOTH] {
            for form in [SealForm::Binary, SealForm::Json] {
                let dial = Dial { protocol, key: Some(("k1", 0x11)), form, ..Dial::default() };
                let mut peer = Peer::connect(bench.address, &dial).await;
                let is_sealed = protocol.contains("aes");
                assert_eq!(peer.hello_is_signed, !is_sealed, "{protocol}: a sealed session's hello is plain");
                assert_eq!(peer.hello["data"]["protocol"], protocol);
                assert_eq!(peer.hello["data"]["serverNonce"].is_string(), is_sealed, "{protocol}");
                peer.ask("download:request", request()).await;
                let done = peer.until(|m| m["event"] == "download:complete").await;
                assert_eq!(done["data"]["totalRows"], 100, "{mode:?} {protocol} {form:?}");
            }
        }
        let dial = Dial { protocol: DEFLATE, token: ALICE, ..Dial::default() };
        let mut peer = Peer::connect(bench.address, &dial).await;
        assert_eq!(peer.ask("status:check", json!({ "scope": "all" })).await["event"], "status:update");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_mode_none_a_key_signs_all_the_same_and_a_seal_need_not() {
    let bench = Bench::start(AuthMode::None).await;
    let mut peer = bench.signed("k1", 0x11).await;
    assert!(peer.hello_is_signed);
    let start = peer.ask("download:request", request()).await;
    // Whose key it is, is who it is: the same job is not there for anonymous callers.
    let path = format!("/v1/downloads/{}", start["data"]["downloadId"].as_str().unwrap());
    assert_eq!(bench.get(&path, "").await.0, 404);
    peer.raw_text(&check("a")).await;
    assert_eq!(peer.error().await["data"]["code"], "AUTH_REQUIRED");
    let dial = Dial { protocol: SEALED, key: Some(("k1", 0x11)), is_unsigned: true, ..Dial::default() };
    let mut unsigned = Peer::connect(bench.address, &dial).await;
    let answer = unsigned.ask("status:check", json!({})).await;
    assert!(answer["event"] == "status:update" && answer["auth"].is_null(), "{answer}");
    let dial =
        Dial { protocol: SEALED, key: Some(("k1", 0x11)), mode: Signing::IfPeerDoes, ..Dial::default() };
    let mut following = Peer::connect(bench.address, &dial).await;
    assert!(
        following.ask("status:check", json!({})).await["auth"].is_object(),
        "signed as the first message was"
    );
    let mut anonymous = Peer::connect(bench.address, &Dial::default()).await;
    anonymous.raw_text(&signed(&check("b"), "k1", 0x99, UP, 0)).await;
    assert_eq!(anonymous.until(|m| m["requestId"] == "b").await["event"], "status:update", "auth is ignored");
}

/// The table of section 13.5, one row after the other.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_field_gets_its_code() {
    let bench = Bench::start(AuthMode::Required).await;
    let now = wall_ms();
    let good = |at| signed(&check("w-1"), "k1", 0x11, UP, at);
    let swap = |text: &str| {
        let (head, tail) =
            text.split_once(r#""timestamp":"#).map(|_| text.rsplit_once(r#","auth":{"#).unwrap()).unwrap();
        let (token, rest) = tail.split_once(r#","timestamp""#).unwrap();
        let (time, rest) = rest.split_once(r#","signature""#).unwrap();
        format!(r#"{head},"auth":{{"timestamp"{time},{token},"signature"{rest}"#)
    };
    let cases: Vec<(&str, String, &str)> = vec![
        ("no auth", check("w-1"), "AUTH_REQUIRED"),
        ("a space in the tail", good(now).replace(r#""signature":"#, r#""signature": "#), "AUTH_INVALID"),
        ("another order", swap(&good(now)), "AUTH_INVALID"),
        ("a further member inside", good(now).replace(r#""}}"#, r#"","x":1}}"#), "AUTH_INVALID"),
        ("a member after it", good(now).replace(r#""}}"#, r#""},"x":1}"#), "AUTH_INVALID"),
        ("padded", good(now).replace(r#""}}"#, r#"="}}"#), "AUTH_INVALID"),
        ("changed head", good(now).replace("status:check", "status:chexk"), "AUTH_INVALID"),
        ("changed time", good(now).replace(&now.to_string(), &(now + 1).to_string()), "AUTH_INVALID"),
        ("reflected", signed(&check("w-1"), "k1", 0x11, Direction::ServerToClient, now), "AUTH_INVALID"),
        ("another key's secret", signed(&check("w-1"), "k1", 0x22, UP, now), "AUTH_INVALID"),
        ("another key's id", signed(&check("w-1"), "k2", 0x22, UP, now), "AUTH_INVALID"),
        ("not even JSON", "nonsense".into(), "AUTH_REQUIRED"),
        ("too old", good(now - 31_000), "AUTH_EXPIRED"),
        ("too new", good(now + 40_000), "AUTH_EXPIRED"),
    ];
    for (name, text, want) in cases {
        let mut peer = bench.signed("k1", 0x11).await;
        peer.raw_text(&text).await;
        let error = peer.error().await;
        assert_eq!(
            (&error["event"], &error["data"]["code"]),
            (&json!("system:error"), &json!(want)),
            "{name}"
        );
        let is_own = error["requestId"] == "w-1";
        assert_eq!(is_own, want == "AUTH_EXPIRED", "{name}: only a signed head is believed");
        assert_eq!(error["data"]["recoverable"], json!(want == "AUTH_EXPIRED"), "{name}");
        if is_own {
            let time = error["data"]["details"]["serverTime"].as_u64().unwrap();
            assert!(time.abs_diff(wall_ms()) < 10_000, "{name}: {time}");
        }
        assert_eq!(peer.ask("status:check", json!({})).await["event"], "status:update", "{name}: still open");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_message_counts_once_on_any_connection() {
    let mut bench = Bench::start(AuthMode::Required).await;
    let text = signed(&check("once"), "k1", 0x11, UP, wall_ms());
    let mut first = bench.signed("k1", 0x11).await;
    let mut second = bench.signed("k1", 0x11).await;
    first.raw_text(&text).await;
    assert_eq!(first.until(|m| m["requestId"] == "once").await["event"], "status:update");
    for peer in [&mut first, &mut second] {
        peer.raw_text(&text).await;
        let error = peer.error().await;
        assert_eq!((&error["data"]["code"], &error["requestId"]), (&json!("AUTH_REPLAYED"), &json!("once")));
    }
    // What was signed before the start may have been seen by the process before.
    bench.restart().await;
    let mut later = bench.signed("k1", 0x11).await;
    later.raw_text(&text).await;
    assert_eq!(later.error().await["data"]["code"], "AUTH_EXPIRED");
    assert_eq!(later.ask("status:check", json!({})).await["event"], "status:update");
}

/// Signs by the time that is told in the hello, and by that of a refusal.
async fn gets_in(bench: &Bench, recorded: &str) {
    let at = |id: &str, stamp| signed(&check(id), "k1", 0x11, UP, stamp);
    let mut peer = bench.signed("k1", 0x11).await;
    let told = peer.hello["data"]["serverTime"].as_u64().unwrap();
    peer.raw_text(&at("hello", told)).await;
    assert_eq!(peer.until(|m| m["requestId"] == "hello").await["event"], "status:update");
    peer.raw_text(recorded).await;
    let error = peer.error().await;
    assert_eq!(error["data"]["code"], "AUTH_EXPIRED");
    let told = error["data"]["details"]["serverTime"].as_u64().unwrap();
    peer.raw_text(&at("told", told)).await;
    assert_eq!(peer.until(|m| m["requestId"] == "told").await["event"], "status:update");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_clock_ahead_signed_before_a_restart_does_not_count_after_it() {
    let mut bench = Bench::start(AuthMode::Required).await;
    let recorded = signed(&check("once"), "k1", 0x11, UP, wall_ms() + 25_000);
    let mut peer = bench.signed("k1", 0x11).await;
    peer.raw_text(&recorded).await;
    assert_eq!(peer.until(|m| m["requestId"] == "once").await["event"], "status:update");
    bench.restart().await;
    gets_in(&bench, &recorded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_no_more_nonces_can_be_held_messages_are_refused_for_a_while() {
    let bench = Bench::start_with(AuthMode::Required, |config| config.limits.nonces_max = 2).await;
    let mut peer = bench.signed("k1", 0x11).await;
    for _ in 0..2 {
        assert_eq!(peer.ask("status:check", json!({})).await["event"], "status:update");
    }
    for _ in 0..5 {
        let refused = peer.ask("status:check", json!({})).await;
        assert_eq!(
            (&refused["event"], &refused["data"]["code"]),
            (&json!("system:error"), &json!("OVERLOADED"))
        );
        assert!(refused["data"]["retryAfter"].as_u64().unwrap() > 1_000, "{refused}");
    }
    let mut bearer = Peer::connect(bench.address, &Dial { token: ALICE, ..Dial::default() }).await;
    assert_eq!(bearer.ask("status:check", json!({})).await["event"], "status:update", "others go on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_one_key_leaves_room_for_the_others() {
    let bench = Bench::start_with(AuthMode::Required, |config| {
        config.limits.nonces_max = 100;
        config.sessions.messages_per_s = 1;
        config.sessions.message_burst = 10;
    })
    .await;
    let mut peers = Vec::new();
    let mut codes = Vec::new();
    // First more than fits from one connection, which its rate stops; then from many.
    for (round, count) in [120].into_iter().chain([10; 12]).enumerate() {
        let mut peer = bench.signed("k1", 0x11).await;
        for n in 0..count {
            peer.send(message("status:check", &json!({}), &format!("f{n}"))).await;
        }
        for n in 0..count {
            let answer = peer.until(|m| m["requestId"] == format!("f{n}")).await;
            codes.push((round, answer["data"]["code"].as_str().unwrap_or("none").to_owned()));
        }
        peers.push(peer);
    }
    let of = |round: usize, code: &str| codes.iter().filter(|c| **c == (round, code.to_owned())).count();
    assert!(of(0, "RATE_LIMITED") > 90 && of(0, "OVERLOADED") == 0, "{codes:?}");
    assert!(of(1, "none") == 10 && of(12, "OVERLOADED") > 0, "{codes:?}");
    let mut other = bench.signed("k2", 0x22).await;
    for _ in 0..5 {
        assert_eq!(other.ask("status:check", json!({})).await["event"], "status:update");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_third_failure_closes_and_stale_clocks_do_not_count() {
    let bench = Bench::start(AuthMode::Required).await;
    let mut peer = bench.signed("k1", 0x11).await;
    for round in 0..3 {
        for _ in 0..3 {
            peer.raw_text(&signed(&check("old"), "k1", 0x11, UP, wall_ms() - 60_000)).await;
            assert_eq!(peer.error().await["data"]["code"], "AUTH_EXPIRED", "{round}");
        }
        peer.raw_text(&check("bare")).await;
        assert_eq!(peer.error().await["data"]["code"], "AUTH_REQUIRED", "{round}");
    }
    assert_eq!(peer.close_code().await, 4401);
}

/// Nobody can tell an id that is not there from one whose secret he does not have.
#[tokio::test(flavor = "multi_thread")]
async fn unknown_and_retired_keys_look_like_a_wrong_secret() {
    let bench = Bench::start(AuthMode::Required).await;
    for protocol in [JSON, DEFLATE, SEALED, BOTH] {
        let mut transcripts = Vec::new();
        for id in ["k1", "old", "nobody"] {
            let query = format!("kid={id}&cn=CQkJCQkJCQkJCQkJCQkJCQ");
            let dial = Dial { protocol, query: Some(&query), ..Dial::default() };
            let mut ws = Peer::connect(bench.address, &dial).await;
            let is_signed = ws.hello_is_signed;
            let mut seen = vec![format!("hello {is_signed} {}", ws.hello["data"]["serverNonce"].is_string())];
            for n in 0..3 {
                let text = signed(&check(&format!("x{n}")), id, 0x77, UP, wall_ms());
                if protocol.contains("aes") && n == 0 {
                    ws.raw(Frame::binary(vec![7_u8; 60])).await;
                } else if !protocol.contains("aes") {
                    ws.raw_text(&text).await;
                }
            }
            loop {
                match ws.frame().await.unwrap() {
                    Err(code) => break seen.push(format!("close {code}")),
                    Ok(frame) => {
                        let text = frame.as_text().expect("small messages are text").to_owned();
                        let message: Value = serde_json::from_str(&text).unwrap();
                        assert!(message["requestId"].as_str().unwrap().starts_with("srv-"), "{text}");
                        seen.push(format!(
                            "{} {} {}",
                            message["event"],
                            message["data"],
                            message["auth"].is_object()
                        ));
                    }
                }
            }
            transcripts.push(seen);
        }
        assert_eq!(transcripts[0], transcripts[1], "{protocol}");
        assert_eq!(transcripts[0], transcripts[2], "{protocol}");
        let want = if protocol.contains("aes") { 2 } else { 5 };
        assert_eq!((transcripts[0].len(), transcripts[0].last().unwrap().as_str()), (want, "close 4401"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sealed_session_ends_at_the_first_wrong_frame_without_a_word() {
    let bench = Bench::start(AuthMode::Required).await;
    let dial = Dial { protocol: SEALED, key: Some(("k1", 0x11)), ..Dial::default() };
    let flip = |frame: &Frame, at: usize| {
        let mut bytes = frame.data().to_vec();
        bytes[at] ^= 1;
        Frame::binary(bytes)
    };
    let mut donor = Peer::connect(bench.address, &dial).await;
    let foreign = donor.seal(check("f"));
    for name in
        ["flipped iv", "flipped text", "flipped tag", "short", "empty", "plain", "foreign", "dropped", "json"]
    {
        let mut peer = Peer::connect(bench.address, &dial).await;
        let frame = peer.seal(check("s"));
        let wrong = match name {
            "flipped iv" => flip(&frame, 0),
            "flipped text" => flip(&frame, 20),
            "flipped tag" => flip(&frame, frame.len() - 1),
            "short" => Frame::binary(vec![0_u8; 27]),
            "empty" => Frame::binary(Vec::new()),
            "plain" => Frame::text(check("s")),
            "foreign" => foreign.clone(),
            "dropped" => peer.seal(check("t")),
            _ => Frame::text(r#"{"encrypted":"","iv":"","tag":"","x":1}"#),
        };
        peer.raw(wrong).await;
        assert_eq!(peer.frame().await, Some(Err(4401)), "{name}: closed, and nothing said before");
    }
    let mut peer = Peer::connect(bench.address, &dial).await;
    let frame = peer.seal(check("s"));
    peer.raw(frame.clone()).await;
    assert!(matches!(peer.next().await, Came::Message(_)));
    peer.raw(frame).await;
    assert_eq!(peer.frame().await, Some(Err(4401)), "replayed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seal_does_not_replace_a_signature_where_one_is_required() {
    let bench = Bench::start(AuthMode::Required).await;
    let dial = Dial { protocol: SEALED, key: Some(("k1", 0x11)), is_unsigned: true, ..Dial::default() };
    let mut peer = Peer::connect(bench.address, &dial).await;
    peer.send(check("bare")).await;
    let error = peer.error().await;
    assert_eq!((&error["data"]["code"], error["auth"].is_object()), (&json!("AUTH_REQUIRED"), true));
    // Beside a bearer the seal only hides: who it is from is known already.
    let mut peer = Peer::connect(bench.address, &Dial { token: ALICE, ..dial }).await;
    assert_eq!(peer.ask("status:check", json!({})).await["event"], "status:update");
}

#[tokio::test(flavor = "multi_thread")]
async fn deflated_garbage_and_bombs_end_the_connection() {
    let bench = Bench::start(AuthMode::None).await;
    let dial = Dial { protocol: DEFLATE, ..Dial::default() };
    let zlib = |text: &[u8]| {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        std::io::Write::write_all(&mut encoder, text).unwrap();
        encoder.finish().unwrap()
    };
    let good = zlib(check("z").as_bytes());
    let mut peer = Peer::connect(bench.address, &dial).await;
    peer.raw(Frame::binary(good.clone())).await;
    assert_eq!(peer.until(|m| m["requestId"] == "z").await["event"], "status:update");
    for (name, bytes, want) in [
        ("garbage", b"not zlib".to_vec(), 1007),
        ("trailing bytes", [&good[..], b"x"].concat(), 1007),
        ("cut off", good[..good.len() - 1].to_vec(), 1007),
        ("not UTF-8", zlib(b"{\xff}"), 1007),
        ("past the limit", zlib(&vec![b' '; (1 << 20) + 1]), 1009),
        ("a bomb", zlib(&vec![0; 64 << 20]), 1009),
    ] {
        let mut peer = Peer::connect(bench.address, &dial).await;
        peer.raw(Frame::binary(bytes)).await;
        assert_eq!(peer.close_code().await, want, "{name}");
    }
    let mut plain = Peer::connect(bench.address, &Dial::default()).await;
    plain.raw(Frame::binary(good)).await;
    assert_eq!(plain.close_code().await, 1003, "no binary frames without deflate");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_with_its_key() {
    let bench = Bench::start(AuthMode::Required).await;
    let mut plain = bench.signed("k1", 0x11).await;
    let dial = Dial { protocol: BOTH, key: Some(("k1", 0x11)), ..Dial::default() };
    let mut sealed = Peer::connect(bench.address, &dial).await;
    let mut other = bench.signed("k2", 0x22).await;
    let mut idle = [bench.signed("k1", 0x11).await, bench.signed("nobody", 0x11).await];
    for peer in [&mut plain, &mut sealed] {
        assert_eq!(peer.ask("status:check", json!({})).await["event"], "status:update");
    }
    // The end comes once all have been answered, however long that took.
    let end = wall_ms() + 700;
    bench
        .ring
        .replace(vec![key("k1", 0x11, "alice").with_life(0, end), key("k2", 0x22, "bob")], vec![])
        .unwrap();
    bench.service.recheck();
    assert_eq!((plain.close_code().await, sealed.close_code().await), (4401, 4401));
    assert!(wall_ms() >= end, "not before its end");
    // Who proved nothing does not learn whether there was such a key.
    for peer in &mut idle {
        let silence = tokio::time::timeout(Duration::from_millis(100), peer.next()).await;
        assert!(silence.is_err(), "{silence:?}");
    }
    idle[0].send(check("late")).await;
    assert_eq!(idle[0].close_code().await, 4401, "but a key is good for nothing after its end");
    assert_eq!(other.ask("status:check", json!({})).await["event"], "status:update");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_taken_away_ends_its_sessions() {
    let bench = Bench::start(AuthMode::Required).await;
    let token = |token| Dial { token, ..Dial::default() };
    let mut alice = Peer::connect(bench.address, &token(ALICE)).await;
    let mut bob = Peer::connect(bench.address, &token(BOB)).await;
    let (mut k1, mut k2) = (bench.signed("k1", 0x11).await, bench.signed("k2", 0x22).await);
    k2.ask("status:check", json!({})).await;
    // alice loses her token, k2 gets another secret.
    bench
        .ring
        .replace(vec![key("k1", 0x11, "alice"), key("k2", 0x44, "bob")], vec![bearer(BOB, "bob")])
        .unwrap();
    bench.service.recheck();
    assert_eq!((alice.close_code().await, k2.close_code().await), (4401, 4401));
    for peer in [&mut bob, &mut k1] {
        assert_eq!(peer.ask("status:check", json!({})).await["event"], "status:update");
    }
    assert_eq!(bench.get("/v1/datasets", ALICE).await.0, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_connections_are_told_in_the_form_of_their_session() {
    let bench = Bench::start_with(AuthMode::Required, |config| config.limits.connections_max = 1).await;
    let mut first = bench.signed("k1", 0x11).await;
    first.ask("status:check", json!({})).await;
    let dial = |protocol| Dial { protocol, key: Some(("k1", 0x11)), ..Dial::default() };
    for protocol in [JSON, SEALED] {
        let mut ws = handshake(bench.address, &dial(protocol)).await.unwrap();
        let mut came = Vec::new();
        while let Some(Ok(message)) = futures_util::StreamExt::next(&mut ws).await {
            came.push(message);
        }
        let text = came.first().and_then(|m| m.to_text().ok()).unwrap_or_default().to_owned();
        if protocol == JSON {
            assert!(text.contains("OVERLOADED") && text.contains(r#","auth":{"#), "{text}");
        } else {
            assert_eq!(came.len(), 1, "no word in the clear: {came:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_keep_nobody_out() {
    let bench = Bench::start_with(AuthMode::Required, |config| config.limits.connections_max = 3).await;
    let bearer = Dial { token: ALICE, ..Dial::default() };
    let mut proved = bench.signed("k1", 0x11).await;
    proved.ask("status:check", json!({})).await;
    let mut known = Peer::connect(bench.address, &bearer).await;
    let mut strangers = Vec::new();
    for id in ["anything", "k2", "nobody"] {
        // None of them has a secret, and none says anything.
        strangers.push(bench.signed(id, 0x77).await);
    }
    let mut bob = bench.signed("k2", 0x22).await;
    for stranger in &mut strangers {
        assert_eq!(stranger.close_code().await, 1013);
    }
    for peer in [&mut proved, &mut known, &mut bob] {
        assert_eq!(peer.ask("status:check", json!({})).await["event"], "status:update");
    }
    assert_eq!(refused_after_hello(&bench, &bearer).await, 1013, "now all have proved themselves");
}

async fn refused_after_hello(bench: &Bench, dial: &Dial<'_>) -> u16 {
    let mut ws = handshake(bench.address, dial).await.unwrap();
    loop {
        match futures_util::StreamExt::next(&mut ws).await.unwrap().unwrap() {
            Message::Close(frame) => return frame.unwrap().code.into(),
            Message::Text(text) => assert!(text.contains("OVERLOADED"), "{text}"),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn signed_and_sealed_sessions_are_told_of_the_stop() {
    let bench = Bench::start(AuthMode::Required).await;
    let dial = |protocol| Dial { protocol, key: Some(("k1", 0x11)), ..Dial::default() };
    let mut peers = vec![
        Peer::connect(bench.address, &dial(JSON)).await,
        Peer::connect(bench.address, &dial(BOTH)).await,
    ];
    let service = bench.service.clone();
    let stop = tokio::spawn(async move { service.shut_down(Duration::from_secs(5)).await });
    for peer in &mut peers {
        assert_eq!(peer.error().await["data"]["code"], "SHUTTING_DOWN");
        assert_eq!(peer.next().await, Came::Closed(1001));
    }
    assert!(stop.await.unwrap());
}

/// The clock of the system, set to another time while the server runs.
#[derive(Debug)]
struct SetClock(SystemClock, Arc<AtomicI64>);

impl Clock for SetClock {
    fn now(&self) -> Now {
        let now = self.0.now();
        Now { wall_ms: now.wall_ms.saturating_add_signed(self.1.load(Ordering::Relaxed)), ..now }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_set_neither_ends_sessions_nor_lets_messages_in_twice() {
    const HOUR_MS: i64 = 3_600_000;
    let offset = Arc::new(AtomicI64::new(0));
    let clock = SetClock(SystemClock::default(), Arc::clone(&offset));
    let bench = Bench::start_with(AuthMode::Required, |config| config.clock = Arc::new(clock)).await;
    let mut peer = bench.signed("k1", 0x11).await;
    let text = signed(&check("once"), "k1", 0x11, UP, wall_ms());
    peer.raw_text(&text).await;
    peer.until(|m| m["requestId"] == "once").await;
    for back in [-HOUR_MS, -87_600 * HOUR_MS] {
        offset.store(back, Ordering::Relaxed);
        assert_eq!(peer.ask("status:check", json!({})).await["event"], "status:update", "{back}");
        peer.raw_text(&text).await;
        assert_eq!(peer.error().await["data"]["code"], "AUTH_REPLAYED", "{back}");
    }
    // Forwards, whoever signs by his own clock is told the time, and can sign by it from then on.
    offset.store(HOUR_MS, Ordering::Relaxed);
    let mut told = bench.signed("k1", 0x11).await;
    let hello_ms = told.hello["data"]["serverTime"].as_u64().unwrap();
    let refused = told.ask("status:check", json!({})).await;
    assert_eq!(refused["data"]["code"], "AUTH_EXPIRED");
    let time = refused["data"]["details"]["serverTime"].as_u64().unwrap();
    assert!(time.abs_diff(hello_ms) < 10_000 && time > wall_ms() + 3_000_000, "{time} {hello_ms}");
    told.raw_text(&signed(&check("told"), "k1", 0x11, UP, time)).await;
    assert_eq!(told.until(|m| m["requestId"] == "told").await["event"], "status:update");
    // Set right again, the time that was told holds on.
    offset.store(0, Ordering::Relaxed);
    told.raw_text(&signed(&check("later"), "k1", 0x11, UP, time)).await;
    assert_eq!(told.until(|m| m["requestId"] == "later").await["event"], "status:update");
}
