//! Many peers at once, and peers that take without giving.

use std::time::Duration;

use serde_json::json;
use tokio::io::AsyncReadExt as _;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::raw::{Raw, Wire, frame, head};
use super::{Fate, Victim, Want};
use crate::e2e::data::{all, flights, with};
use crate::e2e::is_long;
use crate::e2e::server::{PATIENCE, Server};
use crate::e2e::ws::{Came, new_id};

#[tokio::test(flavor = "multi_thread")]
async fn fifty_peers_that_announce_much_get_nothing_for_it() {
    let _turn = crate::e2e::turn().await;
    let mut victim = Victim::new(json!({})).await;
    let before = victim.server.rss_kib();
    let mut peers = Vec::new();
    for _ in 0..50 {
        // As much as a message may have, of which nothing comes; then as much as none may have.
        let mut raw = Raw::open(Wire::Ws, victim.server.address()).await;
        raw.send(&head(0x81, 1 << 20, true)).await;
        peers.push(raw);
    }
    victim.still_serves("fifty megabytes announced").await;
    let grown = victim.server.rss_kib().saturating_sub(before);
    assert!(grown <= 4 << 10, "{grown} KiB for announcements");
    for _ in 0..50 {
        let mut raw = Raw::open(Wire::Ws, victim.server.address()).await;
        raw.send(&head(0x81, 1 << 30, true)).await;
        Want::Close(&[1009]).check("a gibibyte announced", &raw.fate().await);
    }
    victim.still_serves("fifty gibibytes announced").await;
    drop(peers);
    victim.end(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pings_of_a_peer_that_never_reads_are_not_hoarded() {
    let _turn = crate::e2e::turn().await;
    let mut victim = Victim::new(json!({})).await;
    let before = victim.server.rss_kib();
    let mut raw = Raw::open(Wire::Ws, victim.server.address()).await;
    let pings = frame(0x89, &[b'p'; 125]).repeat(1_000);
    let mut sent = 0;
    while sent < 200_000 && timeout(Duration::from_secs(2), raw.send(&pings)).await.is_ok() {
        sent += 1_000; // until it takes no more: that is the point
    }
    assert!(sent >= 10_000, "only {sent} pings were tried");
    victim.still_serves("200,000 pings").await;
    let grown = victim.server.rss_kib().saturating_sub(before);
    assert!(grown <= 2 << 10, "{grown} KiB for one peer");
    drop(raw);
    victim.end(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_messages_is_refused_and_costs_others_nothing() {
    let _turn = crate::e2e::turn().await;
    // The good client is under the same rule here; it asks seldom.
    let limits = json!({ "limits": { "messagesPerSecond": 100, "messageBurst": 200 } });
    let mut victim = Victim::new(limits).await;
    let mut raw = Raw::open(Wire::Ws, victim.server.address()).await;
    let ask = r#"{"event":"status:check","data":{},"timestamp":1,"requestId":"flood"}"#;
    let (mut answered, mut refused) = (0, 0);
    for _ in 0..20 {
        raw.send(&frame(0x81, ask.as_bytes()).repeat(100)).await;
        for _ in 0..100 {
            match raw.fate().await {
                Fate::Said(message) if message["event"] == "status:update" => answered += 1,
                Fate::Said(message) => {
                    assert_eq!(message["data"]["code"], "RATE_LIMITED", "{message}");
                    assert!(message["data"]["retryAfter"].as_u64() >= Some(1), "{message}");
                    refused += 1;
                }
                fate => panic!("the connection stays: {fate:?}"),
            }
        }
    }
    victim.still_serves("two thousand messages").await;
    assert!(answered >= 200 && refused >= 1_000, "{answered} answered, {refused} refused");
    drop(raw);
    victim.end(1).await;
}

/// Clients that ask for a job and are gone without a word.
#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_vanished_clients_leave_nothing_after_retention() {
    let _turn = crate::e2e::turn().await;
    let config = json!({
        "limits": { "maxActivePerPrincipal": 16, "maxQueued": 1_000 },
        "retention": { "fileTtlMs": 1_000, "recordTtlMs": 1_000 },
    });
    let server = Server::of_flights(config);
    let request = with(flights(), &[("searchParams.limit", 2_000.into())]);
    server.ws().await.export(&request).await;
    // Threads of the runtime stay around for the next blocking call; those of jobs must not.
    let threads = |server: &Server| server.threads().iter().filter(|name| *name != "tokio-rt-worker").count();
    let (threads_before, descriptors) = (threads(&server), server.open_files().len());
    let mut going = JoinSet::new();
    for _ in 0..200 {
        let mut ws = server.ws().await;
        let request = request.clone();
        going.spawn(async move {
            let id = new_id();
            ws.send("download:request", &id, &request).await;
            // Acknowledged, then dropped without a goodbye.
            assert_eq!(ws.answer(&id).await["event"], "download:start");
        });
    }
    while let Some(gone) = going.join_next().await {
        gone.expect("its request is taken");
    }
    let began = Instant::now();
    loop {
        let list = server.get("/v1/downloads").await.json();
        // The descriptor of the question itself is gone a moment later.
        sleep(Duration::from_millis(50)).await;
        let folders = std::fs::read_dir(server.state_dir().join("jobs")).map_or(0, Iterator::count);
        let is_bare = server.open_files().len() <= descriptors && threads(&server) <= threads_before;
        if list["downloads"].as_array().is_some_and(Vec::is_empty) && folders == 0 && is_bare {
            break;
        }
        assert!(
            began.elapsed() < PATIENCE,
            "{folders} folders, {:?}, {:?}, {list}",
            server.open_files(),
            server.threads()
        );
    }
    let metrics = server.get("/metrics").await;
    for nothing in ["spandrel_connections 0", "spandrel_downloads_active 0", "spandrel_downloads_records 0"] {
        assert!(metrics.text().lines().any(|line| line == nothing), "{nothing}: {}", metrics.text());
    }
}

/// Each stop cuts off clients in the middle of messages and files: none sees half a message, none goes unanswered.
#[tokio::test(flavor = "multi_thread")]
async fn stops_under_load_end_every_conversation_in_good_order() {
    let _turn = crate::e2e::turn().await;
    let mut server =
        Server::of_flights(json!({ "limits": { "maxActive": 32, "maxActivePerPrincipal": 32 } }));
    let request = with(
        all("2013-01-01T00:00:00Z", "2014-02-01T00:00:00Z"),
        &[("options.maxRowsPerSecond", 50_000.into())],
    );
    for stop in 0..if is_long() { 100 } else { 8 } {
        let mut talking = JoinSet::new();
        for _ in 0..10 {
            let mut ws = server.ws().await;
            let request = request.clone();
            talking.spawn(async move {
                let id = new_id();
                ws.send("download:request", &id, &request).await;
                let mut is_answered = false;
                for _ in 0..100_000 {
                    // What is sent after the server has said goodbye goes nowhere.
                    ws.try_send("status:check", &json!({ "scope": "all" })).await;
                    match ws.came().await {
                        // What was still on its way when the server said this is asked again elsewhere.
                        Came::Message(message) => {
                            is_answered |=
                                message["requestId"] == *id || message["data"]["code"] == "SHUTTING_DOWN";
                        }
                        Came::Closed(code) => return (code, is_answered),
                    }
                }
                panic!("it never stops")
            });
        }
        sleep(Duration::from_millis(20 + 37 * stop)).await;
        let (code, took) = server.terminate().await;
        assert_eq!(code, Some(0), "{}", server.log());
        assert!(took < Duration::from_secs(5), "it took {took:?}");
        while let Some(ended) = talking.join_next().await {
            let (code, is_answered) = ended.expect("no half message, no connection that never ends");
            assert_eq!(code, 1001);
            assert!(is_answered, "neither an answer nor a farewell");
        }
        server.restart();
        let jobs = server.get("/v1/downloads?limit=1000").await.json();
        for job in jobs["downloads"].as_array().expect("a list") {
            let id = job["downloadId"].as_str().expect("an id");
            server.http().send("DELETE", &format!("/v1/downloads/{id}"), &[], b"").await;
        }
    }
}

/// A reader that stops keeps its own socket full, and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_reader_that_stops_holds_no_job_back() {
    let _turn = crate::e2e::turn().await;
    let mut victim = Victim::new(json!({})).await;
    let id = victim.server.http().create(&flights()).await;
    let done = victim.server.http().completed(&id).await;
    let url = done["files"][0]["url"].as_str().expect("a url");
    let mut readers = Vec::new();
    for _ in 0..30 {
        let mut stream = victim.server.http().open("GET", url, &[], b"").await;
        stream.read_exact(&mut [0; 100]).await.expect("the first bytes");
        readers.push(stream);
    }
    let second = victim.server.http().create(&flights()).await;
    victim.server.http().completed(&second).await;
    victim.still_serves("thirty readers that stopped").await;
    drop(readers);
    victim.end(1).await;
}
