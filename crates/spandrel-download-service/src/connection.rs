//! One message connection: moves frames between a link and its conversation.

use std::collections::VecDeque;
use std::future::{pending, poll_fn};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use spandrel_crypto::encode_base64url;
use spandrel_download::{Command, Conversation, Done, Output, SessionConfig};
use spandrel_download_protocol::{
    CloseCode, DownloadId, ErrorCode, ErrorResponse, RequestId, ServerEvent, Subprotocol, write_message,
};
use spandrel_jobs::Principal;
use spandrel_transport::{Close, Connection, Frame, LinkError};
use tokio::task::JoinHandle;

use crate::hub::Mailbox;
use crate::service::{Inner, random};

/// Subprotocols that are spoken here.
pub(crate) const SUPPORTED: [Subprotocol; 1] = [Subprotocol::Json];

/// Changes told before other events get their turn.
const CHANGES_AT_ONCE: usize = 64;

/// What a look at the link brought.
enum Seen {
    Frame(Frame),
    /// There is room for more to send.
    Room,
    Over,
}

/// Talks until one side has had enough.
pub(crate) async fn talk(inner: Arc<Inner>, mut conn: Connection, principal: Principal) {
    let Some(protocol) = conn.peer().subprotocol.clone() else {
        return goodbye(conn, CloseCode::NO_SUBPROTOCOL, "no acceptable subprotocol").await;
    };
    let Some(_entered) = inner.enter() else {
        let error = ErrorResponse::new(ErrorCode::Overloaded, "too many connections; try later");
        let id = RequestId::server(inner.sessions.fetch_add(1, Ordering::Relaxed) << 32);
        let text = write_message(ServerEvent::SystemError, id.as_str(), inner.now().wall_ms, &error);
        let _ = conn.try_feed(Frame::text(text));
        return goodbye(conn, CloseCode::TRY_LATER, "too many connections").await;
    };
    let Ok(session_id) = random() else {
        return goodbye(conn, CloseCode::INTERNAL, "no random numbers").await;
    };
    let config = SessionConfig {
        session: inner.sessions.fetch_add(1, Ordering::Relaxed),
        session_id: encode_base64url(&session_id),
        protocol,
        principal,
        features: ["format:ndjson", "codec:gzip", "codec:zstd"].map(str::to_owned).to_vec(),
        limits: inner.config.sessions.clone(),
    };
    Talk::new(inner, conn, config).run().await;
}

async fn goodbye(mut conn: Connection, code: CloseCode, reason: &'static str) {
    let _ = conn.close(Close::new(code.0, reason)).await;
}

struct Talk {
    inner: Arc<Inner>,
    conn: Connection,
    principal: Principal,
    conversation: Conversation,
    mailbox: Arc<Mailbox>,
    follows: Vec<DownloadId>,
    waiting: VecDeque<Command>,
    running: Option<JoinHandle<(Command, Result<Done, ErrorResponse>)>>,
    /// Frames the link has no room for yet.
    spill: VecDeque<Frame>,
    spill_bytes: usize,
    signs: (u64, u64),
    ending: Option<(CloseCode, &'static str)>,
}

impl Drop for Talk {
    fn drop(&mut self) {
        for id in self.follows.drain(..) {
            self.inner.hub.unfollow(id, &self.mailbox);
        }
    }
}

impl Talk {
    fn new(inner: Arc<Inner>, conn: Connection, config: SessionConfig) -> Self {
        let principal = config.principal.clone();
        let conversation = Conversation::new(inner.now(), config, &inner.health());
        Self {
            conn,
            principal,
            conversation,
            mailbox: Arc::default(),
            follows: Vec::new(),
            waiting: VecDeque::new(),
            running: None,
            spill: VecDeque::new(),
            spill_bytes: 0,
            signs: (0, 0),
            ending: None,
            inner,
        }
    }

    async fn run(mut self) {
        let stopping = self.inner.stopping.clone();
        let mut is_stopping = false;
        loop {
            if let Some((code, reason)) = self.obey() {
                return self.end(code, reason).await;
            }
            self.notice_life();
            let wait = Duration::from_millis(self.conversation.next_tick_ms(self.inner.now()).max(1));
            let (want_room, may_read) = (!self.spill.is_empty(), !self.conversation.is_busy());
            let may_add = !self.conversation.is_slow();
            tokio::select! {
                seen = look(&mut self.conn, want_room, may_read) => match seen {
                    Ok(Seen::Frame(frame)) => self.take(&frame),
                    Ok(Seen::Room) => {}
                    Ok(Seen::Over) => return self.end(CloseCode::NORMAL, "").await,
                    Err(error) => {
                        tracing::debug!(%error, "connection lost");
                        return;
                    }
                },
                () = self.mailbox.rung(), if may_add => self.changed(),
                done = finished(&mut self.running) => self.done(done),
                () = tokio::time::sleep(wait) => {}
                () = stopping.cancelled(), if !is_stopping => {
                    is_stopping = true;
                    let now = self.inner.now();
                    self.conversation.shut_down(now);
                }
            }
            self.notice_life();
            self.conversation.tick(self.inner.now());
        }
    }

    fn take(&mut self, frame: &Frame) {
        self.inner.metrics.messages_in.inc();
        match frame.as_text() {
            Some(text) => {
                // Reading comes first: while a long message is read, nobody waits for the table.
                if let Some(question) = self.conversation.message(self.inner.now(), text) {
                    let conversation = &mut self.conversation;
                    self.inner.look(|now, world| conversation.answer(now, world, question));
                }
            }
            None => self
                .conversation
                .close(CloseCode::UNSUPPORTED, "binary frames are not part of this subprotocol"),
        }
    }

    /// Tells of changed jobs until the peer has enough to read; the mailbox keeps the rest, each job once, so a peer
    /// that does not read costs no more than its bound.
    fn changed(&mut self) {
        for _ in 0..CHANGES_AT_ONCE {
            let Some(id) = self.mailbox.pop() else { return };
            let conversation = &mut self.conversation;
            self.inner.look(|now, world| conversation.job(now, world, id));
            self.send_out();
            self.notice_life();
            if self.conversation.is_slow() {
                break;
            }
        }
        self.mailbox.ring_again();
    }

    fn done(&mut self, done: Option<(Command, Result<Done, ErrorResponse>)>) {
        self.running = None;
        let Some((command, result)) = done else {
            return self.conversation.close(CloseCode::INTERNAL, "a command failed unexpectedly");
        };
        if matches!(result, Ok(Done::Created { is_duplicate: false, .. })) {
            self.inner.metrics.created.inc();
        }
        let conversation = &mut self.conversation;
        self.inner.look(|now, world| conversation.done(now, world, &command, result));
    }

    /// Everything that came, pongs too, and every byte the peer took is a sign of life.
    fn notice_life(&mut self) {
        let stats = self.conn.stats();
        let signs = (stats.activity.wrapping_add(stats.frames_in), stats.bytes_out);
        let has_taken = signs.1 != self.signs.1 && !self.spill.is_empty();
        if signs.0 != self.signs.0 || has_taken {
            self.conversation.heard(self.inner.now());
        }
        self.signs = signs;
        self.conversation.backlog(self.inner.now(), self.conn.queued_bytes() + self.spill_bytes);
    }

    /// Does what the conversation asks for; `Some` when it is over.
    fn obey(&mut self) -> Option<(CloseCode, &'static str)> {
        self.unspill();
        if let Some(end) = self.send_out() {
            return Some(end);
        }
        if self.running.is_none() && !self.conversation.is_slow() {
            // One after another: a pause and a resume sent together keep their order.
            self.running = self.waiting.pop_front().map(|command| {
                let (inner, principal) = (Arc::clone(&self.inner), self.principal.clone());
                tokio::spawn(async move {
                    let done = inner.obey(principal, command.clone()).await;
                    (command, done)
                })
            });
        }
        None
    }

    /// Passes on what the conversation has to say.
    fn send_out(&mut self) -> Option<(CloseCode, &'static str)> {
        if let Some(end) = self.ending {
            return Some(end);
        }
        while let Some(output) = self.conversation.poll() {
            match output {
                Output::Send(text) => {
                    self.inner.metrics.messages_out.inc();
                    self.feed(Frame::text(text));
                }
                Output::Ping => {
                    let _ = self.conn.try_ping(b"");
                }
                Output::Do(command) => self.waiting.push_back(command),
                Output::Follow(id) => {
                    self.follows.push(id);
                    self.inner.hub.follow(id, &self.mailbox);
                    let conversation = &mut self.conversation;
                    self.inner.look(|now, world| conversation.job(now, world, id));
                }
                Output::Unfollow(id) => {
                    self.follows.retain(|f| *f != id);
                    self.inner.hub.unfollow(id, &self.mailbox);
                }
                Output::Close(code, reason) => self.ending = Some((code, reason)),
            }
        }
        self.ending
    }

    fn feed(&mut self, frame: Frame) {
        let refused = if self.spill.is_empty() { self.conn.try_feed(frame).err() } else { Some(frame) };
        if let Some(frame) = refused {
            self.spill_bytes += frame.len();
            self.spill.push_back(frame);
        }
    }

    fn unspill(&mut self) {
        while let Some(frame) = self.spill.pop_front() {
            let len = frame.len();
            if let Err(frame) = self.conn.try_feed(frame) {
                return self.spill.push_front(frame);
            }
            self.spill_bytes -= len;
        }
    }

    /// Sends what is left, within the link's close time, and says goodbye.
    async fn end(mut self, code: CloseCode, reason: &'static str) {
        let rest = async {
            while !self.spill.is_empty() {
                self.conn.flush().await?;
                self.unspill();
            }
            Ok::<(), LinkError>(())
        };
        let _ = tokio::time::timeout(Duration::from_secs(1), rest).await;
        let _ = self.conn.close(Close::new(code.0, reason)).await;
    }
}

/// Waits for a frame, or for room to send when that is wanted. Writes all the while. Cancel safe.
async fn look(conn: &mut Connection, want_room: bool, may_read: bool) -> Result<Seen, LinkError> {
    poll_fn(|cx| {
        if may_read {
            if let Poll::Ready(frame) = conn.poll_recv(cx) {
                return Poll::Ready(frame.map(|frame| frame.map_or(Seen::Over, Seen::Frame)));
            }
        } else if let Poll::Ready(Err(error)) = conn.poll_flush(cx) {
            return Poll::Ready(Err(error));
        }
        if want_room && conn.has_room() { Poll::Ready(Ok(Seen::Room)) } else { Poll::Pending }
    })
    .await
}

/// Waits for the command that runs; for ever when there is none. `None` when it panicked. Cancel safe.
async fn finished(
    running: &mut Option<JoinHandle<(Command, Result<Done, ErrorResponse>)>>,
) -> Option<(Command, Result<Done, ErrorResponse>)> {
    match running {
        Some(handle) => handle.await.ok(),
        None => pending().await,
    }
}
