//! Who is connected, in which room, and whose each room is.
//!
//! Ordered maps: two runs go alike, and no name a stranger picks makes a lookup slow.

use std::collections::BTreeMap;

use spandrel_bridge_protocol::RoomId;

use crate::{Audience, ConnId, Role};

/// The sessions of a host. A room exists while somebody is in it or claims it.
#[derive(Debug, Default)]
pub(crate) struct Rooms {
    conns: BTreeMap<ConnId, Conn>,
    rooms: BTreeMap<RoomId, Room>,
    clients: usize,
}

/// One session.
#[derive(Debug, Clone)]
pub(crate) struct Conn {
    pub(crate) role: Role,
    /// Of a browser for good; of a client the one it claimed last.
    pub(crate) room: Option<RoomId>,
}

#[derive(Debug, Default)]
struct Room {
    browsers: Vec<ConnId>,
    /// The client that claimed it last and is still here.
    client: Option<ConnId>,
}

impl Rooms {
    /// Takes in a session; `false` when it is here already.
    pub(crate) fn enter(&mut self, id: ConnId, role: Role, room: Option<RoomId>) -> bool {
        if self.conns.contains_key(&id) {
            return false;
        }
        match role {
            Role::Client => self.clients += 1,
            Role::Browser => {
                if let Some(room) = &room {
                    self.rooms.entry(room.clone()).or_default().browsers.push(id);
                }
            }
        }
        self.conns.insert(id, Conn { role, room });
        true
    }

    /// Lets a session go, and with it its claim.
    pub(crate) fn leave(&mut self, id: ConnId) -> Option<Conn> {
        let conn = self.conns.remove(&id)?;
        match conn.role {
            Role::Client => {
                self.clients -= 1;
                self.release(id, conn.room.as_ref());
            }
            Role::Browser => {
                if let Some(room) = &conn.room {
                    self.change(room, |it| it.browsers.retain(|browser| *browser != id));
                }
            }
        }
        Some(conn)
    }

    /// Makes the room this client's, the one it had before nobody's. Browsers cannot claim.
    pub(crate) fn claim(&mut self, id: ConnId, room: &RoomId) -> bool {
        let Some(conn) = self.conns.get_mut(&id).filter(|conn| conn.role == Role::Client) else {
            return false;
        };
        let before = conn.room.replace(room.clone());
        if before.as_ref() != Some(room) {
            self.release(id, before.as_ref());
        }
        self.rooms.entry(room.clone()).or_default().client = Some(id);
        true
    }

    /// Forgets everybody and gives the rooms they were in, in the order they came.
    pub(crate) fn leave_all(&mut self) -> impl Iterator<Item = Option<RoomId>> + use<> {
        std::mem::take(self).conns.into_values().map(|conn| conn.room)
    }

    pub(crate) fn get(&self, id: ConnId) -> Option<&Conn> {
        self.conns.get(&id)
    }

    /// The client whose room it is.
    pub(crate) fn client_of(&self, room: &RoomId) -> Option<ConnId> {
        self.rooms.get(room)?.client
    }

    pub(crate) fn browsers_in(&self, room: &RoomId) -> &[ConnId] {
        self.rooms.get(room).map(|room| &room.browsers[..]).unwrap_or_default()
    }

    pub(crate) const fn clients(&self) -> usize {
        self.clients
    }

    pub(crate) fn len(&self) -> usize {
        self.conns.len()
    }

    /// Every room: its name, how many browsers are in it, whether a client has claimed it.
    pub(crate) fn rooms(&self) -> impl ExactSizeIterator<Item = (&RoomId, usize, bool)> {
        self.rooms.iter().map(|(name, room)| (name, room.browsers.len(), room.client.is_some()))
    }

    /// The sessions of an audience that are here.
    pub(crate) fn audience<'a>(&'a self, audience: &'a Audience) -> impl Iterator<Item = ConnId> + 'a {
        let (many, room, one) = match audience {
            Audience::All => (Some(false), None, None),
            Audience::Unmatched => (Some(true), None, None),
            Audience::Room(room) => (None, Some(self.browsers_in(room)), None),
            Audience::One(id) => (None, None, self.conns.contains_key(id).then_some(*id)),
        };
        let many = many.into_iter().flat_map(move |only_unmatched| {
            self.conns.iter().filter(move |(_, conn)| {
                conn.role == Role::Browser && !(only_unmatched && self.is_matched(conn))
            })
        });
        let room = room.unwrap_or_default().iter().copied();
        many.map(|(id, _)| *id).chain(room).chain(one)
    }

    fn is_matched(&self, conn: &Conn) -> bool {
        conn.room.as_ref().is_some_and(|room| self.client_of(room).is_some())
    }

    /// Takes a room from a client, unless another has claimed it since.
    fn release(&mut self, id: ConnId, room: Option<&RoomId>) {
        if let Some(room) = room {
            self.change(room, |it| it.client = it.client.filter(|client| *client != id));
        }
    }

    fn change(&mut self, name: &RoomId, change: impl FnOnce(&mut Room)) {
        if let Some(room) = self.rooms.get_mut(name) {
            change(room);
            if room.browsers.is_empty() && room.client.is_none() {
                self.rooms.remove(name);
            }
        }
    }
}
