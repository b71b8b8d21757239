//! Length framing over TCP keeps the contract.

use spandrel_transport::{Limits, TcpTransport, conformance::Subject};

fn subject() -> Subject {
    let limits = Limits::default().with_frame_bytes_max(100_000);
    let listen = "tcp://127.0.0.1:0".parse().unwrap();
    let generous = TcpTransport::new().with_limits(limits.clone().with_frame_bytes_max(200_000));
    let transport = TcpTransport::new().with_limits(limits.clone());
    let mut subject = Subject::new(transport, listen, limits).with_generous(generous);
    subject.has_pings = false;
    subject
}

spandrel_transport::conformance_tests!(subject());
