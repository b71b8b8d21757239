//! Memory of an idle connection inside TLS: 1,000 open after one echo each, in a server process of their own, against
//! plain ones and against bare `tokio-tungstenite` over `tokio-rustls` with its defaults, in the same run.
//!
//! Run: `cargo bench -p spandrel-transport-ws --bench idle_tls` (Linux only: resident pages are the measure).

use std::{
    fs,
    io::{self, BufRead as _, BufReader, Write as _},
    process::{Command, Stdio},
    sync::Arc,
};

use futures_util::{SinkExt as _, StreamExt as _};
use rustls::{ServerConfig, pki_types::PrivatePkcs8KeyDer};
use spandrel_transport::{Connection, Frame, Limits, Security, TlsClient, TlsServer, Transport as _};
use spandrel_transport_ws::WsTransport;
use tokio::{net::TcpListener, runtime::Builder};

const CONNECTIONS: i64 = 1000;
const VARIANTS: [&str; 3] = ["ours, plain", "ours, TLS", "bare, TLS"];

fn main() {
    let runtime = Builder::new_current_thread().enable_all().build().expect("runtime");
    if let Ok(variant) = std::env::var("IDLE_SERVER") {
        return runtime.block_on(serve(&variant));
    }
    if std::env::args().any(|a| a == "--test") {
        return;
    }
    for variant in VARIANTS {
        let kib = runtime.block_on(measure(variant));
        writeln!(io::stdout(), "idle, {variant}: {kib:.1} KiB a connection").expect("stdout");
    }
}

async fn measure(variant: &str) -> f64 {
    let exe = std::env::current_exe().expect("own path");
    let mut server =
        Command::new(exe).env("IDLE_SERVER", variant).stdout(Stdio::piped()).spawn().expect("starts");
    let mut line = String::new();
    BufReader::new(server.stdout.take().expect("pipe")).read_line(&mut line).expect("a line");
    let (port, pin) = line.trim().split_once(' ').expect("port and fingerprint");
    let client = if variant == "ours, plain" {
        WsTransport::new()
    } else {
        let pinned = TlsClient::with_fingerprint(pin.parse().expect("fingerprint")).expect("client");
        WsTransport::new().with_security(Security::none().with_client(pinned))
    };
    let to = format!("{}://127.0.0.1:{port}/", client_scheme(variant)).parse().expect("endpoint");
    let mut open = Vec::new();
    let mut before = 0;
    for n in 0..=CONNECTIONS {
        let mut conn = Connection::new(client.dial(&to).await.expect("dials"));
        conn.send(Frame::text("x".repeat(64))).await.expect("sends");
        conn.recv().await.expect("receives").expect("is open");
        open.push(conn);
        if n == 0 {
            before = resident_kib(server.id());
        }
    }
    let grown = resident_kib(server.id()) - before;
    let _ = server.kill();
    let _ = server.wait();
    #[expect(clippy::cast_precision_loss, reason = "a mean of small numbers")]
    let mean = grown as f64 / CONNECTIONS as f64;
    mean
}

fn client_scheme(variant: &str) -> &'static str {
    if variant == "ours, plain" { "ws" } else { "wss" }
}

fn resident_kib(process: u32) -> i64 {
    let text = fs::read_to_string(format!("/proc/{process}/statm")).expect("linux counts pages");
    text.split(' ').nth(1).and_then(|n| n.parse::<i64>().ok()).expect("a number") * 4
}

async fn serve(variant: &str) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let port = listener.local_addr().expect("address").port();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("certificate");
    let (cert, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let tls = TlsServer::from_pem_bytes(cert.as_bytes(), key.as_bytes()).expect("certificate");
    writeln!(io::stdout(), "{port} {}", tls.fingerprint()).expect("stdout");
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let bare = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .expect("certificate");
    let bare = tokio_rustls::TlsAcceptor::from(Arc::new(bare));
    let security = if variant == "ours, TLS" { Security::none().with_server(tls) } else { Security::none() };
    let ours = WsTransport::new().with_security(security);
    loop {
        let (stream, _) = listener.accept().await.expect("accepts");
        stream.set_nodelay(true).expect("socket");
        if variant == "bare, TLS" {
            let bare = bare.clone();
            tokio::spawn(async move {
                let tls = bare.accept(stream).await.expect("handshake");
                let mut ws = tokio_tungstenite::accept_async(tls).await.expect("handshake");
                while let Some(Ok(message)) = ws.next().await {
                    let _ = ws.send(message).await;
                }
            });
            continue;
        }
        let ours = ours.clone();
        tokio::spawn(async move {
            let link = ours.accept_stream(stream, None).await.expect("handshake");
            let mut conn = Connection::with_limits(link, &Limits::default());
            while let Ok(Some(frame)) = conn.recv().await {
                let _ = conn.send(frame).await;
            }
        });
    }
}
