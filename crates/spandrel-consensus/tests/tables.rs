//! Chains that every program of the family takes, and blocks that every careful one refuses.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test fails where it is wrong")]

mod common;

use common::{Branch, Ledger, State, coin_chain, note_chain};
use serde_json::Value;
use spandrel_chain_protocol::{
    Block, CoinBlock, Coins, FormError, Limits, NoteBlock, Payload, Receipt, SignatureText, WallMillis,
};
use spandrel_consensus::{
    BlockError, RowError, Rules, SecpVerifier, SignatureCheck, Verdict, Verifier, check_coin_block,
    check_note_block, check_of, supply_at,
};

/// The name of a rule, as the tables have it.
fn rule(error: &BlockError) -> String {
    let first = |text: String| text.split([' ', '{']).next().unwrap_or_default().to_owned();
    match error {
        BlockError::Row { why, .. } => format!("Row {}", first(format!("{why:?}"))),
        other => first(format!("{other:?}")),
    }
}

fn read<P: Payload>(case: &Value) -> Result<Block<P>, FormError> {
    Block::from_json(&case["block"].to_string(), &Limits::default())
}

#[test]
fn every_block_of_the_table_is_refused_for_its_reason() {
    let cases: Vec<Value> = serde_json::from_str(include_str!("data/refused_blocks.json")).unwrap();
    assert_eq!(cases.len(), 44);
    for case in cases {
        let now = WallMillis::new(case["now"].as_u64().unwrap());
        let below = case["below"].as_u64().unwrap();
        let refused = if case["ledger"] == "note" {
            let branch = Branch {
                blocks: note_chain().into_iter().filter(|b| b.header.height.get() <= below).collect(),
            };
            read::<spandrel_chain_protocol::Notes>(&case)
                .map(|block| check_note_block(&block, &branch, now, Rules::default()))
        } else {
            let (branch, state) = replay(below);
            read::<Coins>(&case).map(|block| {
                let before = state.clone();
                let checked = check_coin_block(&block, &branch, &state, now, Rules::default(), &SecpVerifier);
                assert_eq!(state, before);
                checked.map(drop)
            })
        };
        let got = match refused {
            Err(form) => {
                assert!(form.is_json(), "{case}");
                "form".to_owned()
            }
            Ok(Err(error)) => rule(&error),
            Ok(Ok(())) => "nothing".to_owned(),
        };
        assert_eq!(got, case["rule"].as_str().unwrap(), "{}: {}", case["ledger"], case["name"]);
    }
}

/// The chain of the table up to a height, and the state there.
fn replay(height: u64) -> (Branch<Coins>, State) {
    let (mut branch, mut state) = (Branch { blocks: vec![CoinBlock::genesis()] }, State::default());
    for block in coin_chain().into_iter().skip(1).filter(|block| block.header.height.get() <= height) {
        let now = block.header.timestamp;
        let delta = check_coin_block(&block, &branch, &state, now, Rules::default(), &SecpVerifier)
            .unwrap_or_else(|e| panic!("height {}: {e}", block.header.height));
        state.apply(&delta);
        assert_eq!(state.sum(), supply_at(block.header.height), "supply at {}", block.header.height);
        branch.blocks.push(block);
    }
    (branch, state)
}

#[test]
fn the_chains_of_the_tables_are_valid() {
    let mut branch = Branch { blocks: vec![NoteBlock::genesis()] };
    for block in note_chain().into_iter().skip(1) {
        let now = block.header.timestamp;
        assert_eq!(check_note_block(&block, &branch, now, Rules::default()), Ok(()));
        branch.blocks.push(block);
    }
    let (_, state) = replay(u64::MAX);
    let want: Value = serde_json::from_str(include_str!("data/state_after_chain.json")).unwrap();
    for (account, balance) in want["balances"].as_object().unwrap() {
        let held: u64 = state.coins_of(account.parse().unwrap()).iter().map(|(_, amount)| amount.get()).sum();
        assert_eq!(Some(held), balance.as_u64(), "{account}");
    }
    let mut unspent: Vec<String> = want["unspent"].as_array().unwrap().iter().map(Value::to_string).collect();
    let mut got: Vec<String> = state
        .unspent
        .iter()
        .flat_map(|(txid, unspent)| {
            unspent.iter().map(move |coin| {
                serde_json::json!({"txOutId": txid.to_string(), "txOutIndex": coin.index.get(),
                    "account": coin.account.to_string(), "amount": coin.amount.get()})
                .to_string()
            })
        })
        .collect();
    unspent.sort();
    got.sort();
    assert_eq!(got, unspent);
}

fn verdict(receipt: &Receipt, verifier: &dyn Verifier) -> Result<(), RowError> {
    let check = check_of(receipt)?;
    if receipt.amount.get() == 0 {
        return Err(RowError::ZeroAmount { at: 0 });
    }
    if verifier.is_valid(&check) { Ok(()) } else { Err(RowError::Signature) }
}

fn receipts_agree(verifier: &dyn Verifier) {
    let cases: Vec<Value> = serde_json::from_str(include_str!("data/receipts.json")).expect("a table");
    let (mut good, mut forms) = (0, 0);
    for case in cases {
        let valid = case["valid"].as_bool().expect("a bool");
        let Ok(mut receipt) = Receipt::from_json(&case["receipt"].to_string(), &Limits::default()) else {
            assert!(!valid, "{}", case["name"]);
            continue;
        };
        assert_eq!(verdict(&receipt, verifier).is_ok(), valid, "{}", case["name"]);
        for other in case["other_signatures"].as_array().into_iter().flatten() {
            receipt.signature = SignatureText::from_text(other.as_str().expect("a string"));
            assert_eq!(verdict(&receipt, verifier), Ok(()), "either half of s: {}", case["name"]);
            forms += 1;
        }
        good += u32::from(valid);
    }
    assert_eq!((good, forms), (10, 20));
}

/// Numbers at the edges of the curve, which no library may take.
fn edges_agree(verifier: &dyn Verifier) {
    let person = common::Person::new(1);
    let good = check_of(&person.receipt(person.account(), 5, None)).expect("well written");
    assert!(verifier.is_valid(&good));
    let order: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe, 0xba,
        0xae, 0xdc, 0xe6, 0xaf, 0x48, 0xa0, 0x3b, 0xbf, 0xd2, 0x5e, 0x8c, 0xd0, 0x36, 0x41, 0x41,
    ];
    let with = |r: Option<[u8; 32]>, s: Option<[u8; 32]>| {
        let mut check = good;
        let (own_r, own_s) = check.signature.split_at_mut(32);
        own_r.copy_from_slice(r.as_ref().map_or(&good.signature[..32], |r| r));
        own_s.copy_from_slice(s.as_ref().map_or(&good.signature[32..], |s| s));
        check
    };
    let key = |bytes: [u8; 33]| SignatureCheck {
        key: spandrel_chain_protocol::PublicKey::from_bytes(bytes),
        ..good
    };
    let mut off_curve = [0xff; 33];
    off_curve[0] = 2;
    let mut hybrid = *good.key.as_bytes();
    hybrid[0] = 6;
    let mut other_half = *good.key.as_bytes();
    other_half[0] ^= 1;
    for (name, check) in [
        ("r is zero", with(Some([0; 32]), None)),
        ("s is zero", with(None, Some([0; 32]))),
        ("both are zero", with(Some([0; 32]), Some([0; 32]))),
        ("r is the order", with(Some(order), None)),
        ("s is the order", with(None, Some(order))),
        ("r is over the order", with(Some([0xff; 32]), None)),
        ("s is over the order", with(None, Some([0xff; 32]))),
        ("key is off the curve", key(off_curve)),
        ("key is all zero", key([0; 33])),
        ("key has another head", key(hybrid)),
        ("key is the other point", key(other_half)),
        ("another message", SignatureCheck { message: [9; 32], ..good }),
    ] {
        assert!(!verifier.is_valid(&check), "{name}");
    }
    let checks = vec![good, good, with(None, Some(order)), good];
    assert_eq!(verifier.check_all(&checks), Err(2));
    assert_eq!(verifier.check_all(&checks[..2]), Ok(()));
}

#[test]
fn libsecp256k1_agrees_with_the_tables() {
    receipts_agree(&SecpVerifier);
    edges_agree(&SecpVerifier);
}

#[cfg(feature = "k256")]
#[test]
fn pure_rust_agrees_with_the_tables() {
    receipts_agree(&spandrel_consensus::PureVerifier);
    edges_agree(&spandrel_consensus::PureVerifier);
}

#[test]
fn refusals_say_what_may_be_remembered() {
    let mut ledger = Ledger::new(Rules::default());
    let miner = common::Person::new(3).account();
    ledger.push(ledger.draft(miner, vec![])).unwrap();
    let mut body = ledger.draft(miner, vec![]);
    body.data = Coins::Rows(vec![]);
    assert_eq!(ledger.check(&body).map_err(|e| e.verdict()), Err(Verdict::Body));
    let mut header = ledger.draft(miner, vec![]);
    header.header.height = header.header.height.next();
    assert_eq!(ledger.check(&header).map_err(|e| e.verdict()), Err(Verdict::Header));
    let mut early = ledger.draft(miner, vec![]);
    early.header.timestamp = ledger.branch.next_stamp().after(spandrel_consensus::FUTURE_MS_MAX + 1);
    common::mine(&mut early);
    assert_eq!(ledger.check(&early).map_err(|e| e.verdict()), Err(Verdict::NotYet));
}
