//! What the machine costs beside the rules: a whole chain without transfers, a template from a full pool, and rows coming
//! into the pool beside their bare signature checks.
//!
//! `cargo bench -p spandrel-chain --bench chain`

#![allow(clippy::indexing_slicing, reason = "a bench may stop with a panic")]

use std::hint::black_box;
use std::sync::Arc;

use divan::Bencher;
use divan::counter::ItemsCount;
use secp256k1::{Message, PublicKey as CurveKey, SecretKey, ecdsa};
use spandrel_chain::{Chain, CoinSet, Limits, NoArchive, Offered, Pool, draft_coins};
use spandrel_chain_protocol::{
    Account, Amount, CoinBlock, Coins, Nonce, OutPoint, OutputIndex, PublicKey, Receipt, SignatureText,
    Transaction, TxOut, Txid, WallMillis,
};
use spandrel_consensus::{CoinView, Rules, SecpVerifier, SignatureCheck, Unspent, Verifier, check_of};

const NOW: WallMillis = WallMillis::new(1_700_000_000_000);
const BLOCKS: usize = 2000;
const ROWS: u64 = 5000;

fn main() {
    divan::main();
}

fn chain() -> Chain<Coins> {
    Chain::new(CoinSet::new([1, 2]), [3, 4], Rules::default(), &Limits::default())
}

/// Blocks ten minutes apart, without transfers.
fn blocks() -> Vec<Arc<CoinBlock>> {
    let (mut chain, pool) = (chain(), Pool::new([1, 2], &Limits::default()));
    let mut all = vec![Arc::new(CoinBlock::genesis())];
    let mut stamp = WallMillis::new(1_655_100_000_000);
    for _ in 0..BLOCKS {
        stamp = stamp.after(600_000);
        let mut block = draft_coins(&chain, &pool, Account::from_bytes([7; 20]), stamp).expect("a draft");
        for nonce in 1.. {
            block.header.nonce = Nonce::new(nonce).expect("found soon");
            block.header.hash = block.compute_hash();
            if block.header.hash.meets(block.header.difficulty) {
                break;
            }
        }
        let block = Arc::new(block);
        chain.offer(Arc::clone(&block), stamp, &SecpVerifier, &NoArchive).expect("valid");
        all.push(block);
    }
    all
}

/// A chain in one message, from its text to the state after it.
#[divan::bench(sample_count = 20)]
fn whole_chain_from_text(bencher: Bencher<'_, '_>) {
    let texts: Vec<String> =
        blocks().iter().map(|block| String::from_utf8(block.to_json()).expect("JSON is text")).collect();
    let text = format!("[{}]", texts.join(","));
    bencher.counter(ItemsCount::new(BLOCKS)).bench_local(|| {
        let limits = spandrel_chain_protocol::Limits::default();
        let blocks = CoinBlock::list_from_json(black_box(&text), &limits).expect("a chain");
        let mut chain = chain();
        let offered =
            chain.offer_chain(blocks.into_iter().map(Arc::new).collect(), NOW, &SecpVerifier, &NoArchive);
        assert!(matches!(offered, Ok(Offered::Adopted(_))));
        chain.height()
    });
}

/// Independent rows of 5000 keys, and the state they spend from.
fn rows() -> (CoinSet, Vec<Arc<Transaction>>) {
    let (mut unspent, mut rows) = (Vec::new(), Vec::new());
    for seed in 0..ROWS {
        let mut bytes = [1; 32];
        bytes[24..].copy_from_slice(&seed.to_be_bytes());
        let secret = SecretKey::from_secret_bytes(bytes).expect("in range");
        let key = PublicKey::from_bytes(CurveKey::from_secret_key(&secret).serialize());
        let amount = |n| Amount::new(n).expect("small");
        let txid = Txid::from_bytes(
            *Receipt::message(&key, &key.account(), amount(seed + 1), None).first_chunk().expect("32"),
        );
        let coin = TxOut::new(key.account(), amount(50));
        unspent.push((txid, Unspent::of_outputs(&[coin]).expect("one output")));
        let mut to = [9; 20];
        to[..8].copy_from_slice(&seed.to_be_bytes());
        let received = Account::from_bytes(to);
        let message = Receipt::message(&key, &received, amount(30), None);
        let signature = ecdsa::sign(Message::from_digest(message), &secret);
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
        rows.push(Arc::new(Transaction::pay(receipt, &[(from, amount(50))]).expect("enough")));
    }
    (CoinSet::from_parts([1, 2], unspent, []), rows)
}

struct Yes;

impl Verifier for Yes {
    fn is_valid(&self, _: &SignatureCheck) -> bool {
        true
    }
}

fn fill(rows: &[Arc<Transaction>], state: &impl CoinView, verifier: &impl Verifier) -> Pool {
    let mut pool = Pool::new([1, 2], &Limits::default());
    for row in rows {
        pool.admit(Arc::clone(row), state, Rules::default(), verifier).expect("fits");
    }
    pool
}

/// The limit of admission.
#[divan::bench(sample_count = 10)]
fn bare_checks(bencher: Bencher<'_, '_>) {
    let checks: Vec<SignatureCheck> =
        rows().1.iter().filter_map(|row| check_of(row.receipt.as_ref()?).ok()).collect();
    bencher.counter(ItemsCount::new(ROWS)).bench_local(|| SecpVerifier.check_all(black_box(&checks)));
}

/// Rows from their text into the pool.
#[divan::bench(sample_count = 10)]
fn admission(bencher: Bencher<'_, '_>) {
    let (state, rows) = rows();
    let texts: Vec<String> =
        rows.iter().map(|row| String::from_utf8(row.to_json()).expect("JSON is text")).collect();
    bencher.counter(ItemsCount::new(ROWS)).bench_local(|| {
        let limits = spandrel_chain_protocol::Limits::default();
        let read = |text: &String| Arc::new(Transaction::from_json(text, &limits).expect("a row"));
        let rows: Vec<Arc<Transaction>> = black_box(&texts).iter().map(read).collect();
        fill(&rows, &state, &SecpVerifier)
    });
}

/// The same without the signatures.
#[divan::bench]
fn admission_without_signatures(bencher: Bencher<'_, '_>) {
    let (state, rows) = rows();
    bencher.counter(ItemsCount::new(ROWS)).bench_local(|| fill(black_box(&rows), &state, &Yes));
}

/// A block from a pool of 5000 rows: to be ready within 5 ms.
#[divan::bench]
fn template(bencher: Bencher<'_, '_>) {
    let (state, rows) = rows();
    let pool = fill(&rows, &state, &Yes);
    let chain = chain();
    bencher.bench_local(|| {
        draft_coins(&chain, black_box(&pool), Account::from_bytes([7; 20]), NOW).expect("a draft")
    });
}
