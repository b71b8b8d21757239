//! The status page.

use crate::rig::*;
use spandrel_bridge_service::{
    Config, ServiceError, run,
    spandrel_bridge_protocol::{Rules, Secret},
    spandrel_transport_ipc::Parent,
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
    assert_eq!(now["address"], program.address().await.to_string());
    let metrics = ask(to, &get("/metrics", "localhost", "")).await;
    assert!(metrics.contains("bridge_sessions{role=\"browser\"} 1\n"), "{metrics}");
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

#[tokio::test]
async fn an_address_that_is_taken_is_told_before_anything_else() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = Config::default().with_port(0).with_status(taken.local_addr().unwrap());
    let (near, _far) = tokio::io::duplex(64);
    let parent = Parent::over(near, &config.limits.of_parent());
    let ended = run(config, parent, std::future::pending()).await;
    assert!(
        matches!(&ended, Err(error @ ServiceError::Status { .. }) if error.exit_code() == 2),
        "{ended:?}"
    );
}
