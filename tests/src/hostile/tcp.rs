//! Length-prefixed frames over plain TCP that break protocol section 2.2, and the documents of every wire.

use std::net::SocketAddr;

use serde_json::json;

use super::raw::{Fate, Raw, Wire, tcp_frame};
use super::ws::{NOT_UTF8, messages};
use super::{Victim, Want};
use crate::e2e::ws::SUBPROTOCOL;
use Want::{Close, Refusal};

/// A victim that listens on a TCP port too.
async fn victim() -> (Victim, SocketAddr) {
    let victim = Victim::new(json!({ "tcpListen": "127.0.0.1:0" })).await;
    let at = victim.server.tcp();
    (victim, at)
}

/// Before the hello: what is said instead of an offer.
fn offers() -> Vec<(String, Vec<u8>, Want)> {
    let mut all: Vec<(String, Vec<u8>, Want)> = Vec::new();
    let mut add = |name: String, bytes: Vec<u8>, want| all.push((name, bytes, want));
    for offer in [
        "",
        "nope.v3",
        ",",
        " ",
        "spandrel.download.v1",
        "SPANDREL.DOWNLOAD.V1+JSON",
        "spandrel.download.v1+json+x",
        " spandrel.download.v1+json",
        "spandrel.download.v1+json\0",
        "a,b,c,d",
    ] {
        add(format!("the offer {offer:?}"), tcp_frame(0, offer.as_bytes()), Close(&[4406, 1002, 1007]));
    }
    for (at, bad) in NOT_UTF8.iter().enumerate() {
        add(
            format!("an offer that is not UTF-8, number {at}"),
            tcp_frame(0, bad),
            Close(&[1002, 1007, 4406]),
        );
    }
    for kind in [1, 2, 4, 5, 127, 128, 255] {
        add(
            format!("kind {kind} instead of an offer"),
            tcp_frame(kind, SUBPROTOCOL.as_bytes()),
            Close(&[1002, 1003, 4406]),
        );
    }
    for len in [0_u32, (1 << 20) + 2, 1 << 24, 1 << 30, 1 << 31, u32::MAX] {
        let bytes = [&len.to_be_bytes()[..], &[0]].concat();
        add(format!("an offer that announces {len}"), bytes, Close(&[1009]));
    }
    add("a very long offer".into(), tcp_frame(0, &vec![b'a'; 100_000]), Close(&[1009, 1002, 4406]));
    add(
        "an offer of ten thousand names".into(),
        tcp_frame(0, "a,".repeat(10_000).as_bytes()),
        Close(&[1009, 1002, 4406]),
    );
    for text in ["GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01\x02\x00\x01\x00", "SSH-2.0-x\r\n", "{\"event\":1}\n"]
    {
        // The first four bytes announce more than a frame may have.
        add(format!("another protocol: {text:?}"), text.as_bytes().to_vec(), Close(&[1009]));
    }
    all
}

/// Past the hello.
fn frames() -> Vec<(String, Vec<u8>, Want)> {
    let mut all: Vec<(String, Vec<u8>, Want)> = Vec::new();
    let mut add = |name: String, bytes: Vec<u8>, want| all.push((name, bytes, want));
    for kind in (4..=255).chain([0]) {
        add(format!("kind {kind}"), tcp_frame(kind, b"{}"), Close(&[1002, 1003]));
    }
    for len in [0, 1, 1_000, 100_000] {
        add(format!("{len} bytes where texts are spoken"), tcp_frame(2, &vec![b'{'; len]), Close(&[1003]));
    }
    for len in [0_u32, (1 << 20) + 2, 1 << 21, 1 << 24, 1 << 28, 1 << 30, 1 << 31, u32::MAX - 1, u32::MAX] {
        for kind in [1, 2, 3, 9] {
            let bytes = [&len.to_be_bytes()[..], &[kind]].concat();
            add(format!("{len} announced, kind {kind}"), bytes, Close(&[1009]));
        }
    }
    for (at, bad) in NOT_UTF8.iter().enumerate() {
        add(format!("not UTF-8, number {at}"), tcp_frame(1, bad), Close(&[1007]));
        let reason = [&1000_u16.to_be_bytes()[..], bad].concat();
        add(format!("a goodbye that is not UTF-8, number {at}"), tcp_frame(3, &reason), Refusal);
    }
    for code in [0_u16, 999, 1000, 1001, 1005, 1006, 1015, 2999, 3000, 4401, 5000, u16::MAX] {
        add(format!("goodbye {code}"), tcp_frame(3, &code.to_be_bytes()), Refusal);
    }
    add("a goodbye of nothing".into(), tcp_frame(3, b""), Refusal);
    add("a goodbye of one byte".into(), tcp_frame(3, b"x"), Refusal);
    add("a very long goodbye".into(), tcp_frame(3, &vec![b'x'; 1 << 20]), Refusal);
    add(
        "a broken frame glued to a bad message".into(),
        [tcp_frame(1, b"{"), tcp_frame(9, b"")].concat(),
        Refusal,
    );
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_break_the_rules_are_told_why() {
    let _turn = crate::e2e::turn().await;
    let (mut victim, at) = victim().await;
    for (name, bytes, want) in offers() {
        let mut raw = Raw::connect(Wire::Tcp, at).await;
        raw.send(&bytes).await;
        want.check(&name, &raw.fate().await);
        victim.still_serves(&name).await;
    }
    for (name, bytes, want) in frames() {
        let mut raw = Raw::open(Wire::Tcp, at).await;
        raw.send(&bytes).await;
        let fate = raw.fate().await;
        // A goodbye is answered with one, or by the end of the stream.
        if !(name.contains("goodbye") && matches!(fate, Fate::Dropped)) {
            want.check(&name, &fate);
        }
        victim.still_serves(&name).await;
    }
    victim.end(400).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_break_the_rules_are_answered() {
    let _turn = crate::e2e::turn().await;
    let (mut victim, at) = victim().await;
    messages(&mut victim, Wire::Tcp, at).await;
    victim.end(300).await;
}
