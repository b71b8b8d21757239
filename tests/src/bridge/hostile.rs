//! Pages that mean harm, or are broken. After each case a page that was there before is served at once, and when all are
//! over memory and descriptors are what they were.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{Bytes, Message};

use super::page::Page;
use super::parent::Parent;
use super::turn;

/// A good page waits no longer than this while others attack.
const SERVED_WITHIN: Duration = Duration::from_secs(2);
/// What may remain of all of it, in KiB.
const REST_MAX_KIB: u64 = 24 << 10;

struct Victim {
    parent: Parent,
    good: Page,
    before_kib: u64,
}

impl Victim {
    async fn new() -> Self {
        let mut parent = Parent::open(&[]).await;
        let mut good = Page::open(parent.address(), "good").await;
        good.settle().await;
        let _ = parent.next("data").await;
        let before_kib = parent.rss_kib();
        Self { parent, good, before_kib }
    }

    async fn attacker(&self) -> Page {
        Page::open(self.parent.address(), "attacker").await
    }

    /// The good page speaks and is heard, as after every case.
    async fn still_serves(&mut self, case: &str) {
        assert!(self.parent.is_running(), "{case}: the bridge ended: {:?}", self.parent.log());
        let marker = json!({ "after": case });
        self.good.say(&marker.to_string()).await;
        let heard = async { while self.parent.next("data").await != marker {} };
        timeout(SERVED_WITHIN, heard).await.unwrap_or_else(|_| panic!("{case}: the good page waits"));
    }

    /// One `close` per `connection`, and nothing kept.
    async fn end(mut self) {
        self.parent.say("send", json!("done")).await;
        loop {
            if self.good.hear().await == r#"{"data":"done"}"# {
                break;
            }
        }
        let told = |key: &str| self.parent.said.iter().filter(|(said, _)| said == key).count();
        // The good page came before and is still here.
        let (came, went) = (told("connection") - 1, told("close"));
        for _ in went..came {
            let _ = self.parent.next("close").await;
        }
        let rest = self.parent.rss_kib().saturating_sub(self.before_kib);
        assert!(rest < REST_MAX_KIB, "{rest} KiB remain");
        assert_eq!(self.parent.leave().await.code(), Some(0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_nobody_should_send_are_harmless() {
    let _turn = turn().await;
    let mut victim = Victim::new().await;
    let deep = format!("42[\"message\",{}{}]", "[".repeat(100_000), "]".repeat(100_000));
    let many = format!("42[\"message\"{}]", ",1".repeat(100_000));
    let long_name = format!("42[\"{}\",1]", "n".repeat(1_000_000));
    let cases = [
        "42[]",
        "42[null]",
        "42[1]",
        "42[{}]",
        "42[[\"message\"]]",
        "42[\"\"]",
        "42[\"message\"]",
        "42[\"message\",null]",
        "420[\"message\",null]",
        "42[\"message\",undefined]",
        "42[\"message\",1,2]",
        "42[\"message\",{\"key\":{\"key\":null}}]",
        "42[\"matchTarget\"]",
        "42[\"matchTarget\",null]",
        "42[\"matchTarget\",{}]",
        "42[\"matchTarget\",\"good\"]",
        "42[\"matchTarget\",{\"roomId\":[]}]",
        "42[\"error\",1]",
        "42[\"error\"]",
        "42[\"close\"]",
        "42[\"connect\"]",
        "42[\"connection\"]",
        "42[\"disconnect\",\"x\"]",
        "42[\"disconnecting\"]",
        "42[\"newListener\"]",
        "42[\"removeListener\",\"x\"]",
        "42[\"__proto__\",{}]",
        "42[\"constructor\",{\"prototype\":{}}]",
        "42[\"toString\"]",
        "42[\"mode\",1]",
        "42[\"message\",{\"__proto__\":{\"key\":1}}]",
        "4299999999999999999999[\"message\",1]",
        "42-1[\"message\",1]",
        "42 [\"message\",1]",
        "42/,[\"message\",1]",
        "42/other,[\"message\",1]",
        "42/other,7[\"message\",1]",
        "40/other",
        "40/other?query=1,",
        "40",
        "41/other",
        "43[]",
        "437[1]",
        "44\"x\"",
        "45",
        "451-[\"message\",{\"_placeholder\":true,\"num\":0}]",
        "450-[\"message\",1]",
        "4599-[\"message\",1]",
        "451-[\"message\",{\"_placeholder\":true,\"num\":1}]",
        "451-[\"message\",{\"_placeholder\":true,\"num\":-1}]",
        "451-[\"message\",{\"_placeholder\":true}]",
        "461-7[{\"_placeholder\":true,\"num\":0}]",
        "46",
        "47",
        "49[]",
        "4",
        "4garbage",
        "4[\"message\",1]",
        "42{\"message\":1}",
        "42[\"message\",1",
        "42[\"message\",\"\\ud800\"]",
        "42[\"message\",\"\u{0}\"]",
        "0{}",
        "2",
        "2probe",
        "3",
        "5",
        "6",
        "7",
        "9",
        "",
        "probe",
        &deep,
        &many,
        &long_name,
    ];
    for case in cases {
        let mut attacker = victim.attacker().await;
        let _ = attacker.try_send(Message::text(case)).await;
        let _ = attacker.try_send(Message::text("42[\"message\",\"and on\"]")).await;
        victim.still_serves(&case.chars().take(60).collect::<String>()).await;
    }
    let room = victim.parent.said.iter().filter(|(key, _)| key == "close").map(|(_, value)| value);
    assert!(room.clone().all(|room| *room == json!("attacker")), "{:?}", room.collect::<Vec<_>>());
    victim.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_are_none_are_harmless() {
    let _turn = turn().await;
    let mut victim = Victim::new().await;
    let attachment = "451-[\"message\",{\"_placeholder\":true,\"num\":0}]";
    for (case, frames) in [
        ("binary out of nowhere", vec![Message::binary(&b"\x04\x01\x02"[..])]),
        ("empty binary", vec![Message::Binary(Bytes::new())]),
        ("an unknown type", vec![Message::binary(&b"\xff\x00"[..])]),
        ("a ping in binary", vec![Message::binary(&b"\x02"[..])]),
        ("a text while binary is due", vec![Message::text(attachment), Message::text("42[\"message\",1]")]),
        ("an event while binary is due", vec![Message::text(attachment), Message::text(attachment)]),
        ("a ping while binary is due", vec![Message::text(attachment), Message::text("2")]),
        (
            "more than was announced",
            vec![Message::text(attachment), Message::binary(&b"\x04a"[..]), Message::binary(&b"\x04b"[..])],
        ),
        ("a close without a code", vec![Message::Close(None)]),
        ("pings of WebSocket", vec![Message::Ping(Bytes::from_static(&[0; 125])); 200]),
        ("a hundred thousand pings", vec![Message::text("2"); 100_000]),
        ("connects to other rooms", vec![Message::text("40/a"); 10_000]),
    ] {
        let mut attacker = victim.attacker().await;
        for frame in frames {
            if !attacker.try_send(frame).await {
                break;
            }
        }
        victim.still_serves(case).await;
    }
    victim.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_websocket_are_harmless() {
    let _turn = turn().await;
    let mut victim = Victim::new().await;
    let address = victim.parent.address();
    let upgrade = |room: &str| {
        format!(
            "GET /socket.io/?roomId={room}&EIO=3&transport=websocket HTTP/1.1\r\nHost: {address}\r\n\
             Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
    };
    let polling = |target: &str, body: &str| {
        format!(
            "POST /socket.io/?EIO=3&transport=polling{target} HTTP/1.1\r\nHost: {address}\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let after_upgrade = |bytes: &[u8]| [upgrade("attacker").as_bytes(), bytes].concat();
    for (case, bytes) in [
        ("nothing", Vec::new()),
        ("zeros", vec![0; 4096]),
        ("a TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec()),
        ("half a head", b"GET /socket.io/?EIO=3".to_vec()),
        ("a head without end", [b"GET / HTTP/1.1\r\nX: ".to_vec(), vec![b'x'; 200_000]].concat()),
        ("a thousand headers", [b"GET / HTTP/1.1\r\n".to_vec(), b"X: y\r\n".repeat(1_000)].concat()),
        ("a room of a megabyte", upgrade(&"r".repeat(1_000_000)).into_bytes()),
        ("percent signs that are none", upgrade("%%%zz%f").into_bytes()),
        ("a room that is no UTF-8", upgrade("%ff%fe%00").into_bytes()),
        ("an unmasked frame", after_upgrade(b"\x81\x02hi")),
        ("a frame of 8 exabytes", after_upgrade(b"\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0")),
        ("a frame of 100 megabytes", after_upgrade(b"\x81\xff\0\0\0\0\x06\0\0\0\0\0\0\0")),
        ("reserved bits", after_upgrade(b"\xf1\x80\0\0\0\0")),
        ("a reserved opcode", after_upgrade(b"\x83\x80\0\0\0\0")),
        ("a long ping", after_upgrade(b"\x89\xfe\x01\x00\0\0\0\0")),
        ("a continuation of nothing", after_upgrade(b"\x80\x80\0\0\0\0")),
        ("text that is no UTF-8", after_upgrade(b"\x81\x82\0\0\0\0\xc3\x28")),
        ("a close of one byte", after_upgrade(b"\x88\x81\0\0\0\0\x03")),
        ("a post to nobody", polling("&sid=AAAAAAAAAAAAAAAAAAAA", "6:42[\"a\"]").into_bytes()),
        ("a post that promises 100 megabytes", b"POST /socket.io/?EIO=3&transport=polling&sid=x HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 104857600\r\n\r\n".to_vec()),
        ("two lengths", b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx".to_vec()),
    ] {
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        let _ = stream.write_all(&bytes).await;
        let _ = timeout(Duration::from_millis(50), stream.read(&mut [0; 1024])).await;
        victim.still_serves(case).await;
    }
    victim.end().await;
}

/// A session over polling, by hand.
async fn poll(address: std::net::SocketAddr, method: &str, sid: &str, body: &[u8], kind: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let sid = if sid.is_empty() { String::new() } else { format!("&sid={sid}") };
    let head = format!(
        "{method} /socket.io/?roomId=attacker&EIO=3&transport=polling{sid} HTTP/1.1\r\nHost: {address}\r\n\
         Connection: close\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let _ = stream.write_all(&[head.as_bytes(), body].concat()).await;
    let mut answer = Vec::new();
    let _ = timeout(Duration::from_secs(8), stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn payloads_that_are_none_are_harmless() {
    let _turn = turn().await;
    let mut victim = Victim::new().await;
    let address = victim.parent.address();
    let text = "text/plain;charset=UTF-8";
    let bytes = "application/octet-stream";
    for (case, body, kind) in [
        ("empty", &b""[..], text),
        ("no length", b"42[\"message\",1]", text),
        ("a length of nothing", b":", text),
        ("a length of letters", b"x:4", text),
        ("a negative length", b"-1:4", text),
        ("a length of 400 digits", &[&[b'9'; 400][..], b":4"].concat(), text),
        ("longer than it is", b"99:42[\"message\",1]", text),
        ("a border inside an emoji", "16:42[\"message\",\"\u{1f600}\"]".as_bytes(), text),
        ("no UTF-8", b"4:4\xc3\x28\xff", text),
        ("base64 that is none", b"6:b4!!!!", text),
        ("base64 of nothing", b"2:b4", text),
        ("no length in binary", b"\x00\x04", bytes),
        ("a length of 400 digits in binary", &[&[0_u8][..], &[9; 400], &[0xff, 4]].concat(), bytes),
        ("a digit that is none", b"\x00\x0a\xff4", bytes),
        ("an unknown kind", b"\x07\x01\xff4", bytes),
        ("longer than it is in binary", b"\x01\x09\x09\xff\x04", bytes),
        ("half a packet", b"\x01", bytes),
    ] {
        let opened = poll(address, "GET", "", b"", text).await;
        let sid = opened.split(r#""sid":""#).nth(1).and_then(|rest| rest.split('"').next());
        let sid = sid.unwrap_or_else(|| panic!("{case}: a session: {opened}")).to_owned();
        let answer = poll(address, "POST", &sid, body, kind).await;
        assert!(answer.starts_with("HTTP/1.1 "), "{case}: {answer:?}");
        victim.still_serves(case).await;
        let _ = poll(address, "POST", &sid, b"1:1", text).await;
    }
    victim.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_sessions_that_are_dropped_leaves_nothing() {
    let _turn = turn().await;
    let mut victim = Victim::new().await;
    for round in 0..20 {
        let mut some = Vec::new();
        for _ in 0..50 {
            some.push(victim.attacker().await);
        }
        drop(some);
        victim.still_serves(&format!("round {round}")).await;
    }
    victim.end().await;
}
