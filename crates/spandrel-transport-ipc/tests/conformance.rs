//! The wires of this crate keep the contract of links.

#![cfg(unix)]

use std::{
    io,
    sync::{Arc, Mutex},
    task::{Context, Poll, ready},
};

use spandrel_transport::{
    AcceptError, BoxFuture, DialError, Driver, Endpoint, Incoming, Limits, Link, ListenError, Listener, Peer,
    Transport, conformance::Subject,
};
use spandrel_transport_ipc::{UnixTransport, blocking_stream};
use spandrel_wire::LinesCodec;
use tokio::sync::mpsc;

fn lines(mut subject: Subject) -> Subject {
    subject.carries_any_bytes = false;
    subject.has_goodbye = false;
    subject.has_pings = false;
    subject
}

fn limits() -> Limits {
    Limits::default().with_frame_bytes_max(100_000)
}

/// A path nobody else uses; the listener removes the file, the folder stays with the test.
fn unix() -> Subject {
    let folder = tempfile::tempdir().expect("works").keep();
    let listen = format!("unix:{}", folder.join("s").display()).parse().expect("works");
    let generous = UnixTransport::new().with_limits(limits().with_frame_bytes_max(200_000));
    lines(Subject::new(UnixTransport::new().with_limits(limits()), listen, limits()).with_generous(generous))
}

/// Two pipes of the system and blocking ends, as standard streams are: what `stdio` and a parent have between them.
struct Pipes {
    limits: Limits,
    door: Arc<Mutex<Option<Arrivals>>>,
}

type Arrivals = mpsc::Sender<Box<dyn Link>>;

impl Pipes {
    fn link(
        &self,
        limits: &Limits,
        reader: io::PipeReader,
        writer: io::PipeWriter,
    ) -> io::Result<Box<dyn Link>> {
        let stream = blocking_stream(reader, writer)?;
        Ok(Box::new(Driver::new(stream, LinesCodec::new(limits), Peer::new("pipe"), limits)))
    }
}

impl Transport for Pipes {
    fn scheme(&self) -> &'static str {
        "pipe"
    }

    fn dial<'a>(&'a self, _to: &'a Endpoint) -> BoxFuture<'a, Result<Box<dyn Link>, DialError>> {
        Box::pin(async move {
            let (to_child, from_parent) = io::pipe()?;
            let (to_parent, from_child) = io::pipe()?;
            let there = self.link(&limits(), to_child, from_child)?;
            let door = self
                .door
                .lock()
                .expect("whole")
                .clone()
                .ok_or_else(|| io::Error::from(io::ErrorKind::ConnectionRefused))?;
            let _ = door.send(there).await;
            Ok(self.link(&self.limits, to_parent, from_parent)?)
        })
    }

    fn listen<'a>(&'a self, at: &'a Endpoint) -> BoxFuture<'a, Result<Box<dyn Listener>, ListenError>> {
        Box::pin(async move {
            let (door, arrivals) = mpsc::channel(64);
            *self.door.lock().expect("whole") = Some(door);
            Ok(Box::new(Door { at: at.clone(), arrivals }) as Box<dyn Listener>)
        })
    }
}

struct Door {
    at: Endpoint,
    arrivals: mpsc::Receiver<Box<dyn Link>>,
}

impl Listener for Door {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming, AcceptError>> {
        let link = ready!(self.arrivals.poll_recv(cx)).ok_or(AcceptError::Closed)?;
        Poll::Ready(Ok(Incoming::new(None, async { Ok(link) })))
    }

    fn local(&self) -> &Endpoint {
        &self.at
    }
}

fn pipes() -> Subject {
    let door = Arc::default();
    let make = |limits| Pipes { limits, door: Arc::clone(&door) };
    let generous = make(limits().with_frame_bytes_max(200_000));
    let mut subject = Subject::new(make(limits()), "pipe:any".parse().expect("works"), limits());
    subject.connections = 25; // four threads each
    lines(subject.with_generous(generous))
}

mod unix_socket {
    spandrel_transport::conformance_tests!(super::unix());
}

mod pipe_pair {
    spandrel_transport::conformance_tests!(super::pipes());
}
