//! The page of the real server in a real browser.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use serde_json::json;

use super::server::Server;
use super::turn;
use crate::tools::tool;

/// Runs a script of `tests/browser` against a server, which is killed and started again when the script asks for
/// it; with `--restart` it has to.
pub(crate) fn drive(server: &mut Server, chromium: &Path, name: &str, more: &[&str]) {
    let mut script = Command::new("node");
    script.arg(name).arg(server.url()).args(more);
    script.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/browser")).env("SPANDREL_CHROMIUM", chromium);
    let mut script = script
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("node starts");
    let out = follow(&mut script, |tell| {
        server.kill9();
        server.restart();
        tell.write_all(b"up\n").expect("the script listens");
    });
    let status = script.wait().expect("it ends");
    assert!(status.success() && out.contains("all good"), "{status}\n{out}");
    assert_eq!(
        out.contains("\nRESTART\n"),
        more.contains(&"--restart"),
        "the restart was part of it:\n{out}"
    );
}

/// What the script printed; `restart` is called when it asks.
fn follow(script: &mut Child, mut restart: impl FnMut(&mut ChildStdin)) -> String {
    let mut tell = script.stdin.take().expect("piped");
    let mut out = String::new();
    for line in BufReader::new(script.stdout.take().expect("piped")).lines() {
        let line = line.expect("text");
        out += &line;
        out.push('\n');
        if line == "RESTART" {
            restart(&mut tell);
        }
    }
    out
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_drives_the_real_server_through_a_crash() {
    let Some(_) = tool("SPANDREL_NODE_MODULES") else { return };
    let Some(chromium) = tool("SPANDREL_CHROMIUM") else { return };
    let _turn = turn().await;
    let mut server = Server::of_flights(json!({}));
    drive(&mut server, &chromium, "page.mjs", &["--restart"]);
}
