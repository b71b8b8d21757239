//! Entries for the fuzzer: nothing here may panic, whatever the bytes. Each also checks a law of what it reads.

use crate::{Block, CoinMessage, Coins, Limits, NoteMessage, Notes, Payload, Receipt, Transaction};

fn again<P: Payload>(text: &str) {
    let Ok(block) = Block::<P>::from_json(text, &Limits::default()) else { return };
    let written = block.to_json();
    assert_eq!(written.len(), block.json_len(), "the count is the length of the text");
    let written = std::str::from_utf8(&written).expect("JSON is text");
    let back = Block::<P>::from_json(written, &Limits::default()).expect("what is written is read");
    assert_eq!(back, block, "and is the same");
    let _ = (block.compute_hash(), block.data.merkle_root());
}

/// A block of either ledger: what is read is written and read again.
pub fn fuzz_block(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    again::<Notes>(text);
    again::<Coins>(text);
}

/// A row and a receipt.
pub fn fuzz_transaction(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let limits = Limits::default();
    if let Ok(row) = Transaction::from_json(text, &limits) {
        let written = row.to_json();
        assert_eq!(written.len(), row.json_len());
        let written = std::str::from_utf8(&written).expect("JSON is text");
        assert_eq!(Transaction::from_json(written, &limits).as_ref(), Ok(&row));
        let _ = (row.compute_txid(), crate::body_commitment(&[row.clone(), row]));
    }
    if let Ok(receipt) = Receipt::from_json(text, &limits) {
        let written = receipt.to_json();
        let written = std::str::from_utf8(&written).expect("JSON is text");
        assert_eq!(Receipt::from_json(written, &limits).as_ref(), Ok(&receipt));
        let _ = receipt.id();
    }
}

/// A message of either dialect. What is refused as no JSON is refused by both, and the other way round.
pub fn fuzz_chain_message(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let limits = Limits::default();
    let (note, coin) = (NoteMessage::from_json(text, &limits), CoinMessage::from_json(text, &limits));
    let is_json = |json: Option<bool>| json.unwrap_or(true);
    assert_eq!(
        is_json(note.as_ref().err().map(crate::FormError::is_json)),
        is_json(coin.as_ref().err().map(crate::FormError::is_json)),
        "one reader decides what is JSON"
    );
    if let Ok(note) = note {
        let written = note.to_json();
        let written = std::str::from_utf8(&written).expect("JSON is text");
        assert_eq!(NoteMessage::from_json(written, &limits), Ok(note));
    }
    match coin {
        Ok(CoinMessage::Ignored(_)) | Err(_) => {}
        Ok(coin) => {
            let written = coin.to_json();
            let written = std::str::from_utf8(&written).expect("JSON is text");
            assert_eq!(CoinMessage::from_json(written, &limits), Ok(coin));
        }
    }
}
