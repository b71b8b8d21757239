//! The store with the machine it keeps: reading back, reorganisations, faults at every step, loss of power anywhere.

#![allow(missing_docs, reason = "tests")]

mod faults;
mod journal;
mod model;
mod power;
mod story;
mod use_cases;
