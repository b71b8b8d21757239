//! What a message asks, and its answer.

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use spandrel_download_protocol::{
    ClientEvent, DownloadId, DownloadRequest, ErrorCode, ErrorResponse, Health, HealthKind, JobRef, JobState,
    Message, RequestId, Scope, ServerEvent, SessionState, StatusCheck,
};
use spandrel_jobs::{Job, Now};

use super::{Attachment, Conversation, Look, Start, World};
use crate::{Ask, Command, Output, view};

/// A `status:update` keeps this much of a message for everything but its jobs.
const STATUS_SLACK_BYTES: usize = 4_096;

impl Conversation {
    /// Reads the data of a message: a command goes out, a question comes back.
    pub(super) fn dispatch(
        &mut self,
        event: ClientEvent,
        message: &Message<'_>,
    ) -> Result<Option<Look>, ErrorResponse> {
        let limits = self.config.limits.protocol.clone();
        let job_ref = |data: &RawValue| JobRef::parse(data, &limits).map(|r| r.download_id);
        let ask = match event {
            ClientEvent::DownloadRequest => {
                let request = Box::new(DownloadRequest::parse(message.data, &limits)?);
                let has_room = self.attachments.len() + self.creating < self.config.limits.attachments_max;
                let text = message.data.get().to_owned();
                self.creating += 1;
                self.command_bytes += text.len();
                Ask::Create { request, text, has_room }
            }
            ClientEvent::DownloadPause => Ask::Pause(job_ref(message.data)?),
            ClientEvent::DownloadResume => Ask::Resume(job_ref(message.data)?),
            ClientEvent::DownloadCancel => {
                let job = job_ref(message.data)?;
                self.cancelling.push(job);
                Ask::Cancel(job)
            }
            ClientEvent::DownloadAttach => return Ok(Some(Look::Attach(job_ref(message.data)?))),
            ClientEvent::DownloadDetach => return Ok(Some(Look::Detach(job_ref(message.data)?))),
            ClientEvent::StatusCheck => {
                return Ok(Some(Look::Status(StatusCheck::parse(message.data, &limits)?)));
            }
            ClientEvent::ConnectionHealth => {
                let kind = Health::parse(message.data, &limits)?.kind;
                return Ok((kind == HealthKind::Ping).then_some(Look::Pong));
            }
            _ => return Err(ErrorResponse::new(ErrorCode::UnknownEvent, "this event is not known here")),
        };
        self.commands += 1;
        self.out.push_back(Output::Do(Command { request_id: message.request_id.clone(), ask }));
        Ok(None)
    }

    pub(super) fn attach_to(
        &mut self,
        now: Now,
        world: World<'_>,
        id: &RequestId,
        job: DownloadId,
    ) -> Result<(), ErrorResponse> {
        let job = world.table.own(&self.config.principal, job)?;
        if job.state() == JobState::Expired {
            return Err(spandrel_jobs::JobError::Expired.into());
        }
        self.attach(now, world, id, job, Start::Attached)
    }

    pub(super) fn detach(
        &mut self,
        now: Now,
        world: World<'_>,
        id: &RequestId,
        job: DownloadId,
    ) -> Result<(), ErrorResponse> {
        let job = world.table.own(&self.config.principal, job)?;
        self.batch.remove(&job.id());
        self.unfollow(job.id());
        self.status(now, world, id, std::iter::once(job));
        Ok(())
    }

    pub(super) fn check(
        &mut self,
        now: Now,
        world: World<'_>,
        id: &RequestId,
        check: StatusCheck,
    ) -> Result<(), ErrorResponse> {
        match check {
            StatusCheck { download_id: Some(job), .. } => {
                let job = world.table.own(&self.config.principal, job)?;
                self.status(now, world, id, std::iter::once(job));
            }
            StatusCheck { scope: Scope::Session, .. } => {
                let mut jobs: Vec<&Job> =
                    self.attachments.keys().filter_map(|job| world.table.job(*job)).collect();
                jobs.sort_by_key(|job| std::cmp::Reverse((job.record().created_ms, job.id())));
                self.status(now, world, id, jobs.into_iter());
            }
            StatusCheck { scope: Scope::All, .. } => {
                let max = self.config.limits.status_jobs_max;
                let page = world.table.list(&self.config.principal, None, None, max);
                let jobs = page.ids.into_iter().filter_map(|job| world.table.job(job));
                self.status(now, world, id, jobs);
            }
        }
        Ok(())
    }

    /// Answers with `download:start` and begins to tell of the job.
    pub(super) fn attach(
        &mut self,
        now: Now,
        world: World<'_>,
        id: &RequestId,
        job: &Job,
        how: Start,
    ) -> Result<(), ErrorResponse> {
        let is_new = !self.attachments.contains_key(&job.id());
        let max = self.config.limits.attachments_max;
        // Room that a request under way was promised is kept for it.
        let promised = if how == Start::Attached { self.creating } else { 0 };
        if is_new && !job.state().is_final() && self.attachments.len() + promised >= max {
            let message = format!("a connection follows at most {max} downloads; detach from some");
            return Err(ErrorResponse::new(ErrorCode::LimitExceeded, message));
        }
        let mut start = view::start(world.table, world.urls, now.wall_ms, job);
        start.duplicate = how == Start::Duplicate;
        start.attached = how == Start::Attached;
        self.send(now, ServerEvent::DownloadStart, id, &start);
        let request_id = job.record().request_id.clone();
        if job.state().is_final() {
            self.finish(now, world, &request_id, job);
            return Ok(());
        }
        // The first update goes past the batch: a user sees life at once.
        let update = view::update(job);
        self.batch.remove(&job.id());
        self.send(now, ServerEvent::DownloadProgress, &request_id, &update);
        let attachment = Attachment { request_id, state: job.state(), sent: Some(update) };
        self.attachments.insert(job.id(), attachment);
        if is_new {
            self.out.push_back(Output::Follow(job.id()));
        }
        Ok(())
    }

    /// Sends a `status:update` about these jobs; the first ones when not all fit a message.
    pub(super) fn status<'j>(
        &mut self,
        now: Now,
        world: World<'_>,
        id: &RequestId,
        jobs: impl Iterator<Item = &'j Job>,
    ) {
        let room = self.config.sent_bytes_max.saturating_sub(STATUS_SLACK_BYTES);
        let mut active_downloads = BTreeMap::new();
        let mut used = 0_usize;
        for job in jobs {
            let status = view::status(world.table, world.urls, now.wall_ms, job);
            // Written once: to be measured here and as it is into the message.
            let Ok(status) = serde_json::value::to_raw_value(&status) else { continue };
            used = used.saturating_add(status.get().len() + 32);
            if used > room && !active_downloads.is_empty() {
                break;
            }
            active_downloads.insert(job.id(), status);
        }
        let state = SessionState {
            connected: true,
            last_heartbeat: self.heard_wall_ms,
            active_downloads,
            system_health: world.health.clone(),
        };
        self.send(now, ServerEvent::StatusUpdate, id, &state);
    }
}
