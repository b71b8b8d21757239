//! What goes between a conversation and its driver.

use spandrel_download_protocol::{CloseCode, DownloadId, DownloadRequest, RequestId};

/// Work for the driver, to be done in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Send this message.
    Send(String),
    /// Send a ping of the transport, if it has such a thing.
    Ping,
    /// Carry out, one after another, and give the result to [`Conversation::done`](crate::Conversation::done).
    Do(Command),
    /// Tell [`Conversation::job`](crate::Conversation::job) of every change of this job from now on, and call it once at once: the job may
    /// have changed just before.
    Follow(DownloadId),
    /// Changes of this job are of no interest any more.
    Unfollow(DownloadId),
    /// Say goodbye. Nothing follows.
    Close(CloseCode, &'static str),
}

/// Something that may take a while.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    /// Of the message that asks for it.
    pub request_id: RequestId,
    /// What is asked.
    pub ask: Ask,
}

/// What a client asks of the job service.
#[derive(Debug, Clone, PartialEq)]
pub enum Ask {
    /// Make a job, or find the one this request made before.
    Create {
        /// The request, its shape checked, its names not.
        request: Box<DownloadRequest>,
        /// The request as it came.
        text: String,
        /// The connection can follow one more job. If not, a job must not be made (`LIMIT_EXCEEDED`); one that
        /// is there already is [`Done::Created`] all the same.
        has_room: bool,
    },
    /// Pause; done when no more rows are written.
    Pause(DownloadId),
    /// Queue again.
    Resume(DownloadId),
    /// End.
    Cancel(DownloadId),
}

/// How a command went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// There is a job for the request.
    Created {
        /// Which.
        id: DownloadId,
        /// It was there before.
        is_duplicate: bool,
    },
    /// The job was told.
    Told(DownloadId),
}
