//! Who is admitted and dialled, how much waits, and what ends a connection.

use std::net::SocketAddr;

use spandrel_wire::Frame;

use super::rig::{Rig, block_text, other_chain};
use crate::{Address, CloseReason, DialId, Dialect, Event, Input, Limits, PeerId, Way};

const QUESTION: &str = r#"{"type":"latestBlock","payload":{}}"#;

fn address(text: &str) -> Address {
    text.parse().unwrap()
}

fn socket(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[test]
fn addresses_are_read_in_one_form() {
    for (text, want) in [
        ("ws://127.0.0.1:7545", Some("ws://127.0.0.1:7545/")),
        ("WS://Host:7545/", Some("ws://host:7545/")),
        ("tcp://host:7546", Some("tcp://host:7546")),
        ("tcp://host:0", None),
        ("ws://host:0", None),
        ("wss://host:1", None),
        ("http://host:1", None),
        ("host:1", None),
        ("", None),
    ] {
        let read = text.parse::<Address>().ok();
        assert_eq!(read.as_ref().map(Address::as_str), want, "{text}");
    }
}

#[test]
fn connections_are_bounded_in_all_and_by_address() {
    let limits = Limits::default().with_peers_max(6, 2);
    for (name, remotes, want) in [
        (
            "one address",
            vec!["192.0.2.1:1", "192.0.2.1:2", "192.0.2.1:3"],
            Some(CloseReason::FullAddress { peers: 2 }),
        ),
        (
            "mapped",
            vec!["192.0.2.1:1", "[::ffff:192.0.2.1]:2", "192.0.2.1:3"],
            Some(CloseReason::FullAddress { peers: 2 }),
        ),
        (
            "one /64",
            vec!["[2001:db8::a:0:0:1]:1", "[2001:db8::b:0:0:1]:1", "[2001:db8::c:0:0:1]:1"],
            Some(CloseReason::FullAddress { peers: 2 }),
        ),
        ("others", vec!["[2001:db8:0:1::1]:1", "[2001:db8:0:2::2]:1", "192.0.2.1:2"], None),
        ("loopback", vec!["127.0.0.1:1", "127.0.0.1:2", "[::1]:3", "127.0.0.1:4"], None),
        (
            "all",
            vec![
                "127.0.0.1:1",
                "127.0.0.1:2",
                "127.0.0.1:3",
                "127.0.0.1:4",
                "10.0.0.2:1",
                "10.0.0.3:1",
                "10.0.0.4:1",
            ],
            Some(CloseReason::Full { peers: 6 }),
        ),
    ] {
        let mut rig = Rig::with(limits.clone());
        let last = remotes.len() as u64;
        for (id, remote) in (1..).zip(&remotes) {
            rig.open(id, Dialect::Jenny, Way::Accepted, socket(remote));
        }
        assert_eq!(rig.closed, Vec::from_iter(want.map(|why| (last, why))), "{name}");
        assert_eq!(rig.gossip.peers().count() as u64, last - u64::from(want.is_some()), "{name}");
    }
}

#[test]
fn a_crowd_leaves_places_for_those_we_dial() {
    let mut rig = Rig::with(Limits::default().with_peers_max(10, 10));
    rig.step(Input::Dial(address("tcp://192.0.2.1:1")));
    rig.step(Input::Dial(address("tcp://192.0.2.2:1")));
    for id in 0..12 {
        rig.open(100 + id, Dialect::Jenny, Way::Accepted, socket("127.0.0.1:9"));
    }
    assert_eq!(rig.closed.len(), 4);
    for (id, dial) in [(1, 0), (2, 1)] {
        let remote = socket(&format!("192.0.2.{id}:1"));
        rig.open(id, Dialect::Ingchain, Way::Dialled(DialId(dial)), remote);
    }
    assert_eq!((rig.closed.len(), rig.gossip.peers().count()), (4, 10));
}

#[test]
fn broken_connections_are_dialled_again() {
    let mut rig = Rig::new();
    let at = address("ws://192.0.2.1:7545");
    rig.step(Input::Dial(at.clone()));
    rig.step(Input::Dial(at.clone()));
    assert_eq!(rig.dials, [(DialId(0), at.clone())], "once");
    rig.open(1, Dialect::Jenny, Way::Dialled(DialId(0)), socket("192.0.2.1:7545"));
    rig.step(Input::Dial(at.clone()));
    assert_eq!(rig.dials.len(), 1, "it is open");
    rig.step(Input::Closed(PeerId(1)));
    rig.pass(999);
    assert_eq!(rig.dials.len(), 1);
    rig.pass(201);
    assert_eq!(rig.dials.len(), 2);
    rig.step(Input::DialFailed(DialId(1)));
    assert!(matches!(rig.events.last(), Some(Event::Retry { after_ms: 2000..=2400, .. })));
    rig.step(Input::Dial(at.clone()));
    assert_eq!(rig.dials.len(), 3, "the owner's word is not waited for");
    rig.step(Input::Forget(at));
    rig.open(2, Dialect::Jenny, Way::Dialled(DialId(2)), socket("192.0.2.1:7545"));
    assert_eq!(rig.closed, [(2, CloseReason::Unwanted)]);
    rig.pass(100_000);
    assert_eq!(rig.dials.len(), 3);
}

#[test]
fn oneself_is_not_dialled_and_found_out_where_it_is() {
    let mut rig = Rig::new();
    rig.step(Input::Dial(address("tcp://10.0.0.1:7546")));
    assert!(rig.dials.is_empty());
    assert!(matches!(rig.events.last(), Some(Event::NotDialled { why: CloseReason::Oneself, .. })));
    // By a name that does not show it.
    rig.step(Input::Dial(address("tcp://me:7546")));
    let (a, b) = (socket("10.0.0.1:5000"), socket("10.0.0.1:7546"));
    let dialect = Dialect::Ingchain;
    let way = Way::Dialled(DialId(0));
    rig.step(Input::Opened { peer: PeerId(1), dialect, way, local: Some(a), remote: b });
    rig.step(Input::Opened { peer: PeerId(2), dialect, way: Way::Accepted, local: Some(b), remote: a });
    assert_eq!(rig.closed, [(2, CloseReason::Oneself), (1, CloseReason::Oneself)]);
    rig.pass(100_000);
    assert_eq!(rig.dials.len(), 1, "and not again");
}

#[test]
fn one_place_under_two_names_is_connected_once() {
    let mut rig = Rig::new();
    for (id, name) in [(1, "tcp://a:1"), (2, "tcp://b:1")] {
        rig.step(Input::Dial(address(name)));
        rig.open(id, Dialect::Ingchain, Way::Dialled(DialId(id - 1)), socket("192.0.2.1:1"));
    }
    assert_eq!(rig.closed, [(2, CloseReason::Duplicate)]);
    rig.pass(100_000);
    assert_eq!(rig.dials.len(), 2);
}

#[test]
fn documents_on_tcp_keep_twenty_milliseconds() {
    for (pause_ms, dialect, want) in [
        (20, Dialect::Ingchain, ["1:question", "1:block0", "1:block0"]),
        (0, Dialect::Ingchain, ["1:question 1:block0 1:block0", "", ""]),
        (20, Dialect::Jenny, ["1:question 1:block0 1:block0", "", ""]),
    ] {
        let mut rig = Rig::with(Limits::default().with_pause_ms(pause_ms));
        rig.open(1, dialect, Way::Accepted, socket("192.0.2.1:1"));
        let question = dialect.question();
        (0..2).for_each(|_| rig.step(Input::Received { peer: PeerId(1), frame: question.clone() }));
        let mut said = vec![rig.said()];
        rig.pass(19);
        assert_eq!(rig.said(), "");
        rig.pass(1);
        said.push(rig.said());
        rig.pass(20);
        said.push(rig.said());
        assert_eq!(said, want, "{pause_ms} {dialect:?}");
    }
}

#[test]
fn output_that_is_not_read_ends_the_connection() {
    let limits = Limits::default().with_pause_ms(0).with_unsent_max(10_000, 60_000);
    let mut rig = Rig::with(limits.clone());
    rig.peer(1, Dialect::Ingchain);
    rig.is_read = false;
    let mut asked = 0;
    while rig.closed.is_empty() {
        rig.hear(1, QUESTION);
        asked += 1;
        assert!(asked < 100);
    }
    assert!(
        matches!(rig.closed[..], [(1, CloseReason::Backlog { bytes: 10_001..=11_000 })]),
        "{:?}",
        rig.closed
    );

    let mut rig = Rig::with(limits);
    rig.peer(1, Dialect::Ingchain);
    rig.is_read = false;
    rig.hear(1, QUESTION);
    rig.pass(40_000);
    rig.step(Input::Written { peer: PeerId(1), bytes: 1 });
    rig.pass(59_999);
    assert!(rig.closed.is_empty(), "slow is not stuck");
    rig.pass(1);
    assert_eq!(rig.closed, [(1, CloseReason::Unmoved { ms: 60_000 })]);
}

#[test]
fn a_flood_delays_only_its_sender() {
    let mut rig = Rig::with(Limits::default().with_pause_ms(0).with_tasks_max(2));
    (1..=4).for_each(|id| rig.peer(id, Dialect::Ingchain));
    rig.holds_tasks = true;
    (0..50).for_each(|_| rig.hear(1, QUESTION));
    (2..=4).for_each(|id| rig.hear(id, QUESTION));
    assert_eq!((rig.tasks.len(), rig.gossip.tasks()), (2, 2), "one of a peer at a time");
    (0..4).for_each(|_| rig.finish_task());
    assert_eq!(rig.said(), "1:block0 2:block0 3:block0 4:block0");
    rig.finish_task();
    assert_eq!(rig.said(), "1:block0");
}

#[test]
fn who_says_more_than_is_looked_at_is_not_read() {
    let mut rig = Rig::with(Limits::default().with_inbox_max(1 << 20, 8));
    rig.peer(1, Dialect::Ingchain);
    rig.holds_tasks = true;
    (0..8).for_each(|_| rig.hear(1, QUESTION));
    assert!(rig.reading.is_empty(), "one is looked at, seven wait");
    rig.hear(1, QUESTION);
    assert_eq!(rig.reading, [(1, false)]);
    (0..5).for_each(|_| rig.finish_task());
    assert_eq!(rig.reading, [(1, false)]);
    rig.finish_task();
    assert_eq!(rig.reading, [(1, false), (1, true)], "two wait");
    // A driver that reads on all the same.
    (0..30).for_each(|_| rig.hear(1, QUESTION));
    assert!(rig.closed.is_empty());
    rig.hear(1, QUESTION);
    assert_eq!(rig.closed, [(1, CloseReason::Flood { documents: 32 })]);
    assert_eq!(rig.gossip.inboxes_bytes(), 0);
}

#[test]
fn the_bytes_of_an_inbox_count_too() {
    let mut rig = Rig::with(Limits::default().with_inbox_max(70, 256));
    rig.peer(1, Dialect::Ingchain);
    rig.holds_tasks = true;
    rig.hear(1, QUESTION); // is looked at
    rig.hear(1, QUESTION); // 35 bytes
    assert!(rig.reading.is_empty());
    rig.hear(1, QUESTION);
    assert_eq!(rig.reading, [(1, false)]);
    rig.finish_task();
    rig.finish_task();
    assert_eq!(rig.reading, [(1, false), (1, true)]);
}

#[test]
fn all_inboxes_together_are_bounded() {
    let limits = Limits { inboxes_bytes_max: 100, ..Limits::default() };
    let mut rig = Rig::with(limits);
    (1..=3).for_each(|id| rig.peer(id, Dialect::Ingchain));
    rig.holds_tasks = true;
    for id in [1, 1, 1, 1, 2, 2] {
        rig.hear(id, QUESTION); // 35 bytes
    }
    assert_eq!(rig.reading, [(1, false), (2, false)]);
    rig.step(Input::Closed(PeerId(3)));
    rig.step(Input::Stop);
    assert_eq!(rig.gossip.inboxes_bytes(), 0);
}

#[test]
fn last_words_count_and_keep_their_place_till_then() {
    let dialect = Dialect::Jenny;
    let theirs = other_chain(dialect, 2);
    let mut rig = Rig::with(Limits::default().with_peers_max(2, 2));
    (1..=2).for_each(|id| rig.peer(id, dialect));
    rig.holds_tasks = true;
    rig.hear(1, block_text(&theirs, dialect, 1));
    rig.hear(1, block_text(&theirs, dialect, 2));
    rig.step(Input::Closed(PeerId(1)));
    assert_eq!(rig.gossip.peers().count(), 1);
    rig.open(3, dialect, Way::Accepted, socket("192.0.2.3:1"));
    assert_eq!(rig.closed, [(3, CloseReason::Full { peers: 2 })]);
    rig.finish_task();
    rig.finish_task();
    assert_eq!((rig.height(dialect), rig.said().as_str()), (2, "2:block1 2:block2"));
    rig.open(4, dialect, Way::Accepted, socket("192.0.2.3:1"));
    assert_eq!(rig.closed.len(), 1);
}

#[test]
fn stopping_closes_all_and_begins_nothing() {
    let mut rig = Rig::new();
    (1..=2).for_each(|id| rig.peer(id, Dialect::Jenny));
    rig.step(Input::Dial(address("tcp://192.0.2.9:1")));
    rig.step(Input::Stop);
    assert_eq!(rig.closed, [(1, CloseReason::Stopping), (2, CloseReason::Stopping)]);
    rig.step(Input::DialFailed(DialId(0)));
    rig.step(Input::Dial(address("tcp://192.0.2.8:1")));
    rig.open(3, Dialect::Jenny, Way::Accepted, socket("192.0.2.3:1"));
    rig.pass(100_000);
    assert_eq!((rig.dials.len(), rig.closed.len(), rig.gossip.wake()), (1, 3, None));
    assert_eq!(rig.closed[2].1.close().code, 1001);
}

#[test]
fn facts_about_unknown_peers_change_nothing() {
    let mut rig = Rig::new();
    let frame = Frame::text("{}");
    for input in [
        Input::Received { peer: PeerId(5), frame },
        Input::Written { peer: PeerId(5), bytes: 9 },
        Input::Closed(PeerId(5)),
        Input::DialFailed(DialId(5)),
        Input::Tick,
    ] {
        rig.step(input);
    }
    assert!(rig.events.is_empty() && rig.sent.is_empty() && rig.gossip.wake().is_none());
}
