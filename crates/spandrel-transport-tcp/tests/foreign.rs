//! The handshake and the frames as foreign bytes: raw sockets, and TLS that is not ours.

use std::{future::poll_fn, process::Stdio, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use spandrel_transport::{
    AcceptError, Admission, Connection, DialError, Frame, Limits, LinkError, Listener, Security, TlsServer,
    Transport,
};
use spandrel_transport_tcp::TcpTransport;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// An offer of `v1`, then the text `{}`, byte for byte.
const OFFER_AND_TEXT: &[u8] = b"\0\0\0\x09\0v9,v1 a=\0\0\0\x03\x01{}";
/// The choice of `v1`, then the text again.
const CHOICE_AND_TEXT: &[u8] = b"\0\0\0\x03\0v1\0\0\0\x03\x01{}";

async fn accept(listener: &mut Box<dyn Listener>) -> Result<Connection, AcceptError> {
    poll_fn(|cx| listener.poll_accept(cx)).await.expect("accepts").accept().await.map(Connection::new)
}

async fn secured() -> (TlsServer, Box<dyn Listener>) {
    let certificate = TlsServer::self_signed(["localhost"]).expect("works");
    let transport = TcpTransport::new()
        .with_subprotocols(["v1"])
        .with_security(Security::none().with_server(certificate.clone()));
    let listener = transport.listen(&"tcps://127.0.0.1:0".parse().expect("works")).await.expect("listens");
    (certificate, listener)
}

/// Takes one link, sends its first frame back, returns how it ends.
fn echo_one(mut listener: Box<dyn Listener>) -> tokio::task::JoinHandle<Result<Option<Frame>, LinkError>> {
    tokio::spawn(async move {
        let mut conn = accept(&mut listener).await.expect("handshake");
        assert!(conn.peer().is_secure);
        assert_eq!(conn.peer().query_param("a"), Some(""));
        let frame = conn.recv().await?.expect("is open");
        conn.send(frame).await?;
        conn.recv().await
    })
}

#[tokio::test]
async fn byte_by_byte_is_the_same() {
    let transport = TcpTransport::new().with_subprotocols(["v1"]);
    let mut listener = transport.listen(&"tcp://127.0.0.1:0".parse().unwrap()).await.unwrap();
    let mut peer = TcpStream::connect(listener.local().host_port().unwrap()).await.unwrap();
    peer.set_nodelay(true).unwrap();
    let talk = async {
        for byte in OFFER_AND_TEXT {
            peer.write_all(&[*byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        let mut answer = vec![0; CHOICE_AND_TEXT.len()];
        peer.read_exact(&mut answer).await.unwrap();
        answer
    };
    let serve = async {
        let mut conn = accept(&mut listener).await.unwrap();
        let frame = conn.recv().await.unwrap().unwrap();
        conn.send(frame).await.unwrap();
        conn
    };
    let (answer, _conn) = tokio::join!(talk, serve);
    assert_eq!(answer, CHOICE_AND_TEXT);
}

#[tokio::test]
async fn a_foreign_tls_client_is_understood_and_a_cut_is_no_clean_end() {
    let (certificate, listener) = secured().await;
    let to = listener.local().host_port().map(|(host, port)| (host.to_owned(), port)).unwrap();
    let server = echo_one(listener);
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(certificate.certificate_pem().as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let tcp = TcpStream::connect(to).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let mut tls = connector.connect("localhost".try_into().unwrap(), tcp).await.unwrap();
    for byte in OFFER_AND_TEXT {
        tls.write_all(&[*byte]).await.unwrap();
        tls.flush().await.unwrap();
    }
    let mut answer = vec![0; CHOICE_AND_TEXT.len()];
    tls.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, CHOICE_AND_TEXT);
    tls.into_inner().0.shutdown().await.unwrap();
    let end = server.await.unwrap();
    assert!(matches!(end, Err(LinkError::Gone)), "{end:?}");
}

/// The tool everybody has, where it is.
#[tokio::test]
async fn openssl_is_understood() {
    let has_openssl = std::process::Command::new("openssl").arg("version").output().is_ok();
    if !has_openssl {
        println!("no openssl here: it is not tried");
        return;
    }
    let (certificate, listener) = secured().await;
    let port = listener.local().host_port().unwrap().1;
    let server = echo_one(listener);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ca.pem");
    std::fs::write(&file, certificate.certificate_pem()).unwrap();
    let mut openssl = tokio::process::Command::new("openssl")
        .args(["s_client", "-quiet", "-verify_return_error", "-verify_hostname", "localhost", "-CAfile"])
        .arg(&file)
        .args(["-connect", &format!("127.0.0.1:{port}")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let (mut input, mut output) = (openssl.stdin.take().unwrap(), openssl.stdout.take().unwrap());
    input.write_all(OFFER_AND_TEXT).await.unwrap();
    let mut answer = vec![0; CHOICE_AND_TEXT.len()];
    output.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, CHOICE_AND_TEXT);
    openssl.kill().await.unwrap();
    server.await.unwrap().expect_err("killed");
}

#[tokio::test]
async fn one_connection_over_the_bound_of_an_address_is_dropped() {
    let limits = Limits::default().with_connections_max(10, 1);
    let transport = TcpTransport::new().with_shared_admission(Admission::counting_loopback(&limits));
    let mut listener = transport.listen(&"tcp://127.0.0.1:0".parse().unwrap()).await.unwrap();
    let to = listener.local().clone();
    let plain = TcpTransport::new();
    let (first, accepted) = tokio::join!(plain.dial(&to), accept(&mut listener));
    let mut second = Connection::new(plain.dial(&to).await.unwrap());
    tokio::select! {
        _ = accept(&mut listener) => panic!("one over the bound came in"),
        end = second.recv() => assert!(matches!(end, Err(LinkError::Gone)), "one over the bound got {end:?}"),
    }
    drop((first, accepted));
    let (third, accepted) = tokio::join!(plain.dial(&to), accept(&mut listener));
    assert!(third.is_ok() && accepted.is_ok(), "the place is free again");
}

#[tokio::test]
async fn hello_chooses_the_first_common_name() {
    let listening = TcpTransport::new().with_subprotocols(["v2", "v1"]);
    for (name, offered, want) in
        [("both", &["v1", "v2"][..], Some("v1")), ("one", &["v9", "v2"], Some("v2")), ("none", &["v9"], None)]
    {
        let mut listener = listening.listen(&"tcp://127.0.0.1:0".parse().unwrap()).await.unwrap();
        let to = listener.local().clone();
        let dialling =
            TcpTransport::new().with_subprotocols(offered.iter().copied()).with_query("kid=k1&cn=x");
        let accept = async { poll_fn(|cx| listener.poll_accept(cx)).await.unwrap().accept().await };
        let (dialled, accepted) = tokio::join!(dialling.dial(&to), accept);
        match (want, dialled, accepted) {
            (Some(want), Ok(dialled), Ok(accepted)) => {
                assert_eq!(dialled.peer().subprotocol.as_deref(), Some(want), "{name}");
                assert_eq!(accepted.peer().subprotocol.as_deref(), Some(want), "{name}");
                assert_eq!(accepted.peer().query_param("kid"), Some("k1"), "{name}");
            }
            (None, Err(DialError::Closed { close }), Err(AcceptError::Handshake(_))) => {
                assert_eq!(close.code, 4406)
            }
            (_, dialled, accepted) => panic!("{name}: {:?}, {:?}", dialled.err(), accepted.err()),
        }
    }
}

#[tokio::test]
async fn a_wrong_length_is_answered_1009_and_closed() {
    let mut listener = TcpTransport::new().listen(&"tcp://127.0.0.1:0".parse().unwrap()).await.unwrap();
    for (name, length) in [("zero", 0_u32), ("one over", (1 << 20) + 2), ("the largest", u32::MAX)] {
        let mut stream = TcpStream::connect(listener.local().host_port().unwrap()).await.unwrap();
        let link = poll_fn(|cx| listener.poll_accept(cx)).await.unwrap().accept().await.unwrap();
        let server = tokio::spawn(async move { Connection::new(link).recv().await });
        stream.write_all(&length.to_be_bytes()).await.unwrap();
        stream.write_all(&[7; 30_000]).await.unwrap(); // unread input must not reset the close away
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(answer[4..7], [3, 0x03, 0xF1], "{name}: kind 3, code 1009");
        drop(stream);
        assert!(server.await.unwrap().is_err(), "{name}");
    }
}
