//! Runs exports: worker pool, ordered emission, external sort, part files, durable jobs.
