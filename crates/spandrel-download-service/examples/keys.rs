//! A server that wants to know who calls, on HTTP and on TCP frames, both inside TLS: `keys FILE.parquet`.
#![expect(clippy::print_stdout, reason = "an example shows its result")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use spandrel_crypto::{SecretKey, Token};
use spandrel_download_service::spandrel_transport::{Security, TlsServer, Transport as _};
use spandrel_download_service::{
    AuthMode, Bearer, Dataset, Key, KeyId, Keyring, Principal, Service, ServiceConfig,
};
use spandrel_source_parquet::DatasetConfig;
use spandrel_transport_tcp::TcpTransport;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args_os().nth(1).map(PathBuf::from).ok_or("usage: keys FILE.parquet")?;
    let source = spandrel_source_parquet::open(DatasetConfig::new("data", path))?;
    let alice = Principal::new("alice");
    // Real ones are random: 32 bytes from the system for each.
    let key = Key::new(KeyId::new("k1")?, SecretKey::from_bytes([7; 32]), alice.clone());
    let token = Bearer::new(&Token::new("not-a-secret")?, alice);
    let ring = Arc::new(Keyring::new(AuthMode::Required, vec![key.clone()], vec![token])?);

    let tls = TlsServer::self_signed(["localhost"])?;
    println!("certificate {}", tls.fingerprint());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let mut config = ServiceConfig::new(std::env::temp_dir().join("spandrel-keys"));
    config.listen = Some(listener.local_addr()?);
    config.auth = Arc::clone(&ring) as Arc<_>;
    config.tls = Some(tls.clone().with_alpn(["http/1.1"]));
    let service = Service::open(config.with_dataset(Dataset::new("data", source)))?;
    println!(
        "https://{}/v1/datasets with the header: Authorization: Bearer not-a-secret",
        listener.local_addr()?
    );

    let frames = TcpTransport::new()
        .with_limits(service.link_limits())
        .with_subprotocols(Service::subprotocols())
        .with_security(Security::none().with_server(tls));
    let frames = frames.listen(&"tcps://127.0.0.1:0".parse()?).await?;
    println!("{} with the query: kid=k1", frames.local());

    tokio::select! {
        served = service.serve(listener) => served?,
        () = service.serve_links(frames) => {}
        _ = tokio::signal::ctrl_c() => {
            // The token goes: its sessions end, those of the key go on until the server stops.
            ring.replace(vec![key], vec![])?;
            service.recheck();
            service.shut_down(Duration::from_secs(5)).await;
        }
    }
    Ok(())
}
