//! Section 10.3 on virtual time: when the client comes back, and when it gives up.

use std::time::Duration;

use spandrel_download_client::{
    Client, ClientError, ClientOptions, Close, ConnectionState, DialError, DownloadEvent, Failure,
    Subprotocol,
};
use spandrel_download_protocol::{ClientEvent, ErrorCode, ErrorResponse, JobState, Scope, ServerEvent};

use crate::server::{complete, id, progress, start};
use crate::stage::{Line, Server, Stage, key, soon};
use crate::{request, until};

const JSON: &[Subprotocol] = &[Subprotocol::Json];

fn options() -> ClientOptions {
    ClientOptions::default()
}

async fn failure(client: &Client) -> Failure {
    let mut state = client.state();
    let failed = soon(state.wait_for(|state| matches!(state, ConnectionState::Failed(_)))).await;
    match &*failed.unwrap() {
        ConnectionState::Failed(failure) => failure.clone(),
        other => panic!("{other:?}"),
    }
}

/// Milliseconds between dials.
fn gaps(server: &Server) -> Vec<u128> {
    server.stage.dials().windows(2).map(|pair| (pair[1] - pair[0]).as_millis()).collect()
}

fn near(gap: u128, nominal: u128) -> bool {
    (nominal * 4 / 5..=nominal * 6 / 5 + 2).contains(&gap)
}

/// A job that is followed on this line.
async fn follow(server: &mut Server, client: &Client, line: &mut Line) -> spandrel_download_client::Download {
    let wanted = request();
    let (download, ()) = tokio::join!(client.request(&wanted), async {
        let heard = server.hear(line).await;
        assert_eq!((heard.event, heard.auth), (ClientEvent::DownloadRequest, Ok(())));
        line.say(ServerEvent::DownloadStart, &heard.request_id, &start(false, 1)).await;
    });
    download.unwrap()
}

#[tokio::test(start_paused = true)]
async fn five_attempts_of_doubled_delay_then_connection_failed() {
    let mut server = Stage::set(JSON);
    let (client, line) = server.pair(options()).await;
    let mut states = client.state();
    server.stage.shut(5);
    drop(line);
    let mut seen = Vec::new();
    loop {
        soon(states.changed()).await.unwrap();
        match states.borrow_and_update().clone() {
            ConnectionState::Reconnecting { attempt, delay_ms } => seen.push((attempt, u128::from(delay_ms))),
            ConnectionState::Failed(failure) => {
                assert_eq!((failure.code, failure.attempts), (1006, 5));
                assert!(failure.reason.contains("cannot connect"), "{failure}");
                break;
            }
            state => panic!("{state:?}"),
        }
    }
    let nominal = [1000, 2000, 4000, 8000, 16_000];
    assert!(seen.iter().zip(1..).all(|((attempt, _), n)| *attempt == n), "{seen:?}");
    assert!(seen.iter().zip(nominal).all(|((_, ms), nominal)| near(*ms, nominal)), "{seen:?}");
    assert!(gaps(&server).into_iter().zip(nominal).all(|(gap, nominal)| near(gap, nominal)));
    assert_eq!(server.stage.dials().len(), 6);
}

#[tokio::test(start_paused = true)]
async fn the_counter_starts_anew_at_the_hello_and_not_before() {
    let mut server = Stage::set(JSON);
    let (client, line) = server.pair(options()).await;
    drop(line);
    // Let in, and dropped before the hello: that is a failed attempt.
    drop(server.accept().await);
    drop(server.accept().await);
    let line = server.meet().await;
    let mut state = client.state();
    soon(state.wait_for(|s| matches!(s, ConnectionState::Connected(_)))).await.unwrap();
    drop(line);
    server.accept().await.hello().await;
    let gaps = gaps(&server);
    for (gap, nominal) in gaps.iter().zip([1000, 2000, 4000, 1000]) {
        assert!(near(*gap, nominal), "{gaps:?}");
    }
    assert_eq!(gaps.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn codes_that_say_no_end_it_at_once_and_the_others_do_not() {
    for (code, comes_back) in [
        (1000, false),
        (1001, true),
        (1003, false),
        (1007, false),
        (1008, false),
        (1009, false),
        (1011, true),
        (1012, true),
        (1013, true),
        (4400, false),
        (4401, false),
        (4406, false),
        (4408, true),
        (4410, true),
    ] {
        let mut server = Stage::set(JSON);
        let (client, mut line) = server.pair(options()).await;
        let mut download = follow(&mut server, &client, &mut line).await;
        let started = tokio::time::Instant::now();
        line.close(code).await;
        if comes_back {
            let mut line = server.meet().await;
            assert_eq!(server.hear(&mut line).await.event, ClientEvent::DownloadAttach, "{code}");
            continue;
        }
        let want = Failure { code, reason: "because".to_owned(), attempts: 0 };
        let end = until(&mut download, DownloadEvent::is_terminal).await;
        assert_eq!(end, DownloadEvent::ConnectionFailed(want.clone()), "{code}");
        assert_eq!(failure(&client).await, want);
        assert_eq!((server.stage.dials().len(), started.elapsed()), (1, Duration::ZERO), "{code}");
        let refused = client.status(Scope::Session).await;
        assert!(matches!(refused, Err(ClientError::ConnectionFailed(f)) if f == want), "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_no_while_coming_back_ends_it_too() {
    let refused = |status| DialError::Refused { status, retry_after_ms: None };
    let closed = DialError::Closed { close: Close::new(4406, "nothing in common") };
    for (door, code) in [(refused(401), 4401), (refused(403), 4401), (closed, 4406)] {
        let mut server = Stage::set(JSON);
        let (client, line) = server.pair(options()).await;
        server.stage.answer([door]);
        drop(line);
        let failure = failure(&client).await;
        assert_eq!((failure.code, failure.attempts), (code, 1), "{failure}");
    }
    let mut server = Stage::set(JSON);
    let (client, line) = server.pair(options()).await;
    drop(line);
    server.accept().await.close(4401).await;
    assert_eq!(failure(&client).await.code, 4401);
}

#[tokio::test(start_paused = true)]
async fn a_larger_retry_after_is_obeyed_and_counts_from_when_it_was_said() {
    let later = |code, ms| ErrorResponse::new(code, "later").with_retry_after(ms);
    let mut server = Stage::set(JSON);
    let (_client, mut line) = server.pair(options()).await;
    line.complain("srv-9", &later(ErrorCode::ShuttingDown, 30_000)).await;
    // It takes a while to go.
    tokio::time::sleep(Duration::from_secs(5)).await;
    line.close(1001).await;
    // Said instead of a hello, by a server that is full.
    let mut line = server.accept().await;
    line.complain("srv-9", &later(ErrorCode::Overloaded, 20_000)).await;
    line.close(1013).await;
    // A small one does not make the delay shorter.
    let mut line = server.accept().await;
    line.complain("srv-9", &later(ErrorCode::Overloaded, 10)).await;
    line.close(1013).await;
    // An old one does not count any more.
    let line = server.meet().await;
    drop(line);
    // Ten minutes are the most that is obeyed, and then it is done with.
    let mut line = server.meet().await;
    line.complain("srv-9", &later(ErrorCode::ShuttingDown, u64::MAX / 2)).await;
    line.close(1001).await;
    let line = server.meet().await;
    drop(line);
    server.meet().await;
    let gaps = gaps(&server);
    assert!((600_000..600_010).contains(&gaps[4]) && near(gaps[5], 1000), "{gaps:?}");
    assert!((30_000..30_010).contains(&gaps[0]), "{gaps:?}");
    assert!((20_000..20_010).contains(&gaps[1]), "{gaps:?}");
    assert!(near(gaps[2], 4000) && near(gaps[3], 1000), "{gaps:?}");
}

/// A server that is full, or a proxy before it, says so in HTTP.
#[tokio::test(start_paused = true)]
async fn the_retry_after_of_a_refused_upgrade_is_obeyed() {
    let busy = |retry_after_ms| DialError::Refused { status: 503, retry_after_ms };
    let mut server = Stage::set(JSON);
    let (_client, line) = server.pair(options()).await;
    server.stage.answer([busy(Some(25_000)), busy(Some(10)), busy(None)]);
    drop(line);
    server.meet().await;
    let gaps = gaps(&server);
    assert!(near(gaps[0], 1000) && near(gaps[2], 4000) && near(gaps[3], 8000), "{gaps:?}");
    assert!((25_000..25_010).contains(&gaps[1]), "{gaps:?}");
}

#[tokio::test(start_paused = true)]
async fn a_restart_in_the_middle_of_a_job_loses_nothing() {
    let mut server = Stage::set(&[Subprotocol::Aes]);
    let sealed = options().credentials(key()).seal(spandrel_download_client::Seal::Required);
    let (client, mut line) = server.pair(sealed).await;
    let mut followed = follow(&mut server, &client, &mut line).await;
    let asked = client.clone();
    let unanswered = tokio::spawn(async move { asked.request(&request()).await });
    let first = server.hear(&mut line).await;

    // The restart: gone without a word, nobody listens for a while.
    server.stage.shut(2);
    drop(line);
    let mut line = server.meet().await;
    assert_eq!(server.stage.dials().len(), 4);
    let again = server.hear(&mut line).await;
    assert_eq!((again.event, &again.request_id), (ClientEvent::DownloadRequest, &first.request_id));
    assert_eq!((&again.data, &again.auth), (&first.data, &Ok(())));
    assert_ne!(again.text, first.text, "signed anew");
    let attach = server.hear(&mut line).await;
    assert_eq!((attach.event, attach.auth), (ClientEvent::DownloadAttach, Ok(())));
    assert_eq!(attach.data["downloadId"], id().to_string());

    line.say(ServerEvent::DownloadStart, &attach.request_id, &start(true, 1)).await;
    line.say(ServerEvent::DownloadProgress, "job", &progress(7)).await;
    line.say(ServerEvent::DownloadStart, &again.request_id, &start(false, 1)).await;
    let mut second = soon(unanswered).await.unwrap().unwrap();
    line.say(ServerEvent::DownloadComplete, "job", &complete(vec![])).await;
    // Both follow the same job here, and both are told its end.
    for download in [&mut followed, &mut second] {
        until(download, |e| matches!(e, DownloadEvent::Complete(_))).await;
    }
    // It is over: nothing to attach to.
    drop(line);
    let mut line = server.meet().await;
    let (state, heard) = tokio::join!(client.status(Scope::All), async {
        let heard = server.hear(&mut line).await;
        let state = crate::server::session(JobState::Completed);
        line.say(ServerEvent::StatusUpdate, &heard.request_id, &state).await;
        heard
    });
    assert_eq!((state.is_ok(), heard.event), (true, ClientEvent::StatusCheck));
}

/// It may have made its job on the connection that was lost: a limit on messages is no answer to it.
#[tokio::test(start_paused = true)]
async fn a_repeated_request_that_meets_the_rate_limit_is_repeated_again() {
    let mut server = Stage::set(JSON);
    let (client, mut line) = server.pair(options()).await;
    let asked = tokio::spawn(async move { client.request(&request()).await });
    let first = server.hear(&mut line).await;
    drop(line);
    let mut line = server.meet().await;
    let limited = ErrorResponse::new(ErrorCode::RateLimited, "slow down").with_retry_after(700);
    for _ in 0..3 {
        let began = tokio::time::Instant::now();
        let again = server.hear(&mut line).await;
        assert_eq!(again.request_id, first.request_id);
        line.complain(&again.request_id, &limited).await;
        assert!(began.elapsed() < Duration::from_secs(1));
    }
    let again = server.hear(&mut line).await;
    line.say(ServerEvent::DownloadStart, &again.request_id, &start(false, 1)).await;
    assert_eq!(soon(asked).await.unwrap().unwrap().id(), id());
}

#[tokio::test(start_paused = true)]
async fn many_jobs_are_taken_up_below_the_rate_servers_allow() {
    let mut server = Stage::set(JSON);
    let (client, mut line) = server.pair(options()).await;
    let mut downloads = Vec::new();
    for n in 0..300_u16 {
        let mut bytes = [0; 16];
        bytes[..2].copy_from_slice(&n.to_be_bytes());
        let id = spandrel_download_protocol::DownloadId::from_bytes(bytes);
        let (download, ()) = tokio::join!(client.attach(id), async {
            let heard = server.hear(&mut line).await;
            let start = spandrel_download_protocol::DownloadStart { download_id: id, ..start(true, 1) };
            line.say(ServerEvent::DownloadStart, &heard.request_id, &start).await;
        });
        downloads.push(download.unwrap());
    }
    drop(line);
    let mut line = server.meet().await;
    let began = tokio::time::Instant::now();
    for n in 1..=300_u64 {
        server.hear(&mut line).await;
        // A bucket of 200, refilled with 100 a second.
        assert!(n <= 200 + u64::try_from(began.elapsed().as_millis()).unwrap() / 10, "number {n}");
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_reads_nothing_is_left() {
    let mut server = Stage::set(JSON);
    let (client, mut line) = server.pair(options()).await;
    let wanted = request().columns((0..200).map(|n| format!("a column with a long name {n}")));
    let asked: Vec<_> = (0..100)
        .map(|_| {
            let (client, wanted) = (client.clone(), wanted.clone());
            tokio::spawn(async move { client.request(&wanted).await.map(drop) })
        })
        .collect();
    // It still says something now and then, so it is not dead by the heartbeat.
    let mut is_left = false;
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_secs(4)).await;
        let frame = line.frame(ServerEvent::DownloadProgress, "job", &crate::server::to_json(&progress(1)));
        is_left = line.conn.send(frame).await.is_err();
        if is_left {
            break;
        }
    }
    assert!(is_left, "40 s without a byte being read");
    let mut line = server.meet().await;
    assert_eq!(server.hear(&mut line).await.event, ClientEvent::DownloadRequest);
    assert!(asked.iter().all(|task| !task.is_finished()), "nobody was told anything but the wait");
}

#[tokio::test(start_paused = true)]
async fn a_job_that_was_detached_from_is_not_taken_up_again() {
    let mut server = Stage::set(JSON);
    let (client, mut line) = server.pair(options()).await;
    let mut left = follow(&mut server, &client, &mut line).await;
    let (answer, ()) = tokio::join!(client.detach(id()), async {
        let heard = server.hear(&mut line).await;
        assert_eq!(heard.event, ClientEvent::DownloadDetach);
        let state = crate::server::session(JobState::Generating);
        line.say(ServerEvent::StatusUpdate, &heard.request_id, &state).await;
    });
    answer.unwrap();
    assert_eq!(until(&mut left, DownloadEvent::is_terminal).await, DownloadEvent::Detached);
    assert_eq!(left.next().await, None);
    drop(line);
    let mut line = server.meet().await;
    let (_, heard) = tokio::join!(client.status(Scope::All), async {
        let heard = server.hear(&mut line).await;
        let state = crate::server::session(JobState::Generating);
        line.say(ServerEvent::StatusUpdate, &heard.request_id, &state).await;
        heard
    });
    assert_eq!(heard.event, ClientEvent::StatusCheck, "no attach before it");
}

/// The answer was lost with the connection: the detach is repeated, and not undone by an attach.
#[tokio::test(start_paused = true)]
async fn an_unanswered_detach_is_repeated_without_an_attach() {
    let refusal = ErrorResponse::new(ErrorCode::DownloadNotFound, "no such download");
    for refused in [false, true] {
        let mut server = Stage::set(JSON);
        let (client, mut line) = server.pair(options()).await;
        let mut left = follow(&mut server, &client, &mut line).await;
        let asked = client.clone();
        let detached = tokio::spawn(async move { asked.detach(id()).await });
        let first = server.hear(&mut line).await;
        drop(line);
        let mut line = server.meet().await;
        let again = server.hear(&mut line).await;
        assert_eq!((again.event, &again.request_id), (ClientEvent::DownloadDetach, &first.request_id));
        if refused {
            line.say(ServerEvent::DownloadError, &again.request_id, &refusal).await;
        } else {
            let state = crate::server::session(JobState::Generating);
            line.say(ServerEvent::StatusUpdate, &again.request_id, &state).await;
        }
        assert_eq!(soon(detached).await.unwrap().is_err(), refused);
        assert_eq!(until(&mut left, DownloadEvent::is_terminal).await, DownloadEvent::Detached);
        let (_, heard) = tokio::join!(client.status(Scope::All), async {
            let heard = server.hear(&mut line).await;
            let state = crate::server::session(JobState::Generating);
            line.say(ServerEvent::StatusUpdate, &heard.request_id, &state).await;
            heard
        });
        assert_eq!(heard.event, ClientEvent::StatusCheck);
    }
}
