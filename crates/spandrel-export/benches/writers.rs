//! Row writers against the writers of the Arrow project, on the same batch in the same run.
//!
//! `cargo bench -p spandrel-export --bench writers`; divide the medians for the ratio.

mod trades;

use std::hint::black_box;

use divan::Bencher;
use divan::counter::BytesCount;
use spandrel_download_protocol::{Format, Output};
use spandrel_export::{Join, RowWriter, Text};

fn main() {
    divan::main();
}

fn ours(bencher: Bencher<'_, '_>, output: &Output) {
    let batch = trades::batch();
    let mut writer = RowWriter::new(trades::schema().columns(), output);
    let mut text = Text::new();
    let rows = 0..batch.num_rows();
    writer.write(&batch, rows.clone(), Join::Together, &mut text).expect("the columns fit");
    bencher.counter(BytesCount::new(text.len())).bench_local(|| {
        text.clear();
        writer.write(black_box(&batch), rows.clone(), Join::Together, &mut text).expect("the columns fit");
        black_box(text.as_bytes().len())
    });
}

#[divan::bench_group(name = "csv")]
mod csv {
    use super::*;

    #[divan::bench]
    fn spandrel(bencher: Bencher<'_, '_>) {
        ours(bencher, &Output::new(Format::Csv));
    }

    #[divan::bench]
    fn spandrel_guarded(bencher: Bencher<'_, '_>) {
        let mut output = Output::new(Format::Csv);
        output.csv.formula_guard = true;
        ours(bencher, &output);
    }

    #[divan::bench]
    fn arrow_csv(bencher: Bencher<'_, '_>) {
        let batch = trades::batch();
        let mut out = Vec::new();
        let run = |out: &mut Vec<u8>| {
            out.clear();
            let mut writer = arrow_csv::WriterBuilder::new().with_header(false).build(out);
            writer.write(black_box(&batch)).expect("the columns fit");
        };
        run(&mut out);
        let bytes = BytesCount::new(out.len());
        bencher.counter(bytes).bench_local(|| run(&mut out));
    }
}

#[divan::bench_group(name = "ndjson")]
mod ndjson {
    use super::*;

    #[divan::bench]
    fn spandrel(bencher: Bencher<'_, '_>) {
        ours(bencher, &Output::new(Format::Ndjson));
    }

    #[divan::bench]
    fn arrow_json(bencher: Bencher<'_, '_>) {
        let batch = trades::batch();
        let mut out = Vec::new();
        let run = |out: &mut Vec<u8>| {
            out.clear();
            let mut writer = arrow_json::LineDelimitedWriter::new(out);
            writer.write(black_box(&batch)).expect("the columns fit");
            writer.finish().expect("memory takes all");
        };
        run(&mut out);
        let bytes = BytesCount::new(out.len());
        bencher.counter(bytes).bench_local(|| run(&mut out));
    }
}

#[divan::bench_group(name = "json")]
mod json {
    use super::*;

    #[divan::bench]
    fn spandrel(bencher: Bencher<'_, '_>) {
        ours(bencher, &Output::new(Format::Json));
    }

    #[divan::bench]
    fn arrow_json(bencher: Bencher<'_, '_>) {
        let batch = trades::batch();
        let mut out = Vec::new();
        let run = |out: &mut Vec<u8>| {
            out.clear();
            let mut writer = arrow_json::ArrayWriter::new(out);
            writer.write(black_box(&batch)).expect("the columns fit");
            writer.finish().expect("memory takes all");
        };
        run(&mut out);
        let bytes = BytesCount::new(out.len());
        bencher.counter(bytes).bench_local(|| run(&mut out));
    }
}
