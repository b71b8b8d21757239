//! Messages of both dialects: what is understood, ignored, refused, and what each refusal costs.

use spandrel_chain_protocol::{
    CoinBlock, CoinMessage, FormError, Ignored, Limits, NoteBlock, NoteMessage, Transaction,
};

#[derive(Debug, PartialEq, Eq)]
enum Cost {
    Stream,
    Points,
    Nothing,
}

fn cost(error: &FormError) -> Cost {
    match (error.is_json(), error.is_shape()) {
        (false, _) => Cost::Stream,
        (true, true) => Cost::Points,
        (true, false) => Cost::Nothing,
    }
}

fn note(text: &str) -> Result<NoteMessage, Cost> {
    NoteMessage::from_json(text, &Limits::default()).map_err(|e| cost(&e))
}

fn coin(text: &str) -> Result<CoinMessage, Cost> {
    CoinMessage::from_json(text, &Limits::default()).map_err(|e| cost(&e))
}

fn json(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("JSON is text")
}

#[test]
fn note_messages_are_three_numbers() {
    let block = json(NoteBlock::genesis().to_json());
    let all = || NoteMessage::AllBlock(Box::new(NoteBlock::genesis()));
    let chain = || NoteMessage::ReceivedChain(vec![NoteBlock::genesis()]);
    for (text, want) in [
        (NoteMessage::LATEST_BLOCK.to_owned(), Ok(NoteMessage::LatestBlock)),
        (r#"{"type":0}"#.to_owned(), Ok(NoteMessage::LatestBlock)),
        (r#"{"type":0,"payload":[null,{"x":1}],"more":1}"#.to_owned(), Ok(NoteMessage::LatestBlock)),
        (format!(r#"{{"type":1,"payload":[{block}]}}"#), Ok(all())),
        (format!(r#" {{ "payload" : [ {block} ] , "type" : 1 }} "#), Ok(all())),
        (format!(r#"{{"type":2,"payload":[{block}]}}"#), Ok(chain())),
        (format!(r#"{{"payload":[{block}],"type":2}}"#), Ok(chain())),
        (String::new(), Err(Cost::Stream)),
        ("{".into(), Err(Cost::Stream)),
        (format!(r#"{{"type":1,"payload":[{block}]}} {{}}"#), Err(Cost::Stream)),
        ("null".into(), Err(Cost::Points)),
        ("5".into(), Err(Cost::Points)),
        ("[]".into(), Err(Cost::Points)),
        ("{}".into(), Err(Cost::Points)),
        (r#"{"payload":{}}"#.into(), Err(Cost::Points)),
        (r#"{"type":1}"#.into(), Err(Cost::Points)),
        (r#"{"type":2}"#.into(), Err(Cost::Points)),
        (r#"{"type":1,"payload":{}}"#.into(), Err(Cost::Points)),
        (r#"{"type":1,"payload":[]}"#.into(), Err(Cost::Points)),
        (r#"{"type":1,"payload":[null]}"#.into(), Err(Cost::Points)),
        (format!(r#"{{"type":1,"payload":{block}}}"#), Err(Cost::Points)),
        (format!(r#"{{"type":1,"payload":[{block},{block}]}}"#), Err(Cost::Points)),
        (r#"{"type":2,"payload":[]}"#.into(), Err(Cost::Points)),
        (r#"{"type":2,"payload":[{}]}"#.into(), Err(Cost::Points)),
        (r#"{"type":2,"payload":"x"}"#.into(), Err(Cost::Points)),
        (r#"{"type":3,"payload":{}}"#.into(), Err(Cost::Points)),
        (r#"{"type":-1}"#.into(), Err(Cost::Points)),
        (r#"{"type":1e400}"#.into(), Err(Cost::Points)),
        (r#"{"type":"0","payload":{}}"#.into(), Err(Cost::Points)),
        (r#"{"type":0,"type":0}"#.into(), Err(Cost::Points)),
        (r#"{"__proto__":{"type":0}}"#.into(), Err(Cost::Points)),
        (format!(r#"{{"payload":[{block}],"type":1,"payload":[{block}]}}"#), Err(Cost::Points)),
        (format!(r#"{{"type":1,"payload":[{block}],"payload":[{block}]}}"#), Err(Cost::Points)),
        (r#"{"payload":{},"payload":{},"type":0}"#.into(), Err(Cost::Points)),
        (
            format!(r#"{{"type":1,"payload":[{}]}}"#, block.replace(r#""height":0"#, r#""height":-1"#)),
            Err(Cost::Nothing),
        ),
    ] {
        assert_eq!(note(&text), want, "{text}");
    }
}

#[test]
fn coin_messages_are_four_names() {
    let block = json(CoinBlock::genesis().to_json());
    let account = "b9615d90684bb5b2ca5f859ab0f0b704075871aa".parse().unwrap();
    let row = Transaction::coinbase(CoinBlock::genesis().header.height, account);
    let row_text = json(row.to_json());
    let ignored = |why| Ok(CoinMessage::Ignored(why));
    for (text, want) in [
        (CoinMessage::LATEST_BLOCK.to_owned(), Ok(CoinMessage::LatestBlock)),
        (r#"{"type":"latestBlock"}"#.into(), Ok(CoinMessage::LatestBlock)),
        (r#"{"type":"latest\u0042lock","payload":5}"#.into(), Ok(CoinMessage::LatestBlock)),
        (
            format!(r#"{{"type":"allBlock","payload":{block}}}"#),
            Ok(CoinMessage::AllBlock(Box::new(CoinBlock::genesis()))),
        ),
        (
            format!(r#"{{"payload":[{block},{block}],"type":"receivedChain"}}"#),
            Ok(CoinMessage::ReceivedChain(vec![CoinBlock::genesis(), CoinBlock::genesis()])),
        ),
        (
            format!(r#"{{"type":"receivedTransaction","payload":{row_text}}}"#),
            Ok(CoinMessage::ReceivedTransaction(Box::new(row.clone()))),
        ),
        (r#"{"type":"constructor","payload":{}}"#.into(), ignored(Ignored::UnknownType)),
        (r#"{"type":"latestblock"}"#.into(), ignored(Ignored::UnknownType)),
        (r#"{"type":0,"payload":{}}"#.into(), ignored(Ignored::UnknownType)),
        (r#"{"type":null}"#.into(), ignored(Ignored::UnknownType)),
        (
            r#"{"payload":{"type":"latestBlock"},"type":["latestBlock"]}"#.into(),
            ignored(Ignored::UnknownType),
        ),
        (format!(r#"{{"type":"allBlock","payload":[{block}]}}"#), ignored(Ignored::List)),
        (r#"{"type":"receivedTransaction","payload":[]}"#.into(), ignored(Ignored::List)),
        (format!(r#"{{"type":"receivedChain","payload":{block}}}"#), ignored(Ignored::NoList)),
        (r#"{"type":"receivedChain","payload":null}"#.into(), ignored(Ignored::NoList)),
        (r#"{"type":"receivedChain"}"#.into(), ignored(Ignored::NoList)),
        (format!(r#"{{"type":"receivedChain","payload":[{block}]}}"#), ignored(Ignored::OneBlock)),
        (r#"{"type":"receivedChain","payload":[]}"#.into(), Err(Cost::Points)),
        (r#"{"type":"receivedChain","payload":[{},{}]}"#.into(), Err(Cost::Points)),
        ("{}".into(), Err(Cost::Points)),
        (r#"{"payload":{}}"#.into(), Err(Cost::Points)),
        (r#"{"type":"allBlock"}"#.into(), Err(Cost::Points)),
        (r#"{"type":"allBlock","payload":null}"#.into(), Err(Cost::Points)),
        (r#"{"type":"allBlock","payload":5}"#.into(), Err(Cost::Points)),
        (r#"{"type":"allBlock","payload":{}}"#.into(), Err(Cost::Points)),
        (r#"{"type":"receivedTransaction"}"#.into(), Err(Cost::Points)),
        (r#"{"type":"receivedTransaction","payload":{}}"#.into(), Err(Cost::Points)),
        (format!(r#"{{"type":"receivedTransaction","payload":{block}}}"#), Err(Cost::Points)),
        (format!(r#"{{"type":"allBlock","payload":{row_text}}}"#), Err(Cost::Points)),
        (
            format!(r#"{{"type":"receivedTransaction","payload":{}}}"#, row_text.replace(":50", ":\"50\"")),
            Err(Cost::Points),
        ),
        (
            format!(r#"{{"type":"receivedTransaction","payload":{}}}"#, row_text.replace(":50", ":-50")),
            Err(Cost::Nothing),
        ),
        (
            format!(r#"{{"type":"receivedTransaction","payload":{}}}"#, row_text.replace("b9615d", "")),
            Err(Cost::Nothing),
        ),
        (r#"{"type":}"#.into(), Err(Cost::Stream)),
        ("hello?".into(), Err(Cost::Stream)),
        (format!(r#"{{"a":{}1{}}}"#, "[".repeat(32), "]".repeat(32)), Err(Cost::Stream)),
    ] {
        assert_eq!(coin(&text), want, "{text}");
    }
}

#[test]
fn what_is_written_is_understood() {
    let note_block = NoteBlock::genesis();
    for message in [
        NoteMessage::LatestBlock,
        NoteMessage::AllBlock(Box::new(note_block.clone())),
        NoteMessage::ReceivedChain(vec![note_block.clone(), note_block]),
    ] {
        assert_eq!(note(&json(message.to_json())), Ok(message));
    }
    let block = CoinBlock::genesis();
    let row = Transaction::coinbase(
        block.header.height,
        "b9615d90684bb5b2ca5f859ab0f0b704075871aa".parse().unwrap(),
    );
    for message in [
        CoinMessage::LatestBlock,
        CoinMessage::AllBlock(Box::new(block.clone())),
        CoinMessage::ReceivedChain(vec![block.clone(), block]),
        CoinMessage::ReceivedTransaction(Box::new(row)),
    ] {
        assert_eq!(coin(&json(message.to_json())), Ok(message));
    }
}

#[test]
fn unknown_members_go_on_and_are_not_hashed() {
    let block = json(NoteBlock::genesis().to_json());
    let more = block.replace(r#","data":["#, r#", "seen":{"by": ["a"]},"data":["#);
    let read = NoteBlock::from_json(&more, &Limits::default()).unwrap();
    let plain = NoteBlock::genesis();
    assert_eq!(read.compute_hash(), plain.compute_hash());
    assert_ne!(read, plain, "they are part of the value all the same");
    assert_eq!(json(read.to_json()), format!("{},\"seen\":{{\"by\":[\"a\"]}}}}", &block[..block.len() - 1]));
    assert_eq!(read.json_len(), plain.json_len() + r#","seen":{"by":["a"]}"#.len());
}
