//! `kill -9` at random moments: what was acknowledged is finished, byte for byte, by whoever comes after.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use super::data::{Random, all, flights, with};
use super::server::Server;
use super::{is_long, turn};

/// Rows a second of the long jobs: they outlive about ten kills.
const PACE: u64 = 3_000;
/// Of the jobs that are made just before a kill.
const SHORT_PACE: u64 = 20_000;

fn roomy() -> Value {
    json!({ "limits": { "maxActive": 32, "maxActivePerPrincipal": 32 } })
}

/// The kinds of job that must survive, each of about 30,000 rows.
fn kinds() -> Vec<(&'static str, Value)> {
    let month = all("2013-03-01T00:00:00Z", "2013-04-01T00:00:00Z");
    let parts = ("options.maxRowsPerFile", json!(4_000));
    let compressed = |codec: &str| [("compression", json!(true)), ("options.codec", json!(codec))];
    vec![
        ("csv", month.clone()),
        ("csv.gz", with(month.clone(), &compressed("gzip"))),
        ("csv.zst in parts", with(with(month.clone(), &compressed("zstd")), std::slice::from_ref(&parts))),
        ("json in parts", with(month.clone(), &[("outputFormat", "json".into()), parts.clone()])),
        (
            "ndjson, filtered",
            with(
                flights(),
                &[
                    ("outputFormat", "ndjson".into()),
                    ("searchParams.filters", json!([{ "field": "dep_delay", "op": "gt", "value": 60 }])),
                ],
            ),
        ),
        (
            "sorted json.gz in parts",
            with(
                with(month, &compressed("gzip")),
                &[
                    ("outputFormat", "json".into()),
                    ("searchParams.sort", json!([{ "field": "distance", "order": "desc" }])),
                    parts,
                ],
            ),
        ),
    ]
}

fn paced(request: Value, rows_per_second: u64) -> Value {
    with(request, &[("options.maxRowsPerSecond", rows_per_second.into())])
}

/// Everything under a folder, with paths relative to it.
fn tree(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut todo = vec![folder.to_owned()];
    while let Some(at) = todo.pop() {
        for entry in std::fs::read_dir(&at).expect("a folder").map(|entry| entry.expect("an entry")) {
            let path = entry.path();
            if path.is_dir() {
                todo.push(path.clone());
            }
            found.push(path.strip_prefix(folder).expect("inside").to_owned());
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_survive_kill_9_at_random_moments() {
    let _turn = turn().await;
    let cycles = if is_long() { 100 } else { 10 };
    let seed = std::env::var("SPANDREL_SEED").ok().and_then(|text| text.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| u64::from(std::process::id()));
    // Shown when the test fails.
    println!("repeat with SPANDREL_SEED={seed}");
    let mut random = Random::new(seed);

    // The same requests on a server that nobody kills; pace and all, for compressed bytes may follow the pace.
    let calm = Server::of_flights(roomy());
    let mut quiet = BTreeMap::new();
    for (name, request) in kinds() {
        for pace in [PACE, SHORT_PACE] {
            quiet.insert((name, pace), calm.http().create(&paced(request.clone(), pace)).await);
        }
    }

    let mut server = Server::of_flights(roomy());
    // Job, its kind, its pace, and the cycle it was made in.
    let mut jobs: Vec<(String, &str, u64, u64)> = Vec::new();
    let mut slowest = Duration::ZERO;
    for cycle in 0..cycles {
        if cycle % 10 == 0 {
            for (name, request) in kinds() {
                let id = server.http().create(&paced(request, PACE)).await;
                jobs.push((id, name, PACE, cycle));
            }
        }
        // One more whose acknowledgement may be the last thing the process does.
        let (name, request) = kinds().swap_remove(usize::try_from(random.below(6)).expect("small"));
        let is_late = random.below(2) == 0;
        if !is_late {
            jobs.push((
                server.http().create(&paced(request.clone(), SHORT_PACE)).await,
                name,
                SHORT_PACE,
                cycle,
            ));
        }
        sleep(Duration::from_millis(random.below(1_200))).await;
        if is_late {
            jobs.push((server.http().create(&paced(request, SHORT_PACE)).await, name, SHORT_PACE, cycle));
        }
        server.kill9();
        server.restart();
        slowest = slowest.max(server.started_in);
        for (id, name, _, made) in &jobs {
            let status = server.get(&format!("/v1/downloads/{id}")).await.json();
            let restarts = status["restarts"].as_u64().unwrap_or_else(|| panic!("{name} is lost: {status}"));
            let kills = cycle + 1 - made;
            match status["state"].as_str() {
                Some("completed") => assert!(restarts <= kills, "{name}: {status}"),
                Some("generating" | "pending") => {
                    assert_eq!(restarts, kills, "{name} was continued after every kill: {status}");
                }
                _ => panic!("{name}: {status}"),
            }
        }
    }
    assert!(jobs.len() > 15, "enough was going on");

    let mut want = BTreeMap::new();
    for (key, id) in &quiet {
        let status = calm.http().completed(id).await;
        want.insert(*key, calm.http().parts(&status).await);
    }
    let mut survivors = 0;
    for (id, name, pace, _) in &jobs {
        let want = &want[&(*name, *pace)];
        let status = server.http().completed(id).await;
        let got = server.http().parts(&status).await;
        survivors += u64::from(status["restarts"].as_u64() >= Some(5));
        let names =
            |parts: &[(String, Vec<u8>)]| parts.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&got), names(want), "{name}");
        for ((part, got), (_, want)) in got.iter().zip(want) {
            assert!(
                got == want,
                "{name}: {part} differs from that of a quiet run: {} and {} bytes",
                got.len(),
                want.len()
            );
        }
    }
    assert!(survivors >= 6, "only {survivors} jobs lived through five kills or more");
    assert!(slowest <= Duration::from_secs(2), "the slowest start took {slowest:?}");
    println!("{} jobs, {survivors} of them through 5 kills or more, slowest start {slowest:?}", jobs.len());

    let ids: Vec<&str> = jobs.iter().map(|(id, ..)| id.as_str()).collect();
    let leftover = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let job = path.components().nth(1).map(|c| c.as_os_str().to_string_lossy().into_owned());
        name.ends_with(".tmp")
            || name.ends_with(".new")
            || name == "scratch"
            || name == "checkpoint.json"
            || job.is_some_and(|job| path.starts_with("jobs") && !ids.contains(&job.as_str()))
    };
    let left: Vec<PathBuf> = tree(&server.state_dir()).into_iter().filter(leftover).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_in_good_order_loses_nothing_and_tells_everyone() {
    let _turn = turn().await;
    let mut server = Server::of_flights(json!({}));
    let mut ws = server.ws().await;
    let request = with(
        flights(),
        &[("searchParams.limit", 30_000.into()), ("options.maxRowsPerSecond", 10_000.into())],
    );
    let id = ws.start(&request).await["downloadId"].as_str().expect("an id").to_owned();
    server.http().until(&id, "rows were written", |s| s["processedRows"].as_u64() > Some(2_000)).await;
    server.signal("TERM");
    let farewell = loop {
        let message = ws.next().await;
        if message["event"] == "system:error" {
            break message["data"].clone();
        }
    };
    assert_eq!((&farewell["code"], &farewell["recoverable"]), (&"SHUTTING_DOWN".into(), &true.into()));
    assert!(farewell["retryAfter"].is_u64(), "{farewell}");
    loop {
        match ws.came().await {
            super::ws::Came::Closed(code) => break assert_eq!(code, 1001),
            super::ws::Came::Message(message) => assert_ne!(message["event"], "download:error", "{message}"),
        }
    }
    assert_eq!(server.ended().await, Some(0));
    server.restart();
    let status = server.http().completed(&id).await;
    assert_eq!(status["restarts"], 1);
    let parts = server.http().parts(&status).await;
    let calm = Server::of_flights(json!({}));
    let id = calm.http().create(&with(flights(), &[("searchParams.limit", 30_000.into())])).await;
    let want = calm.http().parts(&calm.http().completed(&id).await).await;
    assert!(parts == want, "the file is that of a quiet run");
}

/// Five seconds are the protocol's; the rest is the machine's.
#[tokio::test(flavor = "multi_thread")]
async fn stopping_is_quick_with_jobs_and_readers_under_way() {
    let _turn = turn().await;
    let mut server = Server::of_flights(roomy());
    for (_, request) in kinds() {
        server.http().create(&paced(request, PACE)).await;
    }
    let _idle = server.ws().await;
    let (code, took) = server.terminate().await;
    assert_eq!(code, Some(0), "{}", server.log());
    assert!(took < Duration::from_secs(6), "it took {took:?}");
    server.restart();
    let list = server.get("/v1/downloads").await.json();
    for status in list["downloads"].as_array().expect("a list") {
        assert_eq!(status["restarts"], 1, "{status}");
    }
}
