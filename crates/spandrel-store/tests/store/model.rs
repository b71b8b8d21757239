//! Any order of blocks, reorganisations, flushes, restarts, faults and losses of power, against a list of blocks.

use std::io::ErrorKind;

use proptest::prelude::*;
use spandrel_store::{Fault, Limits, Loss, MemoryDisk, RedbCoins};

use crate::story::{Node, extend, start};

#[derive(Debug, Clone)]
enum Op {
    /// Leaves so many blocks and takes one more than that, and so many.
    Fork {
        depth: usize,
        more: usize,
        is_whole: bool,
    },
    Flush,
    Restart,
    PowerLoss {
        loss: usize,
        seed: u64,
    },
    Fault {
        after: u64,
        is_full: bool,
    },
}

fn any_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0_usize..5, 0_usize..3, any::<bool>())
            .prop_map(|(depth, more, is_whole)| Op::Fork { depth, more, is_whole }),
        2 => Just(Op::Flush),
        1 => Just(Op::Restart),
        2 => (0..Loss::EACH.len(), any::<u64>()).prop_map(|(loss, seed)| Op::PowerLoss { loss, seed }),
        2 => (0_u64..12, any::<bool>()).prop_map(|(after, is_full)| Op::Fault { after, is_full }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// The store holds exactly the blocks that were committed, whatever happens between.
    #[test]
    fn prop_store_agrees_with_a_list(
        ops in prop::collection::vec(any_op(), 1..14),
        flush_blocks in 1_usize..8,
    ) {
        let start = start(Limits::default().with_flush_after(4000, flush_blocks));
        let mut disk = MemoryDisk::new();
        let mut node = Node::<RedbCoins>::open(&disk, &start).unwrap();
        let mut model = extend(&[], 0, 0);
        for (nth, op) in ops.into_iter().enumerate() {
            match op {
                Op::Fork { depth, more, is_whole } => {
                    let keep = model.len().saturating_sub(depth).max(1);
                    let new = model.len() - keep + 1 + more;
                    let chain = extend(&model[..keep], new, u8::try_from(nth).unwrap() + 1);
                    let from = if is_whole { 0 } else { keep };
                    for update in node.offer(&chain[from..], is_whole) {
                        if node.store.commit(&update).is_err() {
                            disk.heal();
                            node.store.commit(&update).unwrap();
                        }
                    }
                    model = chain;
                }
                Op::Flush => {
                    if node.store.flush(&node.chain).is_err() {
                        disk.heal();
                        node.store.flush(&node.chain).unwrap();
                    }
                }
                Op::Restart => {
                    disk.heal();
                    drop(node);
                    node = Node::open(&disk, &start).unwrap();
                }
                Op::PowerLoss { loss, seed } => {
                    drop(node);
                    disk = disk.crash(Loss::EACH[loss], seed);
                    node = Node::open(&disk, &start).unwrap();
                }
                Op::Fault { after, is_full } => {
                    let kind = if is_full { ErrorKind::StorageFull } else { ErrorKind::Other };
                    disk.fail(if is_full { Fault::From(after, kind) } else { Fault::Once(after, kind) });
                }
            }
            node.must_be(&model, "after each step");
        }
    }
}
