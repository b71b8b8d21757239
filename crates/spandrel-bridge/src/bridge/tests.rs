//! The tables of the protocol, row by row: what goes in, and every effect it has, in order.

mod election;
mod holding;
mod routing;

use spandrel_bridge_protocol::FromParent;
use spandrel_socketio::Value;

use crate::fuzz::rig::{Rig, event, event_with};
use crate::{Config, ConnId, Input, Limits, LinkId, Role, Security};

const HOST: [&str; 2] =
    [r#"parent {"key":"runningModeChanged","value":2}"#, r#"parent {"key":"cloudModeChanged","value":0}"#];
const CLIENT: [&str; 2] =
    [r#"parent {"key":"runningModeChanged","value":3}"#, r#"parent {"key":"cloudModeChanged","value":1}"#];
const CAME: &str = r#"parent {"key":"connection"}"#;
const SINGLE: &str = r#"parent {"key":"cloudModeChanged","value":0}"#;
const CLOUD: &str = r#"parent {"key":"cloudModeChanged","value":1}"#;
const NOTHING: [&str; 0] = [];

fn open() -> Input {
    Input::Parent(FromParent::Open)
}

fn room(room: &str) -> Input {
    Input::Parent(FromParent::AddRoomId(room.into()))
}

fn send(value: &'static str) -> Input {
    Input::Parent(FromParent::Send(Some(Value::parse(value).unwrap())))
}

fn browser(conn: u64, room: impl Into<Option<&'static str>>) -> Input {
    Input::Opened { conn: ConnId(conn), role: Role::Browser, room: room.into().map(Into::into) }
}

fn client(conn: u64) -> Input {
    Input::Opened { conn: ConnId(conn), role: Role::Client, room: None }
}

fn says(conn: u64, text: &str) -> Input {
    Input::Event { conn: ConnId(conn), event: event(text) }
}

fn claims(conn: u64, room: &str) -> Input {
    says(conn, &format!(r#"["matchTarget","{room}"]"#))
}

fn closed(conn: u64) -> Input {
    Input::Closed { conn: ConnId(conn) }
}

fn up(link: u64) -> Input {
    Input::HostUp { link: LinkId(link) }
}

fn refused(link: u64) -> Input {
    Input::HostRefused { link: LinkId(link) }
}

fn down(link: u64) -> Input {
    Input::HostDown { link: LinkId(link) }
}

fn data(message: &str) -> String {
    format!(r#"parent {{"key":"data","value":{message}}}"#)
}

fn message(conn: u64, message: &str) -> String {
    format!(r#"to {conn} 42["message",{message}]"#)
}

fn to_host(link: u64, message: &str) -> String {
    format!(r#"host {link} 42["message",{message}]"#)
}

impl Rig {
    fn plain() -> Self {
        Self::new(Config::new(Security::Plain, 7))
    }

    fn limited(change: impl FnOnce(&mut Limits)) -> Self {
        let mut config = Config::new(Security::Plain, 7);
        change(&mut config.limits);
        Self::new(config)
    }

    /// A host that was so from the start.
    fn host() -> Self {
        Self::plain().after([open(), Input::Listening])
    }

    /// A client whose link 1 is up.
    fn joined() -> Self {
        Self::plain().after([open(), Input::ListenFailed, up(1)])
    }

    /// A host that was a client before, with this room.
    fn successor(own: &'static str) -> Self {
        Self::joined().after([room(own), Input::Tick, down(1), Input::Listening])
    }

    fn after(mut self, facts: impl IntoIterator<Item = Input>) -> Self {
        for fact in facts {
            self.step(fact);
        }
        self
    }

    fn pass(mut self, ms: u64) -> Self {
        self.advance(ms);
        self
    }

    fn tick(&mut self, ms: u64) -> Vec<String> {
        self.advance(ms);
        self.step(Input::Tick)
    }
}
