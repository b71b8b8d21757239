//! Runs exports: worker pool, ordered emission, external sort, part files, durable jobs.

mod emit;
mod pace;
mod pipeline;
mod plan;
mod preview;
mod run;
mod sort;

pub use run::{Checkpoint, Control, Export, ExportError, Part, Preview, Sink, Summary};
