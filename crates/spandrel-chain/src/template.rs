//! Blocks to be mined.

use spandrel_chain_protocol::{
    Account, BLOCK_BYTES_MAX, Block, CoinBlock, Coins, Extra, Header, MerkleRoot, Nonce, NoteBlock, Notes,
    Transaction, VERSION, Version, WallMillis, version_for,
};
use spandrel_consensus::{BlockError, CoinView, check_note_body};

use crate::{Chain, Kind, Pool};

/// The next note block with these items, all but nonce and hash.
///
/// # Errors
///
/// [`BlockError::NoData`], [`BlockError::AmbiguousLeaf`] and [`BlockError::TooLarge`]: the items cannot stand in a block.
pub fn draft_notes(
    chain: &Chain<Notes>,
    items: Vec<String>,
    now: WallMillis,
) -> Result<NoteBlock, BlockError> {
    let version = Version::new(VERSION).expect("five bytes are below eighty");
    let block = draft(chain, Notes::new(items), version, now).ok_or(BlockError::NoData)?;
    check_note_body(&block)?;
    Ok(Block { header: Header { nonce: Nonce::ZERO, ..block.header }, ..block })
}

/// The next coin block: the reward for `miner`, then rows of the pool, the oldest first, as many as fit. All but nonce
/// and hash.
///
/// # Errors
///
/// [`BlockError::CoinbaseTaken`]: another row has the identifier that this coinbase would have; take another account.
pub fn draft_coins(
    chain: &Chain<Coins>,
    pool: &Pool,
    miner: Account,
    now: WallMillis,
) -> Result<CoinBlock, BlockError> {
    let coinbase = Transaction::coinbase(chain.height().next(), miner);
    if chain.state().unspent(&coinbase.txid).is_some() {
        return Err(BlockError::CoinbaseTaken);
    }
    let taken = coinbase.txid;
    // The longest header there can be: a committed version, and a nonce of sixteen digits.
    let longest =
        Version::new(&format!("{VERSION}+{}", "0".repeat(64))).expect("seventy bytes are below eighty");
    let empty = draft(chain, Coins::Rows(vec![coinbase.clone()]), longest, now).ok_or(BlockError::NoData)?;
    let mut room = BLOCK_BYTES_MAX.saturating_sub(empty.json_len());
    let mut rows = vec![coinbase];
    for (row, bytes) in pool.iter().filter(|(row, _)| row.txid != taken) {
        if let Some(rest) = room.checked_sub(bytes + 1) {
            room = rest;
            rows.push(Transaction::clone(row));
        }
    }
    let version = version_for(&rows);
    let block = draft(chain, Coins::Rows(rows), version, now).ok_or(BlockError::NoData)?;
    Ok(Block { header: Header { nonce: Nonce::ZERO, ..block.header }, ..block })
}

/// A block on the tip with the longest nonce; `None` without data.
fn draft<P: Kind>(chain: &Chain<P>, data: P, version: Version, now: WallMillis) -> Option<Block<P>> {
    let (timestamp, difficulty) = chain.next_stamp(now);
    let merkle_root: MerkleRoot = data.merkle_root()?;
    let header = Header {
        version,
        height: chain.height().next(),
        timestamp,
        previous_hash: chain.tip().hash,
        merkle_root,
        nonce: Nonce::MAX,
        difficulty,
        hash: spandrel_chain_protocol::BlockHash::ZERO,
    };
    Some(Block { header, data, extra: Extra::NONE })
}
