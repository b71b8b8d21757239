//! Several programs on one port.

use std::time::Duration;

use spandrel_bridge_service::{Config, Exit, Mode, Snapshot, spandrel_transport::TlsServer};
use tokio::time::Instant;

use crate::rig::*;

/// A host, and a second program that joined it; rooms as given.
async fn pair(host_room: &str, client_room: &str) -> (Program, Program) {
    let mut host = Program::host(Config::default().with_port(0)).await;
    let port = host.address().await.port();
    host.say(&format!(r#"{{"key":"addRoomId","value":"{host_room}"}}"#)).await;
    let mut client = Program::start(Config::default().with_port(port));
    client.say(&format!(r#"{{"key":"addRoomId","value":"{client_room}"}}"#)).await;
    client.say(r#"{"key":"open"}"#).await;
    client.hears([RUNS_AS_CLIENT, CLOUD]).await;
    host.hears([CONNECTION, CLOUD]).await;
    until(&host, |now| now.rooms_total == 1).await; // the room is matched
    (host, client)
}

async fn until(program: &Program, is_so: impl Fn(&Snapshot) -> bool) {
    within("a state", async {
        while !program.handle.snapshot().await.is_some_and(|now| is_so(&now)) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn each_page_talks_to_the_program_of_its_room() {
    let (mut host, mut client) = pair("RH", "RC").await;
    let to = host.address().await;
    let (mut of_host, mut of_client, mut of_nobody) =
        (Page::in_room(to, "RH").await, Page::in_room(to, "RC").await, Page::in_room(to, "RX").await);
    host.hears([CONNECTION, CLOUD, CONNECTION, CLOUD, CONNECTION, CLOUD]).await;
    of_nobody.emit(r#"1["message",{"data":"lost"}]"#).await;
    assert_eq!(of_nobody.frame().await.as_deref(), Some("431[true]"));
    of_client.emit(r#"["message",{"data":"c"}]"#).await;
    client.hears([r#"{"key":"data","value":{"data":"c"}}"#]).await;
    of_host.emit(r#"["message",{"data":"h"}]"#).await;
    host.hears([r#"{"key":"data","value":{"data":"h"}}"#]).await;
    client.say(r#"{"key":"send","value":"to c"}"#).await;
    assert_eq!(of_client.message().await, r#"{"data":"to c"}"#);
    host.say(r#"{"key":"send","value":"to h"}"#).await;
    assert_eq!(of_host.message().await, r#"{"data":"to h"}"#);
    host.say(r#"{"key":"send","value":"again"}"#).await;
    assert_eq!(of_host.message().await, r#"{"data":"again"}"#);

    assert_eq!(client.leave().await, Exit::ParentGone);
    host.hears([r#"{"key":"close","value":"RC"}"#, SINGLE]).await;
}

#[tokio::test]
async fn when_the_host_ends_the_client_takes_over_and_keeps_what_was_said_meanwhile() {
    let (mut host, mut client) = pair("RH", "RC").await;
    let to = host.address().await;
    let mut page = Page::in_room(to, "RC").await;
    page.emit(r#"["message",{"data":"before"}]"#).await;
    client.hears([r#"{"key":"data","value":{"data":"before"}}"#]).await;
    let lost = Instant::now();
    host.handle.stop();
    client.hears([RUNS_AS_SERVER, SINGLE]).await;
    // Far below the ping timeout, by which a host that left without a word would be noticed.
    assert!(lost.elapsed() < Duration::from_secs(2), "taken over after {:?}", lost.elapsed());
    assert_eq!(host.ends().await, Exit::Stopped);
    page.is_closed().await;
    for n in 0..5 {
        client.say(&format!(r#"{{"key":"send","value":{n}}}"#)).await;
    }
    assert_eq!(client.address().await, to);
    // Another room's page is back first: it neither hears this program nor talks to it.
    let mut foreign = Page::in_room(to, "RH").await;
    foreign.emit(r#"1["message",{"data":"not for you"}]"#).await;
    assert_eq!(foreign.frame().await.as_deref(), Some("431[true]"));
    let mut page = Page::in_room(to, "RC").await;
    for n in 0..5 {
        assert_eq!(page.message().await, format!(r#"{{"data":{n}}}"#));
    }
    page.emit(r#"["message",{"data":"after"}]"#).await;
    client
        .hears([CONNECTION, SINGLE, CONNECTION, SINGLE, r#"{"key":"data","value":{"data":"after"}}"#])
        .await;
}

/// Whoever has the port and is no bridge: the programs wait, and take it when it is free.
#[tokio::test]
async fn a_foreign_program_on_the_port_is_waited_for() {
    let foreign = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = foreign.local_addr().unwrap().port();
    let mut program = Program::start(Config::default().with_port(port));
    program.say(r#"{"key":"open"}"#).await;
    program.hears([RUNS_AS_CLIENT, CLOUD]).await;
    assert_eq!(program.handle.snapshot().await.unwrap().mode, Mode::Client);
    let (stream, _) = foreign.accept().await.unwrap();
    drop((stream, foreign));
    program.hears_at_last(RUNS_AS_SERVER).await;
    program.hears([SINGLE]).await;
}

#[tokio::test]
async fn a_host_that_speaks_the_other_way_is_joined_too() {
    let tls = TlsServer::self_signed(["hw.playentry.org"]).unwrap();
    let mut host = Program::host(Config::default().with_port(0).with_tls(tls)).await;
    let port = host.address().await.port();
    let mut plain = Program::start(Config::default().with_port(port));
    plain.say(r#"{"key":"addRoomId","value":"RC"}"#).await;
    plain.say(r#"{"key":"open"}"#).await;
    plain.hears([RUNS_AS_CLIENT, CLOUD]).await;
    host.hears([CONNECTION, CLOUD]).await;
    until(&host, |now| now.rooms_total == 1).await;
    let mut page = Page::over_tls(host.address().await, "client=true&roomId=RC").await;
    plain.say(r#"{"key":"send","value":1}"#).await;
    assert_eq!(page.message().await, r#"{"data":1}"#);
}

/// A host that is gone without a word: its sockets close with it, and the port is taken over as fast.
#[tokio::test]
async fn a_host_that_vanishes_is_replaced_at_once() {
    let (host, mut client) = pair("RH", "RC").await;
    let to = host.address().await;
    let lost = Instant::now();
    host.abort();
    client.hears([RUNS_AS_SERVER, SINGLE]).await;
    assert!(lost.elapsed() < Duration::from_secs(2), "taken over after {:?}", lost.elapsed());
    assert_eq!(client.address().await, to);
    let mut page = Page::in_room(to, "RC").await;
    client.hears([CONNECTION, SINGLE]).await;
    client.say(r#"{"key":"send","value":"here"}"#).await;
    assert_eq!(page.message().await, r#"{"data":"here"}"#);
}
