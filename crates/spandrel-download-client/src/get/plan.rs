//! Where the parts of a job go, and what becomes of them there.

use std::path::{Path, PathBuf};

use spandrel_download_protocol::{
    Codec, DownloadComplete, DownloadId, DownloadRequest, DownloadStart, FileInfo, Format,
};

use super::merge::Merge;
use super::{GetError, GetEvent, GetOptions};
use crate::{Client, ClientError};

pub(super) fn codec_of(request: &DownloadRequest) -> Option<&str> {
    request.compression.then(|| request.options.codec.as_deref().unwrap_or(Codec::Gzip.as_str()))
}

/// `has_header` is `None` where nobody knows.
pub(super) fn how_to_merge(
    format: &str,
    codec: Option<&str>,
    has_header: Option<bool>,
) -> Result<Merge, GetError> {
    let format = Format::parse(format);
    match (format, codec.map(Codec::parse)) {
        (Some(Format::Ndjson), None | Some(Some(Codec::Zstd))) => Ok(Merge::Append),
        (Some(Format::Csv), None) => Ok(Merge::Csv { has_header }),
        (Some(Format::Csv), Some(Some(Codec::Zstd))) if has_header == Some(false) => Ok(Merge::Append),
        (Some(Format::Csv), Some(Some(Codec::Zstd))) if has_header.is_none() => Err(GetError::Usage(
            "zstd parts of csv can be joined only if they have no header: say so with --no-header, \
             or keep the parts"
                .to_owned(),
        )),
        (Some(Format::Json), None) => Ok(Merge::Json),
        // Several gzip members are one gzip file by RFC 1952, but browsers and several runtimes stop after the
        // first: a file that silently loses rows is worse than none.
        (_, Some(Some(Codec::Gzip))) => Err(GetError::Usage(
            "gzip parts are not joined: many readers stop after the first part; \
             use ndjson with zstd, no compression, or keep the parts"
                .to_owned(),
        )),
        _ => Err(GetError::Usage(
            "these compressed parts cannot be joined without unpacking them; \
             use ndjson with zstd, no compression, or keep the parts"
                .to_owned(),
        )),
    }
}

/// Where the parts go.
pub(super) struct Plan {
    directory: Option<PathBuf>,
    file: Option<PathBuf>,
    merge: Option<Merge>,
}

impl Plan {
    pub(super) fn new(
        client: &Client,
        options: &GetOptions,
        start: &DownloadStart,
        has_header: Option<bool>,
    ) -> Result<Self, GetError> {
        let merge = options
            .merge
            .then(|| how_to_merge(&start.output_format, start.codec.as_deref(), has_header))
            .transpose()?;
        let is_directory = |path: &Path| path.is_dir() || path.as_os_str().as_encoded_bytes().ends_with(b"/");
        let plan = match &options.output {
            None => Self { directory: Some(PathBuf::from(".")), file: None, merge },
            Some(path) if is_directory(path) => Self { directory: Some(path.clone()), file: None, merge },
            Some(path) => Self { directory: None, file: Some(path.clone()), merge },
        };
        if start.total_rows_exact {
            plan.check(start.files.len(), start.download_id)?;
        }
        for file in start.files.iter().filter(|file| !file.url.is_empty()) {
            // Better told before an hour of rows than after.
            client.http.reaches(&file.url)?;
        }
        Ok(plan)
    }

    fn check(&self, parts: usize, id: DownloadId) -> Result<(), GetError> {
        if parts > 1 && self.directory.is_none() && self.merge.is_none() {
            return Err(GetError::Usage(format!(
                "job {id} has {parts} parts: name a directory (ending with /) for them, or join them with --merge"
            )));
        }
        Ok(())
    }

    pub(super) async fn fetch(
        &self,
        client: &Client,
        complete: &DownloadComplete,
        report: &mut impl FnMut(GetEvent<'_>),
    ) -> Result<Vec<PathBuf>, GetError> {
        let files = &complete.files;
        self.check(files.len(), complete.download_id)?;
        for file in files {
            safe_name(&file.file_name)?;
        }
        match (&self.merge, files.as_slice()) {
            (Some(merge), [first, _, ..]) => {
                let target = match (&self.file, &self.directory) {
                    (Some(file), _) => file.clone(),
                    (None, directory) => {
                        directory.as_deref().unwrap_or(Path::new(".")).join(merged_name(&first.file_name))
                    }
                };
                self.fetch_and_merge(client, complete, *merge, &target, report).await
            }
            (_, [only]) if self.file.is_some() => {
                let target = self.file.clone().unwrap_or_default();
                make_directory(target.parent()).await?;
                fetch_one(client, complete, only, &target, report).await?;
                Ok(vec![target])
            }
            _ => {
                let directory = self.directory.clone().unwrap_or_default();
                fetch_all(client, complete, &directory, report).await
            }
        }
    }

    async fn fetch_and_merge(
        &self,
        client: &Client,
        complete: &DownloadComplete,
        merge: Merge,
        target: &Path,
        report: &mut impl FnMut(GetEvent<'_>),
    ) -> Result<Vec<PathBuf>, GetError> {
        let mut name = target.file_name().unwrap_or_default().to_owned();
        name.push(".parts");
        let directory = target.with_file_name(name);
        let parts = fetch_all(client, complete, &directory, report).await?;
        report(GetEvent::Merging);
        let to = target.to_owned();
        let rows = complete.files.first().map_or(0, |first| first.rows);
        let joined = tokio::task::spawn_blocking(move || {
            merge.run(&parts, rows, &to)?;
            parts.iter().try_for_each(std::fs::remove_file)
        });
        let outcome = joined.await.unwrap_or_else(|e| Err(std::io::Error::other(e)));
        outcome.map_err(|source| GetError::Merge {
            path: target.to_owned(),
            parts: directory.clone(),
            source,
        })?;
        // Something else may lie there; then it stays.
        let _ = tokio::fs::remove_dir(&directory).await;
        Ok(vec![target.to_owned()])
    }
}

async fn fetch_all(
    client: &Client,
    complete: &DownloadComplete,
    directory: &Path,
    report: &mut impl FnMut(GetEvent<'_>),
) -> Result<Vec<PathBuf>, GetError> {
    make_directory(Some(directory)).await?;
    let mut out = Vec::new();
    for file in &complete.files {
        let target = directory.join(&file.file_name);
        fetch_one(client, complete, file, &target, report).await?;
        out.push(target);
    }
    Ok(out)
}

async fn fetch_one(
    client: &Client,
    complete: &DownloadComplete,
    file: &FileInfo,
    target: &Path,
    report: &mut impl FnMut(GetEvent<'_>),
) -> Result<(), GetError> {
    let on_bytes = |have| report(GetEvent::Bytes { file, have });
    client.fetch_file(complete.download_id, file, target, on_bytes).await?;
    Ok(())
}

async fn make_directory(path: Option<&Path>) -> Result<(), GetError> {
    let Some(path) = path.filter(|p| !p.as_os_str().is_empty()) else { return Ok(()) };
    tokio::fs::create_dir_all(path).await.map_err(ClientError::file(path))?;
    Ok(())
}

/// A server names files; it does not choose directories.
fn safe_name(name: &str) -> Result<(), GetError> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    if name.is_empty() || name.starts_with('.') || name.len() > 255 || !name.bytes().all(plain) {
        let why = format!("the server names a file {:?}", name.chars().take(64).collect::<String>());
        return Err(ClientError::Http(why).into());
    }
    Ok(())
}

/// `a-part00001.csv` becomes `a.csv`.
fn merged_name(first: &str) -> String {
    match first.rsplit_once("-part") {
        Some((head, tail)) => {
            format!("{head}{}", tail.trim_start_matches(|c: char| c.is_ascii_digit()))
        }
        None => format!("merged-{first}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_a_server_stay_in_their_directory() {
        for bad in ["", ".", "..", "../x", "a/b", "a\\b", ".bashrc", "a\0b", "é"] {
            assert!(safe_name(bad).is_err(), "{bad:?}");
        }
        assert!(safe_name("logs_20240301T000000Z_20240302T000000Z-part00001.csv.gz").is_ok());
        assert_eq!(merged_name("a_b-part00001.csv"), "a_b.csv");
    }

    #[test]
    fn what_can_be_joined() {
        for (format, codec, header, good) in [
            ("csv", None, Some(true), true),
            ("csv", None, None, true),
            ("json", None, Some(true), true),
            ("ndjson", None, Some(true), true),
            ("ndjson", Some("zstd"), None, true),
            ("csv", Some("zstd"), Some(false), true),
            ("csv", Some("zstd"), Some(true), false),
            ("csv", Some("zstd"), None, false),
            ("json", Some("zstd"), Some(true), false),
            ("ndjson", Some("gzip"), Some(true), false),
            ("csv", Some("gzip"), Some(false), false),
            ("parquet", None, Some(true), false),
        ] {
            assert_eq!(how_to_merge(format, codec, header).is_ok(), good, "{format} {codec:?} {header:?}");
        }
    }
}
