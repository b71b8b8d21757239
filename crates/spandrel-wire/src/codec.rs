//! The contract between byte streams and frames, and the codecs that need nothing else.

mod json;
mod length;
mod lines;

use bytes::BytesMut;

use crate::{Close, Frame, OutBuf, WireError};
pub use json::JsonCodec;
pub use length::{Hello, LengthCodec};
pub use lines::{LinesCodec, LongLines};

/// Bytes in, frames out; frames in, bytes out. No I/O, no clock.
///
/// # Contract
///
/// 1. [`decode`](Self::decode) gives the same frames however the bytes were split.
/// 2. It refuses a frame over the limits before it holds it whole, and allocates nothing for bytes only announced.
/// 3. After an error, or once [`closed`](Self::closed) says something, `decode` is not called for frames any more.
/// 4. It may leave bytes in `src` or take them all; what it takes it owns.
pub trait Codec: Send {
    /// Takes the next frame from `src`. `Ok(None)` means: more bytes are needed, or the peer has closed, or (with
    /// `eof`) the stream ended in good order.
    ///
    /// May write answers (pong, close) to `out`. With `eof` no more bytes will come.
    ///
    /// # Errors
    ///
    /// Any [`WireError`]; the stream position is lost.
    fn decode(&mut self, src: &mut BytesMut, eof: bool, out: &mut OutBuf)
    -> Result<Option<Frame>, WireError>;

    /// Writes a frame: small ones are copied, large ones queued for a vectored write.
    ///
    /// # Errors
    ///
    /// When the frame is over the limit, not for this wire, or comes after the goodbye. Nothing is written then.
    fn encode(&mut self, frame: Frame, out: &mut OutBuf) -> Result<(), WireError>;

    /// Says goodbye in the words of the wire, if it has any. The second call writes nothing.
    fn close(&mut self, why: &Close, out: &mut OutBuf) {
        let _ = (why, out);
    }

    /// Writes a ping of up to 125 bytes. `Ok(false)` when the wire has no pings.
    ///
    /// # Errors
    ///
    /// When the payload is too long or comes after the goodbye.
    fn ping(&mut self, payload: &[u8], out: &mut OutBuf) -> Result<bool, WireError> {
        let _ = (payload, out);
        Ok(false)
    }

    /// Returns the peer's goodbye once it was read.
    fn closed(&self) -> Option<&Close> {
        None
    }

    /// Does a peer on this wire say goodbye, so that closing waits for it?
    fn has_goodbye(&self) -> bool {
        false
    }

    /// Returns how many bytes to make room for before the next read: those missing from the frame under way, capped.
    fn read_hint(&self) -> usize {
        8 << 10
    }

    /// Has the codec taken the start of a frame whose end has not come? Bytes still in `src` do not count.
    fn is_mid_frame(&self) -> bool {
        false
    }

    /// Counts everything the peer finished saying, control frames and parts of messages included: signs of life.
    fn activity(&self) -> u64;

    /// Counts the frames that were dropped for being over the limit, where the wire can go on after one.
    fn dropped(&self) -> u64 {
        0
    }

    /// May frames be joined into one write? Off only where the peer cannot read two in one chunk.
    fn coalesce(&self) -> bool {
        true
    }

    /// Gives memory back before a long wait.
    fn shrink(&mut self) {}
}

/// Bytes a codec asks room for: what is missing, at least one page and at most 64 KiB.
pub(crate) fn capped_hint(missing: usize) -> usize {
    missing.clamp(4 << 10, 64 << 10)
}

#[cfg(test)]
mod tests;
