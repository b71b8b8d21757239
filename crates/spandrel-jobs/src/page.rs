//! Lists of jobs by pages.

#[cfg(doc)]
use crate::JobTable;
use crate::{DownloadId, Job};

/// One page of [`JobTable::list`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Newest first.
    pub ids: Vec<DownloadId>,
    /// Where the next page begins, if there is one.
    pub next: Option<Cursor>,
}

/// Place in a list; opaque text on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    pub(crate) created_ms: u64,
    pub(crate) id: DownloadId,
}

impl Cursor {
    /// The place of a job: a page after it begins with the next older one.
    pub fn of(job: &Job) -> Self {
        Self { created_ms: job.record.created_ms, id: job.id() }
    }

    /// Reads what [`Display`](std::fmt::Display) wrote; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let (created, id) = text.split_once('.')?;
        let cursor = Self { created_ms: created.parse().ok()?, id: id.parse().ok()? };
        // Numbers have other spellings, too.
        (cursor.to_string() == text).then_some(cursor)
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.created_ms, self.id)
    }
}
