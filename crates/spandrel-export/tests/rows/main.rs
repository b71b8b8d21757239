//! Batches to text, filters and order: listed values, foreign readers, and naive models over random batches.

#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod golden;
mod made;
mod model;
mod readers;
