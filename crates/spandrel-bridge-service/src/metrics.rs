//! What is counted.

use spandrel_bridge::Role;
use spandrel_http::{Counter, Gauge, Metrics};

use crate::Snapshot;

/// Counters the hub counts with, and the registry that renders them.
#[derive(Debug, Clone)]
pub(crate) struct Counts {
    pub(crate) opened_browsers: Counter,
    pub(crate) opened_clients: Counter,
    pub(crate) from_browsers: Counter,
    pub(crate) to_browsers: Counter,
    pub(crate) undelivered: Counter,
    pub(crate) from_parent: Counter,
    pub(crate) to_parent: Counter,
}

impl Counts {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let opened = |role| {
            metrics.counter(
                "bridge_sessions_opened_total",
                "Sessions opened since the start.",
                &[("role", role)],
            )
        };
        let messages = |way, help| metrics.counter("bridge_messages_total", help, &[("way", way)]);
        const HELP: &str = "Messages since the start; to_browsers counts deliveries.";
        Self {
            opened_browsers: opened("browser"),
            opened_clients: opened("client"),
            from_browsers: messages("from_browsers", HELP),
            to_browsers: messages("to_browsers", HELP),
            from_parent: messages("from_parent", HELP),
            to_parent: messages("to_parent", HELP),
            undelivered: metrics.counter(
                "bridge_undelivered_total",
                "Deliveries to sessions that did not read, which closed them.",
                &[],
            ),
        }
    }

    pub(crate) fn opened(&self, role: Role) {
        match role {
            Role::Browser => self.opened_browsers.inc(),
            Role::Client => self.opened_clients.inc(),
        }
    }
}

/// What is read off a snapshot when somebody asks.
#[derive(Debug, Clone)]
pub(crate) struct Gauges {
    browsers: Gauge,
    clients: Gauge,
    rooms: Gauge,
    is_host: Gauge,
    is_cloud: Gauge,
    waiting: Gauge,
    refused: Gauge,
    given_up: Gauge,
    too_long: Gauge,
}

impl Gauges {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let gauge = |name, help| metrics.gauge(name, help, &[]);
        let open = |role| metrics.gauge("bridge_sessions", "Sessions open now.", &[("role", role)]);
        Self {
            browsers: open("browser"),
            clients: open("client"),
            rooms: gauge("bridge_rooms", "Rooms somebody is in or claims."),
            is_host: gauge("bridge_is_host", "1 while this bridge has the port."),
            is_cloud: gauge("bridge_is_cloud", "1 while several programs share a bridge."),
            waiting: gauge("bridge_parent_waiting_bytes", "Bytes that wait to be read by the parent."),
            refused: gauge("bridge_refused", "Requests refused since the start."),
            given_up: gauge(
                "bridge_parent_given_up",
                "Lines the parent did not read in time, since the start.",
            ),
            too_long: gauge(
                "bridge_parent_too_long",
                "Lines of the parent that were too long, since the start.",
            ),
        }
    }

    pub(crate) fn set(&self, now: &Snapshot) {
        let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let count = |n: usize| number(n as u64);
        self.browsers.set(count(now.connections.browsers));
        self.clients.set(count(now.connections.clients));
        self.rooms.set(count(now.rooms_total));
        self.is_host.set(i64::from(now.mode == crate::Mode::Host));
        self.is_cloud.set(i64::from(now.cloud));
        self.waiting.set(count(now.parent.waiting_bytes));
        self.refused.set(number(now.connections.refused));
        self.given_up.set(number(now.parent.given_up));
        self.too_long.set(number(now.parent.too_long));
    }
}
