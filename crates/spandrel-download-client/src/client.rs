//! What users hold: a client, and a download it follows.

use std::sync::Arc;

use serde::Serialize;
use serde_json::value::RawValue;
use spandrel_download_protocol::{
    ClientEvent, DownloadId, DownloadRequest, DownloadStart, DownloadStatus, JobRef, RequestId, Scope,
    SessionState, StatusCheck,
};
use spandrel_transport::{Close, Security};
use tokio::sync::{mpsc, oneshot, watch};

use crate::address::{Address, HttpOrigin};
use crate::dial::{self, Dial, Network};
use crate::http::Http;
use crate::session::{Ask, ConnectionState, Reply, Session};
use crate::slot::{DownloadEvent, Slot};
use crate::{ClientError, ClientOptions, Failure, random};

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
    /// Connects and waits for the hello.
    ///
    /// `url` is `http://host:port` or `https://` (`ws://` and `wss://` mean the same), `tcp://host:port`,
    /// `tcps://host:port` or `unix:/path`; with the last three, files come from
    /// [`ClientOptions::http_url`].
    ///
    /// The first attempt is not repeated: a wrong address should be told at once. Must be called inside a tokio
    /// runtime. Cancel safe: nothing remains.
    ///
    /// # Errors
    ///
    /// [`ClientError::Url`], [`ClientError::Options`] and [`ClientError::Tls`] before anything is sent;
    /// [`ClientError::Dial`], [`ClientError::NoHello`], [`ClientError::Closed`], [`ClientError::Denied`],
    /// [`ClientError::Untrusted`], or [`ClientError::Protocol`] when something else answers there.
    pub async fn connect(url: &str, options: ClientOptions) -> Result<Self, ClientError> {
        options.check()?;
        let Address { route, http } = Address::parse(url, options.http_url.as_deref())?;
        let tls = dial::tls(&options, route.is_secure() || http.is_secure())?;
        if options.http_token().is_some() && http.is_exposed() {
            tracing::warn!(
                "the bearer token goes over plain http, readable for everybody on the way: use https"
            );
        }
        let security = |is_secure: bool| match &tls {
            Some(tls) if is_secure => Security::none().with_client(tls.clone()),
            _ => Security::none(),
        };
        let network = Network::new(route.clone(), &options, security(route.is_secure()))?;
        let http = Http::new(http, tls, &options);
        Self::open(Arc::new(network), http, options).await
    }

    /// As [`connect`](Self::connect), with links of your own. Files come from [`ClientOptions::http_url`].
    ///
    /// A key together with a [wrapped](Dial::is_wrapped) link is [`ClientError::Options`].
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub async fn connect_over(dial: Arc<dyn Dial>, options: ClientOptions) -> Result<Self, ClientError> {
        options.check()?;
        let origin = HttpOrigin::parse(options.http_url.as_deref())?;
        let tls = dial::tls(&options, origin.is_secure())?;
        Self::open(dial, Http::new(origin, tls, &options), options).await
    }

    async fn open(dial: Arc<dyn Dial>, http: Http, options: ClientOptions) -> Result<Self, ClientError> {
        // Going on without what was asked for would only be noticed by those who look.
        if dial.is_wrapped() && options.credentials.is_key() {
            return Err(ClientError::Options(
                "a unix socket carries no signatures and no seal: leave out the key",
            ));
        }
        let (info, run) = Session::open(dial, options).await?;
        let (asks, queue) = mpsc::channel(64);
        let (state_in, state) = watch::channel(ConnectionState::Connected(info));
        run(queue, state_in);
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
        self.request_as(random::request_id(), request).await
    }

    /// As [`request`](Self::request), under an id of yours.
    ///
    /// The server makes one job of an id: asked again with an equal request, by this client or another of the same
    /// principal, it gives the job it made before ([`DownloadStart::duplicate`]). So this is the way to ask again
    /// when it is not known what became of the first time: after `TIMEOUT`, or a call that was cancelled.
    ///
    /// # Errors
    ///
    /// As [`request`](Self::request); `REQUEST_ID_CONFLICT` as [`ClientError::Refused`] when the id stands for another
    /// request; [`ClientError::UnderWay`] while another call waits for the answer to this id.
    pub async fn request_as(
        &self,
        id: RequestId,
        request: &DownloadRequest,
    ) -> Result<Download, ClientError> {
        self.follow(ClientEvent::DownloadRequest, request, id).await
    }

    /// Follows a job that was made before, on this connection or another.
    ///
    /// # Errors
    ///
    /// `DOWNLOAD_NOT_FOUND` or `EXPIRED` as [`ClientError::Refused`]; [`ClientError::ConnectionFailed`].
    pub async fn attach(&self, id: DownloadId) -> Result<Download, ClientError> {
        self.follow(ClientEvent::DownloadAttach, &JobRef { download_id: id }, random::request_id()).await
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

    /// Stops following a job on this connection, also after a reconnect; the job goes on. Every [`Download`] of it
    /// that came from this client ends with [`DownloadEvent::Detached`] at the server's answer, a refusal included.
    ///
    /// # Errors
    ///
    /// As [`cancel`](Self::cancel).
    pub async fn detach(&self, id: DownloadId) -> Result<SessionState, ClientError> {
        let (reply, answer) = oneshot::channel();
        let reply = Reply::Detached(reply, id);
        self.ask(ClientEvent::DownloadDetach, &JobRef { download_id: id }, random::request_id(), reply)
            .await?;
        answer.await.map_err(|_| self.failed())?
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

    /// How the connection is, now and at every change: [`ConnectionState::Failed`] is the event `connection:failed`.
    pub fn state(&self) -> watch::Receiver<ConnectionState> {
        self.state.clone()
    }

    async fn follow(
        &self,
        event: ClientEvent,
        data: &impl Serialize,
        id: RequestId,
    ) -> Result<Download, ClientError> {
        let slot = Arc::new(Slot::default());
        let (reply, answer) = oneshot::channel();
        self.ask(event, data, id, Reply::Start(reply, slot.clone())).await?;
        let start = answer.await.map_err(|_| self.failed())??;
        Ok(Download { start, slot, client: self.clone() })
    }

    async fn ask_state(
        &self,
        event: ClientEvent,
        data: &impl Serialize,
    ) -> Result<SessionState, ClientError> {
        let (reply, answer) = oneshot::channel();
        self.ask(event, data, random::request_id(), Reply::State(reply)).await?;
        answer.await.map_err(|_| self.failed())?
    }

    async fn ask(
        &self,
        event: ClientEvent,
        data: &impl Serialize,
        id: RequestId,
        reply: Reply,
    ) -> Result<(), ClientError> {
        let data: Box<RawValue> = serde_json::value::to_raw_value(data).expect("requests are plain data");
        let ask = Ask::new(event, data, id, reply);
        self.asks.send(ask).await.map_err(|_| self.failed())
    }

    /// The session is gone; the state it left tells why.
    fn failed(&self) -> ClientError {
        match &*self.state.borrow() {
            ConnectionState::Failed(failure) => failure.clone().into(),
            _ => Failure { code: Close::ABNORMAL, reason: String::new(), attempts: 0 }.into(),
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
