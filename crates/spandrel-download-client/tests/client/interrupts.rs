//! `get` before its job has a name, on virtual time: what is asked again, and what a user who stops leaves behind.

use spandrel_download_client::{
    Client, ClientOptions, GetError, GetEvent, GetOptions, GetReport, Subprotocol, Wanted, get,
};
use spandrel_download_protocol::{ClientEvent, ErrorCode, ErrorResponse, JobState, ServerEvent};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::request;
use crate::server::{complete, id, session, start};
use crate::stage::{Heard, Line, Server, Stage, soon};

/// A `get` under way, and the button that stops it.
struct Running {
    task: JoinHandle<Result<GetReport, GetError>>,
    stop: oneshot::Sender<()>,
}

impl Running {
    fn start(client: &Client, keep_job: bool) -> Self {
        let (stop, stopped) = oneshot::channel();
        let client = client.clone();
        let task = tokio::spawn(async move {
            let mut options = GetOptions::default();
            options.keep_job = keep_job;
            let interrupt = async {
                if stopped.await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            let report = |_: GetEvent<'_>| {};
            get(&client, Wanted::New(Box::new(request())), &options, interrupt, report).await
        });
        Self { task, stop }
    }

    async fn stop(self) -> Result<GetReport, GetError> {
        let _ = self.stop.send(());
        soon(self.task).await.unwrap()
    }
}

async fn set() -> (Server, Client, Line) {
    let mut server = Stage::set(&[Subprotocol::Json]);
    let (client, line) = server.pair(ClientOptions::default()).await;
    (server, client, line)
}

async fn refuse(line: &mut Line, heard: &Heard, code: ErrorCode) {
    let later = ErrorResponse::new(code, "later").with_retry_after(10_000);
    line.say(ServerEvent::DownloadError, &heard.request_id, &later).await;
}

async fn accept(line: &mut Line, heard: &Heard) {
    line.say(ServerEvent::DownloadStart, &heard.request_id, &start(false, 1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_request_that_took_too_long_makes_no_second_job() {
    let (mut server, client, mut line) = set().await;
    let running = Running::start(&client, false);
    let first = server.hear(&mut line).await;
    for code in [ErrorCode::Timeout, ErrorCode::Overloaded, ErrorCode::Timeout] {
        refuse(&mut line, &first, code).await;
        let again = server.hear(&mut line).await;
        assert_eq!(again.event, ClientEvent::DownloadRequest);
        assert_eq!((&again.request_id, &again.data), (&first.request_id, &first.data), "{code:?}");
    }
    accept(&mut line, &first).await;
    line.say(ServerEvent::DownloadComplete, &first.request_id, &complete(vec![])).await;
    assert_eq!(soon(running.task).await.unwrap().unwrap().rows, 10);
}

#[tokio::test(start_paused = true)]
async fn stopping_before_the_answer_cancels_the_job_that_is_just_made() {
    let (mut server, client, mut line) = set().await;
    let running = Running::start(&client, false);
    let asked = server.hear(&mut line).await;
    let play = async {
        tokio::time::sleep(std::time::Duration::from_secs(3)).await;
        accept(&mut line, &asked).await;
        let cancel = server.hear(&mut line).await;
        assert_eq!(cancel.event, ClientEvent::DownloadCancel);
        assert_eq!(cancel.data["downloadId"], id().to_string());
        line.say(ServerEvent::StatusUpdate, &cancel.request_id, &session(JobState::Cancelled)).await;
    };
    let (outcome, ()) = tokio::join!(running.stop(), play);
    assert!(matches!(outcome, Err(GetError::Interrupted { is_cancelled: true, .. })), "{outcome:?}");
}

#[tokio::test(start_paused = true)]
async fn stopping_before_the_answer_tells_the_name_of_a_job_that_is_kept() {
    let (mut server, client, mut line) = set().await;
    let running = Running::start(&client, true);
    let asked = server.hear(&mut line).await;
    let (outcome, ()) = tokio::join!(running.stop(), accept(&mut line, &asked));
    assert!(
        matches!(outcome, Err(GetError::Interrupted { id: kept, is_cancelled: false }) if kept == id()),
        "{outcome:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn stopping_between_two_tries_asks_for_the_name_only_if_there_may_be_a_job() {
    for (code, asks) in [(ErrorCode::Timeout, true), (ErrorCode::Overloaded, false)] {
        let (mut server, client, mut line) = set().await;
        let running = Running::start(&client, false);
        let asked = server.hear(&mut line).await;
        refuse(&mut line, &asked, code).await;
        // The refusal has arrived when a later answer has.
        let (_, check) = tokio::join!(client.status_of(id()), async {
            let check = server.hear(&mut line).await;
            line.say(ServerEvent::StatusUpdate, &check.request_id, &session(JobState::Pending)).await;
            check
        });
        assert_eq!(check.event, ClientEvent::StatusCheck);
        let play = async {
            if !asks {
                return;
            }
            let again = server.hear(&mut line).await;
            assert_eq!(again.request_id, asked.request_id);
            accept(&mut line, &again).await;
            let cancel = server.hear(&mut line).await;
            assert_eq!(cancel.event, ClientEvent::DownloadCancel);
            line.say(ServerEvent::StatusUpdate, &cancel.request_id, &session(JobState::Cancelled)).await;
        };
        let (outcome, ()) = tokio::join!(running.stop(), play);
        match asks {
            true => assert!(matches!(outcome, Err(GetError::Interrupted { is_cancelled: true, .. }))),
            false => assert!(matches!(outcome, Err(GetError::InterruptedEarly)), "{outcome:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_keeps_nobody_who_wants_to_stop() {
    let (mut server, client, mut line) = set().await;
    let running = Running::start(&client, false);
    server.hear(&mut line).await;
    let began = tokio::time::Instant::now();
    let outcome = running.stop().await;
    assert!(matches!(outcome, Err(GetError::InterruptedEarly)), "{outcome:?}");
    assert!(began.elapsed() <= std::time::Duration::from_secs(6), "{:?}", began.elapsed());
}
