//! What keeping costs: a block with transfers appended and synced beside a plain log file, the coin store that follows,
//! and a start.
//!
//! `cargo bench -p spandrel-store --bench store`; `STORE_BENCH_DIR` names a folder on the disk to measure (default: the
//! temporary folder). A signature check takes about 40 µs, so a block of 1,000 transfers takes about 40 ms: the share of
//! the store is its time beside that.

#![allow(clippy::indexing_slicing, reason = "a bench may stop with a panic")]

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use spandrel_chain::{Chain, CoinSet, Step, Update};
use spandrel_chain_protocol::{
    Account, Amount, BlockHash, CoinBlock, Coins, Height, OutPoint, OutputIndex, PublicKey, Receipt,
    SignatureText, Transaction, TxOut, Txid,
};
use spandrel_consensus::{Change, Delta, Rules, Unspent};
use spandrel_store::{Batch, ChainStore, CoinStore as _, Folder, Limits, NoCoins, Point, RedbCoins, Start};

const ROWS: u64 = 1000;
const BLOCKS: u64 = 28;

fn main() {
    if std::env::var_os("STORE_BENCH_CPU").is_some() {
        return cpu_table();
    }
    divan::main();
}

/// CPU time of this thread in nanoseconds, where the system tells.
fn cpu_ns() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    stat.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or_default()
}

/// `STORE_BENCH_CPU=1`: CPU instead of wall time, for a machine that others use.
fn cpu_table() {
    let updates = updates(BLOCKS, ROWS);
    let (chain, message) = (machine(&updates), message());
    let per = |ns: u64, n: u64| ns as f64 / 1000.0 / n as f64;
    for _ in 0..5 {
        let (log, commit, flush, small) = (dir(), dir(), dir(), dir());
        let texts: Vec<Vec<u8>> = updates.iter().map(|u| u.connected[0].block.to_json()).collect();
        let started = cpu_ns();
        let mut file = File::create(log.path().join("log")).expect("a file");
        for text in &texts {
            file.write_all(text).and_then(|()| file.sync_data()).expect("a disk");
        }
        let log_ns = cpu_ns() - started;
        let (mut store, _) = ChainStore::<Coins, NoCoins>::open(folder(&commit), &start()).expect("empty");
        let started = cpu_ns();
        updates.iter().for_each(|update| store.commit(update).expect("a disk"));
        let commit_ns = cpu_ns() - started;
        let (mut store, _) = ChainStore::<Coins>::open(folder(&flush), &start()).expect("empty");
        updates.iter().for_each(|update| store.commit(update).expect("a disk"));
        let started = cpu_ns();
        store.flush(&chain).expect("a disk");
        let flush_ns = cpu_ns() - started;
        let (mut store, _) = ChainStore::<Coins, NoCoins>::open(folder(&small), &start()).expect("empty");
        let started = cpu_ns();
        store.commit(&message).expect("a disk");
        let small_ns = cpu_ns() - started;
        eprintln!(
            "CPU us a block of {ROWS}: plain log {:.0}, commit {:.0}, flush {:.0}; a block of a message {:.2}",
            per(log_ns, BLOCKS),
            per(commit_ns, BLOCKS),
            per(flush_ns, BLOCKS),
            per(small_ns, SMALL)
        );
    }
}

fn dir() -> tempfile::TempDir {
    let base = std::env::var_os("STORE_BENCH_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    tempfile::tempdir_in(base).expect("a folder")
}

fn folder(dir: &tempfile::TempDir) -> Arc<Folder> {
    Arc::new(Folder::open(dir.path()).expect("a folder"))
}

fn start() -> Start {
    Start::new([1, 2])
}

/// Something of 32 bytes that no two calls share and nobody can sort.
fn id(n: u64) -> [u8; 32] {
    let mut bytes = [0; 32];
    let mut z = n;
    for eight in bytes.chunks_exact_mut(8) {
        z = (z ^ (z >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9).wrapping_add(0x9e37_79b9_7f4a_7c15);
        eight.copy_from_slice(&z.to_le_bytes());
    }
    bytes
}

fn outputs(n: u64) -> Vec<TxOut> {
    let account = |m: u64| Account::from_bytes(*id(n * 2 + m).first_chunk().expect("32 bytes"));
    let amount = |a| Amount::new(a).expect("small");
    vec![TxOut::new(account(0), amount(10)), TxOut::new(account(1), amount(20))]
}

/// A row that spends the first output of the row 1,000 before it.
fn row(n: u64) -> Transaction {
    let mut key = [2; 33];
    key[1..].copy_from_slice(&id(n + 7));
    let key = PublicKey::from_bytes(key);
    let signature = SignatureText::from_der(&[7; 71]).expect("71 bytes");
    let outputs = outputs(n);
    let receipt = Receipt {
        account: key.account(),
        public_key: key,
        received: outputs[0].account,
        amount: outputs[0].amount,
        signature: signature.clone(),
        nonce: None,
        extra: Box::default(),
    };
    let from = OutPoint { txid: Txid::from_bytes(id(n - ROWS)), index: OutputIndex::ZERO };
    let inputs = vec![spandrel_chain_protocol::TxIn::spend(from, signature)];
    Transaction { txid: Txid::from_bytes(id(n)), ..Transaction::new(inputs, outputs, Some(receipt)) }
}

/// Updates as a machine would give them, without its rules: `rows` transfers in each of `count` blocks.
fn updates(count: u64, rows: u64) -> Vec<Update<Coins>> {
    let mut header = CoinBlock::genesis().header;
    let mut all = Vec::new();
    for nth in 0..count {
        let fork = header.height;
        header.previous_hash = header.hash;
        header.height = header.height.next();
        header.hash = BlockHash::from_bytes(id(1 << 40 | nth));
        let coinbase = Transaction::coinbase(header.height, Account::from_bytes([7; 20]));
        let whole = |outputs: &[TxOut]| Unspent::of_outputs(outputs);
        let mut delta = Delta::default();
        delta.changes.push(Change { txid: coinbase.txid, before: None, after: whole(&coinbase.outputs) });
        let mut data = vec![coinbase];
        for n in (nth + 1) * ROWS..(nth + 1) * ROWS + rows {
            let row = row(n);
            let before = whole(&outputs(n - ROWS));
            let after = before.clone().and_then(|unspent| unspent.without(OutputIndex::ZERO));
            delta.changes.push(Change { txid: Txid::from_bytes(id(n - ROWS)), before, after });
            delta.changes.push(Change { txid: row.txid, before: None, after: whole(&row.outputs) });
            delta.receipts.push(row.receipt.as_ref().expect("a receipt").id());
            data.push(row);
        }
        let block = CoinBlock { header: header.clone(), data: Coins::Rows(data), extra: Default::default() };
        let step = Step { block: Arc::new(block), undo: Arc::new(delta) };
        all.push(Update { fork, disconnected: vec![], connected: vec![step] });
    }
    all
}

/// The floor: the same bytes appended to a file and synced.
#[divan::bench(sample_count = 10)]
fn block_plain_log(bencher: Bencher<'_, '_>) {
    let texts: Vec<Vec<u8>> = updates(BLOCKS, ROWS).iter().map(|u| u.connected[0].block.to_json()).collect();
    let bytes: usize = texts.iter().map(Vec::len).sum();
    bencher
        .counter(ItemsCount::new(BLOCKS))
        .counter(BytesCount::new(bytes))
        .with_inputs(dir)
        .bench_local_values(|dir| {
            let mut file = File::create(dir.path().join("log")).expect("a file");
            for text in &texts {
                file.write_all(text).expect("room");
                file.sync_data().expect("a disk");
            }
            dir
        });
}

/// 28 blocks of 1,000 transfers: text, undo, one sync each.
#[divan::bench(sample_count = 10)]
fn block_commit(bencher: Bencher<'_, '_>) {
    let updates = updates(BLOCKS, ROWS);
    bencher
        .counter(ItemsCount::new(BLOCKS))
        .with_inputs(|| {
            let dir = dir();
            (ChainStore::<Coins, NoCoins>::open(folder(&dir), &start()).expect("empty").0, dir)
        })
        .bench_local_values(|(mut store, dir)| {
            updates.iter().for_each(|update| store.commit(update).expect("a disk"));
            (store, dir)
        });
}

/// The coin store following 28 such blocks at once: what was made and spent among them does not reach it.
#[divan::bench(sample_count = 10)]
fn block_flush(bencher: Bencher<'_, '_>) {
    let updates = updates(BLOCKS, ROWS);
    let chain = machine(&updates);
    bencher
        .counter(ItemsCount::new(BLOCKS))
        .with_inputs(|| {
            let dir = dir();
            let (mut store, _) = ChainStore::<Coins, RedbCoins>::open(folder(&dir), &start()).expect("empty");
            updates.iter().for_each(|update| store.commit(update).expect("a disk"));
            (store, dir)
        })
        .bench_local_values(|(mut store, dir)| {
            store.flush(&chain).expect("a disk");
            (store, dir)
        });
}

/// A flush of 28,000 rows gone and 28,000 new ones into a coin store of a million.
#[divan::bench(sample_count = 5)]
fn flush_into_a_million(bencher: Bencher<'_, '_>) {
    const GONE: u64 = ROWS * BLOCKS;
    let dir = dir();
    let disk: Arc<dyn spandrel_store::Disk> = folder(&dir);
    let mut store = RedbCoins::open(&disk, &Limits::default()).expect("empty");
    let unspent = Unspent::of_outputs(&outputs(1)).expect("two outputs");
    let mut write = |from: u64, to: u64, gone: u64, is_whole: bool| {
        let old = (gone..gone + GONE).map(|n| (Txid::from_bytes(id(n)), None));
        let new = (from..to).map(|n| (Txid::from_bytes(id(n)), Some(&unspent)));
        let mut coins: Vec<_> = if is_whole { new.collect() } else { old.chain(new).collect() };
        coins.sort_unstable_by_key(|(txid, _)| *txid);
        let point = Point { end: to, commits: 1, blocks: 0, tip: BlockHash::ZERO };
        let (receipts, loose_receipts) = (vec![], vec![]);
        let batch = Batch { point, is_whole, heads_kept: 0, heads: &[], coins, receipts, loose_receipts };
        store.write(&batch).expect("a disk");
    };
    write(0, 1_000_000, 0, true);
    let mut at = 0;
    bencher.counter(ItemsCount::new(2 * GONE)).bench_local(|| {
        write(1_000_000 + at, 1_000_000 + at + GONE, at, false);
        at += GONE;
    });
}

/// A machine that stands where these updates lead.
fn machine(updates: &[Update<Coins>]) -> Chain<Coins> {
    let mut chain = Chain::new(CoinSet::new([1, 2]), [1, 2], Rules::default(), &start().chain_limits);
    for update in updates {
        chain.restore(&update.connected[0].block.header, None).expect("in order");
    }
    chain
}

const SMALL: u64 = 100_000;

/// 100,000 blocks without transfers in one message: one commit.
fn message() -> Update<Coins> {
    let mut updates = updates(SMALL, 0).into_iter();
    let mut first = updates.next().expect("one");
    first.connected.extend(updates.flat_map(|update| update.connected));
    first
}

#[divan::bench(sample_count = 3)]
fn message_of_100_000_commit(bencher: Bencher<'_, '_>) {
    let update = message();
    bencher
        .counter(ItemsCount::new(SMALL))
        .with_inputs(|| {
            let dir = dir();
            (ChainStore::<Coins, NoCoins>::open(folder(&dir), &start()).expect("empty").0, dir)
        })
        .bench_local_values(|(mut store, dir)| {
            store.commit(&update).expect("a disk");
            (store, dir)
        });
}

fn stored(is_flushed: bool) -> tempfile::TempDir {
    let (dir, update) = (dir(), message());
    let (mut store, _) = ChainStore::<Coins>::open(folder(&dir), &start()).expect("empty");
    store.commit(&update).expect("a disk");
    drop(store);
    if is_flushed {
        let (store, chain) = ChainStore::<Coins>::open(folder(&dir), &start()).expect("a chain");
        store.close(&chain).expect("a disk");
    }
    dir
}

/// A start with 100,000 blocks after a stop in good order.
#[divan::bench(sample_count = 5)]
fn start_with_100_000(bencher: Bencher<'_, '_>) {
    let dir = stored(true);
    bencher.bench_local(|| {
        let (store, chain) = ChainStore::<Coins>::open(folder(&dir), &start()).expect("a chain");
        assert_eq!(
            (store.height(), store.recovery().replayed_blocks),
            (Height::new(SMALL + 1).expect("small"), 0)
        );
        chain
    });
}

/// The same without a coin store: all of the journal is replayed, as it is when the node was killed before the first flush.
#[divan::bench(sample_count = 5)]
fn start_with_100_000_replayed(bencher: Bencher<'_, '_>) {
    let dir = stored(false);
    let start = start();
    bencher.bench_local(|| {
        let (store, chain) = ChainStore::<Coins>::open(folder(&dir), &start).expect("a chain");
        assert_eq!(store.recovery().replayed_blocks, SMALL);
        chain
    });
}

/// All texts, as a peer is sent the chain.
#[divan::bench(sample_count = 5)]
fn texts_of_100_000(bencher: Bencher<'_, '_>) {
    let dir = stored(true);
    let (store, _) = ChainStore::<Coins>::open(folder(&dir), &start()).expect("a chain");
    bencher
        .counter(ItemsCount::new(SMALL))
        .bench_local(|| store.texts(Height::ZERO).map(|text| text.expect("undamaged").len()).sum::<usize>());
}
