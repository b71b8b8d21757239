//! One failing step at a time, at every step.

use std::io::ErrorKind;

use spandrel_chain::Update;
use spandrel_chain_protocol::Coins;
use spandrel_store::{Fault, Limits, Loss, MemoryDisk, RedbCoins, Start, StoreError};

use crate::story::{Act, Blocks, Node, chains, start, story};

fn open(disk: &MemoryDisk, start: &Start) -> Node<RedbCoins> {
    Node::open(disk, start)
        .or_else(|error| {
            assert!(error.may_pass(), "{error}");
            disk.heal();
            Node::open(disk, start)
        })
        .unwrap()
}

/// Commits, and again after the disk is well.
fn commit(
    node: &mut Node<RedbCoins>,
    update: &Update<Coins>,
    disk: &MemoryDisk,
    case: &str,
    before: &Blocks,
) {
    let Err(error) = node.store.commit(update) else { return };
    assert!(disk.has_struck() && error.may_pass(), "{case}: {error}");
    // Nothing is half done: what is stored reads as before.
    let texts: Vec<Vec<u8>> = node.store.texts(before[0].header.height).map(Result::unwrap).collect();
    assert!(texts.len() == before.len(), "{case}");
    let again = node.store.commit(update);
    if let Err(error) = again {
        assert!(error.may_pass(), "{case}: {error}");
        disk.heal();
        node.store.commit(update).unwrap_or_else(|error| panic!("{case}: {error}"));
    }
}

fn run(acts: &[Act], chains: &[Blocks], fault: Fault, start: &Start, case: &str) -> MemoryDisk {
    let disk = MemoryDisk::new();
    disk.fail(fault);
    let mut node = open(&disk, start);
    let mut told = 0;
    for act in acts {
        if let Some(update) = node.act(act) {
            commit(&mut node, &update, &disk, case, &chains[told]);
            told += 1;
        } else if let Err(error) = node.store.flush(&node.chain) {
            assert!(disk.has_struck(), "{case}: {error}");
        }
        node.must_be(&chains[told], case);
    }
    disk.heal();
    node.store.flush(&node.chain).unwrap_or_else(|error| panic!("{case}: {error}"));
    disk
}

#[test]
fn one_failing_step_at_any_place_costs_nothing() {
    let (acts, start) = (story(), start(Limits::default()));
    let chains = chains(&acts);
    let steps = run(&acts, &chains, Fault::Once(u64::MAX, ErrorKind::Other), &start, "calm").steps();
    assert!(steps > 80, "{steps}");
    for step in 0..steps {
        for fault in [Fault::Once(step, ErrorKind::Other), Fault::From(step, ErrorKind::StorageFull)] {
            let case = format!("{fault:?}");
            let disk = run(&acts, &chains, fault, &start, &case);
            // Everything was told to be durable, the flush at the end too.
            let after = disk.crash(Loss::All, step);
            let node = Node::<RedbCoins>::open(&after, &start).unwrap();
            assert_eq!(node.store.recovery().replayed_blocks, 0, "{case}");
            node.must_be(chains.last().unwrap(), &case);
        }
    }
}

/// A step fails, the process dies of it and starts again: the system may still show what it will never write. What the
/// new process stands on survives a loss of power all the same.
#[test]
fn a_restart_does_not_trust_what_failed_to_sync() {
    let (acts, start) = (story(), start(Limits::default()));
    let chains = chains(&acts);
    let calm = MemoryDisk::new();
    let steps = run_until_fault(&calm, &acts, &start);
    for step in 0..steps {
        let disk = MemoryDisk::new();
        disk.fail(Fault::Once(step, ErrorKind::Other));
        run_until_fault(&disk, &acts, &start);
        let case = format!("step {step}");
        let mut node = Node::<RedbCoins>::open(&disk, &start).unwrap();
        let tip = node.chain.tip().hash;
        let stored = chains.iter().rposition(|chain| chain.last().unwrap().header.hash == tip).unwrap();
        let check = |disk: &MemoryDisk| {
            let node = Node::<RedbCoins>::open(disk, &start).unwrap_or_else(|e| panic!("{case}: {e}"));
            node.must_be(&chains[stored], &case);
        };
        check(&disk.crash(Loss::All, step));
        node.store.flush(&node.chain).unwrap();
        check(&disk.crash(Loss::All, step));
    }
}

/// Stops at the first error; how many steps there were.
fn run_until_fault(disk: &MemoryDisk, acts: &[Act], start: &Start) -> u64 {
    let Ok(mut node) = Node::<RedbCoins>::open(disk, start) else { return disk.steps() };
    for act in acts {
        let done = match node.act(act) {
            Some(update) => node.store.commit(&update),
            None => node.store.flush(&node.chain),
        };
        if done.is_err() {
            break;
        }
    }
    drop(node);
    disk.steps()
}

#[test]
fn a_full_disk_is_said_and_passes() {
    let (acts, start) = (story(), start(Limits::default()));
    let disk = MemoryDisk::new();
    let mut node = Node::<RedbCoins>::open(&disk, &start).unwrap();
    let update = node.act(&acts[0]).unwrap();
    disk.fail(Fault::From(0, ErrorKind::StorageFull));
    for _ in 0..3 {
        let error = node.store.commit(&update).unwrap_err();
        assert!(error.is_full() && error.may_pass(), "{error}");
        assert!(error.to_string().contains("blocks.journal"), "{error}");
    }
    assert!(matches!(node.store.flush(&node.chain), Err(StoreError::OutOfStep { .. })), "not stored yet");
    disk.heal();
    node.store.commit(&update).unwrap();
    disk.fail(Fault::From(0, ErrorKind::StorageFull));
    let error = node.store.flush(&node.chain).unwrap_err();
    assert!(error.is_full(), "{error}");
    disk.heal();
    node.store.flush(&node.chain).unwrap();
    node.must_be(&chains(&acts)[1], "after all");
}
