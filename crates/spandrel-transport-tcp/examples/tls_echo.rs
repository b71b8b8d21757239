//! An echo server and a client in one process, once plain and once inside TLS with a certificate made on the spot.
//!
//! Run: `cargo run -p spandrel-transport-tcp --features tls --example tls_echo`

use std::io::Write as _;

use spandrel_transport::{Close, Connection, Frame, Limits, Security, TlsClient, TlsServer, Transport as _};
use spandrel_transport_tcp::TcpTransport;

async fn talk(at: &str, server: Security, client: Security) -> Result<(), Box<dyn std::error::Error>> {
    let listener = TcpTransport::new().with_security(server).listen(&at.parse()?).await?;
    let to = listener.local().clone();
    let echo = |mut conn: Connection| async move {
        while let Ok(Some(frame)) = conn.recv().await {
            let _ = conn.feed(frame).await; // goes out with the next wait in recv
        }
        let _ = conn.close(Close::normal()).await;
    };
    let server =
        tokio::spawn(spandrel_transport::serve(listener, Limits::default(), std::future::pending(), echo));

    let mut conn = Connection::new(TcpTransport::new().with_security(client).dial(&to).await?);
    conn.send(Frame::text("hello")).await?;
    let back = conn.recv().await?.ok_or("closed early")?;
    writeln!(std::io::stdout(), "{to} says {:?}, secure: {}", back.as_text(), conn.peer().is_secure)?;
    conn.close(Close::normal()).await?;
    server.abort();
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    talk("tcp://127.0.0.1:0", Security::none(), Security::none()).await?;
    let certificate = TlsServer::self_signed(["localhost"])?;
    let trust = TlsClient::with_fingerprint(certificate.fingerprint())?;
    let server = Security::none().with_server(certificate);
    talk("tcps://127.0.0.1:0", server, Security::none().with_client(trust)).await
}
