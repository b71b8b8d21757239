//! Frames, codecs, limits and times shared by every transport: bytes in, frames out, no I/O.
