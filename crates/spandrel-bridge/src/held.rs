//! Messages that wait for whoever shall have them: bounded, in order, each given once.

use std::collections::VecDeque;

use spandrel_bridge_protocol::RoomId;
use spandrel_socketio::Encoded;
use spandrel_wire::Millis;

use crate::Limits;

/// The oldest goes first when there are too many, too much, or it waited too long.
#[derive(Debug, Default)]
pub(crate) struct Held {
    queue: VecDeque<Waiting>,
    bytes: usize,
    /// Dropped since [`take_lost`](Self::take_lost).
    lost: u64,
}

#[derive(Debug)]
struct Waiting {
    since: Millis,
    room: Option<RoomId>,
    packet: Encoded,
}

impl Held {
    /// Keeps a message; `room` is whom it is for, where that matters.
    pub(crate) fn push(&mut self, now: Millis, limits: &Limits, room: Option<RoomId>, packet: Encoded) {
        self.expire(now, limits);
        let len = packet.len_bytes();
        if len > limits.held_bytes_max || limits.held_messages_max == 0 {
            self.lost += 1; // It alone would cost all the others.
            return;
        }
        self.queue.push_back(Waiting { since: now, room, packet });
        self.bytes += len;
        while self.bytes > limits.held_bytes_max || self.queue.len() > limits.held_messages_max {
            self.drop_oldest();
        }
    }

    /// Drops what waited too long.
    pub(crate) fn expire(&mut self, now: Millis, limits: &Limits) {
        while self.queue.front().is_some_and(|oldest| now.since(oldest.since) >= limits.held_ms) {
            self.drop_oldest();
        }
    }

    /// Gives everything that waits and is not too old, oldest first.
    pub(crate) fn take_all(&mut self, now: Millis, limits: &Limits) -> impl Iterator<Item = Encoded> + use<> {
        self.expire(now, limits);
        self.bytes = 0;
        std::mem::take(&mut self.queue).into_iter().map(|waiting| waiting.packet)
    }

    /// Gives what waits for this room and is not too old, oldest first.
    pub(crate) fn take_room(&mut self, now: Millis, limits: &Limits, room: &RoomId) -> Vec<Encoded> {
        self.expire(now, limits);
        let (for_room, others): (VecDeque<_>, VecDeque<_>) = std::mem::take(&mut self.queue)
            .into_iter()
            .partition(|waiting| waiting.room.as_ref() == Some(room));
        self.bytes = others.iter().map(|waiting| waiting.packet.len_bytes()).sum();
        self.queue = others;
        for_room.into_iter().map(|waiting| waiting.packet).collect()
    }

    /// Drops everything.
    pub(crate) fn clear(&mut self) {
        self.lost += self.queue.len() as u64;
        self.queue = VecDeque::new();
        self.bytes = 0;
    }

    /// How many were dropped since the last call.
    pub(crate) fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }

    /// When the oldest will have waited too long.
    pub(crate) fn wake(&self, limits: &Limits) -> Option<Millis> {
        self.queue.front().map(|oldest| oldest.since.after(limits.held_ms))
    }

    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    fn drop_oldest(&mut self) {
        if let Some(oldest) = self.queue.pop_front() {
            self.bytes = self.bytes.saturating_sub(oldest.packet.len_bytes());
            self.lost += 1;
        }
    }
}
