//! JSON as the dialects use it: a strict reader over borrowed text, a writer in one form, and what neither knows.

mod extra;
mod read;
mod write;

pub use extra::Extra;
pub(crate) use extra::Unknown;
pub(crate) use read::{Reader, need, once, read_document};
pub(crate) use write::{Count, Sink, put_list};

/// Deepest nesting inside one unknown member. A block that comes alone goes on inside a chain, two brackets further in:
/// without this bound it would come in and could never be passed on.
pub const EXTRA_DEPTH_MAX: usize = 16;

/// Most unknown members of one object. None is known to have more than a few, and each costs more in memory than in text.
pub const EXTRA_MEMBERS_MAX: usize = 64;

/// Largest integer of the dialects, 2^53 - 1: the largest that JavaScript counts to.
pub const INT_MAX: u64 = (1 << 53) - 1;

#[cfg(test)]
mod tests;
