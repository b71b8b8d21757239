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
    pub(crate) from_host: Counter,
    pub(crate) to_host: Counter,
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
        const HELP: &str =
            "Messages since the start; to_browsers counts deliveries, the host is that of a client.";
        Self {
            opened_browsers: opened("browser"),
            opened_clients: opened("client"),
            from_browsers: messages("from_browsers", HELP),
            to_browsers: messages("to_browsers", HELP),
            from_parent: messages("from_parent", HELP),
            to_parent: messages("to_parent", HELP),
            from_host: messages("from_host", HELP),
            to_host: messages("to_host", HELP),
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
pub(crate) struct Readings {
    browsers: Gauge,
    clients: Gauge,
    rooms: Gauge,
    is_host: Gauge,
    is_joined: Gauge,
    is_cloud: Gauge,
    waiting: Gauge,
    held_messages: Gauge,
    held_bytes: Gauge,
    refused: Counter,
    turned_away: Counter,
    crowded: Counter,
    given_up: Counter,
    too_long: Counter,
}

impl Readings {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let gauge = |name, help| metrics.gauge(name, help, &[]);
        let counter = |name, help| metrics.counter(name, help, &[]);
        let open = |role| metrics.gauge("bridge_sessions", "Sessions open now.", &[("role", role)]);
        Self {
            browsers: open("browser"),
            clients: open("client"),
            rooms: gauge("bridge_rooms", "Rooms somebody is in or claims."),
            is_host: gauge("bridge_is_host", "1 while this bridge has the port."),
            is_joined: gauge(
                "bridge_is_joined",
                "1 while this bridge is a client and its host has taken it in.",
            ),
            is_cloud: gauge("bridge_is_cloud", "1 while several programs share a bridge."),
            waiting: gauge("bridge_parent_waiting_bytes", "Bytes that wait to be read by the parent."),
            held_messages: gauge(
                "bridge_held_messages",
                "Messages that wait for a host, a browser or a client.",
            ),
            held_bytes: gauge("bridge_held_bytes", "Bytes of these messages."),
            refused: counter("bridge_refused_total", "Requests refused since the start."),
            turned_away: counter(
                "bridge_turned_away_total",
                "Connections not taken in because too many were open, since the start.",
            ),
            crowded: counter(
                "bridge_crowded_total",
                "Sessions closed because too much was half received of all, since the start.",
            ),
            given_up: counter(
                "bridge_parent_given_up_total",
                "Lines the parent did not read in time, since the start.",
            ),
            too_long: counter(
                "bridge_parent_too_long_total",
                "Lines of the parent that were too long, since the start.",
            ),
        }
    }

    pub(crate) fn set(&self, now: &Snapshot) {
        let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        // Counted elsewhere, where nobody knows of metrics.
        let reached = |counter: &Counter, n: u64| counter.add(n.saturating_sub(counter.value()));
        self.browsers.set(count(now.connections.browsers));
        self.clients.set(count(now.connections.clients));
        self.rooms.set(count(now.rooms_total));
        self.is_host.set(i64::from(now.mode == crate::Mode::Host));
        self.is_joined.set(i64::from(now.joined));
        self.is_cloud.set(i64::from(now.cloud));
        self.held_messages.set(count(now.held.messages));
        self.held_bytes.set(count(now.held.bytes));
        self.waiting.set(count(now.parent.waiting_bytes));
        reached(&self.refused, now.connections.refused);
        reached(&self.turned_away, now.connections.turned_away);
        reached(&self.crowded, now.connections.crowded);
        reached(&self.given_up, now.parent.given_up);
        reached(&self.too_long, now.parent.too_long);
    }
}
