//! What frames and waiting cost in memory, and that nothing is looked at twice.

use super::*;

fn codec() -> (WsCodec, OutBuf) {
    (WsCodec::new(Role::Server, &Limits::default()), OutBuf::new())
}

fn is_inside(buffer: &std::ops::Range<*const u8>, data: &[u8]) -> bool {
    buffer.contains(&data.as_ptr())
}

#[test]
fn small_messages_do_not_keep_the_read_buffer() {
    let (mut codec, mut out) = codec();
    let mut src = BytesMut::from(&[masked(0x82, &[7; 512]), masked(0x82, &[7; 513])].concat()[..]);
    let buffer = src.as_ptr_range();
    let small = codec.decode(&mut src, false, &mut out).unwrap().unwrap();
    assert!(!is_inside(&buffer, small.data()));
    let larger = codec.decode(&mut src, false, &mut out).unwrap().unwrap();
    assert!(is_inside(&buffer, larger.data()), "not copied");
}

#[test]
fn large_messages_are_not_copied_and_have_their_buffer_alone() {
    let (mut codec, mut out) = codec();
    let mut src = BytesMut::from(&[masked(0x82, &[7; 60_000]), masked(0x81, b"behind")].concat()[..]);
    let buffer = src.as_ptr_range();
    let large = codec.decode(&mut src, false, &mut out).unwrap().unwrap();
    assert!(large.data()[..] == [7; 60_000]);
    assert!(is_inside(&buffer, large.data()), "not copied");
    assert!(large.data().is_unique(), "what came behind it holds a buffer of its own");
    assert!(!is_inside(&buffer, &src));
    assert_eq!(codec.decode(&mut src, false, &mut out), Ok(Some(Frame::text("behind"))));
}

#[test]
fn nothing_is_allocated_for_bytes_only_announced() {
    let (mut codec, mut out) = codec();
    for first in [0x82, 0x02] {
        let mut src =
            BytesMut::from(&[&[first, 0xFF, 0, 0, 0, 0, 0, 0x0F, 0, 0][..], &[1, 2, 3, 4]].concat()[..]);
        let capacity = src.capacity();
        assert_eq!(codec.decode(&mut src, false, &mut out), Ok(None));
        assert!(src.capacity() <= capacity);
        assert!(codec.read_hint() <= 64 << 10, "room for one read");
        assert!(codec.is_mid_frame());
        codec = WsCodec::new(Role::Server, &Limits::default());
    }
}

#[test]
fn every_payload_byte_is_unmasked_once_where_it_lies() {
    let payload: Vec<u8> = (0..50_000_u32).map(|n| n.to_be_bytes()[3]).collect();
    let wire = masked(0x82, &payload);
    let (head, masked) = wire.split_at(wire.len() - payload.len());
    let (mut codec, mut out) = codec();
    let mut src = BytesMut::from(head);
    assert_eq!(codec.decode(&mut src, false, &mut out), Ok(None));
    for (n, piece) in masked.chunks(999).enumerate() {
        src.extend_from_slice(piece);
        let frame = codec.decode(&mut src, false, &mut out).unwrap();
        let came = (n * 999 + piece.len()).min(payload.len());
        match frame {
            Some(frame) => assert!(came == payload.len() && frame.data()[..] == payload[..]),
            None => {
                assert!(src[..] == payload[..came], "after {came} bytes");
                let missing = payload.len() - came;
                let hint = if missing <= 8 << 10 { 8 << 10 } else { missing.min(48 << 10) + (16 << 10) };
                assert_eq!(codec.read_hint(), hint, "{missing} are missing");
            }
        }
    }
    assert!(src.is_empty());
}

#[test]
fn parts_move_out_of_the_read_buffer_as_they_come() {
    let (mut codec, mut out) = codec();
    let part = masked(0x02, &[7; 3000]);
    let mut src = BytesMut::from(&part[..1000]);
    assert_eq!(codec.decode(&mut src, false, &mut out), Ok(None));
    assert!(src.is_empty() && codec.is_mid_frame());
    assert_eq!(codec.read_hint(), 8 << 10, "they need not lie together in it");
}

#[test]
fn a_codec_that_waits_is_small() {
    // Everything else it could hold is a message under way.
    assert!(size_of::<WsCodec>() <= 256, "{} bytes", size_of::<WsCodec>());
}
