//! A WebSocket echo server, and a client that talks to it.
//!
//! Run: `cargo run -p spandrel-transport-ws --example echo`

use std::io::Write;

use spandrel_transport::{Close, Connection, Frame, Limits, Transport, serve};
use spandrel_transport_ws::WsTransport;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listener =
        WsTransport::new().with_subprotocols(["echo"]).listen(&"ws://127.0.0.1:0/".parse()?).await?;
    let address = listener.local().clone();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = tokio::spawn(serve(listener, Limits::default(), async { drop(stopped.await) }, echo));

    let mut conn = Connection::new(WsTransport::new().with_subprotocols(["echo"]).dial(&address).await?);
    for text in ["one", "two", "three"] {
        conn.feed(Frame::text(text)).await?; // all three go out in one write
    }
    let mut stdout = std::io::stdout();
    for _ in 0..3 {
        let frame = conn.recv().await?.ok_or("the server closed")?;
        writeln!(stdout, "{address} said {:?}", frame.as_text())?;
    }
    conn.close(Close::normal()).await?;
    drop(stop);
    server.await?;
    Ok(())
}

async fn echo(mut conn: Connection) {
    while let Ok(Some(frame)) = conn.recv().await {
        if conn.feed(frame).await.is_err() {
            break;
        }
    }
    let _ = conn.close(Close::normal()).await;
}
