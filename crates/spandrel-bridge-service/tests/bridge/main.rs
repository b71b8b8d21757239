//! Whole bridges with real sockets: a parent at the other end of a socket pair, pages over the wire.

#[cfg(unix)]
mod cloud;
#[cfg(unix)]
mod log;
#[cfg(unix)]
mod pressure;
#[cfg(unix)]
mod rig;
#[cfg(unix)]
mod single;
#[cfg(unix)]
mod status;
#[cfg(unix)]
mod tls;
