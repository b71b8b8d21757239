//! One finished file over HTTP: GET and HEAD, ranges, validators, digest.

use std::fs::File;
use std::io::{self, Read as _, SeekFrom};
use std::path::PathBuf;
use std::time::SystemTime;

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::stream::{self, Stream};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use spandrel_crypto::hex;

use crate::{Precondition, Ranged, Validators, if_range_holds, precondition, ranged};

/// Bytes read at once: one system call per block, one block in memory per transfer.
const BLOCK_BYTES: u64 = 64 * 1024;

const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");

/// A file could not be served as recorded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// It could not be opened. Not found means that it was deleted behind the record's back.
    #[error("file cannot be opened: {0}")]
    Open(#[source] io::Error),
    /// It is not as long as the record says. Do not serve it: its digest would be wrong too.
    #[error("file has {got} bytes, its record says {want}")]
    Length {
        /// Bytes according to the record.
        want: u64,
        /// Bytes on disk.
        got: u64,
    },
}

/// A finished file, already open, and what its record says about it.
#[derive(Debug)]
pub struct FileFacts {
    /// The open file: it can be deleted while it is being sent. The position does not matter.
    pub file: File,
    /// Bytes of the whole file.
    pub len: u64,
    /// SHA-256 of the whole file: the source of `ETag` and `Repr-Digest`.
    pub sha256: [u8; 32],
    /// Value of `Content-Type`.
    pub content_type: HeaderValue,
    /// The name a browser saves it under; not a path. Any text: it is escaped.
    pub file_name: String,
    /// When it was finished. Only whole seconds are sent.
    pub modified: SystemTime,
}

/// Opens a file for [`serve_file`] off the runtime's threads and compares its length with the record's.
///
/// Cancel safe: the file is closed again when the future is dropped.
///
/// # Errors
///
/// [`FileError::Open`], [`FileError::Length`].
pub async fn open_file(path: PathBuf, len: u64) -> Result<File, FileError> {
    let open = move || File::open(path).and_then(|file| Ok((file.metadata()?, file)));
    let (facts, file) = tokio::task::spawn_blocking(open)
        .await
        .map_err(io::Error::other)
        .flatten()
        .map_err(FileError::Open)?;
    if !facts.is_file() {
        return Err(FileError::Open(io::ErrorKind::InvalidInput.into()));
    }
    if facts.len() == len { Ok(file) } else { Err(FileError::Length { want: len, got: facts.len() }) }
}

/// Answers a GET or HEAD for one finished file.
///
/// 200, 206, 304, 412 and 416 as RFC 9110 has them; a `Range` counts only on GET and only while `If-Range`
/// holds. Any other method is 405. `Content-Encoding` is never set: the bytes are the recorded ones.
///
/// The body is read on a blocking thread in blocks of 64 KiB, the next block only when hyper asks for it. A
/// reader that stops holds no thread and what hyper queues for one connection (about 400 KiB by default); a
/// reader that goes away ends the reading. A file that turns out shorter than recorded breaks the connection
/// off, so that the client cannot take the rest for the whole.
#[must_use]
pub fn serve_file(facts: FileFacts, method: &Method, headers: &HeaderMap) -> Response {
    if method != Method::GET && method != Method::HEAD {
        return (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET, HEAD")]).into_response();
    }
    let now = Validators { etag: etag(&facts.sha256), modified: Some(facts.modified) };
    match precondition(headers, &now) {
        Precondition::Met => {}
        Precondition::NotModified => return not_modified(&facts, now.etag),
        Precondition::Failed => return StatusCode::PRECONDITION_FAILED.into_response(),
    }
    let range = if method == Method::GET { wanted(headers, &now.etag, facts.len) } else { Ranged::Whole };
    let mut answer = match range {
        Ranged::Unsatisfiable => return unsatisfiable(facts.len, now.etag),
        // RFC 9110 section 9.3.2: the same header fields as GET, and no body.
        Ranged::Whole if method == Method::HEAD => Response::new(Body::empty()),
        Ranged::Whole => Response::new(body(facts.file, 0, facts.len)),
        Ranged::Part { start, end_inclusive } => {
            let taken = (end_inclusive - start).saturating_add(1);
            let mut answer = Response::new(body(facts.file, start, taken));
            *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
            let place = format!("bytes {start}-{end_inclusive}/{}", facts.len);
            answer.headers_mut().insert(header::CONTENT_RANGE, ascii(place));
            answer.headers_mut().insert(header::CONTENT_LENGTH, taken.into());
            answer
        }
    };
    let out = answer.headers_mut();
    out.entry(header::CONTENT_LENGTH).or_insert(facts.len.into());
    out.insert(header::ETAG, now.etag);
    out.insert(REPR_DIGEST, ascii(format!("sha-256=:{}:", STANDARD.encode(facts.sha256))));
    out.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    out.insert(header::LAST_MODIFIED, ascii(httpdate::fmt_http_date(facts.modified)));
    out.insert(header::CONTENT_TYPE, facts.content_type);
    out.insert(header::CONTENT_DISPOSITION, ascii(disposition(&facts.file_name)));
    out.insert(header::CACHE_CONTROL, PRIVATE);
    out.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

const PRIVATE: HeaderValue = HeaderValue::from_static("private, no-transform");

/// The strong entity tag of a file with this digest.
fn etag(sha256: &[u8; 32]) -> HeaderValue {
    ascii(format!("\"sha256-{}\"", hex(sha256)))
}

fn not_modified(facts: &FileFacts, etag: HeaderValue) -> Response {
    let modified = ascii(httpdate::fmt_http_date(facts.modified));
    let headers = [(header::ETAG, etag), (header::LAST_MODIFIED, modified), (header::CACHE_CONTROL, PRIVATE)];
    (StatusCode::NOT_MODIFIED, headers, no_body()).into_response()
}

/// An empty body that does not say that it is empty. Of one that does, axum makes `Content-Length: 0`, which
/// on a 304 would be the length of the file (RFC 9110 section 8.6).
pub(crate) fn no_body() -> Body {
    Body::from_stream(stream::empty::<io::Result<Bytes>>())
}

fn unsatisfiable(len: u64, etag: HeaderValue) -> Response {
    let headers = [
        (header::CONTENT_RANGE, ascii(format!("bytes */{len}"))),
        (header::ACCEPT_RANGES, HeaderValue::from_static("bytes")),
        (header::ETAG, etag),
    ];
    (StatusCode::RANGE_NOT_SATISFIABLE, headers).into_response()
}

fn wanted(headers: &HeaderMap, etag: &HeaderValue, len: u64) -> Ranged {
    let mut values = headers.get_all(header::RANGE).iter();
    match (values.next().map(HeaderValue::to_str), values.next()) {
        (Some(Ok(one)), None) if if_range_holds(headers, etag) => ranged(one, len),
        _ => Ranged::Whole,
    }
}

/// RFC 6266: a quoted name for all, and the exact one in UTF-8 when it is not plain ASCII.
fn disposition(name: &str) -> String {
    let mut quoted = String::with_capacity(name.len());
    for c in name.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            ' '..='~' => quoted.push(c),
            _ => quoted.push('_'),
        }
    }
    let plain = name.bytes().all(|b| matches!(b, b' '..=b'~'));
    let exact = if plain { String::new() } else { format!("; filename*=UTF-8''{}", percent(name)) };
    format!("attachment; filename=\"{quoted}\"{exact}")
}

fn percent(name: &str) -> String {
    let mut text = String::with_capacity(name.len() * 3);
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._".contains(&byte) {
            text.push(byte.into());
        } else {
            text.push('%');
            text.push_str(&hex(&[byte]).to_ascii_uppercase());
        }
    }
    text
}

fn ascii(text: String) -> HeaderValue {
    HeaderValue::try_from(text).expect("made of visible characters and spaces only")
}

fn body(file: File, start: u64, len: u64) -> Body {
    Body::from_stream(blocks(file, start, len))
}

/// Reads `len` bytes from `start`, one block per item, each in one visit to a blocking thread: a transfer
/// that waits for its reader occupies none.
fn blocks<F>(file: F, start: u64, len: u64) -> impl Stream<Item = io::Result<Bytes>>
where
    F: io::Read + io::Seek + Send + 'static,
{
    stream::try_unfold((file, start, len), |(mut file, at, left)| async move {
        if left == 0 {
            return Ok(None);
        }
        let read = move || {
            let block = read_block(&mut file, at, left.min(BLOCK_BYTES))?;
            Ok::<_, io::Error>((block, file))
        };
        let (block, file) = tokio::task::spawn_blocking(read).await.map_err(io::Error::other)??;
        let taken = u64::try_from(block.len()).map_err(io::Error::other)?;
        Ok(Some((block, (file, at.saturating_add(taken), left.saturating_sub(taken)))))
    })
}

fn read_block<F: io::Read + io::Seek>(file: &mut F, at: u64, want: u64) -> io::Result<Bytes> {
    let mut block = Vec::with_capacity(usize::try_from(want).map_err(io::Error::other)?);
    file.seek(SeekFrom::Start(at))?;
    file.take(want).read_to_end(&mut block)?;
    if u64::try_from(block.len()).is_ok_and(|got| got == want) {
        return Ok(block.into());
    }
    Err(io::Error::new(io::ErrorKind::UnexpectedEof, "file is shorter than its record"))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

    use futures_util::StreamExt as _;
    use tokio::sync::oneshot;

    use super::*;

    /// Counts what is read and says when it is dropped.
    struct Watched {
        inner: Cursor<Vec<u8>>,
        read: Arc<AtomicU64>,
        _gone: oneshot::Sender<()>,
    }

    impl io::Read for Watched {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            let n = self.inner.read(buf)?;
            self.read.fetch_add(n as u64, SeqCst);
            Ok(n)
        }
    }

    impl io::Seek for Watched {
        fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
            self.inner.seek(to)
        }
    }

    fn watched(len: usize) -> (Watched, Arc<AtomicU64>, oneshot::Receiver<()>) {
        let (read, (gone, is_gone)) = (Arc::default(), oneshot::channel());
        let inner = Cursor::new((0..=250).cycle().take(len).collect());
        (Watched { inner, read: Arc::clone(&read), _gone: gone }, read, is_gone)
    }

    #[tokio::test]
    async fn a_reader_that_stops_holds_one_block() {
        let (file, read, is_gone) = watched(100 * 65_536);
        let mut body = Box::pin(blocks(file, 0, 100 * 65_536));
        assert_eq!(read.load(SeqCst), 0, "nothing is read before it is asked for");
        for blocks in 1..=3 {
            assert_eq!(body.next().await.unwrap().unwrap().len(), 65_536);
            assert_eq!(read.load(SeqCst), blocks * BLOCK_BYTES, "no read ahead");
        }
        drop(body);
        assert!(is_gone.await.is_err(), "the file is closed with the transfer");
        assert_eq!(read.load(SeqCst), 3 * BLOCK_BYTES, "nothing is read for nobody");
    }

    #[tokio::test]
    async fn a_part_is_those_bytes_across_blocks() {
        for (start, len) in [(0, 0), (0, 1), (65_535, 2), (1, 65_536), (65_536, 65_536), (10, 199_990)] {
            let (file, _, _gone) = watched(200_000);
            let got: Vec<u8> = blocks(file, start, len).map(|block| block.unwrap().to_vec()).concat().await;
            let want: Vec<u8> = (start..start + len).map(|n| u8::try_from(n % 251).unwrap()).collect();
            assert!(got == want, "{len} bytes from {start}");
        }
    }

    #[tokio::test]
    async fn a_file_shorter_than_its_record_is_an_error() {
        let (file, _, _gone) = watched(70_000);
        let got: Vec<_> = blocks(file, 0, 70_001).collect().await;
        assert!(got[0].is_ok());
        assert_eq!(got[1].as_ref().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(got.len(), 2);
    }

    #[tokio::test]
    async fn opening_compares_the_length() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        std::fs::write(&path, "12345").unwrap();
        assert!(open_file(path.clone(), 5).await.is_ok());
        let got = open_file(path.clone(), 6).await.unwrap_err();
        assert!(matches!(got, FileError::Length { want: 6, got: 5 }), "{got}");
        assert!(matches!(open_file(folder.path().into(), 5).await, Err(FileError::Open(_))), "a folder");
        let gone = open_file(path.with_extension("gone"), 5).await.unwrap_err();
        assert!(matches!(&gone, FileError::Open(e) if e.kind() == io::ErrorKind::NotFound), "{gone}");
    }

    #[test]
    fn a_file_name_cannot_leave_its_quotes() {
        for (name, want) in [
            ("logs-part00001.csv", r#"attachment; filename="logs-part00001.csv""#),
            ("a b.csv", r#"attachment; filename="a b.csv""#),
            ("a\"; x=\"b\\.csv", r#"attachment; filename="a\"; x=\"b\\.csv""#),
            ("a\r\nX: y", "attachment; filename=\"a__X: y\"; filename*=UTF-8''a%0D%0AX%3A%20y"),
            ("größe.csv", "attachment; filename=\"gr__e.csv\"; filename*=UTF-8''gr%C3%B6%C3%9Fe.csv"),
            ("", r#"attachment; filename="""#),
        ] {
            assert_eq!(ascii(disposition(name)), want, "{name:?}");
        }
    }
}
