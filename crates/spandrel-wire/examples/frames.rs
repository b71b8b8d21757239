//! Three frames through length framing, fed byte by byte: what a driver does, without any I/O.
//!
//! Run: `cargo run -p spandrel-wire --example frames`

use std::io::Write;

use spandrel_wire::{BytesMut, Close, Codec, Frame, LengthCodec, Limits, OutBuf};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let limits = Limits::default();
    let (mut sender, mut wire) = (LengthCodec::new(&limits), OutBuf::new());
    sender.encode(Frame::text(r#"{"event":"status:check"}"#), &mut wire)?;
    sender.encode(Frame::binary(vec![1, 2, 3]), &mut wire)?;
    sender.close(&Close::new(Close::NORMAL, "done"), &mut wire);

    let (mut receiver, mut src, mut answers) = (LengthCodec::new(&limits), BytesMut::new(), OutBuf::new());
    let mut stdout = std::io::stdout();
    for byte in wire.to_vec() {
        src.extend_from_slice(&[byte]);
        while let Some(frame) = receiver.decode(&mut src, false, &mut answers)? {
            writeln!(stdout, "{:?} of {} bytes: {:?}", frame.kind(), frame.len(), frame.data())?;
        }
    }
    if let Some(close) = receiver.closed() {
        writeln!(stdout, "closed: {close}")?;
    }
    Ok(())
}
