//! Runs the scripts of this folder: the page and its modules in a real Chromium and against a clock of their own.

use std::path::Path;
use std::process::Command;

use crate::tools::tool;

/// Runs a script of this folder with node; what it printed is in the failure.
fn node(args: &[&str], chromium: Option<&Path>) {
    let mut command = Command::new("node");
    command.args(args).current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/browser"));
    if let Some(chromium) = chromium {
        command.env("SPANDREL_CHROMIUM", chromium);
    }
    let out = command.output().expect("node starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(out.status.success(), "node {args:?}:\n{}\n{}", text(&out.stdout), text(&out.stderr));
}

#[test]
fn client_module_follows_the_protocol() {
    let Some(_) = tool("SPANDREL_NODE_MODULES") else { return };
    node(&["--test", "client.test.mjs", "secure.test.mjs"], None);
}

/// What the Rust side signs, seals and deflates, the browser does too, byte for byte.
#[test]
fn known_values_hold_inside_chromium() {
    let Some(_) = tool("SPANDREL_NODE_MODULES") else { return };
    let Some(chromium) = tool("SPANDREL_CHROMIUM") else { return };
    node(&["vectors.mjs"], Some(&chromium));
}

/// The page's own half only: the stand-in proves nothing about the server.
#[test]
fn page_works_against_the_stand_in() {
    let Some(_) = tool("SPANDREL_NODE_MODULES") else { return };
    let Some(chromium) = tool("SPANDREL_CHROMIUM") else { return };
    node(&["page.mjs", "--fake"], Some(&chromium));
}

#[cfg(target_os = "linux")]
mod real {
    //! Against the real server.

    use serde_json::{Value, json};

    use crate::e2e::page::drive;
    use crate::e2e::server::Server;
    use crate::e2e::turn;
    use crate::tools::tool;

    const TOKEN: &str = "a-token-of-the-operator";
    const SECRET: &str = "ZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXp7fH1-f4CBgoM";
    const KEY: &str = "k1:ZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXp7fH1-f4CBgoM";

    const OTHER_TOKEN: &str = "a-token-of-somebody-else";
    const OTHER_SECRET: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
    const OTHER_KEY: &str = "k2:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

    /// The configuration of a server that knows two callers, each by token and by key.
    fn auth(mode: &str) -> Value {
        json!({ "auth": {
            "mode": mode,
            "keys": [
                { "id": "k1", "secret": SECRET, "principal": "operator", "notBefore": 0, "notAfter": 9_007_199_254_740_991_u64 },
                { "id": "k2", "secret": OTHER_SECRET, "principal": "other", "notBefore": 0, "notAfter": 9_007_199_254_740_991_u64 },
            ],
            "bearerTokens": [
                { "token": TOKEN, "principal": "operator" },
                { "token": OTHER_TOKEN, "principal": "other" },
            ],
        } })
    }

    async fn run(config: Value, script: &str, more: &[&str]) {
        let Some(_) = tool("SPANDREL_NODE_MODULES") else { return };
        let Some(chromium) = tool("SPANDREL_CHROMIUM") else { return };
        let _turn = turn().await;
        drive(&mut Server::of_flights(config), &chromium, script, more);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn every_stack_survives_liars_and_a_crash() {
        run(auth("required"), "sessions.mjs", &["--key", KEY, "--restart"]).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_open_server_takes_every_stack() {
        run(auth("none"), "sessions.mjs", &["--key", KEY, "--open"]).await;
    }

    /// The same over https and wss, with a certificate of the server's own.
    #[tokio::test(flavor = "multi_thread")]
    async fn every_stack_survives_liars_and_a_crash_over_tls() {
        let mut config = auth("required");
        config["tls"] = json!({ "selfSigned": true });
        run(config, "sessions.mjs", &["--key", KEY, "--restart"]).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_page_signs_in_and_out() {
        let mut config = auth("required");
        config["retention"] = json!({ "urlTtlMs": 4_000 });
        let who = ["--token", TOKEN, "--key", KEY, "--other-token", OTHER_TOKEN, "--other-key", OTHER_KEY];
        run(config, "signin.mjs", &who).await;
    }

    /// `docs/browser-client.md` prints a page and lists names; the page runs and the lists are complete.
    #[tokio::test(flavor = "multi_thread")]
    async fn the_guide_is_true() {
        // The server has to know the page's origin, so its port is chosen before either runs.
        let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
        let port = free.expect("a port").port().to_string();
        let mut config = auth("required");
        config["allowedOrigins"] = json!([format!("http://127.0.0.1:{port}")]);
        run(config, "docs.mjs", &["--port", &port, "--token", TOKEN, "--key", KEY]).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn strangers_reach_nothing() {
        run(json!({}), "foreign.mjs", &[]).await;
    }
}
