//! Pages in a real Chromium: `tests/browser/bridge.mjs`.

use std::path::PathBuf;
use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use super::parent::{Parent, command, port_in};
use super::{PATIENCE, turn};
use crate::tools::tool;

/// Runs a part of the script; what it printed is in the failure.
async fn run(chromium: &PathBuf, args: &[&str]) {
    let mut node = Command::new("node");
    node.arg("bridge.mjs").args(args).current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/browser"));
    let out = node.env("SPANDREL_CHROMIUM", chromium).kill_on_drop(true).output().await.expect("node starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let said = text(&out.stdout);
    assert!(
        out.status.success() && said.ends_with("all good\n"),
        "{args:?}: {}\n{said}\n{}",
        out.status,
        text(&out.stderr)
    );
}

/// Chromium and what drives it, or nothing, noted.
fn chromium() -> Option<PathBuf> {
    tool("SPANDREL_NODE_MODULES")?;
    tool("SPANDREL_CHROMIUM")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demonstration_is_driven_from_two_tabs() {
    let Some(chromium) = chromium() else { return };
    let _turn = turn().await;
    let mut demo = command();
    let mut demo = demo.arg("demo").stderr(Stdio::inherit()).spawn().expect("the demonstration starts");
    let mut lines = BufReader::new(demo.stdout.take().expect("piped")).lines();
    let line = timeout(PATIENCE, lines.next_line()).await.expect("a line").expect("text").expect("a line");
    let url = line.split_whitespace().find(|word| word.starts_with("http://")).expect("an address");
    run(&chromium, &["demo", url]).await;

    // As Ctrl-C does; the bridge goes with it.
    let pid = demo.id().expect("it runs").to_string();
    let interrupted = Command::new("kill").args(["-INT", &pid]).status().await.expect("it is told");
    assert!(interrupted.success());
    let ended = timeout(PATIENCE, demo.wait()).await.expect("it ends").expect("it can be waited for");
    assert_eq!(ended.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_page_is_true() {
    let Some(chromium) = chromium() else { return };
    let _turn = turn().await;
    let mut parent = Parent::start(&[("SPANDREL_HW_STATUS", "127.0.0.1:0")]);
    let status = parent.logged(|line| line.to_lowercase().contains("status").then(|| line.to_owned())).await;
    let port = port_in(&status).expect("the address of the status page");
    parent.listen().await;
    let (page, bridge) = (format!("http://127.0.0.1:{port}/"), format!("http://{}", parent.address()));
    run(&chromium, &["status", &page, &bridge]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_that_pages_load_works_and_strangers_get_nothing() {
    let Some(chromium) = chromium() else { return };
    let Some(_) = tool("SPANDREL_BRIDGE_MODULES") else { return };
    let _turn = turn().await;
    let mut parent = Parent::open(&[]).await;
    let bridge = format!("http://{}", parent.address());
    let args = ["pages", &bridge];
    let script = run(&chromium, &args);
    tokio::pin!(script);
    let mut connections = 0;
    loop {
        tokio::select! {
            () = &mut script => break,
            (key, value) = parent.hear() => match key.as_str() {
                "data" => parent.say("send", value).await,
                "connection" => connections += 1,
                _ => assert!(value == Value::Null || value.is_number() || value == "3f09a1c2d4", "{key} {value}"),
            },
        }
    }
    assert_eq!(connections, 6, "only the pages that are listed");
}
