//! Connecting coin blocks of 1000 transfers, from their JSON text to what they change, beside the bare signature checks
//! of the same rows. The chain is small and made here: 1000 keys with a coin each, one block that spends them all into
//! 30 for a new account and 20 back.
//!
//! `cargo bench -p spandrel-consensus --bench connect`: the last line is CPU per row, and bare checks over the whole, the
//! share that nobody can save; 0.80 is to be reached with the block on disk.

#![expect(clippy::print_stdout, clippy::cast_precision_loss, reason = "a ratio belongs beside the times")]

use std::collections::HashMap;
use std::hint::black_box;

use divan::Bencher;
use divan::counter::ItemsCount;
use secp256k1::{Message, PublicKey as CurveKey, SecretKey, ecdsa};
use spandrel_chain_protocol::{
    Amount, CoinBlock, Coins, Difficulty, Height, Limits, Nonce, OutPoint, OutputIndex, Payload, PublicKey,
    Receipt, ReceiptId, SignatureText, Stamp, Transaction, TxOut, Txid, WallMillis, version_for,
};
use spandrel_consensus::{
    Ancestors, CoinView, Delta, IdHash, Remembering, Rules, SecpVerifier, SignatureCache, SignatureCheck,
    Unspent, Verifier, check_coin_block, check_of,
};

const ROWS: u64 = 1000;
const NOW: WallMillis = WallMillis::new(1_655_200_000_000);

struct Below;

impl Ancestors for Below {
    fn parent(&self) -> (Height, spandrel_chain_protocol::BlockHash) {
        (Height::new(5001).unwrap_or_default(), spandrel_chain_protocol::BlockHash::ZERO)
    }

    fn stamp(&self, _: Height) -> Option<Stamp> {
        Some(Stamp { timestamp: NOW, difficulty: Difficulty::ZERO })
    }
}

struct State(HashMap<Txid, Unspent, IdHash>);

impl CoinView for State {
    fn unspent(&self, txid: &Txid) -> Option<&Unspent> {
        self.0.get(txid)
    }

    fn is_receipt_used(&self, _: &ReceiptId) -> bool {
        false
    }
}

struct Yes;

impl Verifier for Yes {
    fn is_valid(&self, _: &SignatureCheck) -> bool {
        true
    }
}

struct Fixture {
    state: State,
    block: CoinBlock,
    text: String,
    checks: Vec<SignatureCheck>,
}

fn secret(seed: u64) -> SecretKey {
    let mut bytes = [1; 32];
    bytes[24..].copy_from_slice(&seed.to_be_bytes());
    SecretKey::from_secret_bytes(bytes).expect("in range")
}

fn key(seed: u64) -> PublicKey {
    PublicKey::from_bytes(CurveKey::from_secret_key(&secret(seed)).serialize())
}

fn amount(coins: u64) -> Amount {
    Amount::new(coins).expect("small")
}

fn fixture() -> Fixture {
    let mut state = State(HashMap::with_hasher(IdHash::fixed()));
    let height = Height::new(5002).expect("small");
    let mut rows = vec![Transaction::coinbase(height, key(1).account())];
    for seed in 0..ROWS {
        let (key, received) = (key(seed), key(seed + 10_000).account());
        let txid = Transaction::coinbase(Height::new(seed + 2).expect("small"), key.account()).txid;
        let coin = TxOut::new(key.account(), amount(50));
        state.0.insert(txid, Unspent::of_outputs(&[coin]).expect("one output"));
        let message = Receipt::message(&key, &received, amount(30), None);
        let signature = ecdsa::sign(Message::from_digest(message), &secret(seed));
        let receipt = Receipt {
            account: key.account(),
            public_key: key,
            received,
            amount: amount(30),
            signature: SignatureText::from_der(&signature.serialize_der()).expect("at most 72 bytes"),
            nonce: None,
            extra: Box::default(),
        };
        let from = OutPoint { txid, index: OutputIndex::ZERO };
        rows.push(Transaction::pay(receipt, &[(from, amount(50))]).expect("enough"));
    }
    let checks = rows.iter().filter_map(|row| check_of(row.receipt.as_ref()?).ok()).collect();
    let mut block = CoinBlock::genesis();
    block.header.version = version_for(&rows);
    block.data = Coins::Rows(rows);
    block.header.height = height;
    block.header.timestamp = NOW;
    block.header.merkle_root = block.data.merkle_root().expect("rows");
    block.header.nonce = Nonce::new(1).expect("small");
    block.header.hash = block.compute_hash();
    let text = String::from_utf8(block.to_json()).expect("JSON is text");
    Fixture { state, block, text, checks }
}

fn connect(fixture: &Fixture, verifier: &impl Verifier) -> Delta {
    let block = CoinBlock::from_json(black_box(&fixture.text), &Limits::default()).expect("a block");
    check_coin_block(&block, &Below, &fixture.state, NOW, Rules::default(), verifier).expect("valid")
}

/// The limit: every check of the block, keys and signatures parsed each time.
#[divan::bench(sample_count = 30)]
fn bare_checks(bencher: Bencher<'_, '_>) {
    let fixture = fixture();
    bencher
        .counter(ItemsCount::new(ROWS))
        .bench_local(|| SecpVerifier.check_all(black_box(&fixture.checks)).expect("valid"));
}

/// Text to changes, everything checked.
#[divan::bench(sample_count = 30)]
fn cold(bencher: Bencher<'_, '_>) {
    let fixture = fixture();
    bencher.counter(ItemsCount::new(ROWS)).bench_local(|| connect(&fixture, &SecpVerifier));
}

/// The same when every row was in the pool before.
#[divan::bench]
fn known_signatures(bencher: Bencher<'_, '_>) {
    let fixture = fixture();
    let mut cache = SignatureCache::new([7; 32], 100_000);
    fixture.checks.iter().for_each(|check| cache.insert(check));
    let verifier = Remembering::new(SecpVerifier, &cache);
    bencher.counter(ItemsCount::new(ROWS)).bench_local(|| connect(&fixture, &verifier));
}

/// Text to changes without signatures: what the rules themselves cost.
#[divan::bench]
fn without_signatures(bencher: Bencher<'_, '_>) {
    let fixture = fixture();
    bencher.counter(ItemsCount::new(ROWS)).bench_local(|| connect(&fixture, &Yes));
}

/// Of that, the reading.
#[divan::bench]
fn reading(bencher: Bencher<'_, '_>) {
    let fixture = fixture();
    let limits = Limits::default();
    bencher
        .counter(ItemsCount::new(ROWS))
        .bench_local(|| CoinBlock::from_json(black_box(&fixture.text), &limits).expect("a block"));
}

/// Nanoseconds this thread had a core for, where the system says so; time otherwise.
fn cpu_ns() -> u128 {
    #[expect(clippy::disallowed_methods, reason = "the driver owns the clock")]
    fn wall() -> u128 {
        static START: std::sync::LazyLock<std::time::Instant> =
            std::sync::LazyLock::new(std::time::Instant::now);
        std::time::Instant::now().duration_since(*START).as_nanos()
    }
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    stat.and_then(|text| text.split(' ').next()?.parse().ok()).unwrap_or_else(wall)
}

/// Least CPU of many, in turns, so that both see the same machine.
fn ratio() {
    let fixture = fixture();
    assert_eq!(fixture.block.data.rows().len() as u64, ROWS + 1);
    let best = |best: &mut u128, run: &mut dyn FnMut()| {
        let start = cpu_ns();
        run();
        *best = (*best).min(cpu_ns() - start);
    };
    let (mut bare, mut whole) = (u128::MAX, u128::MAX);
    for _ in 0..40 {
        best(&mut bare, &mut || SecpVerifier.check_all(black_box(&fixture.checks)).expect("valid"));
        best(&mut whole, &mut || drop(black_box(connect(&fixture, &SecpVerifier))));
    }
    let (bare, whole, rows) = (bare as f64, whole as f64, ROWS as f64);
    println!(
        "bare check {:.1} us, whole row {:.1} us, ratio {:.3}",
        bare / rows / 1e3,
        whole / rows / 1e3,
        bare / whole
    );
}

fn main() {
    divan::main();
    ratio();
}
