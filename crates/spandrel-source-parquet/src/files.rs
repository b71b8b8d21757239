//! Which files a path names: one file, a directory of one format, or a glob.

use std::path::{Path, PathBuf};

use crate::{FileFormat, OpenError};

/// Files of a data set in byte order of their paths, and their format.
pub(crate) fn find(
    dataset: &str,
    path: &Path,
    format: Option<FileFormat>,
) -> Result<(Vec<PathBuf>, FileFormat), OpenError> {
    let config = |what: &str| OpenError::Config { dataset: dataset.to_owned(), what: what.to_owned() };
    let missing =
        |what| OpenError::Missing { dataset: dataset.to_owned(), what, path: path.display().to_string() };
    let (mut files, is_folder) = if path.is_dir() {
        (in_folder(dataset, path)?, true)
    } else if path.is_file() {
        (vec![path.to_owned()], false)
    } else {
        (by_glob(dataset, path)?, false)
    };
    let format = match format {
        Some(format) => format,
        None => {
            let mut found = files.iter().filter_map(|p| FileFormat::of(p));
            let first = found.next();
            if found.any(|f| Some(f) != first) {
                return Err(config(
                    "there are Parquet and CSV files: set \"format\", or name one kind by a glob",
                ));
            }
            match first {
                Some(format) => format,
                None if files.is_empty() => return Err(missing("file")),
                None => {
                    let what = "the format is not clear from the file names: set \"format\" to \"parquet\" or \"csv\"";
                    return Err(config(what));
                }
            }
        }
    };
    if is_folder {
        files.retain(|p| FileFormat::of(p) == Some(format));
    }
    if files.is_empty() {
        return Err(missing(if format == FileFormat::Csv { "CSV file" } else { "Parquet file" }));
    }
    if files.iter().any(|p| p.to_str().is_none()) {
        return Err(config("a file name is not UTF-8: a snapshot could not name it"));
    }
    files.sort_by(|a, b| a.as_os_str().as_encoded_bytes().cmp(b.as_os_str().as_encoded_bytes()));
    Ok((files, format))
}

// An entry that cannot be read is an error, not a file less: its rows would be missing in silence.
fn in_folder(dataset: &str, path: &Path) -> Result<Vec<PathBuf>, OpenError> {
    let failed =
        |source| OpenError::Io { dataset: dataset.to_owned(), file: path.display().to_string(), source };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_file() && !is_hidden(&path) {
            files.push(path);
        }
    }
    Ok(files)
}

fn by_glob(dataset: &str, path: &Path) -> Result<Vec<PathBuf>, OpenError> {
    let paths = glob::glob(&path.to_string_lossy()).map_err(|e| OpenError::Config {
        dataset: dataset.to_owned(),
        what: format!("the path is neither a file nor a directory nor a glob: {e}"),
    })?;
    let mut files = Vec::new();
    for found in paths {
        let path = found.map_err(|e| OpenError::Io {
            dataset: dataset.to_owned(),
            file: e.path().display().to_string(),
            source: e.into(),
        })?;
        if path.is_file() && !is_hidden(&path) {
            files.push(path);
        }
    }
    Ok(files)
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|n| matches!(n.as_encoded_bytes().first(), Some(b'.' | b'_')))
}
