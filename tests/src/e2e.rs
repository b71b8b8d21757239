//! The download server as its users meet it: the real binary, real sockets, real files, foreign readers.

mod cli;
pub(crate) mod data;
mod durability;
mod errors;
mod files;
pub(crate) mod http;
mod idle;
mod latency;
mod memory;
pub(crate) mod page;
mod proxy;
mod rotation;
mod routes;
mod secure;
pub(crate) mod server;
pub(crate) mod ws;

/// The bundled flights of 2013, 336,776 rows, in time order.
const FLIGHTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../apps/download-server/data/flights.parquet");

/// Tests that measure or load the machine take turns.
pub(crate) async fn turn() -> tokio::sync::MutexGuard<'static, ()> {
    static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    TURN.lock().await
}

pub(crate) fn is_long() -> bool {
    std::env::var("SPANDREL_LONG").is_ok_and(|value| value == "1")
}
