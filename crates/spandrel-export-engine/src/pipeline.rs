//! Workers turn batches into chunks; one thread writes the chunks in order.
//!
//! Feeds (readers of units, or one merge of sorted runs) are opened in order. A worker takes the foremost feed that
//! nobody holds, draws one batch, gives the feed back and makes a chunk of it. The window bounds chunks that are made
//! but not written, so memory does not depend on rows. Which thread makes a chunk never shows in the bytes.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arrow_array::RecordBatch;
use spandrel_download_protocol::Codec;
use spandrel_export::{ChunkCompressor, Join, RowWriter, Text};

use crate::emit::{Chunk, Emitter, Place};
use crate::run::{Control, ExportError};

/// What a feed gives: rows to be written as text, or text already.
#[derive(Debug)]
pub(crate) enum Item {
    Batch { batch: RecordBatch, times: Option<Times> },
    Text { text: Text, rows: u64 },
}

/// First and last time of a batch that is in order in itself; `None` where it is not.
pub(crate) type Times = Option<(i128, i128)>;

pub(crate) trait Feed: Send {
    fn next(&mut self) -> Option<Result<Item, ExportError>>;
    /// Source rows looked at since the last call.
    fn scanned(&mut self) -> u64;
}

/// Everything a pipeline needs to know.
pub(crate) struct Pipeline<'a> {
    pub(crate) workers: usize,
    /// Chunks of later units that may be made while the foremost one is not finished: enough to have work while
    /// the foremost feed is held, and more where opening a unit is most of the work.
    pub(crate) ahead_max: usize,
    pub(crate) units: usize,
    pub(crate) open: &'a (dyn Fn(usize) -> Result<Box<dyn Feed>, ExportError> + Sync),
    pub(crate) writer: &'a (dyn Fn() -> RowWriter + Sync),
    pub(crate) codec: Option<Codec>,
    pub(crate) from: Place,
    /// Keep rows with their chunk, for borders that fall inside.
    pub(crate) keep_batches: bool,
    pub(crate) control: &'a Control,
}

struct State {
    next_unit: usize,
    feeds: Vec<Slot>,
    made: BTreeMap<(usize, u64), Made>,
    /// Batches of a unit, once known.
    ends: BTreeMap<usize, u64>,
    /// Chunks being made or made, of the unit that is written and of later ones.
    in_flight: BTreeMap<usize, usize>,
    /// The unit whose chunks are written now.
    writing: usize,
    /// Chunks already written, for their buffers.
    spare: Vec<Chunk>,
    failed: Option<ExportError>,
    over: bool,
}

impl State {
    fn landed(&mut self, unit: usize) {
        if let Some(n) = self.in_flight.get_mut(&unit) {
            *n = n.saturating_sub(1);
            if *n == 0 {
                self.in_flight.remove(&unit);
            }
        }
    }
}

struct Slot {
    unit: usize,
    feed: Option<Box<dyn Feed>>,
    next_batch: u64,
}

struct Made {
    chunk: Chunk,
    times: Option<Times>,
    row: u64,
}

struct Shared<'a> {
    pipeline: &'a Pipeline<'a>,
    state: Mutex<State>,
    made: Condvar,
    room: Condvar,
}

/// Why a pipeline ended without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    Complete,
    /// Times went backwards: sort instead.
    OutOfOrder,
}

/// Longest time between looks at the stop flag.
const LOOK: Duration = Duration::from_millis(20);

impl Pipeline<'_> {
    pub(crate) fn run(&self, emitter: &mut Emitter<'_>) -> Result<Ended, ExportError> {
        let shared = Shared {
            pipeline: self,
            state: Mutex::new(State {
                next_unit: usize::try_from(self.from.unit).unwrap_or(usize::MAX),
                feeds: Vec::new(),
                made: BTreeMap::new(),
                ends: BTreeMap::new(),
                in_flight: BTreeMap::new(),
                writing: usize::try_from(self.from.unit).unwrap_or(usize::MAX),
                spare: Vec::new(),
                failed: None,
                over: false,
            }),
            made: Condvar::new(),
            room: Condvar::new(),
        };
        std::thread::scope(|scope| {
            for _ in 0..self.workers.max(1) {
                scope.spawn(|| shared.work());
            }
            let ended = catch_unwind(AssertUnwindSafe(|| shared.write(emitter)));
            shared.end(None);
            ended.unwrap_or(Err(ExportError::Worker))
        })
    }
}

impl Shared<'_> {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, error: Option<ExportError>) {
        let mut state = self.lock();
        state.over = true;
        if state.failed.is_none() {
            state.failed = error;
        }
        self.made.notify_all();
        self.room.notify_all();
    }

    /// Body of a worker thread.
    fn work(&self) {
        let done = catch_unwind(AssertUnwindSafe(|| self.make_chunks()));
        match done {
            Ok(Ok(())) => {}
            Ok(Err(e)) => self.end(Some(e)),
            Err(_) => self.end(Some(ExportError::Worker)),
        }
    }

    fn make_chunks(&self) -> Result<(), ExportError> {
        let mut maker = Maker::new(self.pipeline)?;
        while let Some(mut slot) = self.take_feed() {
            let feed = match slot.feed.take() {
                Some(feed) => Ok(feed),
                None => (self.pipeline.open)(slot.unit),
            };
            let mut feed = feed?;
            let item = feed.next();
            self.pipeline.control.add_scanned(feed.scanned());
            let (unit, batch) = (slot.unit, slot.next_batch);
            let Some(item) = item.transpose()? else {
                self.unit_ended(unit, batch);
                continue;
            };
            // Someone else may draw the next batch while this one becomes text.
            let chunk = self.give_back(slot, feed);
            let from = self.pipeline.from;
            let resumes = unit as u64 == from.unit && batch <= from.batch;
            let skip = if !resumes || batch > from.batch {
                0
            } else if batch < from.batch {
                u64::MAX
            } else {
                from.row
            };
            let made = maker.make(item, skip, chunk)?;
            let mut state = self.lock();
            state.made.insert((unit, batch), made);
            self.made.notify_one();
        }
        Ok(())
    }

    /// The foremost feed nobody holds; waits for room in the window. `None` when there is nothing left to draw.
    fn take_feed(&self) -> Option<Slot> {
        let mut state = self.lock();
        loop {
            if state.over || self.pipeline.control.is_stopped() {
                return None;
            }
            if let Some(slot) = self.free_feed(&mut state) {
                return Some(slot);
            }
            if state.feeds.is_empty() && state.next_unit >= self.pipeline.units {
                return None;
            }
            state = self.room.wait_timeout(state, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn free_feed(&self, state: &mut State) -> Option<Slot> {
        let window = self.pipeline.workers * 2 + 1;
        let current = state.in_flight.get(&state.writing).copied().unwrap_or(0);
        let ahead = state.in_flight.values().sum::<usize>() - current;
        // What the writer waits for has room of its own: chunks of later units never keep it from being made.
        let has_room = |unit: usize| {
            if unit <= state.writing { current < window } else { ahead < self.pipeline.ahead_max }
        };
        let free = state.feeds.iter().position(|s| s.feed.is_some() && has_room(s.unit));
        if let Some(slot) = free.and_then(|at| state.feeds.get_mut(at)) {
            let taken = Slot { unit: slot.unit, feed: slot.feed.take(), next_batch: slot.next_batch };
            *state.in_flight.entry(taken.unit).or_default() += 1;
            return Some(taken);
        }
        let unit = state.next_unit;
        if unit < self.pipeline.units && state.feeds.len() < self.pipeline.workers && has_room(unit) {
            state.next_unit += 1;
            *state.in_flight.entry(unit).or_default() += 1;
            state.feeds.push(Slot { unit, feed: None, next_batch: 0 });
            return Some(Slot { unit, feed: None, next_batch: 0 });
        }
        None
    }

    fn give_back(&self, slot: Slot, feed: Box<dyn Feed>) -> Chunk {
        let mut state = self.lock();
        if let Some(own) = state.feeds.iter_mut().find(|s| s.unit == slot.unit) {
            own.feed = Some(feed);
            own.next_batch = slot.next_batch + 1;
        }
        self.room.notify_one();
        state.spare.pop().unwrap_or_default()
    }

    fn unit_ended(&self, unit: usize, batches: u64) {
        let mut state = self.lock();
        state.feeds.retain(|s| s.unit != unit);
        state.ends.insert(unit, batches);
        state.landed(unit);
        self.made.notify_one();
        self.room.notify_all();
    }

    /// Writes chunks in order on the calling thread.
    fn write(&self, emitter: &mut Emitter<'_>) -> Result<Ended, ExportError> {
        let from = self.pipeline.from;
        let (mut unit, mut batch) = (usize::try_from(from.unit).unwrap_or(usize::MAX), 0);
        let mut last_time = i128::MIN;
        while unit < self.pipeline.units && !emitter.is_full() {
            let Some(made) = self.next_made(unit, batch)? else {
                (unit, batch) = (unit + 1, 0);
                continue;
            };
            match made.times {
                None => {}
                Some(Some((first, last))) if last_time <= first => last_time = last,
                Some(_) if made.chunk.rows > 0 => return Ok(Ended::OutOfOrder),
                Some(_) => {}
            }
            let here = Place { unit: unit as u64, batch, row: made.row };
            let next = Place { unit: unit as u64, batch: batch + 1, row: 0 };
            emitter.chunk(&made.chunk, here, next)?;
            self.written(unit, made.chunk);
            batch += 1;
        }
        Ok(Ended::Complete)
    }

    /// Waits for a chunk; `None` when the unit has no such batch.
    fn next_made(&self, unit: usize, batch: u64) -> Result<Option<Made>, ExportError> {
        let mut state = self.lock();
        loop {
            if self.pipeline.control.is_stopped() {
                return Err(ExportError::Stopped);
            }
            if let Some(error) = state.failed.take() {
                return Err(error);
            }
            if let Some(made) = state.made.remove(&(unit, batch)) {
                return Ok(Some(made));
            }
            if state.ends.get(&unit).is_some_and(|end| batch >= *end) {
                state.ends.remove(&unit);
                state.writing = unit + 1;
                self.room.notify_all();
                return Ok(None);
            }
            state = self.made.wait_timeout(state, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn written(&self, unit: usize, mut chunk: Chunk) {
        chunk.clear();
        let mut state = self.lock();
        state.landed(unit);
        state.spare.push(chunk);
        self.room.notify_one();
    }
}

/// Writer and compressor of one worker.
struct Maker {
    writer: RowWriter,
    compressor: Option<ChunkCompressor>,
    keep_batches: bool,
}

impl Maker {
    fn new(pipeline: &Pipeline<'_>) -> Result<Self, ExportError> {
        Ok(Self {
            writer: (pipeline.writer)(),
            compressor: pipeline.codec.map(ChunkCompressor::new).transpose()?,
            keep_batches: pipeline.keep_batches,
        })
    }

    /// `skip` rows at the front were written before a checkpoint.
    fn make(&mut self, item: Item, skip: u64, mut chunk: Chunk) -> Result<Made, ExportError> {
        let (mut row, mut seen) = (0, None);
        match item {
            Item::Batch { batch, times } => {
                let skip = usize::try_from(skip).unwrap_or(usize::MAX).min(batch.num_rows());
                let batch = if skip > 0 { batch.slice(skip, batch.num_rows() - skip) } else { batch };
                chunk.rows = batch.num_rows() as u64;
                self.writer.write(&batch, 0..batch.num_rows(), Join::Together, &mut chunk.text)?;
                chunk.batch = self.keep_batches.then_some(batch);
                (row, seen) = (skip as u64, times);
            }
            Item::Text { text, rows } => {
                chunk.rows = rows;
                chunk.text = text;
            }
        }
        chunk.pack(self.compressor.as_mut())?;
        Ok(Made { chunk, times: seen, row })
    }
}
