//! Which files a path names: one file, a directory of one format, or a glob.

use std::path::{Path, PathBuf};

use crate::{FileFormat, OpenError};

/// Files of a data set in byte order of their paths, and their format.
pub(crate) fn find(
    dataset: &str,
    path: &Path,
    format: Option<FileFormat>,
) -> Result<(Vec<PathBuf>, FileFormat), OpenError> {
    let missing =
        |what| OpenError::Missing { dataset: dataset.to_owned(), what, path: path.display().to_string() };
    let mut files: Vec<PathBuf> = if path.is_dir() {
        let entries = std::fs::read_dir(path).map_err(|source| OpenError::Io {
            dataset: dataset.to_owned(),
            file: path.display().to_string(),
            source,
        })?;
        entries.filter_map(Result::ok).map(|e| e.path()).filter(|p| p.is_file() && !is_hidden(p)).collect()
    } else if path.is_file() {
        vec![path.to_owned()]
    } else {
        let pattern = path.to_string_lossy();
        let paths = glob::glob(&pattern).map_err(|e| OpenError::Config {
            dataset: dataset.to_owned(),
            what: format!("{pattern} is neither a file nor a directory nor a glob: {e}"),
        })?;
        paths.filter_map(Result::ok).filter(|p| p.is_file() && !is_hidden(p)).collect()
    };
    let format = match format.or_else(|| files.iter().find_map(|p| FileFormat::of(p))) {
        Some(format) => format,
        None if files.is_empty() => return Err(missing("file")),
        None => {
            return Err(OpenError::Config {
                dataset: dataset.to_owned(),
                what: "the format is not clear from the file names: set \"format\" to \"parquet\" or \"csv\""
                    .to_owned(),
            });
        }
    };
    if !path.is_file() {
        files.retain(|p| FileFormat::of(p) == Some(format));
    }
    files.sort_by(|a, b| a.as_os_str().as_encoded_bytes().cmp(b.as_os_str().as_encoded_bytes()));
    if files.is_empty() {
        return Err(missing(if format == FileFormat::Csv { "CSV file" } else { "Parquet file" }));
    }
    Ok((files, format))
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|n| matches!(n.as_encoded_bytes().first(), Some(b'.' | b'_')))
}
