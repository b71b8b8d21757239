//! What others can cause is logged in a line a second, and every case is counted.

use spandrel_bridge_service::{Config, Exit};

use crate::rig::*;

async fn program(change: impl FnOnce(&mut spandrel_bridge_service::Limits)) -> (Program, Log) {
    let log = Log::start();
    let program = Program::host(Config::default().with_port(0).with_limits(limits(change))).await;
    (program, log)
}

/// Counts what the lines with `part` stand for.
fn cases(log: &Log, part: &str, field: &str) -> u64 {
    let text = log.text();
    let lines = text.lines().filter(|line| line.contains(part));
    let count = |line: &str| {
        let digits = line.split(&format!("{field}=")).nth(1)?.split(|c: char| !c.is_ascii_digit()).next()?;
        digits.parse::<u64>().ok()
    };
    lines.map(|line| count(line).unwrap_or_else(|| panic!("no {field} in {line}"))).sum()
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    within(what, async {
        while !is_so() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await;
}

/// After a burst nothing more happens: the pause's end alone brings the second line.
#[tokio::test]
async fn a_burst_is_told_whole_when_the_pause_ends() {
    let (mut program, log) = program(|it| it.line_bytes_max = 1_000).await;
    program.say_bytes("no json\n".repeat(50).as_bytes()).await;
    program.say_bytes("{\"key\":\"encrypt\",\"value\":\"x\"}\n".repeat(40).as_bytes()).await;
    for (part, field, want) in [("was skipped", "lines", 50), ("are not answered", "requests", 40)] {
        until(part, || cases(&log, part, field) == want).await;
        assert!(log.text().matches(part).count() <= 2, "{}", log.text());
    }
    program.say_bytes(format!("{}\n", "x".repeat(2_000)).repeat(30).as_bytes()).await;
    until("too long", || cases(&log, "was too long", "lines") == 30).await;
}

#[tokio::test]
async fn data_that_was_given_up_is_told_whole() {
    let (mut program, log) = program(|it| it.reports_bytes_max = 100_000).await;
    let mut page = Page::in_room(program.address().await, "r").await;
    for n in 0..200 {
        page.emit(&format!(r#"["message",{{"n":{n},"pad":"{}"}}]"#, "x".repeat(20_000))).await;
    }
    page.emit(r#"1["message",1]"#).await;
    assert_eq!(page.frame().await.as_deref(), Some("431[true]"));
    let given_up = program.handle.snapshot().await.unwrap().parent.given_up;
    assert!(given_up > 100, "{given_up}");
    until("given up", || cases(&log, "does not read", "lines") == given_up).await;
    program.hears([CONNECTION, SINGLE]).await;
}

#[tokio::test]
async fn refusals_are_told_whole_with_the_last_of_them() {
    let (program, log) = program(|_| {}).await;
    let to = program.address().await;
    for n in 0..20 {
        let more = format!("Origin: https://n{n}.example\r\n");
        let answer = ask(to, &get("/socket.io/?EIO=3&transport=polling", "127.0.0.1", &more)).await;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    }
    let last = log.line("n19.example").await;
    let lines = log.text().lines().filter(|line| line.contains("refused origin")).count();
    let untold: usize = log
        .text()
        .lines()
        .filter_map(|line| {
            line.split_once(" refusals before were not logged")?.0.rsplit('(').next()?.parse::<usize>().ok()
        })
        .sum();
    assert_eq!(lines + untold, 20, "{last}\n{}", log.text());
}

/// A bridge that ends has no pause to wait for.
#[tokio::test]
async fn the_end_tells_the_rest_at_once() {
    let (mut program, log) = program(|_| {}).await;
    program.say_bytes("no json\n".repeat(50).as_bytes()).await;
    program.has_said(51).await;
    program.handle.stop();
    assert_eq!(program.ends().await, Exit::Stopped);
    assert_eq!(cases(&log, "was skipped", "lines"), 50, "{}", log.text());
}

/// A page cannot take it, and goes on; whoever looks for it finds it in the log.
#[tokio::test]
async fn a_message_too_long_for_pages_is_told_and_costs_nobody_the_session() {
    let (mut program, log) = program(|it| it.message_bytes_max = 1_000).await;
    let mut page = Page::in_room(program.address().await, "r").await;
    program.hears([CONNECTION, SINGLE]).await;
    for value in ["x".repeat(2_000), "after".to_owned()] {
        program.say_bytes(format!("{{\"key\":\"send\",\"value\":\"{value}\"}}\n").as_bytes()).await;
    }
    assert_eq!(page.frame().await.as_deref(), Some(r#"42["message",{"data":"after"}]"#));
    until("did not reach", || cases(&log, "did not reach its pages", "messages") == 1).await;
}
