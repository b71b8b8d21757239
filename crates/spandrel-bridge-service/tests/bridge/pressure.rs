//! Parents that do not read, pages that do not, and floods of both.

use crate::rig::*;
use spandrel_bridge_service::{Config, Exit, Limits};

fn config(limits: Limits) -> Config {
    Config::default().with_port(0).with_limits(limits)
}

fn data(n: usize, len: usize) -> String {
    format!(r#"["message",{{"data":{n},"pad":"{}"}}]"#, "x".repeat(len))
}

/// The parent reads nothing while a page says far more than may wait: the oldest data is lost, nothing else, and order holds.
#[tokio::test]
async fn a_parent_that_does_not_read_loses_the_oldest_data_and_no_event() {
    let bytes = 1 << 20;
    let mut program = Program::host(config(limits(|it| it.reports_bytes_max = bytes))).await;
    let to = program.address().await;
    let mut page = Page::in_room(to, "r").await;
    let mut last = Page::in_room(to, "last").await;
    for n in 0..100 {
        page.emit(&data(n, 100_000)).await;
    }
    page.emit(r#"1["message",{"data":"end"}]"#).await;
    assert_eq!(page.frame().await.as_deref(), Some("431[true]"), "the bridge does not wait for the parent");
    page.leave().await;
    last.emit(r#"1["message",{"data":"end"}]"#).await;
    assert_eq!(last.frame().await.as_deref(), Some("431[true]"));

    let heard = program.hears_at_last(r#"{"key":"data","value":{"data":"end"}}"#).await;
    let more = program.hears_at_last(r#"{"key":"data","value":{"data":"end"}}"#).await;
    assert_eq!(more, [r#"{"key":"close","value":"r"}"#]);
    assert_eq!(&heard[..4], [CONNECTION, SINGLE, CONNECTION, SINGLE]);
    let numbers: Vec<u64> = heard[4..]
        .iter()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["value"]["data"].as_u64().unwrap()
        })
        .collect();
    assert!(numbers.is_sorted() && numbers.last() == Some(&99), "{numbers:?}");
    assert!(numbers.len() < 60 && numbers.len() >= bytes / 100_100, "{} of 100 were kept", numbers.len());
    let now = program.handle.snapshot().await.unwrap();
    assert_eq!(now.parent.given_up, 100 - numbers.len() as u64);
}

#[tokio::test]
async fn a_bridge_whose_parent_never_reads_still_stops() {
    let mut program = Program::host(config(limits(|it| it.stop_ms = 100))).await;
    let to = program.address().await;
    let mut page = Page::in_room(to, "r").await;
    for n in 0..50 {
        page.emit(&data(n, 100_000)).await;
    }
    page.emit(r#"1["message",null]"#).await;
    assert_eq!(page.frame().await.as_deref(), Some("431[true]"));
    program.handle.stop();
    page.is_closed().await;
    assert_eq!(program.ends().await, Exit::Stopped);
}

/// Pages that come and go while the parent reads nothing make events, which are never lost: they have to wait.
#[tokio::test]
async fn events_beyond_their_bound_make_pages_wait() {
    let bounds = limits(|it| it.events_bytes_max = 2_000);
    let mut program = Program::host(config(bounds)).await;
    let to = program.address().await;
    let room = "r".repeat(1_000);
    // The socket pair takes some hundred kilobytes before the parent counts as one that does not read.
    let crowd = tokio::spawn(async move {
        for _ in 0..600 {
            Page::in_room(to, &room).await.leave().await;
        }
    });
    let close = format!(r#"{{"key":"close","value":"{}"}}"#, "r".repeat(1_000));
    for _ in 0..600 {
        program.hears([CONNECTION, SINGLE, &close]).await;
    }
    within("the crowd", crowd).await.unwrap();
    program.say(r#"{"key":"open"}"#).await;
    let _page = Page::open(to, "").await;
    program.hears([CONNECTION, SINGLE]).await;
}

#[tokio::test]
async fn a_page_that_does_not_read_is_closed_and_the_others_hear_all() {
    let bounds = limits(|it| it.unsent_bytes_max = 1 << 20);
    let mut program = Program::host(config(bounds)).await;
    let to = program.address().await;
    let deaf = Page::in_room(to, "deaf").await;
    let mut page = Page::in_room(to, "r").await;
    program.hears([CONNECTION, SINGLE, CONNECTION, SINGLE]).await;
    let flood = 200;
    let listening = tokio::spawn(async move {
        for n in 0..flood {
            let heard = page.message().await;
            assert!(heard.starts_with(&format!(r#"{{"data":{{"n":{n},"#)), "{}", &heard[..40]);
        }
        page
    });
    for n in 0..flood {
        program
            .say(&format!(r#"{{"key":"send","value":{{"n":{n},"pad":"{}"}}}}"#, "x".repeat(100_000)))
            .await;
        tokio::task::yield_now().await;
    }
    program.hears([r#"{"key":"close","value":"deaf"}"#]).await;
    let page = within("the flood", listening).await.unwrap();
    drop(deaf);
    page.leave().await;
    program.hears([r#"{"key":"close","value":"r"}"#]).await;
}

/// A parent that says much more than anybody can take, and hears nothing: the bridge lives and answers.
#[tokio::test]
async fn a_parent_that_floods_does_not_end_the_bridge() {
    let mut program = Program::host(config(Limits::default())).await;
    let to = program.address().await;
    let flood = "{\"key\":\"send\",\"value\":{\"a\":1}}\nnull\n\n{\"key\":\"encrypt\",\"value\":\"x\"}\n"
        .repeat(20_000);
    program.say_bytes(flood.as_bytes()).await;
    let _page = Page::in_room(to, "r").await;
    program.hears([CONNECTION, SINGLE]).await;
    assert_eq!(program.leave().await, Exit::ParentGone);
}

#[tokio::test]
async fn one_connection_over_the_bound_is_not_taken_in() {
    let bounds = limits(|it| it.connections_max = 3);
    let mut program = Program::host(config(bounds)).await;
    let to = program.address().await;
    let mut pages = Vec::new();
    for _ in 0..3 {
        pages.push(Page::in_room(to, "r").await);
        program.hears([CONNECTION, SINGLE]).await;
    }
    let stream = Box::new(tokio::net::TcpStream::connect(to).await.unwrap());
    assert!(Page::over(stream, to, "client=true").await.is_err());
    pages.pop().unwrap().leave().await;
    program.hears([r#"{"key":"close","value":"r"}"#]).await;
    let _page = within("a place", async {
        loop {
            let stream = Box::new(tokio::net::TcpStream::connect(to).await.unwrap());
            if let Ok(page) = Page::over(stream, to, "client=true").await {
                break page;
            }
        }
    })
    .await;
    program.hears([CONNECTION, SINGLE]).await;
}
