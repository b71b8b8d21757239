//! Runs the scripts of `tests/bridge`: the clients that real pages use, and a real Node parent.

use std::process::Command;

use super::{binary, tls};
use crate::tools::tool;

/// Runs a script with node; what it printed is in the failure.
fn run(args: &[&str]) {
    let Some(_) = tool("SPANDREL_BRIDGE_MODULES") else { return };
    let mut node = Command::new("node");
    node.args(args).current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/bridge"));
    let out = node.env("SPANDREL_HARDWARE_BRIDGE", binary()).output().expect("node starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let said = text(&out.stdout);
    assert!(
        out.status.success() && said.ends_with("all good\n"),
        "node {args:?}: {}\n{said}\n{}",
        out.status,
        text(&out.stderr)
    );
}

#[test]
fn one_program_and_its_pages() {
    run(&["single.mjs"]);
}

#[test]
fn beginnings_and_ends() {
    run(&["life.mjs"]);
}

#[test]
fn the_channel_byte_by_byte() {
    run(&["channel.mjs"]);
}

#[test]
fn the_small_client_of_our_own_pages() {
    run(&["client.mjs"]);
}

#[test]
fn several_programs_and_their_rooms() {
    run(&["cloud.mjs"]);
}

#[test]
fn several_programs_over_tls() {
    let folder = tls::chain_folder();
    run(&["cloud.mjs", "--tls", folder.path().to_str().expect("a path of text")]);
}

#[test]
fn certificates_as_clients_see_them() {
    let work = tls::work_folder();
    run(&["tls.mjs", work.path().to_str().expect("a path of text")]);
}
