//! Batched, object-safe message links, with an in-memory transport and a conformance suite.
