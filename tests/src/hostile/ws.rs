//! WebSocket: frames that break RFC 6455, messages that break the protocol.

use std::net::SocketAddr;

use serde_json::json;

use super::raw::{Fate, Raw, Wire, frame, head};
use super::{Victim, Want, documents};
use Want::{Close, Error, Refusal};

const BROKEN: Want = Close(&[1002]);
const TOO_BIG: Want = Close(&[1009]);

/// Byte sequences that are not UTF-8.
pub(super) const NOT_UTF8: &[&[u8]] = &[
    b"\x80",
    b"\xbf",
    b"\xc0\x80",
    b"\xc0\xaf",
    b"\xc1\xbf",
    b"\xc2",
    b"\xc2\x20",
    b"\xe0\x80\x80",
    b"\xe0\x80\xaf",
    b"\xe0\x9f\xbf",
    b"\xe0\xa0",
    b"\xed\xa0\x80",
    b"\xed\xaf\xbf",
    b"\xed\xb0\x80",
    b"\xed\xbf\xbf",
    b"\xed\xa0\x80\xed\xb0\x80",
    b"\xf0\x80\x80\x80",
    b"\xf0\x80\x80\xaf",
    b"\xf0\x8f\xbf\xbf",
    b"\xf0\x90\x80",
    b"\xf4\x90\x80\x80",
    b"\xf5\x80\x80\x80",
    b"\xf8\x88\x80\x80\x80",
    b"\xfb\xbf\xbf\xbf\xbf",
    b"\xfc\x84\x80\x80\x80\x80",
    b"\xfe",
    b"\xff",
    b"\xfe\xfe\xff\xff",
    b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
    b"abc\xff",
];

fn frames() -> Vec<(String, Vec<u8>, Want)> {
    let mut all: Vec<(String, Vec<u8>, Want)> = Vec::new();
    let mut add = |name: String, bytes: Vec<u8>, want| all.push((name, bytes, want));
    for opcode in [1, 2, 8, 9, 10] {
        for bits in 1..8 {
            add(
                format!("reserved bits {bits:03b} on opcode {opcode}"),
                frame(0x80 | bits << 4 | opcode, b"{}"),
                BROKEN,
            );
        }
    }
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        for len in [0, 5, 125, 300] {
            add(format!("opcode {opcode} of {len} bytes"), frame(0x80 | opcode, &vec![b'a'; len]), BROKEN);
        }
    }
    for opcode in [0, 1, 2, 8, 9, 10] {
        for len in [0, 1, 125] {
            let mut bytes = head(0x80 | opcode, len as u64, false);
            bytes.extend(vec![b'a'; len]);
            add(format!("unmasked opcode {opcode} of {len} bytes"), bytes, BROKEN);
        }
    }
    for opcode in [8, 9, 10] {
        for len in [126, 127, 65_535, 65_536] {
            add(
                format!("control opcode {opcode} of {len} bytes"),
                frame(0x80 | opcode, &vec![b'a'; len]),
                BROKEN,
            );
        }
        for len in [0, 10] {
            add(
                format!("a fragment of control opcode {opcode}, {len} bytes"),
                frame(opcode, &vec![b'a'; len]),
                BROKEN,
            );
        }
    }
    for (first, end) in [(0x80, "the end"), (0x00, "the middle")] {
        for len in [0, 1, 100] {
            add(format!("{end} of nothing, {len} bytes"), frame(first, &vec![b'a'; len]), BROKEN);
        }
    }
    for (name, first, second) in
        [("a text in a text", 1, 0x81), ("an open text in a text", 1, 1), ("bytes in a text", 1, 0x82)]
    {
        add(name.to_owned(), [frame(first, b"{"), frame(second, b"}")].concat(), BROKEN);
    }
    for code in [0_u16, 1, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999] {
        add(format!("goodbye {code}"), frame(0x88, &code.to_be_bytes()), BROKEN);
    }
    for code in [5000_u16, 65_535] {
        add(format!("goodbye {code}"), frame(0x88, &code.to_be_bytes()), Refusal);
    }
    for code in [1000_u16, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999] {
        add(format!("goodbye {code}, which is allowed"), frame(0x88, &code.to_be_bytes()), Refusal);
    }
    add("a goodbye of one byte".into(), frame(0x88, &[3]), BROKEN);
    for (at, bad) in NOT_UTF8.iter().enumerate() {
        add(format!("not UTF-8, number {at}"), frame(0x81, bad), Close(&[1007]));
        let (first, second) = bad.split_at(bad.len() / 2);
        add(
            format!("not UTF-8 in two parts, number {at}"),
            [frame(1, first), frame(0x80, second)].concat(),
            Close(&[1007]),
        );
        let reason = [&1000_u16.to_be_bytes()[..], bad].concat();
        add(format!("a goodbye that is not UTF-8, number {at}"), frame(0x88, &reason), Close(&[1002, 1007]));
    }
    for first in [0x81, 0x82, 0x01] {
        for len in [(1 << 20) + 1, 1 << 21, 1 << 30, 1 << 32, 1 << 40, (1 << 62) + 5, i64::MAX as u64] {
            add(format!("{len} bytes announced with {first:#x}"), head(first, len, true), TOO_BIG);
        }
        add(
            format!("2^63 bytes announced with {first:#x}"),
            head(first, 1 << 63, true),
            Close(&[1002, 1009]),
        );
        add(
            format!("2^64 - 1 bytes announced with {first:#x}"),
            head(first, u64::MAX, true),
            Close(&[1002, 1009]),
        );
    }
    let part = vec![b' '; 64 << 10];
    let mut long = frame(1, b"{");
    for _ in 0..17 {
        long.extend(frame(0, &part));
    }
    add("parts that are too much together".into(), long, TOO_BIG);
    for len in [0, 1] {
        let mut many = frame(1, b"{");
        many.extend(frame(0, &vec![b' '; len]).repeat(130_000));
        add(format!("130,000 parts of {len} bytes"), many, Close(&[1002, 1008, 1009]));
    }
    for len in [0, 1, 1000] {
        add(format!("{len} bytes where texts are spoken"), frame(0x82, &vec![b'{'; len]), Close(&[1003]));
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_break_the_rules_are_told_why() {
    let _turn = crate::e2e::turn().await;
    let mut victim = Victim::new(json!({})).await;
    for (name, bytes, want) in frames() {
        let mut raw = Raw::open(Wire::Ws, victim.server.address()).await;
        raw.send(&bytes).await;
        let fate = raw.fate().await;
        want.check(&name, &fate);
        victim.still_serves(&name).await;
    }
    victim.end(260).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_break_the_rules_are_answered() {
    let _turn = crate::e2e::turn().await;
    let mut victim = Victim::new(json!({})).await;
    let at = victim.server.address();
    messages(&mut victim, Wire::Ws, at).await;
    victim.end(300).await;
}

/// Every document over one kind of wire; ten refusals are what a connection may have in a minute.
pub(super) async fn messages(victim: &mut Victim, wire: Wire, at: SocketAddr) {
    let mut cases: Vec<(String, Vec<u8>, Want)> = Vec::new();
    cases.extend(documents::malformed().into_iter().map(|(n, t)| (n, t, Error(&["MALFORMED_MESSAGE"]))));
    let wrong = Error(&["INVALID_ENVELOPE"]);
    cases.extend(documents::ill_enveloped().into_iter().map(|(n, t)| (n, t.into_bytes(), wrong)));
    cases.extend(documents::ill_shaped().into_iter().map(|(n, t)| (n, t.into_bytes(), Refusal)));
    let mut raw = Raw::open(wire, at).await;
    for (at_case, (name, text, want)) in cases.into_iter().enumerate() {
        if at_case % 10 == 9 {
            raw = Raw::open(wire, at).await;
        }
        raw.text(&text).await;
        let fate = raw.fate().await;
        want.check(&name, &fate);
        victim.still_serves(&name).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_messages_are_counted_and_the_eleventh_ends_the_connection() {
    let _turn = crate::e2e::turn().await;
    let mut victim = Victim::new(json!({})).await;
    let mut raw = Raw::open(Wire::Ws, victim.server.address()).await;
    for _ in 0..10 {
        raw.text(b"nonsense").await;
        Error(&["MALFORMED_MESSAGE"]).check("one of ten", &raw.fate().await);
    }
    raw.text(b"nonsense").await;
    let mut fate = raw.fate().await;
    if matches!(fate, Fate::Said(_)) {
        fate = raw.fate().await;
    }
    Close(&[1008]).check("the eleventh", &fate);
    victim.still_serves("the eleventh").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_message_is_not_waited_for() {
    let _turn = crate::e2e::turn().await;
    let mut victim = Victim::new(json!({})).await;
    let address = victim.server.address();
    let halves: [(&str, Vec<u8>); 4] = [
        ("half a head", vec![0x81]),
        ("half a payload", frame(0x81, b"{\"event\"")[..10].to_vec()),
        ("a part without an end", frame(0x01, b"{")),
        ("a megabyte announced", head(0x81, 1 << 20, true)),
    ];
    let mut waiting = tokio::task::JoinSet::new();
    for (name, bytes) in halves {
        waiting.spawn(async move {
            let mut raw = Raw::open(Wire::Ws, address).await;
            raw.send(&bytes).await;
            (name, raw.fate().await)
        });
    }
    while let Some(ended) = waiting.join_next().await {
        let (name, fate) = ended.expect("no panic");
        Close(&[1008]).check(name, &fate);
        victim.still_serves(name).await;
    }
}
