//! Bodies of fuzz targets: plain functions that must never panic, whatever the bytes.

use bytes::BytesMut;

use crate::{
    Codec, Endpoint, Frame, Hello, JsonCodec, LengthCodec, Limits, LinesCodec, LongLines, OutBuf, WireError,
};

fn limits() -> Limits {
    let mut limits = Limits::default().with_frame_bytes_max(4096);
    limits.depth_max = 32;
    limits
}

/// Feeds `data` whole and byte by byte; both must give the same frames and the same end.
pub fn split_agrees<C: Codec>(make: impl Fn() -> C, data: &[u8]) {
    let whole = run(&mut make(), std::iter::once(data));
    let bytes = run(&mut make(), data.chunks(1));
    assert_eq!(whole, bytes, "splitting the bytes changed the frames");
}

/// Decodes chunks to the end of the stream; returns the frames and the error, if any.
pub fn run<'a, C: Codec>(
    codec: &mut C,
    chunks: impl Iterator<Item = &'a [u8]>,
) -> (Vec<Frame>, Option<WireError>) {
    let (mut src, mut out, mut frames) = (BytesMut::new(), OutBuf::new(), Vec::new());
    for (chunk, eof) in chunks.map(|c| (c, false)).chain(std::iter::once((&[][..], true))) {
        src.extend_from_slice(chunk);
        loop {
            match codec.decode(&mut src, eof, &mut out) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(e) => return (frames, Some(e)),
            }
        }
        if codec.closed().is_some() {
            break;
        }
    }
    (frames, None)
}

/// Length framing of any bytes.
pub fn fuzz_tcp_frame(data: &[u8]) {
    split_agrees(|| LengthCodec::new(&limits()), data);
    let mut codec = LengthCodec::new(&limits());
    if let Ok(Some(hello)) = codec.decode_hello(&mut BytesMut::from(data)) {
        let again = Hello::parse(&hello.to_string());
        assert_eq!(again.names, hello.names);
    }
}

/// Concatenated JSON of any bytes.
pub fn fuzz_json_stream(data: &[u8]) {
    split_agrees(|| JsonCodec::new(&limits()), data);
    split_agrees(|| JsonCodec::new(&limits()).objects_only(), data);
}

/// JSON lines of any bytes, with long ones refused and passed over.
pub fn fuzz_json_lines(data: &[u8]) {
    split_agrees(|| LinesCodec::new(&limits()), data);
    fuzz_long_lines(data);
}

/// Lines of which most are over the limit: passed over, they leave the others as they are, however the bytes are cut.
pub fn fuzz_long_lines(data: &[u8]) {
    const MAX: usize = 5;
    let limits = Limits::default().with_frame_bytes_max(MAX).with_long_lines(LongLines::Skip);
    let bare = |line: &'_ [u8]| line.strip_suffix(b"\r").unwrap_or(line).to_vec();
    let lines: Vec<_> = data.split(|byte| *byte == b'\n').map(bare).filter(|line| !line.is_empty()).collect();
    let long = lines.iter().filter(|line| line.len() > MAX).count();
    for chunk in [1, 3, data.len().max(1)] {
        let mut codec = LinesCodec::new(&limits);
        let (frames, end) = run(&mut codec, data.chunks(chunk));
        assert_eq!(end, None, "a long line ended the link");
        assert!(frames.iter().map(Frame::data).eq(lines.iter().filter(|line| line.len() <= MAX)));
        assert_eq!((codec.dropped(), codec.activity()), (long as u64, lines.len() as u64), "counted wrong");
    }
}

/// Endpoint of any text.
pub fn fuzz_endpoint(data: &[u8]) {
    if let Ok(endpoint) = String::from_utf8_lossy(data).parse::<Endpoint>() {
        assert_eq!(endpoint.to_string().parse(), Ok(endpoint));
    }
}
