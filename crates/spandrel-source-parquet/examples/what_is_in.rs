//! Says what a data set holds and how little of it a query reads:
//! `cargo run --release -p spandrel-source-parquet --example what_is_in -- DATA.parquet [FROM TO]`.

use std::io::{self, Write};

use spandrel_download_protocol::{Query, Timestamp};
use spandrel_export::Read;
use spandrel_source_parquet::{DatasetConfig, open};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let Some(path) = args.next() else { return Err("usage: what_is_in DATA [FROM TO]".into()) };
    let source = open(DatasetConfig::new("data", path))?;
    let (schema, facts, mut out) = (source.schema(), source.facts(), io::stdout());
    for (i, column) in schema.columns().iter().enumerate() {
        let mark = if i == schema.time_index() { "  (time)" } else { "" };
        writeln!(out, "{:20} {}{mark}", column.name, column.kind.as_str())?;
    }
    let Some((first, last)) = facts.time else { return Err("there is no row with a time".into()) };
    writeln!(out, "{} rows from {first} to {last}", facts.rows)?;

    let from = args.next().map_or(Ok(first), |text| Timestamp::parse(&text))?;
    let after = Timestamp::from_nanos(last.nanos().saturating_add(1));
    let to = args.next().map_or(Ok(after), |text| Timestamp::parse(&text))?;
    let columns: Vec<usize> = (0..schema.columns().len()).collect();
    let query = Query { from, to, filters: vec![], columns, sort: vec![], limit: None };
    let rows = source.rows(&source.snapshot())?;
    let plan = rows.plan(&query)?;
    let (mut found, mut scanned) = (0, 0);
    for unit in &plan.units {
        let read = Read { query: &query, columns: &query.columns, batch_rows: 8_192 };
        let mut batches = rows.open(&read, unit)?;
        while let Some(batch) = batches.next() {
            found += batch?.num_rows();
        }
        scanned += batches.scanned();
    }
    writeln!(
        out,
        "{found} rows between {from} and {to}: {} units, {scanned} rows looked at",
        plan.units.len()
    )?;
    Ok(())
}
