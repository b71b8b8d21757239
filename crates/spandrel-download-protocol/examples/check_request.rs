//! Judges a request the way a server does: `cargo run --example check_request -- 'price > 100' 'user is null'`.

use std::sync::Arc;

use spandrel_download_protocol::{
    Column, ColumnType, Defaults, DownloadRequest, Format, Lookup, Schema, Timestamp, parse_filter_text,
};

#[expect(clippy::print_stdout, reason = "an example shows its result")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let columns = vec![
        Column::timestamp("time", 3),
        Column::new("price", ColumnType::Decimal),
        Column::new("user", ColumnType::String),
    ];
    let from = Timestamp::parse("2024-03-01T00:00:00+09:00")?;
    let to = Timestamp::parse("2024-03-02T00:00:00+09:00")?;
    let mut request = DownloadRequest::new(from, to, Format::Csv).columns(["time", "price"]);
    for text in std::env::args().skip(1) {
        request = request.filter(parse_filter_text(&text, &columns)?);
    }
    println!("{}", serde_json::to_string_pretty(&request)?);

    let schema = Arc::new(Schema::new(columns, 0).ok_or("a schema")?);
    let catalog = |_: Option<&str>| Lookup::Found { name: "trades".into(), schema: schema.clone() };
    match request.resolve(&catalog, &Defaults::default()) {
        Ok(resolved) => println!("{:#?}", resolved.query),
        Err(refusal) => println!("refused: {}", serde_json::to_string(&refusal)?),
    }
    Ok(())
}
