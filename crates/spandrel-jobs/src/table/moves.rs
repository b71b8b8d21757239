//! Changes of state and what follows from them: slots, files, deadlines.

use super::{JobTable, Output, PART_BYTES};
use crate::job::{Run, Wish};
use crate::{DownloadId, JobState, Now};

impl JobTable {
    /// Moves a job to a state that holds no slot and does what follows from it.
    pub(super) fn settle(&mut self, now: Now, id: DownloadId, state: JobState) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.wish = Wish::Nothing;
        let principal = job.principal().clone();
        let (was, run) = (job.state(), job.run);
        job.enter(now, state);
        self.out.push_back(Output::Persist(id));
        if was == JobState::Pending {
            self.queue.remove(&principal, id);
        }
        if run == Run::Waiting {
            self.free_slot(id);
        }
        if run == Run::Busy {
            self.out.push_back(Output::Stop(id));
        } else if matches!(state, JobState::Failed | JobState::Cancelled | JobState::Expired) {
            self.drop_files(id);
        }
        self.out.push_back(Output::Changed(id));
        self.retain(now, id);
        self.schedule(now);
    }

    pub(super) fn drop_parts(&mut self, id: DownloadId) {
        if let Some(job) = self.jobs.get_mut(&id) {
            self.held_bytes -= job.record.parts.len() * PART_BYTES;
            job.record.parts = Vec::new();
        }
    }

    pub(super) fn drop_files(&mut self, id: DownloadId) {
        self.drop_parts(id);
        self.out.push_back(Output::DeleteFiles(id));
    }

    /// The run of a job that is over has ended at last.
    pub(super) fn clean(&mut self, now: Now, id: DownloadId) {
        self.drop_files(id);
        if self.jobs.get(&id).is_some_and(|job| job.is_deleted) {
            self.remove(id);
        }
        self.schedule(now);
    }

    pub(super) fn forget(&mut self, id: DownloadId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        if let Some(at) = job.retain_until_ms.take() {
            self.deadlines.remove(&(at, id));
        }
        self.out.push_back(Output::Forget(id));
        if job.run == Run::Busy {
            // Invisible from here; the run's end cleans up, and the request id is free again.
            job.is_deleted = true;
            let key = (job.record.principal.clone(), job.record.request_id.clone());
            self.keys.remove(&key);
        } else {
            self.remove(id);
        }
    }

    pub(super) fn requeue(&mut self, now: Now, id: DownloadId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.enter(now, JobState::Pending);
        let principal = job.principal().clone();
        self.out.push_back(Output::Persist(id));
        self.out.push_back(Output::Changed(id));
        self.queue.push(&principal, id);
        self.retain(now, id);
        self.schedule(now);
    }

    /// Fills free slots.
    pub(super) fn schedule(&mut self, now: Now) {
        while !self.is_closed && self.active_len < self.limits.max_active {
            let (active, each) = (&self.active, self.limits.max_active_per_principal);
            let Some(id) = self.queue.pop(|p| active.get(p).copied().unwrap_or(0) < each) else { break };
            let Some(job) = self.jobs.get_mut(&id) else { continue };
            job.run = Run::Busy;
            self.busy.insert(id);
            job.wish = Wish::Nothing;
            job.enter(now, JobState::Generating);
            job.meter.start(now.mono_ms, job.record.rows, job.record.scanned);
            self.take_slot(id);
            self.out.push_back(Output::Start(id));
            self.out.push_back(Output::Changed(id));
        }
    }

    pub(super) fn take_slot(&mut self, id: DownloadId) {
        if let Some(job) = self.jobs.get(&id) {
            *self.active.entry(job.principal().clone()).or_default() += 1;
            self.active_len += 1;
        }
    }

    pub(super) fn free_slot(&mut self, id: DownloadId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.run = Run::Idle;
        self.busy.remove(&id);
        if let Some(at) = job.retry_at_ms.take() {
            self.retries.remove(&(at, id));
        }
        let principal = job.principal().clone();
        if let Some(held) = self.active.get_mut(&principal) {
            *held -= 1;
            if *held == 0 {
                self.active.remove(&principal);
            }
            self.active_len -= 1;
        }
    }

    /// Sets when the job has to be looked at again. How long that is comes from the stamps of the record, so that a
    /// new process goes on counting; the waiting is done by the monotonic clock, and never takes longer than the
    /// whole retention: a wall clock that jumps neither empties the table nor keeps things for years.
    pub(super) fn retain(&mut self, now: Now, id: DownloadId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        if let Some(at) = job.retain_until_ms.take() {
            self.deadlines.remove(&(at, id));
        }
        let keep = &self.retention;
        let record = &job.record;
        let (until, ttl_ms) = match record.state {
            JobState::Pending | JobState::Generating => return,
            JobState::Paused => (record.changed_ms.saturating_add(keep.paused_ttl_ms), keep.paused_ttl_ms),
            JobState::Completed => {
                let until =
                    *job.record.expires_ms.get_or_insert(now.wall_ms.saturating_add(keep.file_ttl_ms));
                (until, keep.file_ttl_ms)
            }
            JobState::Failed | JobState::Cancelled | JobState::Expired => {
                (record.changed_ms.saturating_add(keep.record_ttl_ms), keep.record_ttl_ms)
            }
        };
        let at = now.mono_ms.saturating_add(until.saturating_sub(now.wall_ms).min(ttl_ms));
        job.retain_until_ms = Some(at);
        self.deadlines.insert((at, id));
    }
}
