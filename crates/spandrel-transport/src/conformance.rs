//! The contract of [`Link`](crate::Link) as tests, one generic function per row, for every transport.
