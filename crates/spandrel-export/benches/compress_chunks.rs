//! Chunks of rows compressed by us and by the floors, in turn: megabytes a second (best of the rounds) and ratio.
//!
//! `cargo bench -p spandrel-export --bench compress_chunks [rounds]`

#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a bench prints, owns its clock, and may stop at a mistake of its own"
)]

use std::hint::black_box;
use std::io::Write;
use std::time::Instant;

use spandrel_download_protocol::Codec;
use spandrel_export::{ChunkCompressor, crc32};

/// Rows of a chunk, as the engine makes them.
const ROWS: u64 = 8192;
const CHUNKS: usize = 12;

type Compress = Box<dyn FnMut(&[u8], &mut Vec<u8>)>;

fn main() {
    let rounds = std::env::args().skip(1).find_map(|a| a.parse().ok()).unwrap_or(7);
    for (kind, chunks) in [("csv", trades(csv)), ("ndjson", trades(ndjson))] {
        println!(
            "{kind}: {CHUNKS} chunks of {ROWS} rows, {} bytes",
            chunks.iter().map(Vec::len).sum::<usize>()
        );
        measure(&chunks, rounds);
    }
}

fn measure(chunks: &[Vec<u8>], rounds: usize) {
    let mut rivals = rivals();
    let text: usize = chunks.iter().map(Vec::len).sum();
    let mut best = vec![f64::INFINITY; rivals.len()];
    let mut size = vec![0; rivals.len()];
    let mut out = Vec::new();
    for _ in 0..rounds {
        for (i, (_, compress)) in rivals.iter_mut().enumerate() {
            size[i] = 0;
            let start = Instant::now();
            for chunk in chunks {
                out.clear();
                compress(black_box(chunk), &mut out);
                size[i] += black_box(&out).len();
            }
            best[i] = best[i].min(start.elapsed().as_secs_f64());
        }
    }
    for (i, (name, _)) in rivals.iter().enumerate() {
        println!(
            "  {name:24} {:6.0} MB/s  {:.4} of the text",
            text as f64 / best[i] / 1e6,
            size[i] as f64 / text as f64
        );
    }
}

fn rivals() -> Vec<(&'static str, Compress)> {
    vec![
        ("gzip, ours", ours(Codec::Gzip)),
        ("libdeflate 1, one piece", libdeflate(1)),
        ("zlib-rs 1", zlib_rs(1)),
        ("zlib-rs 3", zlib_rs(3)),
        ("zstd, ours", ours(Codec::Zstd)),
        ("zstd 1", zstd(1)),
    ]
}

/// With the CRC that gzip needs, as every floor has it.
fn ours(codec: Codec) -> Compress {
    let mut compressor = ChunkCompressor::new(codec).unwrap();
    Box::new(move |text, out| {
        if codec == Codec::Gzip {
            black_box(crc32(text));
        }
        compressor.chunk(text, out).unwrap();
    })
}

fn libdeflate(level: i32) -> Compress {
    let mut compressor = libdeflater::Compressor::new(libdeflater::CompressionLvl::new(level).unwrap());
    Box::new(move |text, out| {
        out.resize(compressor.gzip_compress_bound(text.len()), 0);
        let len = compressor.gzip_compress(text, out).unwrap();
        out.truncate(len);
    })
}

fn zlib_rs(level: u32) -> Compress {
    Box::new(move |text, out| {
        let mut encoder = flate2::write::GzEncoder::new(out, flate2::Compression::new(level));
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap();
    })
}

fn zstd(level: i32) -> Compress {
    let mut compressor = zstd::bulk::Compressor::new(level).unwrap();
    Box::new(move |text, out| {
        out.reserve(zstd::zstd_safe::compress_bound(text.len()));
        compressor.compress_to_buffer(text, out).unwrap();
    })
}

struct Trade {
    us: u64,
    symbol: u64,
    price: u64,
    qty: u64,
    order: u64,
    account: u64,
    note: &'static str,
}

/// A market of 70 symbols whose prices walk, eight trades in ten seconds.
fn trades(write: fn(&Trade, &mut Vec<u8>)) -> Vec<Vec<u8>> {
    let mut seed = 1;
    let mut prices: Vec<u64> = (0..70_u64).map(|s| 12_345_678 * (s * s + 1)).collect();
    let (mut us, mut order) = (0, 1_000_000_000_000);
    let mut chunk = || {
        let mut text = Vec::new();
        for _ in 0..ROWS {
            us += random(&mut seed) % 2_500_000;
            order += 1 + random(&mut seed) % 8;
            // Few symbols make most of the trades.
            let symbol = random(&mut seed) % 70 * (random(&mut seed) % 70) / 70;
            let price = &mut prices[symbol as usize];
            *price = *price * (9_990 + random(&mut seed) % 21) / 10_000 + 1;
            let qty = random(&mut seed) % 100_000_000 * (1 + random(&mut seed) % 3);
            let account = 100_000 + random(&mut seed) % 250_000;
            let note =
                ["", "", "", "limit", "market", "ioc", "\"by phone, twice\""][random(&mut seed) as usize % 7];
            write(&Trade { us, symbol, price: *price, qty, order, account, note }, &mut text);
        }
        text
    };
    (0..CHUNKS).map(|_| chunk()).collect()
}

fn csv(t: &Trade, text: &mut Vec<u8>) {
    let (seconds, side) = (t.us / 1_000_000, if t.qty.is_multiple_of(2) { "buy" } else { "sell" });
    writeln!(
        text,
        "2024-01-{:02}T{:02}:{:02}:{:02}.{:06}Z,T{:03}-KRW,{side},{},{}.{:08},{},{},{},{}\r",
        1 + seconds / 86_400,
        seconds / 3_600 % 24,
        seconds / 60 % 60,
        seconds % 60,
        t.us % 1_000_000,
        t.symbol,
        t.price as f64 / 1e4,
        t.qty / 100_000_000,
        t.qty % 100_000_000,
        t.price as f64 * t.qty as f64 / 1e16,
        t.order,
        t.account,
        t.note
    )
    .unwrap();
}

fn ndjson(t: &Trade, text: &mut Vec<u8>) {
    writeln!(
        text,
        r#"{{"ts":{},"symbol":"T{:03}-KRW","price":{},"qty":{},"order_id":{},"account_id":{},"note":{:?}}}"#,
        t.us,
        t.symbol,
        t.price as f64 / 1e4,
        t.qty as f64 / 1e8,
        t.order,
        t.account,
        t.note
    )
    .unwrap();
}

fn random(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *seed >> 33
}
