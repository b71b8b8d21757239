//! Files that other programs wrote.

use std::io::Write;
use std::path::{Path, PathBuf};

use spandrel_download_protocol::{ColumnType, Filter, Query, Test, Value};
use spandrel_source_parquet::{DatasetConfig, open};

use crate::{all, between, config, current, kinds, printed};

fn bundled() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../apps/download-server/data/flights.parquet")
}

#[test]
fn the_bundled_flights_open_with_every_row() {
    let source = open(config(bundled())).unwrap();
    assert_eq!(source.facts().rows, 336_776);
    let rows = current(&*source);
    let exact = rows.plan(&all(&source.schema())).unwrap().rows_exact;
    assert_eq!(exact, Some(336_776), "every flight has a time");
    // Months of the year add up.
    let month = |m: u32| {
        let to = if m == 12 {
            "2014-01-01T00:00:00Z".to_owned()
        } else {
            format!("2013-{:02}-01T00:00:00Z", m + 1)
        };
        let query = between(&source.schema(), &format!("2013-{m:02}-01T00:00:00Z"), &to, vec![]);
        rows.plan(&query).unwrap().rows_exact.unwrap()
    };
    let outside = between(&source.schema(), "2014-01-01T00:00:00Z", "2015-01-01T00:00:00Z", vec![]);
    let after = rows.plan(&outside).unwrap().rows_exact.unwrap();
    assert_eq!((1..=12).map(month).sum::<u64>() + after, 336_776);
}

/// The file of three million flights in the npm package vega-datasets 3.2.1; its text columns are large_string.
fn vega() -> Option<PathBuf> {
    let found = std::env::var_os("SPANDREL_FLIGHTS_3M").map(PathBuf::from).filter(|p| p.exists());
    if found.is_none() {
        let note = "real::three_million_flights: SPANDREL_FLIGHTS_3M is not set, `cargo verify` sets it\n";
        // Straight to the descriptor: the harness swallows what a passing test prints.
        let _ = std::io::stderr().write_all(format!("skipped: {note}").as_bytes());
        if let Some(file) = std::env::var_os("SPANDREL_SKIPS") {
            let file = std::fs::OpenOptions::new().append(true).create(true).open(file);
            file.and_then(|mut file| file.write_all(note.as_bytes())).unwrap();
        }
    }
    found
}

#[test]
fn three_million_flights() {
    let Some(path) = vega() else { return };
    let source = open(DatasetConfig { scan: false, ..config(path) }).unwrap();
    assert_eq!(source.facts().rows, 3_000_000);
    let names: Vec<String> = kinds(&*source).iter().map(|k| k.0.clone()).collect();
    assert_eq!(names, ["date", "delay", "distance", "origin", "destination"]);
    assert_eq!(kinds(&*source)[3].1, ColumnType::String);
    let rows = current(&*source);
    // A filter and its opposite split the rows; each row is counted by reading.
    let origin = |test| Filter::Leaf { column: 3, test };
    let count = |filter| {
        let query = Query { filters: vec![filter], columns: vec![3], ..all(&source.schema()) };
        printed(&*rows, &query).unwrap().0.lines().count()
    };
    let from = |code: &str| Test::Eq(Value::String(code.to_owned()));
    let (sfo, others) = (count(origin(from("SFO"))), count(Filter::Not(Box::new(origin(from("SFO"))))));
    assert!(sfo > 0);
    assert_eq!(sfo + others, 3_000_000);
}
