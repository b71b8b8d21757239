//! Entries for the fuzzer: whatever stands in the files, opening answers, and what it took stays.

use std::sync::Arc;

use spandrel_chain_protocol::{Coins, Notes};

use crate::codec::{put_delta, read_delta};
use crate::{ChainStore, Damage, MemoryDisk, NoCoins, Start, StoreError, Stored};

/// Any bytes as an undo: what is read is written the same.
///
/// # Panics
///
/// When it is not.
pub fn fuzz_chain_undo(data: &[u8]) {
    if let Some(delta) = read_delta(data) {
        let mut bytes = Vec::new();
        put_delta(&delta, &mut bytes);
        assert_eq!(bytes, data, "an undo has one form");
    }
}

/// Any bytes as a journal, of either ledger, as they are and with checksums that fit: opened or refused; what was opened
/// once opens again the same.
///
/// # Panics
///
/// When it does not.
pub fn fuzz_chain_journal(data: &[u8]) {
    journal::<Notes>(data);
    journal::<Coins>(data);
    let sealed = crate::journal::sealed_again(data);
    journal::<Notes>(&sealed);
    journal::<Coins>(&sealed);
}

fn journal<P: Stored>(data: &[u8]) {
    let disk = MemoryDisk::new();
    disk.put(crate::journal::FILE, data);
    let mut start = Start::new([1, 2]);
    let refused = match open::<P>(&disk, &start) {
        Ok(tip) => return assert_eq!(open::<P>(&disk, &start).ok(), Some(tip)),
        Err(error) => error,
    };
    start.damage = Damage::Cut;
    if matches!(refused, StoreError::Damaged { at, .. } if at > 0)
        && let Ok(tip) = open::<P>(&disk, &start)
    {
        start.damage = Damage::Refuse;
        assert_eq!(open::<P>(&disk, &start).ok(), Some(tip), "salvage once");
    }
}

fn open<P: Stored>(disk: &MemoryDisk, start: &Start) -> Result<(u64, u64), StoreError> {
    let (store, chain) = ChainStore::<P, NoCoins>::open(Arc::new(disk.clone()), start)?;
    assert_eq!(store.height(), chain.height());
    for text in store.texts(chain.height()) {
        assert!(text.is_ok(), "what was scanned can be read: {text:?}");
    }
    Ok((chain.height().get(), store.journal_bytes()))
}
