//! Requests, digests and the Python side.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// A request for all flights as uncompressed CSV.
pub(crate) fn flights() -> Value {
    all("2013-01-01T00:00:00Z", "2014-02-01T00:00:00Z")
}

/// A request for everything in a range as uncompressed CSV.
pub(crate) fn all(from: &str, to: &str) -> Value {
    json!({ "searchParams": { "timeFrom": from, "timeTo": to, "filters": [] },
            "outputFormat": "csv", "compression": false })
}

/// `request` with members of its parts replaced: keys are `outputFormat`, `searchParams.limit`, `options.codec`, …
pub(crate) fn with(mut request: Value, members: &[(&str, Value)]) -> Value {
    for (path, value) in members {
        let place = path.split('.').fold(&mut request, |at, name| &mut at[name]);
        *place = value.clone();
    }
    request
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Runs a script of `tests/readers` with an argument; what it printed is JSON.
pub(crate) fn python(python: &Path, script: &str, argument: &Value) -> Value {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("readers").join(script);
    let out = Command::new(python).arg(file).arg(argument.to_string()).output().expect("python starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(out.status.success(), "{script} {argument}:\n{}\n{}", text(&out.stdout), text(&out.stderr));
    serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{e}: {}", text(&out.stdout)))
}

/// Pseudo-random numbers from a seed (xorshift64*): a run can be repeated.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// From 0 to below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % bound
    }
}
