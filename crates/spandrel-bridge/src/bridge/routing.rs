//! Who hears a message.

use spandrel_bridge_protocol::{RoomId, ToParent};
use spandrel_socketio::{Encoded, Event, Value};
use spandrel_wire::Millis;

use super::{Bridge, Host, LinkId, Output, Role, State};
use crate::bridge::election::Link;
use crate::packets::{self, MATCH_TARGET, MESSAGE};
use crate::{Audience, ConnId};

impl Host {
    /// Is the take-over so fresh that programs and browsers may not be back yet?
    fn is_recent(&self, now: Millis) -> bool {
        self.guard_until.is_some_and(|until| now < until)
    }
}

impl Bridge {
    /// An event of a session. Only two names mean anything; of others not even the acknowledgement is
    /// answered.
    pub(super) fn heard(&mut self, now: Millis, conn: ConnId, event: &Event) {
        let Some(from) = self.rooms.get(conn) else { return };
        if event.is_named(MESSAGE) {
            let message = event.arg(0);
            if let Some(message) = &message {
                let (role, room) = (from.role, from.room.clone());
                self.route(now, role, room, message);
            }
            if let Some(ack_id) = event.ack_id() {
                let answer = packets::answer(ack_id, message.as_ref());
                self.out.push_back(Output::Send(Audience::One(conn), answer));
            }
        } else if event.is_named(MATCH_TARGET)
            && from.role == Role::Client
            && let Some(room) = packets::claimed(event)
        {
            self.claimed(now, conn, &room);
        }
    }

    /// An event of the host: its messages are for the parent.
    pub(super) fn host_said(&mut self, link: LinkId, event: &Event) {
        let State::Client(Link::Up { link: current, .. }) = self.state else { return };
        if current == link
            && event.is_named(MESSAGE)
            && let Some(message) = event.arg(0)
        {
            self.report(ToParent::Data(message));
        }
    }

    /// A message of the parent.
    pub(super) fn send(&mut self, now: Millis, value: Option<&Value>) {
        match &self.state {
            State::Idle | State::Ended => {}
            State::Electing { .. } | State::Client(Link::Dialing { .. } | Link::Waiting { .. }) => {
                self.held.push(now, &self.config.limits, None, packets::of_parent(value));
            }
            State::Client(Link::Up { link, .. }) => {
                let link = *link;
                self.out.push_back(Output::SendHost(link, packets::of_parent(value)));
            }
            State::Host(host) if host.is_awaited && self.is_guarded(now, host) => {
                self.held.push(now, &self.config.limits, None, packets::of_parent(value));
            }
            State::Host(host) => {
                let audience = match (self.has_rooms(now, host), &self.own_room) {
                    (false, _) => Audience::All,
                    (true, Some(room)) => Audience::Room(room.clone()),
                    (true, None) => Audience::Unmatched,
                };
                self.give(audience, || packets::of_parent(value));
            }
        }
    }

    /// The board is gone: the same as a `send` of that text.
    pub(super) fn disconnect_hardware(&mut self, now: Millis) {
        self.send(now, Some(&Value::from_text("disconnectHardware")));
    }

    /// Gives the own messages that waited to the own browsers, if there are any.
    pub(super) fn give_held(&mut self, now: Millis) {
        let State::Host(host) = &mut self.state else { return };
        let Some(room) = self.own_room.as_ref().filter(|room| !self.rooms.browsers_in(room).is_empty())
        else {
            return;
        };
        if std::mem::take(&mut host.is_awaited) {
            let held = self.held.take_all(now, &self.config.limits);
            self.out.extend(held.map(|packet| Output::Send(Audience::Room(room.clone()), packet)));
        }
    }

    /// A browser came into a room: it is the first to hear what waited for it.
    pub(super) fn welcome(&mut self, now: Millis, conn: ConnId, room: &RoomId) {
        if self.own_room.as_ref() == Some(room) {
            self.give_held(now);
        }
        if !self.downward.is_empty() {
            let waiting = self.downward.take_room(now, &self.config.limits, room);
            self.out.extend(waiting.into_iter().map(|packet| Output::Send(Audience::One(conn), packet)));
        }
    }

    fn route(&mut self, now: Millis, role: Role, room: Option<RoomId>, message: &Value) {
        let State::Host(host) = &self.state else { return };
        let is_own = room == self.own_room;
        if !self.has_rooms(now, host) {
            return self.report(ToParent::Data(message.clone()));
        }
        match (role, room) {
            (Role::Client, Some(room)) if host.is_recent(now) && self.rooms.browsers_in(&room).is_empty() => {
                self.downward.push(now, &self.config.limits, Some(room), packets::relayed(message));
            }
            (Role::Client, Some(room)) => self.give(Audience::Room(room), || packets::relayed(message)),
            (Role::Client, None) => {}
            (Role::Browser, Some(room)) => match self.rooms.client_of(&room) {
                Some(client) => self.give(Audience::One(client), || packets::relayed(message)),
                None if is_own => self.report(ToParent::Data(message.clone())),
                None if host.is_recent(now) => {
                    self.upward.push(now, &self.config.limits, Some(room), packets::relayed(message));
                }
                None => {}
            },
            (Role::Browser, None) if is_own => self.report(ToParent::Data(message.clone())),
            (Role::Browser, None) => {}
        }
    }

    /// A client claims a room, and hears what its browsers said since the take-over.
    fn claimed(&mut self, now: Millis, conn: ConnId, room: &RoomId) {
        let (bytes, max) = (room.as_str().len(), self.config.limits.room_bytes_max);
        if bytes > max {
            return self.note_at_times(now, crate::Note::RoomTooLong { bytes, max });
        }
        if self.rooms.claim(conn, room) && !self.upward.is_empty() {
            let waiting = self.upward.take_room(now, &self.config.limits, room);
            self.out.extend(waiting.into_iter().map(|packet| Output::Send(Audience::One(conn), packet)));
        }
    }

    /// Sends, unless nobody would hear it.
    fn give(&mut self, audience: Audience, packet: impl FnOnce() -> Encoded) {
        if self.rooms.audience(&audience).next().is_some() {
            self.out.push_back(Output::Send(audience, packet()));
        }
    }

    /// Do rooms decide who hears whom?
    fn has_rooms(&self, now: Millis, host: &Host) -> bool {
        self.rooms.clients() > 0 || self.is_guarded(now, host)
    }

    /// Do rooms count although no client has come yet?
    fn is_guarded(&self, now: Millis, host: &Host) -> bool {
        self.own_room.is_some() && host.is_recent(now)
    }
}
