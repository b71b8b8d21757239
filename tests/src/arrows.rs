//! Holds the floors: a crate depends on its own floor or a lower one, a core reaches no runtime, a transport knows no
//! domain. Read from `cargo metadata`; dev-dependencies are free.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// Every crate that may be depended on, by floor. A new crate is placed here in the commit that adds it.
const FLOORS: &[(u8, &[&str])] = &[
    (0, &["spandrel-wire", "spandrel-crypto"]),
    (
        1,
        &[
            "spandrel-download-protocol",
            "spandrel-socketio",
            "spandrel-bridge-protocol",
            "spandrel-chain-protocol",
        ],
    ),
    (
        2,
        &[
            "spandrel-session",
            "spandrel-export",
            "spandrel-jobs",
            "spandrel-download",
            "spandrel-bridge",
            "spandrel-consensus",
            "spandrel-chain",
            "spandrel-gossip",
            "spandrel-wallet",
        ],
    ),
    (
        3,
        &[
            "spandrel-transport",
            "spandrel-transport-ws",
            "spandrel-transport-tcp",
            "spandrel-transport-ipc",
            "spandrel-socketio-net",
            "spandrel-bridge-service",
            "spandrel-export-engine",
            "spandrel-source-parquet",
            "spandrel-store",
            "spandrel-http",
            "spandrel-download-client",
            "spandrel-download-service",
        ],
    ),
    (4, &["download-server", "hardware-bridge"]),
];

/// Members that stand beside the house: nothing depends on them.
const OUTSIDE: &[&str] = &["spandrel-tests", "spandrel-fuzz", "xtask"];

/// What no crate below [`EDGES`] reaches, not even through others.
const RUNTIME: &[&str] = &["tokio", "mio", "socket2", "hyper", "axum", "async-std", "smol"];

/// The lowest floor that may name a runtime.
const EDGES: u8 = 3;

/// All that a transport may know of ours.
const UNDER_TRANSPORTS: &[&str] = &["spandrel-wire", "spandrel-transport"];

fn text(value: &Value) -> &str {
    value.as_str().expect("a string")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn floor(name: &str) -> Option<u8> {
    FLOORS.iter().find(|(_, on)| on.contains(&name)).map(|(floor, _)| *floor)
}

/// Who depends on whom once shipped, by package id.
struct Graph<'a> {
    names: BTreeMap<&'a str, &'a str>,
    edges: BTreeMap<&'a str, Vec<&'a str>>,
    members: Vec<&'a str>,
}

impl<'a> Graph<'a> {
    fn of(meta: &'a Value) -> Self {
        let ships =
            |dep: &&Value| list(&dep["dep_kinds"]).iter().any(|kind| kind["kind"].as_str() != Some("dev"));
        let names = list(&meta["packages"]).iter().map(|p| (text(&p["id"]), text(&p["name"]))).collect();
        let edges = list(&meta["resolve"]["nodes"])
            .iter()
            .map(|node| {
                let deps = list(&node["deps"]).iter().filter(ships).map(|dep| text(&dep["pkg"])).collect();
                (text(&node["id"]), deps)
            })
            .collect();
        Self { names, edges, members: list(&meta["workspace_members"]).iter().map(text).collect() }
    }

    /// Everything that breaks a rule, one sentence each.
    fn wrongs(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for &id in &self.members {
            let name = self.names[id];
            let Some(own) = floor(name) else {
                if !OUTSIDE.contains(&name) {
                    wrong.push(format!("{name} stands on no floor"));
                }
                continue;
            };
            self.check_direct(id, name, own, &mut wrong);
            if own < EDGES {
                self.check_runtime(id, name, &mut wrong);
            }
        }
        wrong
    }

    fn check_direct(&self, id: &str, name: &str, own: u8, wrong: &mut Vec<String>) {
        for to in self.edges[id].iter().map(|dep| self.names[dep]) {
            if floor(to).is_some_and(|floor| floor > own) {
                wrong.push(format!("{name} points up at {to}"));
            }
            if OUTSIDE.contains(&to) {
                wrong.push(format!("{name} needs {to}, which is no part of the house"));
            }
            let is_transport = name.starts_with("spandrel-transport");
            if is_transport && floor(to).is_some() && !UNDER_TRANSPORTS.contains(&to) {
                wrong.push(format!("transport {name} knows {to}"));
            }
        }
    }

    fn check_runtime(&self, id: &'a str, name: &str, wrong: &mut Vec<String>) {
        let (mut seen, mut todo) = (BTreeSet::from([id]), vec![(id, name.to_owned())]);
        while let Some((at, path)) = todo.pop() {
            for to in &self.edges[at] {
                let path = format!("{path} -> {}", self.names[to]);
                if RUNTIME.contains(&self.names[to]) {
                    wrong.push(format!("core reaches a runtime: {path}"));
                } else if seen.insert(to) {
                    todo.push((to, path));
                }
            }
        }
    }
}

#[test]
fn arrows_point_down() {
    // `--locked`, not `--offline`: on a fresh machine metadata wants sources of other platforms.
    let out = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked", "--all-features"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let meta: Value = serde_json::from_slice(&out.stdout).expect("metadata is json");
    let graph = Graph::of(&meta);
    for name in FLOORS.iter().flat_map(|(_, on)| *on) {
        assert!(
            graph.members.iter().any(|id| graph.names[id] == *name),
            "{name} has a floor and is no member"
        );
    }
    let wrong = graph.wrongs();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// The rules see what they are there for: one wrong arrow of each kind, in a graph of its own.
#[test]
fn each_wrong_arrow_is_seen() {
    for (name, member, deps, want) in [
        ("up", "spandrel-wire", &["spandrel-session"][..], "spandrel-wire points up at spandrel-session"),
        (
            "outside",
            "download-server",
            &["xtask"],
            "download-server needs xtask, which is no part of the house",
        ),
        (
            "domain",
            "spandrel-transport-ws",
            &["spandrel-session"],
            "transport spandrel-transport-ws knows spandrel-session",
        ),
        ("runtime", "spandrel-jobs", &["tokio"], "core reaches a runtime: spandrel-jobs -> tokio"),
        ("through", "spandrel-jobs", &["third"], "core reaches a runtime: spandrel-jobs -> third -> mio"),
        ("homeless", "spandrel-new", &[], "spandrel-new stands on no floor"),
    ] {
        let mut edges = BTreeMap::from([(member, deps.to_vec()), ("third", vec!["mio"])]);
        for dep in ["spandrel-session", "xtask", "tokio", "mio"] {
            edges.insert(dep, Vec::new());
        }
        let names = edges.keys().map(|id| (*id, *id)).collect();
        let graph = Graph { names, edges, members: vec![member] };
        assert_eq!(graph.wrongs(), [want], "{name}");
    }
}
