//! What a server sends, as a plain function for the fuzzer: it must never panic.

use std::sync::Arc;

use serde_json::value::RawValue;
use spandrel_download_protocol::{ClientEvent, Limits, RequestId, parse_server_message, read_server_pair};
use tokio::sync::oneshot;

use crate::session::{Ask, Book, Reply};
use crate::slot::Slot;

/// Lines of a server, each bare or as `{key, value}`, to a client that has asked for a job (`r`), for the state
/// (`s`), and has lost its connection in between.
pub fn fuzz_server_messages(data: &[u8]) {
    let mut book = Book::new(4);
    let mut kept = Vec::new();
    for (id, wants_job) in [("r", true), ("s", false), ("t", true)] {
        let (Ok(id), Ok(data)) = (RequestId::parse(id), RawValue::from_string("{}".to_owned())) else {
            return;
        };
        let slot = Arc::new(Slot::default());
        kept.push(slot.clone());
        let reply = if wants_job {
            Reply::Start(oneshot::channel().0, slot)
        } else {
            Reply::State(oneshot::channel().0)
        };
        book.register(Ask::new(ClientEvent::DownloadRequest, data, id, reply));
    }
    for line in String::from_utf8_lossy(data).lines() {
        if line.is_empty() {
            book.take_up_again(crate::random::request_id);
            while let Some(id) = book.next_due() {
                let _ = book.ask(&id);
            }
        }
        let limits = Limits::default();
        if let Ok(message) = read_server_pair(line, &limits).or_else(|_| parse_server_message(line, &limits))
        {
            let _ = book.received(&message);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: &str = r#"{"event":"download:start","timestamp":0,"requestId":"r","data":{"downloadId":"dl_AAAAAAAAAAAAAAAAAAAAAA",
        "state":"generating","totalRows":1,"totalRowsExact":true,"outputFormat":"csv","compression":false,"codec":null,
        "formulaGuard":false,"timeZone":"Z","files":[],"statusUrl":"","createdAt":0}}"#;

    fn message(event: &str, id: &str, data: &str) -> String {
        format!(r#"{{"event":"{event}","timestamp":0,"requestId":"{id}","data":{data}}}"#)
    }

    proptest! {
        /// Whatever lines a server sends in whatever order, the client goes on.
        #[test]
        fn prop_never_panics_on_what_a_server_says(
            lines in prop::collection::vec(
                (0_usize..6, "[rst]", 0_usize..4, ".{0,40}").prop_map(|(what, id, code, junk)| {
                    let code = ["AUTH_EXPIRED", "RATE_LIMITED", "AUTH_REPLAYED", "SHUTTING_DOWN"].get(code).copied().unwrap_or("X");
                    let error = format!(
                        r#"{{"code":"{code}","message":"","recoverable":true,"retryAfter":5,"details":{{"serverTime":7}}}}"#
                    );
                    match what {
                        0 => START.replace(['\n'], ""),
                        1 => message("system:error", &id, &error),
                        2 => message("download:error", &id, &error),
                        3 => format!(r#"{{"key":"connection:health","value":{}}}"#, message("connection:health", &id, r#"{"kind":"ping"}"#)),
                        4 => String::new(),
                        _ => junk,
                    }
                }),
                0..12,
            )
        ) {
            fuzz_server_messages(lines.join("\n").as_bytes());
        }
    }
}
