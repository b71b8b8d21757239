//! The in-memory transport keeps the contract.

use spandrel_transport::{Limits, MemTransport, conformance::Subject};

fn subject() -> Subject {
    let limits = Limits::default().with_frame_bytes_max(100_000);
    let mut subject =
        Subject::new(MemTransport::with_limits(limits.clone()), "mem:x".parse().expect("works"), limits);
    subject.connections = 1000;
    subject
}

spandrel_transport::conformance_tests!(subject());
