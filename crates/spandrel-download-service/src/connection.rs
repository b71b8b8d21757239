//! One message connection: moves messages between a link and its conversation.

use std::collections::VecDeque;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use spandrel_crypto::encode_base64url;
use spandrel_download::{Command, Conversation, Done, Output, Pings, SessionConfig};
use spandrel_download_protocol::{
    CloseCode, DownloadId, ErrorCode, ErrorResponse, RequestId, ServerEvent, Subprotocol, write_message,
};
use spandrel_jobs::Principal;
use spandrel_transport::{Close, Connection, Frame};
use tokio::task::JoinHandle;

use crate::admission::Session;
use crate::hub::Mailbox;
use crate::overload::{Share, spread_refusal};
use crate::panics::contained;
use crate::service::{Inner, random};
use crate::standing::Standing;
use crate::wire::{Form, Seen, Wire};

/// Changes told before other events get their turn.
const CHANGES_AT_ONCE: usize = 64;

/// Talks until one side has had enough.
pub(crate) async fn talk(inner: Arc<Inner>, conn: Connection, session: Session, form: Form) {
    let Session { principal, standing, layers, is_stranger, server_nonce } = session;
    let protocol = conn.peer().subprotocol.clone();
    let has_pings = conn.peer().scheme.starts_with("ws");
    let mut wire = Wire::new(conn, layers, form);
    let number = inner.sessions.fetch_add(1, Ordering::Relaxed);
    let mailbox = Arc::<Mailbox>::default();
    let Some(_seat) = inner.seats.take(number, &mailbox, is_stranger) else {
        // A sealed session has no keys before its hello: it is told by the code alone.
        if server_nonce.is_none() {
            let error = ErrorResponse::new(ErrorCode::Overloaded, "too many connections; try later");
            let error = spread_refusal(error);
            let (id, wall_ms) = (RequestId::server(number << 32), inner.signing_now().wall_ms);
            let text = write_message(ServerEvent::SystemError, id.as_str(), wall_ms, &error);
            let _ = wire.send(text, wall_ms);
        }
        return wire.end(Close::new(CloseCode::TRY_LATER.0, "too many connections")).await;
    };
    let Ok(session_id) = random() else {
        return wire.end(Close::new(CloseCode::INTERNAL.0, "no random numbers")).await;
    };
    let config = SessionConfig {
        session: number,
        session_id: encode_base64url(&session_id),
        protocol: protocol.unwrap_or_else(|| Subprotocol::Json.as_str().to_owned()),
        principal: principal.clone(),
        features: ["format:ndjson", "codec:gzip", "codec:zstd"].map(str::to_owned).to_vec(),
        sent_bytes_max: sent_bytes_max(
            inner.config.sessions.protocol.message_bytes_max,
            server_nonce.is_some(),
        ),
        server_nonce,
        pings: if has_pings { Pings::Frames } else { Pings::Messages },
        limits: inner.config.sessions.clone(),
    };
    let conversation = Conversation::new(inner.signing_now(), config, &inner.health());
    // On the heap at once: what a future holds across its waits, it may hold several times.
    let mut talk = Box::new(Talk {
        share: inner.budget.share(),
        wire,
        principal,
        standing,
        conversation,
        mailbox,
        number,
        follows: Vec::new(),
        waiting: VecDeque::new(),
        running: None,
        signs: (0, 0),
        ending: None,
        inner: Arc::clone(&inner),
    });
    contained(&inner, Box::pin(talk.run())).await;
}

struct Talk {
    inner: Arc<Inner>,
    share: Share,
    wire: Wire,
    principal: Principal,
    standing: Standing,
    conversation: Conversation,
    mailbox: Arc<Mailbox>,
    number: u64,
    follows: Vec<DownloadId>,
    waiting: VecDeque<Command>,
    running: Option<JoinHandle<(Command, Result<Done, ErrorResponse>)>>,
    signs: (u64, u64),
    ending: Option<Close>,
}

impl Drop for Talk {
    fn drop(&mut self) {
        self.unfollow_all();
    }
}

impl Talk {
    async fn run(&mut self) {
        let stopping = self.inner.stopping.clone();
        let mut alarm = self.inner.watchman.alarm.subscribe();
        let mut is_stopping = false;
        loop {
            self.check_standing();
            if let Some(why) = self.obey() {
                return self.end(why).await;
            }
            self.notice_life();
            let now = self.inner.now();
            let next_ms =
                self.conversation.next_tick_ms(now).min(self.standing.ends_in_ms(self.inner.wall_ms()));
            let (may_read, may_add) = (!self.conversation.is_busy(), !self.conversation.is_slow());
            tokio::select! {
                seen = self.wire.look(may_read) => match seen {
                    Ok(Seen::Frame(frame)) => self.take(&frame).await,
                    Ok(Seen::Room) => {}
                    Ok(Seen::Over) => return self.end(Close::normal()).await,
                    Err(error) => {
                        tracing::debug!(%error, "connection lost");
                        return;
                    }
                },
                () = self.mailbox.rung(), if may_add => self.changed(),
                done = finished(&mut self.running) => self.done(done),
                () = tokio::time::sleep(Duration::from_millis(next_ms.max(1))) => {}
                _ = alarm.changed() => if let Some(error) = &*alarm.borrow_and_update() {
                    self.conversation.notice(self.inner.now(), error);
                },
                () = self.standing.questioned() => self.standing.recheck(&self.inner),
                () = stopping.cancelled(), if !is_stopping => {
                    is_stopping = true;
                    self.conversation.shut_down(self.inner.now());
                }
            }
            self.notice_life();
            self.conversation.tick(self.inner.now());
        }
    }

    async fn take(&mut self, frame: &Frame) {
        self.inner.metrics.messages_in.inc();
        let text = match self.wire.open(frame) {
            Ok(text) => text,
            Err(why) => {
                if why.code == CloseCode::AUTH_FAILED.0 {
                    self.inner.metrics.unproved.inc();
                }
                return self.end_by(why);
            }
        };
        let now = self.inner.now();
        match self.wire.verify(&text, &self.inner, &mut self.conversation) {
            Ok(signed_ms) => {
                if self.standing.prove() {
                    self.inner.seats.keep(self.number);
                    self.check_standing();
                }
                self.inner.keep_signed(signed_ms).await;
            }
            Err(refusal) => {
                self.inner.metrics.unproved.inc();
                self.conversation.unproved(now, &text, &refusal.failure);
                if refusal.close.is_some() {
                    self.conversation.close(CloseCode::AUTH_FAILED, "authentication failed");
                }
                return;
            }
        }
        // Reading comes first: while a long message is read, nobody waits for the table.
        if let Some(question) = self.wire.ask(&mut self.conversation, now, &text) {
            let conversation = &mut self.conversation;
            self.inner.look(|now, world| conversation.answer(now, world, question));
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
        let stats = self.wire.conn.stats();
        let signs = (stats.activity.wrapping_add(stats.frames_in), stats.bytes_out);
        let has_taken = signs.1 != self.signs.1 && self.wire.has_spill();
        if signs.0 != self.signs.0 || has_taken {
            self.conversation.heard(self.inner.now());
        }
        self.signs = signs;
        let queued = self.share.report(self.wire.queued_bytes());
        self.conversation.backlog(self.inner.now(), queued);
    }

    /// A session whose key or token is no longer good ends, and a stranger whose seat is needed.
    fn check_standing(&mut self) {
        if self.standing.is_over(self.inner.wall_ms()) {
            self.conversation.close(CloseCode::AUTH_FAILED, "the key or token is no longer valid");
        }
        if self.mailbox.is_evicted() {
            let error = ErrorResponse::new(ErrorCode::Overloaded, "too many connections; try later");
            self.conversation.notice(self.inner.now(), &spread_refusal(error));
            self.conversation.close(CloseCode::TRY_LATER, "too many connections");
        }
    }

    /// Does what the conversation asks for; `Some` when it is over.
    fn obey(&mut self) -> Option<Close> {
        self.wire.unspill();
        self.send_out();
        if let Some(end) = self.ending.take() {
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
    fn send_out(&mut self) {
        while self.ending.is_none() {
            let Some(output) = self.conversation.poll() else { return };
            match output {
                Output::Send(text) => {
                    self.inner.metrics.messages_out.inc();
                    if let Err(why) = self.wire.send(text, self.inner.signing_now().wall_ms) {
                        self.end_by(why);
                    }
                }
                Output::Ping => {
                    let _ = self.wire.conn.try_ping(b"");
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
                Output::Close(code, reason) => self.end_by(Close::new(code.0, reason)),
            }
        }
    }

    /// The first reason to end counts. Nothing is said after it.
    fn end_by(&mut self, why: Close) {
        self.ending.get_or_insert(why);
    }

    async fn end(&mut self, why: Close) {
        self.unfollow_all();
        self.wire.end(why).await;
    }

    fn unfollow_all(&mut self) {
        for id in self.follows.drain(..) {
            self.inner.hub.unfollow(id, &self.mailbox);
        }
    }
}

/// Bytes of the longest message that fits a frame: a signature adds up to 240, the text form of a seal a third.
const fn sent_bytes_max(frame_bytes_max: usize, is_sealed: bool) -> usize {
    let sealed = if is_sealed { frame_bytes_max / 4 * 3 } else { frame_bytes_max };
    sealed.saturating_sub(256)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn size<A, B, C, D, F>(_: impl FnOnce(A, B, C, D) -> F) -> usize {
        size_of::<F>()
    }

    fn size_of_step<F>(_: impl FnOnce(&'static mut Talk) -> F) -> usize {
        size_of::<F>()
    }

    /// Ten thousand idle connections are ten thousand of these.
    #[test]
    fn a_connection_is_small() {
        let (task, state, step) = (size(talk), size_of::<Talk>(), size_of_step(Talk::run));
        assert!(
            task <= 2_048 && state <= 1_280 && step <= 832,
            "the task takes {task} bytes, its state {state}, its loop {step}"
        );
    }
}
