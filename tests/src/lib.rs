//! Tests that cross crates: one binary, module paths as categories.
