//! Small ledgers with a signature that costs nothing, for fuzzing, tests and the simulation.

use std::sync::Arc;

use spandrel_chain::{Chain, CoinLedger, Kind, Limits, Secrets, draft_notes};
use spandrel_chain_protocol::{
    Account, Amount, Block, Nonce, Payload, PublicKey, Receipt, ReceiptNonce, Transaction, WallMillis,
};
use spandrel_consensus::{Rules, SignatureCheck, Verifier, write_der};

use crate::{Book, MemoryBooks, Taken};

/// The signature of a message is the message and half of the key.
#[derive(Debug, Clone, Copy, Default)]
pub struct Toy;

impl Verifier for Toy {
    fn is_valid(&self, check: &SignatureCheck) -> bool {
        sign(&check.message, &check.key) == check.signature
    }
}

fn sign(message: &[u8; 32], key: &PublicKey) -> [u8; 64] {
    let mut signature = [0; 64];
    let halves = message.iter().chain(key.as_bytes().iter().skip(1));
    signature.iter_mut().zip(halves).for_each(|(to, from)| *to = *from);
    signature
}

/// The key of somebody.
#[must_use]
pub fn key(nth: u8) -> PublicKey {
    let mut bytes = [nth.max(1); 33];
    if let Some(first) = bytes.first_mut() {
        *first = 2;
    }
    PublicKey::from_bytes(bytes)
}

/// Their account.
#[must_use]
pub fn account(nth: u8) -> Account {
    key(nth).account()
}

/// Empty books.
#[must_use]
pub fn books() -> MemoryBooks<Toy> {
    let secrets = Secrets { tables: [1, 2], signatures: [3; 32] };
    let (rules, limits) = (Rules::default(), Limits::default());
    MemoryBooks::new(
        Chain::new((), secrets.tables, rules, &limits),
        CoinLedger::new(secrets, rules, &limits),
        Toy,
    )
}

/// Gives a block the hash its header asks for.
#[must_use]
pub fn seal<P: Payload>(mut block: Block<P>) -> Block<P> {
    for nonce in 1..1 << 20 {
        block.header.nonce = Nonce::new(nonce).unwrap_or_default();
        block.header.hash = block.compute_hash();
        if block.header.hash.meets(block.header.difficulty) {
            break;
        }
    }
    block
}

/// Mines a note block; `None` when the items cannot stand in one.
pub fn mine_note(books: &mut MemoryBooks<Toy>, item: &str, now: WallMillis) -> Option<Taken> {
    books.set_now(now);
    let block = seal(draft_notes(books.notes(), vec![item.to_owned()], now).ok()?);
    Book::<spandrel_chain_protocol::Notes>::offer(books, Arc::new(block)).ok()
}

/// Mines a coin block for somebody.
pub fn mine_coin(books: &mut MemoryBooks<Toy>, miner: u8, now: WallMillis) -> Option<Taken> {
    books.set_now(now);
    let block = seal(books.coins().draft(account(miner), now).ok()?);
    Book::<spandrel_chain_protocol::Coins>::offer(books, Arc::new(block)).ok()
}

/// A row that pays from one spendable coin of somebody, if there is one. Equal tags give equal receipts.
#[must_use]
pub fn pay(books: &MemoryBooks<Toy>, from: u8, to: u8, amount: u64, tag: u64) -> Option<Transaction> {
    let amount = Amount::new(amount)?;
    let nonce = ReceiptNonce::new(&format!("n{tag}")).ok();
    let message = Receipt::message(&key(from), &account(to), amount, nonce.as_ref());
    let receipt = Receipt {
        account: account(from),
        public_key: key(from),
        received: account(to),
        amount,
        signature: write_der(&sign(&message, &key(from))),
        nonce,
        extra: Box::default(),
    };
    let mut coins = books.coins().spendable(&account(from));
    coins.sort_unstable();
    let coin = coins.into_iter().find(|(_, held)| *held >= amount)?;
    Transaction::pay(receipt, &[coin])
}

/// Keeps a whole chain beside the books, as any peer could send it.
#[must_use]
pub fn genesis<P: Kind>() -> Block<P> {
    P::genesis()
}
