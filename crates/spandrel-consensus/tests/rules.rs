//! Every rule is broken once, by itself, in a block whose miner made everything else fit.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test fails where it is wrong")]

mod common;

use common::{Branch, Ledger, Person, mine, point, seal};
use proptest::prelude::*;
use spandrel_chain_protocol::{
    Amount, CoinBlock, Coins, Difficulty, Limits, Nonce, NoteBlock, Notes, ReceiptNonce, SignatureText,
    Transaction, TxOut, Version, WallMillis,
};
use spandrel_consensus::{
    BlockError, RowError, Rules, SecpVerifier, SignatureCheck, Verifier, check_note_block, check_row,
    median_time, next_timestamp, supply_at,
};

/// Five blocks: four coinbases of Ann, the last of Bob.
fn ledger(rules: Rules) -> Ledger {
    let mut ledger = Ledger::new(rules);
    for miner in [ann(), ann(), ann(), ann(), bob()] {
        let block = ledger.draft(miner.account(), vec![]);
        ledger.push(block).expect("a coinbase alone");
    }
    ledger
}

fn ann() -> Person {
    Person::new(1)
}

fn bob() -> Person {
    Person::new(2)
}

fn amount(coins: u64) -> Amount {
    Amount::new(coins).expect("countable")
}

/// Ann pays Bob 30 of 50.
fn payment(ledger: &Ledger) -> Transaction {
    ann().pay(bob().account(), 30, &ledger.state.coins_of(ann().account())[..1])
}

fn rows(block: &mut CoinBlock) -> &mut Vec<Transaction> {
    let Coins::Rows(rows) = &mut block.data else { panic!("rows") };
    rows
}

type Break = Box<dyn Fn(&Ledger, &mut CoinBlock)>;

/// Name, what is broken, which rule says no.
fn broken_blocks() -> Vec<(&'static str, Break, BlockError)> {
    fn case(
        name: &'static str,
        change: impl Fn(&Ledger, &mut CoinBlock) + 'static,
        want: BlockError,
    ) -> (&'static str, Break, BlockError) {
        (name, Box::new(change), want)
    }
    fn row(
        name: &'static str,
        change: impl Fn(&Ledger, &mut Transaction) + 'static,
        why: RowError,
    ) -> (&'static str, Break, BlockError) {
        let change = move |ledger: &Ledger, block: &mut CoinBlock| {
            let row = &mut rows(block)[1];
            change(ledger, row);
            if why != RowError::Txid {
                row.txid = row.compute_txid();
            }
            seal(block);
        };
        (name, Box::new(change), BlockError::Row { at: 1, why })
    }
    let reward = spandrel_chain_protocol::REWARD;
    vec![
        case(
            "text for data",
            |_, b| {
                b.data = Coins::Text("x".into());
                seal(b);
            },
            BlockError::TextData,
        ),
        case(
            "no rows",
            |_, b| {
                b.data = Coins::Rows(vec![]);
                seal(b);
            },
            BlockError::NoData,
        ),
        case(
            "coinbase spends",
            |l, b| {
                let coin = l.state.coins_of(ann().account())[1].0;
                rows(b)[0].inputs[0].txid = Some(coin.txid);
                seal(b);
            },
            BlockError::CoinbaseInput,
        ),
        case(
            "coinbase of two inputs",
            |_, b| {
                let row = &mut rows(b)[0];
                row.inputs.push(row.inputs[0].clone());
                row.txid = row.compute_txid();
                seal(b);
            },
            BlockError::CoinbaseInput,
        ),
        case(
            "coinbase of two outputs",
            |_, b| {
                let row = &mut rows(b)[0];
                row.outputs =
                    vec![TxOut::new(bob().account(), amount(25)), TxOut::new(bob().account(), amount(25))];
                row.txid = row.compute_txid();
                seal(b);
            },
            BlockError::CoinbaseOutput { reward },
        ),
        case(
            "coinbase of no outputs",
            |_, b| {
                rows(b)[0].outputs.clear();
                seal(b);
            },
            BlockError::CoinbaseOutput { reward },
        ),
        case(
            "coinbase with another identifier",
            |_, b| {
                let id = rows(b)[1].txid;
                rows(b)[0].txid = id;
                seal(b);
            },
            BlockError::CoinbaseTxid,
        ),
        case(
            "transfer twice",
            |_, b| {
                let row = rows(b)[1].clone();
                rows(b).push(row);
                seal(b);
            },
            BlockError::RepeatedRow { at: 2 },
        ),
        case(
            "the same coin in two rows",
            |l, b| {
                let again = ann().pay(bob().account(), 31, &l.state.coins_of(ann().account())[..1]);
                rows(b).push(again);
                seal(b);
            },
            BlockError::Row { at: 2, why: RowError::MissingInput { at: 0 } },
        ),
        case(
            "the same receipt for two coins",
            |l, b| {
                // Other change, so that the identifiers differ.
                let coins = l.state.coins_of(ann().account());
                let again = ann().pay(bob().account(), 30, &coins[1..3]);
                rows(b).push(again);
                seal(b);
            },
            BlockError::Row { at: 2, why: RowError::ReceiptUsed },
        ),
        case(
            "a row before its input",
            |l, b| {
                let first = ann().pay(bob().account(), 20, &l.state.coins_of(ann().account())[1..2]);
                let second = bob().pay(ann().account(), 5, &[(point(first.txid, 0), amount(20))]);
                rows(b).extend([second, first]);
                seal(b);
            },
            BlockError::Row { at: 2, why: RowError::MissingInput { at: 0 } },
        ),
        row("no inputs", |_, r| r.inputs.clear(), RowError::NoInputs),
        row("no outputs", |_, r| r.outputs.clear(), RowError::NoOutputs),
        row("second coinbase", |_, r| r.inputs[0].txid = None, RowError::NoOutPoint { at: 0 }),
        row(
            "same input twice",
            |_, r| {
                r.inputs.push(r.inputs[0].clone());
                r.outputs[1].amount = amount(70);
            },
            RowError::RepeatedInput { at: 1 },
        ),
        row(
            "same input among many",
            |l, r| {
                let all: Vec<_> = (0..20).map(|_| r.inputs[0].clone()).collect();
                let coins = l.state.coins_of(ann().account());
                r.inputs = coins
                    .iter()
                    .map(|(at, _)| {
                        spandrel_chain_protocol::TxIn::spend(*at, all[0].signature.clone().unwrap())
                    })
                    .collect();
                r.inputs.extend(all);
            },
            RowError::RepeatedInput { at: 4 },
        ),
        row(
            "place that is not there",
            |_, r| r.inputs[0].index = spandrel_chain_protocol::OutputIndex::new(1).unwrap(),
            RowError::MissingInput { at: 0 },
        ),
        row(
            "nothing paid",
            |_, r| {
                r.outputs[0].amount = Amount::ZERO;
                r.outputs[1].amount = amount(50);
            },
            RowError::ZeroAmount { at: 0 },
        ),
        row(
            "sum over all bounds",
            |_, r| {
                r.outputs[0].amount = Amount::MAX;
                r.outputs[1].amount = Amount::MAX;
            },
            RowError::Overflow,
        ),
        row(
            "too much made",
            |_, r| r.outputs[1].amount = amount(21),
            RowError::Unbalanced { spent: amount(50), made: amount(51) },
        ),
        row(
            "too little made",
            |_, r| drop(r.outputs.pop()),
            RowError::Unbalanced { spent: amount(50), made: amount(30) },
        ),
        row(
            "another identifier",
            |l, r| r.txid = payment(l).receipt.unwrap().id().to_string().parse().unwrap(),
            RowError::Txid,
        ),
        row("no receipt", |_, r| r.receipt = None, RowError::NoReceipt),
        row(
            "account of another key",
            |_, r| r.receipt.as_mut().unwrap().account = bob().account(),
            RowError::ReceiptAccount,
        ),
        row(
            "another signature on the input",
            |_, r| {
                r.inputs[0].signature = Some(bob().receipt(bob().account(), 30, None).signature);
            },
            RowError::InputSignature { at: 0 },
        ),
        row(
            "no signature on the input",
            |_, r| r.inputs[0].signature = None,
            RowError::InputSignature { at: 0 },
        ),
        row(
            "coin of somebody else",
            |l, r| {
                let receipt = ann().receipt(bob().account(), 30, None);
                *r = Transaction::pay(receipt, &l.state.coins_of(bob().account())).unwrap();
            },
            RowError::NotOwner { at: 0 },
        ),
        row(
            "one coin of somebody else",
            |l, r| {
                let mut coins = l.state.coins_of(ann().account())[..1].to_vec();
                coins.extend(l.state.coins_of(bob().account()));
                *r = Transaction::pay(ann().receipt(bob().account(), 30, None), &coins).unwrap();
            },
            RowError::NotOwner { at: 1 },
        ),
        row(
            "pays another account",
            |_, r| r.outputs[0].account = Person::new(9).account(),
            RowError::Payment,
        ),
        row(
            "pays another amount",
            |_, r| {
                r.outputs[0].amount = amount(29);
                r.outputs[1].amount = amount(21);
            },
            RowError::Payment,
        ),
        row(
            "change to somebody else",
            |_, r| r.outputs[1].account = bob().account(),
            RowError::Change { at: 1 },
        ),
        row(
            "change in two parts",
            |_, r| {
                r.outputs[1].amount = amount(15);
                r.outputs.push(TxOut::new(ann().account(), amount(5)));
            },
            RowError::Change { at: 2 },
        ),
        row(
            "signature with a byte more",
            |_, r| {
                let longer =
                    SignatureText::from_text(&format!("{}00", r.receipt.as_ref().unwrap().signature));
                r.receipt.as_mut().unwrap().signature = longer.clone();
                r.inputs[0].signature = Some(longer);
            },
            RowError::SignatureForm,
        ),
        row(
            "signature in upper case",
            |_, r| {
                let upper = r.receipt.as_ref().unwrap().signature.to_string().to_uppercase();
                r.receipt.as_mut().unwrap().signature = SignatureText::from_text(&upper);
                r.inputs[0].signature = Some(SignatureText::from_text(&upper));
            },
            RowError::SignatureForm,
        ),
        row(
            "empty signature",
            |_, r| {
                r.receipt.as_mut().unwrap().signature = SignatureText::from_text("");
                r.inputs[0].signature = Some(SignatureText::from_text(""));
            },
            RowError::SignatureForm,
        ),
        row(
            "signed by somebody else",
            |_, r| {
                let forged = bob().receipt(bob().account(), 30, None).signature;
                r.receipt.as_mut().unwrap().signature = forged.clone();
                r.inputs[0].signature = Some(forged);
            },
            RowError::Signature,
        ),
        row(
            "another nonce than signed",
            |_, r| {
                r.receipt.as_mut().unwrap().nonce = Some(ReceiptNonce::new("n").unwrap());
            },
            RowError::Signature,
        ),
        case(
            "commitment to another body",
            |_, b| {
                let version = b.header.version.clone();
                b.data = Coins::Rows(vec![rows(b)[0].clone()]);
                b.header.version = version;
                b.header.merkle_root = spandrel_chain_protocol::Payload::merkle_root(&b.data).unwrap();
                mine(b);
            },
            BlockError::Commitment,
        ),
        case(
            "no commitment",
            |_, b| {
                b.header.version = Version::new("1.0.0").unwrap();
                mine(b);
            },
            BlockError::NoCommitment,
        ),
        case(
            "root of other data",
            |_, b| {
                b.header.merkle_root = CoinBlock::genesis().header.merkle_root;
                mine(b);
            },
            BlockError::MerkleRoot,
        ),
    ]
}

#[test]
fn every_rule_of_a_coin_block_says_no() {
    let ledger = ledger(Rules::default());
    let good = ledger.draft(bob().account(), vec![payment(&ledger)]);
    assert!(ledger.check(&good).is_ok());
    for (name, change, want) in broken_blocks() {
        let mut block = good.clone();
        change(&ledger, &mut block);
        assert_eq!(ledger.check(&block), Err(want), "{name}");
    }
}

#[test]
fn a_size_over_the_limit_is_refused_unknown_members_included() {
    let branch = Branch::notes();
    let now = branch.next_stamp();
    let empty = branch.draft(Notes::new([String::new()]), now).json_len();
    let max = spandrel_chain_protocol::BLOCK_BYTES_MAX;
    let check = |block: &NoteBlock| check_note_block(block, &branch, now, Rules::default());
    // The nonce of the draft may have another length; a letter of data is a byte.
    let mut block = branch.draft(Notes::new(["x".repeat(max - empty)]), now);
    let over = block.json_len() - max;
    block = branch.draft(Notes::new(["x".repeat(max - empty - over)]), now);
    assert_eq!((block.json_len(), check(&block)), (max, Ok(())));
    block = branch.draft(Notes::new(["x".repeat(max - empty - over + 1)]), now);
    assert_eq!(check(&block), Err(BlockError::TooLarge { len: max + 1, max }));

    let small = branch.draft(Notes::new(["x"]), now);
    let text = String::from_utf8(small.to_json()).unwrap();
    let padded = text.replacen('{', &format!("{{\"more\":\"{}\",", "y".repeat(max)), 1);
    let padded = NoteBlock::from_json(&padded, &Limits::default()).unwrap();
    assert!(matches!(check(&padded), Err(BlockError::TooLarge { .. })));
    let spaced = text.replace(':', &format!(":{}", " ".repeat(max / 10)));
    assert_eq!(
        check(&NoteBlock::from_json(&spaced, &Limits::default()).unwrap()),
        Ok(()),
        "white space is not counted"
    );
}

#[test]
fn headers_follow_their_parent() {
    let branch = Branch::notes();
    let now = branch.next_stamp();
    let good = branch.draft(Notes::new(["a"]), now);
    let check = |block: &NoteBlock| check_note_block(block, &branch, now, Rules::default());
    assert_eq!(check(&good), Ok(()));
    type Change = fn(&mut NoteBlock);
    for (name, change, want) in [
        ("height", (|b| b.header.height = b.header.height.next()) as Change, "Height"),
        ("parent", |b| b.header.previous_hash = b.header.hash, "PreviousHash"),
        ("difficulty", |b| b.header.difficulty = Difficulty::new(1), "Difficulty"),
        ("too old", |b| b.header.timestamp = WallMillis::new(1), "TooOld"),
        ("no items", |b| b.data = Notes::default(), "NoData"),
        ("ambiguous item", |b| b.data = Notes::new(["AB".repeat(32)]), "AmbiguousLeaf"),
        ("another root", |b| b.data.push("b"), "MerkleRoot"),
    ] {
        let mut block = good.clone();
        change(&mut block);
        mine(&mut block);
        let got = format!("{:?}", check(&block).unwrap_err());
        assert!(got.starts_with(want), "{name}: {got}");
    }
    let mut unmined = good.clone();
    unmined.header.nonce = Nonce::new(77).unwrap();
    assert!(matches!(check(&unmined), Err(BlockError::Hash { .. })));
    let mut lazy = good;
    lazy.header.difficulty = Difficulty::new(255);
    lazy.header.hash = lazy.compute_hash();
    let compat = check_note_block(&lazy, &branch, now, Rules::compat_unsigned());
    assert!(
        matches!(compat, Err(BlockError::ProofOfWork { .. })),
        "declared work is always required: {compat:?}"
    );
}

#[test]
fn stamps_lie_between_the_median_and_two_hours_ahead() {
    let mut branch = Branch::notes();
    let start = branch.next_stamp();
    for step in [9, 1, 8, 2, 7, 3, 6, 4, 5, 5, 5, 5] {
        let block = branch.draft(Notes::new(["a"]), start.after(step * 1000));
        branch.blocks.push(block);
    }
    assert_eq!(median_time(&branch), start.after(5000), "eleven are looked at");
    assert_eq!(next_timestamp(&branch, start), start.after(5000));
    assert_eq!(next_timestamp(&branch, start.after(9000)), start.after(9000));
    let now = start.after(5000);
    for (name, stamp, want) in [
        ("the median itself", start.after(5000), "Ok"),
        ("one before", start.after(4999), "Err(TooOld"),
        ("two hours ahead", now.after(7_200_000), "Ok"),
        ("one more", now.after(7_200_001), "Err(TooNew"),
    ] {
        let block = branch.draft(Notes::new(["a"]), stamp);
        let got = format!("{:?}", check_note_block(&block, &branch, now, Rules::default()));
        assert!(got.starts_with(want), "{name}: {got}");
    }
    let two = Branch { blocks: branch.blocks[..2].to_vec() };
    assert_eq!(median_time(&two), start.after(9000), "of two the later");
}

#[test]
fn rows_may_spend_what_the_block_made_before() {
    let mut ledger = ledger(Rules::default());
    let first = payment(&ledger);
    let second = bob().pay(Person::new(5).account(), 10, &[(point(first.txid, 0), amount(30))]);
    let back = ann().pay(bob().account(), 20, &[(point(first.txid, 1), amount(20))]);
    let block = ledger.draft(ann().account(), vec![first.clone(), second, back]);
    let before = ledger.state.clone();
    let delta = ledger.push(block).unwrap();
    assert!(!ledger.state.unspent.contains_key(&first.txid), "made and spent inside");
    assert_eq!(ledger.state.sum(), supply_at(ledger.branch.blocks.last().unwrap().header.height));
    let mut undone = ledger.state.clone();
    undone.undo(&delta);
    assert_eq!(undone, before);

    // All of it is spent, so the identifier is free again; the receipt is not.
    let coins = ledger.state.coins_of(ann().account());
    let again = ann().pay(bob().account(), 30, &coins[..1]);
    assert_eq!(again.txid, first.txid, "identifiers do not say what is spent");
    assert_eq!(
        ledger.check(&ledger.draft(bob().account(), vec![again])).unwrap_err(),
        BlockError::Row { at: 1, why: RowError::ReceiptUsed }
    );
    let receipt = ann().receipt(bob().account(), 30, Some("2"));
    let renewed = Transaction::pay(receipt, &coins[..1]).unwrap();
    assert_eq!(renewed.txid, first.txid);
    ledger.push(ledger.draft(bob().account(), vec![renewed])).unwrap();
}

#[test]
fn an_identifier_with_unspent_outputs_is_taken() {
    let mut ledger = ledger(Rules::default());
    let coins = ledger.state.coins_of(ann().account());
    ledger.push(ledger.draft(bob().account(), vec![payment(&ledger)])).unwrap();
    let twin = Transaction::pay(ann().receipt(bob().account(), 30, Some("2")), &coins[1..2]).unwrap();
    let want = BlockError::Row { at: 1, why: RowError::TxidTaken };
    assert_eq!(ledger.check(&ledger.draft(bob().account(), vec![twin])), Err(want));
    assert!(RowError::TxidTaken.is_conflict() && RowError::ReceiptUsed.is_conflict());
    assert!(!RowError::Signature.is_conflict());
}

#[test]
fn a_coinbase_identifier_can_be_taken_too() {
    // A row that spends place 8 of some row into one output of 50 has the identifier of the coinbase of height 8. Only
    // the rules without receipts let rows have that many outputs.
    let mut ledger = ledger(Rules::compat_unsigned());
    let unsigned = |from| spandrel_chain_protocol::TxIn::spend(from, SignatureText::from_text("x"));
    let coins = ledger.state.coins_of(ann().account());
    let outputs = [1, 1, 1, 1, 1, 1, 1, 143, 50].map(|n| TxOut::new(ann().account(), amount(n)));
    let spread =
        Transaction::new(coins.iter().map(|(at, _)| unsigned(*at)).collect(), outputs.to_vec(), None);
    let bobs = TxOut::new(bob().account(), amount(50));
    let twin = Transaction::new(vec![unsigned(point(spread.txid, 8))], vec![bobs], None);
    ledger.push(ledger.draft(ann().account(), vec![spread, twin.clone()])).unwrap();
    let next = ledger.draft(bob().account(), vec![]);
    assert_eq!((next.header.height.get(), next.data.rows()[0].txid), (8, twin.txid));
    assert_eq!(ledger.check(&next), Err(BlockError::CoinbaseTaken));
    ledger.push(ledger.draft(ann().account(), vec![])).expect("another miner goes on");
}

#[test]
fn compat_unsigned_leaves_out_receipts_commitment_and_table() {
    let strict = ledger(Rules::default());
    let compat = Ledger { rules: Rules::compat_unsigned(), ..strict.clone() };
    let mut row = payment(&strict);
    row.receipt = None;
    row.inputs[0].signature = Some(SignatureText::from_text("whatever"));
    let mut block = strict.draft(bob().account(), vec![row]);
    block.header.version = Version::new("0.9 of the classroom").unwrap();
    block.header.difficulty = Difficulty::new(3);
    mine(&mut block);
    assert!(matches!(strict.check(&block), Err(BlockError::Difficulty { .. })));
    assert!(compat.check(&block).is_ok());
    // What is said must be true all the same.
    block.header.version = Version::new("1.0.0+").unwrap();
    mine(&mut block);
    assert_eq!(compat.check(&block), Err(BlockError::Commitment));
    // And nobody makes coins.
    let mut greedy = payment(&strict);
    greedy.receipt = None;
    greedy.outputs[0].amount = amount(31);
    greedy.txid = greedy.compute_txid();
    let why = RowError::Unbalanced { spent: amount(50), made: amount(51) };
    assert_eq!(
        compat.check(&compat.draft(bob().account(), vec![greedy])),
        Err(BlockError::Row { at: 1, why })
    );
}

struct Never;

impl Verifier for Never {
    fn is_valid(&self, _: &SignatureCheck) -> bool {
        panic!("asked")
    }
}

#[test]
fn signatures_come_last() {
    let ledger = ledger(Rules::default());
    let now = ledger.branch.next_stamp();
    for (name, change, want) in broken_blocks() {
        if matches!(want, BlockError::Row { why: RowError::Signature, .. }) {
            continue;
        }
        let mut block = ledger.draft(bob().account(), vec![payment(&ledger)]);
        change(&ledger, &mut block);
        let got = spandrel_consensus::check_coin_block(
            &block,
            &ledger.branch,
            &ledger.state,
            now,
            Rules::default(),
            &Never,
        );
        assert_eq!(got, Err(want), "{name}: no signature is looked at before");
    }
    // A row alone hands the check out.
    let owed = check_row(&payment(&ledger), &ledger.state, Rules::default()).unwrap();
    assert!(owed.check.is_some_and(|check| SecpVerifier.is_valid(&check)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// One byte of a valid block changed: it is refused, or it is still the same block.
    #[test]
    fn prop_a_changed_byte_is_refused(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        static GOOD: std::sync::LazyLock<(Ledger, CoinBlock, Vec<u8>)> = std::sync::LazyLock::new(|| {
            let ledger = ledger(Rules::default());
            let receipt = ann().receipt(bob().account(), 7, Some("n-1"));
            let second = Transaction::pay(receipt, &ledger.state.coins_of(ann().account())[1..3]).expect("enough");
            let block = ledger.draft(bob().account(), vec![payment(&ledger), second]);
            let text = block.to_json();
            (ledger, block, text)
        });
        let (ledger, block, text) = &*GOOD;
        let mut text = text.clone();
        let at = at.index(text.len());
        text[at] = if byte < 0x80 { byte } else { text[at] ^ (1 << (byte & 7)) };
        if let Ok(changed) = std::str::from_utf8(&text)
            && let Ok(changed) = CoinBlock::from_json(changed, &Limits::default())
        {
            prop_assert!(changed == *block || ledger.check(&changed).is_err(), "byte {at} to {byte}");
        }
    }
}
