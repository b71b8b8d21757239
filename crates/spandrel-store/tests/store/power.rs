//! The power goes at every step: what was told is there, and it is one chain or the other.

use std::io::ErrorKind;

use spandrel_store::{Fault, Limits, Loss, MemoryDisk, RedbCoins, Start};

use crate::story::{Act, Node, chains, start, story};

/// Runs until the machine stops; how many updates were told to be durable.
fn run(disk: &MemoryDisk, acts: &[Act], start: &Start) -> usize {
    let mut told = 0;
    let Ok(mut node) = Node::<RedbCoins>::open(disk, start) else { return told };
    for act in acts {
        let done = match node.act(act) {
            Some(update) => node.store.commit(&update).map(|()| told += 1),
            None => node.store.flush(&node.chain),
        };
        if done.is_err() {
            break;
        }
    }
    told
}

/// Goes on from where a disk was left, to the end.
fn go_on(disk: &MemoryDisk, acts: &[Act], start: &Start, stored: usize) {
    let mut node = Node::<RedbCoins>::open(disk, start).unwrap();
    let mut nth = 0;
    for act in acts {
        if matches!(act, Act::Flush) {
            node.store.flush(&node.chain).unwrap();
            continue;
        }
        nth += 1;
        if nth > stored {
            let update = node.act(act).unwrap();
            node.store.commit(&update).unwrap();
        }
    }
    node.must_be(chains(acts).last().unwrap(), "went on");
}

#[test]
fn power_lost_at_any_step_costs_nothing_that_was_told() {
    let (acts, start) = (story(), start(Limits::default()));
    let chains = chains(&acts);
    let calm = MemoryDisk::new();
    assert_eq!(run(&calm, &acts, &start), chains.len() - 1);
    let mut crashes = 0;
    for step in 0..=calm.steps() {
        let disk = MemoryDisk::new();
        disk.fail(Fault::From(step, ErrorKind::Other));
        let told = run(&disk, &acts, &start);
        for (nth, loss) in Loss::EACH.into_iter().chain([Loss::Tail, Loss::Some, Loss::Some]).enumerate() {
            let seed = step * 100 + nth as u64;
            let case = format!("step {step}, {loss:?}, seed {seed}");
            let after = disk.crash(loss, seed);
            let node = Node::<RedbCoins>::open(&after, &start).unwrap_or_else(|e| panic!("{case}: {e}"));
            let tip = node.chain.tip().hash;
            let stored = chains.iter().rposition(|chain| chain.last().unwrap().header.hash == tip).unwrap();
            assert!(stored == told || stored == told + 1, "{case}: {stored} of {told}");
            node.must_be(&chains[stored], &case);
            drop(node);
            // And again: a start may be struck too.
            let twice = after.crash(loss, seed + 50);
            let node = Node::<RedbCoins>::open(&twice, &start).unwrap_or_else(|e| panic!("{case}: {e}"));
            node.must_be(&chains[stored], &case);
            drop(node);
            if (step + nth as u64).is_multiple_of(5) {
                go_on(&after, &acts, &start, stored);
            }
            crashes += 1;
        }
    }
    assert!(crashes > 500, "{crashes}");
}

/// The power goes while a start repairs what a loss of power left.
#[test]
fn power_lost_while_starting_costs_nothing_either() {
    let (acts, start) = (story(), start(Limits::default()));
    let chains = chains(&acts);
    let calm = MemoryDisk::new();
    run(&calm, &acts, &start);
    for step in (1..calm.steps()).step_by(7) {
        let disk = MemoryDisk::new();
        disk.fail(Fault::From(step, ErrorKind::Other));
        let told = run(&disk, &acts, &start);
        let left = disk.crash(Loss::Some, step);
        for repair in 0.. {
            let again = left.crash(Loss::Nothing, 0);
            again.fail(Fault::From(repair, ErrorKind::Other));
            let is_open = Node::<RedbCoins>::open(&again, &start).is_ok();
            let is_struck = again.has_struck();
            for loss in Loss::EACH {
                let case = format!("step {step}, repair {repair}, {loss:?}");
                let after = again.crash(loss, repair);
                let node = Node::<RedbCoins>::open(&after, &start).unwrap_or_else(|e| panic!("{case}: {e}"));
                let tip = node.chain.tip().hash;
                let stored = chains.iter().rposition(|chain| chain.last().unwrap().header.hash == tip);
                assert!(stored.is_some_and(|stored| stored >= told), "{case}: {stored:?} of {told}");
                node.must_be(&chains[stored.unwrap()], &case);
            }
            if is_open && !is_struck {
                break;
            }
        }
    }
}
