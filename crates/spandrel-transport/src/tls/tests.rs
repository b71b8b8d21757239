use std::time::Duration;

use spandrel_wire::Limits;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

use super::*;
use crate::BoxStream;

type Shaken = (Result<BoxStream, TlsError>, Result<BoxStream, TlsError>);

async fn shake(server: &TlsServer, client: &TlsClient, host: &str) -> Shaken {
    let (here, there) = duplex(64 << 10);
    tokio::join!(client.connect(here, host), server.accept(there))
}

fn pair() -> (TlsServer, TlsClient) {
    let server = TlsServer::self_signed(["localhost", "127.0.0.1"]).unwrap();
    let client = TlsClient::with_ca_bytes(server.certificate_pem().as_bytes()).unwrap();
    (server, client)
}

/// Bytes go through a fresh TLS stream in both directions, and the end of one side is seen by the other.
async fn talk((client, server): Shaken) {
    let (mut client, mut server) = (client.unwrap(), server.unwrap());
    client.write_all(b"ping").await.unwrap();
    client.flush().await.unwrap();
    let mut got = [0; 4];
    server.read_exact(&mut got).await.unwrap();
    assert_eq!(&got, b"ping");
    server.write_all(b"pong").await.unwrap();
    server.shutdown().await.unwrap();
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, b"pong");
}

#[tokio::test]
async fn a_server_is_trusted_by_file_and_by_fingerprint() {
    let (server, by_file) = pair();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ca.pem");
    std::fs::write(&file, server.certificate_pem()).unwrap();
    let by_path = TlsClient::with_ca_file(&file).unwrap();
    let pinned = TlsClient::with_fingerprint(server.fingerprint()).unwrap();
    for (client, host) in [(&by_file, "localhost"), (&by_path, "127.0.0.1"), (&pinned, "any.example")] {
        talk(shake(&server, client, host).await).await;
    }
}

#[tokio::test]
async fn this_machine_does_not_trust_a_certificate_made_here() {
    let (server, _) = pair();
    let refused = match TlsClient::platform() {
        Ok(client) => shake(&server, &client, "localhost").await.0.err(),
        Err(e) => Some(e), // a machine without trusted certificates
    };
    assert!(matches!(refused, Some(TlsError::Untrusted { .. } | TlsError::Platform(_))), "{refused:?}");
}

#[tokio::test]
async fn another_server_is_not_trusted() {
    let (server, right) = pair();
    let (other, wrong) = pair();
    let wrong_pin = TlsClient::with_fingerprint(other.fingerprint()).unwrap();
    for (what, client, host) in [
        ("another issuer", &wrong, "localhost"),
        ("another pin", &wrong_pin, "localhost"),
        ("another name", &right, "example.org"),
        ("another address", &right, "127.0.0.2"),
    ] {
        let (client, server) = shake(&server, client, host).await;
        let refused = client.err();
        assert!(
            matches!(&refused, Some(TlsError::Untrusted { name, .. }) if name == host),
            "{what}: {refused:?}"
        );
        assert!(server.is_err(), "{what}: the server was not told");
    }
}

/// A thief who shows the pinned certificate without its key is found out by the signature.
#[tokio::test]
async fn a_pinned_certificate_without_its_key_is_refused() {
    let (real, _) = pair();
    let (thief, _) = pair();
    let stolen = thief.with_chain_of(&real);
    assert_eq!(stolen.fingerprint(), real.fingerprint());
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let pinned = TlsClient::pinned(real.fingerprint(), version);
        let (client, _) = shake(&stolen, &pinned, "localhost").await;
        assert!(client.is_err(), "{:?} took a certificate without its key", version.version);
        talk(shake(&real, &pinned, "localhost").await).await;
    }
}

#[tokio::test]
async fn a_replaced_certificate_is_served_at_once_and_a_wrong_one_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    let write = || {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(&cert, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    };
    write();
    let server = TlsServer::from_pem_files(&cert, &key).unwrap();
    let first = TlsClient::with_fingerprint(server.fingerprint()).unwrap();
    talk(shake(&server, &first, "localhost").await).await;
    write();
    server.clone().reload().unwrap();
    let second = TlsClient::with_fingerprint(server.fingerprint()).unwrap();
    talk(shake(&server, &second, "localhost").await).await;
    assert!(shake(&server, &first, "localhost").await.0.is_err(), "the old certificate is still served");
    std::fs::write(&key, "nothing").unwrap();
    assert!(matches!(server.reload(), Err(TlsError::Pem { .. })));
    talk(shake(&server, &second, "localhost").await).await;
}

/// A root, one it signed, and a server's certificate signed by that; keys as PKCS#8.
struct Chain {
    root: String,
    middle: String,
    own: String,
    key: String,
}

fn chain(name: &str) -> Chain {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    let authority = |name: &str| {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params
    };
    let keys = [(); 3].map(|()| KeyPair::generate().unwrap());
    let (root, middle) = (authority("root"), authority("middle"));
    let own = CertificateParams::new([name.to_owned()]).unwrap();
    let root_made = root.self_signed(&keys[0]).unwrap();
    let middle_made = middle.signed_by(&keys[1], &Issuer::from_params(&root, &keys[0])).unwrap();
    let own_made = own.signed_by(&keys[2], &Issuer::from_params(&middle, &keys[1])).unwrap();
    Chain {
        root: root_made.pem(),
        middle: middle_made.pem(),
        own: own_made.pem(),
        key: keys[2].serialize_pem(),
    }
}

const FOUR: [&str; 4] = ["own.pem", "middle.pem", "root.pem", "key.pem"];

fn write_four(dir: &std::path::Path, chain: &Chain) {
    for (file, text) in FOUR.iter().zip([&chain.own, &chain.middle, &chain.root, &chain.key]) {
        std::fs::write(dir.join(file), text).unwrap();
    }
}

fn of_four(dir: &std::path::Path) -> Result<TlsServer, TlsError> {
    TlsServer::from_pem_chain(FOUR[..3].iter().map(|file| dir.join(file)), dir.join(FOUR[3]))
}

#[tokio::test]
async fn a_chain_of_several_files_is_sent_in_order_each_once() {
    let dir = tempfile::tempdir().unwrap();
    let made = chain("hw.example");
    write_four(dir.path(), &made);
    let shown = |server: &TlsServer| {
        let pem = server.chain_pem();
        pem.replace(['\r', '\n'], "")
    };
    let want = [&made.own, &made.middle, &made.root].map(|pem| pem.replace(['\r', '\n'], "")).concat();
    assert_eq!(shown(&of_four(dir.path()).unwrap()), want);
    std::fs::write(dir.path().join(FOUR[0]), made.own.clone() + &made.middle).unwrap();
    let server = of_four(dir.path()).unwrap();
    assert_eq!(shown(&server), want, "the first file holds more of the chain");
    // A client that knows the root alone needs the one between.
    let client = TlsClient::with_ca_bytes(made.root.as_bytes()).unwrap();
    talk(shake(&server, &client, "hw.example").await).await;
}

#[tokio::test(start_paused = true)]
async fn changed_files_are_seen_when_a_peer_comes_and_broken_ones_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (chain("hw.example"), chain("hw.example"));
    write_four(dir.path(), &first);
    let server = of_four(dir.path()).unwrap().watching_files();
    let [old, new] = [&first, &second].map(|it| TlsClient::with_ca_bytes(it.root.as_bytes()).unwrap());
    let works = async |client: &TlsClient| shake(&server, client, "hw.example").await.0.is_ok();
    let pause = || tokio::time::advance(Duration::from_millis(1001));
    assert!(works(&old).await);

    std::fs::write(dir.path().join(FOUR[3]), &second.key).unwrap();
    assert!(works(&old).await, "not looked at again within a second");
    pause().await;
    assert!(works(&old).await, "half of the files are new");
    std::fs::remove_file(dir.path().join(FOUR[1])).unwrap();
    pause().await;
    assert!(works(&old).await, "one is gone");
    write_four(dir.path(), &second);
    pause().await;
    assert!(works(&new).await && !works(&old).await, "all four are new");

    write_four(dir.path(), &first);
    assert!(works(&new).await, "not looked at again within a second");
    server.reload().unwrap();
    assert!(works(&old).await, "asked to");
    for file in FOUR {
        std::fs::remove_file(dir.path().join(file)).unwrap();
    }
    pause().await;
    assert!(works(&old).await, "all are gone");
    assert!(matches!(server.reload(), Err(TlsError::Read { .. })));
    assert!(works(&old).await, "asked to without files");
}

/// Keys as different tools write them; made once for these tests and used nowhere else.
#[test]
fn keys_of_every_form_are_read() {
    for (name, key) in [
        ("PKCS#8 of RSA", include_str!("../../tests/data/keys/rsa-pkcs8.pem")),
        ("PKCS#1", include_str!("../../tests/data/keys/rsa-pkcs1.pem")),
        ("PKCS#8 of EC", include_str!("../../tests/data/keys/ec-pkcs8.pem")),
        ("SEC1, after the parameters", include_str!("../../tests/data/keys/ec-sec1.pem")),
    ] {
        let certificate = match name.contains("RSA") || name.contains("PKCS#1") {
            true => include_str!("../../tests/data/keys/rsa-cert.pem"),
            false => include_str!("../../tests/data/keys/ec-cert.pem"),
        };
        let made = TlsServer::from_pem_bytes(certificate.as_bytes(), key.as_bytes());
        assert!(made.is_ok(), "{name}: {:?}", made.err());
    }
}

#[tokio::test]
async fn this_machine_is_talked_to_without_trust_and_no_other_is() {
    let limits = Limits::default();
    let server = TlsServer::self_signed(["another.example"]).unwrap().with_alpn(["http/1.1"]);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let accept = async { server.accept(listener.accept().await.unwrap().0).await };
    let (here, there) = tokio::join!(dial_loopback_unverified(address, "hw.example", &limits), accept);
    let (mut here, mut there) = (here.unwrap(), there.unwrap());
    here.write_all(b"ping").await.unwrap();
    here.flush().await.unwrap();
    there.read_exact(&mut [0; 4]).await.unwrap();

    for elsewhere in
        ["192.0.2.1:1", "[2001:db8::1]:1", "0.0.0.0:1", "[::]:1", "[::ffff:192.0.2.1]:1", "128.0.0.1:1"]
    {
        let refused = dial_loopback_unverified(elsewhere.parse().unwrap(), "hw.example", &limits).await.err();
        assert!(
            matches!(refused, Some(crate::DialError::Tls(TlsError::NotLoopback { .. }))),
            "{elsewhere}: {refused:?}"
        );
    }
    let misnamed = dial_loopback_unverified(address, "no name", &limits).await.err();
    assert!(matches!(misnamed, Some(crate::DialError::Tls(TlsError::ServerName { .. }))), "{misnamed:?}");
}

#[tokio::test]
async fn a_plain_server_of_this_machine_is_told_apart() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let plain = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    };
    let limits = Limits::default();
    let (refused, ()) = tokio::join!(dial_loopback_unverified(address, "hw.example", &limits), plain);
    let refused = refused.err();
    assert!(matches!(refused, Some(crate::DialError::Tls(TlsError::NotTls))), "{refused:?}");
}

#[test]
fn wrong_files_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let other = rcgen::KeyPair::generate().unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let (cert, key) =
        (write("cert.pem", &made.cert.pem()), write("key.pem", &made.signing_key.serialize_pem()));
    let other = write("other.pem", &other.serialize_pem());
    let broken = write("broken.pem", "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n");
    let missing = dir.path().join("missing.pem");
    for (what, cert, key, wants) in [
        ("no file", &missing, &key, "missing.pem"),
        ("no key file", &cert, &missing, "missing.pem"),
        ("a key for a certificate", &key, &key, "BEGIN CERTIFICATE"),
        ("a certificate for a key", &cert, &cert, "BEGIN PRIVATE KEY"),
        ("broken", &broken, &key, "broken.pem"),
        ("another key", &cert, &other, "KeyMismatch"),
    ] {
        let error = TlsServer::from_pem_files(cert, key).expect_err(what).to_string();
        assert!(error.to_lowercase().contains(&wants.to_lowercase()), "{what}: {error}");
    }
    assert!(matches!(TlsServer::self_signed(["x"]).unwrap().reload(), Err(TlsError::NoFiles)));
}

#[cfg(unix)]
#[test]
fn a_key_that_is_open_to_others_is_pointed_out() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    for (mode, warned) in [(0o644, 1), (0o640, 1), (0o604, 1), (0o600, 0), (0o400, 0)] {
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(mode)).unwrap();
        let warnings = TlsServer::from_pem_files(&cert, &key).unwrap().warnings();
        assert_eq!(warnings.len(), warned, "mode {mode:o}: {warnings:?}");
    }
}

#[tokio::test]
async fn alpn_is_agreed_or_refused() {
    let (server, client) = pair();
    let server = server.with_alpn(["http/1.1"]);
    for (names, works) in
        [(&["http/1.1"][..], true), (&["h2", "http/1.1"], true), (&[], true), (&["h2"], false)]
    {
        let (client, _) = shake(&server, &client.clone().with_alpn(names), "localhost").await;
        assert_eq!(client.is_ok(), works, "{names:?}: {:?}", client.err());
    }
}

#[tokio::test]
async fn a_peer_without_tls_is_told_apart_and_not_waited_for() {
    let (server, _) = pair();
    let server = server.with_limits(Limits::default().with_handshake_ms(100).with_close_ms(20));
    let accept = |first: &'static [u8]| {
        let server = server.clone();
        async move {
            let (mut here, there): (DuplexStream, _) = duplex(4 << 10);
            here.write_all(first).await.unwrap();
            let wait = tokio::time::timeout(Duration::from_secs(20), server.accept(there));
            let refused = wait.await.expect("ends by itself").err();
            drop(here);
            refused
        }
    };
    let plain = accept(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(matches!(plain, Some(TlsError::NotTls)), "{plain:?}");
    let silent = accept(b"\x16\x03").await;
    assert!(matches!(silent, Some(TlsError::Timeout { after_ms: 100 })), "{silent:?}");
}

#[test]
fn fingerprints_are_read_and_printed() {
    let (server, _) = pair();
    let shown = server.fingerprint().to_string();
    for text in [shown.clone(), shown.replace(':', ""), shown.to_lowercase()] {
        assert_eq!(text.parse::<Fingerprint>().unwrap(), server.fingerprint(), "{text}");
    }
    for text in ["", "AB", &shown[..94], &format!("{shown}:00"), &shown.replace(':', "-"), "é"] {
        assert!(matches!(text.parse::<Fingerprint>(), Err(TlsError::Fingerprint { .. })), "{text}");
    }
}

proptest::proptest! {
    /// A fingerprint read from what it prints is the same, and no text makes reading panic.
    #[test]
    fn prop_roundtrip_of_fingerprints(bytes: [u8; 32], text in ".{0,100}") {
        let fingerprint = Fingerprint::new(bytes);
        proptest::prop_assert_eq!(fingerprint.to_string().parse::<Fingerprint>().ok(), Some(fingerprint));
        let _ = text.parse::<Fingerprint>();
    }

    /// Files that are nearly right are refused or taken, and never make it panic.
    #[test]
    fn prop_never_panics_on_bent_files(at in 0_usize..2000, byte: u8, cut in 0_usize..2000) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let mut both = made.cert.pem() + &made.signing_key.serialize_pem();
        proptest::prop_assert!(TlsServer::from_pem_bytes(both.as_bytes(), both.as_bytes()).is_ok());
        both.truncate(both.len().saturating_sub(cut.saturating_sub(1000)));
        let mut bent = both.into_bytes();
        if let Some(place) = bent.get_mut(at) {
            *place = byte;
        }
        crate::fuzz::fuzz_pem(&bent);
    }
}
