//! From a request to files on disk in one call: what a command line does, without the command line.

mod error;
mod filters;
mod merge;
mod plan;

use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::time::Duration;

use spandrel_download_protocol::{
    DownloadComplete, DownloadId, DownloadRequest, DownloadStart, ErrorCode, FileInfo, ProgressUpdate,
};
use tokio::time::{sleep, timeout};

use crate::{Client, ClientError, Close, Download, DownloadEvent, Failure, random};
pub use error::GetError;
pub use filters::filters_from_text;
use plan::{Plan, codec_of, how_to_merge};

/// Refusals "for now" that are waited out before a job begins.
const REFUSALS_MAX: u32 = 5;
/// Longest wait for an answer of the server after the user wanted to stop.
const GOODBYE: Duration = Duration::from_secs(5);

/// What to get.
#[derive(Debug, Clone)]
pub enum Wanted {
    /// A new job.
    New(Box<DownloadRequest>),
    /// A job that was made before.
    Job(DownloadId),
}

/// Where to and how.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct GetOptions {
    /// A file, or a directory if it is one or ends with a slash; `None` is the current directory. In a directory
    /// files keep the server's names.
    pub output: Option<PathBuf>,
    /// Join several parts into one file. Uncompressed parts of every format, and zstd parts of NDJSON or of CSV
    /// without header, can be joined.
    pub merge: bool,
    /// On interruption leave a new job at the server, to be attached to later, instead of cancelling it.
    pub keep_job: bool,
    /// Parts have no CSV header to leave out when joining. Only looked at for [`Wanted::Job`]: a new job says it
    /// itself. If false, the rows announced for the first part tell whether there are headers, which compressed
    /// parts cannot be asked: those are joined only if this is true.
    pub csv_has_no_header: bool,
}

/// What happens meanwhile.
#[derive(Debug)]
#[non_exhaustive]
pub enum GetEvent<'a> {
    /// The server is busy; the request is repeated after this many milliseconds.
    Waiting(u64),
    /// The server has the job, and keeps it whatever happens here. Not told of one that was cancelled at once because
    /// it does not fit the options.
    Accepted(&'a DownloadStart),
    /// Rows are being written.
    Progress(&'a ProgressUpdate),
    /// The connection was lost and is being opened again.
    Reconnecting {
        /// Which attempt comes next, from 1.
        attempt: u32,
        /// Milliseconds until then.
        delay_ms: u64,
    },
    /// All rows are written; files are fetched now.
    Complete(&'a DownloadComplete),
    /// So many bytes of this file are there.
    Bytes {
        /// Which file.
        file: &'a FileInfo,
        /// Bytes on disk.
        have: u64,
    },
    /// The parts are joined now.
    Merging,
}

/// What is there at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GetReport {
    /// Files written.
    pub files: Vec<PathBuf>,
    /// Rows in them.
    pub rows: u64,
    /// Bytes of the parts as stored at the server.
    pub bytes: u64,
}

/// Asks for a job (or follows one), waits for it, fetches its parts, checks and perhaps joins them.
///
/// `interrupt` resolves when the user wants to stop: until all rows are written that cancels a new job (unless
/// [`GetOptions::keep_job`]), for whose name the server is given 5 s where it has not told it; a job that was made
/// before goes on. While files are fetched it leaves job and partial files, so that the same call with
/// [`Wanted::Job`] goes on where it stopped. Not cancel safe in the sense that a dropped call leaves the job running.
///
/// # Errors
///
/// [`GetError`]; its [`exit_code`](GetError::exit_code) says which kind.
pub async fn get(
    client: &Client,
    wanted: Wanted,
    options: &GetOptions,
    interrupt: impl Future<Output = ()>,
    mut report: impl FnMut(GetEvent<'_>),
) -> Result<GetReport, GetError> {
    let mut interrupt = pin!(interrupt);
    let has_header = match &wanted {
        Wanted::New(request) => Some(request.options.csv.header.unwrap_or(true)),
        Wanted::Job(_) => options.csv_has_no_header.then_some(false),
    };
    if let (Wanted::New(request), true) = (&wanted, options.merge) {
        // Better told before an hour of rows than after.
        how_to_merge(&request.output_format, codec_of(request), has_header)?;
    }
    let mut download = begin(client, &wanted, options, interrupt.as_mut(), &mut report).await?;
    let plan = match Plan::new(client, options, download.start(), has_header) {
        Ok(plan) => plan,
        Err(e) => {
            let is_new = matches!(wanted, Wanted::New(_));
            if !is_new || client.cancel(download.id()).await.is_err() {
                report(GetEvent::Accepted(download.start()));
            }
            return Err(e);
        }
    };
    report(GetEvent::Accepted(download.start()));
    let id = download.id();
    let complete = tokio::select! {
        complete = follow(&mut download, &mut report) => complete?,
        () = &mut interrupt => {
            let keeps = options.keep_job || matches!(wanted, Wanted::Job(_));
            return Err(interrupted(client, id, keeps).await);
        }
    };
    report(GetEvent::Complete(&complete));
    tokio::select! {
        files = plan.fetch(client, &complete, &mut report) => Ok(GetReport {
            files: files?,
            rows: complete.total_rows,
            bytes: complete.files.iter().map(|f| f.bytes).sum(),
        }),
        () = &mut interrupt => Err(GetError::Interrupted { id, is_cancelled: false }),
    }
}

/// Asks until the server has room; always under one id, since a try that ended in `TIMEOUT` may have made the job.
async fn begin(
    client: &Client,
    wanted: &Wanted,
    options: &GetOptions,
    mut interrupt: Pin<&mut impl Future<Output = ()>>,
    report: &mut impl FnMut(GetEvent<'_>),
) -> Result<Download, GetError> {
    let request_id = random::request_id();
    let ask = || async {
        match wanted {
            Wanted::New(request) => client.request_as(request_id.clone(), request).await,
            Wanted::Job(id) => client.attach(*id).await,
        }
    };
    let (mut tries, mut may_be_made) = (0, false);
    loop {
        let mut answer = pin!(ask());
        let refusal = tokio::select! {
            outcome = &mut answer => match outcome {
                Err(ClientError::Refused(refusal)) if refusal.recoverable && tries < REFUSALS_MAX => refusal,
                outcome => return Ok(outcome?),
            },
            () = &mut interrupt => return Err(interrupted_early(client, wanted, options, answer).await),
        };
        tries += 1;
        may_be_made |= refusal.code == ErrorCode::Timeout;
        let wait_ms = refusal.retry_after_ms.unwrap_or(1000).min(60_000);
        report(GetEvent::Waiting(wait_ms));
        tokio::select! {
            () = sleep(Duration::from_millis(wait_ms)) => {}
            // Asking once more tells the name of the job, without which nobody could cancel it.
            () = &mut interrupt => return Err(match may_be_made {
                true => interrupted_early(client, wanted, options, ask()).await,
                false => GetError::InterruptedEarly,
            }),
        }
    }
}

async fn follow(
    download: &mut Download,
    report: &mut impl FnMut(GetEvent<'_>),
) -> Result<DownloadComplete, GetError> {
    while let Some(event) = download.next().await {
        match event {
            DownloadEvent::Progress(update) => report(GetEvent::Progress(&update)),
            DownloadEvent::Reconnecting { attempt, delay_ms } => {
                report(GetEvent::Reconnecting { attempt, delay_ms });
            }
            DownloadEvent::State(_) => {}
            DownloadEvent::Complete(complete) => return Ok(complete),
            DownloadEvent::Error(error) => return Err(GetError::Job(error)),
            DownloadEvent::Detached => {
                return Err(GetError::Interrupted { id: download.id(), is_cancelled: false });
            }
            DownloadEvent::ConnectionFailed(failure) => return Err(ClientError::from(failure).into()),
        }
    }
    let reason = "the download ended without an event".to_owned();
    Err(ClientError::from(Failure { code: Close::ABNORMAL, reason, attempts: 0 }).into())
}

/// The server may be making the job just now: waits a while for its name.
async fn interrupted_early(
    client: &Client,
    wanted: &Wanted,
    options: &GetOptions,
    answer: impl Future<Output = Result<Download, ClientError>>,
) -> GetError {
    if let Wanted::Job(id) = wanted {
        return GetError::Interrupted { id: *id, is_cancelled: false };
    }
    match timeout(GOODBYE, answer).await {
        Ok(Ok(download)) => interrupted(client, download.id(), options.keep_job).await,
        _ => GetError::InterruptedEarly,
    }
}

async fn interrupted(client: &Client, id: DownloadId, keeps: bool) -> GetError {
    let is_cancelled = !keeps && matches!(timeout(GOODBYE, client.cancel(id)).await, Ok(Ok(_)));
    GetError::Interrupted { id, is_cancelled }
}
