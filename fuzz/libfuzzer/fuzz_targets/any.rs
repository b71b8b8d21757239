//! Every target of the table, chosen by `SPANDREL_TARGET`.
#![no_main]

use std::sync::OnceLock;

static RUN: OnceLock<fn(&[u8])> = OnceLock::new();

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let run = RUN.get_or_init(|| {
        let name = std::env::var("SPANDREL_TARGET").expect("SPANDREL_TARGET names a target");
        spandrel_fuzz::target(&name).expect("a name from the table in fuzz/src/lib.rs")
    });
    run(data);
});
