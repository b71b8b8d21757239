//! One session as the hub knows it.

use spandrel_bridge::{ConnId, Role};
use spandrel_bridge_protocol::RoomId;
use spandrel_socketio_net::{Carrier, Socket};
use spandrel_wire::Millis;

use crate::snapshot::{self, shortened};

/// Its socket, and what it said and was sent.
pub(super) struct Seat {
    pub(super) socket: Socket,
    pub(super) role: Role,
    pub(super) room: Option<RoomId>,
    pub(super) since: Millis,
    pub(super) messages_in: u64,
    pub(super) bytes_in: u64,
    pub(super) messages_out: u64,
    pub(super) bytes_out: u64,
}

impl Seat {
    pub(super) const fn new(socket: Socket, role: Role, room: Option<RoomId>, since: Millis) -> Self {
        Self { socket, role, room, since, messages_in: 0, bytes_in: 0, messages_out: 0, bytes_out: 0 }
    }

    pub(super) fn shown(&self, conn: ConnId, now: Millis) -> snapshot::Session {
        snapshot::Session {
            id: conn.0,
            is_client: self.role == Role::Client,
            room: self
                .room
                .as_ref()
                .filter(|_| self.role == Role::Browser)
                .map(|room| shortened(room.as_str())),
            transport: match self.socket.carrier() {
                Carrier::WebSocket => "websocket",
                Carrier::Polling => "polling",
            },
            age_ms: now.since(self.since),
            messages_in: self.messages_in,
            bytes_in: self.bytes_in,
            messages_out: self.messages_out,
            bytes_out: self.bytes_out,
            waiting_bytes: self.socket.queued_bytes(),
        }
    }
}
