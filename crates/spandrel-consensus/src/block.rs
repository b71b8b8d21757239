//! Rules of whole blocks.

use std::collections::HashSet;

use spandrel_chain_protocol::{
    Amount, BLOCK_BYTES_MAX, Block, CoinBlock, Coins, Ledger, NoteBlock, Payload, REWARD, Transaction, Txid,
    WallMillis, committed_version, is_ambiguous_leaf,
};

use crate::coins::Overlay;
use crate::{
    Ancestors, BlockError, CoinView, Delta, IdHash, RowError, Rules, SignatureCheck, Verifier, check_header,
    check_row,
};

/// Checks a note block on its parent.
///
/// # Errors
///
/// The first rule it breaks. [`BlockError::verdict`] says what that means for its hash.
pub fn check_note_block(
    block: &NoteBlock,
    below: &impl Ancestors,
    now: WallMillis,
    rules: Rules,
) -> Result<(), BlockError> {
    check_header(Ledger::Note, &block.header, below, now, rules)?;
    check_note_body(block)
}

/// Checks of a note block what its header does not settle.
///
/// # Errors
///
/// The first rule the data break.
pub fn check_note_body(block: &NoteBlock) -> Result<(), BlockError> {
    check_size(block)?;
    if block.data.is_empty() {
        return Err(BlockError::NoData);
    }
    if let Some(at) = block.data.iter().position(is_ambiguous_leaf) {
        return Err(BlockError::AmbiguousLeaf { at });
    }
    check_root(block)
}

/// Checks a coin block on its parent and says what it changes.
///
/// # Errors
///
/// The first rule it breaks, signatures last. [`BlockError::verdict`] says what that means for its hash.
pub fn check_coin_block(
    block: &CoinBlock,
    below: &impl Ancestors,
    coins: &impl CoinView,
    now: WallMillis,
    rules: Rules,
    verifier: &impl Verifier,
) -> Result<Delta, BlockError> {
    check_header(Ledger::Coin, &block.header, below, now, rules)?;
    check_coin_shape(block, rules)?;
    check_rows(block, coins, rules, verifier)
}

/// Checks of a coin block what needs neither a branch nor a state: size, root, commitment.
///
/// # Errors
///
/// The first rule the data break.
pub fn check_coin_shape(block: &CoinBlock, rules: Rules) -> Result<(), BlockError> {
    check_size(block)?;
    let Coins::Rows(rows) = &block.data else { return Err(BlockError::TextData) };
    if rows.is_empty() {
        return Err(BlockError::NoData);
    }
    check_root(block)?;
    let version = block.header.version.as_str();
    if version.contains('+') {
        if version != committed_version(rows) {
            return Err(BlockError::Commitment);
        }
    } else if rows.len() > 1 && !rules.is_unsigned() {
        return Err(BlockError::NoCommitment);
    }
    Ok(())
}

/// Checks the rows of a coin block against the state below it, one after the other, and says what they change.
///
/// # Errors
///
/// The first rule they break, signatures last.
pub fn check_rows(
    block: &CoinBlock,
    coins: &impl CoinView,
    rules: Rules,
    verifier: &impl Verifier,
) -> Result<Delta, BlockError> {
    let rows = block.data.rows();
    let Some((coinbase, transfers)) = rows.split_first() else { return Err(BlockError::NoData) };
    let mut state = Overlay::new(coins, rows.len());
    let mut seen: HashSet<Txid, IdHash> = HashSet::with_capacity_and_hasher(rows.len(), IdHash::fixed());
    check_coinbase(block, coinbase, &state)?;
    seen.insert(coinbase.txid);
    state.make(coinbase.txid, &coinbase.outputs);

    let mut checks: Vec<(usize, SignatureCheck)> = Vec::with_capacity(transfers.len());
    for (at, row) in (1..).zip(transfers) {
        if !seen.insert(row.txid) {
            return Err(BlockError::RepeatedRow { at });
        }
        let owed = check_row(row, &state, rules).map_err(|why| BlockError::Row { at, why })?;
        for point in row.inputs.iter().filter_map(|input| input.out_point()) {
            state.spend(&point);
        }
        state.make(row.txid, &row.outputs);
        if let Some(id) = owed.receipt {
            state.use_receipt(id);
        }
        checks.extend(owed.check.map(|check| (at, check)));
    }
    let (places, checks): (Vec<usize>, Vec<SignatureCheck>) = checks.into_iter().unzip();
    verifier.check_all(&checks).map_err(|at| BlockError::Row {
        at: places.get(at).copied().unwrap_or_default(),
        why: RowError::Signature,
    })?;
    Ok(state.into_delta())
}

fn check_coinbase(block: &CoinBlock, row: &Transaction, coins: &impl CoinView) -> Result<(), BlockError> {
    match row.inputs.as_slice() {
        [only] if only.txid.is_none() && only.index.get() == block.header.height.get() => {}
        _ => return Err(BlockError::CoinbaseInput),
    }
    match row.outputs.as_slice() {
        [only] if only.amount == Amount::new(REWARD).unwrap_or_default() => {}
        _ => return Err(BlockError::CoinbaseOutput { reward: REWARD }),
    }
    if row.txid != row.compute_txid() {
        return Err(BlockError::CoinbaseTxid);
    }
    if coins.unspent(&row.txid).is_some() {
        return Err(BlockError::CoinbaseTaken);
    }
    Ok(())
}

fn check_size<P: Payload>(block: &Block<P>) -> Result<(), BlockError> {
    let len = block.json_len();
    if len > BLOCK_BYTES_MAX {
        return Err(BlockError::TooLarge { len, max: BLOCK_BYTES_MAX });
    }
    Ok(())
}

fn check_root<P: Payload>(block: &Block<P>) -> Result<(), BlockError> {
    match block.data.merkle_root() {
        Some(root) if root == block.header.merkle_root => Ok(()),
        _ => Err(BlockError::MerkleRoot),
    }
}

/// How much there is at a height: every block after the first one pays its miner.
#[must_use]
pub const fn supply_at(height: spandrel_chain_protocol::Height) -> u64 {
    REWARD.saturating_mul(height.get().saturating_sub(1))
}
