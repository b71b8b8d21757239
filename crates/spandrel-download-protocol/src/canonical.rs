//! One text for all spellings of a JSON value.

use crate::{Limits, json};

/// One text for all JSON values that are equal: members sorted by name, no white space, numbers by their value
/// (`1`, `1.0` and `10e-1` are one). `None` when the text is not I-JSON or nested too deep.
///
/// Kept beside a job, it tells whether a repeated request id comes with the same request (section 3).
pub fn canonical_json(text: &str) -> Option<String> {
    let json = json::parse(text, Limits::default().json_depth_max).ok()?;
    let mut out = String::with_capacity(text.len());
    json.write_canonical(&mut out);
    Some(out)
}

/// Whether two texts are the same JSON value, member order and spelling of numbers ignored.
pub fn same_json(a: &str, b: &str) -> bool {
    a == b || canonical_json(a).is_some_and(|a| canonical_json(b) == Some(a))
}
