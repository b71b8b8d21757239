//! External sort: rows become keys and text, sorted runs go to scratch files, one merge gives them in order.
//!
//! A key is the sort columns, the time and the row's ordinal (unit, then position), so keys never tie and the order is
//! the same for any number of threads. Memory is the run budget; everything above it is on disk.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read as _, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering as Atomic};
use std::sync::{Arc, Mutex, PoisonError};

use spandrel_download_protocol::{Column, Format, Schema};
use spandrel_export::{Join, KeyWriter, Read, RowWriter, Text, Unit};

use crate::disk::Disk;
use crate::pipeline::{Feed, Item};
use crate::run::{Control, Export, ExportError};

/// Keys and text of all workers together before a run goes to disk.
const RUN_BYTES: usize = if cfg!(test) { 64 << 10 } else { 20 << 20 };
/// Runs merged at once; more are merged in passes. Each holds one read buffer.
const FAN_IN: usize = 96;
const READ_BUFFER: usize = 64 << 10;
/// Rows in a batch while sorting.
const BATCH_ROWS: usize = 4_096;

/// Sorted runs of a whole query.
pub(crate) struct Sorted {
    memory: Vec<Run>,
    files: Vec<RunFile>,
    scratch: Arc<Scratch>,
}

/// Reads every unit and sorts its rows into runs.
pub(crate) fn sort(
    export: &Export,
    schema: &Arc<Schema>,
    units: &[Unit],
    control: &Control,
) -> Result<Sorted, ExportError> {
    let scratch = Arc::new(Scratch::new(&export.scratch, control.disk().clone()));
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let workers = export.workers.clamp(1, units.len().max(1));
    let results = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                let work = || {
                    let mut worker = Worker::new(export, schema, RUN_BYTES / workers, Arc::clone(&scratch));
                    while let Some(unit) = units.get(next.fetch_add(1, Atomic::Relaxed)) {
                        worker.unit(unit, control, &failed)?;
                    }
                    Ok(worker)
                };
                let done = catch_unwind(AssertUnwindSafe(work)).unwrap_or(Err(ExportError::Worker));
                if done.is_err() {
                    failed.store(true, Atomic::Relaxed);
                }
                results.lock().unwrap_or_else(PoisonError::into_inner).push(done);
            });
        }
    });
    let mut sorted = Sorted { memory: Vec::new(), files: Vec::new(), scratch };
    let mut stopped = false;
    for result in results.into_inner().unwrap_or_else(PoisonError::into_inner) {
        match result {
            Ok(mut worker) => {
                worker.run.sort();
                sorted.memory.push(worker.run);
                sorted.files.append(&mut worker.files);
            }
            Err(ExportError::Stopped) => stopped = true,
            Err(e) => return Err(e),
        }
    }
    if stopped { Err(ExportError::Stopped) } else { Ok(sorted) }
}

struct Worker<'a> {
    export: &'a Export,
    columns: Vec<usize>,
    outputs: Vec<usize>,
    key_columns: Vec<usize>,
    keys: KeyWriter,
    writer: RowWriter,
    run: Run,
    budget: usize,
    files: Vec<RunFile>,
    scratch: Arc<Scratch>,
    text: Text,
    text_ends: Vec<u32>,
    key_bytes: Vec<u8>,
    key_ends: Vec<u32>,
}

impl<'a> Worker<'a> {
    fn new(export: &'a Export, schema: &Schema, budget: usize, scratch: Arc<Scratch>) -> Self {
        let keys = KeyWriter::new(&export.query, schema);
        let mut columns = export.query.columns.clone();
        let mut place = |column: usize| {
            columns.iter().position(|c| *c == column).unwrap_or_else(|| {
                columns.push(column);
                columns.len() - 1
            })
        };
        let key_columns = keys.columns().iter().map(|c| place(*c)).collect();
        let printed: Vec<Column> =
            export.query.columns.iter().filter_map(|c| schema.column(*c)).cloned().collect();
        Self {
            outputs: (0..export.query.columns.len()).collect(),
            writer: RowWriter::new(&printed, &export.output),
            export,
            columns,
            key_columns,
            keys,
            // Grown by doubling it would pass the budget by half.
            run: Run { arena: Vec::with_capacity(budget), index: Vec::new() },
            budget,
            files: Vec::new(),
            scratch,
            text: Text::new(),
            text_ends: Vec::new(),
            key_bytes: Vec::new(),
            key_ends: Vec::new(),
        }
    }

    fn unit(&mut self, unit: &Unit, control: &Control, failed: &AtomicBool) -> Result<(), ExportError> {
        let read = Read { query: &self.export.query, columns: &self.columns, batch_rows: BATCH_ROWS };
        let mut batches = self.export.rows.open(&read, unit)?;
        let (mut ordinal, mut told) = (0_u64, 0);
        while let Some(batch) = batches.next() {
            if control.is_stopped() || failed.load(Atomic::Relaxed) {
                return Err(ExportError::Stopped);
            }
            let batch = batch?;
            control.add_scanned(batches.scanned().saturating_sub(told));
            told = batches.scanned();
            let arrow = spandrel_export::ExportError::from;
            let printed = batch.project(&self.outputs).map_err(arrow)?;
            let keyed = batch.project(&self.key_columns).map_err(arrow)?;
            self.text.clear();
            self.text_ends.clear();
            self.key_bytes.clear();
            self.key_ends.clear();
            self.writer.write(
                &printed,
                0..printed.num_rows(),
                Join::Apart(&mut self.text_ends),
                &mut self.text,
            )?;
            self.keys.write(&keyed, &mut self.key_bytes, &mut self.key_ends)?;
            let (mut text_from, mut key_from) = (0, 0);
            for (text_end, key_end) in self.text_ends.iter().zip(&self.key_ends) {
                let text = self.text.as_bytes().get(text_from..*text_end as usize).unwrap_or_default();
                let key = self.key_bytes.get(key_from..*key_end as usize).unwrap_or_default();
                (text_from, key_from) = (*text_end as usize, *key_end as usize);
                self.run.push(key, unit.id, ordinal, text);
                ordinal += 1;
            }
            self.make_room()?;
        }
        control.add_scanned(batches.scanned().saturating_sub(told));
        Ok(())
    }

    /// Rows past the limit can never be asked for; when that is not enough the run goes to disk.
    fn make_room(&mut self) -> Result<(), ExportError> {
        if self.run.bytes() < self.budget {
            return Ok(());
        }
        self.run.sort();
        let limit = self.export.query.limit.and_then(|l| usize::try_from(l).ok());
        if let Some(limit) = limit.filter(|l| l.saturating_mul(2) <= self.run.len()) {
            self.run.keep_first(limit);
            if self.run.bytes() < self.budget / 2 {
                return Ok(());
            }
        }
        let file = self
            .scratch
            .write(|out| self.run.entries().try_for_each(|(key, text)| write_entry(out, key, text)))?;
        self.files.push(file);
        self.run.clear();
        Ok(())
    }
}

/// Rows in memory: one arena and an index that is sorted.
#[derive(Default)]
struct Run {
    arena: Vec<u8>,
    index: Vec<Entry>,
}

#[derive(Clone, Copy)]
struct Entry {
    /// First eight key bytes: decides most comparisons without touching the arena.
    prefix: u64,
    start: u32,
    key_len: u32,
    len: u32,
}

impl Run {
    fn push(&mut self, key: &[u8], unit: u64, ordinal: u64, text: &[u8]) {
        let start = self.arena.len();
        self.arena.extend_from_slice(key);
        self.arena.extend_from_slice(&unit.to_be_bytes());
        self.arena.extend_from_slice(&ordinal.to_be_bytes());
        let key_len = self.arena.len() - start;
        self.arena.extend_from_slice(text);
        let mut prefix = [0; 8];
        for (slot, b) in prefix.iter_mut().zip(key) {
            *slot = *b;
        }
        self.index.push(Entry {
            prefix: u64::from_be_bytes(prefix),
            start: narrow(start),
            key_len: narrow(key_len),
            len: narrow(self.arena.len() - start),
        });
    }

    fn bytes(&self) -> usize {
        self.arena.len() + self.index.len() * size_of::<Entry>()
    }

    fn len(&self) -> usize {
        self.index.len()
    }

    fn clear(&mut self) {
        self.arena.clear();
        self.index.clear();
    }

    fn sort(&mut self) {
        let arena = &self.arena;
        self.index
            .sort_unstable_by(|a, b| a.prefix.cmp(&b.prefix).then_with(|| key(arena, a).cmp(key(arena, b))));
    }

    /// Drops all but the first `rows` of a sorted run; keeps the memory.
    fn keep_first(&mut self, rows: usize) {
        let mut kept = Vec::new();
        self.index.truncate(rows);
        for entry in &mut self.index {
            let from = entry.start as usize;
            entry.start = narrow(kept.len());
            kept.extend_from_slice(self.arena.get(from..from + entry.len as usize).unwrap_or_default());
        }
        self.arena.clear();
        self.arena.extend_from_slice(&kept);
    }

    fn entries(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.index.iter().map(|e| (key(&self.arena, e), text(&self.arena, e)))
    }
}

fn key<'a>(arena: &'a [u8], entry: &Entry) -> &'a [u8] {
    arena.get(entry.start as usize..(entry.start + entry.key_len) as usize).unwrap_or_default()
}

fn text<'a>(arena: &'a [u8], entry: &Entry) -> &'a [u8] {
    arena.get((entry.start + entry.key_len) as usize..(entry.start + entry.len) as usize).unwrap_or_default()
}

fn narrow(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// Folder of run files; removes what is left in it.
#[derive(Debug)]
struct Scratch {
    disk: Disk,
    folder: PathBuf,
}

/// Names of run files: no two of a process are alike, so that a run that was given up never removes one of the run
/// that took its place.
static NEXT: AtomicU64 = AtomicU64::new(0);

impl Scratch {
    fn new(folder: &Path, disk: Disk) -> Self {
        Self { disk, folder: folder.to_owned() }
    }

    fn write(
        self: &Arc<Self>,
        fill: impl FnOnce(&mut BufWriter<Watched>) -> io::Result<()>,
    ) -> Result<RunFile, ExportError> {
        let write = || {
            self.disk.room()?;
            self.disk.create_dirs(&self.folder)?;
            let path = self.folder.join(format!("run-{}", NEXT.fetch_add(1, Atomic::Relaxed)));
            let file = RunFile { path, scratch: Arc::clone(self) };
            let out = Watched { file: self.disk.create(&file.path)?, disk: self.disk.clone() };
            let mut out = BufWriter::with_capacity(256 << 10, out);
            fill(&mut out)?;
            out.flush()?;
            Ok(file)
        };
        write().map_err(ExportError::Scratch)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Only succeeds when empty, which it is once every run file is gone; a foreign file keeps it.
        self.disk.remove_empty(&self.folder);
    }
}

/// A file whose every write looks at the space first.
struct Watched {
    file: File,
    disk: Disk,
}

impl io::Write for Watched {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.disk.room()?;
        self.disk.write(&mut self.file, bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A sorted run on disk; gone when dropped.
#[derive(Debug)]
struct RunFile {
    path: PathBuf,
    scratch: Arc<Scratch>,
}

impl Drop for RunFile {
    fn drop(&mut self) {
        let _ = self.scratch.disk.remove(&self.path);
    }
}

fn write_entry(out: &mut impl io::Write, key: &[u8], text: &[u8]) -> io::Result<()> {
    out.write_all(&narrow(key.len()).to_le_bytes())?;
    out.write_all(&narrow(text.len()).to_le_bytes())?;
    out.write_all(key)?;
    out.write_all(text)
}

/// The front row of one run.
struct Head {
    key: Vec<u8>,
    text: Vec<u8>,
    run: Cursor,
}

enum Cursor {
    Memory { run: Run, at: usize },
    File { input: BufReader<File>, _file: RunFile },
}

impl Head {
    fn new(run: Cursor) -> Result<Option<Self>, ExportError> {
        let mut head = Self { key: Vec::new(), text: Vec::new(), run };
        Ok(head.advance()?.then_some(head))
    }

    /// Takes the next row; `false` at the end of the run.
    fn advance(&mut self) -> Result<bool, ExportError> {
        match &mut self.run {
            Cursor::Memory { run, at } => {
                let Some(entry) = run.index.get(*at) else { return Ok(false) };
                self.key.clear();
                self.text.clear();
                self.key.extend_from_slice(key(&run.arena, entry));
                self.text.extend_from_slice(text(&run.arena, entry));
                *at += 1;
                Ok(true)
            }
            Cursor::File { input, .. } => {
                read_entry(input, &mut self.key, &mut self.text).map_err(ExportError::Scratch)
            }
        }
    }
}

fn read_entry(input: &mut BufReader<File>, key: &mut Vec<u8>, text: &mut Vec<u8>) -> io::Result<bool> {
    let mut lens = [0; 8];
    let mut got = 0;
    while got < lens.len() {
        match input.read(lens.get_mut(got..).unwrap_or_default())? {
            0 if got == 0 => return Ok(false),
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => got += n,
        }
    }
    let len = |b: &[u8]| u32::from_le_bytes(b.try_into().unwrap_or_default()) as usize;
    let (a, b) = lens.split_at(4);
    key.resize(len(a), 0);
    text.resize(len(b), 0);
    input.read_exact(key)?;
    input.read_exact(text)?;
    Ok(true)
}

// The heap gives its greatest, so order is turned round.
impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}
impl Eq for Head {}
impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Head {
    fn cmp(&self, other: &Self) -> Ordering {
        other.key.cmp(&self.key)
    }
}

/// Rows of all runs in order.
struct Merge {
    heads: BinaryHeap<Head>,
}

impl Merge {
    fn new(cursors: impl Iterator<Item = Cursor>) -> Result<Self, ExportError> {
        let mut heads = BinaryHeap::new();
        for cursor in cursors {
            heads.extend(Head::new(cursor)?);
        }
        Ok(Self { heads })
    }

    /// Shows the first row and drops it.
    fn take<T>(&mut self, use_row: impl FnOnce(&[u8], &[u8]) -> T) -> Option<Result<T, ExportError>> {
        let mut head = self.heads.peek_mut()?;
        let used = use_row(&head.key, &head.text);
        match head.advance() {
            Ok(true) => Some(Ok(used)),
            Ok(false) => {
                std::collections::binary_heap::PeekMut::pop(head);
                Some(Ok(used))
            }
            Err(e) => Some(Err(e)),
        }
    }
}

fn cursor(file: RunFile) -> Result<Cursor, ExportError> {
    let input = File::open(&file.path).map_err(ExportError::Scratch)?;
    Ok(Cursor::File { input: BufReader::with_capacity(READ_BUFFER, input), _file: file })
}

impl Sorted {
    /// Rows in order as chunks of text, without the first `skip`.
    pub(crate) fn into_feed(
        mut self,
        export: &Export,
        skip: u64,
        control: &Control,
    ) -> Result<SortedFeed, ExportError> {
        while self.files.len() > FAN_IN {
            let some: Vec<RunFile> = self.files.drain(..FAN_IN).collect();
            let cursors: Vec<Cursor> = some.into_iter().map(cursor).collect::<Result<_, _>>()?;
            let mut merge = Merge::new(cursors.into_iter())?;
            let mut failed = None;
            let file = self.scratch.write(|out| {
                while let Some(row) = merge.take(|key, text| write_entry(out, key, text)) {
                    match row {
                        Ok(written) => written?,
                        Err(e) => failed = Some(e),
                    }
                    if control.is_stopped() {
                        failed = Some(ExportError::Stopped);
                    }
                    if failed.is_some() {
                        break;
                    }
                }
                Ok(())
            })?;
            if let Some(e) = failed {
                return Err(e);
            }
            self.files.push(file);
        }
        let files: Vec<Cursor> = self.files.into_iter().map(cursor).collect::<Result<_, _>>()?;
        let memory = self.memory.into_iter().map(|run| Cursor::Memory { run, at: 0 });
        let mut merge = Merge::new(files.into_iter().chain(memory))?;
        let limit = export.query.limit.unwrap_or(u64::MAX);
        for _ in 0..skip {
            if control.is_stopped() {
                return Err(ExportError::Stopped);
            }
            if let Some(row) = merge.take(|_, _| ()) {
                row?;
            }
        }
        Ok(SortedFeed {
            merge,
            between: if export.output.format == Format::Json { b",\n" } else { b"" },
            rows_per_part: export.output.rows_per_part.unwrap_or(u64::MAX).max(1),
            chunk_rows: export
                .output
                .rows_per_s
                .map_or(8_192, |r| crate::pace::Pace::batch_rows(r) as u64)
                .min(8_192),
            limit,
            row: skip,
        })
    }
}

/// Text in a chunk of sorted rows, at most; one row may pass it.
const CHUNK_BYTES: usize = 1 << 20;

pub(crate) struct SortedFeed {
    merge: Merge,
    between: &'static [u8],
    rows_per_part: u64,
    chunk_rows: u64,
    limit: u64,
    row: u64,
}

impl Feed for SortedFeed {
    /// A chunk never crosses a part border or the limit.
    fn next(&mut self) -> Option<Result<Item, ExportError>> {
        let room = self.rows_per_part - self.row % self.rows_per_part;
        let most = self.chunk_rows.min(room).min(self.limit.saturating_sub(self.row));
        let (mut text, mut rows) = (Text::new(), 0);
        while rows < most && text.len() < CHUNK_BYTES {
            let between = if rows > 0 { self.between } else { b"" };
            let row = self.merge.take(|_, row| {
                text.push(between);
                text.push(row);
            });
            match row {
                Some(Ok(())) => rows += 1,
                Some(Err(e)) => return Some(Err(e)),
                None => break,
            }
        }
        self.row += rows;
        (rows > 0).then_some(Ok(Item::Text { text, rows }))
    }

    fn scanned(&mut self) -> u64 {
        0
    }
}
