//! Runs the scripts of this folder: the page in a real Chromium, and its protocol client against a clock of its own.

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
    node(&["--test", "client.test.mjs"], None);
}

/// The page's own half only: the stand-in proves nothing about the server.
#[test]
fn page_works_against_the_stand_in() {
    let Some(_) = tool("SPANDREL_NODE_MODULES") else { return };
    let Some(chromium) = tool("SPANDREL_CHROMIUM") else { return };
    node(&["page.mjs", "--fake"], Some(&chromium));
}
