//! `wss`: foreign clients and servers, behind an HTTP server, and what must not work.

use std::{future::poll_fn, sync::Arc, time::Duration};

use axum::{Router, body::Body, extract::Request, response::Response, routing::get};
use futures_util::{SinkExt as _, StreamExt as _};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use rustls::{ClientConfig, RootCertStore, ServerConfig, pki_types::PrivatePkcs8KeyDer};
use spandrel_transport::{
    AcceptError, Close, Connection, DialError, Driver, Endpoint, Frame, Limits, LinkError, Listener, Peer,
    Security, TlsClient, TlsError, TlsServer, Transport,
};
use spandrel_transport_ws::{Role, Upgrade, WsCodec, WsTransport, accept_upgraded, choose_first, upgrade};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, BufWriter, duplex},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::timeout,
};
use tokio_tungstenite::tungstenite::Message;

fn certificate() -> TlsServer {
    TlsServer::self_signed(["localhost", "127.0.0.1"]).expect("works")
}

fn trusting(server: &TlsServer) -> WsTransport {
    let client = TlsClient::with_ca_bytes(server.certificate_pem().as_bytes()).expect("works");
    WsTransport::new().with_security(Security::none().with_client(client))
}

async fn listen(transport: &WsTransport) -> (Box<dyn Listener>, Endpoint) {
    let listener = transport.listen(&"wss://127.0.0.1:0/".parse().expect("works")).await.expect("works");
    let local = listener.local().clone();
    (listener, local)
}

async fn accept(listener: &mut Box<dyn Listener>) -> Result<Connection, AcceptError> {
    let incoming = poll_fn(|cx| listener.poll_accept(cx)).await.expect("works");
    incoming.accept().await.map(Connection::new)
}

/// A client configuration that is not ours, trusting the certificate.
fn foreign_client(server: &TlsServer) -> tokio_rustls::TlsConnector {
    use rustls::pki_types::{CertificateDer, pem::PemObject as _};
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(server.certificate_pem().as_bytes()).expect("pem"))
        .expect("root");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config).into()
}

#[tokio::test]
async fn foreign_client_talks_to_our_server() {
    let certificate = certificate();
    let secured = WsTransport::new()
        .with_subprotocols(["v1"])
        .with_security(Security::none().with_server(certificate.clone()));
    let (mut listener, local) = listen(&secured).await;
    let server = tokio::spawn(async move {
        let mut conn = accept(&mut listener).await.unwrap();
        while let Some(frame) = conn.recv().await.unwrap() {
            conn.feed(frame).await.unwrap();
        }
        conn.close(Close::normal()).await.unwrap();
        conn.peer().clone()
    });
    let tcp = TcpStream::connect(local.host_port().unwrap()).await.unwrap();
    let tls = foreign_client(&certificate).connect("localhost".try_into().unwrap(), tcp).await.unwrap();
    assert_eq!(tls.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    let (mut ws, _) = tokio_tungstenite::client_async("wss://localhost/p?q", tls).await.unwrap();
    for message in [Message::text("ü"), Message::binary(vec![1; 300_000]), Message::Ping("p".into())] {
        ws.send(message.clone()).await.unwrap();
        let want = if message.is_ping() { Message::Pong("p".into()) } else { message };
        assert_eq!(ws.next().await.unwrap().unwrap(), want);
    }
    ws.close(None).await.unwrap();
    while let Some(Ok(_)) = ws.next().await {}
    let peer = server.await.unwrap();
    assert_eq!((peer.scheme, peer.is_secure, peer.path.as_str()), ("wss", true, "/p"));
}

#[tokio::test]
async fn our_client_talks_to_a_foreign_server() {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        let tls = tokio_rustls::TlsAcceptor::from(Arc::new(config)).accept(tcp).await.unwrap();
        let mut ws = tokio_tungstenite::accept_async(tls).await.unwrap();
        while let Some(Ok(message)) = ws.next().await {
            if message.is_text() || message.is_binary() {
                ws.send(message).await.unwrap();
            }
        }
    });
    let client = TlsClient::with_ca_bytes(made.cert.pem().as_bytes()).unwrap();
    let transport = WsTransport::new().with_security(Security::none().with_client(client));
    let link = transport.dial(&format!("wss://127.0.0.1:{port}/").parse().unwrap()).await.unwrap();
    assert!(link.peer().is_secure);
    let mut conn = Connection::new(link);
    for frame in [Frame::text("ü"), Frame::binary(vec![1; 300_000])] {
        conn.send(frame.clone()).await.unwrap();
        assert_eq!(conn.recv().await.unwrap(), Some(frame));
    }
    conn.close(Close::normal()).await.unwrap();
    server.await.unwrap();
}

/// One port, one certificate: pages over https and messages over wss, served by hyper.
#[tokio::test]
async fn an_http_server_hands_its_tls_stream_over() {
    let (links, mut arrived) = mpsc::channel(4);
    let open = move |mut request: Request| {
        let links = links.clone();
        async move {
            let upgraded = hyper::upgrade::on(&mut request);
            let Upgrade { response, mut peer, .. } =
                upgrade(&request, None, |offered| choose_first(offered, &["v1"])).unwrap();
            peer.is_secure = true;
            tokio::spawn(async move {
                let link = accept_upgraded(upgraded.await.unwrap(), peer, &Limits::default());
                links.send(link).await.unwrap();
            });
            response.map(|()| Body::empty()) as Response
        }
    };
    let app = Router::new().route("/ws", get(open)).route("/", get(async || "a page"));
    let certificate = certificate();
    let tls = certificate.clone().with_alpn(["http/1.1"]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            let (tls, app) = (tls.clone(), app.clone());
            tokio::spawn(async move {
                let Ok(stream) = tls.accept(tcp).await else { return };
                let http = hyper::server::conn::http1::Builder::new();
                let serving = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(app));
                let _ = serving.with_upgrades().await;
            });
        }
    });

    let client = trusting(&certificate).with_subprotocols(["v1"]);
    let link = client.dial(&format!("wss://localhost:{}/ws", to.port()).parse().unwrap()).await.unwrap();
    assert_eq!(link.peer().subprotocol.as_deref(), Some("v1"));
    let (mut here, mut there) = (Connection::new(link), Connection::new(arrived.recv().await.unwrap()));
    here.send(Frame::text("over the page's port")).await.unwrap();
    let got = there.recv().await.unwrap().unwrap();
    there.send(got.clone()).await.unwrap();
    assert_eq!(here.recv().await.unwrap(), Some(got));
    let (closed, _) = tokio::join!(here.close(Close::new(4000, "bye")), there.recv());
    closed.unwrap();
    assert_eq!(there.close_info().map(|c| c.code), Some(4000));

    let tcp = TcpStream::connect(to).await.unwrap();
    let mut tls = foreign_client(&certificate).connect("localhost".try_into().unwrap(), tcp).await.unwrap();
    tls.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut page = String::new();
    tls.read_to_string(&mut page).await.unwrap();
    assert!(page.ends_with("a page"), "{page}");
}

#[tokio::test]
async fn plain_and_secure_do_not_mix_and_strangers_are_not_trusted() {
    let certificate = certificate();
    let secured = WsTransport::new()
        .with_limits(Limits::default().with_handshake_ms(300).with_close_ms(50))
        .with_security(Security::none().with_server(certificate.clone()));
    let (mut listener, secure) = listen(&secured).await;
    let (host, port) = secure.host_port().unwrap();
    let plain: Endpoint = format!("ws://{host}:{port}/").parse().unwrap();

    let untold = WsTransport::new();
    let (dialled, accepted) = tokio::join!(untold.dial(&plain), accept(&mut listener));
    assert!(dialled.is_err());
    let refused = accepted.err();
    assert!(matches!(refused, Some(AcceptError::Tls(TlsError::NotTls))), "a plain client gave {refused:?}");

    let silent = TcpStream::connect((host, port)).await.unwrap();
    let refused = accept(&mut listener).await.err();
    assert!(
        matches!(refused, Some(AcceptError::Timeout { after_ms: 300 })),
        "a silent client gave {refused:?}"
    );
    drop(silent);

    let stranger = trusting(&self::certificate());
    let (dialled, _) = tokio::join!(stranger.dial(&secure), accept(&mut listener));
    let refused = dialled.err();
    assert!(
        matches!(refused, Some(DialError::Tls(TlsError::Untrusted { .. }))),
        "a stranger gave {refused:?}"
    );

    for (name, transport, to) in
        [("plain to wss", WsTransport::new(), &secure), ("secure to ws", trusting(&certificate), &plain)]
    {
        let refused = transport.dial(to).await.err();
        assert!(matches!(refused, Some(DialError::Unsupported { .. })), "{name}: {refused:?}");
    }
    let dials_only = trusting(&certificate).listen(&secure).await.err().map(|e| e.to_string());
    assert!(dials_only.as_deref().is_some_and(|e| e.contains("no certificate")), "{dials_only:?}");

    let trusting = trusting(&certificate);
    let (dialled, accepted) = tokio::join!(trusting.dial(&secure), accept(&mut listener));
    assert!(dialled.is_ok() && accepted.is_ok(), "after all that the door still works");
}

/// Cut below TLS, without its goodbye: somebody on the way could have done that.
#[tokio::test]
async fn a_stream_cut_below_tls_is_no_clean_end() {
    let certificate = certificate();
    let secured = WsTransport::new().with_security(Security::none().with_server(certificate.clone()));
    let (mut listener, local) = listen(&secured).await;
    let tcp = TcpStream::connect(local.host_port().unwrap()).await.unwrap();
    let client = async {
        let tls = foreign_client(&certificate).connect("localhost".try_into().unwrap(), tcp).await.unwrap();
        let (ws, _) = tokio_tungstenite::client_async("wss://localhost/", tls).await.unwrap();
        ws
    };
    let (ws, conn) = tokio::join!(client, accept(&mut listener));
    let mut conn = conn.unwrap();
    let (mut tcp, _session) = ws.into_inner().into_inner();
    tcp.shutdown().await.unwrap();
    let end = conn.recv().await;
    assert!(matches!(end, Err(LinkError::Gone)), "{end:?}");
}

/// A stream may keep what is written until it is flushed, as TLS does; answers to pings must not stay in it.
#[tokio::test]
async fn answers_are_flushed_while_receiving_waits() {
    let (here, there) = duplex(1024);
    let limits = Limits::default();
    let keeping = BufWriter::new(there);
    let codec = WsCodec::new(Role::Server, &limits);
    let mut conn = Connection::new(Driver::new(keeping, codec, Peer::new("ws"), &limits));
    let mut client =
        Connection::new(Driver::new(here, WsCodec::new(Role::Client, &limits), Peer::new("ws"), &limits));
    assert!(client.ping(b"are you there").await.unwrap());
    let answered = async {
        while client.stats().activity == 0 {
            let waited = timeout(Duration::from_millis(10), client.recv()).await;
            assert!(waited.is_err(), "a pong came up as {waited:?}");
        }
    };
    tokio::select! {
        got = conn.recv() => panic!("a ping came up as {got:?}"),
        answered = timeout(Duration::from_secs(20), answered) => answered.expect("the answer came out"),
    }
}
