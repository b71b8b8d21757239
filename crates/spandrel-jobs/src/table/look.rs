//! What can be seen of a table.

use super::JobTable;
use crate::{Cursor, DownloadId, Job, JobError, JobState, Limits, Page, Principal, Record, Retention};

impl JobTable {
    /// The job, whoever owns it.
    pub fn job(&self, id: DownloadId) -> Option<&Job> {
        self.jobs.get(&id).filter(|job| job.is_stored && !job.is_deleted)
    }

    /// The job, if `principal` owns it.
    ///
    /// # Errors
    /// [`JobError::NotFound`].
    pub fn own(&self, principal: &Principal, id: DownloadId) -> Result<&Job, JobError> {
        self.job(id).filter(|job| job.principal() == principal).ok_or(JobError::NotFound)
    }

    /// Record of a job that has to be written, also of one that is not stored yet.
    pub fn record_to_store(&self, id: DownloadId) -> Option<&Record> {
        self.jobs.get(&id).filter(|job| !job.is_deleted).map(Job::record)
    }

    /// Jobs of `principal`, newest first, at most `limit`, beginning after `after`.
    pub fn list(
        &self,
        principal: &Principal,
        state: Option<JobState>,
        after: Option<Cursor>,
        limit: usize,
    ) -> Page {
        use std::ops::Bound::{Excluded, Unbounded};
        let upto = after.map_or(Unbounded, Excluded);
        let mut page = Page { ids: Vec::new(), next: None };
        let mut last = None;
        for cursor in self.order.range((Unbounded, upto)).rev() {
            let Ok(job) = self.own(principal, cursor.id) else { continue };
            if state.is_some_and(|s| s != job.state()) {
                continue;
            }
            if page.ids.len() == limit {
                page.next = last;
                break;
            }
            page.ids.push(cursor.id);
            last = Some(*cursor);
        }
        page
    }

    /// Place among the waiting jobs, from 1.
    pub fn queue_position(&self, id: DownloadId) -> Option<usize> {
        let job = self.job(id).filter(|job| job.state() == JobState::Pending)?;
        self.queue.position(job.principal(), id)
    }

    /// Jobs holding a slot.
    pub fn active_len(&self) -> usize {
        self.active_len
    }

    /// Jobs waiting for a slot.
    pub fn queued_len(&self) -> usize {
        self.queue.len()
    }

    /// Records in the table.
    pub fn len(&self) -> usize {
        self.jobs.len()
    }

    /// What the records cost in memory, in bytes; see [`Limits::record_bytes_max`].
    pub fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Whether there is no job at all.
    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// Limits it was made with.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Retention it was made with.
    pub fn retention(&self) -> &Retention {
        &self.retention
    }

    /// Names of the jobs whose runs were started and are not over.
    pub fn running(&self) -> impl Iterator<Item = DownloadId> {
        self.busy.iter().copied()
    }
}
