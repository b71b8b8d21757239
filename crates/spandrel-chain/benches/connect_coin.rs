//! B-connect-coin without the disk: 1000 keys mine 4000 blocks ten minutes apart, then 28 blocks of 1000 transfers follow: 4
//! spend the coinbases (50 into 30 and 20), 8 their outputs (into 10 and the rest), 16 those. Every receiver is a new
//! account. Only the 28 are timed, from their JSON text to the machine's new tip, beside the bare checks of their
//! signatures in the same minute.
//!
//! `cargo bench -p spandrel-chain --bench connect_coin`

#![expect(clippy::print_stdout, clippy::cast_precision_loss, reason = "a ratio is what it is for")]

use std::hint::black_box;
use std::sync::Arc;

use secp256k1::{Message, PublicKey as CurveKey, SecretKey, ecdsa};
use spandrel_chain::{Chain, CoinSet, Limits, NoArchive, Offered, Pool, draft_coins};
use spandrel_chain_protocol::{
    Account, Amount, CoinBlock, Coins, Ledger, Nonce, OutPoint, OutputIndex, Payload, PublicKey, Receipt,
    SignatureText, Transaction, WallMillis, version_for,
};
use spandrel_consensus::{HeaderScan, Rules, SecpVerifier, SignatureCheck, Verifier, check_of};

const KEYS: u64 = 1000;
const COINBASES: u64 = 4000;
const ROWS: usize = 1000;
const NOW: WallMillis = WallMillis::new(1_700_000_000_000);

/// A coin and the number of the key that owns it.
type Owned = (OutPoint, u64, u64);

struct Maker {
    chain: Chain<Coins>,
    pool: Pool,
    stamp: WallMillis,
    keys: u64,
    texts: Vec<String>,
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

fn chain() -> Chain<Coins> {
    Chain::new(CoinSet::new([1, 2]), [3, 4], Rules::default(), &Limits::default())
}

impl Maker {
    fn mine(&mut self, miner: Account, rows: Vec<Transaction>) -> Arc<CoinBlock> {
        self.stamp = self.stamp.after(600_000);
        let mut block = draft_coins(&self.chain, &self.pool, miner, self.stamp).expect("a draft");
        if let Coins::Rows(own) = &mut block.data {
            own.extend(rows);
            block.header.version = version_for(own);
        }
        block.header.merkle_root = block.data.merkle_root().expect("rows");
        let scan = HeaderScan::new(&block.header, Ledger::Coin);
        let (nonce, hash) = scan.scan(Nonce::new(1).expect("one"), u64::MAX).expect("found soon");
        (block.header.nonce, block.header.hash) = (nonce, hash);
        let block = Arc::new(block);
        let offered = self.chain.offer(Arc::clone(&block), self.stamp, &SecpVerifier, &NoArchive);
        assert!(matches!(offered, Ok(Offered::Adopted(_))), "{offered:?}");
        block
    }

    /// Blocks that spend each coin into `first` for a new account and the rest back.
    fn spend(&mut self, coins: &[Owned], first: u64) -> Vec<Owned> {
        let mut made = Vec::new();
        for block in coins.chunks(ROWS) {
            let mut rows = Vec::new();
            for (from, held, owner) in block {
                self.keys += 1;
                let (owner_key, to) = (key(*owner), key(self.keys).account());
                let message = Receipt::message(&owner_key, &to, amount(first), None);
                let signature = ecdsa::sign(Message::from_digest(message), &secret(*owner));
                let receipt = Receipt {
                    account: owner_key.account(),
                    public_key: owner_key,
                    received: to,
                    amount: amount(first),
                    signature: SignatureText::from_der(&signature.serialize_der()).expect("at most 72 bytes"),
                    nonce: None,
                    extra: Box::default(),
                };
                self.checks.push(check_of(&receipt).expect("well written"));
                let row = Transaction::pay(receipt, &[(*from, amount(*held))]).expect("enough");
                let point = |at| OutPoint { txid: row.txid, index: OutputIndex::new(at).expect("small") };
                made.push((point(0), first, self.keys));
                made.push((point(1), held - first, *owner));
                rows.push(row);
            }
            let block = self.mine(key(0).account(), rows);
            self.texts.push(String::from_utf8(block.to_json()).expect("JSON is text"));
        }
        made
    }
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

fn timed(run: impl FnOnce()) -> f64 {
    let start = cpu_ns();
    run();
    (cpu_ns() - start) as f64
}

fn main() {
    let pool = Pool::new([1, 2], &Limits::default());
    let mut maker = Maker {
        chain: chain(),
        pool,
        stamp: WallMillis::new(1_655_100_000_000),
        keys: KEYS,
        texts: Vec::new(),
        checks: Vec::new(),
    };
    let (mut base, mut coins) = (vec![Arc::new(CoinBlock::genesis())], Vec::new());
    for nth in 0..COINBASES {
        let owner = nth % KEYS;
        let block = maker.mine(key(owner).account(), Vec::new());
        let txid = block.data.rows().first().expect("a coinbase").txid;
        coins.push((OutPoint { txid, index: OutputIndex::ZERO }, 50, owner));
        base.push(block);
    }
    let second = maker.spend(&coins, 30);
    let third = maker.spend(&second, 10);
    maker.spend(&third, 5);
    let (texts, checks) = (maker.texts, maker.checks);
    println!(
        "{} blocks, {} transfers, {} bytes",
        texts.len(),
        checks.len(),
        texts.iter().map(String::len).sum::<usize>()
    );

    let limits = spandrel_chain_protocol::Limits::default();
    for round in 0..5 {
        let mut chain = chain();
        let offered = chain.offer_chain(base.clone(), NOW, &SecpVerifier, &NoArchive);
        assert!(matches!(offered, Ok(Offered::Adopted(_))));
        let before = timed(|| SecpVerifier.check_all(black_box(&checks)).expect("valid"));
        let whole = timed(|| {
            for text in &texts {
                let block = CoinBlock::from_json(black_box(text), &limits).expect("a block");
                let offered = chain.offer(Arc::new(block), NOW, &SecpVerifier, &NoArchive);
                assert!(matches!(offered, Ok(Offered::Adopted(_))));
            }
        });
        let after = timed(|| SecpVerifier.check_all(black_box(&checks)).expect("valid"));
        let (bare, rows) = ((before + after) / 2.0, checks.len() as f64);
        println!(
            "round {round}: bare check {:.1} and {:.1} us, whole row {:.1} us, ratio {:.3}{}",
            before / rows / 1e3,
            after / rows / 1e3,
            whole / rows / 1e3,
            bare / whole,
            if (before / after - 1.0).abs() > 0.05 {
                " (thrown away: the limits differ by over 5 %)"
            } else {
                ""
            }
        );
    }
}
