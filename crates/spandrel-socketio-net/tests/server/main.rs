//! The server over real sockets, with clients that write their bytes by hand.

#![expect(clippy::unwrap_used, reason = "a test may stop with a panic")]

mod http;
mod life;
mod polling;
#[path = "../support/mod.rs"]
mod support;
mod upgrade;
mod websocket;
