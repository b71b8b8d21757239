//! A bridge put together.

use std::{future::Future, sync::Arc};

use spandrel_bridge::{Bridge, Security};
use spandrel_http::Metrics;
use spandrel_socketio::Limits as PacketLimits;
use spandrel_socketio_net::{Events, ServerConfig, SocketServer};
use spandrel_transport::Clock;
use spandrel_transport_ipc::Parent;

use crate::{
    Config, Exit, Handle,
    gate::Gate,
    handle::{Controls, handle},
    hub::{CHILD_SERVER, Hub, Parts, ROOM_ID},
    metrics::Counts,
    parent::ParentPort,
    port::Port,
    status::StatusPage,
};

/// A bridge that is ready to [`run`](Self::run). Nothing listens and nothing was said before.
#[derive(Debug)]
pub struct Service {
    config: Config,
    parent: Parent,
    handle: Handle,
    controls: Controls,
}

/// Runs a bridge until its parent is gone or `stop` is ready (SIGTERM: then the port is free at once, the parent is told of
/// every session's end, and it is over within [`stop_ms`](crate::Limits::stop_ms) and a moment). Takes the link of `parent`;
/// its limits should be those of [`Limits::of_parent`](crate::Limits::of_parent).
///
/// Dropping the future closes all sockets at once.
pub async fn run(config: Config, parent: Parent, stop: impl Future<Output = ()> + Send) -> Exit {
    let (service, handle) = Service::new(config, parent);
    let mut stop = std::pin::pin!(stop);
    let mut running = std::pin::pin!(service.run());
    tokio::select! {
        ended = &mut running => return ended,
        () = &mut stop => handle.stop(),
    }
    running.await
}

impl Service {
    /// Puts a bridge together.
    #[must_use]
    pub fn new(config: Config, parent: Parent) -> (Self, Handle) {
        let (handle, controls) = handle();
        (Self { config, parent, handle: handle.clone(), controls }, handle)
    }

    /// As [`run`], until the parent is gone or [`Handle::stop`] is called.
    pub async fn run(self) -> Exit {
        let Self { config, parent, handle, controls } = self;
        let (clock, metrics) = (Clock::start(), Metrics::default());
        let status = match config.status {
            Some(address) => {
                Some(StatusPage::open(address, handle, metrics.clone(), controls.status.clone()).await)
            }
            None => None,
        };
        let gate = Arc::new(Gate::new(config.rules.clone(), clock, config.limits.refusals_kept));
        let (server, events) = socket_server(&config, &gate);
        let port = Port::new(config.port, config.tls.clone(), server, &config.limits);
        let bridge = Bridge::new(machine(&config));
        let parent = ParentPort::new(parent.link, &config.limits);
        let stop = controls.stop.clone();
        let counts = Counts::new(&metrics);
        let hub = Hub::new(Parts { clock, config, bridge, parent, port, events, gate, controls, counts });
        let hub = hub.run(stopped(stop));
        match status {
            None => hub.await,
            Some(status) => tokio::select! {
                exit = hub => exit,
                // Serves for ever.
                () = status.serve() => Exit::Stopped,
            },
        }
    }
}

/// Ready when somebody asked; never when nobody can ask any more.
async fn stopped(mut stop: tokio::sync::watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}

pub(crate) fn machine(config: &Config) -> spandrel_bridge::Config {
    let security = if config.tls.is_some() { Security::Tls } else { Security::Plain };
    let mut seed = [0; 8];
    // Without randomness programs that lose a host try again in step: slower, not wrong.
    let _ = getrandom::fill(&mut seed);
    let mut machine = spandrel_bridge::Config::new(security, u64::from_le_bytes(seed));
    machine.limits.connections_max = config.limits.connections_max;
    machine
}

pub(crate) fn socket_server(config: &Config, gate: &Arc<Gate>) -> (SocketServer, Events) {
    let limits = &config.limits;
    let packets = PacketLimits::default()
        .with_message_bytes_max(limits.message_bytes_max)
        .with_queued_max(limits.unsent_bytes_max, limits.unsent_frames_max);
    let mut server = ServerConfig::default()
        .with_packet_limits(packets)
        .with_sessions_max(limits.connections_max)
        .with_query_names([CHILD_SERVER, ROOM_ID]);
    server.limits.head_ms_max = limits.handshake_ms;
    server.limits.held_bytes_max = limits.held_bytes_max;
    let (server, events) = SocketServer::new(server);
    let gate = Arc::clone(gate);
    (server.with_gate(move |parts| gate.judge(parts)), events)
}
