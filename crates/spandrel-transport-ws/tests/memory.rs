//! What an idle connection inside TLS holds. Alone in its binary, so that no other test's memory is counted.

#![cfg(target_os = "linux")]

use std::future::poll_fn;

use spandrel_transport::{Connection, Frame, Security, TlsClient, TlsServer, Transport};
use spandrel_transport_ws::WsTransport;

/// Bound for one end, in KiB; both ends are in this process.
const KIB_MAX: usize = 48;
const CONNECTIONS: usize = 300;

fn resident_kib() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").expect("linux counts pages");
    text.split(' ').nth(1).and_then(|n| n.parse::<usize>().ok()).expect("a number") * 4
}

async fn pass(from: &mut Connection, to: &mut Connection) {
    let frame = Frame::text("x".repeat(100_000));
    let (sent, got) = tokio::join!(from.send(frame.clone()), to.recv());
    sent.expect("sends");
    assert!(got.expect("receives") == Some(frame), "a frame came out changed");
}

#[tokio::test]
async fn an_idle_connection_inside_tls_is_small() {
    let server = TlsServer::self_signed(["127.0.0.1"]).unwrap();
    let client = TlsClient::with_fingerprint(server.fingerprint()).unwrap();
    let transport =
        WsTransport::new().with_security(Security::none().with_server(server).with_client(client));
    let mut listener = transport.listen(&"wss://127.0.0.1:0/".parse().unwrap()).await.unwrap();
    let to = listener.local().clone();
    let (mut open, mut before) = (Vec::new(), 0);
    for n in 0..=CONNECTIONS {
        let accept = async { poll_fn(|cx| listener.poll_accept(cx)).await.unwrap().accept().await };
        let (here, there) = tokio::join!(transport.dial(&to), accept);
        let (mut here, mut there) = (Connection::new(here.unwrap()), Connection::new(there.unwrap()));
        // Both have received something large, and wait.
        pass(&mut here, &mut there).await;
        pass(&mut there, &mut here).await;
        for end in [&mut here, &mut there] {
            let waiting = tokio::time::timeout(std::time::Duration::from_millis(1), end.recv()).await;
            assert!(waiting.is_err(), "nothing was sent and {waiting:?} came");
        }
        open.push((here, there));
        if n == 0 {
            before = resident_kib();
        }
    }
    let each = (resident_kib() - before) / (2 * CONNECTIONS);
    assert!(each <= KIB_MAX, "one idle end holds {each} KiB, at most {KIB_MAX} may be");
    println!("one idle end holds {each} KiB");
}
