//! Every way to a server, with real sockets: sessions and files.

use std::path::Path;

use spandrel_download_client::{
    Client, ClientError, ClientOptions, Credentials, Dial, DialError, Offer, Seal, TlsError, Trust,
};
use spandrel_download_protocol::ClientEvent;
use spandrel_transport::{BoxFuture, Link, Security, TlsServer};
use spandrel_transport_tcp::TcpTransport;
#[cfg(unix)]
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::server::{Server, Steering, Ways, id};
use crate::{content, options, request};

const JSON: &str = "spandrel.download.v1+json";

fn certificate() -> TlsServer {
    TlsServer::self_signed(["localhost", "127.0.0.1"]).unwrap()
}

/// A session, a job and a file.
async fn works(steering: &mut Steering, url: &str, options: ClientOptions, directory: &Path) {
    let client = Client::connect(url, options).await.unwrap();
    let download = client.request(&request()).await.unwrap();
    assert_eq!(download.id(), id());
    assert_eq!(steering.seen.recv().await.unwrap().event, ClientEvent::DownloadRequest);
    assert_eq!(client.datasets().await.unwrap().len(), 1);
    let file = steering.server.put("a.csv", content(300_000));
    let target = directory.join("a.csv");
    client.fetch_file(id(), &file, &target, |_| {}).await.unwrap();
    assert_eq!(std::fs::read(&target).unwrap(), content(300_000));
    std::fs::remove_file(target).unwrap();
}

#[tokio::test]
async fn sessions_and_files_come_over_every_way() {
    let directory = tempfile::tempdir().unwrap();
    let (tls, directory) = (certificate(), directory.path());
    let ca = directory.join("ca.pem");
    std::fs::write(&ca, tls.certificate_pem()).unwrap();
    let trusts = [Trust::Pin(tls.fingerprint()), Trust::CaFile(ca)];

    let mut plain = Server::start(true, false).await;
    let tcp = TcpTransport::new().with_subprotocols([JSON]);
    let tcp_at = plain.server.listen(tcp.clone(), "tcp://127.0.0.1:0").await.to_string();
    let (url, http) = (plain.server.url(), options().http_url(plain.server.url()));
    works(&mut plain, &url, options(), directory).await;
    works(&mut plain, &url.replace("http", "ws"), options(), directory).await;
    works(&mut plain, &tcp_at, http, directory).await;

    let mut secure = Server::start_secured(Ways::default(), Some(tls.clone())).await;
    let tcps = tcp.with_security(Security::none().with_server(tls));
    let tcps_at = secure.server.listen(tcps, "tcps://127.0.0.1:0").await.to_string();
    let url = secure.server.url();
    for trust in trusts {
        let trusting = options().trust(trust);
        works(&mut secure, &url, trusting.clone(), directory).await;
        works(&mut secure, &url.replace("https", "wss"), trusting.clone(), directory).await;
        works(&mut secure, &tcps_at, trusting.http_url(url.clone()), directory).await;
    }
}

#[cfg(unix)]
#[tokio::test]
async fn sessions_come_over_a_socket_file() {
    let directory = tempfile::tempdir().unwrap();
    let mut steering = Server::start(true, false).await;
    let url = format!("unix:{}", directory.path().join("x.sock").display());
    steering.server.listen(spandrel_transport_ipc::UnixTransport::new(), &url).await;
    let http = options().http_url(steering.server.url());
    works(&mut steering, &url, http, directory.path()).await;

    // Without the address the session works, and what needs HTTP says so.
    let client = Client::connect(&url, options()).await.unwrap();
    client.request(&request()).await.unwrap();
    assert!(matches!(client.datasets().await, Err(ClientError::NoHttp { path }) if path == "/v1/datasets"));
    let file = steering.server.put("b.csv", content(10));
    let target = directory.path().join("b.csv");
    let refused = client.fetch_file(id(), &file, &target, |_| {}).await;
    assert!(matches!(refused, Err(ClientError::NoHttp { .. })), "{refused:?}");
    // A server that says where it is found needs no such option.
    let absolute = format!("{}{}", steering.server.url(), file.url);
    let file = spandrel_download_protocol::FileInfo { url: absolute, ..file };
    client.fetch_file(id(), &file, &target, |_| {}).await.unwrap();
}

/// Section 2.3: the key is the event of the message it stands before, from either side.
#[cfg(unix)]
#[tokio::test]
async fn a_line_under_another_key_is_not_believed() {
    use spandrel_download_protocol::{ConnectionHealth, ServerEvent, write_message};
    let hello = ConnectionHealth::Hello {
        server_time: 1,
        session_id: "s1".to_owned(),
        protocol: JSON.to_owned(),
        heartbeat_interval_ms: 10_000,
        heartbeat_timeout_ms: 5000,
        max_message_bytes: 1 << 20,
        features: vec![],
        system_health: crate::server::health(),
        server_nonce: None,
    };
    let hello = write_message(ServerEvent::ConnectionHealth, "srv-1", 1, &hello);
    for (key, good) in [("connection:health", true), ("status:update", false), ("", false)] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.sock");
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        let line = format!("{{\"key\":\"{key}\",\"value\":{hello}}}\n");
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(line.as_bytes()).await.unwrap();
            // Until the client goes.
            let _ = stream.read(&mut [0]).await;
        });
        let opened = Client::connect(&format!("unix:{}", path.display()), options()).await.map(drop);
        match good {
            true => assert!(opened.is_ok(), "{opened:?}"),
            false => assert!(matches!(opened, Err(ClientError::Protocol(_))), "{key}: {opened:?}"),
        }
    }
}

#[tokio::test]
async fn a_server_with_another_certificate_is_not_talked_to() {
    let mut steering = Server::start_secured(Ways::default(), Some(certificate())).await;
    let url = steering.server.url();
    for trust in [Trust::Pin(certificate().fingerprint()), Trust::Platform] {
        let refused = Client::connect(&url, options().trust(trust)).await.map(drop);
        let error = refused.unwrap_err();
        assert!(matches!(error, ClientError::Tls(TlsError::Untrusted { .. })) && error.is_auth(), "{error}");
    }
    assert!(steering.seen.try_recv().is_err());
    // Plain where TLS is expected, and the other way round.
    let plain = Server::start(true, false).await;
    let tls_to_plain = plain.server.url().replace("http", "https");
    let trusting = options().trust(Trust::Pin(certificate().fingerprint()));
    let refused = Client::connect(&tls_to_plain, trusting).await.map(drop);
    assert!(matches!(refused, Err(ClientError::Tls(TlsError::NotTls))), "{refused:?}");
    let refused = Client::connect(&url.replace("https", "http"), options()).await.map(drop);
    assert!(matches!(refused, Err(ClientError::Dial(_))), "{refused:?}");
}

/// Somebody's own link to a parent, which knows no layers. Nobody gets as far as dialling it.
struct Wrapped;

impl Dial for Wrapped {
    fn dial<'a>(&'a self, _: &'a Offer) -> BoxFuture<'a, Result<Box<dyn Link>, DialError>> {
        Box::pin(async { Err(DialError::Unsupported { endpoint: "wrapped".to_owned() }) })
    }

    fn is_wrapped(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn options_that_contradict_the_address_are_told_before_anything_is_sent() {
    let key = || Credentials::key("k1", crate::stage::SECRET).unwrap();
    let bearer = || Credentials::bearer("abc").unwrap();
    let pin = Trust::Pin(certificate().fingerprint());
    for (name, url, options) in [
        ("seal without a key", "ws://127.0.0.1:1", options().seal(Seal::Required)),
        ("bearer over tcp", "tcp://127.0.0.1:1", options().credentials(bearer())),
        ("key over a socket file", "unix:/nowhere", options().credentials(key())),
        ("pin without TLS", "http://127.0.0.1:1", options().trust(pin)),
    ] {
        let refused = Client::connect(url, options).await.map(drop);
        assert!(matches!(refused, Err(ClientError::Options(_))), "{name}: {refused:?}");
    }
    for seal in [Seal::Off, Seal::IfOffered, Seal::Required] {
        let options = options().credentials(key()).seal(seal);
        let refused = Client::connect_over(std::sync::Arc::new(Wrapped), options).await.map(drop);
        assert!(matches!(refused, Err(ClientError::Options(_))), "own wrapped link, {seal:?}: {refused:?}");
    }
    let none = options().trust(Trust::CaFile("/nowhere/ca.pem".into()));
    let refused = Client::connect("https://127.0.0.1:1", none).await.map(drop);
    assert!(matches!(refused, Err(ClientError::Tls(TlsError::Read { .. }))), "{refused:?}");
}
