//! Bodies of fuzz targets: plain functions that must never panic, whatever the bytes.

/// Lines of a Node parent; whole or byte by byte they must give the same frames.
#[cfg(unix)]
pub fn fuzz_node_lines(data: &[u8]) {
    let limits = spandrel_transport::Limits::default().with_frame_bytes_max(4096);
    spandrel_wire::fuzz::split_agrees(|| crate::NodeCodec::new(&limits), data);
}
