//! Entries for the fuzzer.

pub mod toy;
