//! As many connections as there may be, and one more.

use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;

use super::page::Page;
use super::parent::Parent;
use super::turn;

/// What the protocol allows.
const CONNECTIONS_MAX: usize = 2_048;

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_over_the_cap_is_refused_and_a_free_place_is_taken() {
    let _turn = turn().await;
    let mut parent = Parent::open(&[]).await;
    let address = parent.address();
    let mut opening = JoinSet::new();
    let mut pages = Vec::with_capacity(CONNECTIONS_MAX);
    for i in 0..CONNECTIONS_MAX {
        opening.spawn(async move { Page::open(address, &format!("r{i}")).await });
        if opening.len() == 64 {
            pages.extend(opening.join_next().await.map(|page| page.expect("a session")));
        }
    }
    pages.extend(opening.join_all().await);
    for _ in 0..CONNECTIONS_MAX {
        let _ = parent.next("connection").await;
    }
    assert!(Page::connect(address, "client=true").await.is_err(), "one too many");

    // Those that were there are served all the same, and nobody heard of the one that was not let in.
    let mut first = pages.swap_remove(0);
    first.settle().await;
    parent.said.clear();
    assert_eq!(parent.next("data").await, json!({ "key": "settled" }));
    assert!(parent.said.iter().all(|(key, _)| key == "cloudModeChanged"), "{:?}", parent.said);

    drop(first);
    let _ = parent.next("close").await;
    let mut next = Page::open(address, "next").await;
    next.settle().await;
    assert!(!next.is_closed_within(Duration::from_millis(200)).await);
}
