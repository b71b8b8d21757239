//! Between the connection's task and the holder of a download: newest progress and state, and the end, once.

use std::sync::{Mutex, MutexGuard, PoisonError};

use spandrel_download_protocol::{DownloadComplete, DownloadStatus, ErrorResponse, ProgressUpdate};
use tokio::sync::Notify;

use crate::Failure;

/// What happens to a download.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum DownloadEvent {
    /// The newest progress; older ones that were not asked for in time are skipped.
    Progress(ProgressUpdate),
    /// The job changed its state without ending.
    State(DownloadStatus),
    /// The connection was lost; it is being opened again. The job goes on meanwhile.
    Reconnecting {
        /// Which attempt comes next, from 1.
        attempt: u32,
        /// Milliseconds until then.
        delay_ms: u64,
    },
    /// All files are there. The last event.
    Complete(DownloadComplete),
    /// The job ended without files, or this client may not follow it any more. The last event.
    Error(ErrorResponse),
    /// This client does not follow the job any more, as [`Client::detach`](crate::Client::detach) asked; the job goes
    /// on. The last event.
    Detached,
    /// The connection is gone for good; what became of the job is not known. The last event.
    ConnectionFailed(Failure),
}

impl DownloadEvent {
    /// Whether nothing follows.
    pub const fn is_terminal(&self) -> bool {
        matches!(self, Self::Complete(_) | Self::Error(_) | Self::Detached | Self::ConnectionFailed(_))
    }
}

/// Holds at most one event of each kind, so a holder who does not look costs nothing.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    waiting: Mutex<Waiting>,
    notify: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    link: Option<DownloadEvent>,
    state: Option<DownloadEvent>,
    progress: Option<DownloadEvent>,
    terminal: Option<DownloadEvent>,
    is_over: bool,
}

impl Slot {
    /// Leaves an event, in the place of an older one of its kind; nothing counts after a terminal one.
    pub(crate) fn put(&self, event: DownloadEvent) {
        let mut waiting = self.lock();
        if waiting.is_over {
            return;
        }
        waiting.is_over = event.is_terminal();
        let place = match &event {
            DownloadEvent::Progress(_) => &mut waiting.progress,
            DownloadEvent::State(_) => &mut waiting.state,
            DownloadEvent::Reconnecting { .. } => &mut waiting.link,
            _ => &mut waiting.terminal,
        };
        *place = Some(event);
        drop(waiting);
        self.notify.notify_one();
    }

    /// The next event, `None` after the terminal one. Cancel safe.
    pub(crate) async fn next(&self) -> Option<DownloadEvent> {
        loop {
            let notified = self.notify.notified();
            {
                let mut waiting = self.lock();
                let event = waiting.link.take().or_else(|| waiting.state.take());
                let event = event.or_else(|| waiting.progress.take()).or_else(|| waiting.terminal.take());
                if event.is_some() || waiting.is_over {
                    return event;
                }
            }
            notified.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use spandrel_download_protocol::ErrorCode;

    fn error() -> DownloadEvent {
        DownloadEvent::Error(ErrorResponse::new(ErrorCode::Cancelled, "x"))
    }

    #[tokio::test]
    async fn newest_wins_and_the_end_comes_last_and_once() {
        let slot = Slot::default();
        let link = |attempt| DownloadEvent::Reconnecting { attempt, delay_ms: 1 };
        slot.put(link(1));
        slot.put(link(2));
        slot.put(error());
        slot.put(link(3));
        slot.put(DownloadEvent::ConnectionFailed(Failure { code: 1, reason: String::new(), attempts: 0 }));
        assert_eq!(slot.next().await, Some(link(2)));
        assert_eq!(slot.next().await, Some(error()));
        assert_eq!(slot.next().await, None);
        assert_eq!(slot.next().await, None);
    }

    #[tokio::test]
    async fn waiting_ends_when_something_comes() {
        let slot = std::sync::Arc::new(Slot::default());
        let other = slot.clone();
        let waiting = tokio::spawn(async move { other.next().await });
        tokio::task::yield_now().await;
        slot.put(error());
        assert_eq!(waiting.await.unwrap(), Some(error()));
    }
}
