//! The service: jobs, data sets and connections of one state directory.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use spandrel_crypto::{SecretKey, derive};
use spandrel_download::{Ask, Command, Done, World};
use spandrel_download_protocol::{
    Check, Defaults, DownloadId, DownloadRequest, ErrorCode, ErrorResponse, RequestId, SystemHealth,
};
use spandrel_export_engine::{Accepted, JobRequest, Jobs, JobsConfig, internal, panic_text};
use spandrel_http::{Guard, GuardConfig, UrlSigner};
use spandrel_jobs::{JobTable, Now, Principal};
use spandrel_session::{Freshness, LABEL, ReplayCache, ReplayLimits, WallMillis};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::datasets::{Datasets, request_key};
use crate::health::{Watchman, is_short_of_memory};
use crate::hub::Hub;
use crate::metrics::Gauges;
use crate::overload::{Budget, spread_refusal};
use crate::seats::Seats;
use crate::signed_until::SignedUntil;
use crate::urls::FileUrls;
use crate::{ServiceConfig, ServiceError, routes, secret};

/// A download server without a listener. Cheap to clone; clones are the same server.
#[derive(Debug, Clone)]
pub struct Service(pub(crate) Arc<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) config: ServiceConfig,
    pub(crate) jobs: Jobs,
    pub(crate) datasets: Arc<Datasets>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) urls: FileUrls,
    pub(crate) guard: Guard,
    pub(crate) metrics: Gauges,
    pub(crate) previews: Arc<Semaphore>,
    pub(crate) waits: Semaphore,
    /// Turns for work on blocking threads, so that downloads of files always find one.
    pub(crate) turns: Arc<Semaphore>,
    pub(crate) seats: Arc<Seats>,
    pub(crate) sessions: AtomicU64,
    /// Nonces of signed messages, of all connections.
    pub(crate) replays: Mutex<ReplayCache>,
    pub(crate) freshness: Freshness,
    signed_until: SignedUntil,
    /// What the clock of the system was ahead of the monotonic one, at most.
    ahead_ms: AtomicU64,
    /// Makes keys up for ids that have none.
    pub(crate) decoy: SecretKey,
    /// Moves when keys or tokens were replaced.
    pub(crate) rechecks: watch::Sender<()>,
    pub(crate) stopping: CancellationToken,
    pub(crate) tasks: TaskTracker,
    pub(crate) watchman: Watchman,
    pub(crate) budget: Budget,
}

impl Service {
    /// Opens the state directory and goes on with its jobs. Blocking: call it before serving, or on a blocking
    /// thread.
    ///
    /// # Errors
    /// [`ServiceError`]; nothing is served then.
    pub fn open(config: ServiceConfig) -> Result<Self, ServiceError> {
        let mut defaults = Defaults::default();
        defaults.formula_guard = config.formula_guard;
        defaults.limits = config.sessions.protocol.clone();
        let datasets = Arc::new(Datasets::new(&config, defaults)?);
        let guard = Guard::new(&GuardConfig {
            listen_is_loopback: config.listen.is_some_and(|at| at.ip().is_loopback()),
            public_base_url: config.public_base_url.clone(),
            allowed_origins: config.allowed_origins.clone(),
        })?;
        let hub = Arc::new(Hub::default());
        let mut jobs_config = JobsConfig::new(&config.state_dir);
        jobs_config.limits = config.jobs;
        jobs_config.retention = config.retention;
        jobs_config.free_bytes_min = config.limits.free_bytes_min;
        jobs_config.source_timeout_ms = config.limits.source_timeout_ms;
        jobs_config.stuck_runs_max = config.limits.stuck_runs_max;
        jobs_config.clock = Arc::clone(&config.clock);
        let on_change = {
            let hub = Arc::clone(&hub);
            Box::new(move |id| hub.changed(id))
        };
        let catalog: Arc<Datasets> = Arc::clone(&datasets);
        // Holds the lock of the directory: before it, all in there may be another process's.
        let jobs = Jobs::open(jobs_config, catalog, on_change)?;
        let secret = secret::load(&config.state_dir)?;
        let urls = FileUrls {
            signer: UrlSigner::new(&secret, LABEL),
            is_signing: !config.auth.is_open(),
            ttl_ms: config.url_ttl_ms,
            base: config.public_base_url.as_deref().unwrap_or("").trim_end_matches('/').to_owned(),
        };
        // Sort runs of previews of an earlier process.
        let _ = std::fs::remove_dir_all(config.state_dir.join("scratch"));
        let (signed_until, since_ms) =
            SignedUntil::open(&config.state_dir, jobs.now().wall_ms, config.auth_window_ms);
        Ok(Self(Arc::new(Inner {
            datasets,
            hub,
            urls,
            guard,
            metrics: Gauges::new(),
            previews: Arc::new(Semaphore::new(config.limits.previews_max.max(1))),
            waits: Semaphore::new(config.limits.waits_max),
            turns: Arc::new(Semaphore::new(config.limits.commands_max.max(1))),
            seats: Seats::new(config.limits.connections_max),
            sessions: AtomicU64::new(1),
            replays: Mutex::new(ReplayCache::new(replay_limits(&config))),
            // What was signed before this process began may have been seen by the one before.
            freshness: Freshness { window_ms: config.auth_window_ms, since: WallMillis::new(since_ms) },
            signed_until,
            ahead_ms: AtomicU64::new(0),
            decoy: derive(&secret, LABEL.as_bytes(), b"decoy"),
            rechecks: watch::Sender::new(()),
            stopping: CancellationToken::new(),
            tasks: TaskTracker::new(),
            watchman: Watchman::new(),
            budget: Budget::new(config.limits.outbound_bytes_max),
            jobs,
            config,
        })))
    }

    /// Everything of protocol section 12, the message endpoint and the page, as an axum router to serve or to
    /// nest into another one. Serve it with peer addresses (`into_make_service_with_connect_info`) or without.
    pub fn router(&self) -> Router {
        routes::router(Arc::clone(&self.0))
    }

    /// Looks at every data set again (SIGHUP). Blocking.
    pub fn reload(&self) {
        self.0.datasets.reload();
        self.0.jobs.sources_are_well();
    }

    /// Asks again whether what every session was let in for still holds ([`Authenticator::holds`]); those for which it
    /// does not are closed with 4401 at once. To be called after keys or tokens were replaced.
    ///
    /// [`Authenticator::holds`]: crate::Authenticator::holds
    pub fn recheck(&self) {
        self.0.rechecks.send_replace(());
    }

    /// Takes nothing new, tells every connection, brings every job to a durable place. Returns within
    /// `timeout`, and whether all of that was done by then.
    pub async fn shut_down(&self, timeout: Duration) -> bool {
        let inner = Arc::clone(&self.0);
        inner.stopping.cancel();
        inner.tasks.close();
        let stopped = {
            let inner = Arc::clone(&inner);
            tokio::task::spawn_blocking(move || inner.jobs.shutdown(timeout))
        };
        let all = async { (stopped.await.unwrap_or(false), inner.tasks.wait().await) };
        matches!(tokio::time::timeout(timeout, all).await, Ok((true, ())))
    }

    /// Resolves when [`shut_down`](Self::shut_down) was called.
    pub async fn stopping(&self) {
        self.0.stopping.cancelled().await;
    }

    /// Message connections that have come and gone.
    pub fn connections_ended(&self) -> u64 {
        self.0.seats.gone()
    }

    /// How the server is.
    pub fn health(&self) -> SystemHealth {
        self.0.health()
    }
}

impl Inner {
    /// The time messages and URLs are stamped with and measured on. It follows the clock of the system forwards only: were
    /// it to go back, signatures from before would be fresh again when their nonces are forgotten, and those of peers
    /// who know the time would be refused.
    pub(crate) fn now(&self) -> Now {
        let now = self.jobs.now();
        let ahead = now.wall_ms.saturating_sub(now.mono_ms);
        let ahead = ahead.max(self.ahead_ms.fetch_max(ahead, Ordering::Relaxed));
        Now { wall_ms: now.mono_ms.saturating_add(ahead), ..now }
    }

    /// The time that signed messages are measured by and signed at: [`now`](Self::now), but not before the first time
    /// that is taken, so that whoever signs by what we tell gets in.
    pub(crate) fn signing_now(&self) -> Now {
        let now = self.now();
        Now { wall_ms: now.wall_ms.max(self.freshness.since.get()), ..now }
    }

    /// Keeps when a message was signed, before it counts.
    pub(crate) async fn keep_signed(self: &Arc<Self>, signed_ms: u64) {
        if signed_ms > self.wall_ms() && !self.signed_until.covers(signed_ms) {
            let kept = self.blocking(move |inner| {
                inner.signed_until.raise(signed_ms);
                Ok(())
            });
            // On the heap: few messages come from the future, and every connection would hold room for it.
            if let Err(error) = Box::pin(kept).await {
                tracing::warn!(error = error.message, "cannot keep the time of a signature");
            }
        }
    }

    /// The clock of the system, milliseconds since 1970: what the lives of keys are measured on.
    pub(crate) fn wall_ms(&self) -> u64 {
        self.jobs.now().wall_ms
    }

    pub(crate) fn health(&self) -> SystemHealth {
        let (now, checks) = (self.now(), self.checks());
        self.jobs.read(|table| health_of(table, now, checks))
    }

    /// Lets a conversation look at everything at once.
    pub(crate) fn look<R>(&self, step: impl FnOnce(Now, World<'_>) -> R) -> R {
        let (now, checks) = (self.now(), self.checks());
        self.jobs.read(|table| {
            let health = health_of(table, now, checks);
            step(now, World { table, urls: &self.urls, health: &health })
        })
    }

    fn checks(&self) -> Vec<Check> {
        self.watchman.checks(self)
    }

    /// Accepts a request. Blocking.
    pub(crate) fn create(
        &self,
        principal: &Principal,
        request_id: &RequestId,
        request: &DownloadRequest,
        text: String,
        has_room: bool,
    ) -> Result<Accepted, ErrorResponse> {
        let resolved = self.datasets.resolve(principal, request)?;
        let key = request_key(&text)?;
        // A repeated request meets no limits and looks at no source; `create` asks again under its lock.
        match self.jobs.read(|table| table.find(principal, request_id, &key)) {
            Ok(Some(id)) => return Ok(Accepted { id, is_duplicate: true }),
            Ok(None) | Err(spandrel_jobs::JobError::Storing) => {}
            Err(e) => return Err(e.into()),
        }
        if self.stopping.is_cancelled() {
            return Err(shutting_down());
        }
        if is_short_of_memory(&self.checks()) {
            let message = "the server is short of memory; try again later";
            return Err(ErrorResponse::new(ErrorCode::Overloaded, message).with_retry_after(60_000));
        }
        if !has_room {
            let message = "this connection follows as many downloads as it may; detach from some";
            return Err(ErrorResponse::new(ErrorCode::LimitExceeded, message));
        }
        let prepared = self.datasets.prepare(resolved, text)?;
        let request = JobRequest {
            principal: principal.clone(),
            request_id: request_id.clone(),
            spec: prepared.spec,
            total: prepared.total,
        };
        Ok(self.jobs.create(new_id()?, request)?)
    }

    /// Does blocking work when its turn has come. Work that was begun goes on when the future is dropped.
    pub(crate) async fn blocking<R: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<R, ErrorResponse> + Send + 'static,
    ) -> Result<R, ErrorResponse> {
        let limit = Duration::from_millis(self.config.limits.command_ms_max);
        let turn = timeout(limit, Arc::clone(&self.turns).acquire_owned()).await.map_err(|_| {
            let message = "everything that may be done at once is being done; try again later";
            ErrorResponse::new(ErrorCode::Overloaded, message).with_retry_after(10_000)
        })?;
        let turn = turn.map_err(|_| shutting_down())?;
        let inner = Arc::clone(self);
        // The turn is the thread's, not the caller's: whoever goes away leaves the work behind.
        let done = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work(&inner)
        });
        match timeout(limit, done).await {
            Ok(Ok(done)) => done,
            Ok(Err(failed)) => {
                self.metrics.panics.inc();
                Err(match failed.try_into_panic() {
                    Ok(panic) => internal(panic_text(&*panic)),
                    Err(cancelled) => internal(&cancelled.to_string()),
                })
            }
            Err(_) => {
                let message =
                    "the source or the disk gives no answer; the request may still have been carried out";
                Err(ErrorResponse::new(ErrorCode::Timeout, message).with_retry_after(10_000))
            }
        }
    }

    /// Carries out a command of a connection.
    pub(crate) async fn obey(
        self: &Arc<Self>,
        principal: Principal,
        command: Command,
    ) -> Result<Done, ErrorResponse> {
        self.blocking(move |inner| inner.carry_out(&principal, &command)).await.map_err(spread_refusal)
    }

    /// Blocking.
    fn carry_out(&self, principal: &Principal, command: &Command) -> Result<Done, ErrorResponse> {
        match &command.ask {
            Ask::Create { request, text, has_room } => {
                let Accepted { id, is_duplicate } =
                    self.create(principal, &command.request_id, request, text.clone(), *has_room)?;
                Ok(Done::Created { id, is_duplicate })
            }
            Ask::Pause(id) => Ok(self.jobs.pause(principal, *id).map(|()| Done::Told(*id))?),
            Ask::Resume(id) => Ok(self.jobs.resume(principal, *id).map(|()| Done::Told(*id))?),
            Ask::Cancel(id) => Ok(self.jobs.cancel(principal, *id).map(|()| Done::Told(*id))?),
        }
    }
}

/// No key may use up more than an eighth of the room, but as much as one connection needs at the full rate.
fn replay_limits(config: &ServiceConfig) -> ReplayLimits {
    let limits = ReplayLimits::for_freshness(config.auth_window_ms);
    let nonces_max = config.limits.nonces_max;
    // A nonce is held a quarter longer than the window at most.
    let held_s = usize::try_from(limits.window_ms.saturating_mul(5) / 4_000).unwrap_or(usize::MAX);
    let rate = usize::try_from(config.sessions.messages_per_s).unwrap_or(usize::MAX);
    let burst = usize::try_from(config.sessions.message_burst).unwrap_or(usize::MAX);
    let one_needs = rate.saturating_mul(held_s).saturating_add(burst);
    ReplayLimits { nonces_max, per_key_max: (nonces_max / 8).max(one_needs), ..limits }
}

fn health_of(table: &JobTable, now: Now, checks: Vec<Check>) -> SystemHealth {
    let number = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    SystemHealth::of(checks, now.wall_ms, number(table.active_len()), number(table.queued_len()))
}

pub(crate) fn new_id() -> Result<DownloadId, ErrorResponse> {
    random().map(DownloadId::from_bytes)
}

pub(crate) fn random() -> Result<[u8; 16], ErrorResponse> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|e| internal(&format!("no random numbers: {e}")))?;
    Ok(bytes)
}

pub(crate) fn shutting_down() -> ErrorResponse {
    ErrorResponse::new(ErrorCode::ShuttingDown, "the server is stopping; try again later")
        .with_retry_after(5_000)
}
