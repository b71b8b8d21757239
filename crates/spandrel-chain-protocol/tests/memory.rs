//! A document never becomes a large multiple of its text in memory: the worst texts there are. Alone in its binary, so
//! that no other test's memory is counted.

use peak_alloc::PeakAlloc;
use spandrel_chain_protocol::{CoinMessage, Limits, NoteMessage};

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// Bytes of memory at the worst moment for each byte of text.
fn factor(text: &str, read: impl Fn(&str)) -> f64 {
    HEAP.reset_peak_usage();
    let before = HEAP.current_usage();
    read(text);
    let most = u32::try_from(HEAP.peak_usage() - before).expect("far below");
    f64::from(most) / f64::from(u32::try_from(text.len()).expect("far below"))
}

fn repeated(item: &str, bytes: usize) -> String {
    vec![item; bytes / (item.len() + 1)].join(",")
}

/// One test, so that nothing else allocates meanwhile.
#[test]
fn worst_texts_stay_small() {
    const BYTES: usize = 2 << 20;
    let zero = "0".repeat(64);
    let head = format!(
        r#""version":"","height":1,"timestamp":1,"previousHash":"{zero}","merkleRoot":"{zero}","nonce":1,"difficulty":0,"hash":"{zero}""#
    );
    let row = |inputs: &str, outputs: &str| {
        format!(r#"{{"txIns":[{inputs}],"txOuts":[{outputs}],"hash":"{zero}"}}"#)
    };
    let input = format!(r#"{{"txOutIndex":1,"txOutId":"{zero}"}}"#);
    let output = format!(r#"{{"account":"{}","amount":1}}"#, "a".repeat(40));
    let chain = |block: &str| format!(r#"{{"type":"receivedChain","payload":[{}]}}"#, repeated(block, BYTES));
    let block = |data: &str| format!(r#"{{{head},"data":{data}}}"#);
    let members: Vec<String> = (0..BYTES / 12).map(|at| format!("\"{at:x}\":1")).collect();
    for (name, text) in [
        (
            "one block of empty notes",
            format!(r#"{{"type":1,"payload":[{}]}}"#, block(&format!("[{}]", repeated("\"\"", BYTES)))),
        ),
        ("blocks of nothing", format!(r#"{{"type":2,"payload":[{}]}}"#, repeated(&block("[]"), BYTES))),
        ("coin blocks of nothing", chain(&block("[]"))),
        ("rows of nothing", chain(&block(&format!("[{}]", repeated(&row("", ""), 100_000))))),
        (
            "coinbases",
            chain(&block(&format!("[{}]", repeated(&row("{\"txOutIndex\":1}", &output), 100_000)))),
        ),
        ("inputs", chain(&block(&format!("[{}]", row(&repeated(&input, 100_000), ""))))),
        (
            "inputs of nothing",
            chain(&block(&format!("[{}]", row(&repeated("{\"txOutIndex\":1}", 100_000), "")))),
        ),
        ("outputs", chain(&block(&format!("[{}]", row("", &repeated(&output, 100_000)))))),
        (
            "unknown members",
            format!(r#"{{"type":"receivedTransaction","payload":{{{}}}}}"#, members.join(",")),
        ),
        (
            "an unknown member",
            format!(r#"{{"type":"receivedTransaction","payload":{{"x":[{}]}}}}"#, repeated("0", BYTES)),
        ),
        ("an ignored payload", format!(r#"{{"type":"x","payload":[{}]}}"#, repeated("[]", BYTES))),
    ] {
        let limits = Limits::default();
        let note = factor(&text, |text| drop(NoteMessage::from_json(text, &limits)));
        let coin = factor(&text, |text| drop(CoinMessage::from_json(text, &limits)));
        eprintln!("{name}: {note:.2} {coin:.2}");
        assert!(note < 4.0 && coin < 4.0, "{name}: {note:.1} and {coin:.1} bytes of memory a byte of text");
    }
}
