//! Runs exports: worker pool, ordered emission, external sort, part files, durable jobs.

mod run;

pub use run::{Checkpoint, Control, Export, ExportError, Part, Preview, Sink, Summary};
