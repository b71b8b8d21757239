//! A bridge inside a program that talks to a board itself: the parent's channel is made in memory.
//!
//! `cargo run -p spandrel-bridge-service --example embedded [PORT]`, then open a page that looks for a bridge. Without a
//! port it takes the usual one; Ctrl-C ends it.

use spandrel_bridge_service::{Config, DEFAULT_PORT, Service, spandrel_transport_ipc::Parent};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port = match std::env::args().nth(1) {
        Some(port) => port.parse()?,
        None => DEFAULT_PORT,
    };
    let config = Config::default().with_port(port);
    let (here, there) = tokio::io::duplex(64 << 10);
    let parent = Parent::over(there, &config.limits.of_parent());
    let (service, handle) = Service::new(config, parent);
    let running = tokio::spawn(service.run());
    let (lines, mut tell) = tokio::io::split(here);
    tell.write_all(b"{\"key\":\"open\"}\n{\"key\":\"addRoomId\",\"value\":\"demo\"}\n").await?;

    // What a board would measure.
    tokio::spawn(async move {
        let mut every = tokio::time::interval(std::time::Duration::from_millis(100));
        for n in 0_u64.. {
            every.tick().await;
            let line = format!("{{\"key\":\"send\",\"value\":{{\"A0\":{}}}}}\n", n % 1024);
            if tell.write_all(line.as_bytes()).await.is_err() {
                break;
            }
        }
    });
    // What pages say to the board.
    tokio::spawn(async move {
        let mut lines = BufReader::new(lines).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            eprintln!("bridge: {line}");
        }
    });

    if let Some(address) = handle.listening().await {
        eprintln!("pages of this machine reach it at http://{address}/");
    }
    tokio::signal::ctrl_c().await?;
    handle.stop();
    running.await?;
    Ok(())
}
