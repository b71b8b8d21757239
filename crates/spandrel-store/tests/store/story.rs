//! Blocks with transfers, a history of updates over them, and a node that stores it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use spandrel_chain::{Chain, CoinLedger, CoinSet, NoArchive, Offered, Secrets, Update};
use spandrel_chain_protocol::{
    Account, Amount, BlockHash, CoinBlock, Coins, Nonce, PublicKey, Receipt, ReceiptNonce, SignatureText,
    Transaction, WallMillis,
};
use spandrel_consensus::{Rules, SignatureCheck, Verifier};
use spandrel_store::{ChainStore, CoinStore, Limits, MemoryDisk, Start, StoreError};

pub(crate) const NOW: WallMillis = WallMillis::new(1_900_000_000_000);

/// Signatures are not what is tested here.
pub(crate) struct Yes;

impl Verifier for Yes {
    fn is_valid(&self, _: &SignatureCheck) -> bool {
        true
    }
}

pub(crate) type Blocks = Vec<Arc<CoinBlock>>;

fn secrets() -> Secrets {
    Secrets { tables: [1, 2], signatures: [3; 32] }
}

fn key(nth: u8) -> PublicKey {
    let mut bytes = [nth; 33];
    bytes[0] = 2;
    PublicKey::from_bytes(bytes)
}

/// The genesis block, and `len` more with transfers on top of `below`. `salt` makes branches differ.
pub(crate) fn extend(below: &[Arc<CoinBlock>], len: usize, salt: u8) -> Blocks {
    let mut ledger = CoinLedger::new(secrets(), Rules::default(), &spandrel_chain::Limits::default());
    let mut blocks: Blocks = below.to_vec();
    if blocks.is_empty() {
        blocks.push(Arc::new(CoinBlock::genesis()));
    }
    if blocks.len() > 1 {
        ledger.offer_chain(blocks.clone(), NOW, &Yes, &NoArchive).unwrap();
    }
    for _ in 0..len {
        let height = blocks.len() as u64;
        for payer in 0..4 {
            if let Some(row) = payment(&ledger, payer, salt, height) {
                let _ = ledger.submit(Arc::new(row), &Yes);
            }
        }
        let miner = key(u8::try_from(height % 4).unwrap()).account();
        let stamp = WallMillis::new(1_655_100_000_000 + height * 600_000 + u64::from(salt));
        let mut block = ledger.draft(miner, stamp).unwrap();
        for nonce in 1.. {
            block.header.nonce = Nonce::new(nonce).unwrap();
            block.header.hash = block.compute_hash();
            if block.header.hash.meets(block.header.difficulty) {
                break;
            }
        }
        let block = Arc::new(block);
        let (offered, _) = ledger.offer(Arc::clone(&block), NOW, &Yes, &NoArchive).unwrap();
        assert!(matches!(offered, Offered::Adopted(_)));
        blocks.push(block);
    }
    blocks
}

fn payment(ledger: &CoinLedger, payer: u8, salt: u8, height: u64) -> Option<Transaction> {
    let from = key(payer);
    let coins = ledger.spendable(&from.account());
    let coin = coins.get(usize::from(salt) % coins.len().max(1))?;
    let amount = Amount::new(coin.1.get().div_ceil(3))?;
    let received = if payer.is_multiple_of(2) {
        key((payer + 1) % 4).account()
    } else {
        Account::from_bytes([salt ^ u8::try_from(height % 251).unwrap(); 20])
    };
    let receipt = Receipt {
        account: from.account(),
        public_key: from,
        received,
        amount,
        signature: SignatureText::from_der(&[0x30, 6, 2, 1, 1, 2, 1, 1])?,
        nonce: Some(ReceiptNonce::new(&format!("{salt}-{height}")).unwrap()),
        extra: Box::default(),
    };
    Transaction::pay(receipt, &[*coin])
}

thread_local! {
    static CLEAN: RefCell<HashMap<BlockHash, Rc<Chain<Coins>>>> = RefCell::default();
}

/// The chain of these blocks as a machine that never saw a disk makes it. Made once for each tip.
fn clean(blocks: &[Arc<CoinBlock>]) -> Rc<Chain<Coins>> {
    let make = || {
        let limits = spandrel_chain::Limits::default();
        let mut chain = Chain::new(CoinSet::new([9, 9]), [9, 9], Rules::default(), &limits);
        if blocks.len() > 1 {
            chain.offer_chain(blocks.to_vec(), NOW, &Yes, &NoArchive).unwrap();
        }
        Rc::new(chain)
    };
    let tip = blocks.last().unwrap().header.hash;
    CLEAN.with_borrow_mut(|known| Rc::clone(known.entry(tip).or_insert_with(make)))
}

/// Machine and store together, as a node has them.
#[derive(Debug)]
pub(crate) struct Node<C: CoinStore> {
    pub(crate) store: ChainStore<Coins, C>,
    pub(crate) chain: Chain<Coins>,
}

pub(crate) fn start(limits: Limits) -> Start {
    let mut start = Start::new([1, 2]);
    start.limits = limits;
    // Few blocks stay in memory, so that a reorganisation reads the journal.
    start.chain_limits = start.chain_limits.with_recent_bytes_max(3000);
    start
}

impl<C: CoinStore> Node<C> {
    pub(crate) fn open(disk: &MemoryDisk, start: &Start) -> Result<Self, StoreError> {
        let (store, chain) = ChainStore::open(Arc::new(disk.clone()), start)?;
        Ok(Self { store, chain })
    }

    /// Goes over to a chain, one block at a time or all at once, until something fails.
    pub(crate) fn offer(&mut self, blocks: &[Arc<CoinBlock>], is_whole: bool) -> Vec<Update<Coins>> {
        let mut updates = Vec::new();
        let mut adopt = |offered| {
            if let Offered::Adopted(update) = offered {
                updates.push(update);
            }
        };
        if is_whole {
            adopt(self.chain.offer_chain(blocks.to_vec(), NOW, &Yes, &self.store).unwrap());
        } else {
            for block in blocks {
                adopt(self.chain.offer(Arc::clone(block), NOW, &Yes, &self.store).unwrap());
            }
        }
        updates
    }

    /// Is it exactly what these blocks make?
    pub(crate) fn must_be(&self, blocks: &[Arc<CoinBlock>], case: &str) {
        self.machine_must_be(blocks, case);
        let first = blocks[0].header.height;
        let texts: Vec<Vec<u8>> = self.store.texts(first).map(Result::unwrap).collect();
        assert_eq!(texts.len(), blocks.len(), "{case}");
        for (text, block) in texts.iter().zip(blocks) {
            assert!(*text == block.to_json(), "{case}: block {}", block.header.height);
        }
    }

    pub(crate) fn machine_must_be(&self, blocks: &[Arc<CoinBlock>], case: &str) {
        let hashes = |chain: &Chain<Coins>| chain.entries().to_vec();
        let want = clean(blocks);
        assert_eq!(self.chain.height(), want.height(), "{case}");
        assert_eq!(hashes(&self.chain), hashes(&want), "{case}");
        assert!(self.chain.state() == want.state(), "{case}: another state at block {}", want.height());
        assert_eq!((self.store.height(), self.store.tip_hash()), (want.height(), want.tip().hash), "{case}");
    }
}

/// What a node does, step by step.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    /// Takes the next block of this chain, its last.
    Block(Blocks),
    /// Takes a whole chain from one message.
    Message(Blocks),
    /// Lets the coin store follow.
    Flush,
}

/// Blocks, a chain from one message, reorganisations across flushes, and rows in all of them.
pub(crate) fn story() -> Vec<Act> {
    let main = extend(&[], 16, 1);
    let fork = extend(&main[..9], 10, 2);
    let last = extend(&fork[..14], 6, 3);
    let mut acts = Vec::new();
    let block = |acts: &mut Vec<Act>, chain: &Blocks, to: usize| acts.push(Act::Block(chain[..to].to_vec()));
    for to in 2..=5 {
        block(&mut acts, &main, to);
    }
    acts.push(Act::Flush);
    acts.push(Act::Message(main[..12].to_vec()));
    block(&mut acts, &main, 13);
    acts.push(Act::Flush);
    acts.push(Act::Message(fork[..15].to_vec()));
    block(&mut acts, &fork, 16);
    block(&mut acts, &fork, 17);
    acts.push(Act::Flush);
    acts.push(Act::Message(last[..18].to_vec()));
    block(&mut acts, &last, 19);
    block(&mut acts, &last, 20);
    acts
}

/// The chain after so many of the acts that store something.
pub(crate) fn chains(acts: &[Act]) -> Vec<Blocks> {
    let stored = acts.iter().filter_map(|act| match act {
        Act::Block(chain) | Act::Message(chain) => Some(chain.clone()),
        Act::Flush => None,
    });
    std::iter::once(vec![Arc::new(CoinBlock::genesis())]).chain(stored).collect()
}

impl<C: CoinStore> Node<C> {
    /// Does one act without storing it.
    pub(crate) fn act(&mut self, act: &Act) -> Option<Update<Coins>> {
        let mut updates = match act {
            Act::Block(chain) => self.offer(&chain[chain.len() - 1..], false),
            Act::Message(chain) => self.offer(chain, true),
            Act::Flush => return None,
        };
        assert_eq!(updates.len(), 1, "an act is one update");
        updates.pop()
    }
}
