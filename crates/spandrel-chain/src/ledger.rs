//! The coin ledger whole: chain, pool, and a memory of signatures that ties the two.

use std::sync::Arc;

use spandrel_chain_protocol::{Account, Amount, CoinBlock, Coins, OutPoint, Transaction, WallMillis};
use spandrel_consensus::{BlockError, KnownSignatures, Remembering, Rules, SignatureCache, Verifier};

use crate::{Archive, Chain, ChainError, CoinSet, Limits, Offered, Pool, PoolChange, PoolError, draft_coins};

/// The secrets of one node, drawn once by whoever owns a random source.
#[derive(Clone, Copy)]
pub struct Secrets {
    /// Key of the hash tables.
    pub tables: [u64; 2],
    /// Salt of the signature memory.
    pub signatures: [u8; 32],
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets(..)")
    }
}

/// Chain and pool of the coin ledger, kept in step.
#[derive(Debug)]
pub struct CoinLedger {
    chain: Chain<Coins>,
    pool: Pool,
    known: SignatureCache,
}

/// Signatures of rows that came alone and were found good; twice what the pool holds.
const KNOWN_PER_ROW: usize = 4;

impl CoinLedger {
    /// The ledger at its first block.
    #[must_use]
    pub fn new(secrets: Secrets, rules: Rules, limits: &Limits) -> Self {
        Self::on(Chain::new(CoinSet::new(secrets.tables), secrets.tables, rules, limits), secrets, limits)
    }

    /// A ledger on a chain that was restored.
    #[must_use]
    pub fn on(chain: Chain<Coins>, secrets: Secrets, limits: &Limits) -> Self {
        let known =
            SignatureCache::new(secrets.signatures, limits.pool_rows_max.saturating_mul(KNOWN_PER_ROW));
        Self { chain, pool: Pool::new(secrets.tables, limits), known }
    }

    /// Takes one block; see [`Chain::offer`]. Signatures known from the pool are not checked again.
    ///
    /// # Errors
    ///
    /// [`ChainError`]; nothing has changed then.
    pub fn offer(
        &mut self,
        block: Arc<CoinBlock>,
        now: WallMillis,
        verifier: &impl Verifier,
        archive: &impl Archive<Coins>,
    ) -> Result<(Offered<Coins>, Vec<PoolChange>), ChainError> {
        let verifier = Remembering::new(verifier, &self.known);
        let offered = self.chain.offer(block, now, &verifier, archive)?;
        Ok(self.follow(offered))
    }

    /// Takes a whole chain; see [`Chain::offer_chain`].
    ///
    /// # Errors
    ///
    /// [`ChainError`]; nothing has changed then.
    pub fn offer_chain(
        &mut self,
        blocks: Vec<Arc<CoinBlock>>,
        now: WallMillis,
        verifier: &impl Verifier,
        archive: &impl Archive<Coins>,
    ) -> Result<(Offered<Coins>, Vec<PoolChange>), ChainError> {
        let verifier = Remembering::new(verifier, &self.known);
        let offered = self.chain.offer_chain(blocks, now, &verifier, archive)?;
        Ok(self.follow(offered))
    }

    /// Takes a row into the pool; see [`Pool::admit`].
    ///
    /// # Errors
    ///
    /// [`PoolError`]; nothing has changed then.
    pub fn submit(&mut self, row: Arc<Transaction>, verifier: &impl Verifier) -> Result<(), PoolError> {
        let verifier = Remembering::new(verifier, &self.known);
        let passed = self.pool.admit(row, self.chain.state(), self.chain.rules(), &verifier)?;
        if let Some(check) = passed.filter(|check| !self.known.is_known(check)) {
            self.known.insert(&check);
        }
        Ok(())
    }

    /// The next block to mine; see [`draft_coins`].
    ///
    /// # Errors
    ///
    /// [`BlockError::CoinbaseTaken`].
    pub fn draft(&self, miner: Account, now: WallMillis) -> Result<CoinBlock, BlockError> {
        draft_coins(&self.chain, &self.pool, miner, now)
    }

    /// What an account can spend now: confirmed and not in a row of the pool. Looks at every output.
    #[must_use]
    pub fn spendable(&self, account: &Account) -> Vec<(OutPoint, Amount)> {
        let mut coins = self.chain.state().coins_of(account);
        coins.retain(|(point, _)| !self.pool.is_spent(point));
        coins
    }

    /// The chain.
    #[must_use]
    pub const fn chain(&self) -> &Chain<Coins> {
        &self.chain
    }

    /// The pool.
    #[must_use]
    pub const fn pool(&self) -> &Pool {
        &self.pool
    }

    fn follow(&mut self, offered: Offered<Coins>) -> (Offered<Coins>, Vec<PoolChange>) {
        let changes = match &offered {
            Offered::Adopted(update) => self.pool.follow(update, self.chain.state(), self.chain.rules()),
            _ => Vec::new(),
        };
        (offered, changes)
    }
}
