//! The status page.

use crate::rig::*;
use spandrel_bridge_service::{
    Config,
    spandrel_bridge_protocol::{Rules, Secret},
};

#[tokio::test]
async fn the_page_tells_what_the_bridge_does_and_no_secret() {
    let token = spandrel_crypto::Token::new("open-sesame-0123456789").unwrap();
    let config = Config::new(Rules::default().with_token(token))
        .with_port(0)
        .with_secret(Secret::new("TEST_SECRET"))
        .with_status("127.0.0.1:0".parse().unwrap());
    let mut program = Program::start(config);
    program.say(r#"{"key":"open"}"#).await;
    program.hears([RUNS_AS_SERVER, SINGLE]).await;
    let to = program.handle.status_addr().unwrap();
    let mut page = Page::in_room(program.address().await, "0123456789").await;
    program.hears([CONNECTION, SINGLE]).await;
    page.emit(r#"["message",{"data":"confidential"}]"#).await;
    program.hears([r#"{"key":"data","value":{"data":"confidential"}}"#]).await;
    let polls = get("/socket.io/?EIO=3&transport=polling", "127.0.0.1", "");
    assert!(ask(program.address().await, &polls).await.starts_with("HTTP/1.1 200 "));
    program.hears([CONNECTION, SINGLE]).await;
    let refused = get(
        "/socket.io/?EIO=3&transport=polling&token=wrong-guess",
        "localhost",
        "Origin: http://localhost\r\n",
    );
    assert!(ask(program.address().await, &refused).await.starts_with("HTTP/1.1 403 "));

    let answer = ask(to, &get("/status.json", "127.0.0.1", "")).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("content-type: application/json"), "{head}");
    let now: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(now["mode"], "host");
    assert_eq!(now["rooms"], serde_json::json!([{ "name": "0123…", "browsers": 1, "program": null }]));
    assert_eq!(now["messages"]["fromBrowsers"], 1);
    assert_eq!(now["connections"]["refused"], 1);
    assert_eq!(now["sessions"][0]["messagesIn"], 1);
    assert_eq!(now["sessions"][0]["transport"], "websocket");
    assert_eq!(now["sessions"][1]["transport"], "polling");
    assert_eq!(now["sessions"].as_array().unwrap().len(), 2);
    assert_eq!(now["address"], program.address().await.to_string());
    let metrics = ask(to, &get("/metrics", "localhost", "")).await;
    assert!(metrics.contains("bridge_sessions{role=\"browser\"} 2\n"), "{metrics}");
    assert!(metrics.contains("bridge_messages_total{way=\"from_browsers\"} 1\n"), "{metrics}");
    for text in [&answer, &metrics] {
        for secret in ["0123456789", "confidential", "open-sesame", "TEST_SECRET", "wrong-guess"] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
    assert!(ask(to, &get("/healthz", "localhost", "")).await.ends_with("ok\n"));
    let page = ask(to, &get("/", "localhost", "")).await;
    assert!(page.contains("content-security-policy: default-src 'none'") && page.contains("<!doctype html>"));
    assert!(ask(to, &get("/nothing", "localhost", "")).await.starts_with("HTTP/1.1 404 "));
    let post = ask(
        to,
        "POST /status.json HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
    )
    .await;
    assert!(post.starts_with("HTTP/1.1 405 "), "{post}");
}

#[tokio::test]
async fn foreign_pages_do_not_get_it() {
    let config = Config::default().with_port(0).with_status("127.0.0.1:0".parse().unwrap());
    let mut program = Program::start(config);
    program.say(r#"{"key":"open"}"#).await;
    program.hears([RUNS_AS_SERVER, SINGLE]).await;
    let to = program.handle.status_addr().unwrap();
    for (name, host, more, status) in [
        ("a program", "127.0.0.1", "", "200"),
        ("its own page", "localhost", "Sec-Fetch-Site: same-origin\r\n", "200"),
        ("typed in", "localhost", "Sec-Fetch-Site: none\r\nSec-Fetch-Mode: navigate\r\n", "200"),
        ("a rebound name", "rebind.evil.example", "", "403"),
        (
            "a script of another site",
            "localhost",
            "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\n",
            "403",
        ),
        ("a page of another site", "localhost", "Origin: https://evil.example\r\n", "403"),
        ("an admitted page", "localhost", "Origin: https://playentry.org\r\n", "403"),
        ("a frame without origin", "localhost", "Origin: null\r\n", "403"),
    ] {
        let answer = ask(to, &get("/status.json", host, more)).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{name}: {answer}");
        assert!(!answer.to_lowercase().contains("access-control-"), "{name}: {answer}");
    }
}

/// One file of settings beside the program is that of every program which a machine runs.
#[tokio::test]
async fn of_two_programs_with_one_address_the_host_has_the_page() {
    let config = Config::default().with_port(0).with_status("127.0.0.1:0".parse().unwrap());
    let mut host = Program::host(config.clone()).await;
    let page = host.handle.status_addr().unwrap();
    let config = config.with_port(host.address().await.port()).with_status(page);
    let log = Log::start();
    let mut client = Program::start(config);
    client.say(r#"{"key":"open"}"#).await;
    client.hears([RUNS_AS_CLIENT, CLOUD]).await;
    assert_eq!(client.handle.status_addr(), None);
    let line = log.line("the status page is not served").await;
    assert!(line.contains(&page.to_string()) && line.contains("WARN"), "{line}");

    host.handle.stop();
    host.ends().await;
    client.hears([RUNS_AS_SERVER, SINGLE]).await;
    within("the page", async {
        while client.handle.status_addr().is_none() {
            client.handle.snapshot().await.expect("lives");
        }
    })
    .await;
    assert_eq!(client.handle.status_addr(), Some(page));
    assert!(ask(page, &get("/status.json", "127.0.0.1", "")).await.contains(r#""mode":"host""#));
    assert_eq!(log.text().matches("the status page is not served").count(), 1, "{}", log.text());
}

#[tokio::test]
async fn what_a_client_exchanges_with_its_host_is_shown() {
    let mut host = Program::host(Config::default().with_port(0)).await;
    let to = host.address().await;
    let config = Config::default().with_port(to.port()).with_status("127.0.0.1:0".parse().unwrap());
    let mut client = Program::start(config);
    for line in [r#"{"key":"addRoomId","value":"RC"}"#, r#"{"key":"open"}"#] {
        client.say(line).await;
    }
    client.hears([RUNS_AS_CLIENT, CLOUD]).await;
    host.hears([CONNECTION, CLOUD]).await;
    let mut page = Page::in_room(to, "RC").await;
    within("the room", async {
        while host
            .handle
            .snapshot()
            .await
            .is_none_or(|now| now.rooms.iter().all(|room| room.program.is_none()))
        {}
    })
    .await;
    for _ in 0..3 {
        page.emit(r#"["message",{"data":1}]"#).await;
        client.hears([r#"{"key":"data","value":{"data":1}}"#]).await;
    }
    client.say_bytes("{\"key\":\"send\",\"value\":2}\n".repeat(2).as_bytes()).await;
    for _ in 0..2 {
        assert_eq!(page.message().await, r#"{"data":2}"#);
    }

    let shown = client.handle.status_addr().unwrap();
    let now = json(shown).await;
    assert_eq!(now["mode"], "client");
    assert_eq!(now["joined"], true);
    assert_eq!(now["held"], serde_json::json!({ "messages": 0, "bytes": 0 }));
    assert_eq!(now["messages"]["fromHost"], 3);
    assert_eq!(now["messages"]["toHost"], 3, "the room, and two messages");
    let metrics = ask(shown, &get("/metrics", "localhost", "")).await;
    for line in [
        "bridge_messages_total{way=\"from_host\"} 3\n",
        "bridge_messages_total{way=\"to_host\"} 3\n",
        "bridge_is_joined 1\n",
        "bridge_held_messages 0\n",
        "bridge_held_bytes 0\n",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }

    // A successor keeps what its program says until its page is back.
    host.handle.stop();
    client.hears([RUNS_AS_SERVER, SINGLE]).await;
    client.say(r#"{"key":"send","value":3}"#).await;
    client.has_said(5).await;
    let now = json(shown).await;
    assert_eq!(now["joined"], false);
    let bytes = r#"42["message",{"data":3}]"#.len();
    assert_eq!(now["held"], serde_json::json!({ "messages": 1, "bytes": bytes }));
    let metrics = ask(shown, &get("/metrics", "localhost", "")).await;
    assert!(metrics.contains("bridge_is_joined 0\n"), "{metrics}");
    assert!(metrics.contains("bridge_held_messages 1\n"), "{metrics}");
}

#[tokio::test]
async fn what_only_grows_is_a_counter() {
    let config = Config::default().with_port(0).with_status("127.0.0.1:0".parse().unwrap());
    let program = Program::host(config).await;
    let refused = get("/socket.io/?EIO=3&transport=polling", "rebind.example", "");
    for _ in 0..2 {
        assert!(ask(program.address().await, &refused).await.starts_with("HTTP/1.1 403 "));
    }
    let to = program.handle.status_addr().unwrap();
    // Asked twice: a counter that is set from outside must not add up what was counted before.
    for _ in 0..2 {
        let metrics = ask(to, &get("/metrics", "localhost", "")).await;
        for (name, value) in [
            ("bridge_refused_total", 2),
            ("bridge_turned_away_total", 0),
            ("bridge_parent_given_up_total", 0),
            ("bridge_parent_too_long_total", 0),
        ] {
            let want = format!("# TYPE {name} counter\n{name} {value}\n");
            assert!(metrics.contains(&want), "{want} in {metrics}");
        }
    }
}

async fn json(to: std::net::SocketAddr) -> serde_json::Value {
    let answer = ask(to, &get("/status.json", "127.0.0.1", "")).await;
    serde_json::from_str(answer.split_once("\r\n\r\n").expect("an answer").1).expect("JSON")
}
