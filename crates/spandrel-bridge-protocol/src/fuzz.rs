//! Entry points for fuzzers: plain functions that must never panic.

use bytes::Bytes;

use crate::{FromParent, ToParent};

/// Reads a line of the parent. What it says is as much JSON as a full parser finds in it, and a value that came in goes out
/// on one line.
pub fn fuzz_parent_line(data: &[u8]) {
    let line = Bytes::copy_from_slice(data);
    let said = FromParent::decode(&line);
    let is_json =
        std::str::from_utf8(data).is_ok() && serde_json::from_slice::<serde::de::IgnoredAny>(data).is_ok();
    assert_eq!(said.is_ok(), is_json, "{said:?}");
    if let Ok(FromParent::Send(Some(value))) = said {
        let out = ToParent::Data(value).to_frame();
        assert!(!out.data().iter().any(|byte| matches!(byte, b'\n' | b'\r')));
        assert!(serde_json::from_slice::<serde::de::IgnoredAny>(out.data()).is_ok());
    }
}
