//! Tries of a nonce a second, beside the double SHA-256 of a binary header with its midstate (two compressions) and
//! beside hashing the whole text each time.
//!
//! `cargo bench -p spandrel-consensus --bench scan`

use std::hint::black_box;

use divan::Bencher;
use divan::counter::ItemsCount;
use sha2::block_api::compress256;
use sha2::{Digest as _, Sha256};
use spandrel_chain_protocol::{CoinBlock, Difficulty, Header, Ledger, Nonce, Version, WallMillis};
use spandrel_consensus::HeaderScan;

const TRIES: u64 = 1 << 15;

fn main() {
    divan::main();
}

fn header() -> Header {
    let mut header = CoinBlock::genesis().header;
    header.version = Version::new(&format!("1.0.0+{}", "ab".repeat(32))).expect("seventy bytes");
    header.timestamp = WallMillis::new(1_655_100_000_000);
    header.difficulty = Difficulty::new(200);
    header
}

#[divan::bench]
fn text_header(bencher: Bencher<'_, '_>) {
    let scan = HeaderScan::new(&header(), Ledger::Coin);
    let first = Nonce::new(1_000_000).expect("small");
    bencher.counter(ItemsCount::new(TRIES)).bench_local(|| black_box(&scan).scan(first, TRIES));
}

#[divan::bench]
fn text_header_hashed_whole(bencher: Bencher<'_, '_>) {
    let header = header();
    let prefix = header.hash_prefix(Ledger::Coin);
    bencher.counter(ItemsCount::new(TRIES)).bench_local(|| {
        (0..TRIES)
            .filter(|nonce| {
                let mut text = prefix.clone();
                text.extend_from_slice(nonce.to_string().as_bytes());
                let hash: [u8; 32] = Sha256::digest(&text).into();
                hash == [0; 32]
            })
            .count()
    });
}

/// What other chains pay for a try: `pow/sha2-crate-midstate`.
#[divan::bench]
fn binary_header_twice(bencher: Bencher<'_, '_>) {
    let start = [
        0x6a09_e667,
        0xbb67_ae85,
        0x3c6e_f372,
        0xa54f_f53a,
        0x510e_527f,
        0x9b05_688c,
        0x1f83_d9ab,
        0x5be0_cd19,
    ];
    let mut middle = start;
    compress256(&mut middle, &[[7; 64]]);
    bencher.counter(ItemsCount::new(TRIES)).bench_local(|| {
        let (mut first, mut second) = ([0; 64], [0; 64]);
        (first[16], second[32]) = (0x80, 0x80);
        first[62..].copy_from_slice(&640_u16.to_be_bytes());
        second[62..].copy_from_slice(&256_u16.to_be_bytes());
        for nonce in 0..u32::try_from(TRIES).unwrap_or_default() {
            first[12..16].copy_from_slice(&nonce.to_le_bytes());
            let mut state = black_box(middle);
            compress256(&mut state, &[first]);
            for (to, word) in second.as_chunks_mut::<4>().0.iter_mut().zip(state) {
                *to = word.to_be_bytes();
            }
            let mut state: [u32; 8] = start;
            compress256(&mut state, &[second]);
            black_box(state);
        }
    });
}
