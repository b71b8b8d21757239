//! The transport keeps the contract of links, plain and inside TLS.

use spandrel_transport::{Limits, Security, TlsClient, TlsServer, conformance::Subject};
use spandrel_transport_ws::WsTransport;

fn subject(listen: &str, security: &Security) -> Subject {
    let limits = Limits::default().with_frame_bytes_max(100_000);
    let make =
        |limits: &Limits| WsTransport::new().with_limits(limits.clone()).with_security(security.clone());
    let generous = make(&limits.clone().with_frame_bytes_max(200_000));
    Subject::new(make(&limits), listen.parse().expect("works"), limits).with_generous(generous)
}

fn secured() -> Security {
    let server = TlsServer::self_signed(["127.0.0.1"]).expect("works");
    let client = TlsClient::with_ca_bytes(server.certificate_pem().as_bytes()).expect("works");
    Security::none().with_server(server).with_client(client)
}

mod plain {
    spandrel_transport::conformance_tests!(super::subject("ws://127.0.0.1:0/x", &super::Security::none()));
}

mod tls {
    spandrel_transport::conformance_tests!(super::subject("wss://127.0.0.1:0/x", &super::secured()));
}
