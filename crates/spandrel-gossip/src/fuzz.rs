//! Entries for the fuzzer.
