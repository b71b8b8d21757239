//! The client against a small real server: sessions that break, files that break.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a panic in a helper fails its test, as it should"
)]

mod interrupts;
mod reconnect;
mod secure;
mod server;
mod stage;
mod storm;
mod ways;

use std::path::Path;
use std::time::Duration;

use server::{Order, Server, Steering, Ways, complete, id, progress, start, to_json};
use spandrel_download_client::{
    BackoffPolicy, Client, ClientError, ClientOptions, ConnectionState, Download, DownloadEvent,
    DownloadRequest, Failure, Format, GetError, GetEvent, GetOptions, Timestamp, Wanted, get,
};
use spandrel_download_protocol::{
    ClientEvent, Codec, ErrorCode, ErrorResponse, FileInfo, JobState, Scope, ServerEvent,
};

fn options() -> ClientOptions {
    let mut options = ClientOptions::default();
    options.backoff = BackoffPolicy { delay_ms: 5, ..BackoffPolicy::default() };
    options.transfer_delay_ms = 2;
    options
}

async fn connect(steering: &Steering) -> Client {
    Client::connect(&steering.server.url(), options()).await.unwrap()
}

fn request() -> DownloadRequest {
    DownloadRequest::new(Timestamp::from_millis(0), Timestamp::from_millis(1000), Format::Csv)
}

async fn say(steering: &Steering, event: ServerEvent, data: serde_json::Value) {
    let order = Order::Say(event, "job".to_owned(), data);
    assert!(steering.orders.send(order).await.is_ok());
}

/// Reads on until an event of the wanted kind.
async fn until(download: &mut Download, wanted: impl Fn(&DownloadEvent) -> bool) -> DownloadEvent {
    let search = async {
        loop {
            let event = download.next().await.expect("more events");
            if wanted(&event) {
                return event;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), search).await.expect("the event comes")
}

fn rows(event: &DownloadEvent) -> Option<u64> {
    match event {
        DownloadEvent::Progress(update) => Some(update.processed_rows),
        _ => None,
    }
}

#[tokio::test]
async fn a_request_is_followed_to_its_end() {
    let steering = Server::start(true, false).await;
    let client = connect(&steering).await;
    let mut download = client.request(&request()).await.unwrap();
    assert_eq!((download.id(), download.start().total_rows), (id(), 10));
    until(&mut download, |e| rows(e) == Some(1)).await;
    say(&steering, ServerEvent::DownloadProgress, to_json(&[progress(5), progress(6)])).await;
    until(&mut download, |e| rows(e) == Some(6)).await;
    let done = complete(vec![]);
    say(&steering, ServerEvent::DownloadComplete, to_json(&done)).await;
    assert_eq!(download.next().await, Some(DownloadEvent::Complete(done)));
    assert_eq!(download.next().await, None);
}

#[tokio::test]
async fn control_is_answered_and_cancelling_ends_the_download() {
    let steering = Server::start(true, false).await;
    let client = connect(&steering).await;
    let mut download = client.request(&request()).await.unwrap();
    let paused = client.pause(id()).await.unwrap();
    assert_eq!(paused.active_downloads[&id()].state, JobState::Paused);
    assert!(matches!(
        until(&mut download, |e| matches!(e, DownloadEvent::State(_))).await,
        DownloadEvent::State(_)
    ));
    client.resume(id()).await.unwrap();
    assert!(client.status_of(id()).await.unwrap().is_some());
    assert!(client.status(Scope::All).await.unwrap().connected);
    let state = client.cancel(id()).await.unwrap();
    assert_eq!(state.active_downloads[&id()].state, JobState::Cancelled);
    let end = until(&mut download, DownloadEvent::is_terminal).await;
    assert!(matches!(end, DownloadEvent::Error(e) if e.code == ErrorCode::Cancelled));
    client.detach(id()).await.unwrap();
}

#[tokio::test]
async fn a_refusal_has_the_servers_reason() {
    let mut steering = Server::start(false, false).await;
    let client = connect(&steering).await;
    let asked = tokio::spawn(async move { client.request(&request()).await.map(drop) });
    let seen = steering.seen.recv().await.unwrap();
    let error = ErrorResponse::new(ErrorCode::UnknownField, "no").with_path("/searchParams/columns/0");
    let order = Order::Say(ServerEvent::DownloadError, seen.request_id, to_json(&error));
    assert!(steering.orders.send(order).await.is_ok());
    assert!(matches!(asked.await.unwrap(), Err(ClientError::Refused(e)) if e == error));
}

#[tokio::test]
async fn a_broken_connection_is_opened_again_and_the_job_followed_on() {
    for how in [Order::Cut, Order::Close(1001), Order::Close(4408)] {
        let mut steering = Server::start(true, false).await;
        let client = connect(&steering).await;
        let mut download = client.request(&request()).await.unwrap();
        assert_eq!(steering.seen.recv().await.unwrap().event, ClientEvent::DownloadRequest);
        assert!(steering.orders.send(how).await.is_ok());
        until(&mut download, |e| matches!(e, DownloadEvent::Reconnecting { attempt: 1, .. })).await;
        let seen = steering.seen.recv().await.unwrap();
        assert_eq!((seen.connection, seen.event), (2, ClientEvent::DownloadAttach));
        assert_eq!(seen.data["downloadId"], id().to_string());
        say(&steering, ServerEvent::DownloadComplete, to_json(&complete(vec![]))).await;
        until(&mut download, |e| matches!(e, DownloadEvent::Complete(_))).await;
    }
}

#[tokio::test]
async fn an_unanswered_request_is_repeated_with_its_old_id() {
    let mut steering = Server::start(false, false).await;
    let client = connect(&steering).await;
    let asked = tokio::spawn(async move { client.request(&request()).await });
    let first = steering.seen.recv().await.unwrap();
    assert!(steering.orders.send(Order::Cut).await.is_ok());
    let second = steering.seen.recv().await.unwrap();
    assert_eq!((second.connection, &second.request_id, &second.data), (2, &first.request_id, &first.data));
    let order = Order::Say(ServerEvent::DownloadStart, first.request_id, to_json(&start(false, 1)));
    assert!(steering.orders.send(order).await.is_ok());
    assert_eq!(asked.await.unwrap().unwrap().id(), id());
}

#[tokio::test]
async fn a_job_that_is_gone_after_a_reconnect_ends_with_the_reason() {
    let mut steering = Server::start(false, false).await;
    let client = connect(&steering).await;
    let asked = tokio::spawn(async move { client.request(&request()).await });
    let first = steering.seen.recv().await.unwrap();
    let order = Order::Say(ServerEvent::DownloadStart, first.request_id, to_json(&start(false, 1)));
    assert!(steering.orders.send(order).await.is_ok());
    let mut download = asked.await.unwrap().unwrap();
    assert!(steering.orders.send(Order::Cut).await.is_ok());
    let attach = steering.seen.recv().await.unwrap();
    let error = ErrorResponse::new(ErrorCode::Expired, "gone");
    let order = Order::Say(ServerEvent::DownloadError, attach.request_id, to_json(&error));
    assert!(steering.orders.send(order).await.is_ok());
    let end = until(&mut download, DownloadEvent::is_terminal).await;
    assert_eq!(end, DownloadEvent::Error(error));
}

#[tokio::test]
async fn a_final_close_code_fails_at_once() {
    let steering = Server::start(true, false).await;
    let client = connect(&steering).await;
    let mut state = client.state();
    let mut download = client.request(&request()).await.unwrap();
    assert!(steering.orders.send(Order::Close(1008)).await.is_ok());
    let end = until(&mut download, DownloadEvent::is_terminal).await;
    let failure = Failure { code: 1008, reason: "because".to_owned(), attempts: 0 };
    assert_eq!(end, DownloadEvent::ConnectionFailed(failure.clone()));
    let failed = ConnectionState::Failed(failure);
    assert_eq!(*state.wait_for(|s| *s == failed).await.unwrap(), failed);
    assert!(matches!(
        client.request(&request()).await,
        Err(ClientError::ConnectionFailed(Failure { code: 1008, .. }))
    ));
}

/// A server that says hello once and drops everyone after that.
#[tokio::test]
async fn attempts_are_used_up() {
    let steering = Server::start(true, false).await;
    let url = steering.server.url();
    let address = url.strip_prefix("http://").unwrap().to_owned();
    // A relay that can be shut: the first connection passes, later ones are closed at once.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let relay = listener.local_addr().unwrap();
    let (shut, mut is_shut) = tokio::sync::watch::channel(false);
    let counted = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
    let counter = counted.clone();
    tokio::spawn(async move {
        loop {
            let (mut near, _) = listener.accept().await.unwrap();
            if *is_shut.borrow() {
                counter.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                continue;
            }
            let mut far = tokio::net::TcpStream::connect(&address).await.unwrap();
            tokio::select! {
                _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                _ = is_shut.changed() => {}
            }
        }
    });
    let client = Client::connect(&format!("http://{relay}"), options()).await.unwrap();
    let mut download = client.request(&request()).await.unwrap();
    shut.send_replace(true);
    let end = until(&mut download, DownloadEvent::is_terminal).await;
    assert!(matches!(end, DownloadEvent::ConnectionFailed(Failure { code: 1006, attempts: 5, .. })));
    assert_eq!(counted.load(std::sync::atomic::Ordering::SeqCst), 5);
}

#[tokio::test]
async fn nobody_listening_and_other_servers_are_told_at_once() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    assert!(matches!(Client::connect(&url, options()).await, Err(ClientError::Dial(_))));
    assert!(matches!(Client::connect("ftp://x", options()).await, Err(ClientError::Url { .. })));
}

#[tokio::test]
async fn a_silent_server_is_left_and_the_job_followed_on() {
    let mut steering = Server::start_with(Ways { heartbeat_ms: 200, ..Ways::default() }).await;
    let client = connect(&steering).await;
    let mut download = client.request(&request()).await.unwrap();
    // A server that answers pings is not left.
    let quiet = tokio::time::timeout(Duration::from_millis(700), async {
        until(&mut download, |e| matches!(e, DownloadEvent::Reconnecting { .. })).await
    });
    assert!(quiet.await.is_err());
    assert!(steering.orders.send(Order::Freeze).await.is_ok());
    until(&mut download, |e| matches!(e, DownloadEvent::Reconnecting { attempt: 1, .. })).await;
    let again = async {
        while let Some(seen) = steering.seen.recv().await {
            if seen.event == ClientEvent::DownloadAttach {
                return seen.connection;
            }
        }
        0
    };
    assert_eq!(again.await, 2);
}

#[tokio::test]
async fn a_rate_limit_while_following_again_ends_no_job() {
    let mut steering = Server::start(false, false).await;
    let client = connect(&steering).await;
    let asked = tokio::spawn(async move { client.request(&request()).await });
    let first = steering.seen.recv().await.unwrap();
    let order = Order::Say(ServerEvent::DownloadStart, first.request_id, to_json(&start(false, 1)));
    assert!(steering.orders.send(order).await.is_ok());
    let mut download = asked.await.unwrap().unwrap();
    assert!(steering.orders.send(Order::Cut).await.is_ok());
    let attach = steering.seen.recv().await.unwrap();
    let error = ErrorResponse::new(ErrorCode::RateLimited, "slow down").with_retry_after(20);
    let order = Order::Say(ServerEvent::DownloadError, attach.request_id, to_json(&error));
    assert!(steering.orders.send(order).await.is_ok());
    let again = steering.seen.recv().await.unwrap();
    assert_eq!(again.event, ClientEvent::DownloadAttach);
    say(&steering, ServerEvent::DownloadComplete, to_json(&complete(vec![]))).await;
    let end = until(&mut download, DownloadEvent::is_terminal).await;
    assert!(matches!(end, DownloadEvent::Complete(_)));
}

#[tokio::test]
async fn one_over_each_bound_of_the_options() {
    let silent = Server::start_with(Ways { hello: false, ..Ways::default() }).await;
    let mut tight = options();
    tight.hello_ms = 50;
    let outcome = Client::connect(&silent.server.url(), tight).await;
    assert!(matches!(outcome, Err(ClientError::NoHello { after_ms: 50 })));

    let mut steering = Server::start(false, false).await;
    let mut tight = options();
    (tight.under_way_max, tight.answer_bytes_max, tight.message_bytes_max) = (1, 10, 2000);
    let client = Client::connect(&steering.server.url(), tight).await.unwrap();
    assert!(matches!(client.datasets().await, Err(ClientError::Http(_))));
    let other = client.clone();
    let first = tokio::spawn(async move { other.status(Scope::Session).await });
    steering.seen.recv().await.unwrap();
    assert!(matches!(client.status(Scope::Session).await, Err(ClientError::TooMany { max: 1 })));
    say(&steering, ServerEvent::SystemError, serde_json::json!({ "x": "a".repeat(3000) })).await;
    assert!(matches!(first.await.unwrap(), Err(ClientError::ConnectionFailed(Failure { code: 1009, .. }))));
}

#[tokio::test]
async fn a_transfer_that_stands_still_is_broken_off_and_continued() {
    let steering = Server::start_with(Ways { stalls: true, ..Ways::default() }).await;
    let mut tight = options();
    tight.stall_ms = 200;
    let client = Client::connect(&steering.server.url(), tight).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = steering.server.put("a.csv", content(1000));
    steering.server.break_after([400]);
    let fetched = client.fetch_file(id(), &file, &directory.path().join("a.csv"), |_| {}).await.unwrap();
    assert_eq!((fetched.breaks, fetched.bytes_received), (1, 1000));
}

#[tokio::test]
async fn datasets_are_typed() {
    let steering = Server::start(true, false).await;
    let datasets = connect(&steering).await.datasets().await.unwrap();
    assert_eq!(datasets[0].columns[1].name, "price");
    assert_eq!(datasets[0].time_max, None);
}

fn content(len: usize) -> Vec<u8> {
    (0..251_u8).cycle().take(len).collect()
}

fn leftovers(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_broken_transfer_goes_on_where_it_stopped() {
    let steering = Server::start(true, false).await;
    let (client, directory) = (connect(&steering).await, tempfile::tempdir().unwrap());
    let file = steering.server.put("a.csv", content(100_000));
    let target = directory.path().join("a.csv");
    steering.server.break_after([30_000, 0, 30_000]);
    let mut heard = Vec::new();
    let fetched = client.fetch_file(id(), &file, &target, |have| heard.push(have)).await.unwrap();
    assert_eq!((fetched.breaks, fetched.bytes_received), (3, 100_000));
    assert_eq!(std::fs::read(&target).unwrap(), content(100_000));
    assert!(heard.is_sorted() && heard.last() == Some(&100_000), "{heard:?}");
    let asked = |from: u64| Some(format!("bytes={from}-"));
    assert_eq!(steering.server.ranges(), [None, asked(30_000), asked(30_000), asked(60_000)]);
    assert_eq!(leftovers(directory.path()), ["a.csv"]);
    // There already: not one byte more.
    let again = client.fetch_file(id(), &file, &target, |_| {}).await.unwrap();
    assert_eq!((again.bytes_received, again.bytes_resumed), (0, 100_000));
}

#[tokio::test]
async fn a_transfer_that_gives_up_is_continued_by_the_next_run() {
    let steering = Server::start(true, false).await;
    let (client, directory) = (connect(&steering).await, tempfile::tempdir().unwrap());
    let file = steering.server.put("a.csv", content(50_000));
    let target = directory.path().join("a.csv");
    steering.server.break_after([20_000].into_iter().chain(std::iter::repeat_n(0, 6)));
    let gave_up = client.fetch_file(id(), &file, &target, |_| {}).await;
    assert!(matches!(gave_up, Err(ClientError::Http(_))), "{gave_up:?}");
    assert!(!target.exists());
    let fetched = client.fetch_file(id(), &file, &target, |_| {}).await.unwrap();
    assert_eq!((fetched.bytes_resumed, fetched.bytes_received), (20_000, 30_000));
    assert_eq!(std::fs::read(&target).unwrap(), content(50_000));
}

#[tokio::test]
async fn damaged_leftovers_are_thrown_away_and_wrong_files_refused() {
    let steering = Server::start(true, false).await;
    let (client, directory) = (connect(&steering).await, tempfile::tempdir().unwrap());
    let file = steering.server.put("a.csv", content(1000));
    let target = directory.path().join("a.csv");
    let part = directory.path().join(format!("a.csv.{}.part", &file.sha256[..16]));
    std::fs::write(&part, vec![0; 500]).unwrap();
    client.fetch_file(id(), &file, &target, |_| {}).await.unwrap();
    assert_eq!(std::fs::read(&target).unwrap(), content(1000));
    std::fs::remove_file(&target).unwrap();

    // The server holds other bytes than it announced.
    steering.server.put("a.csv", vec![1; 1000]);
    let wrong = client.fetch_file(id(), &file, &target, |_| {}).await;
    assert!(matches!(wrong, Err(ClientError::Digest { .. })), "{wrong:?}");
    assert_eq!(leftovers(directory.path()), [""; 0]);

    // More bytes than announced are not written.
    steering.server.put("a.csv", vec![1; 2000]);
    assert!(matches!(client.fetch_file(id(), &file, &target, |_| {}).await, Err(ClientError::Http(_))));
}

#[tokio::test]
async fn waiting_helps_with_some_refusals_and_not_with_others() {
    let steering = Server::start(true, false).await;
    let (client, directory) = (connect(&steering).await, tempfile::tempdir().unwrap());
    let file = steering.server.put("a.csv", content(1000));
    let target = directory.path().join("a.csv");
    steering.server.refuse_next_file(ErrorResponse::new(ErrorCode::NotReady, "soon"));
    client.fetch_file(id(), &file, &target, |_| {}).await.unwrap();
    std::fs::remove_file(&target).unwrap();
    steering.server.refuse_next_file(ErrorResponse::new(ErrorCode::Expired, "gone"));
    let refused = client.fetch_file(id(), &file, &target, |_| {}).await;
    assert!(matches!(refused, Err(ClientError::Refused(e)) if e.code == ErrorCode::Expired));
}

/// No token here: the session tells the fresh address, since HTTP knows no keys.
#[tokio::test]
async fn an_address_that_ran_out_is_replaced_and_the_transfer_goes_on() {
    let mut steering = Server::start_with(Ways { signs: true, ..Ways::default() }).await;
    let (client, directory) = (connect(&steering).await, tempfile::tempdir().unwrap());
    let file = steering.server.put("a.csv", content(1000));
    // Bytes, none, then bytes again: each break makes the address worthless.
    steering.server.break_after([300, 0, 300]);
    let target = directory.path().join("a.csv");
    let fetched = client.fetch_file(id(), &file, &target, |_| {}).await.unwrap();
    assert_eq!((fetched.bytes_received, std::fs::read(&target).unwrap()), (1000, content(1000)));
    let asked = |from: u64| Some(format!("bytes={from}-"));
    assert_eq!(steering.server.ranges(), [None, asked(300), asked(300), asked(600)]);
    for _ in 0..3 {
        assert_eq!(steering.seen.recv().await.unwrap().event, ClientEvent::StatusCheck);
    }

    // A server whose fresh addresses are no good either is not asked for ever.
    steering.server.put("b.csv", content(10));
    let stale = FileInfo { index: 9, url: "/v1/files/x/b.csv?sig=no".to_owned(), ..file };
    let refused = client.fetch_file(id(), &stale, &directory.path().join("b.csv"), |_| {}).await;
    assert!(matches!(refused, Err(ClientError::Refused(e)) if e.code == ErrorCode::UrlExpired));
}

async fn get_all(
    steering: &Steering,
    wanted: Wanted,
    options: &GetOptions,
    files: Vec<FileInfo>,
) -> Result<spandrel_download_client::GetReport, GetError> {
    let client = connect(steering).await;
    let done = to_json(&complete(files));
    let orders = steering.orders.clone();
    let report = move |event: GetEvent<'_>| {
        if matches!(event, GetEvent::Accepted(_)) {
            let order = Order::Say(ServerEvent::DownloadComplete, "job".to_owned(), done.clone());
            assert!(orders.try_send(order).is_ok());
        }
    };
    get(&client, wanted, options, std::future::pending(), report).await
}

fn to(output: impl Into<std::path::PathBuf>, merge: bool) -> GetOptions {
    let mut options = GetOptions::default();
    options.output = Some(output.into());
    options.merge = merge;
    options
}

#[tokio::test]
async fn get_writes_one_file_several_files_or_a_joined_one() {
    let directory = tempfile::tempdir().unwrap();
    let one = Server::start(true, false).await;
    let file = one.server.put("a-part00001.csv", "a\r\n1\r\n");
    let out = directory.path().join("new/out.csv");
    let report = get_all(&one, Wanted::New(Box::new(request())), &to(&out, false), vec![file]).await.unwrap();
    assert_eq!((report.files, report.rows), (vec![out.clone()], 10));
    assert_eq!(std::fs::read(out).unwrap(), b"a\r\n1\r\n");

    let two = Server::start(true, true).await;
    let files = vec![
        two.server.put("a-part00001.csv", "a\r\n1\r\n"),
        two.server.put("a-part00002.csv", "a\r\n2\r\n"),
    ];
    let many = directory.path().join("many");
    std::fs::create_dir(&many).unwrap();
    get_all(&two, Wanted::New(Box::new(request())), &to(&many, false), files.clone()).await.unwrap();
    assert_eq!(leftovers(&many), ["a-part00001.csv", "a-part00002.csv"]);

    let joined = directory.path().join("joined.csv");
    get_all(&two, Wanted::Job(id()), &to(&joined, true), files.clone()).await.unwrap();
    assert_eq!(std::fs::read(&joined).unwrap(), b"a\r\n1\r\n2\r\n");
    assert_eq!(leftovers(directory.path()), ["joined.csv", "many", "new"]);

    // Nobody says that these have no header: not one row is taken for one, not even those that are alike.
    let bare = Server::start(true, true).await;
    let headless: Vec<FileInfo> =
        ["b-part00001.csv", "b-part00002.csv"].map(|name| bare.server.put(name, "7\r\n")).into();
    get_all(&bare, Wanted::Job(id()), &to(&joined, true), headless).await.unwrap();
    assert_eq!(std::fs::read(&joined).unwrap(), b"7\r\n7\r\n");

    let refused =
        get_all(&two, Wanted::New(Box::new(request())), &to(directory.path().join("x"), false), files).await;
    assert_eq!(refused.unwrap_err().exit_code(), 2);
    let gzip = Wanted::New(Box::new(request().compress(Codec::Gzip)));
    let refused = get_all(&two, gzip, &to(directory.path().join("x"), true), vec![]).await;
    assert!(refused.unwrap_err().to_string().contains("gzip"));
}

/// What was told as accepted can be taken up, so a job that is cancelled at once is not.
#[tokio::test]
async fn a_job_that_does_not_fit_is_told_only_if_it_stays() {
    let directory = tempfile::tempdir().unwrap();
    for (wanted, stays) in [(Wanted::New(Box::new(request())), false), (Wanted::Job(id()), true)] {
        let steering = Server::start(true, true).await;
        let client = connect(&steering).await;
        let mut accepted = vec![];
        let report = |event: GetEvent<'_>| {
            if let GetEvent::Accepted(start) = event {
                accepted.push(start.download_id);
            }
        };
        let one_file = to(directory.path().join("x"), false);
        let refused = get(&client, wanted, &one_file, std::future::pending(), report).await;
        assert_eq!(refused.unwrap_err().exit_code(), 2);
        assert_eq!(accepted, if stays { vec![id()] } else { vec![] });
    }
}

#[tokio::test]
async fn a_server_cannot_choose_directories() {
    let directory = tempfile::tempdir().unwrap();
    let steering = Server::start(true, false).await;
    let mut file = steering.server.put("a", "x");
    file.file_name = "../escaped".to_owned();
    let inside = directory.path().join("in");
    std::fs::create_dir(&inside).unwrap();
    let outcome = get_all(&steering, Wanted::New(Box::new(request())), &to(&inside, false), vec![file]).await;
    assert!(outcome.is_err() && leftovers(directory.path()) == ["in"]);
}

#[tokio::test]
async fn an_interruption_cancels_the_job_or_keeps_it() {
    for keep_job in [false, true] {
        let mut steering = Server::start(true, false).await;
        let client = connect(&steering).await;
        let mut options = GetOptions::default();
        options.keep_job = keep_job;
        let (stop, mut stopped) = tokio::sync::mpsc::channel::<()>(1);
        let report = |event: GetEvent<'_>| {
            if matches!(event, GetEvent::Progress(_)) {
                let _ = stop.try_send(());
            }
        };
        let interrupt = async move {
            stopped.recv().await;
        };
        let outcome = get(&client, Wanted::New(Box::new(request())), &options, interrupt, report).await;
        let error = outcome.unwrap_err();
        assert!(
            matches!(error, GetError::Interrupted { is_cancelled, .. } if is_cancelled != keep_job),
            "{error}"
        );
        assert_eq!(error.exit_code(), 6);
        assert_eq!(steering.seen.recv().await.unwrap().event, ClientEvent::DownloadRequest);
        let next = steering.seen.try_recv().ok().map(|seen| seen.event);
        assert_eq!(next, (!keep_job).then_some(ClientEvent::DownloadCancel));
    }
}
