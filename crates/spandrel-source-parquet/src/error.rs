//! Why a data set could not be opened.

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use spandrel_export::SourceError;

/// A data set could not be opened; nothing is served from it.
///
/// Written for the operator: messages name paths and show what was found. Whatever a client may see is a
/// [`SourceError`], which does neither.
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
    /// A file or folder could not be read.
    #[error("data set {dataset}: {file}: {source}")]
    Io {
        /// Name of the data set.
        dataset: String,
        /// Path of the file.
        file: String,
        /// Reason.
        source: io::Error,
    },
    /// A file is not what its format says, or not what the configuration says.
    #[error("data set {dataset}: {file}: {what}{}", shown(found))]
    Invalid {
        /// Name of the data set.
        dataset: String,
        /// Path of the file.
        file: String,
        /// Where in the file, and what was expected.
        what: String,
        /// What came instead, if that is content of the file.
        found: Option<String>,
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

impl OpenError {
    /// The same for a client: file names without folders, nothing of what the files hold.
    pub(crate) fn to_source(&self) -> SourceError {
        match self {
            Self::Missing { what, .. } => SourceError::Unreadable { what: format!("no {what} found") },
            Self::Io { file, source, .. } => {
                SourceError::Unreadable { what: format!("{}: {}", name_of(Path::new(file)), source.kind()) }
            }
            Self::Invalid { file, what, .. } => {
                SourceError::Invalid { what: format!("{}: {what}", name_of(Path::new(file))) }
            }
            Self::Config { what, .. } => SourceError::Invalid { what: what.clone() },
        }
    }
}

/// What is wrong with one file, whose path its caller knows.
#[derive(Debug)]
pub(crate) enum FileError {
    Io(io::Error),
    Invalid { what: String, found: Option<String> },
}

impl FileError {
    pub(crate) fn invalid(what: impl fmt::Display) -> Self {
        Self::Invalid { what: what.to_string(), found: None }
    }

    pub(crate) fn into_open(self, dataset: &str, path: &Path) -> OpenError {
        let (dataset, file) = (dataset.to_owned(), path.display().to_string());
        match self {
            Self::Io(source) => OpenError::Io { dataset, file, source },
            Self::Invalid { what, found } => OpenError::Invalid { dataset, file, what, found },
        }
    }

    /// For a file that belongs to a snapshot: what is not there or not the same any more has changed, anything else
    /// may work when tried again.
    pub(crate) fn of_snapshot(&self, path: &Path) -> SourceError {
        let name = name_of(path);
        match self {
            Self::Io(e) if is_gone(e) => {
                SourceError::Changed { what: format!("{name} is gone or cut short") }
            }
            Self::Io(e) => SourceError::Unreadable { what: format!("{name}: {}", e.kind()) },
            Self::Invalid { what, .. } => SourceError::Changed { what: format!("{name}: {what}") },
        }
    }
}

impl From<io::Error> for FileError {
    fn from(e: io::Error) -> Self {
        Self::Io(e)
    }
}

/// Runs the Parquet reader. It may panic over a damaged file, which is not worth a process.
pub(crate) fn careful<T>(read: impl FnOnce() -> Result<T, SourceError>) -> Result<T, SourceError> {
    catch_unwind(AssertUnwindSafe(read))
        .unwrap_or_else(|_| Err(SourceError::Invalid { what: "a file is damaged".to_owned() }))
}

fn is_gone(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::UnexpectedEof)
}

/// The last part of a path.
pub(crate) fn name_of(path: &Path) -> String {
    path.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned())
}

fn shown(found: &Option<String>) -> String {
    found.as_ref().map_or_else(String::new, |found| format!(", found {found:?}"))
}
