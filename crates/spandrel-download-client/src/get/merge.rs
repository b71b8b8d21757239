//! Several parts into one file, each format by its own rule (protocol section 7).

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// How parts of one kind are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Merge {
    /// One after the other: NDJSON lines, zstd frames.
    Append,
    /// Byte order marks and headers of later parts are left out. Where nobody knows whether there are headers, the
    /// rows announced for the first part tell.
    Csv { has_header: Option<bool> },
    /// One pair of brackets around all rows.
    Json,
}

impl Merge {
    /// Writes beside `to` first, so that `to` appears only when whole. The first part has `rows` rows.
    pub(crate) fn run(self, parts: &[PathBuf], rows: u64, to: &Path) -> io::Result<()> {
        let mut name = to.file_name().unwrap_or_default().to_owned();
        name.push(".merging");
        let beside = to.with_file_name(name);
        let mut out = BufWriter::with_capacity(256 << 10, File::create(&beside)?);
        let outcome = match self {
            Self::Append => {
                parts.iter().try_for_each(|part| io::copy(&mut File::open(part)?, &mut out).map(drop))
            }
            Self::Csv { has_header } => join_tables(parts, has_header, rows, &mut out),
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

fn join_tables(
    parts: &[PathBuf],
    has_header: Option<bool>,
    rows: u64,
    out: &mut impl Write,
) -> io::Result<()> {
    let open = |part: &PathBuf| Ok::<_, io::Error>(BufReader::with_capacity(256 << 10, File::open(part)?));
    let Some((first, later)) = parts.split_first() else { return Ok(()) };
    let header = header_len(&mut open(first)?, has_header, rows)?;
    io::copy(&mut open(first)?, out)?;
    for part in later {
        let mut part = open(part)?;
        skip_bom(&mut part)?;
        skip_header(&mut part, &mut open(first)?, header)?;
        io::copy(&mut part, out)?;
    }
    Ok(())
}

fn skip_bom(part: &mut impl BufRead) -> io::Result<()> {
    if part.fill_buf()?.starts_with("\u{feff}".as_bytes()) {
        part.consume(3);
    }
    Ok(())
}

/// Bytes of the header of the first part, after its byte order mark; 0 if it has none.
fn header_len(first: &mut impl BufRead, has_header: Option<bool>, rows: u64) -> io::Result<u64> {
    skip_bom(first)?;
    match has_header {
        Some(false) => Ok(0),
        Some(true) => Ok(records(first, 1)?.1),
        None => match records(first, rows.saturating_add(2))? {
            (count, _) if count == rows => Ok(0),
            (count, header) if count.checked_sub(1) == Some(rows) => Ok(header),
            _ => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the first part has neither as many records as the server said nor one more for a header; \
                 if it has no header, say so",
            )),
        },
    }
}

/// Counts records up to `most`, and the bytes of the first: one ends at the first LF outside of quotes, for fields
/// may have line ends inside.
fn records(part: &mut impl BufRead, most: u64) -> io::Result<(u64, u64)> {
    let (mut count, mut read, mut first, mut is_quoted) = (0, 0, 0, false);
    while count < most {
        let buffer = part.fill_buf()?;
        if buffer.is_empty() {
            break;
        }
        for b in buffer {
            read += 1;
            is_quoted ^= *b == b'"';
            if *b == b'\n' && !is_quoted {
                count += 1;
                first = if count == 1 { read } else { first };
            }
        }
        let used = buffer.len();
        part.consume(used);
    }
    Ok((count.min(most), first))
}

/// Leaves out the next `len` bytes if the first part begins with the same: what differs is a row.
fn skip_header(part: &mut (impl BufRead + Seek), first: &mut impl BufRead, len: u64) -> io::Result<()> {
    skip_bom(first)?;
    let (start, mut left) = (part.stream_position()?, len);
    while left > 0 {
        let (here, there) = (part.fill_buf()?, first.fill_buf()?);
        let used = here.len().min(there.len()).min(usize::try_from(left).unwrap_or(usize::MAX));
        if used == 0 || here.get(..used) != there.get(..used) {
            part.seek(SeekFrom::Start(start))?;
            return Ok(());
        }
        part.consume(used);
        first.consume(used);
        left -= used as u64;
    }
    Ok(())
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
        join_with(merge, 1, parts)
    }

    fn join_with(merge: Merge, rows: u64, parts: &[&str]) -> io::Result<String> {
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
        let outcome = merge.run(&parts, rows, &to);
        assert!(!directory.path().join("out.merging").exists());
        assert_eq!(outcome.is_ok(), to.exists());
        outcome.and_then(|()| fs::read_to_string(to))
    }

    #[test]
    fn csv_keeps_one_header() {
        let csv = |has_header| Merge::Csv { has_header: Some(has_header) };
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
            ("no header after all", true, ["1,a\r\n", "1,b\r\n2,c\r\n"], "1,a\r\n1,b\r\n2,c\r\n"),
            ("one after a mark", true, ["a\r\n1\r\n", "\u{feff}a\r\n2\r\n"], "a\r\n1\r\n2\r\n"),
        ] {
            assert_eq!(join(csv(has_header), &parts).unwrap(), want, "{name}");
        }
    }

    #[test]
    fn rows_announced_tell_whether_there_is_a_header() {
        for (name, rows, parts, want) in [
            ("header", 1, ["a\r\n1\r\n", "a\r\n2\r\n"], Some("a\r\n1\r\n2\r\n")),
            ("none", 2, ["1\r\n2\r\n", "3\r\n"], Some("1\r\n2\r\n3\r\n")),
            ("none, and rows that look alike", 2, ["a\r\n1\r\n", "a\r\n2\r\n"], Some("a\r\n1\r\na\r\n2\r\n")),
            ("line ends in rows", 1, ["a\r\n\"1\n\n\"\r\n", "a\r\n2\r\n"], Some("a\r\n\"1\n\n\"\r\n2\r\n")),
            ("header only", 0, ["a\r\n", "a\r\n2\r\n"], Some("a\r\n2\r\n")),
            ("too many", 1, ["a\r\n1\r\n2\r\n", "a\r\n2\r\n"], None),
            ("too few", 2, ["a\r\n", "a\r\n2\r\n"], None),
        ] {
            let joined = join_with(Merge::Csv { has_header: None }, rows, &parts);
            assert_eq!(joined.ok().as_deref(), want, "{name}");
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
