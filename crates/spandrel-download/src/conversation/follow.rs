//! What is told of the jobs that are followed: progress in batches, one end.

use spandrel_download_protocol::{
    DownloadError, DownloadId, JobState, ProgressUpdate, RequestId, ServerEvent,
};
use spandrel_jobs::{Job, Now};
use spandrel_session::Batched;

use super::{Conversation, World, at};
use crate::{Output, view};

impl Conversation {
    /// A job changed. Jobs that are not followed here are ignored.
    pub fn job(&mut self, now: Now, world: World<'_>, id: DownloadId) {
        let Some(attachment) = self.attachments.get_mut(&id).filter(|_| !self.is_closed) else { return };
        let request_id = attachment.request_id.clone();
        let job = world.table.job(id);
        if self.cancelling.contains(&id) && job.is_none_or(|job| job.state().is_final()) {
            return;
        }
        let Some(job) = job else {
            return self.end(now, id, |conversation| {
                let data = DownloadError { error: view::cancelled(), download_id: Some(id) };
                conversation.send(now, ServerEvent::DownloadError, &request_id, &data);
            });
        };
        let update = view::update(job);
        let has_moved = std::mem::replace(&mut attachment.state, job.state()) != job.state();
        if job.state().is_final() {
            return self.finish(now, world, &request_id, job);
        }
        if attachment.sent.as_ref() != Some(&update) {
            attachment.sent = Some(update.clone());
            self.batch_up(now, update);
        }
        if has_moved {
            self.status(now, world, &request_id, std::iter::once(job));
        }
    }

    /// The one terminal event of an attachment.
    pub(super) fn finish(&mut self, now: Now, world: World<'_>, request_id: &RequestId, job: &Job) {
        if job.state() == JobState::Completed {
            self.batch.hold(at(now), job.id(), view::update(job));
        }
        self.end(now, job.id(), |conversation| match job.state() {
            JobState::Completed => {
                let data = view::complete(world.table, world.urls, now.wall_ms, job);
                conversation.send(now, ServerEvent::DownloadComplete, request_id, &data);
            }
            JobState::Expired => {
                let error = spandrel_jobs::JobError::Expired.into();
                let data = DownloadError { error, download_id: Some(job.id()) };
                conversation.send(now, ServerEvent::DownloadError, request_id, &data);
            }
            _ => conversation.send(now, ServerEvent::DownloadError, request_id, &view::ended(job)),
        });
    }

    pub(super) fn end(&mut self, now: Now, id: DownloadId, tell: impl FnOnce(&mut Self)) {
        self.flush(now);
        tell(self);
        self.unfollow(id);
    }

    pub(super) fn unfollow(&mut self, id: DownloadId) {
        if self.attachments.remove(&id).is_some() {
            self.out.push_back(Output::Unfollow(id));
        }
    }

    /// Into the batch; out with it when that fills it, unless the peer has too much to read already.
    pub(super) fn batch_up(&mut self, now: Now, update: ProgressUpdate) {
        let id = update.download_id;
        if self.over_since_ms.is_some() {
            self.batch.hold(at(now), id, update);
        } else {
            let full = self.batch.push(at(now), id, update);
            self.send_batch(now, full);
        }
    }

    pub(super) fn flush(&mut self, now: Now) {
        let batch = self.batch.flush();
        self.send_batch(now, batch);
    }

    pub(super) fn send_batch(&mut self, now: Now, batch: Option<Batched<ProgressUpdate>>) {
        let updates = match batch {
            None => return,
            Some(Batched::One(one)) => vec![one],
            Some(Batched::Many(many)) => many,
        };
        // More than a batch when the peer was slow.
        for chunk in updates.chunks(self.config.limits.batch_size.max(1)) {
            if let [one] = chunk {
                self.send(now, ServerEvent::DownloadProgress, &one.request_id, one);
            } else {
                let id = self.own_id();
                self.send(now, ServerEvent::DownloadProgress, &id, chunk);
            }
        }
    }
}
