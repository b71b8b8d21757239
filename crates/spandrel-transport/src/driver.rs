//! Any byte stream and any codec as a link.

use std::{
    future::Future,
    io::{self, IoSlice},
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::BytesMut;
use spandrel_wire::{Batch, Close, Codec, Limits, OutBuf, WireError};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite},
    time::{Instant, Sleep, sleep},
};

use crate::{Link, LinkError, LinkStats, Peer};

/// Pieces handed to one vectored write.
const SLICES: usize = 16;
/// An alarm that is heard so much later was not listened for.
const AWAY: Duration = Duration::from_secs(1);
/// Most bytes asked for in one read, unless the codec wants more.
const READ_BYTES_MAX: usize = 16 << 10;

/// A [`Link`] made of a byte stream and a [`Codec`].
///
/// Frames are gathered and written together; an idle link holds no read buffer; nothing is read from a peer that does
/// not read; a broken peer is told why before the error is reported.
pub struct Driver<I, C> {
    io: I,
    codec: C,
    limits: Limits,
    peer: Box<Peer>,
    inbuf: BytesMut,
    /// Bytes to ask for next: grows while reads come back full.
    appetite: usize,
    out: OutBuf,
    /// Bytes of `out`, at most, that answer the peer (pongs) rather than carry frames of ours.
    answers: usize,
    stats: LinkStats,
    is_eof: bool,
    /// The stream has bytes it may keep to itself until it is flushed, as TLS does.
    is_unflushed: bool,
    /// The stream takes no more bytes; what was queued is lost.
    is_mute: bool,
    end: End,
    half: Option<Box<Half>>,
    goodbye: Option<Box<Goodbye>>,
}

/// How receiving ended.
#[derive(Debug)]
enum End {
    Open,
    Clean,
    /// Told once, after the goodbye went out.
    Failing(LinkError),
    Failed,
}

/// Deadline for the frame under way.
struct Half {
    timer: Pin<Box<Sleep>>,
    frames_in: u64,
}

struct Goodbye {
    stage: Stage,
    timer: Pin<Box<Sleep>>,
    drained: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Flush,
    AwaitPeer,
    Shutdown,
    Drain,
    Done,
}

impl<I, C> Driver<I, C>
where
    I: AsyncRead + AsyncWrite + Unpin + Send,
    C: Codec,
{
    /// Makes a link. `peer` is what the handshake found out.
    pub fn new(io: I, codec: C, peer: Peer, limits: &Limits) -> Self {
        Self::with_leftover(io, codec, peer, limits, BytesMut::new())
    }

    /// Makes a link that starts with bytes already read from the stream.
    pub fn with_leftover(io: I, codec: C, peer: Peer, limits: &Limits, leftover: BytesMut) -> Self {
        let stats = LinkStats { bytes_in: leftover.len() as u64, ..LinkStats::default() };
        Self {
            io,
            codec,
            limits: limits.clone(),
            peer: Box::new(peer),
            inbuf: leftover,
            appetite: 0,
            out: OutBuf::new(),
            answers: 0,
            stats,
            is_eof: false,
            is_unflushed: false,
            is_mute: false,
            end: End::Open,
            half: None,
            goodbye: None,
        }
    }

    /// Decodes until the batch is full or bytes are missing.
    fn decode(&mut self, batch: &mut Batch) -> Result<usize, WireError> {
        let mut taken = 0;
        let queued = self.out.len();
        while !batch.is_full() {
            match self.codec.decode(&mut self.inbuf, self.is_eof, &mut self.out) {
                Ok(Some(frame)) => {
                    taken += 1;
                    // The batch is not full, so it takes the frame.
                    let _ = batch.push(frame);
                }
                Ok(None) => break,
                // The frames before the broken one are good: the error comes again with the next call.
                Err(e) if taken > 0 => {
                    self.end = End::Failing(e.into());
                    break;
                }
                Err(e) => return Err(e),
            }
        }
        self.answers += self.out.len().saturating_sub(queued);
        self.stats.frames_in += taken as u64;
        Ok(taken)
    }

    fn poll_frames(&mut self, cx: &mut Context<'_>, batch: &mut Batch) -> Poll<Result<usize, LinkError>> {
        loop {
            match self.decode(batch) {
                Ok(0) => {}
                Ok(taken) => return Poll::Ready(Ok(taken)),
                Err(e) => return Poll::Ready(Err(e.into())),
            }
            if self.codec.closed().is_some() || self.is_eof {
                let _ = self.poll_write_out(cx); // the answer to the goodbye, if it fits
                self.end = End::Clean;
                return Poll::Ready(Ok(0));
            }
            // Contract 5: a peer that pings and reads nothing is not read either. Our own frames do not count: two peers
            // with full queues that both stopped reading would wait for each other for ever.
            while self.answers > self.limits.queued_bytes_max {
                ready!(self.poll_write_out(cx));
            }
            match self.poll_fill(cx) {
                Poll::Ready(Ok(0)) => self.is_eof = true,
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(e)) => return Poll::Ready(Err(e.into())),
                Poll::Pending => {
                    let _ = self.poll_write_out(cx);
                    ready!(self.poll_stalled(cx));
                    let after_ms = self.limits.half_frame_ms;
                    return Poll::Ready(Err(WireError::Stalled { after_ms }.into()));
                }
            }
        }
    }

    /// Reads once into the buffer; 0 is the end of the stream. An empty buffer is given back on `Pending`.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let want = self.codec.read_hint().max(self.appetite).max(512);
        if self.inbuf.capacity() - self.inbuf.len() < want {
            self.inbuf.reserve(want);
        }
        let room = self.inbuf.capacity() - self.inbuf.len();
        let read = pin!(self.io.read_buf(&mut self.inbuf)).poll(cx);
        match read {
            Poll::Ready(Ok(n)) => {
                self.stats.bytes_in += n as u64;
                if n == room {
                    self.appetite = (room * 2).min(READ_BYTES_MAX);
                }
                Poll::Ready(Ok(n))
            }
            Poll::Pending if self.inbuf.is_empty() => {
                self.inbuf = BytesMut::new();
                self.appetite = 0;
                self.codec.shrink();
                Poll::Pending
            }
            other => other,
        }
    }

    /// Writes and flushes until nothing is left or the stream takes no more. A failed stream swallows the rest: reading
    /// will tell how the link ended.
    fn poll_write_out(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while !self.out.is_empty() {
            match ready!(self.poll_write_once(cx)) {
                Ok(n) => {
                    self.out.advance(n);
                    self.answers = self.answers.min(self.out.len());
                    self.stats.bytes_out += n as u64;
                    self.is_unflushed = true;
                }
                Err(_) => self.mute(),
            }
        }
        self.out.shrink();
        if self.is_unflushed {
            let flushed = ready!(Pin::new(&mut self.io).poll_flush(cx));
            self.is_unflushed = false;
            if flushed.is_err() {
                self.mute();
            }
        }
        Poll::Ready(())
    }

    fn mute(&mut self) {
        self.is_mute = true;
        self.is_unflushed = false;
        self.answers = 0;
        self.out.clear();
    }

    fn poll_write_once(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let written = if self.out.is_contiguous() {
            ready!(Pin::new(&mut self.io).poll_write(cx, self.out.chunk()))?
        } else {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let filled = self.out.chunks_vectored(&mut slices);
            let slices = slices.get(..filled).unwrap_or_default();
            ready!(Pin::new(&mut self.io).poll_write_vectored(cx, slices))?
        };
        Poll::Ready(if written == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(written) })
    }

    /// Ready when the frame under way has taken too long.
    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.inbuf.is_empty() && !self.codec.is_mid_frame() {
            if self.half.as_ref().is_some_and(|h| h.timer.is_elapsed()) {
                self.half = None;
            }
            return Poll::Pending;
        }
        let after = Duration::from_millis(self.limits.half_frame_ms);
        let frames_in = self.stats.frames_in;
        let half =
            self.half.get_or_insert_with(|| Box::new(Half { timer: Box::pin(sleep(after)), frames_in }));
        // Polled long after its alarm: nobody read meanwhile, and the peer may have had no room to go on.
        let was_away = half.timer.deadline() + AWAY < Instant::now();
        if half.frames_in != frames_in || was_away {
            half.frames_in = frames_in;
            half.timer.as_mut().reset(Instant::now() + after);
        }
        if is_due(&mut half.timer, cx) { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Runs the goodbye to its end; see [`Link::poll_close`].
    fn poll_goodbye(&mut self, cx: &mut Context<'_>, why: &Close) -> Poll<()> {
        let wait = Duration::from_millis(self.limits.close_ms);
        let mut goodbye = self.goodbye.take().unwrap_or_else(|| {
            self.codec.close(why, &mut self.out);
            Box::new(Goodbye { stage: Stage::Flush, timer: Box::pin(sleep(wait)), drained: 0 })
        });
        while goodbye.stage != Stage::Done {
            let stage = goodbye.stage;
            let step = self.poll_goodbye_stage(cx, &mut goodbye);
            if is_due(&mut goodbye.timer, cx) {
                // Out of time: skip to the part that ends the stream, or give up.
                goodbye.stage = match stage {
                    Stage::AwaitPeer => Stage::Shutdown,
                    _ => Stage::Done,
                };
            } else if step.is_pending() {
                self.goodbye = Some(goodbye);
                return Poll::Pending;
            }
            if goodbye.stage != stage {
                goodbye.timer.as_mut().reset(Instant::now() + wait);
            }
        }
        self.goodbye = Some(goodbye);
        Poll::Ready(())
    }

    fn poll_goodbye_stage(&mut self, cx: &mut Context<'_>, goodbye: &mut Goodbye) -> Poll<()> {
        match goodbye.stage {
            Stage::Flush => {
                ready!(self.poll_write_out(cx));
                let peer_may_answer = self.codec.has_goodbye() && self.codec.closed().is_none();
                let is_listening = matches!(self.end, End::Open) && !self.is_eof && !self.is_mute;
                goodbye.stage =
                    if peer_may_answer && is_listening { Stage::AwaitPeer } else { Stage::Shutdown };
            }
            Stage::AwaitPeer => {
                let mut ignored = Batch::with_limits(&self.limits);
                match ready!(self.poll_frames(cx, &mut ignored)) {
                    Ok(n) if n > 0 => {}
                    _ => goodbye.stage = Stage::Shutdown,
                }
            }
            Stage::Shutdown => {
                let _ = ready!(Pin::new(&mut self.io).poll_shutdown(cx));
                goodbye.stage = if self.is_eof { Stage::Done } else { Stage::Drain };
            }
            Stage::Drain => {
                self.inbuf.clear();
                match ready!(self.poll_fill(cx)) {
                    Ok(n) if n > 0 && goodbye.drained + n < self.limits.drain_bytes_max => {
                        goodbye.drained += n
                    }
                    _ => goodbye.stage = Stage::Done,
                }
            }
            Stage::Done => {}
        }
        Poll::Ready(())
    }
}

/// Has the time come? Looks at the clock as well: a task that is busy may not be told by its timer.
fn is_due(timer: &mut Pin<Box<Sleep>>, cx: &mut Context<'_>) -> bool {
    timer.deadline() <= Instant::now() || timer.as_mut().poll(cx).is_ready()
}

impl<I, C> Link for Driver<I, C>
where
    I: AsyncRead + AsyncWrite + Unpin + Send,
    C: Codec,
{
    fn poll_recv(&mut self, cx: &mut Context<'_>, out: &mut Batch) -> Poll<Result<usize, LinkError>> {
        match &self.end {
            End::Open => match ready!(self.poll_frames(cx, out)) {
                Err(e) => self.end = End::Failing(e),
                end_or_frames => return Poll::Ready(end_or_frames),
            },
            End::Clean => return Poll::Ready(Ok(0)),
            End::Failing(_) => {}
            End::Failed => return Poll::Ready(Err(LinkError::Closed)),
        }
        // The peer learns the reason before the caller does: a caller may drop the link at once.
        if let End::Failing(LinkError::Wire(e)) = &self.end {
            let why = e.close();
            ready!(self.poll_goodbye(cx, &why));
        }
        match std::mem::replace(&mut self.end, End::Failed) {
            End::Failing(e) => Poll::Ready(Err(e)),
            _ => Poll::Ready(Err(LinkError::Closed)),
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, queue: &mut Batch) -> Poll<Result<(), LinkError>> {
        if self.goodbye.is_some() || self.codec.closed().is_some() {
            queue.clear();
            return Poll::Ready(Err(LinkError::Closed));
        }
        while !queue.is_empty() {
            let is_room = if self.codec.coalesce() {
                self.out.len() <= self.limits.queued_bytes_max
            } else {
                self.out.is_empty()
            };
            if !is_room {
                ready!(self.poll_write_out(cx));
            }
            if self.is_mute {
                queue.clear();
                return Poll::Ready(Err(LinkError::Gone));
            }
            let Some(frame) = queue.pop() else { break };
            self.codec.encode(frame, &mut self.out)?;
            self.stats.frames_out += 1;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LinkError>> {
        ready!(self.poll_write_out(cx));
        Poll::Ready(if self.is_mute { Err(LinkError::Gone) } else { Ok(()) })
    }

    fn poll_close(&mut self, cx: &mut Context<'_>, why: &Close) -> Poll<Result<(), LinkError>> {
        ready!(self.poll_goodbye(cx, why));
        if matches!(self.end, End::Open) {
            self.end = End::Failed;
        }
        Poll::Ready(Ok(()))
    }

    fn ping(&mut self, payload: &[u8]) -> Result<bool, LinkError> {
        if self.goodbye.is_some() {
            return Err(LinkError::Closed);
        }
        Ok(self.codec.ping(payload, &mut self.out)?)
    }

    fn peer(&self) -> &Peer {
        &self.peer
    }

    fn stats(&self) -> LinkStats {
        LinkStats {
            queued_bytes: self.out.len(),
            activity: self.codec.activity(),
            frames_dropped: self.codec.dropped(),
            ..self.stats
        }
    }

    fn close_info(&self) -> Option<&Close> {
        self.codec.closed()
    }
}

impl<I, C> std::fmt::Debug for Driver<I, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver").field("peer", &self.peer).field("stats", &self.stats).finish_non_exhaustive()
    }
}
