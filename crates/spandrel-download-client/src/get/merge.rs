//! Several parts into one file, each format by its own rule (protocol section 7).

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// How parts of one kind are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Merge {
    /// One after the other: NDJSON lines, zstd frames.
    Append,
    /// Byte order marks and headers of later parts are left out.
    Csv { has_header: bool },
    /// One pair of brackets around all rows.
    Json,
}

impl Merge {
    /// Writes beside `to` first, so that `to` appears only when whole.
    pub(crate) fn run(self, parts: &[PathBuf], to: &Path) -> io::Result<()> {
        let mut name = to.file_name().unwrap_or_default().to_owned();
        name.push(".merging");
        let beside = to.with_file_name(name);
        let mut out = BufWriter::with_capacity(256 << 10, File::create(&beside)?);
        let outcome = match self {
            Self::Append => {
                parts.iter().try_for_each(|part| io::copy(&mut File::open(part)?, &mut out).map(drop))
            }
            Self::Csv { has_header } => parts.iter().enumerate().try_for_each(|(i, part)| {
                let mut part = BufReader::with_capacity(256 << 10, File::open(part)?);
                if i > 0 {
                    skip_bom(&mut part)?;
                    if has_header {
                        skip_record(&mut part)?;
                    }
                }
                io::copy(&mut part, &mut out).map(drop)
            }),
            Self::Json => join_arrays(parts, &mut out),
        };
        let outcome = outcome.and_then(|()| out.into_inner()?.sync_all());
        if let Err(e) = outcome {
            let _ = fs::remove_file(&beside);
            return Err(e);
        }
        fs::rename(&beside, to)
    }
}

fn skip_bom(part: &mut impl BufRead) -> io::Result<()> {
    if part.fill_buf()?.starts_with("\u{feff}".as_bytes()) {
        part.consume(3);
    }
    Ok(())
}

/// A header may have line ends inside quotes, so a record ends at the first LF outside of them.
fn skip_record(part: &mut impl BufRead) -> io::Result<()> {
    let mut is_quoted = false;
    loop {
        let buffer = part.fill_buf()?;
        if buffer.is_empty() {
            return Ok(());
        }
        let end = buffer.iter().position(|b| {
            is_quoted ^= *b == b'"';
            *b == b'\n' && !is_quoted
        });
        let (used, is_over) = end.map_or((buffer.len(), false), |at| (at + 1, true));
        part.consume(used);
        if is_over {
            return Ok(());
        }
    }
}

/// A part is `[` LF rows LF `]` LF, or `[]` LF without rows.
fn join_arrays(parts: &[PathBuf], out: &mut impl Write) -> io::Result<()> {
    let mut is_first = true;
    for part in parts {
        let mut part = File::open(part)?;
        let len = part.metadata()?.len();
        let (mut head, mut tail) = ([0; 2], [0; 3]);
        if len == 3 {
            part.read_exact(&mut tail)?;
            if tail != *b"[]\n" {
                return Err(not_a_part());
            }
            continue;
        }
        if len < 7 {
            return Err(not_a_part());
        }
        part.read_exact(&mut head)?;
        part.seek(SeekFrom::End(-3))?;
        part.read_exact(&mut tail)?;
        if (head, tail) != (*b"[\n", *b"\n]\n") {
            return Err(not_a_part());
        }
        out.write_all(if is_first { b"[\n" } else { b",\n" })?;
        is_first = false;
        part.seek(SeekFrom::Start(2))?;
        io::copy(&mut part.take(len - 5), out)?;
    }
    out.write_all(if is_first { b"[]\n" } else { b"\n]\n" })
}

fn not_a_part() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a part is not an array as servers of this protocol write it")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn join(merge: Merge, parts: &[&str]) -> io::Result<String> {
        let directory = tempfile::tempdir()?;
        let parts: Vec<PathBuf> = parts
            .iter()
            .enumerate()
            .map(|(i, text)| {
                let path = directory.path().join(i.to_string());
                fs::write(&path, text).map(|()| path)
            })
            .collect::<io::Result<_>>()?;
        let to = directory.path().join("out");
        let outcome = merge.run(&parts, &to);
        assert!(!directory.path().join("out.merging").exists());
        assert_eq!(outcome.is_ok(), to.exists());
        outcome.and_then(|()| fs::read_to_string(to))
    }

    #[test]
    fn csv_keeps_one_header() {
        let csv = |has_header| Merge::Csv { has_header };
        for (name, has_header, parts, want) in [
            ("plain", true, ["a,b\r\n1,2\r\n", "a,b\r\n3,4\r\n"], "a,b\r\n1,2\r\n3,4\r\n"),
            (
                "line end in a name",
                true,
                ["\"a\r\nb\"\r\n1\r\n", "\"a\r\nb\"\r\n2\r\n"],
                "\"a\r\nb\"\r\n1\r\n2\r\n",
            ),
            (
                "quote in a name",
                true,
                ["\"a\"\"\r\n\"\r\n1\r\n", "\"a\"\"\r\n\"\r\n2\r\n"],
                "\"a\"\"\r\n\"\r\n1\r\n2\r\n",
            ),
            ("no header", false, ["1\r\n", "2\r\n"], "1\r\n2\r\n"),
            ("marks", true, ["\u{feff}a\r\n1\r\n", "\u{feff}a\r\n2\r\n"], "\u{feff}a\r\n1\r\n2\r\n"),
            ("header only", true, ["a\r\n1\r\n", "a\r\n"], "a\r\n1\r\n"),
        ] {
            assert_eq!(join(csv(has_header), &parts).unwrap(), want, "{name}");
        }
    }

    #[test]
    fn json_has_one_pair_of_brackets() {
        for (parts, want) in [
            (
                &["[\n{\"a\":1},\n{\"a\":2}\n]\n", "[\n{\"a\":3}\n]\n"][..],
                "[\n{\"a\":1},\n{\"a\":2},\n{\"a\":3}\n]\n",
            ),
            (&["[]\n", "[\n{}\n]\n", "[]\n"], "[\n{}\n]\n"),
            (&["[]\n", "[]\n"], "[]\n"),
        ] {
            assert_eq!(join(Merge::Json, parts).unwrap(), want);
        }
        for bad in ["", "{}\n", "[{}]\n", "[\n{}]\n\n", "[] \n"] {
            assert!(join(Merge::Json, &["[]\n", bad]).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn lines_follow_each_other() {
        assert_eq!(join(Merge::Append, &["{}\n", "", "{\"a\":1}\n"]).unwrap(), "{}\n{\"a\":1}\n");
    }
}
