//! Blocking reading and writing ends as one byte stream.

use std::{
    io::{self, Read, Write},
    pin::Pin,
    task::{Context, Poll, ready},
    thread,
};

use bytes::{Buf as _, Bytes};
use spandrel_transport::BoxStream;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::{mpsc, oneshot},
};

/// Bytes of one read, and of one piece handed to the writing thread.
const CHUNK_BYTES: usize = 32 << 10;
/// Chunks that wait in each direction; a peer that does not read stops us after that.
const CHUNKS: usize = 2;

/// Makes a byte stream of two blocking ends, with a thread for each.
///
/// The threads are not the runtime's: one that waits in a read for ever keeps neither a runtime nor the process alive.
/// It ends with the next byte, or the end, it reads after the stream was dropped. Shutting the stream down waits until
/// everything is written; dropping it writes what it has taken in the background.
///
/// # Errors
///
/// When the system has no more threads.
pub fn blocking_stream(
    reader: impl Read + Send + 'static,
    writer: impl Write + Send + 'static,
) -> io::Result<BoxStream> {
    let (tell_in, incoming) = mpsc::channel(CHUNKS);
    let (outgoing, tell_out) = mpsc::channel(CHUNKS);
    let (done, written) = oneshot::channel();
    thread::Builder::new().name("ipc-read".into()).spawn(move || read_on(reader, &tell_in))?;
    thread::Builder::new().name("ipc-write".into()).spawn(move || {
        let _ = done.send(write_on(writer, tell_out));
    })?;
    Ok(Box::new(Threads {
        incoming,
        chunk: Bytes::new(),
        outgoing: Some(outgoing),
        permit: None,
        written,
        is_written: false,
    }))
}

fn read_on(mut reader: impl Read, tell: &mpsc::Sender<io::Result<Bytes>>) {
    let mut buf = vec![0; CHUNK_BYTES];
    loop {
        let chunk = match reader.read(&mut buf) {
            Ok(0) => return,
            Ok(n) => Ok(Bytes::copy_from_slice(buf.get(..n).unwrap_or_default())),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => Err(e),
        };
        let is_over = chunk.is_err();
        if tell.blocking_send(chunk).is_err() || is_over {
            return;
        }
    }
}

fn write_on(mut writer: impl Write, mut told: mpsc::Receiver<Bytes>) -> io::Result<()> {
    while let Some(chunk) = told.blocking_recv() {
        writer.write_all(&chunk)?;
        writer.flush()?;
    }
    Ok(())
}

type Reserve = Pin<Box<dyn Future<Output = Option<mpsc::OwnedPermit<Bytes>>> + Send>>;

struct Threads {
    incoming: mpsc::Receiver<io::Result<Bytes>>,
    /// What is left of the last chunk.
    chunk: Bytes,
    outgoing: Option<mpsc::Sender<Bytes>>,
    /// Waits for room, while there is none.
    permit: Option<Reserve>,
    written: oneshot::Receiver<io::Result<()>>,
    is_written: bool,
}

impl AsyncRead for Threads {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.chunk.is_empty() {
            match ready!(self.incoming.poll_recv(cx)) {
                Some(chunk) => self.chunk = chunk?,
                None => return Poll::Ready(Ok(())),
            }
        }
        let n = self.chunk.len().min(buf.remaining());
        buf.put_slice(self.chunk.get(..n).unwrap_or_default());
        self.chunk.advance(n);
        if self.chunk.is_empty() {
            self.chunk = Bytes::new(); // an idle link holds no memory
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Threads {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let Some(outgoing) = &self.outgoing else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        let permit = if self.permit.is_none() { outgoing.clone().try_reserve_owned().ok() } else { None };
        let permit = match permit {
            Some(permit) => permit,
            None => {
                let outgoing = outgoing.clone();
                let reserve = self
                    .permit
                    .get_or_insert_with(|| Box::pin(async { outgoing.reserve_owned().await.ok() }));
                let permit = ready!(reserve.as_mut().poll(cx));
                self.permit = None;
                let Some(permit) = permit else { return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())) };
                permit
            }
        };
        let taken = buf.get(..CHUNK_BYTES).unwrap_or(buf);
        permit.send(Bytes::copy_from_slice(taken));
        Poll::Ready(Ok(taken.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(())) // the thread flushes each chunk
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.permit = None;
        self.outgoing = None;
        if self.is_written {
            return Poll::Ready(Ok(()));
        }
        let written = ready!(Pin::new(&mut self.written).poll(cx));
        self.is_written = true;
        Poll::Ready(written.unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into())))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn shutting_down_waits_until_all_is_written() {
        let (reader, _held) = io::pipe().unwrap();
        let (mut far, writer) = io::pipe().unwrap();
        let mut stream = blocking_stream(reader, writer).unwrap();
        let sent = vec![7; 300_000]; // more than a pipe holds
        let read = thread::spawn(move || {
            let mut got = Vec::new();
            far.read_to_end(&mut got).map(|_| got)
        });
        stream.write_all(&sent).await.unwrap();
        stream.shutdown().await.unwrap();
        stream.shutdown().await.unwrap();
        assert!(stream.write_all(b"late").await.is_err());
        assert!(read.join().unwrap().unwrap() == sent, "bytes came out changed");
    }

    #[tokio::test]
    async fn a_reader_that_left_is_an_error_and_a_silent_one_stops_the_writer() {
        let (reader, _held) = io::pipe().unwrap();
        let (far, writer) = io::pipe().unwrap();
        let mut stream = blocking_stream(reader, writer).unwrap();
        let flood = async {
            let mut written = 0_usize;
            while stream.write_all(&[1; 4096]).await.is_ok() {
                written += 4096;
                assert!(written < 10 << 20, "nobody reads and {written} bytes were taken");
            }
        };
        let mut flood = Box::pin(flood);
        let stuck = tokio::time::timeout(Duration::from_millis(100), flood.as_mut()).await;
        assert!(stuck.is_err(), "a silent reader stops the writer");
        drop(far);
        tokio::time::timeout(Duration::from_secs(20), flood).await.expect("the error comes through");
    }

    /// A runtime ends although nothing ever comes in.
    #[test]
    fn a_waiting_read_keeps_no_runtime_alive() {
        let (reader, _held) = io::pipe().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut stream = blocking_stream(reader, io::sink()).unwrap();
            let waiting = tokio::time::timeout(Duration::from_millis(20), stream.read(&mut [0])).await;
            assert!(waiting.is_err());
        });
        drop(runtime); // would hang here, were the thread the runtime's
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(24))]

        /// Bytes written in pieces of any size come out the same, read in pieces of any size.
        #[test]
        fn prop_any_pieces_keep_the_bytes(
            pieces in proptest::collection::vec(1_usize..70_000, 1..8),
            take in 1_usize..50_000,
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let (reader, writer) = io::pipe().unwrap();
                let (held_reader, held_writer) = io::pipe().unwrap();
                let mut there = blocking_stream(reader, held_writer).unwrap();
                let mut here = blocking_stream(held_reader, writer).unwrap();
                let sent: Vec<Vec<u8>> = pieces.iter().map(|n| (0..*n).map(|i| u8::try_from(i % 251).unwrap()).collect()).collect();
                let write = async {
                    for piece in &sent {
                        here.write_all(piece).await.unwrap();
                    }
                    here.shutdown().await.unwrap();
                };
                let read = async {
                    let (mut got, mut buf) = (Vec::new(), vec![0; take]);
                    while let n @ 1.. = there.read(&mut buf).await.unwrap() {
                        got.extend_from_slice(&buf[..n]);
                    }
                    got
                };
                let ((), got) = tokio::join!(write, read);
                assert!(got == sent.concat(), "bytes came out changed");
            });
        }
    }
}
