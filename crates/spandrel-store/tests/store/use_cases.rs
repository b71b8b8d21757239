//! What a node does with a store, without anything going wrong.

use std::sync::Arc;

use spandrel_chain::{Archive as _, Chain, NoArchive, Offered};
use spandrel_chain_protocol::{Block, CoinBlock, Coins, Height, NoteBlock, Notes, WallMillis};
use spandrel_store::{ChainStore, Folder, Limits, MemoryDisk, NoCoins, RedbCoins, Start, StoreError};

use crate::story::{Act, NOW, Node, Yes, chains, extend, start, story};

#[test]
fn a_story_is_kept_by_each_coin_store() {
    fn tell<C: spandrel_store::CoinStore>() {
        let (disk, start, acts) = (MemoryDisk::new(), start(Limits::default()), story());
        let mut node = Node::<C>::open(&disk, &start).unwrap();
        let mut told = 0;
        for act in &acts {
            match node.act(act) {
                Some(update) => {
                    node.store.commit(&update).unwrap();
                    told += 1;
                }
                None => node.store.flush(&node.chain).unwrap(),
            }
            node.must_be(&chains(&acts)[told], "before a restart");
            drop(node);
            node = Node::open(&disk, &start).unwrap();
            node.must_be(&chains(&acts)[told], "after a restart");
        }
    }
    tell::<RedbCoins>();
    tell::<NoCoins>();
}

#[test]
fn a_flush_leaves_nothing_to_replay() {
    let (disk, start) = (MemoryDisk::new(), start(Limits::default()));
    let main = extend(&[], 8, 1);
    let mut node = Node::<RedbCoins>::open(&disk, &start).unwrap();
    for update in node.offer(&main[1..], false) {
        node.store.commit(&update).unwrap();
    }
    drop(node);
    let mut node = Node::<RedbCoins>::open(&disk, &start).unwrap();
    assert_eq!(node.store.recovery().replayed_blocks, 8);
    assert!(node.store.unflushed_bytes() > 1000);
    node.store.flush(&node.chain).unwrap();
    assert_eq!(node.store.unflushed_bytes(), 0);
    node.store.close(&node.chain).unwrap();
    let node = Node::<RedbCoins>::open(&disk, &start).unwrap();
    let recovery = *node.store.recovery();
    assert_eq!((recovery.replayed_blocks, recovery.cut_bytes, recovery.is_rebuilt), (0, 0, false));
    node.must_be(&main, "after a flush");
}

#[test]
fn a_missing_or_foreign_coin_store_is_made_anew() {
    let (disk, start) = (MemoryDisk::new(), start(Limits::default()));
    let main = extend(&[], 8, 1);
    let mut node = Node::<RedbCoins>::open(&disk, &start).unwrap();
    for update in node.offer(&main[1..], false) {
        node.store.commit(&update).unwrap();
    }
    node.store.close(&node.chain).unwrap();
    let journal = disk.content("blocks.journal").unwrap();
    let coins = disk.content("coins.redb").unwrap();
    let other = MemoryDisk::new();
    let mut stranger = Node::<RedbCoins>::open(&other, &start).unwrap();
    for update in stranger.offer(&extend(&[], 7, 5)[1..], false) {
        stranger.store.commit(&update).unwrap();
    }
    stranger.store.close(&stranger.chain).unwrap();
    let mut cut = coins.clone();
    cut.truncate(coins.len() / 2);
    for (name, file, is_rebuilt) in [
        ("its own", Some(coins), false),
        ("none", None, false),
        ("empty", Some(vec![]), false),
        ("rubbish", Some(vec![7; 5000]), true),
        ("a part", Some(cut), true),
        ("that of another journal", other.content("coins.redb"), true),
    ] {
        let disk = MemoryDisk::new();
        disk.put("blocks.journal", &journal);
        if let Some(file) = file {
            disk.put("coins.redb", &file);
        }
        let mut node = Node::<RedbCoins>::open(&disk, &start).unwrap();
        assert_eq!(node.store.recovery().is_rebuilt, is_rebuilt, "{name}");
        node.must_be(&main, name);
        node.store.flush(&node.chain).unwrap();
        drop(node);
        let node = Node::<RedbCoins>::open(&disk, &start).unwrap();
        assert_eq!(node.store.recovery().replayed_blocks, 0, "{name}");
        node.must_be(&main, name);
    }
}

#[test]
fn blocks_are_read_by_height_and_hash() {
    let (disk, start) = (MemoryDisk::new(), start(Limits::default()));
    let main = extend(&[], 9, 1);
    let mut node = Node::<NoCoins>::open(&disk, &start).unwrap();
    for update in node.offer(&main[1..], false) {
        node.store.commit(&update).unwrap();
    }
    for block in &main {
        let height = block.header.height;
        assert_eq!(node.store.height_of(&block.header.hash), Some(height));
        assert_eq!(node.store.text(height).unwrap(), Some(block.to_json()));
        assert_eq!(node.store.block(height).unwrap().as_ref(), Some(&**block));
        let step = node.store.read(&block.header.hash);
        assert_eq!(step.map(|step| step.block), (height.get() > 1).then(|| Arc::clone(block)));
    }
    for height in [0, 11, u64::from(u32::MAX)] {
        let height = Height::new(height).unwrap();
        assert_eq!(node.store.text(height).unwrap(), None);
        assert_eq!(node.store.block(height).unwrap(), None);
        assert_eq!(node.store.texts(height).count(), if height.get() == 0 { 10 } else { 0 });
    }
    assert_eq!(node.store.texts(Height::new(4).unwrap()).count(), 7);
    assert_eq!(node.store.height_of(&spandrel_chain_protocol::BlockHash::from_bytes([9; 32])), None);
}

/// What was asked for before a reorganisation is given to the end.
#[test]
fn texts_do_not_change_under_a_reader() {
    let (disk, start, acts) = (MemoryDisk::new(), start(Limits::default()), story());
    let mut node = Node::<NoCoins>::open(&disk, &start).unwrap();
    let chains = chains(&acts);
    let mut readers = vec![(0, node.store.texts(Height::ZERO))];
    for act in acts.iter().filter(|act| !matches!(act, Act::Flush)) {
        let update = node.act(act).unwrap();
        node.store.commit(&update).unwrap();
        readers.push((readers.len(), node.store.texts(Height::ZERO)));
    }
    for (told, texts) in readers {
        let texts: Vec<Vec<u8>> = texts.map(Result::unwrap).collect();
        let want: Vec<Vec<u8>> = chains[told].iter().map(|block| block.to_json()).collect();
        assert!(texts == want, "{told}");
    }
}

#[test]
fn notes_are_kept_too() {
    let dir = tempfile::tempdir().unwrap();
    let start = Start::new([1, 2]);
    let open = || ChainStore::<Notes>::open(Arc::new(Folder::open(dir.path()).unwrap()), &start).unwrap();
    let (mut store, mut chain) = open();
    let mut blocks = vec![NoteBlock::genesis()];
    for nth in 0..9 {
        let stamp = WallMillis::new(1_655_100_000_000 + nth);
        let items = vec![format!("note {nth} é \u{1f600}"), "second".to_owned()];
        let mut block = spandrel_chain::draft_notes(&chain, items, stamp).unwrap();
        block.header.hash = block.compute_hash();
        blocks.push(block.clone());
        let offered = chain.offer(Arc::new(block), NOW, &Yes, &store).unwrap();
        let Offered::Adopted(update) = offered else { panic!("{offered:?}") };
        store.commit(&update).unwrap();
        if nth == 5 {
            store.flush(&chain).unwrap();
        }
    }
    drop(store);
    let (store, chain) = open();
    assert_eq!(store.recovery().replayed_blocks, 3);
    assert_eq!(chain.height().get(), 9);
    let kept: Vec<NoteBlock> =
        (0..10).map(|h| store.block(Height::new(h).unwrap()).unwrap().unwrap()).collect();
    assert_eq!(kept, blocks);
    drop(store);
    let other = ChainStore::<Coins>::open(Arc::new(Folder::open(dir.path()).unwrap()), &start);
    assert!(matches!(other, Err(StoreError::OtherLedger { .. })), "{other:?}");
}

#[test]
fn an_update_out_of_step_is_refused_and_changes_nothing() {
    let (disk, start, acts) = (MemoryDisk::new(), start(Limits::default()), story());
    let mut node = Node::<NoCoins>::open(&disk, &start).unwrap();
    let mut updates = Vec::new();
    for act in acts.iter().filter(|act| !matches!(act, Act::Flush)) {
        let update = node.act(act).unwrap();
        node.store.commit(&update).unwrap();
        updates.push(update);
    }
    let before = disk.content("blocks.journal");
    for update in &updates {
        let refused = node.store.commit(update).unwrap_err();
        assert!(matches!(refused, StoreError::OutOfStep { .. }) && !refused.may_pass(), "{refused}");
    }
    let elsewhere =
        Chain::<Coins>::new(spandrel_chain::CoinSet::new([1, 2]), [1, 2], start.rules, &start.chain_limits);
    assert!(matches!(node.store.flush(&elsewhere), Err(StoreError::OutOfStep { .. })));
    assert_eq!(disk.content("blocks.journal"), before);
    node.must_be(chains(&acts).last().unwrap(), "as before");
}

#[test]
fn limits_hold() {
    let main = extend(&[], 6, 1);
    let disk = MemoryDisk::new();
    let longest = main.iter().map(|block| block.json_len()).max().unwrap();
    let start_of = |limits| start(limits);
    // One over the longest record: refused, and the chain goes on without it when there is room for it.
    let tight = start_of(Limits::default().with_record_bytes_max(longest - 1));
    let mut node = Node::<NoCoins>::open(&disk, &tight).unwrap();
    let updates = node.offer(&main[1..], false);
    let refused = updates.iter().find_map(|update| node.store.commit(update).err()).unwrap();
    assert!(matches!(refused, StoreError::TooLong { .. }), "{refused}");
    drop(node);
    // Due by blocks, due by bytes, and forgotten beyond twice of it.
    for (name, limits) in [
        ("blocks", Limits::default().with_flush_after(u64::MAX, 2)),
        ("bytes", Limits::default().with_flush_after(2500, usize::MAX)),
    ] {
        let (disk, start) = (MemoryDisk::new(), start_of(limits.with_write_bytes(1)));
        let mut node = Node::<RedbCoins>::open(&disk, &start).unwrap();
        let mut due = Vec::new();
        for update in node.offer(&main[1..], false) {
            due.push(node.store.is_flush_due());
            node.store.commit(&update).unwrap();
        }
        assert!(!due[0] && due[5], "{name}: {due:?}");
        node.store.flush(&node.chain).unwrap();
        assert!(!node.store.is_flush_due(), "{name}");
        drop(node);
        let node = Node::<RedbCoins>::open(&disk, &start).unwrap();
        assert_eq!(node.store.recovery().replayed_blocks, 0, "{name}");
        node.must_be(&main, name);
    }
}

/// A coin store that was written as a whole does not know whose receipts are whose; blocks leave it all the same.
#[test]
fn blocks_leave_a_coin_store_that_was_written_as_a_whole() {
    let main = extend(&[], 12, 1);
    let fork = extend(&main[..8], 8, 2);
    let (disk, start) = (MemoryDisk::new(), start(Limits::default().with_flush_after(u64::MAX, 3)));
    let mut node = Node::<RedbCoins>::open(&disk, &start).unwrap();
    for update in node.offer(&main[1..], false) {
        node.store.commit(&update).unwrap();
    }
    node.store.flush(&node.chain).unwrap();
    // Not over now: the flush after this is one of changes, if it may.
    let updates = node.offer(&fork[..14], true);
    assert_eq!(updates[0].disconnected.len(), 5);
    assert!(updates[0].disconnected.iter().any(|step| !step.undo.receipts.is_empty()));
    let relaxed = {
        let mut start = start.clone();
        start.limits = Limits::default();
        start
    };
    node.store.commit(&updates[0]).unwrap();
    drop(node);
    let mut node = Node::<RedbCoins>::open(&disk, &relaxed).unwrap();
    node.store.flush(&node.chain).unwrap();
    drop(node);
    let mut node = Node::<RedbCoins>::open(&disk, &relaxed).unwrap();
    assert_eq!(node.store.recovery().replayed_blocks, 0);
    node.must_be(&fork[..14], "after a reorganisation below a whole one");
    for update in node.offer(&fork[14..], false) {
        node.store.commit(&update).unwrap();
    }
    node.store.flush(&node.chain).unwrap();
    drop(node);
    Node::<RedbCoins>::open(&disk, &relaxed).unwrap().must_be(&fork, "and on");
}

#[test]
fn the_first_block_is_there_from_the_start() {
    let (disk, start) = (MemoryDisk::new(), start(Limits::default()));
    let node = Node::<RedbCoins>::open(&disk, &start).unwrap();
    node.must_be(&[Arc::new(CoinBlock::genesis())], "new");
    assert_eq!(node.chain.tip_block().as_deref(), Some(&CoinBlock::genesis()));
    let archived = NoArchive;
    let _: Option<spandrel_chain::Step<Coins>> = archived.read(&CoinBlock::genesis().header.hash);
    assert!(node.store.read(&Block::<Coins>::genesis().header.hash).is_none(), "nothing undoes it");
}
