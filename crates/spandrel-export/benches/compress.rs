//! One mebibyte of CSV text compressed as chunks of a file; peers are flate2 (zlib-rs) with a flush per chunk.
//!
//! `cargo bench -p spandrel-export --bench compress`; each line also prints how small the chunk became.
#![expect(clippy::print_stdout, reason = "sizes belong beside the times")]

mod trades;

use std::io::Write;

use divan::Bencher;
use divan::counter::BytesCount;
use flate2::Compression;
use flate2::write::DeflateEncoder;
use spandrel_download_protocol::{Codec, Format, Output};
use spandrel_export::{ChunkCompressor, Join, RowWriter, Text};

fn main() {
    let text = chunk();
    for (name, codec) in [("gzip", Codec::Gzip), ("zstd", Codec::Zstd)] {
        let mut out = Vec::new();
        ChunkCompressor::new(codec).and_then(|mut c| c.chunk(&text, &mut out)).expect("text compresses");
        println!("{name}: {} of {} bytes", out.len(), text.len());
    }
    for level in [1, 3] {
        println!("flate2 level {level}: {} of {} bytes", deflate(&text, level).len(), text.len());
    }
    divan::main();
}

fn chunk() -> Vec<u8> {
    let batch = trades::batch();
    let mut writer = RowWriter::new(trades::schema().columns(), &Output::new(Format::Csv));
    let mut text = Text::new();
    writer.write(&batch, 0..batch.num_rows(), Join::Together, &mut text).expect("the columns fit");
    text.as_bytes().to_vec()
}

fn deflate(text: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::with_capacity(text.len()), Compression::new(level));
    encoder.write_all(text).and_then(|()| encoder.flush()).expect("memory takes all");
    encoder.get_ref().clone()
}

fn ours(bencher: Bencher<'_, '_>, codec: Codec) {
    let text = chunk();
    let mut compressor = ChunkCompressor::new(codec).expect("default settings");
    let mut out = Vec::new();
    bencher.counter(BytesCount::new(text.len())).bench_local(|| {
        out.clear();
        compressor.chunk(&text, &mut out).expect("text compresses");
        out.len()
    });
}

fn flate2(bencher: Bencher<'_, '_>, level: u32) {
    let text = chunk();
    bencher.counter(BytesCount::new(text.len())).bench_local(|| deflate(&text, level));
}

#[divan::bench]
fn gzip_stitched(bencher: Bencher<'_, '_>) {
    ours(bencher, Codec::Gzip);
}

#[divan::bench]
fn gzip_flate2_level_1(bencher: Bencher<'_, '_>) {
    flate2(bencher, 1);
}

#[divan::bench]
fn gzip_flate2_level_3(bencher: Bencher<'_, '_>) {
    flate2(bencher, 3);
}

#[divan::bench]
fn zstd_1(bencher: Bencher<'_, '_>) {
    ours(bencher, Codec::Zstd);
}
