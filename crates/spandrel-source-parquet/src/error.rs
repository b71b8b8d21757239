//! Why a data set could not be opened.

use std::io;

/// A data set could not be opened; nothing is served from it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// No file is there.
    #[error("data set {dataset}: no {what} found at {path}")]
    Missing {
        /// Name of the data set.
        dataset: String,
        /// What was looked for.
        what: &'static str,
        /// Where.
        path: String,
    },
    /// A file could not be read.
    #[error("data set {dataset}: {file}: {source}")]
    Io {
        /// Name of the data set.
        dataset: String,
        /// File name.
        file: String,
        /// Reason.
        source: io::Error,
    },
    /// A file is not what its format says, or not what the configuration says.
    #[error("data set {dataset}: {file}: {what}")]
    Invalid {
        /// Name of the data set.
        dataset: String,
        /// File name.
        file: String,
        /// What was expected and what came.
        what: String,
    },
    /// The configuration does not fit the files.
    #[error("data set {dataset}: {what}")]
    Config {
        /// Name of the data set.
        dataset: String,
        /// What to change.
        what: String,
    },
}
