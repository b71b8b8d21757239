//! A service with keys and tokens on free ports, and peers that speak every layer.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use spandrel_crypto::{SecretKey, Token, decode_base64url_array, encode_base64url};
use spandrel_download_protocol::{Column, ColumnType};
use spandrel_download_service::{
    AuthMode, Bearer, Dataset, Key, KeyId, Keyring, Principal, Service, ServiceConfig,
};
use spandrel_session::{
    Direction, Entropy, Freshness, Layers, LayersConfig, SealForm, SealKeys, Sealing, Side, Signer, Signing,
    WallMillis, sign_message, signing_key,
};
use spandrel_source_parquet::DatasetConfig;
use spandrel_transport::{Frame, Kind};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::{Error, Message, client::IntoClientRequest as _};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

pub(crate) const JSON: &str = "spandrel.download.v1+json";
pub(crate) const DEFLATE: &str = "spandrel.download.v1+json+deflate";
pub(crate) const SEALED: &str = "spandrel.download.v1+json+aes256gcm";
pub(crate) const BOTH: &str = "spandrel.download.v1+json+deflate+aes256gcm";
pub(crate) const ALICE: &str = "alice-token-0123456789";
pub(crate) const BOB: &str = "bob-token-0123456789";

pub(crate) fn secret(n: u8) -> SecretKey {
    SecretKey::from_bytes([n; 32])
}

pub(crate) fn kid(text: &str) -> KeyId {
    KeyId::new(text).unwrap()
}

pub(crate) fn key(id: &str, n: u8, who: &str) -> Key {
    Key::new(kid(id), secret(n), Principal::new(who))
}

pub(crate) fn bearer(token: &str, who: &str) -> Bearer {
    Bearer::new(&Token::new(token).unwrap(), Principal::new(who))
}

#[expect(clippy::disallowed_methods, reason = "the test owns the clock of its peers")]
pub(crate) fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

pub(crate) struct Bench {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) ring: Arc<Keyring>,
    pub(crate) service: Service,
    pub(crate) address: SocketAddr,
}

/// Keys k1 (alice), k2 (bob) and `old` (alice, past its life); a token for alice and one for bob.
pub(crate) fn ring(mode: AuthMode) -> Keyring {
    let keys =
        vec![key("k1", 0x11, "alice"), key("k2", 0x22, "bob"), key("old", 0x33, "alice").with_life(0, 1)];
    Keyring::new(mode, keys, vec![bearer(ALICE, "alice"), bearer(BOB, "bob")]).unwrap()
}

impl Bench {
    pub(crate) async fn start(mode: AuthMode) -> Self {
        Self::start_with(mode, |_| {}).await
    }

    pub(crate) async fn start_with(mode: AuthMode, change: impl FnOnce(&mut ServiceConfig)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut text = String::from("id,time,note\r\n");
        for n in 0..100 {
            let _ = write!(text, "{n},2024-03-01T00:{:02}:{:02}Z,row {n}\r\n", n / 60, n % 60);
        }
        std::fs::write(dir.path().join("logs.csv"), text).unwrap();
        let ring = Arc::new(ring(mode));
        let (service, address) = open(&dir, &ring, change).await;
        Self { dir, ring, service, address }
    }

    pub(crate) async fn restart(&mut self) {
        assert!(self.service.shut_down(Duration::from_secs(10)).await);
        (self.service, self.address) = open(&self.dir, &self.ring, |_| {}).await;
    }

    /// Status, head and body of a plain request.
    pub(crate) async fn http(
        &self,
        method: &str,
        path: &str,
        headers: &str,
        body: &str,
    ) -> (u16, String, Vec<u8>) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        exchange(&mut stream, self.address, method, path, headers, body).await
    }

    pub(crate) async fn get(&self, path: &str, token: &str) -> (u16, Value) {
        let headers =
            if token.is_empty() { String::new() } else { format!("Authorization: Bearer {token}\r\n") };
        let (status, _, body) = self.http("GET", path, &headers, "").await;
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    /// A signed session of a key.
    pub(crate) async fn signed(&self, id: &str, n: u8) -> Peer {
        Peer::connect(self.address, &Dial { protocol: JSON, key: Some((id, n)), ..Dial::default() }).await
    }
}

async fn open(
    dir: &tempfile::TempDir,
    ring: &Arc<Keyring>,
    change: impl FnOnce(&mut ServiceConfig),
) -> (Service, SocketAddr) {
    let dir = dir.path();
    let source = |name: &str| {
        let mut source = DatasetConfig::new(name, dir.join("logs.csv"));
        source.columns = Some(vec![
            Column::new("id", ColumnType::Int),
            Column::timestamp("time", 0),
            Column::new("note", ColumnType::String),
        ]);
        spandrel_source_parquet::open(source).unwrap()
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut secrets = Dataset::new("secrets", source("secrets"));
    secrets.principals = Some(vec!["bob".into()]);
    let mut config = ServiceConfig::new(dir.join("state"))
        .with_dataset(Dataset::new("logs", source("logs")))
        .with_dataset(secrets);
    config.listen = Some(address);
    config.auth = Arc::clone(ring) as Arc<_>;
    change(&mut config);
    let service = Service::open(config).unwrap();
    let serving = service.clone();
    tokio::spawn(async move { serving.serve(listener).await });
    (service, address)
}

pub(crate) async fn exchange<S>(
    stream: &mut S,
    host: SocketAddr,
    method: &str,
    path: &str,
    headers: &str,
    body: &str,
) -> (u16, String, Vec<u8>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + ?Sized,
{
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").expect("a whole head");
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head, bytes[end + 4..].to_vec())
}

pub(crate) fn request() -> Value {
    json!({ "searchParams": { "timeFrom": "2024-03-01T00:00:00Z", "timeTo": "2024-03-02T00:00:00Z", "filters": [] },
            "outputFormat": "csv", "compression": false })
}

pub(crate) fn message(event: &str, data: &Value, id: &str) -> String {
    // In the order of the specification, so that tests can count on it.
    format!(r#"{{"event":"{event}","data":{data},"timestamp":1,"requestId":"{id}"}}"#)
}

/// How to connect.
pub(crate) struct Dial<'a> {
    pub(crate) protocol: &'a str,
    pub(crate) key: Option<(&'a str, u8)>,
    pub(crate) token: &'a str,
    /// Query instead of the one that follows from the key.
    pub(crate) query: Option<&'a str>,
    pub(crate) form: SealForm,
    pub(crate) mode: Signing,
    /// The peer does not sign, key or not.
    pub(crate) is_unsigned: bool,
}

impl Default for Dial<'_> {
    fn default() -> Self {
        Self {
            protocol: JSON,
            key: None,
            token: "",
            query: None,
            form: SealForm::Binary,
            mode: Signing::Required,
            is_unsigned: false,
        }
    }
}

/// A client over WebSocket with the layers of its subprotocol.
pub(crate) struct Peer {
    pub(crate) ws: WebSocketStream<MaybeTlsStream<TcpStream>>,
    pub(crate) layers: Layers,
    /// The hello, as it was read.
    pub(crate) hello: Value,
    /// Whether the hello carried a signature.
    pub(crate) hello_is_signed: bool,
    sent: usize,
}

const CLIENT_NONCE: [u8; 16] = [9; 16];

/// What came, or how it ended.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Came {
    Message(Value),
    Closed(u16),
}

impl Peer {
    pub(crate) async fn connect(address: SocketAddr, dial: &Dial<'_>) -> Self {
        let ws = handshake(address, dial).await.unwrap();
        let mut config = LayersConfig::new(Side::Client);
        config.deflates = dial.protocol.contains("deflate");
        config.form = dial.form;
        let is_sealed = dial.protocol.contains("aes256gcm");
        if is_sealed {
            config.sealing = Sealing::AfterHello;
        }
        config.signer = dial.key.filter(|_| !dial.is_unsigned).map(|(id, n)| Signer {
            kid: kid(id),
            key: signing_key(&secret(n)),
            mode: dial.mode,
        });
        let mut peer =
            Self { ws, layers: Layers::new(config), hello: Value::Null, hello_is_signed: false, sent: 0 };
        let Some(Ok(frame)) = peer.frame().await else { panic!("no hello") };
        let text = peer.layers.inbound(&frame).unwrap().into_owned();
        peer.hello_is_signed = text.contains(r#","auth":{"#);
        peer.hello = serde_json::from_str(&text).unwrap();
        assert_eq!(peer.hello["data"]["kind"], "hello", "{text}");
        if let Some((_, n)) = dial.key.filter(|_| is_sealed) {
            let nonce = decode_base64url_array(peer.hello["data"]["serverNonce"].as_str().unwrap()).unwrap();
            peer.layers.seal_with(SealKeys::derive(&secret(n), &CLIENT_NONCE, &nonce));
        }
        peer
    }

    /// The next frame; an error is the close code.
    pub(crate) async fn frame(&mut self) -> Option<Result<Frame, u16>> {
        let reading = async {
            loop {
                return match self.ws.next().await? {
                    Ok(Message::Text(text)) => Some(Ok(Frame::text(text.as_str().to_owned()))),
                    Ok(Message::Binary(bytes)) => Some(Ok(Frame::binary(bytes))),
                    Ok(Message::Close(frame)) => Some(Err(frame.map_or(1005, |frame| frame.code.into()))),
                    Ok(_) => continue,
                    Err(_) => Some(Err(1006)),
                };
            }
        };
        tokio::time::timeout(Duration::from_secs(20), reading).await.expect("something comes")
    }

    /// The next message, every layer checked.
    pub(crate) async fn next(&mut self) -> Came {
        let frame = match self.frame().await {
            Some(Ok(frame)) => frame,
            Some(Err(code)) => return Came::Closed(code),
            None => return Came::Closed(1006),
        };
        let text = self.layers.inbound(&frame).unwrap();
        let clock = WallMillis::new(wall_ms());
        self.layers.verify(&text, clock, &Freshness::any(), |_, _, _| Ok(())).unwrap();
        Came::Message(serde_json::from_str(&text).unwrap())
    }

    pub(crate) async fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            match self.next().await {
                Came::Message(message) if wanted(&message) => return message,
                Came::Message(_) => {}
                Came::Closed(code) => panic!("closed with {code}"),
            }
        }
    }

    /// The code of the next error.
    pub(crate) async fn error(&mut self) -> Value {
        self.until(|m| m["event"].as_str().is_some_and(|e| e.ends_with(":error"))).await
    }

    pub(crate) async fn close_code(&mut self) -> u16 {
        loop {
            match self.frame().await {
                Some(Err(code)) => return code,
                Some(Ok(_)) => {}
                None => return 1006,
            }
        }
    }

    /// Through all layers.
    pub(crate) async fn send(&mut self, text: String) {
        let frame = self.seal(text);
        self.raw(frame).await;
    }

    /// A frame that could be sent.
    pub(crate) fn seal(&mut self, text: String) -> Frame {
        self.layers.outbound(text, WallMillis::new(wall_ms()), entropy).unwrap()
    }

    pub(crate) async fn raw(&mut self, frame: Frame) {
        let message = match frame.kind() {
            Kind::Text => Message::text(frame.as_text().unwrap().to_owned()),
            Kind::Binary => Message::binary(frame.into_data()),
        };
        self.ws.send(message).await.unwrap();
    }

    pub(crate) async fn raw_text(&mut self, text: &str) {
        self.ws.send(Message::text(text.to_owned())).await.unwrap();
    }

    pub(crate) async fn ask(&mut self, event: &str, data: Value) -> Value {
        self.sent += 1;
        let id = format!("r{}", self.sent);
        self.send(message(event, &data, &id)).await;
        self.until(|m| m["requestId"] == id.as_str()).await
    }
}

/// The upgrade alone.
pub(crate) async fn handshake(
    address: SocketAddr,
    dial: &Dial<'_>,
) -> Result<WebSocketStream<MaybeTlsStream<TcpStream>>, Error> {
    let query = match (dial.query, dial.key) {
        (Some(query), _) => format!("?{query}"),
        (None, Some((id, _))) if dial.protocol.contains("aes") => {
            format!("?kid={id}&cn={}", encode_base64url(&CLIENT_NONCE))
        }
        (None, Some((id, _))) => format!("?kid={id}"),
        (None, None) => String::new(),
    };
    let mut request = format!("ws://{address}/v1/ws{query}").into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", dial.protocol.parse().unwrap());
    if !dial.token.is_empty() {
        request.headers_mut().insert("authorization", format!("Bearer {}", dial.token).parse().unwrap());
    }
    tokio_tungstenite::connect_async(request).await.map(|(ws, _)| ws)
}

/// The close code after an upgrade that is completed and refused, or the HTTP status of one that is not.
pub(crate) async fn refused(address: SocketAddr, dial: &Dial<'_>) -> u16 {
    match handshake(address, dial).await {
        Err(Error::Http(answer)) => {
            assert!(answer.headers().contains_key("www-authenticate"), "{answer:?}");
            answer.status().as_u16()
        }
        Err(error) => panic!("{error}"),
        Ok(mut ws) => match ws.next().await {
            Some(Ok(Message::Close(Some(frame)))) => frame.code.into(),
            other => panic!("expected a close and nothing before it, got {other:?}"),
        },
    }
}

pub(crate) fn entropy() -> Entropy {
    let mut entropy = Entropy { nonce: [0; 16], iv: [0; 12] };
    getrandom::fill(&mut entropy.nonce).unwrap();
    getrandom::fill(&mut entropy.iv).unwrap();
    entropy
}

/// A message signed with everything chosen freely.
pub(crate) fn signed(text: &str, id: &str, n: u8, direction: Direction, at_ms: u64) -> String {
    let key = signing_key(&secret(n));
    sign_message(&key, &kid(id), direction, &entropy().nonce, WallMillis::new(at_ms), text.to_owned())
        .unwrap()
}
