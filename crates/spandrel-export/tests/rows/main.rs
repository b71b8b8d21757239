//! Batches to text, filters and order: listed values, foreign readers, and naive models over random batches.

#![allow(clippy::indexing_slicing, clippy::unwrap_used)]

mod golden;
mod made;
mod model;
mod readers;
