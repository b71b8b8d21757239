//! Merkle roots over text: leaves and nodes are digits, and a node hashes the 128 digits below it.
//!
//! Leaves and nodes are not told apart, so a list of one root has the root of the list it came from. The rules of the
//! note ledger refuse items that look like a root ([`is_ambiguous_leaf`]).

use sha2::{Digest as _, Sha256};

use crate::hex::{self, Case};
use crate::{MerkleRoot, Txid};

/// Is the text 64 upper-case digits, which would be taken as a hash instead of being hashed?
#[must_use]
pub fn is_ambiguous_leaf(item: &str) -> bool {
    hex::decode(item.as_bytes(), Case::Upper, &mut [0; 32])
}

/// The root over strings; `None` for an empty list, which has none.
pub fn merkle_root_of_texts<'a>(items: impl IntoIterator<Item = &'a str>) -> Option<MerkleRoot> {
    fold(items.into_iter().map(leaf).collect())
}

/// The root over identifiers. They are lower-case text, so each is hashed once more.
pub fn merkle_root_of_rows<'a>(rows: impl IntoIterator<Item = &'a Txid>) -> Option<MerkleRoot> {
    fold(rows.into_iter().map(|id| hash(&hex::encode_32(id.as_bytes(), Case::Lower))).collect())
}

fn leaf(item: &str) -> [u8; 32] {
    let mut raw = [0; 32];
    if hex::decode(item.as_bytes(), Case::Upper, &mut raw) { raw } else { hash(item.as_bytes()) }
}

fn hash(text: &[u8]) -> [u8; 32] {
    Sha256::digest(text).into()
}

/// Halves the level until one node is left, in place.
fn fold(mut level: Vec<[u8; 32]>) -> Option<MerkleRoot> {
    while level.len() > 1 {
        let parents = level.len().div_ceil(2);
        for at in 0..parents {
            let node = match level.get(2 * at..) {
                Some([left, right, ..]) => node(left, right),
                Some([last]) => *last, // without a partner: up as it is
                _ => break,
            };
            if let Some(slot) = level.get_mut(at) {
                *slot = node;
            }
        }
        level.truncate(parents);
    }
    level.first().copied().map(MerkleRoot::from_bytes)
}

fn node(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    let mut text = [0; 128];
    let (first, second) = text.split_at_mut(64);
    first.copy_from_slice(&hex::encode_32(left, Case::Upper));
    second.copy_from_slice(&hex::encode_32(right, Case::Upper));
    hash(&text)
}
