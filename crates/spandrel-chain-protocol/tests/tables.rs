//! The tables of `tests/data`: chains, hashes, roots, difficulties, receipts and streams that every program of the
//! family agrees on.

use std::fs;
use std::path::Path;

use bytes::BytesMut;
use serde_json::Value;
use spandrel_chain_protocol::{
    Account, Amount, CoinBlock, CoinMessage, Difficulty, Height, Ledger, Limits, NoteBlock, Payload, Receipt,
    Stamp, Transaction, TxIn, WallMillis, body_commitment, committed_version, expected_difficulty,
    is_ambiguous_leaf, merkle_root_of_texts, version_for,
};
use spandrel_wire::{Codec, JsonCodec, OutBuf};

fn text(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn table(name: &str) -> Vec<Value> {
    serde_json::from_str(&text(name)).expect("a table of this crate")
}

fn str_of<'a>(row: &'a Value, member: &str) -> &'a str {
    row[member].as_str().unwrap_or_else(|| panic!("{member} is a string in {row}"))
}

/// A block is its text: the same members with the same values, and the length that is counted.
fn same_text<P: Payload>(block: &spandrel_chain_protocol::Block<P>, source: &Value) {
    let written = block.to_json();
    assert_eq!(written.len(), block.json_len());
    assert_eq!(serde_json::from_slice::<Value>(&written).expect("a table of this crate"), *source);
    let names = [
        r#"{"version":"#,
        r#","height":"#,
        r#","timestamp":"#,
        r#","previousHash":"#,
        r#","merkleRoot":"#,
        r#","nonce":"#,
        r#","difficulty":"#,
        r#","hash":"#,
        r#","data":"#,
    ];
    let written = std::str::from_utf8(&written).expect("a table of this crate");
    let places: Vec<usize> =
        names.iter().map(|name| written.find(name).expect("a table of this crate")).collect();
    assert!(places.is_sorted(), "members in the family's order: {written}");
}

#[test]
fn note_chain_hashes_to_itself() {
    let blocks = NoteBlock::list_from_json(&text("note_chain.json"), &Limits::default()).unwrap();
    assert_eq!(blocks[0], NoteBlock::genesis());
    assert_ne!(blocks[0].compute_hash(), blocks[0].header.hash, "the first hash follows from nothing");
    for (block, source) in blocks.iter().zip(table("note_chain.json")) {
        same_text(block, &source);
        assert_eq!(block.data.merkle_root(), Some(block.header.merkle_root));
    }
    for pair in blocks.windows(2) {
        assert_eq!(pair[1].compute_hash(), pair[1].header.hash, "{}", pair[1].header.height);
        assert_eq!(pair[1].header.previous_hash, pair[0].header.hash);
        assert!(pair[1].header.hash.meets(pair[1].header.difficulty));
    }
    assert_eq!(blocks.len(), 26);
}

#[test]
fn coin_chain_hashes_to_itself() {
    let blocks = CoinBlock::list_from_json(&text("coin_chain.json"), &Limits::default()).unwrap();
    assert_eq!(blocks[0], CoinBlock::genesis());
    let mut transfers = 0;
    for (block, source) in blocks.iter().zip(table("coin_chain.json")) {
        same_text(block, &source);
        assert_eq!(block.data.merkle_root(), Some(block.header.merkle_root));
        assert_eq!(block.compute_hash(), block.header.hash);
        let rows = block.data.rows();
        if !rows.is_empty() {
            assert_eq!(block.header.version, version_for(rows));
        }
        for (at, row) in rows.iter().enumerate() {
            assert_eq!(row.compute_txid(), row.txid);
            assert_eq!(row.is_coinbase(), at == 0);
            if at == 0 {
                let made = Transaction::coinbase(block.header.height, row.outputs[0].account);
                assert_eq!(*row, made, "the coinbase is what we would make");
            } else {
                let receipt = row.receipt.as_ref().unwrap();
                assert_eq!(Some(&receipt.signature), row.inputs[0].signature.as_ref());
                assert_eq!(receipt.account, receipt.public_key.account());
                transfers += 1;
            }
        }
    }
    assert_eq!(transfers, 3);
}

#[test]
fn identifiers_leave_out_what_is_spent() {
    let rows: Vec<(String, Transaction)> = table("rows.json")
        .iter()
        .map(|row| {
            let text = row["row"].to_string();
            (str_of(row, "name").to_owned(), Transaction::from_json(&text, &Limits::default()).unwrap())
        })
        .collect();
    for (name, row) in &rows {
        assert_eq!(row.compute_txid(), row.txid, "{name}");
    }
    let [.., (_, one), (why, other), _] = rows.as_slice() else { panic!("five rows") };
    assert!(why.starts_with("SAME"), "{why}");
    assert_eq!((one.txid, one.inputs == other.inputs), (other.txid, false));
    assert_ne!(body_commitment(std::slice::from_ref(one)), body_commitment(std::slice::from_ref(other)));
}

#[test]
fn the_commitment_of_a_coinbase_is_over_its_five_parts() {
    let account: Account = "b9615d90684bb5b2ca5f859ab0f0b704075871aa".parse().unwrap();
    let row = Transaction::coinbase(Height::new(2).unwrap(), account);
    let text = format!("{}|:2:||", row.txid);
    let want = committed_version(std::slice::from_ref(&row));
    let hash = <sha2::Sha256 as sha2::Digest>::digest(text.as_bytes());
    let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(want, format!("1.0.0+{hash}"));
    assert_eq!(version_for(&[row]).as_str(), "1.0.0", "alone it needs none");
}

#[test]
fn merkle_roots_of_the_table() {
    for case in table("merkle.json") {
        let leaves: Vec<&str> =
            case["leaves"].as_array().unwrap().iter().map(|l| l.as_str().unwrap()).collect();
        let root = merkle_root_of_texts(leaves.iter().copied()).unwrap();
        assert_eq!(root.to_string(), str_of(&case, "root"), "{leaves:?}");
        for (leaf, raw) in leaves.iter().zip(case["taken_as_hash"].as_array().unwrap()) {
            assert_eq!(is_ambiguous_leaf(leaf), raw.as_bool().unwrap(), "{leaf}");
        }
    }
    assert_eq!(merkle_root_of_texts([]), None);
}

#[test]
fn difficulties_of_the_table() {
    for case in table("difficulty.json") {
        let number = |member: &str| case[member].as_u64().unwrap();
        let ledger = if str_of(&case, "ledger") == "note" { Ledger::Note } else { Ledger::Coin };
        let stamp_at = |height: u64| WallMillis::new(number("start_ms") + height * number("gap_ms"));
        let (first, mut known) = (number("first_height"), Vec::new());
        for run in case["runs"].as_array().unwrap() {
            for _ in 0..run[1].as_u64().unwrap() {
                let height = first + known.len() as u64;
                let ancestor = |at: Height| {
                    let difficulty = *known.get(usize::try_from(at.get().checked_sub(first)?).unwrap())?;
                    Some(Stamp { timestamp: stamp_at(at.get()), difficulty })
                };
                let got =
                    expected_difficulty(ledger, Height::new(height).unwrap(), stamp_at(height), ancestor);
                let want = Difficulty::new(u8::try_from(run[0].as_u64().unwrap()).unwrap());
                assert_eq!(got, Some(want), "{case}: height {height}");
                known.push(want);
            }
        }
        assert!(known.len() > 60);
    }
}

#[test]
fn receipts_of_the_table_have_their_names() {
    let mut named = 0;
    for case in table("receipts.json") {
        let read = Receipt::from_json(&case["receipt"].to_string(), &Limits::default());
        if let Some(id) = case["id"].as_str() {
            let receipt = read.unwrap();
            assert_eq!(receipt.id().to_string(), id);
            let written: Value = serde_json::from_slice(&receipt.to_json()).unwrap();
            assert_eq!(written, case["receipt"]);
            named += 1;
        } else if let Err(error) = read {
            // What already has no place in a type is a bad value, not another shape.
            assert!(error.is_json() && !error.is_shape(), "{case}: {error}");
        }
    }
    assert_eq!(named, 10);
}

#[test]
fn a_receipt_becomes_a_row_with_change() {
    let case = &table("receipts.json")[6];
    let receipt = Receipt::from_json(&case["receipt"].to_string(), &Limits::default()).unwrap();
    assert_eq!(receipt.amount.get(), 50);
    let coins = |amounts: &[u64]| -> Vec<_> {
        let txid = receipt.id().to_string().parse().unwrap();
        let point = |at: usize| spandrel_chain_protocol::OutPoint {
            txid,
            index: spandrel_chain_protocol::OutputIndex::new(at as u64).unwrap(),
        };
        amounts.iter().enumerate().map(|(at, n)| (point(at), Amount::new(*n).unwrap())).collect()
    };
    for (name, held, want) in [
        ("exact", &[50][..], Some(vec![50])),
        ("change", &[30, 45], Some(vec![50, 25])),
        ("too little", &[49], None),
        ("nothing", &[], None),
        ("over what can be counted", &[(1 << 53) - 1, 1], None),
    ] {
        let row = Transaction::pay(receipt.clone(), &coins(held));
        let amounts = row.as_ref().map(|row| row.outputs.iter().map(|o| o.amount.get()).collect::<Vec<_>>());
        assert_eq!(amounts, want, "{name}");
        if let Some(row) = row {
            assert_eq!(row.txid, row.compute_txid());
            assert!(
                row.inputs
                    .iter()
                    .all(|TxIn { signature, .. }| signature.as_ref() == Some(&receipt.signature))
            );
            assert!(row.outputs.get(1).is_none_or(|change| change.account == receipt.account));
        }
    }
}

#[test]
fn streams_of_the_table_fall_into_their_documents() {
    for case in table("frames.json") {
        let mut limits = spandrel_wire::Limits::default().with_frame_bytes_max(32 << 20);
        limits.depth_max = 32;
        let (mut codec, mut src, mut out) =
            (JsonCodec::new(&limits).objects_only(), BytesMut::new(), OutBuf::new());
        let (mut texts, mut breaks) = (Vec::new(), false);
        'chunks: for chunk in case["chunks"].as_array().unwrap() {
            let hex = chunk.as_str().unwrap();
            src.extend(
                (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap()),
            );
            loop {
                match codec.decode(&mut src, false, &mut out) {
                    Ok(Some(frame)) => {
                        let text = frame.as_text().unwrap().to_owned();
                        let read = CoinMessage::from_json(&text, &Limits::default());
                        breaks |= read.is_err_and(|error| !error.is_json());
                        texts.push(text);
                    }
                    Ok(None) => break,
                    Err(_) => {
                        breaks = true;
                        break 'chunks;
                    }
                }
            }
        }
        let name = str_of(&case, "name");
        assert_eq!(breaks, case["breaks"].as_bool().unwrap(), "{name}");
        let want: Vec<Value> = case["texts"]
            .as_array()
            .unwrap()
            .iter()
            .map(|t| serde_json::from_str(t.as_str().unwrap()).unwrap())
            .collect();
        let got: Vec<Value> = texts.iter().map(|t| serde_json::from_str(t).unwrap()).collect();
        // What came before junk in the same chunk may be delivered or not.
        assert!(got == want || breaks && want.is_empty(), "{name}: {got:?}");
    }
}

#[test]
fn items_are_kept_as_they_came() {
    use spandrel_chain_protocol::Notes;
    for items in [vec![], vec![""], vec!["", "a", "", "블록", "🙂"]] {
        let notes = Notes::new(&items);
        assert_eq!(notes.iter().collect::<Vec<_>>(), items);
        assert_eq!((notes.len(), notes.is_empty()), (items.len(), items.is_empty()));
    }
}

#[test]
fn an_input_that_spends_nothing_stands_alone() {
    let id = "ab".repeat(32);
    let (bare, full) = (r#"{"txOutIndex":1}"#, format!(r#"{{"txOutIndex":1,"txOutId":"{id}"}}"#));
    for (name, inputs, ok) in [
        ("none", String::new(), true),
        ("a coinbase", bare.to_owned(), true),
        ("two that spend", format!("{full},{full}"), true),
        ("two that do not", format!("{bare},{bare}"), false),
        ("one of two", format!("{full},{bare}"), false),
        ("the first of three", format!("{bare},{full},{full}"), false),
    ] {
        let text = format!(r#"{{"txIns":[{inputs}],"txOuts":[],"hash":"{id}"}}"#);
        let read = Transaction::from_json(&text, &Limits::default());
        assert_eq!(read.is_ok(), ok, "{name}");
        assert!(read.is_ok() || read.is_err_and(|e| e.is_json() && !e.is_shape()), "{name}: costs nothing");
    }
}
