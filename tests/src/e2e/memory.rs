//! Memory does not grow with rows, with readers that stop, or with the order of the source.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio::time::{sleep, timeout};

use super::data::{all, python, with};
use super::server::{Server, command, run_well, size_kib};
use super::turn;
use super::ws::new_id;
use crate::tools::tool;

const MIB: u64 = 1024;
/// Resident memory of one export, whatever its rows.
const EXPORT_MAX_KIB: u64 = 96 * MIB;
/// What readers that stop may cost on top: buffers of sockets and queues, and noise.
const STALLED_MAX_KIB: u64 = 32 * MIB;

fn trades(folder: &Path) {
    run_well(&["sample", "--rows", "1000000", "--out", "trades", "-q"], folder);
}

/// Runs a command to its end; gives its greatest resident size in KiB.
async fn peak_of(args: &[&str], folder: &Path) -> u64 {
    let mut child = command(args, folder).spawn().expect("it starts");
    let mut peak = 0;
    loop {
        peak = peak.max(size_kib(&child, "VmHWM").unwrap_or(0));
        if let Some(status) = child.try_wait().expect("it can be asked") {
            assert!(status.success(), "{args:?}: {status}");
            return peak;
        }
        sleep(Duration::from_millis(3)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_of_a_million_rows_stays_small() {
    let _turn = turn().await;
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    trades(folder);
    let mut cases = vec![
        ("csv", vec!["--data", "trades", "-o", "a.csv"]),
        ("csv.gz", vec!["--data", "trades", "-o", "a.csv.gz"]),
        ("sorted by price", vec!["--data", "trades", "-o", "b.csv", "--sort", "price:desc"]),
    ];
    if let Some(reader) = tool("SPANDREL_PYTHON") {
        let task = json!({ "from": folder.join("trades"), "to": folder.join("mixed.parquet"), "time": "ts", "rows_per_group": 100_000 });
        python(&reader, "shuffle.py", &task);
        cases.push(("out of time order", vec!["--data", "mixed.parquet", "-o", "c.csv"]));
    }
    for (name, args) in cases {
        let peak = peak_of(&[&["export", "-q"], &args[..]].concat(), folder).await;
        println!("export, {name}: {} MiB", peak / MIB);
        assert!(peak > 0 && peak <= EXPORT_MAX_KIB, "{name}: {} MiB", peak / MIB);
    }
    if folder.join("c.csv").exists() {
        let read = |name: &str| std::fs::read(folder.join(name)).expect("it was written");
        assert!(read("a.csv") == read("c.csv"), "the rows in time order are those of the ordered source");
    }
}

fn million() -> Value {
    with(all("2000-01-01T00:00:00Z", "2040-01-01T00:00:00Z"), &[("outputFormat", "ndjson".into())])
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_that_stop_cost_a_bounded_amount() {
    let _turn = turn().await;
    let folder = tempfile::tempdir().expect("a folder");
    trades(folder.path());
    let sets = json!({ "datasets": [{ "name": "trades", "path": folder.path().join("trades") }] });

    let calm = Server::start(sets.clone(), json!({}));
    let (_, complete) = calm.ws().await.export(&million()).await;
    assert_eq!(complete["totalRows"], 1_000_000);
    let files = calm.http().parts(&complete).await;
    assert_eq!(files.len(), 2);
    let calm_peak = calm.peak_kib();
    drop(calm);

    let server = Server::start(sets, json!({}));
    let first = server.http().create(&million()).await;
    let first = server.http().completed(&first).await;
    // Ten readers of a file, each with its first bytes and then nothing.
    let mut readers = Vec::new();
    for at in 0..10 {
        let url = first["files"][at % 2]["url"].as_str().expect("a url");
        let mut stream = server.http().open("GET", url, &[], b"").await;
        stream.read_exact(&mut [0; 1000]).await.expect("the first bytes");
        readers.push(stream);
    }
    // Ten connections that ask for more and more and read none of it, one of them with the job.
    let mut silent = Vec::new();
    for at in 0..10 {
        let mut ws = server.ws().await;
        if at == 0 {
            ws.send("download:request", &new_id(), &million()).await;
        }
        for _ in 0..2_000 {
            let ask = async { ws.send("status:check", &new_id(), &json!({ "scope": "all" })).await };
            if timeout(Duration::from_millis(200), ask).await.is_err() {
                break; // the server does not take any more either
            }
        }
        silent.push(ws);
    }
    let list = server.get("/v1/downloads").await.json();
    let second = list["downloads"][0]["downloadId"].as_str().expect("an id");
    let second = server.http().completed(second).await;
    assert_eq!(second["processedRows"], 1_000_000, "the export goes on without its reader");
    let peak = server.peak_kib();
    println!("server: {} MiB with good readers, {} MiB with ones that stop", calm_peak / MIB, peak / MIB);
    assert!(calm_peak <= 128 * MIB, "{} MiB for one export", calm_peak / MIB);
    assert!(peak <= calm_peak + STALLED_MAX_KIB, "{} MiB over {} MiB", peak / MIB, calm_peak / MIB);
    drop((readers, silent));
}
