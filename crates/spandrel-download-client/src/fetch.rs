//! Fetching a part: continued after every break, checked at the end (protocol section 12.2).
//!
//! Bytes go to `<name>.<first 16 digits of the digest>.part` beside the target. The digest in the name makes sure
//! that what lies there belongs to this content, across runs too.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_RANGE, IF_RANGE, RANGE};
use http::{HeaderName, Method, StatusCode};
use http_body_util::BodyExt;
use sha2::{Digest, Sha256};
use spandrel_crypto::hex;
use spandrel_download_protocol::{DownloadId, ErrorCode, FileInfo};
use tokio::fs::{self, File, OpenOptions};
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt, BufWriter};
use tokio::time::{sleep, timeout};

use crate::http::chain;
use crate::{Client, ClientError};

/// Longest wait before a transfer is continued, in milliseconds, whatever the server asks for.
const DELAY_MS_MAX: u64 = 30_000;

/// How a fetch went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fetched {
    /// Bytes that came over the network this time.
    pub bytes_received: u64,
    /// Bytes that lay there already.
    pub bytes_resumed: u64,
    /// Times the transfer broke off and was continued.
    pub breaks: u32,
}

impl Client {
    /// Fetches one finished part of job `id` to `target`, which appears only when whole, synced and checked.
    ///
    /// `on_bytes` hears how many bytes are there, at the start and as they come; it may go back when the server
    /// does not let a transfer be continued. Cancelled, what has arrived stays beside the target and the next call
    /// goes on from there.
    ///
    /// # Errors
    ///
    /// [`ClientError::Digest`] when the bytes are not what was announced, [`ClientError::Refused`] when the file is
    /// gone or not ours, [`ClientError::Http`] when no more bytes come after the retries, [`ClientError::File`].
    pub async fn fetch_file(
        &self,
        id: DownloadId,
        file: &FileInfo,
        target: &Path,
        mut on_bytes: impl FnMut(u64),
    ) -> Result<Fetched, ClientError> {
        if is_there(file, target).await {
            on_bytes(file.bytes);
            return Ok(Fetched { bytes_received: 0, bytes_resumed: file.bytes, breaks: 0 });
        }
        let mut transfer = Transfer::open(file, target).await?;
        let mut url = file.url.clone();
        // A fresh address that is refused like the old one is no help.
        let mut is_fresh_url = false;
        let (mut breaks, mut tries, mut fresh_start) = (0, 0, transfer.have == 0);
        on_bytes(transfer.have);
        loop {
            if transfer.have == file.bytes {
                match transfer.finish(file, target).await {
                    Ok(()) => return Ok(transfer.fetched(breaks)),
                    // Perhaps what lay there was damaged; once more, from nothing.
                    Err(ClientError::Digest { .. }) if !fresh_start => {
                        fresh_start = true;
                        transfer.restart().await?;
                        on_bytes(0);
                        continue;
                    }
                    Err(e) => {
                        if matches!(e, ClientError::Digest { .. }) {
                            let _ = fs::remove_file(&transfer.path).await;
                        }
                        return Err(e);
                    }
                }
            }
            let before = transfer.have;
            let outcome = self.receive(&mut transfer, &url, file, &mut on_bytes).await;
            let has_progress = transfer.have > before;
            let was_fresh_url = std::mem::take(&mut is_fresh_url);
            let mut asked_ms = 0;
            match outcome {
                Ok(()) if transfer.have == file.bytes => continue,
                Ok(()) => {}
                Err(ClientError::Refused(refusal)) => match refusal.code {
                    ErrorCode::UrlExpired | ErrorCode::UrlInvalid if !was_fresh_url => {
                        url = self.fresh_url(id, file).await?;
                        is_fresh_url = true;
                    }
                    _ if refusal.recoverable => asked_ms = refusal.retry_after_ms.unwrap_or(0),
                    _ => return Err(refusal.into()),
                },
                Err(ClientError::Http(why)) => {
                    tracing::debug!(%why, have = transfer.have, "transfer broke off");
                }
                Err(e) => return Err(e),
            }
            breaks += 1;
            tries = if has_progress { 0 } else { tries + 1 };
            if tries > self.http.options.transfer_tries {
                let why = format!("no more bytes of {} after {tries} tries", file.file_name);
                return Err(ClientError::Http(why));
            }
            let factor = 1_u64.checked_shl(tries).unwrap_or(u64::MAX);
            let delay_ms = self.http.options.transfer_delay_ms.saturating_mul(factor) / 2;
            sleep(Duration::from_millis(delay_ms.max(asked_ms).min(DELAY_MS_MAX))).await;
        }
    }

    /// The session tells a fresh address, and knows keys, which HTTP does not; HTTP where the session is gone.
    async fn fresh_url(&self, id: DownloadId, file: &FileInfo) -> Result<String, ClientError> {
        let status = match self.status_of(id).await {
            Err(ClientError::ConnectionFailed(_)) => Some(self.http.download(id).await?),
            status => status?,
        };
        let found = status.into_iter().flat_map(|s| s.files).find(|f| f.index == file.index);
        Ok(found.map_or_else(|| file.url.clone(), |f| f.url))
    }

    /// One exchange: from where the file ends to wherever the connection breaks.
    async fn receive(
        &self,
        transfer: &mut Transfer,
        url: &str,
        file: &FileInfo,
        on_bytes: &mut impl FnMut(u64),
    ) -> Result<(), ClientError> {
        let stall = Duration::from_millis(self.http.options.stall_ms);
        let stalled = || ClientError::Http(format!("no byte for {} ms", stall.as_millis()));
        let headers: Vec<(HeaderName, String)> = if transfer.have == 0 {
            Vec::new()
        } else {
            let etag = format!("\"sha256-{}\"", file.sha256);
            vec![(RANGE, format!("bytes={}-", transfer.have)), (IF_RANGE, etag)]
        };
        let sending = self.http.send(Method::GET, url, &headers, Bytes::new());
        let answer = timeout(stall, sending).await.map_err(|_| stalled())??;
        match answer.status() {
            StatusCode::OK if transfer.have > 0 => {
                transfer.restart().await?;
                on_bytes(0);
            }
            StatusCode::OK => {}
            StatusCode::PARTIAL_CONTENT => {
                let wanted = format!("bytes {}-{}/{}", transfer.have, file.bytes - 1, file.bytes);
                let got = answer.headers().get(CONTENT_RANGE).map(|v| v.as_bytes().to_vec());
                if got.as_deref() != Some(wanted.as_bytes()) {
                    return Err(ClientError::Http(format!("asked for {wanted}, got another range")));
                }
            }
            StatusCode::RANGE_NOT_SATISFIABLE => return transfer.restart().await,
            status if status.is_server_error() => {
                return Err(match self.http.refusal(answer, url).await {
                    ClientError::Status { status, .. } => ClientError::Http(format!("status {status}")),
                    refusal => refusal,
                });
            }
            _ => return Err(self.http.refusal(answer, url).await),
        }
        let mut body = answer.into_body();
        while let Some(frame) = timeout(stall, body.frame()).await.map_err(|_| stalled())? {
            match frame {
                Ok(frame) => {
                    if let Ok(bytes) = frame.into_data() {
                        transfer.write(&bytes, file).await?;
                        on_bytes(transfer.have);
                    }
                }
                Err(e) => {
                    transfer.flush().await?;
                    return Err(ClientError::Http(chain(&e)));
                }
            }
        }
        transfer.flush().await?;
        if transfer.have < file.bytes {
            return Err(ClientError::Http("the answer ended early".to_owned()));
        }
        Ok(())
    }
}

/// The file under way, and the digest of what is in it.
struct Transfer {
    path: PathBuf,
    out: BufWriter<File>,
    digest: Sha256,
    have: u64,
    received: u64,
    resumed: u64,
}

/// Where the bytes of `file` wait until they are whole.
fn part_path(file: &FileInfo, target: &Path) -> PathBuf {
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(file.sha256.get(..16).unwrap_or("0"));
    name.push(".part");
    target.with_file_name(name)
}

impl Transfer {
    async fn open(file: &FileInfo, target: &Path) -> Result<Self, ClientError> {
        // The digest becomes part of a file name: nothing but what a digest looks like may.
        if file.sha256.len() != 64 || !file.sha256.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(ClientError::Http(format!("{}: the announced digest is none", file.file_name)));
        }
        let path = part_path(file, target);
        let fault = |source| ClientError::File { path: path.clone(), source };
        let mut options = OpenOptions::new();
        let mut out =
            options.read(true).write(true).create(true).truncate(false).open(&path).await.map_err(fault)?;
        let fault = |source| ClientError::File { path: path.clone(), source };
        let (digest, have) = digest_of(&mut out, file.bytes).await.map_err(fault)?;
        let out = BufWriter::with_capacity(256 << 10, out);
        Ok(Self { path, out, digest, have, received: 0, resumed: have })
    }

    async fn write(&mut self, bytes: &[u8], file: &FileInfo) -> Result<(), ClientError> {
        let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if len > file.bytes.saturating_sub(self.have) {
            return Err(ClientError::Http(format!("more than the announced {} bytes came", file.bytes)));
        }
        self.out.write_all(bytes).await.map_err(ClientError::file(&self.path))?;
        self.digest.update(bytes);
        self.have += len;
        self.received += len;
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), ClientError> {
        self.out.flush().await.map_err(ClientError::file(&self.path))
    }

    async fn restart(&mut self) -> Result<(), ClientError> {
        self.flush().await?;
        let file = self.out.get_mut();
        let emptied = async {
            file.set_len(0).await?;
            file.rewind().await
        };
        emptied.await.map_err(ClientError::file(&self.path))?;
        (self.have, self.resumed, self.digest) = (0, 0, Sha256::new());
        Ok(())
    }

    const fn fetched(&self, breaks: u32) -> Fetched {
        Fetched { bytes_received: self.received, bytes_resumed: self.resumed, breaks }
    }

    /// Compares, syncs and gives the file its name.
    async fn finish(&mut self, file: &FileInfo, target: &Path) -> Result<(), ClientError> {
        self.flush().await?;
        let got = hex(&self.digest.clone().finalize());
        if got != file.sha256.to_ascii_lowercase() {
            let announced = file.sha256.clone();
            return Err(ClientError::Digest { path: target.to_owned(), announced, got });
        }
        self.out.get_ref().sync_all().await.map_err(ClientError::file(&self.path))?;
        fs::rename(&self.path, target).await.map_err(ClientError::file(target))
    }
}

/// Whether an earlier run has brought the very file already.
async fn is_there(file: &FileInfo, target: &Path) -> bool {
    let same_length = fs::metadata(target).await.is_ok_and(|m| m.is_file() && m.len() == file.bytes);
    if !same_length {
        return false;
    }
    let Ok(mut open) = File::open(target).await else { return false };
    let digest = digest_of(&mut open, file.bytes).await;
    digest.is_ok_and(|(digest, _)| hex(&digest.finalize()).eq_ignore_ascii_case(&file.sha256))
}

/// Reads what is there, at most `max` bytes, and leaves the file ready to be continued.
async fn digest_of(file: &mut File, max: u64) -> std::io::Result<(Sha256, u64)> {
    let len = file.metadata().await?.len();
    if len > max {
        file.set_len(0).await?;
        return Ok((Sha256::new(), 0));
    }
    let (mut digest, mut have) = (Sha256::new(), 0);
    let mut buffer = vec![0; 64 << 10];
    loop {
        let n = file.read(&mut buffer).await?;
        if n == 0 {
            return Ok((digest, have));
        }
        digest.update(buffer.get(..n).unwrap_or_default());
        have += u64::try_from(n).unwrap_or(0);
    }
}
