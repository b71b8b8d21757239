//! A download server inside another axum application: `embed FILE.parquet`, then open the printed address.
#![expect(clippy::print_stdout, reason = "an example shows its result")]

use std::path::PathBuf;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use spandrel_download_service::{Dataset, Service, ServiceConfig, axum};
use spandrel_source_parquet::DatasetConfig;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args_os().nth(1).map(PathBuf::from).ok_or("usage: embed FILE.parquet")?;
    let source = spandrel_source_parquet::open(DatasetConfig::new("data", path))?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let mut config = ServiceConfig::new(std::env::temp_dir().join("spandrel-embed"));
    config.listen = Some(listener.local_addr()?);
    let service = Service::open(config.with_dataset(Dataset::new("data", source)))?;

    let app = Router::new().route("/hello", get(async || "the host application")).merge(service.router());
    println!("http://{}/ and /hello", listener.local_addr()?);
    let stopping = service.clone();
    axum::serve(listener, app)
        .with_graceful_shutdown(async move {
            let _ = tokio::signal::ctrl_c().await;
            stopping.shut_down(Duration::from_secs(5)).await;
        })
        .await?;
    Ok(())
}
