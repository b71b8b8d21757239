//! Parents that do not read, pages that do not, and floods of both.

use tokio::io::AsyncWriteExt as _;

use crate::rig::*;
use spandrel_bridge_service::{Config, Exit, Limits};

fn config(limits: Limits) -> Config {
    Config::default().with_port(0).with_limits(limits)
}

fn data(n: usize, len: usize) -> String {
    format!(r#"["message",{{"data":{n},"pad":"{}"}}]"#, "x".repeat(len))
}

/// The parent reads nothing while a page says far more than may wait: the oldest data is lost, nothing else, and order holds.
#[tokio::test]
async fn a_parent_that_does_not_read_loses_the_oldest_data_and_no_event() {
    let bytes = 1 << 20;
    let mut program = Program::host(config(limits(|it| it.reports_bytes_max = bytes))).await;
    let to = program.address().await;
    let mut page = Page::in_room(to, "r").await;
    let mut last = Page::in_room(to, "last").await;
    for n in 0..100 {
        page.emit(&data(n, 100_000)).await;
    }
    page.emit(r#"1["message",{"data":"end"}]"#).await;
    assert_eq!(page.frame().await.as_deref(), Some("431[true]"), "the bridge does not wait for the parent");
    page.leave().await;
    last.emit(r#"1["message",{"data":"end"}]"#).await;
    assert_eq!(last.frame().await.as_deref(), Some("431[true]"));

    let heard = program.hears_at_last(r#"{"key":"data","value":{"data":"end"}}"#).await;
    let more = program.hears_at_last(r#"{"key":"data","value":{"data":"end"}}"#).await;
    assert_eq!(more, [r#"{"key":"close","value":"r"}"#]);
    assert_eq!(&heard[..4], [CONNECTION, SINGLE, CONNECTION, SINGLE]);
    let numbers: Vec<u64> = heard[4..]
        .iter()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["value"]["data"].as_u64().unwrap()
        })
        .collect();
    assert!(numbers.is_sorted() && numbers.last() == Some(&99), "{numbers:?}");
    assert!(numbers.len() < 60 && numbers.len() >= bytes / 100_100, "{} of 100 were kept", numbers.len());
    let now = program.handle.snapshot().await.unwrap();
    assert_eq!(now.parent.given_up, 100 - numbers.len() as u64);
}

#[tokio::test]
async fn a_bridge_whose_parent_never_reads_still_stops() {
    let mut program = Program::host(config(limits(|it| it.stop_ms = 100))).await;
    let to = program.address().await;
    let mut page = Page::in_room(to, "r").await;
    for n in 0..50 {
        page.emit(&data(n, 100_000)).await;
    }
    page.emit(r#"1["message",null]"#).await;
    assert_eq!(page.frame().await.as_deref(), Some("431[true]"));
    program.handle.stop();
    page.is_closed().await;
    assert_eq!(program.ends().await, Exit::Stopped);
}

/// Pages that come and go while the parent reads nothing make events, which are never lost: they have to wait.
#[tokio::test]
async fn events_beyond_their_bound_make_pages_wait() {
    let bounds = limits(|it| it.events_bytes_max = 2_000);
    let mut program = Program::host(config(bounds)).await;
    let to = program.address().await;
    let room = "r".repeat(1_000);
    // The socket pair takes some hundred kilobytes before the parent counts as one that does not read.
    let crowd = tokio::spawn(async move {
        for _ in 0..600 {
            Page::in_room(to, &room).await.leave().await;
        }
    });
    let close = format!(r#"{{"key":"close","value":"{}"}}"#, "r".repeat(1_000));
    for _ in 0..600 {
        program.hears([CONNECTION, SINGLE, &close]).await;
    }
    within("the crowd", crowd).await.unwrap();
    program.say(r#"{"key":"open"}"#).await;
    let _page = Page::open(to, "").await;
    program.hears([CONNECTION, SINGLE]).await;
}

#[tokio::test]
async fn a_page_that_does_not_read_is_closed_and_the_others_hear_all() {
    let bounds = limits(|it| it.unsent_bytes_max = 1 << 20);
    let mut program = Program::host(config(bounds)).await;
    let to = program.address().await;
    let deaf = Page::in_room(to, "deaf").await;
    let mut page = Page::in_room(to, "r").await;
    program.hears([CONNECTION, SINGLE, CONNECTION, SINGLE]).await;
    let flood = 200;
    let listening = tokio::spawn(async move {
        for n in 0..flood {
            let heard = page.message().await;
            assert!(heard.starts_with(&format!(r#"{{"data":{{"n":{n},"#)), "{}", &heard[..40]);
        }
        page
    });
    for n in 0..flood {
        program
            .say(&format!(r#"{{"key":"send","value":{{"n":{n},"pad":"{}"}}}}"#, "x".repeat(100_000)))
            .await;
        tokio::task::yield_now().await;
    }
    program.hears([r#"{"key":"close","value":"deaf"}"#]).await;
    let page = within("the flood", listening).await.unwrap();
    drop(deaf);
    page.leave().await;
    program.hears([r#"{"key":"close","value":"r"}"#]).await;
}

/// A parent that says much more than anybody can take, and hears nothing: the bridge lives and answers.
#[tokio::test]
async fn a_parent_that_floods_does_not_end_the_bridge() {
    let mut program = Program::host(config(Limits::default())).await;
    let to = program.address().await;
    let flood = "{\"key\":\"send\",\"value\":{\"a\":1}}\nnull\n\n{\"key\":\"encrypt\",\"value\":\"x\"}\n"
        .repeat(20_000);
    program.say_bytes(flood.as_bytes()).await;
    let _page = Page::in_room(to, "r").await;
    program.hears([CONNECTION, SINGLE]).await;
    assert_eq!(program.leave().await, Exit::ParentGone);
}

/// Pages that begin messages and do not end them cost what all may cost together, and the others go on.
#[tokio::test]
async fn half_messages_over_the_bound_close_the_page_that_holds_most() {
    let bounds = limits(|it| it.held_bytes_max = 1 << 20);
    let mut program = Program::host(config(bounds)).await;
    let to = program.address().await;
    let mut page = Page::in_room(to, "r").await;
    program.hears([CONNECTION, SINGLE]).await;
    let mut halves = Vec::new();
    for (room, kib) in [("a", 300_usize), ("b", 400), ("c", 300), ("d", 300)] {
        let key = "dGhlIHNhbXBsZSBub25jZQ==";
        let upgrade = format!(
            "GET /socket.io/?EIO=3&transport=websocket&roomId={room} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
        );
        let mut stream = tokio::net::TcpStream::connect(to).await.unwrap();
        stream.write_all(upgrade.as_bytes()).await.unwrap();
        program.hears([CONNECTION, SINGLE]).await;
        // A binary frame of 32 MiB announced, and its beginning.
        let mut half = vec![0x82, 0xFF, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0];
        half.resize(half.len() + (kib << 10), 4);
        stream.write_all(&half).await.unwrap();
        page.emit(r#"1["message",1]"#).await;
        assert_eq!(page.frame().await.as_deref(), Some("431[true]"));
        if room != "d" {
            program.hears([r#"{"key":"data","value":1}"#]).await;
        }
        halves.push(stream);
    }
    program.hears_at_last(r#"{"key":"close","value":"b"}"#).await;
    assert_eq!(program.handle.snapshot().await.unwrap().connections.crowded, 1);
}

#[tokio::test]
async fn one_connection_over_the_bound_is_not_taken_in() {
    let bounds = limits(|it| it.connections_max = 3);
    let mut program = Program::host(config(bounds)).await;
    let to = program.address().await;
    let mut pages = Vec::new();
    for _ in 0..3 {
        pages.push(Page::in_room(to, "r").await);
        program.hears([CONNECTION, SINGLE]).await;
    }
    let stream = Box::new(tokio::net::TcpStream::connect(to).await.unwrap());
    assert!(Page::over(stream, to, "client=true").await.is_err());
    assert_eq!(program.handle.snapshot().await.unwrap().connections.turned_away, 1);
    pages.pop().unwrap().leave().await;
    program.hears([r#"{"key":"close","value":"r"}"#]).await;
    let _page = within("a place", async {
        loop {
            let stream = Box::new(tokio::net::TcpStream::connect(to).await.unwrap());
            if let Ok(page) = Page::over(stream, to, "client=true").await {
                break page;
            }
        }
    })
    .await;
    program.hears([CONNECTION, SINGLE]).await;
}

/// A polling page of raw requests, one connection each.
struct Poller {
    to: std::net::SocketAddr,
    sid: String,
}

impl Poller {
    async fn open(to: std::net::SocketAddr) -> Self {
        let hello = ask(to, &get("/socket.io/?EIO=3&transport=polling&roomId=r", "127.0.0.1", "")).await;
        let sid =
            hello.split("\"sid\":\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a session");
        Self { to, sid: sid.to_owned() }
    }

    async fn get(&self) -> String {
        let path = format!("/socket.io/?EIO=3&transport=polling&sid={}", self.sid);
        ask(self.to, &get(&path, "127.0.0.1", "")).await
    }
}

/// A page that polls hears in one answer what a fast device said meanwhile: bytes are the bound, not messages.
#[tokio::test]
async fn a_polling_page_gets_twenty_thousand_small_messages_in_order() {
    let mut program = Program::host(config(Limits::default())).await;
    let to = program.address().await;
    let poller = Poller::open(to).await;
    program.hears([CONNECTION, SINGLE]).await;
    let count = 20_000;
    let lines: String =
        (0..count).map(|n| format!("{{\"key\":\"send\",\"value\":{{\"n\":{n}}}}}\n")).collect();
    program.say_bytes(lines.as_bytes()).await;
    program.has_said(1 + count as u64).await;
    let answer = poller.get().await;
    let packets = answer.split("{\"data\":{\"n\":").skip(1);
    let heard: Vec<usize> = packets.map(|rest| rest.split('}').next().unwrap().parse().unwrap()).collect();
    assert!(!heard.is_empty(), "{answer}");
    assert_eq!(heard, (0..count).collect::<Vec<_>>());
}

#[tokio::test]
async fn one_message_over_the_bound_of_frames_closes_the_page() {
    let bounds = limits(|it| it.unsent_frames_max = 100);
    for (count, is_closed) in [(100, false), (101, true)] {
        let mut program = Program::host(config(bounds.clone())).await;
        let poller = Poller::open(program.address().await).await;
        program.hears([CONNECTION, SINGLE]).await;
        program.say_bytes("{\"key\":\"send\",\"value\":1}\n".repeat(count).as_bytes()).await;
        program.has_said(1 + count as u64).await;
        let dropped = program.handle.snapshot().await.unwrap().messages.dropped;
        assert_eq!(dropped, u64::from(is_closed), "{count}");
        if is_closed {
            program.hears([r#"{"key":"close","value":"r"}"#]).await;
        } else {
            let answer = poller.get().await;
            assert_eq!(answer.matches("{\"data\":1}").count(), count, "{answer}");
        }
    }
}
