//! Runs exports: worker pool, ordered emission, external sort, part files, durable jobs.

mod emit;
mod jobs;
mod pace;
mod pipeline;
mod plan;
mod preview;
mod run;
mod sort;

pub use jobs::{Accepted, Catalog, JobRequest, Jobs, JobsConfig, JobsError, OnChange, Work, WorkError};
pub use run::{Checkpoint, Control, Export, ExportError, Part, Preview, Sink, Summary};
