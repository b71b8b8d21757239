//! What one round does with what comes together: real sockets, and a round put together by hand.

use spandrel_bridge_protocol::FromParent;
use spandrel_http::Metrics;
use spandrel_transport::{Connection, Endpoint, Frame};
use spandrel_transport_ipc::Parent;
use spandrel_transport_ws::WsTransport;
use tokio::io::{AsyncReadExt as _, DuplexStream};

use super::*;
use crate::{Limits, handle::handle, service};

/// A hub that listens, and its parent's end.
async fn host(limits: Limits) -> (Hub, DuplexStream) {
    let config = Config::default().with_port(0).with_limits(limits);
    let (clock, metrics) = (Clock::start(), Metrics::default());
    let gate = Arc::new(Gate::new(config.rules.clone(), clock, 0));
    let (server, events) = service::socket_server(&config, &gate);
    let port = Port::new(config.port, None, server, &config.limits);
    let bridge = Bridge::new(service::machine(&config));
    let (near, mut far) = tokio::io::duplex(1 << 20);
    let parent = ParentPort::new(Parent::over(near, &config.limits.of_parent()).link, &config.limits);
    let (_, controls) = handle();
    let counts = Counts::new(&metrics);
    let mut hub = Hub::new(Parts { clock, config, bridge, parent, port, events, gate, controls, counts });
    hub.step(clock.now(), Input::Parent(FromParent::Open));
    assert_eq!(told(&mut hub, &mut far).await.len(), 2, "its modes");
    (hub, far)
}

/// The keys of what the parent has been told since.
async fn told(hub: &mut Hub, far: &mut DuplexStream) -> Vec<String> {
    poll_fn(|cx| hub.parent.poll_out(cx)).await.unwrap();
    let mut bytes = vec![0; 1 << 20];
    let read = far.read(&mut bytes).await.unwrap();
    let text = std::str::from_utf8(&bytes[..read]).unwrap();
    text.lines().map(|line| line.split('"').nth(3).unwrap().to_owned()).collect()
}

/// Opens a page; all its packets so far wait among the hub's events.
async fn page(hub: &mut Hub) -> Connection {
    let address = hub.port.address().unwrap();
    let opening = tokio::spawn(async move {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let endpoint = Endpoint::Ws {
            host: address.ip().to_string(),
            port: address.port(),
            path: "/socket.io/".to_owned(),
            query: Some("client=true&roomId=r&EIO=3&transport=websocket".to_owned()),
        };
        let mut page =
            Connection::new(WsTransport::new().connect_stream(Box::new(stream), &endpoint).await.unwrap());
        page.recv().await.unwrap().unwrap();
        assert_eq!(page.recv().await.unwrap().unwrap().as_text(), Some("40"));
        page
    });
    let now = hub.clock.now();
    let mut opening = std::pin::pin!(opening);
    poll_fn(|cx| {
        hub.port.poll(cx, now);
        opening.as_mut().poll(cx)
    })
    .await
    .unwrap()
}

/// Waits until so many events wait, and takes them.
async fn events(hub: &mut Hub, count: usize) -> Vec<ServerEvent> {
    let mut events = Vec::new();
    while events.len() < count {
        let _ = poll_fn(|cx| hub.events.poll_recv_many(cx, &mut events, EVENTS)).await;
    }
    assert_eq!(events.len(), count);
    events
}

fn says(line: &str) -> Batch {
    let mut lines = Batch::new();
    lines.push(Frame::text(line.to_owned())).unwrap();
    lines
}

async fn hears(page: &mut Connection) -> String {
    page.recv().await.unwrap().unwrap().as_text().unwrap().to_owned()
}

const SEND: &str = r#"{"key":"send","value":1}"#;

/// A page that knows it is connected may have told the program so.
#[tokio::test]
async fn a_page_hears_what_was_said_in_the_round_of_its_coming() {
    let (mut hub, mut far) = host(Limits::default()).await;
    let mut page = page(&mut hub).await;
    page.send(Frame::text(r#"421["message",{"data":2}]"#)).await.unwrap();
    let mut round = Round { lines: says(SEND), events: events(&mut hub, 2).await, ..Round::default() };
    assert_eq!(hub.take(&mut round), None);
    assert_eq!(hears(&mut page).await, r#"42["message",{"data":1}]"#);
    assert_eq!(hears(&mut page).await, "431[true]", "what it says itself comes behind the program's line");
    assert_eq!(told(&mut hub, &mut far).await, ["connection", "cloudModeChanged", "data"]);
}

/// Whoever reloads a page at the bound has a place again.
#[tokio::test]
async fn a_place_that_was_left_is_free_for_who_comes_in_the_same_round() {
    let limits = Limits { connections_max: 1, ..Limits::default() };
    let (mut hub, mut far) = host(limits).await;
    let first = page(&mut hub).await;
    let mut round = Round { events: events(&mut hub, 1).await, ..Round::default() };
    assert_eq!(hub.take(&mut round), None);
    drop(first);
    round.events = events(&mut hub, 1).await;
    let mut second = page(&mut hub).await;
    round.events.extend(events(&mut hub, 1).await);
    round.lines = says(SEND);
    assert_eq!(hub.take(&mut round), None);
    assert_eq!(hears(&mut second).await, r#"42["message",{"data":1}]"#);
    let want = ["connection", "cloudModeChanged", "close", "connection", "cloudModeChanged"];
    assert_eq!(told(&mut hub, &mut far).await, want);
}

/// A page that comes, speaks and goes between two rounds is told of in this order, whatever the program says meanwhile.
#[tokio::test]
async fn what_a_session_does_in_one_round_keeps_its_order() {
    let (mut hub, mut far) = host(Limits::default()).await;
    let mut page = page(&mut hub).await;
    page.send(Frame::text(r#"42["message",{"data":2}]"#)).await.unwrap();
    drop(page);
    let mut round = Round { lines: says(SEND), events: events(&mut hub, 3).await, ..Round::default() };
    assert_eq!(hub.take(&mut round), None);
    assert_eq!(told(&mut hub, &mut far).await, ["connection", "cloudModeChanged", "data", "close"]);
}
