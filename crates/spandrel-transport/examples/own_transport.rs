//! A transport supplied by a user: length framing over pipes in memory, under a scheme of its own, held to the contract by
//! the conformance suite.
//!
//! Run: `cargo run -p spandrel-transport --example own_transport`

use std::{
    io::Write,
    task::{Context, Poll, ready},
};

use spandrel_transport::{
    AcceptError, BoxFuture, DialError, Driver, Endpoint, Incoming, Limits, Link, ListenError, Listener, Peer,
    Transport, conformance,
};
use spandrel_wire::LengthCodec;
use tokio::{
    io::{DuplexStream, duplex},
    sync::{Mutex, mpsc},
};

/// `pipe:` has one door; a real transport would look at the rest of the endpoint.
#[derive(Default)]
struct Pipes {
    door: Mutex<Option<mpsc::Sender<DuplexStream>>>,
}

fn link(stream: DuplexStream) -> Box<dyn Link> {
    let limits = Limits::default();
    Box::new(Driver::new(stream, LengthCodec::new(&limits), Peer::new("pipe"), &limits))
}

impl Transport for Pipes {
    fn scheme(&self) -> &'static str {
        "pipe"
    }

    fn dial<'a>(&'a self, to: &'a Endpoint) -> BoxFuture<'a, Result<Box<dyn Link>, DialError>> {
        Box::pin(async move {
            let refused = || DialError::Unsupported { endpoint: to.to_string() };
            let (here, there) = duplex(64 << 10);
            let door = self.door.lock().await.clone().ok_or_else(refused)?;
            door.send(there).await.map_err(|_| refused())?;
            Ok(link(here))
        })
    }

    fn listen<'a>(&'a self, at: &'a Endpoint) -> BoxFuture<'a, Result<Box<dyn Listener>, ListenError>> {
        Box::pin(async move {
            let (door, arrivals) = mpsc::channel(64);
            *self.door.lock().await = Some(door);
            Ok(Box::new(Door { at: at.clone(), arrivals }) as Box<dyn Listener>)
        })
    }
}

struct Door {
    at: Endpoint,
    arrivals: mpsc::Receiver<DuplexStream>,
}

impl Listener for Door {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming, AcceptError>> {
        let stream = ready!(self.arrivals.poll_recv(cx)).ok_or(AcceptError::Closed)?;
        Poll::Ready(Ok(Incoming::new(None, async { Ok(link(stream)) })))
    }

    fn local(&self) -> &Endpoint {
        &self.at
    }
}

#[cfg_attr(test, tokio::test)]
#[cfg_attr(not(test), tokio::main(flavor = "current_thread"))]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut subject = conformance::Subject::new(Pipes::default(), "pipe:any".parse()?, Limits::default());
    subject.has_pings = false;
    conformance::all(&subject).await;
    writeln!(std::io::stdout(), "{subject:?} keeps the contract")?;
    Ok(())
}
