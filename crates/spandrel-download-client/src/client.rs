//! What users hold: a client, and a download it follows.

use std::sync::Arc;

use serde::Serialize;
use serde_json::value::RawValue;
use spandrel_download_protocol::{
    ClientEvent, DownloadId, DownloadRequest, DownloadStart, DownloadStatus, JobRef, Scope, SessionState,
    StatusCheck,
};
use tokio::sync::{mpsc, oneshot, watch};

use crate::http::Http;
use crate::origin::Origin;
use crate::session::{Ask, ConnectionState, Reply, Session, new_request_id};
use crate::slot::{DownloadEvent, Slot};
use crate::{ClientError, ClientOptions};

/// A connection to a download server, kept open through losses. Clones share it.
///
/// It closes when every clone and every [`Download`] is gone; jobs at the server are not touched by that.
#[derive(Debug, Clone)]
pub struct Client {
    asks: mpsc::Sender<Ask>,
    state: watch::Receiver<ConnectionState>,
    pub(crate) http: Http,
}

/// A job this client follows. Dropping it stops following, the job goes on.
#[derive(Debug)]
pub struct Download {
    start: DownloadStart,
    slot: Arc<Slot>,
    client: Client,
}

impl Client {
    /// Connects to `http://host:port` (or `ws://…`) and waits for the hello.
    ///
    /// The first attempt is not repeated: a wrong address should be told at once. Must be called inside a tokio
    /// runtime. Cancel safe: nothing remains.
    ///
    /// # Errors
    ///
    /// [`ClientError::Url`], [`ClientError::Dial`], [`ClientError::NoHello`], or [`ClientError::Protocol`] when
    /// something else answers there.
    pub async fn connect(url: &str, options: ClientOptions) -> Result<Self, ClientError> {
        let origin = Origin::parse(url)?;
        let http = Http::new(origin.clone(), &options)?;
        let (asks, queue) = mpsc::channel(64);
        let (state_in, state) = watch::channel(ConnectionState::Connected);
        let session = Session::new(origin, options, queue, state_in)?;
        let open = session.open().await?;
        tokio::spawn(session.run(open));
        Ok(Self { asks, state, http })
    }

    /// Asks for a job and follows it.
    ///
    /// When the connection breaks before the answer, the request is repeated with its old id, so no second job is
    /// made. Cancelled while it waits, the job may have been made; it is not followed.
    ///
    /// # Errors
    ///
    /// [`ClientError::Refused`] with the server's reason; [`ClientError::ConnectionFailed`].
    pub async fn request(&self, request: &DownloadRequest) -> Result<Download, ClientError> {
        self.follow(ClientEvent::DownloadRequest, request).await
    }

    /// Follows a job that was made before, on this connection or another.
    ///
    /// # Errors
    ///
    /// `DOWNLOAD_NOT_FOUND` or `EXPIRED` as [`ClientError::Refused`]; [`ClientError::ConnectionFailed`].
    pub async fn attach(&self, id: DownloadId) -> Result<Download, ClientError> {
        self.follow(ClientEvent::DownloadAttach, &JobRef { download_id: id }).await
    }

    /// Stops a job; its followers get `CANCELLED`. Cancelling twice succeeds.
    ///
    /// # Errors
    ///
    /// `DOWNLOAD_NOT_FOUND` or `INVALID_STATE` as [`ClientError::Refused`]; [`ClientError::ConnectionFailed`].
    pub async fn cancel(&self, id: DownloadId) -> Result<SessionState, ClientError> {
        self.ask_state(ClientEvent::DownloadCancel, &JobRef { download_id: id }).await
    }

    /// Holds a job: after the answer no further rows are made.
    ///
    /// # Errors
    ///
    /// As [`cancel`](Self::cancel).
    pub async fn pause(&self, id: DownloadId) -> Result<SessionState, ClientError> {
        self.ask_state(ClientEvent::DownloadPause, &JobRef { download_id: id }).await
    }

    /// Lets a held job go on.
    ///
    /// # Errors
    ///
    /// As [`cancel`](Self::cancel).
    pub async fn resume(&self, id: DownloadId) -> Result<SessionState, ClientError> {
        self.ask_state(ClientEvent::DownloadResume, &JobRef { download_id: id }).await
    }

    /// Stops the server's events of a job on this connection; the job goes on.
    ///
    /// # Errors
    ///
    /// As [`cancel`](Self::cancel).
    pub async fn detach(&self, id: DownloadId) -> Result<SessionState, ClientError> {
        self.ask_state(ClientEvent::DownloadDetach, &JobRef { download_id: id }).await
    }

    /// State of the server and of jobs: those followed on this connection, or all of the principal.
    ///
    /// # Errors
    ///
    /// [`ClientError::ConnectionFailed`].
    pub async fn status(&self, scope: Scope) -> Result<SessionState, ClientError> {
        let check = StatusCheck { download_id: None, scope };
        self.ask_state(ClientEvent::StatusCheck, &check).await
    }

    /// State of one job, with fresh URLs of its finished files.
    ///
    /// # Errors
    ///
    /// `DOWNLOAD_NOT_FOUND` as [`ClientError::Refused`]; [`ClientError::ConnectionFailed`].
    pub async fn status_of(&self, id: DownloadId) -> Result<Option<DownloadStatus>, ClientError> {
        let check = StatusCheck { download_id: Some(id), scope: Scope::Session };
        let mut state = self.ask_state(ClientEvent::StatusCheck, &check).await?;
        Ok(state.active_downloads.remove(&id))
    }

    /// How the connection is, now and at every change.
    pub fn state(&self) -> watch::Receiver<ConnectionState> {
        self.state.clone()
    }

    async fn follow(&self, event: ClientEvent, data: &impl Serialize) -> Result<Download, ClientError> {
        let slot = Arc::new(Slot::default());
        let (reply, answer) = oneshot::channel();
        self.ask(event, data, Reply::Start(reply, slot.clone())).await?;
        let start = answer.await.map_err(|_| self.failed())??;
        Ok(Download { start, slot, client: self.clone() })
    }

    async fn ask_state(
        &self,
        event: ClientEvent,
        data: &impl Serialize,
    ) -> Result<SessionState, ClientError> {
        let (reply, answer) = oneshot::channel();
        self.ask(event, data, Reply::State(reply)).await?;
        answer.await.map_err(|_| self.failed())?
    }

    async fn ask(&self, event: ClientEvent, data: &impl Serialize, reply: Reply) -> Result<(), ClientError> {
        let data: Box<RawValue> = serde_json::value::to_raw_value(data).expect("requests are plain data");
        let ask = Ask { event, data, request_id: new_request_id(), reply };
        self.asks.send(ask).await.map_err(|_| self.failed())
    }

    /// The session is gone; the state it left tells why.
    fn failed(&self) -> ClientError {
        match *self.state.borrow() {
            ConnectionState::Failed { code, attempts } => ClientError::ConnectionFailed { code, attempts },
            _ => ClientError::ConnectionFailed { code: 1006, attempts: 0 },
        }
    }
}

impl Download {
    /// What the server said when it accepted or attached.
    pub fn start(&self) -> &DownloadStart {
        &self.start
    }

    /// Name of the job.
    pub fn id(&self) -> DownloadId {
        self.start.download_id
    }

    /// The next event; `None` after the terminal one. Cancel safe.
    pub async fn next(&mut self) -> Option<DownloadEvent> {
        self.slot.next().await
    }

    /// The client it came from.
    pub fn client(&self) -> &Client {
        &self.client
    }
}
