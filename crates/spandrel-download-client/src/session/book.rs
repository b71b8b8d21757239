//! What is under way: unanswered requests and followed jobs. Pure: messages in, effects out.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use serde_json::value::RawValue;
use spandrel_download_protocol::{
    ClientEvent, ConnectionHealth, DownloadComplete, DownloadError, DownloadId, DownloadStart, ErrorCode,
    ErrorResponse, JobRef, ProtocolError, RequestId, ServerEvent, ServerMessage, SessionState,
    parse_progress,
};
use tokio::sync::oneshot;

use crate::slot::{DownloadEvent, Slot};
use crate::{ClientError, Failure};

/// Milliseconds to wait when the server says "later" without saying when.
const LATER_MS: u64 = 1000;

/// Something to ask the server.
pub(crate) struct Ask {
    pub(crate) event: ClientEvent,
    pub(crate) data: Box<RawValue>,
    pub(crate) request_id: RequestId,
    pub(crate) reply: Reply,
    /// Place in the order of asking.
    place: u64,
    /// It went out on an earlier connection and may have been acted on: a "later" is not the caller's business.
    is_repeated: bool,
    /// It was signed anew once.
    is_signed_again: bool,
}

impl Reply {
    fn is_wanted(&self) -> bool {
        match self {
            Self::Start(reply, _) => !reply.is_closed(),
            Self::State(reply) | Self::Detached(reply, _) => !reply.is_closed(),
            Self::Again(_) => true,
        }
    }
}

impl Ask {
    pub(crate) const fn new(
        event: ClientEvent,
        data: Box<RawValue>,
        request_id: RequestId,
        reply: Reply,
    ) -> Self {
        Self { event, data, request_id, reply, place: 0, is_repeated: false, is_signed_again: false }
    }
}

type Answer<T> = oneshot::Sender<Result<T, ClientError>>;

/// Who waits for the answer.
pub(crate) enum Reply {
    /// Wants a job to follow: a request or an attach.
    Start(Answer<DownloadStart>, Arc<Slot>),
    /// Wants a `status:update`.
    State(Answer<SessionState>),
    /// Wants the `status:update` of a detach: the job is not followed any more then.
    Detached(Answer<SessionState>, DownloadId),
    /// Nobody: a job is followed again after a reconnect.
    Again(DownloadId),
}

/// What a message of the server asks of the session.
#[derive(Debug, PartialEq)]
pub(crate) enum Effect {
    /// Nothing more.
    None,
    /// Answer this ping.
    Pong(RequestId),
    /// Ask again, but not before this many milliseconds have passed.
    Pause(u64),
    /// When this connection ends, do not come back before this many milliseconds have passed.
    StayAway(u64),
    /// The server's clock, milliseconds since 1970: what was signed by another one is due again.
    Clock(u64),
    /// The server does not take what we sign: nothing that is under way would ever be answered.
    Denied(ErrorResponse),
}

/// Bounded by `max` unanswered requests and `max` followed jobs.
pub(crate) struct Book {
    max: usize,
    asked: u64,
    unanswered: HashMap<RequestId, Ask>,
    jobs: HashMap<DownloadId, Vec<Arc<Slot>>>,
    /// Requests to send again, the oldest first.
    due: VecDeque<RequestId>,
}

impl Book {
    pub(crate) fn new(max: usize) -> Self {
        Self { max, asked: 0, unanswered: HashMap::new(), jobs: HashMap::new(), due: VecDeque::new() }
    }

    /// Takes a question in; `None` when it cannot be asked, which the asker has been told.
    pub(crate) fn register(&mut self, mut ask: Ask) -> Option<RequestId> {
        let max = self.max;
        if self.jobs.len() >= max {
            self.forget_dropped();
        }
        if self.unanswered.len() >= max || self.jobs.len() >= max {
            self.tell(ask.reply, ClientError::TooMany { max });
            return None;
        }
        let id = ask.request_id.clone();
        // Whoever stopped waiting may ask again under the same id.
        if self.unanswered.get(&id).is_some_and(|earlier| earlier.reply.is_wanted()) {
            self.tell(ask.reply, ClientError::UnderWay { id });
            return None;
        }
        self.asked += 1;
        ask.place = self.asked;
        self.unanswered.insert(id.clone(), ask);
        Some(id)
    }

    /// A new connection is open: repeats what was not answered under its old id, and attaches to every job
    /// without an end (section 10.3), those aside that are to be detached from. All of it becomes due.
    pub(crate) fn take_up_again(&mut self, new_id: impl Fn() -> RequestId) {
        self.unanswered.retain(|_, ask| !matches!(ask.reply, Reply::Again(_)));
        self.forget_dropped();
        let mut repeated: Vec<(u64, RequestId)> = Vec::with_capacity(self.unanswered.len());
        let mut leaving = HashSet::new();
        for (id, ask) in &mut self.unanswered {
            ask.is_repeated = true;
            if let Reply::Detached(_, job) = ask.reply {
                leaving.insert(job);
            }
            repeated.push((ask.place, id.clone()));
        }
        repeated.sort_unstable_by_key(|(place, _)| *place);
        self.due = repeated.into_iter().map(|(_, id)| id).collect();
        for id in self.jobs.keys().filter(|id| !leaving.contains(id)) {
            let Ok(data) = serde_json::value::to_raw_value(&JobRef { download_id: *id }) else { continue };
            let ask = Ask::new(ClientEvent::DownloadAttach, data, new_id(), Reply::Again(*id));
            self.due.push_back(ask.request_id.clone());
            self.unanswered.insert(ask.request_id.clone(), ask);
        }
    }

    /// Asks for it later, when it is its turn.
    pub(crate) fn postpone(&mut self, id: RequestId) {
        if self.unanswered.contains_key(&id) {
            self.due.push_back(id);
        }
    }

    /// The next request that is to be sent again.
    pub(crate) fn next_due(&mut self) -> Option<RequestId> {
        while let Some(id) = self.due.pop_front() {
            let wanted = self.unanswered.get(&id).is_some_and(|ask| match &ask.reply {
                Reply::Again(job) => self.jobs.contains_key(job),
                _ => true,
            });
            if wanted {
                return Some(id);
            }
            self.unanswered.remove(&id);
        }
        None
    }

    pub(crate) fn has_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// The question as it was asked.
    pub(crate) fn ask(&self, id: &RequestId) -> Option<&Ask> {
        self.unanswered.get(id)
    }

    /// The question cannot be asked.
    pub(crate) fn drop_ask(&mut self, id: &RequestId, why: ClientError) {
        if let Some(ask) = self.unanswered.remove(id) {
            self.tell(ask.reply, why);
        }
    }

    /// Tells every follower.
    pub(crate) fn announce(&self, event: &DownloadEvent) {
        for slot in self.jobs.values().flatten() {
            slot.put(event.clone());
        }
    }

    /// `connection:failed`: tells everybody who waits or follows.
    pub(crate) fn fail(&mut self, failure: &Failure) {
        for ask in std::mem::take(&mut self.unanswered).into_values() {
            self.tell(ask.reply, failure.clone().into());
        }
        self.announce(&DownloadEvent::ConnectionFailed(failure.clone()));
        self.jobs.clear();
        self.due.clear();
    }

    /// Acts on a message of the server. An error means that it does not speak the protocol.
    pub(crate) fn received(&mut self, message: &ServerMessage<'_>) -> Result<Effect, ProtocolError> {
        let Some(event) = message.event else { return Ok(Effect::None) };
        match event {
            ServerEvent::DownloadStart => self.started(message)?,
            ServerEvent::DownloadProgress => {
                for update in parse_progress(message.data)? {
                    let id = update.download_id;
                    self.put(id, &DownloadEvent::Progress(update));
                }
            }
            ServerEvent::DownloadComplete => {
                let complete: DownloadComplete = data(message)?;
                self.end(complete.download_id, &DownloadEvent::Complete(complete));
            }
            ServerEvent::DownloadError => {
                let DownloadError { error, download_id } = data(message)?;
                return Ok(match self.answered(message) {
                    Some(ask) => self.refused(ask, error),
                    None => {
                        if let Some(id) = download_id {
                            self.end(id, &DownloadEvent::Error(error));
                        }
                        Effect::None
                    }
                });
            }
            ServerEvent::StatusUpdate => self.status(message)?,
            ServerEvent::SystemError => return Ok(self.complained(message, data(message)?)),
            ServerEvent::ConnectionHealth => {
                // A health message of a later version is still a sign of life.
                if let (Ok(ConnectionHealth::Ping), Ok(id)) =
                    (data(message), serde_json::from_value(message.request_id.as_ref().into()))
                {
                    return Ok(Effect::Pong(id));
                }
            }
            _ => {}
        }
        Ok(Effect::None)
    }

    fn started(&mut self, message: &ServerMessage<'_>) -> Result<(), ProtocolError> {
        let start: DownloadStart = data(message)?;
        match self.answered(message).map(|ask| ask.reply) {
            Some(Reply::Start(reply, slot)) => {
                let id = start.download_id;
                if reply.send(Ok(start)).is_ok() {
                    self.jobs.entry(id).or_default().push(slot);
                }
            }
            Some(reply @ (Reply::State(_) | Reply::Detached(..))) => {
                let wrong = ProtocolError::ServerMessage("download:start answers something else".to_owned());
                self.tell(reply, wrong.into());
            }
            Some(Reply::Again(_)) | None => {}
        }
        Ok(())
    }

    fn status(&mut self, message: &ServerMessage<'_>) -> Result<(), ProtocolError> {
        let state: SessionState = data(message)?;
        for (id, status) in state.active_downloads.iter().filter(|(_, status)| !status.state.is_final()) {
            self.put(*id, &DownloadEvent::State(status.clone()));
        }
        match self.answered(message).map(|ask| ask.reply) {
            Some(Reply::State(reply)) => drop(reply.send(Ok(state))),
            Some(Reply::Detached(reply, id)) => {
                self.end(id, &DownloadEvent::Detached);
                drop(reply.send(Ok(state)));
            }
            Some(reply) => {
                let wrong = ProtocolError::ServerMessage("status:update answers something else".to_owned());
                self.tell(reply, wrong.into());
            }
            None => {}
        }
        Ok(())
    }

    fn complained(&mut self, message: &ServerMessage<'_>, error: ErrorResponse) -> Effect {
        match error.code {
            // A copy of what was taken: the one that was taken is answered, too.
            ErrorCode::AuthReplayed => {
                tracing::warn!(%error, "the server saw a message of ours twice");
                Effect::None
            }
            ErrorCode::AuthExpired => self.signed_too_old(message, error),
            ErrorCode::AuthRequired | ErrorCode::AuthInvalid => Effect::Denied(error),
            code => {
                let away = error.retry_after_ms;
                if let Some(ask) = self.answered(message) {
                    return self.refused(ask, error);
                }
                match (code, away) {
                    (ErrorCode::ShuttingDown | ErrorCode::Overloaded, Some(ms)) => {
                        tracing::info!(%error, "the server wants to be left alone");
                        Effect::StayAway(ms)
                    }
                    _ => {
                        tracing::warn!(%error, "the server complains");
                        Effect::None
                    }
                }
            }
        }
    }

    /// Section 13.2: the server tells its clock, and the message is signed once more by that.
    fn signed_too_old(&mut self, message: &ServerMessage<'_>, error: ErrorResponse) -> Effect {
        let server_time =
            error.details.as_ref().and_then(|d| d.get("serverTime")).and_then(serde_json::Value::as_u64);
        let id = RequestId::parse(&message.request_id).ok();
        if let Some(id) = id {
            match self.unanswered.get_mut(&id) {
                Some(ask) if !ask.is_signed_again && server_time.is_some() => {
                    ask.is_signed_again = true;
                    self.due.push_back(id);
                }
                Some(_) => self.drop_ask(&id, error.into()),
                None => {}
            }
        }
        server_time.map_or(Effect::None, Effect::Clock)
    }

    fn refused(&mut self, ask: Ask, error: ErrorResponse) -> Effect {
        let away = error.retry_after_ms;
        let is_shutting_down = error.code == ErrorCode::ShuttingDown;
        match &ask.reply {
            // Many jobs at once meet the rate limit: that says nothing about the job. Nor does a refusal "for now"
            // of a request that an earlier connection carried: the job may have been made then.
            Reply::Again(_) if error.recoverable => return self.ask_later(ask, away),
            _ if error.code == ErrorCode::RateLimited && ask.is_repeated => return self.ask_later(ask, away),
            Reply::Again(id) => self.end(*id, &DownloadEvent::Error(error)),
            _ => self.tell(ask.reply, error.into()),
        }
        match away {
            Some(ms) if is_shutting_down => Effect::StayAway(ms),
            _ => Effect::None,
        }
    }

    fn ask_later(&mut self, ask: Ask, after_ms: Option<u64>) -> Effect {
        self.due.push_back(ask.request_id.clone());
        self.unanswered.insert(ask.request_id.clone(), ask);
        Effect::Pause(after_ms.unwrap_or(LATER_MS))
    }

    fn answered(&mut self, message: &ServerMessage<'_>) -> Option<Ask> {
        let id = RequestId::parse(&message.request_id).ok()?;
        self.unanswered.remove(&id)
    }

    fn tell(&mut self, reply: Reply, error: ClientError) {
        // Whoever asked may have stopped waiting.
        match reply {
            Reply::Start(reply, _) => drop(reply.send(Err(error))),
            Reply::State(reply) => drop(reply.send(Err(error))),
            Reply::Detached(reply, id) => {
                // On a later connection the job may not even be attached to: nobody is to wait for it.
                if matches!(error, ClientError::Refused(_)) {
                    self.end(id, &DownloadEvent::Detached);
                }
                drop(reply.send(Err(error)));
            }
            Reply::Again(id) => match error {
                ClientError::Refused(refusal) => self.end(id, &DownloadEvent::Error(refusal)),
                error => tracing::debug!(%error, %id, "not followed again"),
            },
        }
    }

    fn put(&self, id: DownloadId, event: &DownloadEvent) {
        for slot in self.jobs.get(&id).into_iter().flatten() {
            slot.put(event.clone());
        }
    }

    fn end(&mut self, id: DownloadId, event: &DownloadEvent) {
        for slot in self.jobs.remove(&id).into_iter().flatten() {
            slot.put(event.clone());
        }
    }

    /// A slot that only the book holds has lost its download.
    fn forget_dropped(&mut self) {
        self.jobs.retain(|_, slots| {
            slots.retain(|slot| Arc::strong_count(slot) > 1);
            !slots.is_empty()
        });
    }
}

fn data<T: serde::de::DeserializeOwned>(message: &ServerMessage<'_>) -> Result<T, ProtocolError> {
    serde_json::from_str(message.data.get()).map_err(|e| ProtocolError::ServerMessage(e.to_string()))
}
