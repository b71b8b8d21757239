//! A small ledger to try rules on: branches, states, keys, and a miner.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part")]

use std::collections::{BTreeMap, BTreeSet};

use secp256k1::{Message, PublicKey as CurveKey, SecretKey, ecdsa};
use spandrel_chain_protocol::{
    Account, Amount, Block, BlockHash, CoinBlock, Coins, Height, Limits, Nonce, NoteBlock, Notes, OutPoint,
    OutputIndex, Payload, PublicKey, Receipt, ReceiptId, ReceiptNonce, SignatureText, Stamp, Transaction,
    Txid, WallMillis, version_for,
};
use spandrel_consensus::{
    Ancestors, BlockError, CoinView, Delta, Rules, SecpVerifier, Unspent, check_coin_block, next_difficulty,
};

/// Blocks on top of each other, looked at from the last one.
#[derive(Debug, Clone)]
pub struct Branch<P> {
    pub blocks: Vec<Block<P>>,
}

impl<P: Payload> Ancestors for Branch<P> {
    fn parent(&self) -> (Height, BlockHash) {
        let header = &self.blocks.last().expect("never empty").header;
        (header.height, header.hash)
    }

    fn stamp(&self, height: Height) -> Option<Stamp> {
        let at = height.get().checked_sub(self.blocks.first()?.header.height.get())?;
        let header = &self.blocks.get(usize::try_from(at).ok()?)?.header;
        Some(Stamp { timestamp: header.timestamp, difficulty: header.difficulty })
    }
}

impl<P: Payload> Branch<P> {
    /// A block with these data, not mined yet.
    pub fn draft(&self, data: P, timestamp: WallMillis) -> Block<P> {
        let mut block = self.blocks.last().expect("never empty").clone();
        block.header.version = spandrel_chain_protocol::Version::new("1.0.0").expect("short");
        block.header.previous_hash = block.header.hash;
        block.header.height = block.header.height.next();
        block.header.timestamp = timestamp;
        block.header.difficulty = next_difficulty(P::LEDGER, self, timestamp);
        block.header.merkle_root = data.merkle_root().unwrap_or(block.header.merkle_root);
        block.data = data;
        mine(&mut block);
        block
    }

    pub fn next_stamp(&self) -> WallMillis {
        self.blocks.last().expect("never empty").header.timestamp.after(600_000)
    }
}

impl Branch<Notes> {
    pub fn notes() -> Self {
        let mut genesis = NoteBlock::genesis();
        genesis.header.timestamp = WallMillis::new(1_655_100_000_000);
        Self { blocks: vec![genesis] }
    }
}

/// Turns the nonce until hash and difficulty fit.
pub fn mine<P: Payload>(block: &mut Block<P>) {
    for nonce in 1.. {
        block.header.nonce = Nonce::new(nonce).expect("found long before");
        block.header.hash = block.compute_hash();
        if block.header.hash.meets(block.header.difficulty) {
            return;
        }
    }
}

/// A state in two sorted maps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    pub unspent: BTreeMap<Txid, Unspent>,
    pub receipts: BTreeSet<ReceiptId>,
}

impl CoinView for State {
    fn unspent(&self, txid: &Txid) -> Option<&Unspent> {
        self.unspent.get(txid)
    }

    fn is_receipt_used(&self, id: &ReceiptId) -> bool {
        self.receipts.contains(id)
    }
}

impl State {
    fn set(&mut self, txid: Txid, to: Option<&Unspent>) {
        match to {
            Some(unspent) => self.unspent.insert(txid, unspent.clone()),
            None => self.unspent.remove(&txid),
        };
    }

    pub fn apply(&mut self, delta: &Delta) {
        for change in &delta.changes {
            assert_eq!(self.unspent.get(&change.txid), change.before.as_ref());
            self.set(change.txid, change.after.as_ref());
        }
        self.receipts.extend(&delta.receipts);
    }

    pub fn undo(&mut self, delta: &Delta) {
        for change in &delta.changes {
            assert_eq!(self.unspent.get(&change.txid), change.after.as_ref());
            self.set(change.txid, change.before.as_ref());
        }
        for id in &delta.receipts {
            self.receipts.remove(id);
        }
    }

    pub fn coins_of(&self, account: Account) -> Vec<(OutPoint, Amount)> {
        let all =
            self.unspent.iter().flat_map(|(txid, unspent)| unspent.iter().map(move |coin| (*txid, coin)));
        all.filter(|(_, coin)| coin.account == account)
            .map(|(txid, coin)| (OutPoint { txid, index: coin.index }, coin.amount))
            .collect()
    }

    pub fn sum(&self) -> u64 {
        self.unspent.values().flat_map(|unspent| unspent.iter()).map(|coin| coin.amount.get()).sum()
    }
}

/// A coin ledger that only takes valid blocks.
#[derive(Debug, Clone)]
pub struct Ledger {
    pub branch: Branch<Coins>,
    pub state: State,
    pub rules: Rules,
}

impl Ledger {
    pub fn new(rules: Rules) -> Self {
        let mut genesis = CoinBlock::genesis();
        genesis.header.timestamp = WallMillis::new(1_655_100_000_000);
        Self { branch: Branch { blocks: vec![genesis] }, state: State::default(), rules }
    }

    pub fn check(&self, block: &CoinBlock) -> Result<Delta, BlockError> {
        let now = self.branch.next_stamp();
        check_coin_block(block, &self.branch, &self.state, now, self.rules, &SecpVerifier)
    }

    pub fn push(&mut self, block: CoinBlock) -> Result<Delta, BlockError> {
        let delta = self.check(&block)?;
        self.state.apply(&delta);
        self.branch.blocks.push(block);
        Ok(delta)
    }

    /// A mined block with these transfers, paid to `miner`.
    pub fn draft(&self, miner: Account, transfers: Vec<Transaction>) -> CoinBlock {
        let height = self.branch.parent().0.next();
        let mut rows = vec![Transaction::coinbase(height, miner)];
        rows.extend(transfers);
        self.draft_rows(rows)
    }

    pub fn draft_rows(&self, rows: Vec<Transaction>) -> CoinBlock {
        let version = version_for(&rows);
        let mut block = self.branch.draft(Coins::Rows(rows), self.branch.next_stamp());
        block.header.version = version;
        mine(&mut block);
        block
    }
}

/// Makes data fit a changed block again: root, commitment, nonce, hash.
pub fn seal(block: &mut CoinBlock) {
    if let Some(root) = block.data.merkle_root() {
        block.header.merkle_root = root;
    }
    block.header.version = version_for(block.data.rows());
    mine(block);
}

/// Somebody with a key.
#[derive(Debug, Clone, Copy)]
pub struct Person {
    secret: SecretKey,
    pub key: PublicKey,
}

impl Person {
    pub fn new(seed: u8) -> Self {
        let secret = SecretKey::from_secret_bytes([seed; 32]).expect("in range");
        let key = PublicKey::from_bytes(CurveKey::from_secret_key(&secret).serialize());
        Self { secret, key }
    }

    pub fn account(&self) -> Account {
        self.key.account()
    }

    pub fn receipt(&self, received: Account, amount: u64, nonce: Option<&str>) -> Receipt {
        let nonce = nonce.map(|text| ReceiptNonce::new(text).expect("a nonce"));
        let amount = Amount::new(amount).expect("countable");
        let message = Receipt::message(&self.key, &received, amount, nonce.as_ref());
        let signature = ecdsa::sign(Message::from_digest(message), &self.secret);
        Receipt {
            account: self.account(),
            public_key: self.key,
            received,
            amount,
            signature: SignatureText::from_der(&signature.serialize_der()).expect("at most 72 bytes"),
            nonce,
            extra: Box::default(),
        }
    }

    /// A row that pays from these coins.
    pub fn pay(&self, to: Account, amount: u64, from: &[(OutPoint, Amount)]) -> Transaction {
        Transaction::pay(self.receipt(to, amount, None), from).expect("enough coins")
    }
}

pub fn point(txid: Txid, index: u64) -> OutPoint {
    OutPoint { txid, index: OutputIndex::new(index).expect("small") }
}

pub fn coin_chain() -> Vec<CoinBlock> {
    let text = include_str!("../../../spandrel-chain-protocol/tests/data/coin_chain.json");
    CoinBlock::list_from_json(text, &Limits::default()).expect("a chain")
}

pub fn note_chain() -> Vec<NoteBlock> {
    let text = include_str!("../../../spandrel-chain-protocol/tests/data/note_chain.json");
    NoteBlock::list_from_json(text, &Limits::default()).expect("a chain")
}
