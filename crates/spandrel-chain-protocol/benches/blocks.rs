//! A coin block of 1000 transfers: reading, writing and every hash of it. One signature check is the unit to compare
//! with (`cargo bench -p spandrel-consensus --bench connect`).
//!
//! `cargo bench -p spandrel-chain-protocol --bench blocks`

use std::hint::black_box;

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use spandrel_chain_protocol::{
    Account, Amount, CoinBlock, Coins, Height, Limits, OutPoint, OutputIndex, Payload, PublicKey, Receipt,
    SignatureText, Transaction, Txid, body_commitment, version_for,
};

const ROWS: usize = 1000;

fn main() {
    divan::main();
}

fn digest(seed: usize) -> [u8; 32] {
    <sha2::Sha256 as sha2::Digest>::digest(seed.to_le_bytes()).into()
}

/// Everything but the signatures is as in a real block; those only have the length of one.
fn block() -> CoinBlock {
    let account = |seed| {
        let mut bytes = [0; 20];
        bytes.copy_from_slice(&digest(seed)[..20]);
        Account::from_bytes(bytes)
    };
    let row = |at: usize| {
        let (mut key, mut der) = ([2; 33], [0x11; 71]);
        key[1..].copy_from_slice(&digest(at));
        der[..32].copy_from_slice(&digest(at + 1));
        let public_key = PublicKey::from_bytes(key);
        let receipt = Receipt {
            account: public_key.account(),
            public_key,
            received: account(at + ROWS),
            amount: Amount::new(30).expect("small"),
            signature: SignatureText::from_der(&der).expect("short"),
            nonce: None,
            extra: Box::default(),
        };
        let from = OutPoint { txid: Txid::from_bytes(digest(at + 2)), index: OutputIndex::ZERO };
        Transaction::pay(receipt, &[(from, Amount::new(50).expect("small"))]).expect("enough")
    };
    let mut rows = vec![Transaction::coinbase(Height::new(5000).expect("small"), account(0))];
    rows.extend((0..ROWS).map(row));
    let mut block = CoinBlock::genesis();
    block.header.version = version_for(&rows);
    block.data = Coins::Rows(rows);
    block.header.merkle_root = block.data.merkle_root().expect("rows");
    block.header.hash = block.compute_hash();
    block
}

fn text() -> String {
    String::from_utf8(block().to_json()).expect("JSON is text")
}

#[divan::bench]
fn read(bencher: Bencher<'_, '_>) {
    let (text, limits) = (text(), Limits::default());
    bencher
        .counter(ItemsCount::new(ROWS))
        .counter(BytesCount::of_str(&text))
        .bench_local(|| CoinBlock::from_json(black_box(&text), &limits).expect("a block"));
}

/// The usual way, for comparison: a tree of values.
#[divan::bench]
fn read_as_tree(bencher: Bencher<'_, '_>) {
    let text = text();
    bencher
        .counter(ItemsCount::new(ROWS))
        .counter(BytesCount::of_str(&text))
        .bench_local(|| serde_json::from_str::<serde_json::Value>(black_box(&text)).expect("JSON"));
}

#[divan::bench]
fn write(bencher: Bencher<'_, '_>) {
    let block = block();
    bencher.counter(ItemsCount::new(ROWS)).bench_local(|| black_box(&block).to_json());
}

#[divan::bench]
fn count(bencher: Bencher<'_, '_>) {
    let block = block();
    bencher.counter(ItemsCount::new(ROWS)).bench_local(|| black_box(&block).json_len());
}

/// Identifiers, root, commitment, names of receipts, hash of the header.
#[divan::bench]
fn hashes(bencher: Bencher<'_, '_>) {
    let block = block();
    bencher.counter(ItemsCount::new(ROWS)).bench_local(|| {
        let block = black_box(&block);
        let rows = block.data.rows();
        for row in rows {
            black_box(row.compute_txid());
            black_box(row.receipt.as_ref().map(|receipt| receipt.id()));
        }
        (block.data.merkle_root(), body_commitment(rows), block.compute_hash())
    });
}
