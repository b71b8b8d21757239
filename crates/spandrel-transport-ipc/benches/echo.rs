//! Measured in a later step.
fn main() {}
