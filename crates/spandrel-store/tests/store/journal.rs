//! The file itself: cut at every byte, changed at every byte, of another time.

use std::sync::Arc;

use spandrel_chain_protocol::Coins;
use spandrel_store::{ChainStore, Damage, Limits, MemoryDisk, NoCoins, RedbCoins, Start, StoreError};

use crate::story::{Act, Blocks, Node, chains, extend, start, story};

const FILE: &str = "blocks.journal";

/// A short history with a reorganisation, and the length of the file after each commit.
fn history() -> (Vec<u8>, Vec<usize>, Vec<Blocks>) {
    let main = extend(&[], 3, 1);
    let fork = extend(&main[..2], 3, 2);
    let acts = [Act::Block(main[..2].to_vec()), Act::Message(main.clone()), Act::Message(fork.clone())];
    let disk = MemoryDisk::new();
    let mut node = Node::<NoCoins>::open(&disk, &start(Limits::default())).unwrap();
    let mut ends = vec![disk.content(FILE).unwrap().len()];
    for act in &acts {
        let update = node.act(act).unwrap();
        node.store.commit(&update).unwrap();
        ends.push(disk.content(FILE).unwrap().len());
    }
    (disk.content(FILE).unwrap(), ends, chains(&acts))
}

fn open(bytes: &[u8], start: &Start) -> (MemoryDisk, Result<Node<NoCoins>, StoreError>) {
    let disk = MemoryDisk::new();
    disk.put(FILE, bytes);
    let node = Node::open(&disk, start);
    (disk, node)
}

#[test]
fn a_file_cut_at_any_byte_gives_its_whole_commits() {
    let (bytes, ends, chains) = history();
    let start = start(Limits::default());
    for len in 0..=bytes.len() {
        let (disk, node) = open(&bytes[..len], &start);
        let node = node.unwrap();
        let whole = ends.iter().rposition(|end| *end <= len).unwrap_or(0);
        assert_eq!(node.chain.tip().hash, chains[whole].last().unwrap().header.hash, "{len} bytes");
        assert_eq!(disk.content(FILE).unwrap().len(), ends[whole], "{len} bytes: the rest is cut");
        let torn = if len < ends[0] { 0 } else { len - ends[whole] };
        assert_eq!(node.store.recovery().cut_bytes, torn as u64);
        if len % 64 == 0 || torn == 0 {
            node.must_be(&chains[whole], &format!("{len} bytes"));
        }
    }
}

/// A change in the last commit looks like a torn end; one before that is refused, and salvage keeps what is below it.
#[test]
fn a_file_changed_at_any_byte_is_refused_or_loses_its_end() {
    let (bytes, ends, chains) = history();
    let start = start(Limits::default());
    let mut salvage = start.clone();
    salvage.damage = Damage::Cut;
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 0x10;
        let whole = ends.iter().rposition(|end| *end <= at).unwrap_or(0);
        let tip = chains[whole].last().unwrap().header.hash;
        let (disk, node) = open(&changed, &start);
        if at < ends[0] {
            let refused = node.unwrap_err();
            assert!(matches!(refused, StoreError::Damaged { at: 0, .. }), "{at}: {refused}");
            continue;
        }
        if whole == ends.len() - 2 {
            assert_eq!(node.unwrap().chain.tip().hash, tip, "{at}");
            continue;
        }
        let refused = node.unwrap_err();
        let is_there = matches!(refused, StoreError::Damaged { at, .. } if at == ends[whole] as u64);
        assert!(is_there && !refused.may_pass(), "{at}: {refused}");
        assert!(disk.content(FILE).unwrap() == changed, "{at}: nothing is touched");
        let node = Node::<NoCoins>::open(&disk, &salvage).unwrap();
        assert_eq!(node.chain.tip().hash, tip, "{at}");
        assert!(node.store.recovery().is_salvaged);
        assert!(disk.content("blocks.journal.cut").unwrap() == changed[ends[whole]..], "{at}: kept aside");
        drop(node);
        assert!(Node::<NoCoins>::open(&disk, &start).is_ok(), "{at}: once is enough");
    }
}

/// What the coin store saw as durable must be there.
#[test]
fn a_journal_shorter_than_the_coin_store_knows_is_refused() {
    let (disk, start, acts) = (MemoryDisk::new(), start(Limits::default()), story());
    let mut node = Node::<RedbCoins>::open(&disk, &start).unwrap();
    for act in &acts {
        if let Some(update) = node.act(act) {
            node.store.commit(&update).unwrap();
        }
    }
    node.store.close(&node.chain).unwrap();
    let bytes = disk.content(FILE).unwrap();
    disk.put(FILE, &bytes[..bytes.len() - 1]);
    let refused = Node::<RedbCoins>::open(&disk, &start).unwrap_err();
    assert!(matches!(refused, StoreError::Damaged { file: FILE, .. }), "{refused}");
    let mut salvage = start.clone();
    salvage.damage = Damage::Cut;
    let node = Node::<RedbCoins>::open(&disk, &salvage).unwrap();
    let chains = chains(&acts);
    node.must_be(&chains[chains.len() - 2], "all but the last");
}

#[test]
fn a_block_that_rots_later_is_named_when_it_is_read() {
    let (bytes, ends, chains) = history();
    let disk = MemoryDisk::new();
    let start = start(Limits::default());
    disk.put(FILE, &bytes);
    let mut node = Node::<RedbCoins>::open(&disk, &start).unwrap();
    node.store.flush(&node.chain).unwrap();
    drop(node);
    let mut rotten = bytes;
    rotten[ends[0] + 300] ^= 1;
    disk.put(FILE, &rotten);
    let node = Node::<RedbCoins>::open(&disk, &start).unwrap();
    node.machine_must_be(chains.last().unwrap(), "a start does not read old blocks");
    let height = chains[1][1].header.height;
    assert!(matches!(node.store.block(height), Err(StoreError::Damaged { .. })));
    let texts: Vec<_> = node.store.texts(height).collect();
    assert!(texts.len() == 1 && texts[0].is_err(), "an iterator ends at an error");
}

#[test]
fn a_later_version_is_refused() {
    let (mut bytes, _, _) = history();
    bytes[8] = 2;
    let crc = crc32(&bytes[..16]);
    bytes[16..20].copy_from_slice(&crc.to_le_bytes());
    let disk = MemoryDisk::new();
    disk.put(FILE, &bytes);
    let refused = ChainStore::<Coins, NoCoins>::open(Arc::new(disk), &start(Limits::default())).unwrap_err();
    assert!(matches!(refused, StoreError::Newer { version: 2, known: 1, .. }), "{refused}");
}

/// Journals of a real history, whole and changed, through the fuzzer's entries.
#[test]
fn fuzz_entries_take_real_journals() {
    let (bytes, ends, _) = history();
    spandrel_store::fuzz::fuzz_chain_journal(&bytes);
    spandrel_store::fuzz::fuzz_chain_undo(&[0, 0]);
    for at in (0..bytes.len()).step_by(3).chain(ends[0]..ends[0] + 110) {
        for flip in [1, 0x80] {
            let mut changed = bytes.clone();
            changed[at] ^= flip;
            spandrel_store::fuzz::fuzz_chain_journal(&changed);
            spandrel_store::fuzz::fuzz_chain_undo(&changed[at..]);
        }
    }
}

/// CRC-32 as zip has it, by the book.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(
            crc ^ u32::from(*byte),
            |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 },
        )
    })
}
