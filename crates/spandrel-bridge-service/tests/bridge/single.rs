//! One program and its pages.

use crate::rig::*;
use spandrel_bridge_service::{Config, Exit, Limits, spandrel_bridge_protocol::Secret};

fn config() -> Config {
    Config::default().with_port(0)
}

#[tokio::test]
async fn a_page_comes_talks_and_goes() {
    let mut program = Program::start(config());
    program.say(r#"{"key":"send","value":"nobody hears this"}"#).await;
    program.say(r#"{"key":"open"}"#).await;
    program.hears([RUNS_AS_SERVER, SINGLE]).await;
    let mut page = Page::in_room(program.address().await, "roomA").await;
    program.hears([CONNECTION, SINGLE]).await;
    page.emit(r#"["message",{"data":"{\"a\":1}","mode":0,"type":"utf8"}]"#).await;
    program.hears([r#"{"key":"data","value":{"data":"{\"a\":1}","mode":0,"type":"utf8"}}"#]).await;
    program.say(r#"{"key":"send","value":{"v":1.50}}"#).await;
    program.say(r#"{"key":"send"}"#).await;
    program.say(r#"{"key":"disconnectHardware"}"#).await;
    assert_eq!(page.message().await, r#"{"data":{"v":1.50}}"#);
    assert_eq!(page.message().await, "{}");
    assert_eq!(page.message().await, r#"{"data":"disconnectHardware"}"#);
    page.leave().await;
    program.hears([r#"{"key":"close","value":"roomA"}"#]).await;
    assert_eq!(program.leave().await, Exit::ParentGone);
}

#[tokio::test]
async fn every_page_hears_the_program_and_acknowledgements_come_after_the_report() {
    let mut program = Program::host(config()).await;
    let to = program.address().await;
    let mut pages = vec![
        Page::in_room(to, "a").await,
        Page::in_room(to, "%EB%B0%A9").await,
        Page::open(to, "client=true").await,
    ];
    program.say(r#"{"key":"addRoomId","value":"a"}"#).await;
    for _ in &pages {
        program.hears([CONNECTION, SINGLE]).await;
    }
    program.say(r#"{"key":"send","value":[1]}"#).await;
    for page in &mut pages {
        assert_eq!(page.message().await, r#"{"data":[1]}"#);
    }
    let page = &mut pages[2];
    page.emit(r#"7["message",{"key":"kk","data":1}]"#).await;
    assert_eq!(page.frame().await.as_deref(), Some(r#"437["kk"]"#));
    program.hears([r#"{"key":"data","value":{"key":"kk","data":1}}"#]).await;
    page.emit(r#"8["message"]"#).await;
    page.emit(r#"["other",1]"#).await;
    page.emit(r#"9["message",null]"#).await;
    assert_eq!(page.frame().await.as_deref(), Some("438[true]"));
    assert_eq!(page.frame().await.as_deref(), Some("439[true]"));
    program.hears([r#"{"key":"data","value":null}"#]).await;
}

#[tokio::test]
async fn stopping_frees_the_port_reports_every_session_and_ends() {
    let mut program = Program::host(config()).await;
    let to = program.address().await;
    let (mut page, mut other) = (Page::in_room(to, "r").await, Page::open(to, "").await);
    program.hears([CONNECTION, SINGLE, CONNECTION, SINGLE]).await;
    program.handle.stop();
    program.hears([r#"{"key":"close","value":"r"}"#, r#"{"key":"close"}"#]).await;
    page.is_closed().await;
    other.is_closed().await;
    assert_eq!(program.ends().await, Exit::Stopped);
    assert_eq!(program.handle.local_addr(), None);
    assert_eq!(program.line().await, None);
    drop(tokio::net::TcpListener::bind(to).await.expect("the port is free"));
}

#[tokio::test]
async fn a_second_open_changes_nothing() {
    let mut program = Program::host(config()).await;
    let to = program.address().await;
    program.say(r#"{"key":"open"}"#).await;
    let _page = Page::in_room(to, "r").await;
    program.hears([CONNECTION, SINGLE]).await;
    assert_eq!(program.address().await, to);
}

#[tokio::test]
async fn lines_that_are_none_are_skipped_and_one_that_is_too_long_is_lost_alone() {
    assert_eq!(Limits::default().of_parent().frame_bytes_max, 64 << 20);
    let bounds = limits(|it| it.line_bytes_max = 100_000);
    let mut program = Program::host(config().with_limits(bounds)).await;
    let mut page = Page::in_room(program.address().await, "r").await;
    program.hears([CONNECTION, SINGLE]).await;
    let line = |len: usize| {
        let start = r#"{"key":"send","value":""#;
        format!("{start}{}\"}}\n", "x".repeat(len - start.len() - 2))
    };
    program.say_bytes(b"\n{\"key\":\nnot json\n[]\n\xff\xfe\n").await;
    program.say_bytes(line(100_000).as_bytes()).await;
    program.say_bytes(line(100_001).as_bytes()).await;
    program.say_bytes(line(3_000_000).as_bytes()).await;
    program.say(r#"{"key":"send","value":"after"}"#).await;
    assert_eq!(
        page.message().await.len(),
        100_000 - r#"{"key":"send","value":}"#.len() + r#"{"data":}"#.len()
    );
    assert_eq!(page.message().await, r#"{"data":"after"}"#);
    let now = program.handle.snapshot().await.unwrap();
    assert_eq!((now.parent.too_long, now.messages.from_parent), (2, 1 + 4 + 2));
}

#[tokio::test]
async fn crypto_is_answered_with_a_secret_and_only_then() {
    let mut program = Program::start(config().with_secret(Secret::new("TEST_SECRET")));
    program.say(r#"{"key":"decrypt","value":"U2FsdGVkX18BAgMEBQYHCBsgLldFbeiMPUa+BfKEMbo="}"#).await;
    program.say(r#"{"key":"decrypt","value":"no such thing"}"#).await;
    program.hears([r#"{"key":"decrypt","value":"hello"}"#, r#"{"key":"decrypt","value":""}"#]).await;
    let mut made = Vec::new();
    for _ in 0..2 {
        program.say(r#"{"key":"encrypt","value":"hello"}"#).await;
        made.push(program.line().await.unwrap());
    }
    assert!(made[0].starts_with(r#"{"key":"encrypt","value":"U2FsdGVkX1"#), "{made:?}");
    assert_ne!(made[0], made[1], "salt is fresh each time");

    let mut without = Program::start(config());
    without.say(r#"{"key":"encrypt","value":"hello"}"#).await;
    without.say(r#"{"key":"decrypt","value":"hello"}"#).await;
    without.say(r#"{"key":"open"}"#).await;
    without.hears([RUNS_AS_SERVER, SINGLE]).await;
}

#[tokio::test]
async fn other_paths_are_answered_as_ever_and_foreigners_are_refused() {
    let program = Program::host(config()).await;
    let to = program.address().await;
    for (request, status, end) in [
        (get("/", "evil.example", ""), "200", "\r\n\r\nhello entry"),
        (get("/some/thing?x=1", "x", "Origin: https://evil.example\r\n"), "200", "\r\n\r\nhello entry"),
        (get("/modules", "x", ""), "404", "\r\n\r\n"),
        (get("/modules/abc", "x", ""), "404", "\r\n\r\n"),
        (get("/modules/a/files/block", "x", ""), "404", "\r\n\r\n"),
        (
            get("/socket.io/?EIO=3&transport=polling", "evil.example", ""),
            "403",
            r#"{"code":4,"message":"Forbidden"}"#,
        ),
        (
            get("/socket.io/?EIO=3&transport=polling", "localhost", "Origin: https://evil.example\r\n"),
            "403",
            r#"{"code":4,"message":"Forbidden"}"#,
        ),
        (
            get(
                "/socket.io/?EIO=3&transport=polling&childServer=true",
                "localhost",
                "Origin: https://playentry.org\r\n",
            ),
            "403",
            r#"{"code":4,"message":"Forbidden"}"#,
        ),
        (
            get("/socket.io/?EIO=3&transport=polling&x=1", "localhost", "Sec-Fetch-Site: cross-site\r\n"),
            "403",
            r#"{"code":4,"message":"Forbidden"}"#,
        ),
    ] {
        let answer = ask(to, &request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {answer}");
        assert!(answer.ends_with(end), "{request}: {answer}");
        assert!(!answer.to_lowercase().contains("content-type: text"), "{request}: {answer}");
        assert!(!answer.to_lowercase().contains("access-control-"), "{request}: {answer}");
    }
    let now = program.handle.snapshot().await.unwrap();
    assert_eq!((now.connections.refused, now.connections.opened), (4, 0));
    let refusals: Vec<_> = now.refusals.iter().map(|it| (it.what.as_str(), it.setting.is_some())).collect();
    assert_eq!(
        refusals,
        [
            ("no origin, site \"cross-site\"", true),
            ("childServer from \"https://playentry.org\"", false),
            ("origin \"https://evil.example\"", true),
            ("host \"evil.example\"", true),
        ]
    );
}

/// A program that gives its bridge up, or a runtime that ends, leaves nothing open, and no panic.
#[test]
fn a_bridge_that_is_dropped_closes_everything() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let to = runtime.block_on(async {
        let mut program = Program::host(config()).await;
        let to = program.address().await;
        let mut page = Page::in_room(to, "r").await;
        program.hears([CONNECTION, SINGLE]).await;
        program.abort();
        page.is_closed().await;
        drop(tokio::net::TcpListener::bind(to).await.expect("the port is free"));
        let left = Program::host(Config::default().with_port(to.port())).await;
        let _page = Page::in_room(to, "r").await;
        std::mem::forget(left); // its task is the runtime's to end
        to
    });
    drop(runtime);
    drop(std::net::TcpListener::bind(to).expect("the port is free"));
}
