//! The way to the host, for a bridge that found the port taken: a Socket.IO client of 127.0.0.1, WebSocket only.

use std::{
    collections::VecDeque,
    fmt,
    future::poll_fn,
    net::{Ipv4Addr, SocketAddr},
    task::{Context, Poll, ready},
    time::Duration,
};

use spandrel_socketio::{
    Decoder, Encoded, EnginePacket, Event, Frame, Handshake, Limits as PacketLimits, Packet, PacketKind,
    encode_disconnect,
};
use spandrel_transport::{
    Batch, BoxStream, Clock, DialError, Endpoint, Link, LinkError, WireError, dial_loopback_unverified,
};
use spandrel_transport_ws::WsTransport;
use spandrel_wire::Millis;
use tokio::{net::TcpStream, time::timeout};

use crate::{Limits, sparse::Sparse};

/// What a host with a certificate is called: pages reach it under this name, which leads to 127.0.0.1.
const SERVER_NAME: &str = "hw.playentry.org";
/// Path and query of a program that joins.
const PATH: &str = "/socket.io/";
const QUERY: &str = "childServer=true&EIO=3&transport=websocket";
/// One way of dialling takes no longer: whoever holds the port and says nothing is no host.
const DIAL_MS: u64 = 3_000;
/// Bytes of a write under way beside those that wait.
const LEAVING_BYTES: usize = 64 << 10;

/// Why there is no link to the host, or none any more.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum HostLinkError {
    /// Nobody listens on the port, or whoever does is no host.
    #[error("no host at port {port}: {source}")]
    Dial {
        /// The port.
        port: u16,
        /// What the last way of dialling met with.
        source: DialError,
    },
    /// The port speaks WebSocket, and then something else than Socket.IO.
    #[error("what answers at port {port} is no bridge: {why}")]
    NoBridge {
        /// The port.
        port: u16,
        /// What was wrong.
        why: String,
    },
    /// It was there, and is gone.
    #[error("the host is gone")]
    Gone,
    /// It answers no pings.
    #[error("the host has been silent for too long")]
    Silent,
    /// It said what is no Socket.IO.
    #[error("the host broke the protocol: {0}")]
    Broken(String),
    /// It does not read.
    #[error("the host does not read")]
    TooSlow,
}

/// An open session with the host. Owned and polled by the hub: no task of its own.
pub(crate) struct HostLink {
    link: Box<dyn Link>,
    decoder: Decoder,
    incoming: Batch,
    /// Packets that wait for the link to take them.
    waiting: VecDeque<Frame>,
    waiting_bytes: usize,
    /// Before those go, one of each: a ping of ours, and the answer to the last of the host's.
    ping: Option<Frame>,
    pong: Option<Frame>,
    leaving: Batch,
    is_unflushed: bool,
    unsent_bytes_max: usize,
    is_too_slow: bool,
    too_long_log: Sparse<WireError>,
    now: Millis,
    pulse: Pulse,
}

/// When to ping, and when the host counts as gone.
#[derive(Debug, Clone, Copy)]
struct Pulse {
    interval_ms: u64,
    timeout_ms: u64,
    ping_at: Millis,
    /// While an answer is due. Anything the host says is one.
    dead_at: Option<Millis>,
    activity: u64,
}

impl HostLink {
    /// Dials the host inside TLS or plain. The session is open when this returns. Cancel safe: dropped, nothing stays.
    pub(crate) async fn dial(
        port: u16,
        tls: bool,
        limits: Limits,
        clock: Clock,
    ) -> Result<Self, HostLinkError> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let dial = async {
            let link = connect(address, tls, &limits)
                .await
                .map_err(|source| HostLinkError::Dial { port, source })?;
            Self::open(link, port, &limits, clock).await
        };
        let late = || HostLinkError::Dial { port, source: DialError::Timeout { after_ms: DIAL_MS } };
        timeout(Duration::from_millis(DIAL_MS), dial).await.map_err(|_| late())?
    }

    /// Reads the two packets a server opens a session with.
    async fn open(
        mut link: Box<dyn Link>,
        port: u16,
        limits: &Limits,
        clock: Clock,
    ) -> Result<Self, HostLinkError> {
        let no_bridge = |why: &dyn fmt::Display| HostLinkError::NoBridge { port, why: why.to_string() };
        let packets = PacketLimits::default().with_message_bytes_max(limits.message_bytes_max);
        let (mut decoder, mut incoming) = (Decoder::new(&packets), Batch::new());
        let mut handshake = None;
        loop {
            while let Some(frame) = incoming.pop() {
                match &handshake {
                    None => handshake = Some(Handshake::parse(&frame).map_err(|e| no_bridge(&e))?),
                    Some(handshake) => match decoder.push(frame).map_err(|e| no_bridge(&e))? {
                        Some(Packet::Connect { namespace }) if namespace.is_main() => {
                            let pulse = Pulse::new(handshake, clock.now());
                            return Ok(Self {
                                link,
                                decoder,
                                incoming,
                                waiting: VecDeque::new(),
                                waiting_bytes: 0,
                                ping: None,
                                pong: None,
                                leaving: Batch::with_bounds(LEAVING_BYTES, 256),
                                is_unflushed: false,
                                unsent_bytes_max: limits.unsent_bytes_max,
                                is_too_slow: false,
                                too_long_log: Sparse::default(),
                                now: clock.now(),
                                pulse,
                            });
                        }
                        _ => return Err(no_bridge(&"its first packet is not a connect")),
                    },
                }
            }
            match poll_fn(|cx| link.poll_recv(cx, &mut incoming)).await {
                Ok(0) => return Err(no_bridge(&"it closed before the session was open")),
                Ok(_) => {}
                Err(e) => return Err(no_bridge(&e)),
            }
        }
    }

    /// Queues a packet; it goes out with the next poll. One larger than the bound is taken when no other waits; a host over
    /// it counts as lost: the next poll says so.
    pub(crate) fn send(&mut self, packet: &Encoded) {
        let len = packet.len_bytes();
        let held = self.waiting_bytes + self.link.stats().queued_bytes;
        if held > 0 && held.saturating_add(len) > self.unsent_bytes_max {
            self.is_too_slow = true;
            return;
        }
        self.waiting_bytes += len;
        self.waiting.extend(packet.frames());
    }

    /// Says goodbye as far as the stream takes it at once; the session is over when the link is dropped.
    pub(crate) fn close(mut self, cx: &mut Context<'_>) {
        self.waiting.extend(encode_disconnect().frames());
        let _ = self.poll_out(cx);
    }

    /// Moves packets in both directions. Ready with the events that came, or once it is over. What was queued goes out
    /// whether it is ready or not. Wants to be polled at [`wake_at`](Self::wake_at) as well.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        now: Millis,
        out: &mut Vec<Event>,
    ) -> Poll<Result<(), HostLinkError>> {
        self.now = now;
        if self.is_too_slow {
            return Poll::Ready(Err(HostLinkError::TooSlow));
        }
        // What cannot be written now is written once there is room.
        if let Poll::Ready(Err(lost)) = self.poll_out(cx) {
            return Poll::Ready(Err(lost));
        }
        let before = out.len();
        loop {
            while let Some(frame) = self.incoming.pop() {
                self.take(frame, out)?;
            }
            if out.len() > before {
                return Poll::Ready(Ok(()));
            }
            match self.link.poll_recv(cx, &mut self.incoming) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(HostLinkError::Gone)),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => break,
            }
        }
        // Only once all that came is read: after a long sleep the answer may have waited for us.
        self.beat(now)?;
        match self.poll_out(cx) {
            Poll::Ready(Err(lost)) => Poll::Ready(Err(lost)),
            _ => Poll::Pending,
        }
    }

    /// When the next ping, or the end of the host's patience, is due.
    pub(crate) fn wake_at(&self) -> Millis {
        self.pulse.dead_at.map_or(self.pulse.ping_at, |dead_at| dead_at.min(self.pulse.ping_at))
    }

    /// Logs what was held back and is due.
    pub(crate) fn log_late(&mut self, now: Millis) {
        if let Some(told) = self.too_long_log.due(now) {
            tell_too_long(told);
        }
    }

    /// When [`log_late`](Self::log_late) has something.
    pub(crate) fn late_at(&self) -> Option<Millis> {
        self.too_long_log.wake()
    }

    fn take(&mut self, frame: Frame, out: &mut Vec<Event>) -> Result<(), HostLinkError> {
        let broken = |e: &dyn fmt::Display| HostLinkError::Broken(e.to_string());
        match PacketKind::of(&frame).map_err(|e| broken(&e))? {
            PacketKind::Message => {}
            PacketKind::Close => return Err(HostLinkError::Gone),
            // A server of this revision does not ping; one that does is answered. Whoever pings faster than it reads gets
            // the last answer.
            PacketKind::Ping => {
                let packet = EnginePacket::from_frame(frame).map_err(|e| broken(&e))?;
                self.pong = Some(EnginePacket { kind: PacketKind::Pong, ..packet }.into_frame());
                return Ok(());
            }
            _ => return Ok(()),
        }
        match self.decoder.push(frame).map_err(|e| broken(&e))? {
            Some(Packet::Event(event)) if event.namespace().is_main() => out.push(event),
            Some(Packet::Disconnect { namespace }) if namespace.is_main() => return Err(HostLinkError::Gone),
            _ => {}
        }
        Ok(())
    }

    /// Pings, and notices a host that says nothing.
    fn beat(&mut self, now: Millis) -> Result<(), HostLinkError> {
        let activity = self.link.stats().activity;
        let pulse = &mut self.pulse;
        if activity != pulse.activity {
            pulse.activity = activity;
            pulse.dead_at = None;
        }
        if pulse.dead_at.is_some_and(|dead_at| now >= dead_at) {
            return Err(HostLinkError::Silent);
        }
        if now >= pulse.ping_at {
            pulse.ping_at = now.after(pulse.interval_ms);
            pulse.dead_at.get_or_insert(now.after(pulse.timeout_ms));
            self.ping = Some(PacketKind::Ping.frame());
        }
        Ok(())
    }

    fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), HostLinkError>> {
        loop {
            while !self.leaving.is_full() {
                let Some(frame) = self.next_frame() else { break };
                let _ = self.leaving.push(frame); // not full
            }
            if self.leaving.is_empty() {
                break;
            }
            self.is_unflushed = true;
            match ready!(self.link.poll_send(cx, &mut self.leaving)) {
                Ok(()) => {}
                // Of the parent, and longer than a host takes; those behind it still go.
                Err(LinkError::Wire(error)) => {
                    if let Some(told) = self.too_long_log.admit(self.now, 1, error) {
                        tell_too_long(told);
                    }
                }
                Err(e) => return Poll::Ready(Err(lost(&e))),
            }
        }
        if self.is_unflushed {
            if let Err(e) = ready!(self.link.poll_flush(cx)) {
                return Poll::Ready(Err(lost(&e)));
            }
            self.is_unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn next_frame(&mut self) -> Option<Frame> {
        if let Some(frame) = self.ping.take().or_else(|| self.pong.take()) {
            return Some(frame);
        }
        let frame = self.waiting.pop_front()?;
        self.waiting_bytes = self.waiting_bytes.saturating_sub(frame.len());
        if self.waiting.is_empty() && self.waiting.capacity() > 64 {
            self.waiting = VecDeque::new();
        }
        Some(frame)
    }
}

impl Drop for HostLink {
    fn drop(&mut self) {
        self.log_late(Millis::new(u64::MAX));
    }
}

fn tell_too_long((messages, error): (u64, WireError)) {
    tracing::warn!(%error, messages, "a message was dropped: the host does not take it");
}

impl fmt::Debug for HostLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostLink").field("pulse", &self.pulse).finish_non_exhaustive()
    }
}

impl Pulse {
    fn new(handshake: &Handshake, now: Millis) -> Self {
        // A host that wants no pings for a day would not be missed for a day.
        let interval_ms = handshake.ping_interval_ms.clamp(100, 25_000);
        let timeout_ms = handshake.ping_timeout_ms.clamp(1_000, 20_000);
        Self { interval_ms, timeout_ms, ping_at: now.after(interval_ms), dead_at: None, activity: 0 }
    }
}

fn lost(error: &LinkError) -> HostLinkError {
    match error {
        LinkError::Wire(e) => HostLinkError::Broken(e.to_string()),
        _ => HostLinkError::Gone,
    }
}

async fn connect(address: SocketAddr, tls: bool, limits: &Limits) -> Result<Box<dyn Link>, DialError> {
    let of_link = spandrel_transport::Limits::default()
        // The type of the packet is one byte more.
        .with_frame_bytes_max(limits.message_bytes_max.saturating_add(1))
        .with_handshake_ms(DIAL_MS);
    let host = if tls { SERVER_NAME.to_owned() } else { address.ip().to_string() };
    let (port, path, query) = (address.port(), PATH.to_owned(), Some(QUERY.to_owned()));
    let (stream, to): (BoxStream, _) = if tls {
        let stream = dial_loopback_unverified(address, SERVER_NAME, &of_link).await?;
        (stream, Endpoint::Wss { host, port, path, query })
    } else {
        let stream = TcpStream::connect(address).await?;
        let _ = stream.set_nodelay(true);
        (Box::new(stream), Endpoint::Ws { host, port, path, query })
    };
    WsTransport::new().with_limits(of_link).connect_stream(stream, &to).await
}

#[cfg(test)]
mod tests;
