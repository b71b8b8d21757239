//! Bodies of fuzz targets: plain functions that must never panic, whatever the bytes.

use bytes::BytesMut;
use spandrel_transport::{Close, Codec, Frame, Limits, WireError};
use spandrel_wire::OutBuf;

use crate::{Role, WsCodec};

/// What a codec made of a stream: frames, the error or goodbye that ended it, the frames counted.
type Outcome = (Vec<Frame>, Option<WireError>, Option<Close>, u64);

fn run<'a>(role: Role, chunks: impl Iterator<Item = &'a [u8]>) -> Outcome {
    let mut limits = Limits::default().with_frame_bytes_max(4096);
    limits.fragments_max = 8;
    let mut codec = WsCodec::new(role, &limits);
    let (mut src, mut out, mut frames) = (BytesMut::new(), OutBuf::new(), Vec::new());
    let mut error = None;
    for (chunk, eof) in chunks.map(|c| (c, false)).chain(std::iter::once((&[][..], true))) {
        src.extend_from_slice(chunk);
        loop {
            match codec.decode(&mut src, eof, &mut out) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(e) => {
                    codec.close(&e.close(), &mut out);
                    error = Some(e);
                    break;
                }
            }
        }
        if error.is_some() || codec.closed().is_some() {
            break;
        }
    }
    (frames, error, codec.closed().cloned(), codec.activity())
}

/// Frames of any bytes, in both roles: split anywhere they give the same.
pub fn fuzz_ws_frame(data: &[u8]) {
    for role in [Role::Server, Role::Client] {
        let (frames, error, closed, _) = run(role, std::iter::once(data));
        let (split_frames, split_error, split_closed, _) = run(role, data.chunks(1));
        assert_eq!(
            (frames, error, closed),
            (split_frames, split_error, split_closed),
            "splitting changed the frames"
        );
    }
}

/// Any bytes as the head of an upgrade request and of its answer.
pub fn fuzz_ws_handshake(data: &[u8]) {
    let limits = Limits::default();
    let _ = crate::handshake::parse_request(data, &limits);
    let _ = crate::handshake::parse_response(data, &limits);
}
