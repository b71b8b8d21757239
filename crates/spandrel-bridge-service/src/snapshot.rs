//! What a bridge does at one moment, for its status page.

use serde::Serialize;

/// What a bridge does at one moment. Counters only grow while it runs; who wants rates asks twice. Serialised in camel case,
/// it is what `/status.json` answers.
///
/// Never holds a secret, a token, a message, or the whole name of a room, which is a key to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Snapshot {
    /// Version of this program.
    pub version: &'static str,
    /// Milliseconds since the bridge was made.
    pub uptime_ms: u64,
    /// Which part it plays.
    pub mode: Mode,
    /// As a client: the host has taken it in.
    pub joined: bool,
    /// Other programs share this bridge, or it has joined one.
    pub cloud: bool,
    /// Where it listens.
    pub address: Option<String>,
    /// Does it serve inside TLS?
    pub tls: bool,
    /// Who is connected.
    pub connections: Connections,
    /// What was said.
    pub messages: Messages,
    /// What waits for a host, or shortly after a take-over for a browser or a client.
    pub held: Held,
    /// At most 100 rooms, the fullest first.
    pub rooms: Vec<Room>,
    /// How many there are in all.
    pub rooms_total: usize,
    /// At most 100 sessions, the oldest first.
    pub sessions: Vec<Session>,
    /// The last requests that were refused, newest first.
    pub refusals: Vec<Refused>,
    /// The channel to the parent.
    pub parent: Channel,
}

/// Which part a bridge plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Mode {
    /// The parent has not said `open`.
    Closed,
    /// It has the port.
    Host,
    /// Another bridge has it.
    Client,
}

/// Counts of connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Connections {
    /// Pages, now.
    pub browsers: usize,
    /// Other programs, now.
    pub clients: usize,
    /// Most of both together.
    pub max: usize,
    /// Since the start.
    pub opened: u64,
    /// Requests refused since the start.
    pub refused: u64,
    /// Connections not taken in because too many were open, since the start.
    pub turned_away: u64,
    /// Sessions closed because too much was half received of all, since the start.
    pub crowded: u64,
}

/// Counts of messages since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Messages {
    /// Events of browsers and clients.
    pub from_browsers: u64,
    /// Deliveries: a message to fifty browsers is fifty.
    pub to_browsers: u64,
    /// Lines of the parent.
    pub from_parent: u64,
    /// Lines to the parent.
    pub to_parent: u64,
    /// As a client: events of the host, which are what browsers said.
    pub from_host: u64,
    /// As a client: events for the host.
    pub to_host: u64,
    /// Messages nobody took in time: lines the parent did not read, browsers that did not, lines that were too long.
    pub dropped: u64,
}

/// Messages that wait.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Held {
    /// How many.
    pub messages: usize,
    /// Bytes of them.
    pub bytes: usize,
}

/// One room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Room {
    /// Its name, shortened.
    pub name: String,
    /// Browsers in it.
    pub browsers: usize,
    /// Whose it is.
    pub program: Option<Program>,
}

/// Whose a room is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Program {
    /// The program that started this bridge.
    Here,
    /// One that joined.
    Client,
}

/// One session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Session {
    /// Its number, which counts up.
    pub id: u64,
    /// Another program rather than a page.
    pub is_client: bool,
    /// The name of its room, shortened; a client's is not known here.
    pub room: Option<String>,
    /// How its bytes travel.
    pub transport: &'static str,
    /// Milliseconds since it was opened.
    pub age_ms: u64,
    /// Messages it sent.
    pub messages_in: u64,
    /// Bytes of them.
    pub bytes_in: u64,
    /// Packets sent to it.
    pub messages_out: u64,
    /// Bytes of them.
    pub bytes_out: u64,
    /// Bytes that wait for it.
    pub waiting_bytes: usize,
}

/// One refused request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Refused {
    /// Milliseconds since then.
    pub ago_ms: u64,
    /// What came: the origin, host or site.
    pub what: String,
    /// The setting that would admit it, where one would.
    pub setting: Option<String>,
}

/// The channel to the parent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Channel {
    /// Bytes that wait to be read by it.
    pub waiting_bytes: usize,
    /// Lines given up because it did not read.
    pub given_up: u64,
    /// Its lines that were too long.
    pub too_long: u64,
}

/// The beginning of a room's name: enough to tell rooms apart, too little to enter one.
pub(crate) fn shortened(room: &str) -> String {
    const SHOWN: usize = 4;
    let count = room.chars().count();
    // At most half of a short name.
    let shown: String =
        room.chars().take(SHOWN.min(count / 2)).map(|c| if c.is_control() { '?' } else { c }).collect();
    format!("{shown}…")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_is_shown_in_part() {
        for (name, want) in [
            ("0123456789", "0123…"),
            ("방 번호/😀", "방 번…"),
            ("abc", "a…"),
            ("a", "…"),
            ("", "…"),
            ("\u{1b}[31mred", "?[31…"),
        ] {
            assert_eq!(shortened(name), want, "{name:?}");
        }
    }
}
