//! Serves one file resumably: `cargo run -p spandrel-http --example serve_file -- Cargo.lock`, then
//! `curl -C - -O -J` or any client that sends `Range` with `If-Range`.
#![expect(clippy::print_stdout, reason = "an example shows its address")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use axum::extract::State;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::{Router, routing::get};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use spandrel_crypto::sha256;
use spandrel_http::{
    FileFacts, Guard, GuardConfig, GuardFace, Problem, guard_requests, open_file, serve_file, with_request_id,
};

struct Record {
    path: PathBuf,
    len: u64,
    sha256: [u8; 32],
}

async fn send(State(record): State<Arc<Record>>, method: Method, headers: HeaderMap) -> Response {
    let file = match open_file(record.path.clone(), record.len).await {
        Ok(file) => file,
        Err(why) => return problem(StatusCode::GONE, &why.to_string()),
    };
    let facts = FileFacts {
        modified: file.metadata().and_then(|facts| facts.modified()).unwrap_or(SystemTime::UNIX_EPOCH),
        file,
        len: record.len,
        sha256: record.sha256,
        content_type: HeaderValue::from_static("application/octet-stream"),
        file_name: record.path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
    };
    serve_file(facts, &method, &headers)
}

fn problem(status: StatusCode, detail: &str) -> Response {
    Problem::new("about:blank", status.canonical_reason().unwrap_or_default(), status, detail).into_response()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = PathBuf::from(std::env::args().nth(1).ok_or("usage: serve_file FILE")?);
    let bytes = std::fs::read(&path)?;
    let record = Arc::new(Record { path, len: bytes.len().try_into()?, sha256: sha256(&bytes) });

    let guard = Guard::new(&GuardConfig { listen_is_loopback: true, ..GuardConfig::default() })?;
    let face = GuardFace { guard, refuse: |why| problem(StatusCode::FORBIDDEN, &why.to_string()) };
    let app = Router::new()
        .route("/file", get(send))
        .with_state(record)
        .layer(from_fn_with_state(Arc::new(face), guard_requests))
        .layer(from_fn(with_request_id));

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}/file", listener.local_addr()?);
    Ok(axum::serve(listener, app).await?)
}
