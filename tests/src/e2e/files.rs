//! What is in the files: other programs read them and compare with the Parquet they came from.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::FLIGHTS;
use super::data::{all, flights, python, sha256, with};
use super::server::{Server, run_well};
use crate::tools::tool;

/// Exports over the WebSocket and writes the parts to `folder`.
async fn export(server: &Server, request: &Value, folder: &Path) -> (Value, Vec<PathBuf>) {
    let mut ws = server.ws().await;
    let (_, complete) = ws.export(request).await;
    let parts = server.http().parts(&complete).await;
    let write = |(name, bytes): (String, Vec<u8>)| {
        let path = folder.join(name);
        std::fs::write(&path, bytes).expect("a part is written");
        path
    };
    (complete, parts.into_iter().map(write).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_readers_find_the_flights_in_every_format() {
    let Some(reader) = tool("SPANDREL_PYTHON") else { return };
    let server = Server::of_flights(json!({}));
    let february = with(
        all("2013-02-01T00:00:00Z", "2013-03-01T00:00:00Z"),
        &[
            (
                "searchParams.filters",
                json!([
                    { "or": [{ "field": "dest", "op": "in", "value": ["LAX", "BOS", "MIA", "ORD"] },
                             { "not": { "field": "arr_delay", "op": "exists", "value": true } }] },
                    { "field": "distance", "op": "gt", "value": 100 },
                ]),
            ),
            (
                "searchParams.columns",
                json!(["time_hour", "carrier", "tailnum", "dest", "dep_delay", "arr_delay", "distance"]),
            ),
        ],
    );
    let sql = "time_hour >= '2013-02-01 00:00:00Z' AND time_hour < '2013-03-01 00:00:00Z' AND distance > 100 \
               AND (dest IN ('LAX', 'BOS', 'MIA', 'ORD') OR arr_delay IS NULL)";
    let mut seen = Vec::new();
    for (format, codec) in [
        ("csv", None),
        ("csv", Some("gzip")),
        ("csv", Some("zstd")),
        ("json", None),
        ("json", Some("gzip")),
        ("ndjson", None),
        ("ndjson", Some("zstd")),
    ] {
        let mut request = with(february.clone(), &[("outputFormat", format.into())]);
        if let Some(codec) = codec {
            request = with(request, &[("compression", true.into()), ("options.codec", codec.into())]);
        }
        let request = with(request, &[("options.maxRowsPerFile", 3000.into())]);
        let (complete, files) = export(&server, &request, server.folder()).await;
        assert!(files.len() > 1, "{format} has several parts");
        let columns = &request["searchParams"]["columns"];
        let read = python(
            &reader,
            "check.py",
            &json!({ "parquet": FLIGHTS, "files": files, "format": format,
            "codec": codec, "columns": columns, "where": sql, "order": "time_hour" }),
        );
        assert_eq!(complete["totalRows"], read["rows"], "{format} {codec:?}");
        seen.push(read);
    }
    assert!(seen.iter().all(|read| *read == seen[0]), "{seen:?}");
    assert!(seen[0]["nulls"]["arr_delay"].as_u64() > Some(100), "{}", seen[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_readers_find_all_flights_and_all_columns() {
    let Some(reader) = tool("SPANDREL_PYTHON") else { return };
    let server = Server::of_flights(json!({}));
    let (start, complete) = server.ws().await.export(&flights()).await;
    assert_eq!((&start["totalRows"], &start["totalRowsExact"]), (&336_776.into(), &true.into()));
    let parts = server.http().parts(&complete).await;
    let file = server.folder().join("all.csv");
    std::fs::write(&file, &parts[0].1).expect("it is written");
    let datasets = server.get("/v1/datasets").await.json();
    let columns: Vec<&Value> =
        datasets["datasets"][0]["columns"].as_array().expect("columns").iter().map(|c| &c["name"]).collect();
    let read = python(
        &reader,
        "check.py",
        &json!({ "parquet": FLIGHTS, "files": [file], "format": "csv",
        "codec": null, "columns": columns, "where": "true", "order": "time_hour" }),
    );
    assert_eq!(read["rows"], 336_776);
    assert_eq!(read["nulls"]["dep_time"], 8_255);
}

/// Doubles to the last bit, decimals to the last digit, times to the microsecond, text with everything in it.
#[tokio::test(flavor = "multi_thread")]
async fn foreign_readers_find_trades_with_doubles_and_decimals() {
    let Some(reader) = tool("SPANDREL_PYTHON") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    run_well(&["sample", "--rows", "40000", "--out", "trades", "-q"], folder.path());
    let columns = ["ts", "symbol", "side", "price", "qty", "fee", "order_id", "account_id", "note"];
    for (name, format, codec) in [
        ("t.csv", "csv", None),
        ("t.csv.gz", "csv", Some("gzip")),
        ("t.ndjson.zst", "ndjson", Some("zstd")),
        ("t.json", "json", None),
    ] {
        run_well(&["export", "--data", "trades", "-o", name, "-q"], folder.path());
        let read = python(
            &reader,
            "check.py",
            &json!({ "parquet": folder.path().join("trades/*.parquet"),
            "files": [folder.path().join(name)], "format": format, "codec": codec, "columns": columns,
            "where": "true", "order": "ts" }),
        );
        assert_eq!(read["rows"], 40_000, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn order_of_the_source_and_threads_do_not_show() {
    let Some(reader) = tool("SPANDREL_PYTHON") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let shuffled = folder.path().join("flights.parquet");
    let task = json!({ "from": FLIGHTS, "to": shuffled, "time": "time_hour", "rows_per_group": 40_000 });
    let back = python(&reader, "shuffle.py", &task)["back"].as_u64().expect("a number");
    assert!(back > 100_000, "only {back} neighbours go back in time");

    let shuffled = shuffled.to_str().expect("a plain path");
    let mut digests: Vec<(&str, &str, [String; 3])> = Vec::new();
    let mut compressed: Vec<(&str, &str, [String; 2])> = Vec::new();
    for data in [FLIGHTS, shuffled] {
        for workers in ["1", "2", "4"] {
            let args = ["export", "--data", data, "--workers", workers, "-q", "-o"];
            let export = |name: &str, more: &str| {
                let more: Vec<&str> = more.split_whitespace().collect();
                run_well(&[&args[..], &[name], &more].concat(), folder.path());
                sha256(&std::fs::read(folder.path().join(name)).expect("a file"))
            };
            let summer = "--from 2013-05-01T00:00:00Z --to 2013-08-01T00:00:00Z --filter dep_delay>60";
            digests.push((
                data,
                workers,
                [
                    export("a.csv", "--columns time_hour,carrier,flight,origin,dest,dep_delay"),
                    export("b.ndjson", summer),
                    export("c.json", "--sort dep_delay:desc,distance --limit 50000"),
                ],
            ));
            compressed.push((
                data,
                workers,
                [
                    export("a.csv.gz", "--columns time_hour,carrier,flight,origin,dest,dep_delay"),
                    export("b.ndjson.zst", summer),
                ],
            ));
        }
    }
    for (data, workers, digest) in &digests {
        // Ties in time are broken by the place in the source, which the shuffle kept.
        assert_eq!(digest, &digests[0].2, "{data} with {workers} workers");
    }
    // Compressed bytes may follow the row groups of the source, never the threads.
    for (data, workers, digest) in &compressed {
        let (_, _, first) = compressed.iter().find(|(of, _, _)| of == data).expect("itself");
        assert_eq!(digest, first, "{data} with {workers} workers");
    }

    let server = Server::start(
        json!({ "datasets": [{ "name": "flights", "path": FLIGHTS }, { "name": "mixed", "path": shuffled }] }),
        json!({}),
    );
    let mut bytes = Vec::new();
    for name in ["flights", "mixed"] {
        let request = with(
            flights(),
            &[
                ("searchParams.dataset", name.into()),
                ("searchParams.timeTo", "2013-04-01T00:00:00Z".into()),
                ("options.maxRowsPerFile", 30_000.into()),
            ],
        );
        let (_, complete) = server.ws().await.export(&request).await;
        let parts = server.http().parts(&complete).await;
        bytes.push(parts.into_iter().map(|(_, bytes)| sha256(&bytes)).collect::<Vec<_>>());
    }
    assert_eq!(bytes[0], bytes[1]);
    assert!(bytes[0].len() > 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn three_million_flights_export_by_range_and_filter() {
    let Some(reader) = tool("SPANDREL_PYTHON") else { return };
    let Some(file) = tool("SPANDREL_FLIGHTS_3M") else { return };
    let server = Server::start(json!({ "datasets": [{ "name": "flights", "path": file }] }), json!({}));
    let request = with(
        all("2001-02-10T00:00:00Z", "2001-02-13T00:00:00Z"),
        &[
            (
                "searchParams.filters",
                json!([{ "field": "delay", "op": "gt", "value": 30 },
                                        { "field": "origin", "op": "ne", "value": "ORD" }]),
            ),
            ("outputFormat", "ndjson".into()),
        ],
    );
    let (complete, files) = export(&server, &request, server.folder()).await;
    let read = python(
        &reader,
        "check.py",
        &json!({ "parquet": file, "files": files, "format": "ndjson", "codec": null,
        "columns": ["date", "delay", "distance", "origin", "destination"], "order": "date",
        "where": "date >= '2001-02-10' AND date < '2001-02-13' AND delay > 30 AND origin <> 'ORD'" }),
    );
    assert_eq!(complete["totalRows"], read["rows"]);
    assert!(read["rows"].as_u64() > Some(1000), "{read}");
}
