//! The command line: files, messages and exit codes.

use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};
use spandrel_download_client::{Client, ClientOptions, DownloadEvent, DownloadRequest, Format, Timestamp};

use super::FLIGHTS;
use super::data::{flights, with};
use super::proxy::{Fault, Proxy};
use super::server::{Server, command, run, run_well, signal, until};

const JANUARY: [&str; 4] = ["--from", "2013-01-01T00:00:00Z", "--to", "2013-02-01T00:00:00Z"];

/// `get` with these words behind the range of January.
fn get_args<'a>(url: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["get", url], &JANUARY[..], more].concat()
}

fn get(url: &str, more: &[&str], folder: &Path) -> Output {
    run(&get_args(url, more), folder)
}

fn said(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

/// The same rows by the `export` command.
fn exported(name: &str, more: &[&str], folder: &Path) -> Vec<u8> {
    let args = [&["export", "--data", FLIGHTS, "-q", "-o", name], &JANUARY[..], more].concat();
    run_well(&args, folder);
    std::fs::read(folder.join(name)).expect("it was written")
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn get_brings_one_file_several_or_them_joined() {
    let server = Server::of_flights(json!({}));
    let (url, folder) = (server.url(), tempfile::tempdir().expect("a folder"));
    let folder = folder.path();
    let want = exported("want.csv", &["--filter", "distance > 2000"], folder);

    let out = get(&url, &["--filter", "distance > 2000", "-o", "one.csv"], folder);
    assert!(out.status.success(), "{}", said(&out));
    assert_eq!(String::from_utf8_lossy(&out.stdout), "one.csv\n");
    assert_eq!(std::fs::read(folder.join("one.csv")).expect("a file"), want);

    let parts = ["--filter", "distance > 2000", "--rows-per-file", "1500"];
    let out = get(&url, &[&parts[..], &["-o", "parts/"]].concat(), folder);
    assert!(out.status.success(), "{}", said(&out));
    let files = names(&folder.join("parts"));
    assert!(files.len() > 1, "{files:?}");
    assert_eq!(String::from_utf8_lossy(&out.stdout).lines().count(), files.len());
    let mut rows = Vec::new();
    for (at, name) in files.iter().enumerate() {
        assert!(name.ends_with(&format!("-part{:05}.csv", at + 1)), "{name}");
        let text = std::fs::read(folder.join("parts").join(name)).expect("a part");
        let header = text.iter().position(|byte| *byte == b'\n').expect("a header") + 1;
        rows.extend_from_slice(if at == 0 { &text } else { &text[header..] });
    }
    assert_eq!(rows, want);

    for (name, format) in [("joined.csv", "csv"), ("joined.json", "json"), ("joined.ndjson", "ndjson")] {
        let want = exported(&format!("want.{format}"), &["--filter", "distance > 2000"], folder);
        let out = get(&url, &[&parts[..], &["--merge", "--format", format, "-o", name]].concat(), folder);
        assert!(out.status.success(), "{}", said(&out));
        assert!(std::fs::read(folder.join(name)).expect("a file") == want, "{name} differs");
    }
    assert!(names(folder).iter().all(|name| !name.contains("part0")), "nothing is left: {:?}", names(folder));

    let out = get(&url, &[&parts[..], &["-o", "one-of-many.csv"]].concat(), folder);
    assert_eq!(out.status.code(), Some(2), "{}", said(&out));
    assert!(said(&out).contains("--merge"), "{}", said(&out));
}

#[tokio::test(flavor = "multi_thread")]
async fn exit_codes_tell_what_happened() {
    let server = Server::of_flights(json!({}));
    let (url, folder) = (server.url(), tempfile::tempdir().expect("a folder"));
    let folder = folder.path();
    std::fs::write(folder.join("file"), "").expect("a file");
    for (name, args, code, word) in [
        ("no command", &[][..], 2, "Usage"),
        ("no range", &["get", &url], 2, "--from"),
        (
            "no offset",
            &["get", &url, "--from", "2013-01-01T00:00:00", "--to", "2014-01-01T00:00:00Z"],
            2,
            "+09:00",
        ),
        ("filter on nothing", &get_args(&url, &["--filter", "nope > 1"]), 2, "nope"),
        ("no such data set", &get_args(&url, &["--dataset", "nope"]), 3, "nope"),
        ("no such job", &["get", &url, "--attach", "dl_AAAAAAAAAAAAAAAAAAAAAA"], 3, "refused"),
        ("nobody there", &get_args("http://127.0.0.1:1", &[]), 4, "connect"),
        ("a file for a folder", &get_args(&url, &["--limit", "3", "-o", "file/one.csv"]), 5, "File exists"),
        ("no data", &["export", "--data", "nope.parquet", "-o", "a.csv"], 5, "nope.parquet"),
        ("no format", &["export", "--data", FLIGHTS, "-o", "a.txt"], 2, ".csv"),
        (
            "a column that is not",
            &["export", "--data", FLIGHTS, "-o", "a.csv", "--columns", "nope"],
            2,
            "nope",
        ),
        (
            "a server without data",
            &["serve", "--data", "nope.parquet", "--listen", "127.0.0.1:0"],
            1,
            "nope.parquet",
        ),
        (
            "a port in use",
            &["serve", "--data", FLIGHTS, "--state-dir", "s", "--listen", &server.address().to_string()],
            1,
            "in use",
        ),
        (
            "a state folder in use",
            &[
                "serve",
                "--data",
                FLIGHTS,
                "--listen",
                "127.0.0.1:0",
                "--state-dir",
                server.state_dir().to_str().expect("plain"),
            ],
            1,
            "another process",
        ),
    ] {
        let out = run(args, folder);
        assert_eq!(out.status.code(), Some(code), "{name}: {}", said(&out));
        assert!(said(&out).contains(word), "{name} does not say {word}: {}", said(&out));
        assert!(out.stdout.is_empty(), "{name}: {}", String::from_utf8_lossy(&out.stdout));
    }
    assert_eq!(names(folder).iter().filter(|name| name.contains(".csv")).count(), 0, "{:?}", names(folder));
}

#[test]
fn help_shows_examples() {
    let folder = tempfile::tempdir().expect("a folder");
    for args in [
        &["--help"][..],
        &["serve", "--help"],
        &["get", "--help"],
        &["export", "--help"],
        &["sample", "--help"],
    ] {
        let help = run_well(args, folder.path());
        assert!(help.contains("Example"), "{args:?}: {help}");
        assert!(help.contains("  download-server "), "{args:?}: {help}");
    }
    assert!(run_well(&["--version"], folder.path()).starts_with("download-server "));
}

#[test]
fn a_wrong_configuration_is_refused_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let set = json!([{ "name": "flights", "path": FLIGHTS }]);
    // 2: the configuration is wrong in itself; 1: it does not fit the data.
    for (name, code, config, word) in [
        ("unknown member", 2, json!({ "datasets": set, "lissen": "127.0.0.1:0" }), "lissen"),
        ("unknown limit", 2, json!({ "datasets": set, "limits": { "maxActiv": 1 } }), "maxActiv"),
        (
            "unknown column",
            1,
            json!({ "datasets": [{ "name": "a", "path": FLIGHTS, "columns": [{ "name": "nope", "type": "int" }] }] }),
            "nope",
        ),
        (
            "column of another type",
            1,
            json!({ "datasets": [{ "name": "a", "path": FLIGHTS, "columns": [{ "name": "dest", "type": "int" }] }] }),
            "dest",
        ),
        (
            "time column that is none",
            1,
            json!({ "datasets": [{ "name": "a", "path": FLIGHTS, "timeColumn": "dest" }] }),
            "dest",
        ),
        ("two of a name", 1, json!({ "datasets": [set[0], set[0]] }), "flights"),
        // The value could be a secret in the wrong place: it is not said.
        (
            "protection that is not there",
            2,
            json!({ "datasets": set, "auth": { "mode": "maybe" } }),
            "auth.mode",
        ),
    ] {
        std::fs::write(folder.path().join("c.json"), config.to_string()).expect("a file");
        let out = run(&["--config", "c.json", "--listen", "127.0.0.1:0"], folder.path());
        assert_eq!(out.status.code(), Some(code), "{name}: {}", said(&out));
        assert!(said(&out).contains(word), "{name} does not name {word}: {}", said(&out));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_cancels_the_job_or_keeps_it() {
    let server = Server::of_flights(json!({}));
    let (url, folder) = (server.url(), tempfile::tempdir().expect("a folder"));
    for (more, state) in [(&[][..], "cancelled"), (&["--keep-job"], "generating")] {
        let slow = [&["--rows-per-second", "5000", "-o", "a.csv"], more].concat();
        let child = command(&get_args(&url, &slow), folder.path()).spawn().expect("it starts");
        let job = loop {
            let list = server.get("/v1/downloads?state=generating").await.json();
            if list["downloads"][0]["processedRows"].as_u64() > Some(100) {
                break list["downloads"][0]["downloadId"].as_str().expect("an id").to_owned();
            }
        };
        signal(&child, "INT");
        let out = child.wait_with_output().expect("it ends");
        assert_eq!(out.status.code(), Some(6), "{}", said(&out));
        assert_eq!(server.http().until(&job, state, |s| s["state"] == state).await["state"], state);
        assert_eq!(said(&out).contains(&format!("--attach {job}")), state == "generating", "{}", said(&out));
        assert_eq!(names(folder.path()), Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_get_is_taken_up_where_it_was() {
    let server = Server::of_flights(json!({}));
    let folder = tempfile::tempdir().expect("a folder");
    let id = server.http().create(&flights()).await;
    let status = server.http().completed(&id).await;
    let bytes = status["files"][0]["bytes"].as_u64().expect("bytes");
    let half = usize::try_from(bytes / 2).expect("it fits");
    let stalling = Proxy::start(server.address(), Fault::StallAfter(half)).await;
    let args = |url: &str| ["get", url, "--attach", &id, "-o", "all.csv"].map(str::to_owned);
    let first = args(&stalling.url());
    let mut child = command(&first.each_ref().map(String::as_str), folder.path()).spawn().expect("it starts");
    let part_bytes = || {
        let name = names(folder.path()).into_iter().find(|name| name.ends_with(".part"));
        name.and_then(|name| Some(std::fs::metadata(folder.path().join(name)).ok()?.len())).unwrap_or(0)
    };
    until("about half is on disk", || part_bytes() > bytes / 3).await;
    child.kill().expect("it can be killed");
    child.wait().expect("it ends");
    let have = part_bytes();
    assert_eq!(
        names(folder.path()).iter().filter(|name| *name == "all.csv").count(),
        0,
        "not whole, not there"
    );

    let counting = Proxy::start(server.address(), Fault::None).await;
    let second = args(&counting.url());
    run_well(&second.each_ref().map(String::as_str), folder.path());
    assert_eq!(names(folder.path()), ["all.csv"]);
    let all = std::fs::read(folder.path().join("all.csv")).expect("it is there");
    assert_eq!(super::data::sha256(&all), status["files"][0]["sha256"].as_str().expect("a digest"));
    let came = counting.bytes_down();
    assert!(came < bytes - have + 100_000, "{came} bytes came, {} were missing", bytes - have);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_byte_on_the_way_is_noticed() {
    let server = Server::of_flights(json!({}));
    let folder = tempfile::tempdir().expect("a folder");
    let flipping = Proxy::start(server.address(), Fault::FlipAt(200_000)).await;
    let out = get(&flipping.url(), &["-o", "january.csv"], folder.path());
    assert_eq!(out.status.code(), Some(8), "{}", said(&out));
    assert!(said(&out).contains("sha-256"), "{}", said(&out));
    assert_eq!(names(folder.path()), Vec::<String>::new(), "nothing wrong is kept");
}

/// Our client library over a line that breaks all the time.
#[tokio::test(flavor = "multi_thread")]
async fn the_client_gets_through_a_breaking_line() {
    let server = Server::of_flights(json!({}));
    let folder = tempfile::tempdir().expect("a folder");
    let breaking = Proxy::start(server.address(), Fault::CutAfter(1_000_000)).await;
    let client = Client::connect(&breaking.url(), ClientOptions::default()).await.expect("a connection");
    let time = |text: &str| Timestamp::parse(text).expect("a time");
    let request = DownloadRequest::new(time(JANUARY[1]), time(JANUARY[3]), Format::Csv);
    let mut download = client.request(&request).await.expect("it is accepted");
    let complete = loop {
        match download.next().await.expect("it goes on") {
            DownloadEvent::Complete(complete) => break complete,
            DownloadEvent::Error(error) => panic!("{error}"),
            _ => {}
        }
    };
    let (file, target) = (&complete.files[0], folder.path().join("january.csv"));
    let fetched = client.fetch_file(download.id(), file, &target, |_| {}).await.expect("it arrives");
    assert_eq!(u64::from(fetched.breaks), file.bytes / 1_000_000, "{fetched:?}");
    assert_eq!(fetched.bytes_received, file.bytes, "no byte came twice: {fetched:?}");
    assert_eq!(std::fs::read(&target).expect("it is there"), exported("want.csv", &[], folder.path()));
}

/// Jobs made over REST and jobs made over the WebSocket are the same kind of thing.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_rest_is_seen_by_get() {
    let server = Server::of_flights(json!({}));
    let folder = tempfile::tempdir().expect("a folder");
    let id = server.http().create(&with(flights(), &[("searchParams.limit", 7.into())])).await;
    run_well(&["get", &server.url(), "--attach", &id, "-o", "seven.csv"], folder.path());
    let text = std::fs::read_to_string(folder.path().join("seven.csv")).expect("it is there");
    assert_eq!(text.lines().count(), 8);
    let list: Value = server.get("/v1/downloads?state=completed").await.json();
    assert_eq!(list["downloads"][0]["downloadId"], id.as_str());
}
