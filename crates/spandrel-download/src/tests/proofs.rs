//! Sessions that prove messages, hide them, or have no pings of their own.

use spandrel_session::AuthFailure;

use super::*;

const CHECK: &str = r#"{"event":"status:check","data":{},"timestamp":1,"requestId":"own"}"#;

fn unproved(bench: &mut Bench, text: &str, why: AuthFailure) -> Value {
    bench.with(0, |conversation, now, _| conversation.unproved(now, text, &why));
    bench.settle();
    bench.last(0).clone()
}

#[test]
fn a_message_without_proof_is_answered_and_not_acted_on() {
    let mut bench = Bench::new(1);
    let expired = AuthFailure::Expired { server_time_ms: 1_234 };
    let full = AuthFailure::CacheFull { retry_after_ms: 777 };
    for (name, text, why, code, is_own) in [
        ("no auth", CHECK, AuthFailure::Required, "AUTH_REQUIRED", false),
        ("wrong", CHECK, AuthFailure::Invalid, "AUTH_INVALID", false),
        ("expired", CHECK, expired, "AUTH_EXPIRED", true),
        ("expired nonsense", "nonsense", expired, "AUTH_EXPIRED", false),
        ("expired, of an id no client has", &CHECK.replace("own", "srv-1"), expired, "AUTH_EXPIRED", false),
        ("expired, bad envelope", &CHECK.replace("{}", "[]"), expired, "AUTH_EXPIRED", true),
        ("replayed", CHECK, AuthFailure::Replayed, "AUTH_REPLAYED", true),
        ("no room", CHECK, full, "OVERLOADED", true),
    ] {
        let answer = unproved(&mut bench, text, why);
        assert_eq!(
            (&answer["event"], &answer["data"]["code"]),
            (&json!("system:error"), &json!(code)),
            "{name}"
        );
        assert_eq!(answer["requestId"] == "own", is_own, "{name}: {answer}");
        assert!(is_own || answer["requestId"].as_str().unwrap().starts_with("srv-"), "{name}: {answer}");
    }
    assert!(!bench.events(0).contains(&"status:update"));
    assert_eq!(unproved(&mut bench, CHECK, expired)["data"]["details"]["serverTime"], 1_234);
    assert_eq!(unproved(&mut bench, CHECK, full)["data"]["retryAfter"], 777);
}

#[test]
fn messages_without_proof_use_up_neither_the_rate_nor_the_refusals() {
    let limits = Limits { messages_per_s: 1, message_burst: 1, ..Limits::default() };
    let mut bench = Bench::with_limits(1, limits);
    for _ in 0..50 {
        unproved(&mut bench, "nonsense", AuthFailure::Required);
    }
    assert_eq!(bench.peers[0].closed, None);
    let id = bench.say(0, "status:check", json!({}));
    assert_eq!(bench.answer(0, &id)["event"], "status:update");
}

#[test]
fn a_message_is_counted_once() {
    let limits = Limits { messages_per_s: 1, message_burst: 2, ..Limits::default() };
    let mut bench = Bench::with_limits(1, limits);
    let count = |bench: &mut Bench| bench.with(0, |conversation, now, _| conversation.count(now));
    assert_eq!(count(&mut bench), Ok(()));
    let id = bench.say(0, "status:check", json!({}));
    assert_eq!(bench.answer(0, &id)["event"], "status:update", "the driver counted it");
    assert_eq!(count(&mut bench), Ok(()));
    assert_eq!(unproved(&mut bench, CHECK, AuthFailure::Replayed)["data"]["code"], "AUTH_REPLAYED");
    let wait_ms = count(&mut bench).expect_err("two at once");
    let too_fast = AuthFailure::TooFast { retry_after_ms: wait_ms };
    let answer = unproved(&mut bench, CHECK, too_fast);
    assert_eq!((&answer["data"]["code"], &answer["requestId"]), (&json!("RATE_LIMITED"), &json!("own")));
    assert!(answer["data"]["retryAfter"].as_u64().unwrap() >= wait_ms, "{answer}");
    let answer = unproved(&mut bench, "nonsense", too_fast);
    assert_eq!(answer["data"]["code"], "MALFORMED_MESSAGE", "what it is comes before how often");
    let id = bench.say(0, "status:check", json!({}));
    assert_eq!(bench.answer(0, &id)["data"]["code"], "RATE_LIMITED");
}

#[test]
fn a_recorded_message_is_not_read_for_ever() {
    let limits = Limits { messages_per_s: 1, message_burst: 3, ..Limits::default() };
    let mut bench = Bench::with_limits(1, limits);
    let expired = AuthFailure::Expired { server_time_ms: 1_234 };
    let mut codes = |n| -> Vec<_> {
        let answers = std::iter::repeat_with(|| unproved(&mut bench, CHECK, expired));
        answers.take(n).map(|a| (a["data"]["code"].clone(), a["requestId"] == "own")).collect()
    };
    assert_eq!(codes(3), vec![(json!("AUTH_EXPIRED"), true); 3]);
    assert_eq!(codes(5), vec![(json!("RATE_LIMITED"), false); 5]);
    assert_eq!(bench.peers[0].closed, None);
    bench.pass(1_000);
    assert_eq!(unproved(&mut bench, CHECK, expired)["data"]["code"], "AUTH_EXPIRED");
}

#[test]
fn any_message_is_a_sign_of_life_proved_or_not() {
    let mut bench = Bench::new(1);
    for _ in 0..5 {
        bench.pass(9_000);
        unproved(&mut bench, CHECK, AuthFailure::Required);
    }
    assert_eq!(bench.peers[0].closed, None);
    bench.pass(15_000);
    assert_eq!(bench.peers[0].closed, Some(CloseCode::HEARTBEAT));
}

#[test]
fn where_there_are_no_pings_messages_ask_for_life() {
    let mut bench = Bench::with_sessions(1, Limits::default(), |config| config.pings = Pings::Messages);
    bench.pass(10_000);
    let ping = bench.last(0);
    assert_eq!((&ping["event"], &ping["data"]), (&json!("connection:health"), &json!({ "kind": "ping" })));
    assert!(ping["requestId"].as_str().unwrap().starts_with("srv-"));
    assert_eq!(bench.peers[0].pings, 0);
    bench.say(0, "connection:health", json!({ "kind": "pong" }));
    bench.pass(14_999);
    assert_eq!(bench.peers[0].closed, None, "a pong is life");
    bench.pass(1);
    assert_eq!(bench.peers[0].closed, Some(CloseCode::HEARTBEAT));
}

#[test]
fn the_hello_of_a_sealed_session_carries_its_nonce() {
    let bench =
        Bench::with_sessions(1, Limits::default(), |config| config.server_nonce = Some("nonce".into()));
    assert_eq!(bench.last(0)["data"]["serverNonce"], "nonce");
}

#[test]
fn pairs_are_messages_and_wrong_ones_count_as_refusals() {
    let mut bench = Bench::new(1);
    let line = |bench: &mut Bench, line: &str| {
        bench.with(0, |conversation, now, world| {
            if let Some(question) = conversation.pair(now, line) {
                conversation.answer(now, world, question);
            }
        });
        bench.settle();
    };
    line(&mut bench, &format!(r#"{{"key":"status:check","value":{CHECK}}}"#));
    assert_eq!(bench.answer(0, "own")["event"], "status:update");
    for n in 1..=11 {
        assert_eq!(bench.peers[0].closed, None, "{n}");
        line(&mut bench, &format!(r#"{{"key":"status:fly","value":{CHECK}}}"#));
        assert_eq!(
            (&bench.last(0)["data"]["code"], &bench.last(0)["requestId"]),
            (&json!("INVALID_ENVELOPE"), &json!("own"))
        );
    }
    assert_eq!(bench.peers[0].closed, Some(CloseCode::POLICY));
}

#[test]
fn a_status_leaves_room_for_signature_and_seal() {
    let count = |sent_bytes_max| {
        let limits = Limits { message_burst: 1_000, ..Limits::default() };
        let mut bench = Bench::with_sessions(1, limits, |config| config.sent_bytes_max = sent_bytes_max);
        for _ in 0..60 {
            bench.say(0, "download:request", request(10));
        }
        let id = bench.say(0, "status:check", json!({ "scope": "all" }));
        let answer = bench.answer(0, &id);
        (answer.to_string().len(), answer["data"]["activeDownloads"].as_object().unwrap().len())
    };
    assert_eq!(count(1 << 20).1, 60);
    let (bytes, jobs) = count(10_000);
    assert!(bytes <= 10_000 && jobs > 5, "{jobs} jobs in {bytes} bytes");
}
