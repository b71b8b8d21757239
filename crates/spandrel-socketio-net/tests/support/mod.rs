//! A server on a free port, and clients that write their bytes by hand.

use std::{collections::HashMap, net::SocketAddr, time::Duration};

use spandrel_socketio::{Encoded, Value, encode_event};
use spandrel_socketio_net::{Bytes, Events, ServerConfig, ServerEvent, Socket, SocketServer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    time::timeout,
};

/// What must come comes within this.
pub(crate) const SOON: Duration = Duration::from_secs(10);

pub(crate) struct Server {
    pub(crate) server: SocketServer,
    pub(crate) events: Events,
    pub(crate) address: SocketAddr,
    batch: Vec<ServerEvent>,
}

impl Server {
    pub(crate) async fn start(config: ServerConfig) -> Self {
        let (server, events) = SocketServer::new(config);
        Self::serve(server, events).await
    }

    pub(crate) async fn serve(server: SocketServer, events: Events) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, address)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                let server = serving.clone();
                tokio::spawn(async move {
                    let other = |_: &_| http::Response::new(Bytes::from_static(b"other"));
                    server.serve_connection(Box::new(stream), address, other).await;
                });
            }
        });
        Self { server, events, address, batch: Vec::new() }
    }

    pub(crate) async fn event(&mut self) -> ServerEvent {
        if self.batch.is_empty() {
            let received = timeout(SOON, self.events.recv_many(&mut self.batch, 64)).await;
            assert!(received.expect("an event comes soon") > 0, "the server lives");
            self.batch.reverse();
        }
        self.batch.pop().unwrap()
    }

    pub(crate) async fn opened(&mut self) -> Socket {
        match self.event().await {
            ServerEvent::Opened(socket) => socket,
            other => panic!("expected an opened session, got {other:?}"),
        }
    }

    /// Name and first argument of the next event.
    pub(crate) async fn received(&mut self) -> (String, String) {
        match self.event().await {
            ServerEvent::Received { event, .. } => {
                let arg = event.arg(0).map_or_else(String::new, |v| v.as_json_str().to_owned());
                (event.name().into_owned(), arg)
            }
            other => panic!("expected an event, got {other:?}"),
        }
    }

    /// Why the next session closed.
    pub(crate) async fn closed(&mut self) -> String {
        match self.event().await {
            ServerEvent::Closed { why, .. } => why.to_string(),
            other => panic!("expected a closed session, got {other:?}"),
        }
    }

    pub(crate) fn has_event(&mut self) -> bool {
        let waker = std::task::Waker::noop();
        let mut cx = std::task::Context::from_waker(waker);
        !self.batch.is_empty() || self.events.poll_recv_many(&mut cx, &mut self.batch, 64).is_ready()
    }

    pub(crate) async fn http(&self) -> Http {
        Http::connect(self.address).await
    }

    /// Opens a polling session; returns the query of its requests and the socket.
    pub(crate) async fn poll(&mut self) -> (Polling, Socket) {
        let mut http = self.http().await;
        let reply = http.get("EIO=3&transport=polling&roomId=q").await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let text = reply.text();
        let sid = text.split("\"sid\":\"").nth(1).unwrap()[..20].to_owned();
        let query = format!("EIO=3&transport=polling&sid={sid}");
        let socket = self.opened().await;
        (Polling { http, query, sid, address: self.address }, socket)
    }

    /// Opens a session on a WebSocket and takes its greeting.
    pub(crate) async fn ws(&mut self) -> (Ws, Socket) {
        let mut ws = Ws::connect(self.address, "EIO=3&transport=websocket&roomId=q").await.unwrap();
        assert!(ws.text().await.starts_with("0{\"sid\":\""));
        assert_eq!(ws.text().await, "40");
        let socket = self.opened().await;
        (ws, socket)
    }
}

pub(crate) fn down(n: usize) -> Encoded {
    encode_event("down", &[&Value::parse(n.to_string()).unwrap()], None)
}

/// A polling session as a client holds it.
pub(crate) struct Polling {
    pub(crate) http: Http,
    pub(crate) query: String,
    pub(crate) sid: String,
    pub(crate) address: SocketAddr,
}

impl Polling {
    pub(crate) async fn get(&mut self) -> Reply {
        let query = self.query.clone();
        self.http.get(&query).await
    }

    /// Sends a GET on a connection of its own, which is held, and waits until the server has read it.
    pub(crate) async fn hold(&self) -> Http {
        let mut http = Http::connect(self.address).await;
        http.get("/").await; // the connection is taken in
        http.send("GET", &self.query, &[], b"").await;
        // What comes by another connection afterwards is read afterwards.
        Http::connect(self.address).await.get("/").await;
        http
    }

    pub(crate) async fn post(&mut self, packets: &str) -> Reply {
        let query = self.query.clone();
        self.http
            .request("POST", &query, &[("content-type", "text/plain;charset=UTF-8")], packets.as_bytes())
            .await
    }
}

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

/// One HTTP connection.
pub(crate) struct Http(pub BufReader<TcpStream>);

impl Http {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self(BufReader::new(stream))
    }

    pub(crate) async fn get(&mut self, query: &str) -> Reply {
        self.request("GET", query, &[], b"").await
    }

    pub(crate) async fn request(
        &mut self,
        method: &str,
        query: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Reply {
        self.send(method, query, headers, body).await;
        self.reply().await
    }

    pub(crate) async fn send(&mut self, method: &str, query: &str, headers: &[(&str, &str)], body: &[u8]) {
        let target = if query.starts_with('/') { query.to_owned() } else { format!("/socket.io/?{query}") };
        let mut head = format!("{method} {target} HTTP/1.1\r\nhost: 127.0.0.1\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let has_length =
            headers.iter().any(|(name, _)| matches!(*name, "content-length" | "transfer-encoding"));
        if !has_length && (method == "POST" || !body.is_empty()) {
            head.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(body);
        self.0.get_mut().write_all(&bytes).await.unwrap();
    }

    pub(crate) async fn reply(&mut self) -> Reply {
        timeout(SOON, self.try_reply()).await.expect("an answer comes soon").expect("an answer, not the end")
    }

    /// `None` when the connection ends before an answer.
    pub(crate) async fn try_reply(&mut self) -> Option<Reply> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.0.read_u8().await.ok()?);
        }
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let headers: HashMap<String, String> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let len = headers.get("content-length").map_or(0, |len| len.parse().unwrap());
        let mut body = vec![0; len];
        self.0.read_exact(&mut body).await.ok()?;
        Some(Reply { status, headers, body })
    }
}

/// One WebSocket, masked by hand.
pub(crate) struct Ws(pub BufReader<TcpStream>);

impl Ws {
    pub(crate) async fn connect(address: SocketAddr, query: &str) -> Result<Self, Reply> {
        let mut http = Http::connect(address).await;
        http.send("GET", query, &UPGRADE, b"").await;
        let reply = http.reply().await;
        if reply.status != 101 {
            return Err(reply);
        }
        assert_eq!(reply.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        Ok(Self(http.0))
    }

    pub(crate) async fn say(&mut self, text: &str) {
        self.frame(1, text.as_bytes()).await;
    }

    pub(crate) async fn frame(&mut self, opcode: u8, payload: &[u8]) {
        let bytes = masked(opcode, payload);
        self.0.get_mut().write_all(&bytes).await.unwrap();
    }

    /// The next text.
    pub(crate) async fn text(&mut self) -> String {
        let (opcode, data) = self.next().await.expect("a frame, not the end");
        assert_eq!(opcode, 1, "{data:?}");
        String::from_utf8(data).unwrap()
    }

    /// The next frame; `None` at the end of the stream.
    pub(crate) async fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        timeout(SOON, async {
            let head = self.0.read_u16().await.ok()?;
            assert_eq!(head & 0x80, 0, "a server does not mask");
            let len = match head & 0x7f {
                126 => usize::from(self.0.read_u16().await.ok()?),
                127 => usize::try_from(self.0.read_u64().await.ok()?).unwrap(),
                len => usize::from(len),
            };
            let mut data = vec![0; len];
            self.0.read_exact(&mut data).await.ok()?;
            Some((head.to_be_bytes()[0] & 0x0f, data))
        })
        .await
        .expect("a frame or the end comes soon")
    }

    /// Reads to the goodbye, or to the end.
    pub(crate) async fn ends(&mut self) {
        while let Some((opcode, data)) = self.next().await {
            if opcode == 8 {
                self.frame(8, &data).await;
            }
        }
    }
}

/// What asks for a WebSocket, with the key of RFC 6455 section 1.3.
pub(crate) const UPGRADE: [(&str, &str); 4] = [
    ("connection", "Upgrade"),
    ("upgrade", "websocket"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

pub(crate) fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x80 | opcode];
    match payload.len() {
        len @ 0..=125 => bytes.push(0x80 | u8::try_from(len).unwrap()),
        len @ 126..=65_535 => {
            bytes.push(0x80 | 126);
            bytes.extend_from_slice(&u16::try_from(len).unwrap().to_be_bytes());
        }
        len => {
            bytes.push(0x80 | 127);
            bytes.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    let mask = [1, 2, 3, 4];
    bytes.extend_from_slice(&mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}
