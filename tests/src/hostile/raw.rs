//! Peers that can send any bytes: WebSocket frames and length-prefixed frames, made by hand.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::e2e::server::PATIENCE;
use crate::e2e::ws::SUBPROTOCOL;

/// What came of something sent.
#[derive(Debug)]
pub(super) enum Fate {
    /// A message.
    Said(Value),
    /// A goodbye with a code, and the stream ended after it.
    Closed(u16),
    /// The stream ended without one.
    Dropped,
}

/// How frames look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wire {
    Ws,
    Tcp,
}

/// A connection past its hello, or before it.
pub(super) struct Raw {
    pub(super) stream: TcpStream,
    wire: Wire,
    have: Vec<u8>,
}

/// A masked frame; the mask is zero, which leaves the payload readable.
pub(super) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = head(first, payload.len() as u64, true);
    bytes.extend_from_slice(payload);
    bytes
}

/// The head of a frame that announces `len` bytes.
pub(super) fn head(first: u8, len: u64, is_masked: bool) -> Vec<u8> {
    let mask = if is_masked { 0x80 } else { 0 };
    let mut bytes = vec![first];
    match (u8::try_from(len), u16::try_from(len)) {
        (Ok(short @ 0..=125), _) => bytes.push(mask | short),
        (_, Ok(middle)) => {
            bytes.push(mask | 126);
            bytes.extend(middle.to_be_bytes());
        }
        _ => {
            bytes.push(mask | 127);
            bytes.extend(len.to_be_bytes());
        }
    }
    if is_masked {
        bytes.extend([0; 4]);
    }
    bytes
}

/// A frame of section 2.2: length, kind, payload.
pub(super) fn tcp_frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len() + 1).expect("short");
    let mut bytes = len.to_be_bytes().to_vec();
    bytes.push(kind);
    bytes.extend_from_slice(payload);
    bytes
}

impl Raw {
    /// Past the hello.
    pub(super) async fn open(wire: Wire, address: SocketAddr) -> Self {
        let mut raw = Self::connect(wire, address).await;
        match wire {
            Wire::Ws => {
                let head = format!(
                    "GET /v1/ws HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\
                     Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n\r\n"
                );
                raw.send(head.as_bytes()).await;
                let end = loop {
                    if let Some(at) = raw.have.windows(4).position(|part| part == b"\r\n\r\n") {
                        break at + 4;
                    }
                    assert!(raw.fill().await, "the upgrade is answered");
                };
                raw.have.drain(..end);
            }
            Wire::Tcp => {
                raw.send(&tcp_frame(0, SUBPROTOCOL.as_bytes())).await;
                assert_eq!(raw.frame().await.expect("an answer").0, 0, "the offer is taken");
            }
        }
        match raw.fate().await {
            Fate::Said(hello) => assert_eq!(hello["data"]["kind"], "hello"),
            fate => panic!("expected a hello: {fate:?}"),
        }
        raw
    }

    /// Nothing said yet.
    pub(super) async fn connect(wire: Wire, address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("a connection");
        stream.set_nodelay(true).expect("it is a socket");
        Self { stream, wire, have: Vec::new() }
    }

    /// Sends what the server will take; it may have closed in the middle.
    pub(super) async fn send(&mut self, bytes: &[u8]) {
        let _ = timeout(Duration::from_secs(5), self.stream.write_all(bytes)).await;
    }

    /// Sends a text message, whatever its bytes.
    pub(super) async fn text(&mut self, payload: &[u8]) {
        let bytes = match self.wire {
            Wire::Ws => frame(0x81, payload),
            Wire::Tcp => tcp_frame(1, payload),
        };
        self.send(&bytes).await;
    }

    async fn fill(&mut self) -> bool {
        let read = timeout(PATIENCE, self.stream.read_buf(&mut self.have)).await;
        matches!(read.expect("the server says something in time"), Ok(1..))
    }

    /// The next frame: opcode or kind, payload.
    async fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            if let Some((head, len)) = self.parse()
                && self.have.len() >= head + len
            {
                let kind = self.have[if self.wire == Wire::Ws { 0 } else { 4 }];
                let payload = self.have[head..head + len].to_vec();
                self.have.drain(..head + len);
                return Some((kind, payload));
            }
            if !self.fill().await {
                return None;
            }
        }
    }

    /// Bytes of the head and of the payload.
    fn parse(&self) -> Option<(usize, usize)> {
        let have = &self.have;
        match self.wire {
            Wire::Tcp => Some((5, u32::from_be_bytes(have.get(..4)?.try_into().ok()?) as usize - 1)),
            Wire::Ws => match *have.get(1)? {
                126 => Some((4, u16::from_be_bytes(have.get(2..4)?.try_into().ok()?).into())),
                127 => {
                    Some((10, usize::try_from(u64::from_be_bytes(have.get(2..10)?.try_into().ok()?)).ok()?))
                }
                short => Some((2, short.into())),
            },
        }
    }

    /// What the server says next, pings and pongs apart; a goodbye is followed to the end of the stream.
    pub(super) async fn fate(&mut self) -> Fate {
        loop {
            let Some((kind, payload)) = self.frame().await else { return Fate::Dropped };
            let (is_text, is_close) = match self.wire {
                Wire::Ws => (kind & 15 == 1, kind & 15 == 8),
                Wire::Tcp => (kind == 1, kind == 3),
            };
            if is_text {
                return Fate::Said(serde_json::from_slice(&payload).expect("messages are JSON"));
            }
            if is_close {
                let code = payload.get(..2).map_or(1005, |code| u16::from_be_bytes([code[0], code[1]]));
                let echo = match self.wire {
                    Wire::Ws => frame(0x88, payload.get(..2).unwrap_or_default()),
                    Wire::Tcp => tcp_frame(3, payload.get(..2).unwrap_or_default()),
                };
                self.send(&echo).await;
                while self.fill().await {}
                return Fate::Closed(code);
            }
        }
    }
}
