//! Connects, sends an event that asks for an acknowledgement, prints what comes.
//!
//! Run: `cargo run -p spandrel-socketio-net --example chat -- 3000`, then, as often as you like,
//! `cargo run -p spandrel-socketio-net --example client -- 3000 say '{"text":"hello"}'`. End it with Ctrl-C.

use std::{
    io::{self, Write as _},
    time::Duration,
};

use spandrel_socketio::Value;
use spandrel_socketio_net::{ClientConfig, ClientEvent, Transports, connect};
use tokio::time::timeout;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let port = args.next().and_then(|arg| arg.parse().ok()).unwrap_or(3000);
    let name = args.next().unwrap_or_else(|| "echo".to_owned());
    let value = Value::parse(args.next().unwrap_or_else(|| "true".to_owned()))?;

    let config =
        ClientConfig::new("127.0.0.1", port, Transports::PollingThenWebSocket).with_query("from", "example");
    let (socket, mut events) = connect(config).await?;
    writeln!(io::stdout(), "connected")?;

    // The event is on its way now; its answer may come before or after other events.
    let answer = timeout(Duration::from_secs(5), socket.ask(&name, &[&value]));
    tokio::spawn(async move {
        let text = match answer.await {
            Ok(Ok(ack)) => format!("acknowledged: {}", ack.arg(0).unwrap_or(Value::NULL)),
            Ok(Err(error)) => format!("not acknowledged: {error}"),
            Err(_) => "not acknowledged within 5 s".to_owned(),
        };
        let _ = writeln!(io::stdout(), "{text}"); // a closed pipe is no reason to fail
    });

    loop {
        let event = tokio::select! {
            event = events.recv() => event,
            _ = tokio::signal::ctrl_c() => {
                socket.disconnect();
                events.recv().await
            }
        };
        match event {
            Some(ClientEvent::Received(event)) => {
                let args: Vec<_> = event.args().map(|arg| arg.to_string()).collect();
                writeln!(io::stdout(), "{}: {}", event.name(), args.join(", "))?;
                socket.acknowledge(&event, &[&Value::TRUE])?;
            }
            Some(ClientEvent::Upgraded) => writeln!(io::stdout(), "now over a WebSocket")?,
            Some(ClientEvent::Closed(why)) => writeln!(io::stdout(), "closed: {why}")?,
            Some(_) => {}
            None => return Ok(()),
        }
    }
}
