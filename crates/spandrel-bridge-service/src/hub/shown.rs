//! What the hub does at one moment, for people.

use spandrel_bridge_protocol::{CloudMode, RunningMode};
use spandrel_wire::Millis;

use super::Hub;
use crate::snapshot::{self, Mode, Snapshot, shortened};

/// Sessions and rooms a snapshot names.
const SHOWN_MAX: usize = 100;

impl Hub {
    pub(super) fn snapshot(&self, now: Millis) -> Snapshot {
        let status = self.bridge.status();
        let (own, parent) = (self.bridge.own_room(), self.parent.facts());
        let mut rooms: Vec<_> = self.bridge.rooms().collect();
        let rooms_total = rooms.len();
        rooms.sort_by_key(|(_, browsers, _)| std::cmp::Reverse(*browsers));
        let rooms = rooms.into_iter().take(SHOWN_MAX).map(|(name, browsers, is_clients)| snapshot::Room {
            name: shortened(name.as_str()),
            browsers,
            program: match is_clients {
                true => Some(snapshot::Program::Client),
                false => (own == Some(name)).then_some(snapshot::Program::Here),
            },
        });
        Snapshot {
            version: env!("CARGO_PKG_VERSION"),
            uptime_ms: now.get(),
            mode: match status.running {
                None => Mode::Closed,
                Some(RunningMode::Server) => Mode::Host,
                Some(RunningMode::Client) => Mode::Client,
            },
            joined: status.is_joined,
            cloud: status.cloud == CloudMode::Cloud,
            address: self.port.address().map(|address| address.to_string()),
            tls: self.config.tls.is_some(),
            connections: snapshot::Connections {
                browsers: status.browsers,
                clients: status.clients,
                max: self.config.limits.connections_max,
                opened: self.counts.opened_browsers.value() + self.counts.opened_clients.value(),
                refused: self.gate.refused(),
                turned_away: self.port.turned_away(),
                crowded: self.port.crowded(),
            },
            messages: snapshot::Messages {
                from_browsers: self.counts.from_browsers.value(),
                to_browsers: self.counts.to_browsers.value(),
                from_parent: self.counts.from_parent.value(),
                to_parent: self.counts.to_parent.value(),
                from_host: self.counts.from_host.value(),
                to_host: self.counts.to_host.value(),
                dropped: parent.given_up + parent.too_long + self.counts.undelivered.value(),
            },
            held: snapshot::Held { messages: status.held_messages, bytes: status.held_bytes },
            rooms: rooms.collect(),
            rooms_total,
            sessions: self.seats.iter().take(SHOWN_MAX).map(|(conn, seat)| seat.shown(*conn, now)).collect(),
            refusals: self.gate.last(now),
            parent: snapshot::Channel {
                waiting_bytes: parent.waiting_bytes,
                given_up: parent.given_up,
                too_long: parent.too_long,
            },
        }
    }
}
