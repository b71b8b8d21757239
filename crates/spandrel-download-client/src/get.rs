//! From a request to files on disk in one call: what a command line does, without the command line.

mod merge;

use std::path::{Path, PathBuf};
use std::time::Duration;

use spandrel_download_protocol::{
    Codec, DownloadComplete, DownloadId, DownloadRequest, DownloadStart, ErrorCode, ErrorResponse, FileInfo,
    Format, ProgressUpdate,
};
use tokio::time::{sleep, timeout};

use crate::{Client, ClientError, Close, Download, DownloadEvent, Failure};
use merge::Merge;

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
    /// On interruption leave the job at the server, to be attached to later, instead of cancelling it.
    pub keep_job: bool,
    /// Parts have no CSV header to leave out when joining. Only looked at for [`Wanted::Job`]: a new job says it
    /// itself.
    pub csv_has_no_header: bool,
}

/// What happens meanwhile.
#[derive(Debug)]
#[non_exhaustive]
pub enum GetEvent<'a> {
    /// The server is busy; the request is repeated after this many milliseconds.
    Waiting(u64),
    /// The server has the job.
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

/// Why there is nothing at the end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GetError {
    /// The options contradict each other or the job. Change them.
    #[error("{0}")]
    Usage(String),
    /// The job ended without files.
    #[error("the job ended without files: {0}")]
    Job(ErrorResponse),
    /// Everything else.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Parts could not be joined; they stay where they are.
    #[error("joining into {path}: {source}; the parts are kept in {parts}", path = .path.display(), parts = .parts.display())]
    Merge {
        /// The file to be.
        path: PathBuf,
        /// Where the parts are.
        parts: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Interrupted by the user before the server answered; it may have made the job.
    #[error("interrupted before the server answered")]
    InterruptedEarly,
    /// Interrupted by the user.
    #[error("interrupted; job {id} {}", if *.is_cancelled { "was cancelled" } else { "is kept at the server" })]
    Interrupted {
        /// The job.
        id: DownloadId,
        /// Whether it was cancelled.
        is_cancelled: bool,
    },
}

impl GetError {
    /// Exit code for a command line: 2 usage, 3 refused by the server, 4 connection, 5 digest or files, 6
    /// cancelled.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::Client(ClientError::Url { .. }) => 2,
            Self::Interrupted { .. } | Self::InterruptedEarly => 6,
            Self::Job(error) if error.code == ErrorCode::Cancelled => 6,
            Self::Job(_) | Self::Client(ClientError::Refused(_)) => 3,
            Self::Merge { .. } | Self::Client(ClientError::File { .. } | ClientError::Digest { .. }) => 5,
            Self::Client(_) => 4,
        }
    }
}

/// Asks for a job (or follows one), waits for it, fetches its parts, checks and perhaps joins them.
///
/// `interrupt` resolves when the user wants to stop: while rows are being written that cancels the job (unless
/// [`GetOptions::keep_job`]); while files are fetched it leaves job and partial files, so that the same call with
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
    let mut interrupt = std::pin::pin!(interrupt);
    let has_header = match &wanted {
        Wanted::New(request) => request.options.csv.header.unwrap_or(true),
        Wanted::Job(_) => !options.csv_has_no_header,
    };
    if let (Wanted::New(request), true) = (&wanted, options.merge) {
        // Better told before an hour of rows than after.
        how_to_merge(&request.output_format, codec_of(request), has_header)?;
    }
    let mut download = tokio::select! {
        download = begin(client, &wanted, &mut report) => download?,
        () = &mut interrupt => return Err(GetError::InterruptedEarly),
    };
    report(GetEvent::Accepted(download.start()));
    let plan = Plan::new(options, download.start(), has_header);
    let plan = match plan {
        Ok(plan) => plan,
        Err(e) => {
            if matches!(wanted, Wanted::New(_)) {
                let _ = client.cancel(download.id()).await;
            }
            return Err(e);
        }
    };
    let id = download.id();
    let complete = tokio::select! {
        complete = follow(&mut download, &mut report) => complete?,
        () = &mut interrupt => return Err(interrupted(client, id, options).await),
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

/// Asks until the server has room; at most five times.
async fn begin(
    client: &Client,
    wanted: &Wanted,
    report: &mut impl FnMut(GetEvent<'_>),
) -> Result<Download, GetError> {
    let mut tries = 0;
    loop {
        let outcome = match wanted {
            Wanted::New(request) => client.request(request).await,
            Wanted::Job(id) => client.attach(*id).await,
        };
        match outcome {
            Err(ClientError::Refused(refusal)) if refusal.recoverable && tries < 5 => {
                tries += 1;
                let wait_ms = refusal.retry_after_ms.unwrap_or(1000).min(60_000);
                report(GetEvent::Waiting(wait_ms));
                sleep(Duration::from_millis(wait_ms)).await;
            }
            outcome => return Ok(outcome?),
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
            DownloadEvent::ConnectionFailed(failure) => return Err(ClientError::from(failure).into()),
        }
    }
    let reason = "the download ended without an event".to_owned();
    Err(ClientError::from(Failure { code: Close::ABNORMAL, reason, attempts: 0 }).into())
}

async fn interrupted(client: &Client, id: DownloadId, options: &GetOptions) -> GetError {
    let is_cancelled =
        !options.keep_job && matches!(timeout(Duration::from_secs(5), client.cancel(id)).await, Ok(Ok(_)));
    GetError::Interrupted { id, is_cancelled }
}

fn codec_of(request: &DownloadRequest) -> Option<&str> {
    request.compression.then(|| request.options.codec.as_deref().unwrap_or(Codec::Gzip.as_str()))
}

fn how_to_merge(format: &str, codec: Option<&str>, has_header: bool) -> Result<Merge, GetError> {
    let format = Format::parse(format);
    match (format, codec.map(Codec::parse)) {
        (Some(Format::Ndjson), None | Some(Some(Codec::Zstd))) => Ok(Merge::Append),
        (Some(Format::Csv), None) => Ok(Merge::Csv { has_header }),
        (Some(Format::Csv), Some(Some(Codec::Zstd))) if !has_header => Ok(Merge::Append),
        (Some(Format::Json), None) => Ok(Merge::Json),
        // Several gzip members are one gzip file by RFC 1952, but browsers and several runtimes stop after the
        // first: a file that silently loses rows is worse than none.
        (_, Some(Some(Codec::Gzip))) => Err(GetError::Usage(
            "gzip parts are not joined: many readers stop after the first part; \
             use ndjson with zstd, no compression, or keep the parts"
                .to_owned(),
        )),
        _ => Err(GetError::Usage(
            "these compressed parts cannot be joined without unpacking them; \
             use ndjson with zstd, no compression, or keep the parts"
                .to_owned(),
        )),
    }
}

/// Where the parts go.
struct Plan {
    directory: Option<PathBuf>,
    file: Option<PathBuf>,
    merge: Option<Merge>,
}

impl Plan {
    fn new(options: &GetOptions, start: &DownloadStart, has_header: bool) -> Result<Self, GetError> {
        let merge = options
            .merge
            .then(|| how_to_merge(&start.output_format, start.codec.as_deref(), has_header))
            .transpose()?;
        let is_directory = |path: &Path| path.is_dir() || path.as_os_str().as_encoded_bytes().ends_with(b"/");
        let plan = match &options.output {
            None => Self { directory: Some(PathBuf::from(".")), file: None, merge },
            Some(path) if is_directory(path) => Self { directory: Some(path.clone()), file: None, merge },
            Some(path) => Self { directory: None, file: Some(path.clone()), merge },
        };
        if start.total_rows_exact {
            plan.check(start.files.len(), start.download_id)?;
        }
        Ok(plan)
    }

    fn check(&self, parts: usize, id: DownloadId) -> Result<(), GetError> {
        if parts > 1 && self.directory.is_none() && self.merge.is_none() {
            return Err(GetError::Usage(format!(
                "job {id} has {parts} parts: name a directory (ending with /) for them, or join them with --merge"
            )));
        }
        Ok(())
    }

    async fn fetch(
        &self,
        client: &Client,
        complete: &DownloadComplete,
        report: &mut impl FnMut(GetEvent<'_>),
    ) -> Result<Vec<PathBuf>, GetError> {
        let files = &complete.files;
        self.check(files.len(), complete.download_id)?;
        for file in files {
            safe_name(&file.file_name)?;
        }
        match (&self.merge, files.as_slice()) {
            (Some(merge), [first, _, ..]) => {
                let target = match (&self.file, &self.directory) {
                    (Some(file), _) => file.clone(),
                    (None, directory) => {
                        directory.as_deref().unwrap_or(Path::new(".")).join(merged_name(&first.file_name))
                    }
                };
                self.fetch_and_merge(client, complete, *merge, &target, report).await
            }
            (_, [only]) if self.file.is_some() => {
                let target = self.file.clone().unwrap_or_default();
                make_directory(target.parent()).await?;
                fetch_one(client, complete, only, &target, report).await?;
                Ok(vec![target])
            }
            _ => {
                let directory = self.directory.clone().unwrap_or_default();
                fetch_all(client, complete, &directory, report).await
            }
        }
    }

    async fn fetch_and_merge(
        &self,
        client: &Client,
        complete: &DownloadComplete,
        merge: Merge,
        target: &Path,
        report: &mut impl FnMut(GetEvent<'_>),
    ) -> Result<Vec<PathBuf>, GetError> {
        let mut name = target.file_name().unwrap_or_default().to_owned();
        name.push(".parts");
        let directory = target.with_file_name(name);
        let parts = fetch_all(client, complete, &directory, report).await?;
        report(GetEvent::Merging);
        let to = target.to_owned();
        let joined = tokio::task::spawn_blocking(move || {
            merge.run(&parts, &to)?;
            parts.iter().try_for_each(std::fs::remove_file)
        });
        let outcome = joined.await.unwrap_or_else(|e| Err(std::io::Error::other(e)));
        outcome.map_err(|source| GetError::Merge {
            path: target.to_owned(),
            parts: directory.clone(),
            source,
        })?;
        // Something else may lie there; then it stays.
        let _ = tokio::fs::remove_dir(&directory).await;
        Ok(vec![target.to_owned()])
    }
}

async fn fetch_all(
    client: &Client,
    complete: &DownloadComplete,
    directory: &Path,
    report: &mut impl FnMut(GetEvent<'_>),
) -> Result<Vec<PathBuf>, GetError> {
    make_directory(Some(directory)).await?;
    let mut out = Vec::new();
    for file in &complete.files {
        let target = directory.join(&file.file_name);
        fetch_one(client, complete, file, &target, report).await?;
        out.push(target);
    }
    Ok(out)
}

async fn fetch_one(
    client: &Client,
    complete: &DownloadComplete,
    file: &FileInfo,
    target: &Path,
    report: &mut impl FnMut(GetEvent<'_>),
) -> Result<(), GetError> {
    let on_bytes = |have| report(GetEvent::Bytes { file, have });
    client.fetch_file(complete.download_id, file, target, on_bytes).await?;
    Ok(())
}

async fn make_directory(path: Option<&Path>) -> Result<(), GetError> {
    let Some(path) = path.filter(|p| !p.as_os_str().is_empty()) else { return Ok(()) };
    tokio::fs::create_dir_all(path).await.map_err(ClientError::file(path))?;
    Ok(())
}

/// A server names files; it does not choose directories.
fn safe_name(name: &str) -> Result<(), GetError> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    if name.is_empty() || name.starts_with('.') || name.len() > 255 || !name.bytes().all(plain) {
        let why = format!("the server names a file {:?}", name.chars().take(64).collect::<String>());
        return Err(ClientError::Http(why).into());
    }
    Ok(())
}

/// `a-part00001.csv` becomes `a.csv`.
fn merged_name(first: &str) -> String {
    match first.rsplit_once("-part") {
        Some((head, tail)) => {
            format!("{head}{}", tail.trim_start_matches(|c: char| c.is_ascii_digit()))
        }
        None => format!("merged-{first}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_a_server_stay_in_their_directory() {
        for bad in ["", ".", "..", "../x", "a/b", "a\\b", ".bashrc", "a\0b", "é"] {
            assert!(safe_name(bad).is_err(), "{bad:?}");
        }
        assert!(safe_name("logs_20240301T000000Z_20240302T000000Z-part00001.csv.gz").is_ok());
        assert_eq!(merged_name("a_b-part00001.csv"), "a_b.csv");
    }

    #[test]
    fn what_can_be_joined() {
        for (format, codec, header, good) in [
            ("csv", None, true, true),
            ("json", None, true, true),
            ("ndjson", None, true, true),
            ("ndjson", Some("zstd"), true, true),
            ("csv", Some("zstd"), false, true),
            ("csv", Some("zstd"), true, false),
            ("json", Some("zstd"), true, false),
            ("ndjson", Some("gzip"), true, false),
            ("csv", Some("gzip"), false, false),
            ("parquet", None, true, false),
        ] {
            assert_eq!(how_to_merge(format, codec, header).is_ok(), good, "{format} {codec:?} {header}");
        }
    }

    #[test]
    fn exit_codes_tell_the_kinds_apart() {
        let refusal = |code| ErrorResponse::new(code, "x");
        let failed = |code| ClientError::from(Failure { code, reason: String::new(), attempts: 5 });
        let digest = ClientError::Digest { path: "x".into(), announced: String::new(), got: String::new() };
        for (error, want) in [
            (GetError::Usage(String::new()), 2),
            (GetError::Client(refusal(ErrorCode::InvalidFilter).into()), 3),
            (GetError::Job(refusal(ErrorCode::SourceChanged)), 3),
            (GetError::Job(refusal(ErrorCode::Cancelled)), 6),
            (GetError::Client(failed(1006)), 4),
            (GetError::Client(ClientError::Http(String::new())), 4),
            (GetError::Client(digest), 5),
            (GetError::InterruptedEarly, 6),
            (GetError::Interrupted { id: DownloadId::from_bytes([0; 16]), is_cancelled: true }, 6),
        ] {
            assert_eq!(error.exit_code(), want, "{error}");
        }
    }
}
