//! What is said about blocks, chains and rows.

use std::sync::Arc;

use spandrel_chain::ChainError;
use spandrel_chain_protocol::{CoinMessage, Ledger};
use spandrel_wire::Frame;

use super::rig::{Rig, block_text, chain_text, mine, other_chain};
use crate::fuzz::toy;
use crate::task::{Done, Seen, What};
use crate::{CloseReason, Dialect, Event, Input, Limits, PeerId, Way};

const BOTH: [Dialect; 2] = Dialect::ALL;

fn question(dialect: Dialect) -> String {
    dialect.question().as_text().unwrap().to_owned()
}

#[test]
fn both_ends_ask_on_connect_and_a_question_gets_the_last_block() {
    for dialect in BOTH {
        let mut rig = Rig::new();
        rig.grow(dialect, 2);
        rig.open(1, dialect, Way::Accepted, "192.0.2.1:1".parse().unwrap());
        assert_eq!(rig.said(), "1:question", "{dialect:?}");
        rig.hear(1, question(dialect));
        assert_eq!(rig.said(), "1:block2", "{dialect:?}");
    }
}

#[test]
fn a_block_is_appended_or_answered() {
    for dialect in BOTH {
        let theirs = other_chain(dialect, 6);
        for (name, shared, own, at, want) in [
            // What we share with them, what we mined on it, the block of theirs that comes, what is said.
            ("goes on top: passed on to others only", 3, 0, 4, "2:block4"),
            ("held already, below the tip", 3, 0, 1, "1:chain3"),
            ("the first block", 3, 0, 0, "1:chain3"),
            ("the tip itself", 3, 0, 3, "1:chain3"),
            ("same height, another block", 2, 1, 3, "1:chain3"),
            ("one too high", 3, 0, 5, "1:block3"),
            ("higher, of another chain", 0, 2, 5, "1:block2"),
            ("at the height after the tip, of another chain", 2, 2, 5, "1:block4"),
        ] {
            let mut rig = Rig::new();
            if shared > 0 {
                rig.peer(7, dialect);
                rig.hear(7, chain_text(&other_chain(dialect, shared), dialect));
                rig.step(Input::Closed(PeerId(7)));
            }
            rig.grow(dialect, own);
            rig.peer(1, dialect);
            rig.peer(2, dialect);
            rig.hear(1, block_text(&theirs, dialect, at));
            assert_eq!(rig.said(), want, "{dialect:?} {name}");
            assert!(rig.closed.is_empty(), "{dialect:?} {name}");
        }
    }
}

#[test]
fn a_better_chain_is_taken_and_told_as_the_dialect_does() {
    for (dialect, want) in [(Dialect::Jenny, "2:chain4 3:chain4"), (Dialect::Ingchain, "2:block4 3:block4")] {
        let mut rig = Rig::new();
        rig.grow(dialect, 2);
        (1..=3).for_each(|id| rig.peer(id, dialect));
        rig.peer(4, if dialect == Dialect::Jenny { Dialect::Ingchain } else { Dialect::Jenny });
        rig.hear(1, chain_text(&other_chain(dialect, 4), dialect));
        assert_eq!(rig.said(), want, "{dialect:?}");
        let tip = rig.events.iter().rev().find(|event| matches!(event, Event::Tip { .. })).unwrap();
        assert!(
            matches!(tip, Event::Tip { disconnected: 2, connected: 4, from: Some(PeerId(1)), .. }),
            "{tip:?}"
        );
    }
}

#[test]
fn worse_equal_and_invalid_chains_are_met_with_silence() {
    for dialect in BOTH {
        let good = other_chain(dialect, 9);
        let forged = chain_text(&good, dialect).replacen("\"timestamp\":17", "\"timestamp\":16", 1);
        for (name, text) in [
            ("shorter", chain_text(&other_chain(dialect, 2), dialect)),
            ("as long", chain_text(&other_chain(dialect, 3), dialect)),
            ("the first block alone", chain_text(&other_chain(dialect, 0), dialect)),
            ("forged", forged),
        ] {
            let mut rig = Rig::new();
            rig.grow(dialect, 3);
            (1..=2).for_each(|id| rig.peer(id, dialect));
            rig.hear(1, text);
            assert_eq!((rig.said().as_str(), rig.closed.len()), ("", 0), "{dialect:?} {name}");
        }
    }
}

#[test]
fn mining_is_told_as_the_dialect_does() {
    for (dialect, want) in
        [(Dialect::Jenny, "1:question 2:question"), (Dialect::Ingchain, "1:block1 2:block1")]
    {
        let mut rig = Rig::new();
        (1..=2).for_each(|id| rig.peer(id, dialect));
        rig.mine(dialect);
        assert_eq!(rig.said(), want, "{dialect:?}");
    }
}

#[test]
fn a_tip_goes_to_nobody_who_showed_it() {
    for (dialect, want) in [(Dialect::Jenny, "3:chain4"), (Dialect::Ingchain, "3:block4")] {
        let theirs = other_chain(dialect, 4);
        let mut rig = Rig::new();
        (1..=3).for_each(|id| rig.peer(id, dialect));
        rig.hear(2, block_text(&theirs, dialect, 4));
        assert_eq!(rig.said(), "2:block0", "{dialect:?}");
        rig.hear(1, chain_text(&theirs, dialect));
        assert_eq!(rig.said(), want, "{dialect:?}");
    }
}

#[test]
fn results_in_another_order_leave_the_last_tip() {
    for dialect in BOTH {
        let theirs = other_chain(dialect, 2);
        let mut rig = Rig::new();
        (1..=2).for_each(|id| rig.peer(id, dialect));
        rig.holds_tasks = true;
        rig.hear(1, block_text(&theirs, dialect, 1));
        rig.hear(2, block_text(&theirs, dialect, 2));
        rig.books.set_now(super::rig::WALL);
        let tasks = std::mem::take(&mut rig.tasks);
        let done: Vec<_> = tasks.into_iter().map(|task| task.run(&mut rig.books)).collect();
        done.into_iter().rev().for_each(|done| rig.step(Input::Done(done)));
        assert_eq!(
            rig.gossip.tip(dialect.ledger()).hash(),
            theirs.tips()[usize::from(dialect == Dialect::Ingchain)].hash()
        );
    }
}

#[test]
fn a_row_goes_on_once_and_never_back() {
    let mut rig = Rig::new();
    rig.grow(Dialect::Ingchain, 2);
    (1..=3).for_each(|id| rig.peer(id, Dialect::Ingchain));
    rig.peer(4, Dialect::Jenny);
    let row = toy::pay(&rig.books, 1, 2, 20, 0).unwrap();
    let text = String::from_utf8(CoinMessage::write_transaction(&row)).unwrap();
    rig.hear(1, text.clone());
    assert_eq!(rig.said(), "2:row 3:row");
    rig.hear(1, text.clone());
    rig.hear(2, text.clone());
    assert_eq!(rig.said(), "", "known");
    let mut stolen = toy::pay(&rig.books, 1, 3, 10, 1).unwrap();
    stolen.outputs[0].account = toy::account(5);
    stolen.txid = stolen.compute_txid();
    rig.hear(1, String::from_utf8(CoinMessage::write_transaction(&stolen)).unwrap());
    assert_eq!((rig.said().as_str(), rig.closed.len()), ("", 0), "refused, and no points");
    assert!(matches!(rig.events.last(), Some(Event::RowRefused { .. })));

    let own = Arc::new(toy::pay(&rig.books, 1, 3, 10, 2).unwrap());
    rig.step(Input::Submitted(own));
    assert_eq!(rig.said(), "1:row 2:row 3:row");
}

#[test]
fn ten_malformed_messages_close_and_nine_do_not() {
    for (dialect, text) in [
        (Dialect::Jenny, r#"{"type":3,"payload":{}}"#),
        (Dialect::Jenny, r#"{"type":"0","payload":{}}"#),
        (Dialect::Jenny, r#"{"type":1,"payload":{}}"#),
        (Dialect::Jenny, r#"{"type":1,"payload":[]}"#),
        (Dialect::Jenny, r#"{"type":2,"payload":[null]}"#),
        (Dialect::Jenny, "[1]"),
        (Dialect::Jenny, "no JSON"),
        (Dialect::Ingchain, r#"{"type":"allBlock","payload":7}"#),
        (Dialect::Ingchain, r#"{"type":"receivedChain","payload":[1,2]}"#),
        (Dialect::Ingchain, r#"{"type":"receivedTransaction","payload":{}}"#),
    ] {
        let mut rig = Rig::new();
        rig.peer(1, dialect);
        (0..9).for_each(|_| rig.hear(1, text));
        assert!(rig.closed.is_empty(), "{text}");
        rig.hear(1, question(dialect));
        assert!(rig.said().starts_with("1:block"), "{text}: nine are borne");
        rig.hear(1, text);
        assert_eq!(rig.closed, [(1, CloseReason::Misbehaved { count: 10 })], "{text}");
        rig.hear(1, question(dialect));
        assert_eq!(rig.said(), "", "{text}: it is over");
    }
}

#[test]
fn what_is_ignored_or_refused_in_good_faith_costs_nothing() {
    let chain = other_chain(Dialect::Ingchain, 2);
    let block = block_text(&chain, Dialect::Ingchain, 2);
    for text in [
        r#"{"type":"constructor","payload":{}}"#.to_owned(),
        r#"{"type":7}"#.to_owned(),
        r#"{"type":"allBlock","payload":[]}"#.to_owned(),
        r#"{"type":"receivedTransaction","payload":[]}"#.to_owned(),
        r#"{"type":"receivedChain","payload":{}}"#.to_owned(),
        block.replace("\"difficulty\":0", "\"difficulty\":9"),
        block.replace("\"difficulty\":0", "\"difficulty\":300"),
    ] {
        let mut rig = Rig::new();
        rig.peer(1, Dialect::Ingchain);
        (0..30).for_each(|_| rig.hear(1, text.clone()));
        assert!(rig.closed.is_empty(), "{text}");
    }
}

#[test]
fn junk_ends_a_stream_without_frames_at_once() {
    let mut rig = Rig::new();
    rig.peer(1, Dialect::Ingchain);
    rig.hear(1, r#"{"type":}"#);
    assert_eq!(rig.closed, [(1, CloseReason::Broken)]);
}

#[test]
fn a_document_over_the_limit_is_not_read() {
    for (dialect, at_limit, over) in
        [(Dialect::Jenny, vec![], vec![]), (Dialect::Ingchain, vec![], vec![(1, CloseReason::Broken)])]
    {
        let question = question(dialect);
        for (spare, want) in [(0, at_limit), (1, over)] {
            let mut rig = Rig::with(Limits::default().with_document_bytes_max(600));
            rig.peer(1, dialect);
            let blanks = " ".repeat(600 + spare - question.len());
            rig.hear(1, format!("{question}{blanks}"));
            assert_eq!(rig.closed, want, "{dialect:?}");
            let dropped = rig.events.iter().filter(|event| matches!(event, Event::Dropped { .. })).count();
            assert_eq!(dropped, spare, "{dialect:?}");
        }
    }
}

#[test]
fn the_text_of_the_chain_is_written_once_and_given_up_when_nobody_asks() {
    let dialect = Dialect::Ingchain;
    let mut rig = Rig::new();
    rig.grow(dialect, 2);
    (1..=4).for_each(|id| rig.peer(id, dialect));
    let first = block_text(&rig.books, dialect, 0);
    rig.holds_tasks = true;
    let ask = |rig: &mut Rig, id| {
        rig.hear(id, first.clone());
        rig.finish_task();
    };
    ask(&mut rig, 1);
    ask(&mut rig, 2);
    assert_eq!(rig.tasks.len(), 1, "one text for both");
    rig.finish_task();
    assert_eq!(rig.said(), "1:chain2 2:chain2");
    rig.pass(9_999);
    ask(&mut rig, 3);
    assert_eq!((rig.said().as_str(), rig.tasks.len()), ("3:chain2", 0), "kept, and ten seconds more");
    rig.pass(9_999);
    assert!(rig.gossip.wake().is_some());
    rig.pass(1);
    assert_eq!(rig.gossip.wake(), None);
    ask(&mut rig, 4);
    assert_eq!((rig.said().as_str(), rig.tasks.len()), ("", 1), "to be written again");
}

#[test]
fn binary_frames_are_taken_when_they_hold_text() {
    let mut rig = Rig::new();
    rig.peer(1, Dialect::Jenny);
    let frame = Frame::binary(question(Dialect::Jenny).into_bytes());
    rig.step(Input::Received { peer: PeerId(1), frame });
    assert_eq!(rig.said(), "1:block0");
    rig.step(Input::Received { peer: PeerId(1), frame: Frame::binary(&b"\xff"[..]) });
    assert!(matches!(rig.events.last(), Some(Event::Dropped { count: 1, .. })));
}

#[test]
fn one_whole_chain_in_two_seconds_a_peer_and_tip() {
    for dialect in BOTH {
        let mut rig = Rig::new();
        rig.grow(dialect, 2);
        (1..=2).for_each(|id| rig.peer(id, dialect));
        let first = block_text(&rig.books, dialect, 0);
        (0..5).for_each(|_| rig.hear(1, first.clone()));
        rig.hear(2, first.clone());
        assert_eq!(rig.said(), "1:chain2 2:chain2", "{dialect:?}");
        rig.pass(1999);
        assert_eq!(rig.said(), "", "{dialect:?}");
        rig.pass(1);
        assert_eq!(rig.said(), "1:chain2", "{dialect:?}: late, and not piled up");
        rig.pass(10_000);
        assert_eq!(rig.said(), "", "{dialect:?}");
        rig.hear(1, first.clone());
        rig.grow(dialect, 1);
        rig.hear(1, first);
        assert_eq!(rig.said(), "1:chain3", "{dialect:?}: another tip is another chain");
    }
}

#[test]
fn no_second_chain_while_one_is_on_its_way() {
    let dialect = Dialect::Jenny;
    let mut rig = Rig::new();
    rig.grow(dialect, 2);
    rig.peer(1, dialect);
    rig.is_read = false;
    let first = block_text(&rig.books, dialect, 0);
    rig.hear(1, first.clone());
    let bytes = rig.sent[0].1.len();
    assert_eq!(rig.said(), "1:chain2");
    rig.mine(dialect);
    rig.sent.clear();
    rig.hear(1, first);
    rig.pass(5_000);
    assert_eq!(rig.said(), "", "still on its way");
    rig.step(Input::Written { peer: PeerId(1), bytes: 1 << 20 });
    assert!(bytes < 1 << 20);
    assert_eq!(rig.said(), "1:chain3");
    // The pause before the same one begins when the peer has it.
    rig.hear(1, block_text(&rig.books, dialect, 0));
    rig.pass(5_000);
    rig.step(Input::Written { peer: PeerId(1), bytes: 1 << 20 });
    rig.pass(1_999);
    assert_eq!(rig.said(), "");
    rig.pass(1);
    assert_eq!(rig.said(), "1:chain3");
}

#[test]
fn a_chain_over_the_limit_is_not_sent_and_said_once() {
    for (dialect, want) in [(Dialect::Jenny, "1:question 1:block4"), (Dialect::Ingchain, "1:block4")] {
        let mut probe = Rig::new();
        probe.grow(dialect, 3);
        let three = chain_text(&probe.books, dialect).len();
        // At the limit it is sent, one byte over not.
        for (bytes_max, sent) in [(three, "1:chain3"), (three - 1, "")] {
            let mut rig = Rig::with(Limits::default().with_document_bytes_max(bytes_max).with_pause_ms(0));
            rig.grow(dialect, 3);
            rig.peer(1, dialect);
            let first = block_text(&rig.books, dialect, 0);
            (0..3).for_each(|_| rig.hear(1, first.clone()));
            assert_eq!(rig.said(), sent, "{dialect:?} {bytes_max}");
            let notices = rig.events.iter().filter(|e| matches!(e, Event::ChainTooLong { .. })).count();
            assert_eq!(notices, usize::from(sent.is_empty()));
            if sent.is_empty() {
                rig.mine(dialect);
                assert_eq!(rig.said(), want, "{dialect:?}: announcements go on");
            }
        }
    }
}

#[test]
fn a_tip_is_not_told_again_while_its_answer_may_be_on_the_way() {
    for dialect in BOTH {
        let theirs = other_chain(dialect, 6);
        let mut rig = Rig::new();
        rig.peer(1, dialect);
        rig.hear(1, question(dialect));
        assert_eq!(rig.said(), "1:block0");
        rig.hear(1, block_text(&theirs, dialect, 6));
        rig.pass(2_999);
        assert_eq!(rig.said(), "", "{dialect:?}: it knows our tip and will answer");
        rig.pass(1);
        assert_eq!(rig.said(), "1:block0", "{dialect:?}: it has not");
        rig.hear(1, chain_text(&theirs, dialect));
        rig.pass(10_000);
        assert_eq!(rig.said(), "", "{dialect:?}");
        let ahead = other_chain(dialect, 9);
        rig.hear(1, block_text(&ahead, dialect, 9));
        assert_eq!(rig.said(), "1:block6", "{dialect:?}: another tip is told at once");
    }
}

/// A chain that is higher and lighter: both ends would wait for the other for ever.
#[test]
fn a_peer_that_is_higher_and_lighter_gets_our_chain() {
    let dialect = Dialect::Jenny;
    // Blocks of ten days each lower the difficulty, those of one moment raise it.
    let (mut slow, mut rig) = (toy::books(), Rig::new());
    let day = 86_400_000;
    for nth in 0..43 {
        let taken = toy::mine_note(&mut slow, "slow", super::rig::WALL.after(nth * day)).unwrap();
        drop(taken);
    }
    rig.now = 44 * day;
    for _ in 0..41 {
        let taken = mine(&mut rig.books, dialect, 1, super::rig::WALL.after(rig.now));
        rig.step(Input::Mined(taken));
    }
    assert!(rig.books.notes().work() > slow.notes().work());
    rig.peer(1, dialect);
    rig.hear(1, block_text(&slow, dialect, 43));
    assert_eq!(rig.said(), "1:block41");
    rig.hear(1, chain_text(&slow, dialect));
    assert_eq!(rig.said(), "1:question");
    rig.hear(1, block_text(&slow, dialect, 43));
    assert_eq!(rig.said(), "1:chain41");
    rig.hear(1, chain_text(&slow, dialect));
    assert_eq!(rig.said(), "", "asked once");
}

#[test]
fn after_a_fault_nothing_is_looked_at() {
    let mut rig = Rig::new();
    (1..=2).for_each(|id| rig.peer(id, Dialect::Ingchain));
    rig.holds_tasks = true;
    rig.hear(1, question(Dialect::Ingchain));
    let seen = Seen::Chain { top: None, taken: Err(ChainError::Corrupt { what: "a test" }) };
    rig.step(Input::Done(Done(What::Looked { peer: PeerId(1), seen })));
    assert!(rig.events.iter().any(|event| matches!(event, Event::Fault(_))));
    rig.tasks.clear();
    rig.hear(2, question(Dialect::Ingchain));
    rig.mine(Dialect::Ingchain);
    assert!(rig.tasks.is_empty());
    assert_eq!(rig.gossip.tip(Ledger::Coin).height().get(), 2);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    /// Peers that speak as the originals do, each with its own chain and in any order, bring the node to the best of
    /// their chains, and nobody is thrown out.
    #[test]
    fn prop_original_peers_bring_the_best_chain(
        lens in proptest::collection::vec(0_u64..6, 1..4),
        own in 0_u64..4,
        said in proptest::collection::vec((0_usize..4, 0_usize..8), 0..20),
        is_jenny in proptest::bool::ANY,
    ) {
        let dialect = if is_jenny { Dialect::Jenny } else { Dialect::Ingchain };
        let chains: Vec<_> = lens.iter().zip(10..).map(|(len, who)| {
            let mut books = toy::books();
            (0..*len).for_each(|_| drop(mine(&mut books, dialect, who, super::rig::WALL)));
            books
        }).collect();
        let mut rig = Rig::new();
        rig.grow(dialect, own);
        for id in 0..chains.len() {
            let remote = std::net::SocketAddr::from(([192, 0, 2, 9], 1000));
            rig.open(id as u64, dialect, Way::Accepted, remote);
        }
        let said = said.into_iter().map(|(who, at)| (who % chains.len(), at));
        // In the end each shows its tip once more, as it would after mining.
        let last = (0..chains.len()).map(|who| (who, usize::MAX));
        for (who, at) in said.chain(last) {
            let len = usize::try_from(lens[who]).unwrap();
            rig.hear(who as u64, block_text(&chains[who], dialect, at.min(len)));
            for _ in 0..3 {
                for (to, frame) in std::mem::take(&mut rig.sent) {
                    let to = usize::try_from(to).unwrap();
                    let text = frame.as_text().unwrap();
                    // A question gets the tip; a block that does not fit gets the chain, as long as there is one.
                    if text == question(dialect) {
                        rig.hear(to as u64, block_text(&chains[to], dialect, usize::try_from(lens[to]).unwrap()));
                    } else if text.starts_with(r#"{"type":1"#) || text.starts_with(r#"{"type":"allBlock"#) {
                        rig.hear(to as u64, chain_text(&chains[to], dialect));
                    }
                }
            }
            rig.pass(3_000);
        }
        let best = lens.iter().copied().max().unwrap_or(0).max(own);
        let genesis = u64::from(dialect == Dialect::Ingchain);
        proptest::prop_assert_eq!(rig.height(dialect), best + genesis);
        proptest::prop_assert!(rig.closed.is_empty());
    }

    /// Whatever a peer says that is no block, row or chain, the tip stays and no peer but that one is closed.
    #[test]
    fn prop_junk_changes_nothing(texts in proptest::collection::vec(".{0,60}", 0..20), is_jenny in proptest::bool::ANY) {
        let dialect = if is_jenny { Dialect::Jenny } else { Dialect::Ingchain };
        let mut rig = Rig::new();
        rig.grow(dialect, 2);
        (1..=2).for_each(|id| rig.peer(id, dialect));
        let height = rig.height(dialect);
        texts.into_iter().for_each(|text| rig.hear(1, text));
        proptest::prop_assert_eq!(rig.height(dialect), height);
        proptest::prop_assert!(rig.closed.iter().all(|(id, _)| *id == 1));
        proptest::prop_assert!(rig.sent.iter().all(|(id, _)| *id == 1));
    }
}
