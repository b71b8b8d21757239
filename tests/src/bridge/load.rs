//! A school: a thousand pages in a hundred rooms, and one room that is busy.

use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep};

use super::page::Page;
use super::parent::Parent;
use super::{is_long, turn};

const PAGES: usize = 1_000;
const ROOMS: usize = 100;
const PER_SECOND: u64 = 60;
/// What may be gained over a run: the allocator rounds, nothing is kept.
const GROWTH_MAX_KIB: u64 = 4 << 10;

/// Listens until it has heard every message of the program, in order, and stays open.
async fn listen(mut page: Page, last: u64) -> Page {
    for wanted in 0..=last {
        assert_eq!(page.hear().await, format!(r#"{{"data":{{"n":{wanted}}}}}"#));
    }
    page
}

/// Pings for as long as it is asked to, and hears nothing.
async fn idle(mut page: Page, until: Instant) {
    if let Ok(frame) = tokio::time::timeout_at(until, page.frame()).await {
        panic!("a page of another room heard {frame:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_pages_and_one_busy_room() {
    let _turn = turn().await;
    let seconds = if is_long() { 60 } else { 5 };
    let mut parent = Parent::open(&[]).await;
    let address = parent.address();
    parent.say("addRoomId", json!("room0")).await;
    // Another program joins, so that rooms count; its own has pages, too.
    let mut member = Page::program(address, "room1").await;

    let mut opening = JoinSet::new();
    for i in 0..PAGES {
        opening.spawn(async move { (i % ROOMS, Page::open(address, &format!("room{}", i % ROOMS)).await) });
    }
    let mut pages = opening.join_all().await;
    for _ in 0..=PAGES {
        let _ = parent.next("connection").await;
    }
    sleep(Duration::from_secs(1)).await;
    let before = parent.rss_kib();

    let last = seconds * PER_SECOND;
    let ends = Instant::now() + Duration::from_secs(seconds + 2);
    let mut listening = JoinSet::new();
    let mut idling = JoinSet::new();
    let talker = pages.iter().position(|(room, _)| *room == 0).expect("a page of the busy room");
    let (_, mut talker) = pages.swap_remove(talker);
    for (room, page) in pages {
        if room == 0 {
            listening.spawn(listen(page, last));
        } else {
            idling.spawn(idle(page, ends));
        }
    }
    idling.spawn(async move {
        if let Ok(frame) = tokio::time::timeout_at(ends, member.frame()).await {
            panic!("the program of another room heard {frame:?}");
        }
    });

    let mut clock = interval(Duration::from_millis(1000 / PER_SECOND));
    for n in 0..=last {
        clock.tick().await;
        parent.say("send", json!({ "n": n })).await;
        assert_eq!(talker.hear().await, format!(r#"{{"data":{{"n":{n}}}}}"#));
        talker.say(&format!(r#"{{"up":{n}}}"#)).await;
        assert_eq!(parent.next("data").await, json!({ "up": n }));
    }
    let heard = listening.join_all().await;
    assert_eq!(heard.len(), PAGES / ROOMS - 1, "every page of the room heard all of it");
    let after = parent.rss_kib();
    assert!(after <= before + GROWTH_MAX_KIB, "memory went from {before} to {after} KiB");
    idling.join_all().await;
    let left: Vec<_> = parent.said.iter().filter(|(key, _)| key == "close").collect();
    assert!(left.is_empty(), "nobody left: {left:?}");
}
