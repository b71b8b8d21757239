//! What the rest of a program says to its bridge.

use std::net::SocketAddr;

use tokio::sync::{mpsc, oneshot, watch};

use crate::Snapshot;

/// Questions that wait for the hub.
const QUESTIONS: usize = 16;

/// Somebody wants to know what the bridge does; answered between two rounds.
pub(crate) type Question = oneshot::Sender<Snapshot>;

/// A handle to a bridge that runs. Clones reach the same one; dropping them all changes nothing.
#[derive(Debug, Clone)]
pub struct Handle {
    stop: watch::Sender<bool>,
    listening: watch::Receiver<Option<SocketAddr>>,
    status: watch::Receiver<Option<SocketAddr>>,
    questions: mpsc::Sender<Question>,
}

impl Handle {
    /// Asks the bridge to end, as SIGTERM does: it closes its port and its sockets, tells the parent of each, and ends within
    /// [`stop_ms`](crate::Limits::stop_ms). May be called at any time, more than once.
    pub fn stop(&self) {
        let _ = self.stop.send(true);
    }

    /// Waits until the bridge listens and returns where; at once while it does. `None` when it has ended. Cancel safe.
    pub async fn listening(&self) -> Option<SocketAddr> {
        let mut listening = self.listening.clone();
        listening.wait_for(Option::is_some).await.ok().and_then(|address| *address)
    }

    /// Where it listens now: `None` before `open`, as a client, and after its end.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        *self.listening.borrow()
    }

    /// Where the status page is served, with the real port; `None` while another program has its address.
    #[must_use]
    pub fn status_addr(&self) -> Option<SocketAddr> {
        *self.status.borrow()
    }

    /// Waits until the bridge is the host; for ever once it has ended.
    pub(crate) async fn is_host(&self) {
        if self.listening().await.is_none() {
            std::future::pending::<()>().await;
        }
    }

    /// Asks what the bridge does at this moment. `None` when it has ended. Cancel safe.
    pub async fn snapshot(&self) -> Option<Snapshot> {
        let (tell, told) = oneshot::channel();
        self.questions.send(tell).await.ok()?;
        told.await.ok()
    }
}

/// The hub's ends.
#[derive(Debug)]
pub(crate) struct Controls {
    pub(crate) stop: watch::Receiver<bool>,
    pub(crate) listening: watch::Sender<Option<SocketAddr>>,
    pub(crate) status: watch::Sender<Option<SocketAddr>>,
    pub(crate) questions: mpsc::Receiver<Question>,
}

pub(crate) fn handle() -> (Handle, Controls) {
    let (stop, stop_seen) = watch::channel(false);
    let (listening, listening_seen) = watch::channel(None);
    let (status, status_seen) = watch::channel(None);
    let (questions, questions_seen) = mpsc::channel(QUESTIONS);
    (
        Handle { stop, listening: listening_seen, status: status_seen, questions },
        Controls { stop: stop_seen, listening, status, questions: questions_seen },
    )
}
