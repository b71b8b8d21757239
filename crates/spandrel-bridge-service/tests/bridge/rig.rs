//! Programs and pages for the tests: a parent at the other end of a socket pair, a page over a real socket.

use std::{net::SocketAddr, time::Duration};

use spandrel_bridge_service::{
    Config, Exit, Handle, Limits, Service,
    spandrel_transport::{
        BoxStream, Close, Connection, Endpoint, Frame, Limits as LinkLimits, dial_loopback_unverified,
    },
    spandrel_transport_ipc::Parent,
};
use spandrel_transport_ws::WsTransport;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpStream, UnixStream, unix::OwnedReadHalf, unix::OwnedWriteHalf},
    sync::watch,
    task::JoinHandle,
    time::timeout,
};

/// Nothing here takes so long unless it is broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) async fn within<T>(what: &str, wait: impl Future<Output = T>) -> T {
    timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("{what}: did not happen"))
}

/// A bridge and its parent.
pub(crate) struct Program {
    pub(crate) handle: Handle,
    lines: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    running: JoinHandle<Exit>,
}

impl Program {
    pub(crate) fn start(config: Config) -> Self {
        let (near, far) = UnixStream::pair().expect("works");
        let parent = Parent::over(near, &config.limits.of_parent());
        let (service, handle) = Service::new(config, parent);
        let running = tokio::spawn(service.run());
        let (reader, writer) = far.into_split();
        Self { handle, lines: BufReader::new(reader), writer, running }
    }

    /// A bridge that listens, its mode already told.
    pub(crate) async fn host(config: Config) -> Self {
        let mut program = Self::start(config);
        program.say(r#"{"key":"open"}"#).await;
        program.hears([RUNS_AS_SERVER, SINGLE]).await;
        program
    }

    pub(crate) async fn say(&mut self, line: &str) {
        within(line, self.writer.write_all(format!("{line}\n").as_bytes())).await.expect("works");
    }

    pub(crate) async fn say_bytes(&mut self, bytes: &[u8]) {
        within("writing", self.writer.write_all(bytes)).await.expect("works");
    }

    /// Waits until the bridge has taken so many lines, all in all.
    pub(crate) async fn has_said(&self, lines: u64) {
        let taken =
            async { while self.handle.snapshot().await.expect("lives").messages.from_parent < lines {} };
        within("lines of the parent", taken).await;
    }

    /// The next line; `None` at the end of the channel.
    pub(crate) async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = within("a line of the bridge", self.lines.read_line(&mut line)).await.expect("works");
        (read > 0).then(|| line.trim_end_matches('\n').to_owned())
    }

    /// What the bridge has written by now.
    pub(crate) fn heard_now(&mut self) -> String {
        assert!(self.lines.buffer().is_empty(), "read before");
        let mut all = Vec::new();
        let mut bytes = vec![0; 64 << 10];
        while let Ok(read) = self.lines.get_ref().try_read(&mut bytes) {
            all.extend_from_slice(bytes.get(..read).unwrap_or_default());
        }
        String::from_utf8(all).expect("whole lines")
    }

    /// These lines, and no other between them.
    pub(crate) async fn hears<const N: usize>(&mut self, want: [&str; N]) {
        for want in want {
            assert_eq!(self.line().await.as_deref(), Some(want));
        }
    }

    /// Reads until this line, and gives what came before.
    pub(crate) async fn hears_at_last(&mut self, want: &str) -> Vec<String> {
        let mut before = Vec::new();
        loop {
            match self.line().await {
                Some(line) if line == want => return before,
                Some(line) => before.push(line),
                None => panic!("the channel ended before {want}; heard {before:?}"),
            }
        }
    }

    pub(crate) async fn address(&self) -> SocketAddr {
        within("listening", self.handle.listening()).await.expect("works")
    }

    /// Its exit; the channel stays open.
    pub(crate) async fn ends(&mut self) -> Exit {
        within("the end", &mut self.running).await.expect("works")
    }

    /// Whoever runs the bridge gives it up.
    pub(crate) fn abort(&self) {
        self.running.abort();
    }

    /// The parent goes.
    pub(crate) async fn leave(self) -> Exit {
        drop((self.lines, self.writer));
        within("the end", self.running).await.expect("works")
    }
}

/// The default bounds but for what is set.
pub(crate) fn limits(set: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = Limits::default();
    set(&mut limits);
    limits
}

pub(crate) const RUNS_AS_SERVER: &str = r#"{"key":"runningModeChanged","value":2}"#;
pub(crate) const RUNS_AS_CLIENT: &str = r#"{"key":"runningModeChanged","value":3}"#;
pub(crate) const SINGLE: &str = r#"{"key":"cloudModeChanged","value":0}"#;
pub(crate) const CLOUD: &str = r#"{"key":"cloudModeChanged","value":1}"#;
pub(crate) const CONNECTION: &str = r#"{"key":"connection"}"#;

/// A page, or another program, over a WebSocket.
pub(crate) struct Page(pub(crate) Connection);

impl Page {
    pub(crate) async fn open(to: SocketAddr, query: &str) -> Self {
        let stream = within("connecting", TcpStream::connect(to)).await.expect("works");
        stream.set_nodelay(true).expect("works");
        Self::over(Box::new(stream), to, query).await.unwrap_or_else(|e| panic!("no session: {e}"))
    }

    pub(crate) async fn in_room(to: SocketAddr, room: &str) -> Self {
        Self::open(to, &format!("client=true&roomId={room}")).await
    }

    pub(crate) async fn over_tls(to: SocketAddr, query: &str) -> Self {
        let stream =
            dial_loopback_unverified(to, "hw.playentry.org", &LinkLimits::default()).await.expect("works");
        Self::over(stream, to, query).await.unwrap_or_else(|e| panic!("no session: {e}"))
    }

    pub(crate) async fn over(stream: BoxStream, to: SocketAddr, query: &str) -> Result<Self, String> {
        let endpoint = Endpoint::Ws {
            host: to.ip().to_string(),
            port: to.port(),
            path: "/socket.io/".to_owned(),
            query: Some(format!("{query}&EIO=3&transport=websocket")),
        };
        let limits = LinkLimits::default().with_frame_bytes_max(64 << 20);
        let ws = WsTransport::new().with_limits(limits);
        let opened = within("the upgrade", ws.connect_stream(stream, &endpoint)).await;
        let mut page = Self(Connection::new(opened.map_err(|e| e.to_string())?));
        let hello = page.frame().await.ok_or("closed at once")?;
        assert!(hello.starts_with("0{\"sid\":\""), "{hello}");
        assert_eq!(page.frame().await.as_deref(), Some("40"));
        Ok(page)
    }

    /// The next frame; `None` once it is closed.
    pub(crate) async fn frame(&mut self) -> Option<String> {
        let frame = within("a frame", self.0.recv()).await.ok().flatten()?;
        Some(frame.as_text().map_or_else(|| format!("{:?}", frame.data()), str::to_owned))
    }

    /// The argument of the next `message`, as text.
    pub(crate) async fn message(&mut self) -> String {
        let frame = self.frame().await.expect("a message");
        let inner = frame.strip_prefix(r#"42["message","#).and_then(|rest| rest.strip_suffix(']'));
        inner.unwrap_or_else(|| panic!("expected a message: {frame}")).to_owned()
    }

    pub(crate) async fn emit(&mut self, event: &str) {
        within(event, self.0.send(Frame::text(format!("42{event}")))).await.expect("works");
    }

    /// Says goodbye.
    pub(crate) async fn leave(mut self) {
        self.0.send(Frame::text("41")).await.expect("works");
        self.0.close(Close::normal()).await.expect("works");
    }

    /// Waits until the bridge closes it.
    pub(crate) async fn is_closed(&mut self) {
        while self.frame().await.is_some() {}
    }
}

/// One request; the whole answer as text, of a server that closes after it.
pub(crate) async fn ask(to: SocketAddr, request: &str) -> String {
    let mut stream = within("connecting", TcpStream::connect(to)).await.expect("works");
    stream.write_all(request.as_bytes()).await.expect("works");
    let mut answer = Vec::new();
    within("the answer", stream.read_to_end(&mut answer)).await.expect("works");
    String::from_utf8_lossy(&answer).into_owned()
}

pub(crate) fn get(path: &str, host: &str, more: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{more}\r\n")
}

/// What is logged on this thread, while it lives.
pub(crate) struct Log {
    text: watch::Sender<String>,
    _here: tracing::subscriber::DefaultGuard,
}

impl Log {
    pub(crate) fn start() -> Self {
        let text = watch::Sender::new(String::new());
        let writer = LogWriter(text.clone());
        let subscriber =
            tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        Self { text, _here: tracing::subscriber::set_default(subscriber) }
    }

    /// All of it so far.
    pub(crate) fn text(&self) -> String {
        self.text.borrow().clone()
    }

    /// The first line with `part`, once there is one.
    pub(crate) async fn line(&self, part: &str) -> String {
        let mut text = self.text.subscribe();
        let seen = within(part, text.wait_for(|text| text.contains(part))).await.expect("logs");
        seen.lines().find(|line| line.contains(part)).expect("a line").to_owned()
    }
}

#[derive(Clone)]
struct LogWriter(watch::Sender<String>);

impl std::io::Write for LogWriter {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        self.0.send_modify(|text| text.push_str(&String::from_utf8_lossy(line)));
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
