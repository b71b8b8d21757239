//! Exports a Parquet file or folder as one CSV file: `cargo run --release --example export_file -- DATA OUT.csv`.

use std::fs::File;
use std::io::{self, Write};

use spandrel_download_protocol::{Codec, Format, Output, Query, Timestamp};
use spandrel_export_engine::{Checkpoint, Control, Export, Part, Sink};
use spandrel_source_parquet::DatasetConfig;

struct OneFile(File);

impl Sink for OneFile {
    fn begin(&mut self, _: u32) -> io::Result<()> {
        Ok(())
    }
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }
    fn end(&mut self, _: &Part) -> io::Result<()> {
        Ok(())
    }
    fn checkpoint(&mut self, _: &Checkpoint) -> io::Result<()> {
        Ok(())
    }
    fn restart(&mut self) -> io::Result<()> {
        self.0.set_len(0)
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(data), Some(out)) = (args.next(), args.next()) else {
        return Err("usage: export_file DATA OUT".into());
    };
    let source =
        spandrel_source_parquet::open(DatasetConfig { scan: false, ..DatasetConfig::new("data", &data) })?;
    let rows = source.rows(&source.snapshot())?;
    let columns = (0..source.schema().columns().len()).collect();
    let (from, to) = (Timestamp::from_nanos(i128::MIN), Timestamp::from_nanos(i128::MAX));
    let format = if out.contains(".ndjson") { Format::Ndjson } else { Format::Csv };
    let codec =
        if out.ends_with(".gz") { Some(Codec::Gzip) } else { out.ends_with(".zst").then_some(Codec::Zstd) };
    let export = Export {
        rows,
        query: Query { from, to, filters: Vec::new(), columns, sort: Vec::new(), limit: None },
        output: Output { codec, ..Output::new(format) },
        workers: 2,
        scratch: std::env::temp_dir().join("spandrel-example-sort"),
    };
    let done = export.run(&mut OneFile(File::create(&out)?), &Control::new(), None)?;
    writeln!(io::stdout(), "{} rows to {out}", done.rows)?;
    Ok(())
}
