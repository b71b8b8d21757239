//! Bridge between a hardware program and the pages of a block-coding site.

fn main() {}
