//! Signed, sealed and deflated sessions of a foreign client, plain and over TLS; keys that go while they are in use.

use std::process::Command;

use serde_json::{Value, json};

use super::server::Server;
use super::turn;

fn key(byte: u8) -> String {
    // 32 equal bytes in base64url.
    match byte {
        0x11 => "ERERERERERERERERERERERERERERERERERERERERERE".into(),
        0x22 => "IiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiI".into(),
        _ => "MzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzM".into(),
    }
}

fn auth(mode: &str) -> Value {
    json!({
        "mode": mode,
        "keys": [
            { "id": "k1", "secret": key(0x11), "principal": "alice" },
            { "id": "k2", "secret": key(0x22), "principal": "bob" },
            { "id": "old", "secret": key(0x33), "principal": "alice", "notAfter": 1 },
        ],
        "bearerTokens": [{ "token": "alice-token-0123456789", "principal": "alice" }],
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_client_and_the_server_agree_on_every_layer() {
    let _turn = turn().await;
    for (mode, tls) in [("required", false), ("none", false), ("required", true)] {
        let mut config = json!({
            "tcpListen": "127.0.0.1:0", "auth": auth(mode),
            "limits": { "maxActive": 32, "maxActivePerPrincipal": 32 },
        });
        if tls {
            config["tls"] = json!({ "selfSigned": true });
        }
        let server = Server::of_flights(config);
        let task = json!({ "port": server.tcp().port(), "tls": tls, "required": mode == "required",
            "keys": { "k1": key(0x11), "k2": key(0x22), "old": key(0x33) } });
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/foreign/secure.mjs");
        let out = Command::new("node").arg(script).arg(task.to_string()).output().expect("node starts");
        let said = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success() && said.contains("all good"), "mode {mode}, tls {tls}: {said}");
        assert!(server.peak_kib() < 192 << 10, "{} MiB", server.peak_kib() >> 10);
        let log = server.log();
        for secret in [key(0x11), key(0x22), key(0x33), "alice-token".into()] {
            assert!(!log.contains(&secret), "a secret in the log");
        }
    }
}
