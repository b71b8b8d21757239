//! The WebSocket transport keeps the contract of links.

use spandrel_transport::{Limits, conformance::Subject};
use spandrel_transport_ws::WsTransport;

fn subject() -> Subject {
    let limits = Limits::default().with_frame_bytes_max(100_000);
    let listen = "ws://127.0.0.1:0/x".parse().expect("works");
    let generous = WsTransport::new().with_limits(limits.clone().with_frame_bytes_max(200_000));
    let transport = WsTransport::new().with_limits(limits.clone());
    Subject::new(transport, listen, limits).with_generous(generous)
}

spandrel_transport::conformance_tests!(subject());
