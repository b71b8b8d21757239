//! The store with the machine it keeps: reading back, reorganisations, faults at every step, loss of power anywhere.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may stop with a panic")]

mod faults;
mod journal;
mod kill;
mod model;
mod power;
mod story;
mod use_cases;
