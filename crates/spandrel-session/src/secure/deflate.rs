//! Message compression: one zlib stream per message (section 2.1).

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::LayerError;

/// Shorter messages are not deflated: little is won.
pub(super) const DEFLATE_BYTES_MIN: usize = 512;

/// Appends the zlib stream of `text` to `out`; `false`, with `out` as it was, when that is not shorter than `text`.
pub(super) fn deflate(text: &[u8], out: &mut Vec<u8>, must_shrink: bool) -> bool {
    let start = out.len();
    // A stored stream is 6 bytes and 5 for every 16 KiB longer than its text.
    let most = if must_shrink { text.len().saturating_sub(1) } else { text.len() + text.len() / 1000 + 64 };
    out.reserve_exact(most);
    let mut stream = Compress::new(Compression::new(LEVEL), true);
    let done = matches!(stream.compress_vec(text, out, FlushCompress::Finish), Ok(Status::StreamEnd));
    if !done || out.len() - start > most {
        out.truncate(start);
        return false;
    }
    true
}

const LEVEL: u32 = 6;

/// Inflates exactly one zlib stream of at most `max` bytes. Never allocates more than `max` + 1 bytes for it.
pub(super) fn inflate(stream: &[u8], max: usize) -> Result<Vec<u8>, LayerError> {
    let mut state = Decompress::new(true);
    let mut out = Vec::with_capacity(stream.len().saturating_mul(4).clamp(256, CHUNK).min(max + 1));
    let mut rest = stream;
    loop {
        let (before_in, before_out) = (state.total_in(), out.len());
        let status = state.decompress_vec(rest, &mut out, FlushDecompress::None);
        let taken = usize::try_from(state.total_in() - before_in).unwrap_or(usize::MAX);
        rest = rest.get(taken..).unwrap_or_default();
        if out.len() > max {
            return Err(LayerError::TooBig { len: out.len(), max });
        }
        match status {
            Ok(Status::StreamEnd) if rest.is_empty() => return Ok(out),
            Ok(Status::Ok | Status::BufError) if out.len() == out.capacity() => {
                let more = out.len().min(max + 1 - out.len());
                out.reserve_exact(more);
            }
            Ok(Status::Ok) if taken > 0 || out.len() > before_out => {}
            _ => return Err(LayerError::Inflate),
        }
    }
}

/// First room for what comes out of a stream, at most.
const CHUNK: usize = 64 * 1024;
