//! What the system allows this process.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// 2048 connections, as many again that are just being turned away or closed, and room for files, the parent and the rest.
pub(crate) const DESCRIPTORS_WANTED: u64 = 2 * 2048 + 64;

/// How many descriptors may be open; `None`: any number.
pub(crate) struct DescriptorLimit {
    pub(crate) hard: Option<u64>,
}

pub(crate) fn descriptor_limit() -> DescriptorLimit {
    DescriptorLimit { hard: getrlimit(Resource::Nofile).maximum }
}

/// Raises the soft limit as far as is wanted and allowed. Desktop systems start programs with 256 or 1024.
pub(crate) fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(DESCRIPTORS_WANTED, |hard| hard.min(DESCRIPTORS_WANTED));
    if limit.current.is_some_and(|soft| soft < wanted) {
        let raised = Rlimit { current: Some(wanted), maximum: limit.maximum };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::warn!(%error, wanted, "the limit of open files stays as it is");
        }
    }
}
