//! Where files are fetched: plain URLs when everybody may, signed ones otherwise (protocol section 12.3).

use spandrel_download::{FileUrl, Urls};
use spandrel_http::UrlSigner;
use spandrel_jobs::{DownloadId, Job};

#[derive(Debug)]
pub(crate) struct FileUrls {
    pub(crate) signer: UrlSigner,
    /// Hand out signatures.
    pub(crate) is_signing: bool,
    pub(crate) ttl_ms: u64,
    /// In front of every path; without a slash at the end, often empty.
    pub(crate) base: String,
}

/// The path of a file: names of parts need no escaping.
pub(crate) fn file_path(id: DownloadId, file_name: &str) -> String {
    format!("/v1/files/{id}/{file_name}")
}

impl Urls for FileUrls {
    fn file_url(&self, job: &Job, file_name: &str, wall_ms: u64, file_expires_ms: u64) -> FileUrl {
        let path = file_path(job.id(), file_name);
        if !self.is_signing {
            return FileUrl { url: format!("{}{path}", self.base), expires_ms: file_expires_ms };
        }
        let exp_s = wall_ms.saturating_add(self.ttl_ms) / 1_000;
        let query = self.signer.sign(&path, exp_s);
        FileUrl { url: format!("{}{path}?{query}", self.base), expires_ms: exp_s.saturating_mul(1_000) }
    }
}
