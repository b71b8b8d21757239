//! A bad line between a client and the server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What happens to what the server sends on each connection.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Fault {
    None,
    /// The connection breaks after so many bytes.
    CutAfter(usize),
    /// Nothing more comes after so many bytes.
    StallAfter(usize),
    /// The byte at this place is another.
    FlipAt(usize),
}

pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    bytes_down: Arc<AtomicU64>,
}

impl Proxy {
    pub(crate) async fn start(to: SocketAddr, fault: Fault) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let bytes_down = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&bytes_down);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, to, fault, Arc::clone(&count)));
            }
        });
        Self { address, bytes_down }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Bytes the server sent through it.
    pub(crate) fn bytes_down(&self) -> u64 {
        self.bytes_down.load(Ordering::Relaxed)
    }
}

async fn carry(client: TcpStream, to: SocketAddr, fault: Fault, count: Arc<AtomicU64>) {
    let Ok(server) = TcpStream::connect(to).await else { return };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let up = tokio::spawn(async move {
        let _ = tokio::io::copy(&mut from_client, &mut to_server).await;
    });
    let (mut done, mut buffer) = (0, vec![0; 16 << 10]);
    loop {
        let room = match fault {
            Fault::CutAfter(most) | Fault::StallAfter(most) => buffer.len().min(most - done),
            _ => buffer.len(),
        };
        if room == 0 {
            if matches!(fault, Fault::StallAfter(_)) {
                let _ = up.await; // until the client goes
            }
            return;
        }
        let Ok(n @ 1..) = from_server.read(&mut buffer[..room]).await else { return };
        if let Fault::FlipAt(at) = fault
            && (done..done + n).contains(&at)
        {
            buffer[at - done] ^= 1;
        }
        done += n;
        count.fetch_add(n as u64, Ordering::Relaxed);
        if to_client.write_all(&buffer[..n]).await.is_err() {
            return;
        }
    }
}
