//! Certificates that are renewed, broken and removed while the bridge runs.

use std::path::Path;

use crate::rig::*;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use spandrel_bridge_service::{
    CERTIFICATE_FILES, Config, KEY_FILE, load_certificates,
    spandrel_transport::{Limits, TlsClient},
};
use tokio::net::TcpStream;

/// Writes the four files, signed by a fresh root, and returns who trusts that.
fn write_files(dir: &Path) -> TlsClient {
    let authority = || {
        let mut params = CertificateParams::new(Vec::new()).expect("works");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
    };
    let keys = [(); 3].map(|()| KeyPair::generate().expect("works"));
    let (root, middle) = (authority(), authority());
    let own = CertificateParams::new(["hw.playentry.org".to_owned()]).expect("works");
    let root_made = root.self_signed(&keys[0]).expect("works").pem();
    let middle_made = middle.signed_by(&keys[1], &Issuer::from_params(&root, &keys[0])).expect("works").pem();
    let own_made = own.signed_by(&keys[2], &Issuer::from_params(&middle, &keys[1])).expect("works").pem();
    for (file, text) in CERTIFICATE_FILES.iter().zip([own_made, middle_made, root_made.clone()]) {
        std::fs::write(dir.join(file), text).expect("works");
    }
    std::fs::write(dir.join(KEY_FILE), keys[2].serialize_pem()).expect("works");
    TlsClient::with_ca_bytes(root_made.as_bytes()).expect("works").with_limits(Limits::default())
}

async fn page(to: std::net::SocketAddr, trust: &TlsClient) -> Result<Page, String> {
    let stream = TcpStream::connect(to).await.expect("works");
    let stream = trust.connect(stream, "hw.playentry.org").await.map_err(|e| e.to_string())?;
    Page::over(stream, to, "client=true&roomId=t").await
}

#[tokio::test]
async fn a_renewed_certificate_is_served_and_broken_files_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    assert!(load_certificates(dir.path()).unwrap().is_none(), "no files");
    let first = write_files(dir.path());
    std::fs::remove_file(dir.path().join(CERTIFICATE_FILES[2])).unwrap();
    assert!(load_certificates(dir.path()).unwrap().is_none(), "one is missing");
    std::fs::write(dir.path().join(CERTIFICATE_FILES[2]), "nothing").unwrap();
    let error = load_certificates(dir.path()).unwrap_err().to_string();
    assert!(error.contains(CERTIFICATE_FILES[2]), "{error}");
    drop(first);

    let first = write_files(dir.path());
    let tls = load_certificates(dir.path()).unwrap().unwrap();
    let program = Program::host(Config::default().with_port(0).with_tls(tls.clone())).await;
    let to = program.address().await;
    let mut old_page = page(to, &first).await.unwrap();

    for file in CERTIFICATE_FILES {
        std::fs::remove_file(dir.path().join(file)).unwrap();
    }
    assert!(tls.reload().is_err());
    assert!(page(to, &first).await.is_ok(), "files are gone");

    let second = write_files(dir.path());
    tls.reload().unwrap();
    assert!(page(to, &second).await.is_ok() && page(to, &first).await.is_err(), "renewed on request");

    let third = write_files(dir.path());
    within("the new certificate", async { while page(to, &third).await.is_err() {} }).await;
    assert!(page(to, &second).await.is_err(), "renewed by itself");

    old_page.emit(r#"1["message",null]"#).await;
    assert_eq!(old_page.frame().await.as_deref(), Some("431[true]"), "sessions live on");
}

#[tokio::test]
async fn whoever_speaks_no_tls_disturbs_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let trust = write_files(dir.path());
    let tls = load_certificates(dir.path()).unwrap().unwrap();
    let program = Program::host(Config::default().with_port(0).with_tls(tls)).await;
    let to = program.address().await;
    let _silent = TcpStream::connect(to).await.unwrap();
    let answer = ask(to, &get("/", "localhost", "")).await;
    assert!(!answer.contains("hello entry"), "{answer}");
    assert!(page(to, &trust).await.is_ok());
}
