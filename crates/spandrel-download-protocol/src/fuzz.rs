//! Entries for the fuzzer: nothing here may panic, whatever the bytes. Each also checks a law of what it reads.

use std::sync::Arc;

use serde_json::value::RawValue;

use crate::{
    Column, ColumnType, Defaults, DownloadId, DownloadRequest, Limits, Lookup, Schema, Timestamp, UtcOffset,
    canonical_json, client_data::read, pair_of, parse_filter_text, parse_message, parse_server_message,
    read_pair, read_server_pair,
};

fn columns() -> Vec<Column> {
    let mut columns: Vec<Column> =
        [ColumnType::String, ColumnType::Int, ColumnType::Decimal, ColumnType::Float, ColumnType::Bool]
            .into_iter()
            .map(|kind| Column::new(kind.as_str(), kind))
            .collect();
    columns.push(Column::timestamp("timestamp", 3));
    columns
}

/// Envelopes of both sides, and the data of every client event.
pub fn fuzz_message(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let limits = Limits::default();
    let _ = parse_server_message(text, &limits);
    let Ok(message) = parse_message(text, &limits) else { return };
    let _ = message.known_event();
    let _ = crate::JobRef::parse(message.data, &limits);
    let _ = crate::StatusCheck::parse(message.data, &limits);
    let _ = crate::Health::parse(message.data, &limits);
    let _ = DownloadRequest::parse(message.data, &limits);
    assert!(read(message.data, &limits).is_ok(), "data of a good envelope is good JSON");
}

/// Lines between a process and its parent, read by both sides; and what was read, written and read again.
pub fn fuzz_pair(data: &[u8]) {
    let (line, limits) = (String::from_utf8_lossy(data), Limits::default());
    if let Ok(message) = read_pair(&line, &limits) {
        assert!(message.data.get().starts_with('{'), "data is an object");
    }
    let _ = read_server_pair(&line, &limits);
    let _ = pair_of(&line);
}

/// Requests: what is read is read again from its own text, and resolving never panics.
pub fn fuzz_request(data: &[u8]) {
    let limits = Limits::default();
    let Ok(request) = DownloadRequest::from_body(data, &limits) else { return };
    let text = serde_json::to_string(&request).expect("requests are plain data");
    let again = DownloadRequest::from_body(text.as_bytes(), &limits);
    assert!(again.is_ok_and(|again| again == request), "a request reads back: {text}");
    let time = columns().len() - 1;
    let Some(schema) = Schema::new(columns(), time).map(Arc::new) else { return };
    let find = |_: Option<&str>| Lookup::Found { name: "data".into(), schema: schema.clone() };
    let _ = request.resolve(&find, &Defaults::default());
}

/// Times, offsets and ids: what is read prints to something that reads the same.
pub fn fuzz_time(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = UtcOffset::parse(text);
    let _ = DownloadId::parse(text);
    let Ok(time) = Timestamp::parse(text) else { return };
    let printed = time.to_rfc3339(9);
    // An offset may carry the year out of what can be read.
    if let Ok(again) = Timestamp::parse(&printed) {
        assert_eq!(again, time, "{printed}");
    }
}

/// Filters as people type them; those accepted are one JSON value.
pub fn fuzz_filter_text(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(filter) = parse_filter_text(text, &columns()) {
        assert!(canonical_json(filter.as_json()).is_some(), "{}", filter.as_json());
    }
}

/// Canonical text is a fixed point, and JSON.
pub fn fuzz_canonical(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Some(once) = canonical_json(text) {
        assert!(serde_json::from_str::<&RawValue>(&once).is_ok(), "{once}");
        assert_eq!(canonical_json(&once).as_deref(), Some(once.as_str()));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    const ALL: [fn(&[u8]); 5] = [
        super::fuzz_message,
        super::fuzz_request,
        super::fuzz_time,
        super::fuzz_filter_text,
        super::fuzz_canonical,
    ];

    /// Texts worth damaging: every line of the data files.
    fn seeds() -> Vec<&'static str> {
        let files = [
            include_str!("../tests/data/envelopes.json"),
            include_str!("../tests/data/requests.json"),
            include_str!("../tests/data/filters.json"),
            include_str!("../tests/data/times.json"),
        ];
        files.iter().flat_map(|file| file.lines()).map(|line| line.trim().trim_end_matches(',')).collect()
    }

    #[test]
    fn seeds_pass() {
        for seed in seeds() {
            ALL.iter().for_each(|target| target(seed.as_bytes()));
        }
    }

    proptest! {
        /// Damaged seeds break no law.
        #[test]
        fn prop_damaged_seeds_pass(
            pick: prop::sample::Index, cut: prop::sample::Index, len in 0_usize..30, put in prop::collection::vec(any::<u8>(), 0..6),
        ) {
            let seeds = seeds();
            let mut text = pick.get(&seeds).as_bytes().to_vec();
            let at = cut.index(text.len() + 1);
            let end = (at + len).min(text.len());
            text.splice(at..end, put);
            ALL.iter().for_each(|target| target(&text));
        }

        /// So do arbitrary bytes.
        #[test]
        fn prop_any_bytes_pass(data in prop::collection::vec(any::<u8>(), 0..200)) {
            ALL.iter().for_each(|target| target(&data));
        }
    }
}
