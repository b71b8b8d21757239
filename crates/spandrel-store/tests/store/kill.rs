//! A real process on a real folder, killed at any moment.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;

use spandrel_chain::{Chain, Offered};
use spandrel_chain_protocol::{Nonce, Notes, WallMillis};
use spandrel_store::{ChainStore, Folder, Limits, Start, StoreError};

use crate::story::Yes;

const DIR: &str = "SPANDREL_STORE_KILL_DIR";

fn start() -> Start {
    let mut start = Start::new([1, 2]);
    start.limits = Limits::default().with_flush_after(u64::MAX, 7);
    start
}

fn mine(chain: &Chain<Notes>) -> spandrel_chain_protocol::NoteBlock {
    let stamp = WallMillis::new(1_655_100_000_000 + chain.height().get() * 600_000);
    let items = vec![format!("on block {}", chain.height()), "x".repeat(3000)];
    let mut block = spandrel_chain::draft_notes(chain, items, stamp).unwrap();
    for nonce in 1.. {
        block.header.nonce = Nonce::new(nonce).unwrap();
        block.header.hash = block.compute_hash();
        if block.header.hash.meets(block.header.difficulty) {
            return block;
        }
    }
    unreachable!("some nonce fits")
}

/// The process that is killed: mines and stores, and says each height once it is durable. Not a test by itself.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let folder = Arc::new(Folder::open(dir).unwrap());
    let (mut store, mut chain) = ChainStore::<Notes>::open(folder, &start()).unwrap();
    loop {
        let now = WallMillis::new(1_900_000_000_000);
        let offered = chain.offer(Arc::new(mine(&chain)), now, &Yes, &store).unwrap();
        let Offered::Adopted(update) = offered else { panic!("{offered:?}") };
        store.commit(&update).unwrap();
        println!("\nstored {}", store.height());
        if store.is_flush_due() {
            store.flush(&chain).unwrap();
        }
    }
}

#[test]
fn what_a_killed_process_said_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let mut said = 0;
    for cycle in 0..12 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kill::child", "--nocapture"])
            .env(DIR, dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut heights =
            lines.filter_map(|line| line.strip_prefix("stored ").and_then(|n| n.parse::<u64>().ok()));
        for _ in 0..=cycle * 3 {
            said = heights.next().expect("the child goes on until it is killed");
        }
        let locked = Folder::open(dir.path());
        assert!(matches!(locked, Err(StoreError::Locked { .. })), "cycle {cycle}: {locked:?}");
        child.kill().unwrap();
        child.wait().unwrap();
        // It may have said more before it died.
        said = heights.last().unwrap_or(said);
        let folder = Arc::new(Folder::open(dir.path()).unwrap());
        let (store, chain) = ChainStore::<Notes>::open(folder, &start()).unwrap();
        let height = chain.height().get();
        assert!(height == said || height == said + 1, "cycle {cycle}: {height} after {said}");
        assert!(
            store.recovery().replayed_blocks <= 8 && !store.recovery().is_rebuilt,
            "{:?}",
            store.recovery()
        );
        let mut clean = Chain::<Notes>::new((), [5, 6], start().rules, &start().chain_limits);
        for text in store.texts(spandrel_chain_protocol::Height::ZERO).skip(1) {
            let text = String::from_utf8(text.unwrap()).unwrap();
            let block = spandrel_chain_protocol::NoteBlock::from_json(&text, &Default::default()).unwrap();
            clean.offer(Arc::new(block), WallMillis::new(1_900_000_000_000), &Yes, &store).unwrap();
        }
        assert_eq!(clean.entries(), chain.entries(), "cycle {cycle}");
    }
}
