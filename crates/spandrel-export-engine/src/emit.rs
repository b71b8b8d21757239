//! Finished chunks become parts: headers, separators, borders, limit, pace, checkpoints.

use arrow_array::RecordBatch;
use spandrel_download_protocol::{Codec, Output};
use spandrel_export::{ChunkCompressor, Join, RowWriter, Text, crc32, crc32_join, file_header, file_trailer};

use crate::pace::Pace;
use crate::run::{Checkpoint, Control, ExportError, Part, Sink};

/// Rows as text and, if asked for, compressed; made by a worker.
#[derive(Debug, Default)]
pub(crate) struct Chunk {
    pub(crate) text: Text,
    pub(crate) rows: u64,
    packed: Vec<u8>,
    is_packed: bool,
    crc: u32,
    /// The rows themselves, kept when a part border or the limit may fall inside.
    pub(crate) batch: Option<RecordBatch>,
}

impl Chunk {
    /// Forgets everything but the memory.
    pub(crate) fn clear(&mut self) {
        self.text.clear();
        self.packed.clear();
        (self.rows, self.is_packed, self.crc, self.batch) = (0, false, 0, None);
    }

    /// Compresses the text; without a compressor it is stored as it is.
    pub(crate) fn pack(&mut self, compressor: Option<&mut ChunkCompressor>) -> Result<(), ExportError> {
        if let Some(compressor) = compressor {
            self.packed.clear();
            if compressor.codec() == Codec::Gzip {
                self.crc = crc32(self.text.as_bytes());
            }
            compressor.chunk(self.text.as_bytes(), &mut self.packed)?;
            self.is_packed = true;
        }
        Ok(())
    }

    fn stored(&self) -> &[u8] {
        if self.is_packed { &self.packed } else { self.text.as_bytes() }
    }
}

/// Where the next chunk comes from, for checkpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Place {
    pub(crate) unit: u64,
    pub(crate) batch: u64,
    pub(crate) row: u64,
}

pub(crate) struct Emitter<'a> {
    sink: &'a mut dyn Sink,
    control: &'a Control,
    codec: Option<Codec>,
    rows_per_part: u64,
    rows_left: u64,
    writer: RowWriter,
    compressor: Option<ChunkCompressor>,
    pace: Option<Pace>,
    at: Checkpoint,
    part_open: bool,
    text: Text,
    stored: Vec<u8>,
}

impl<'a> Emitter<'a> {
    pub(crate) fn new(
        output: &Output,
        limit: Option<u64>,
        writer: RowWriter,
        sink: &'a mut dyn Sink,
        control: &'a Control,
        from: Option<&Checkpoint>,
    ) -> Result<Self, ExportError> {
        let at = from.cloned().unwrap_or_default();
        control.set_rows(at.rows);
        Ok(Self {
            sink,
            control,
            codec: output.codec,
            rows_per_part: output.rows_per_part.unwrap_or(u64::MAX).max(1),
            rows_left: limit.unwrap_or(u64::MAX).saturating_sub(at.rows),
            writer,
            compressor: output.codec.map(ChunkCompressor::new).transpose()?,
            pace: output.rows_per_s.map(Pace::new),
            part_open: at.part > 0,
            at,
            text: Text::new(),
            stored: Vec::new(),
        })
    }

    /// Checkpoints from here on are of a sorted export.
    pub(crate) fn mark_sorted(&mut self) {
        self.at.is_sorted = true;
    }

    /// Whether the limit is reached.
    pub(crate) fn is_full(&self) -> bool {
        self.rows_left == 0
    }

    /// Rows emitted so far.
    pub(crate) fn rows(&self) -> u64 {
        self.at.rows
    }

    /// Writes a chunk, cutting it at part borders and at the limit. `next` is the place after it.
    pub(crate) fn chunk(&mut self, chunk: &Chunk, here: Place, next: Place) -> Result<(), ExportError> {
        if chunk.rows == 0 || self.is_full() {
            return Ok(());
        }
        let fits = chunk.rows <= self.rows_left && chunk.rows <= self.part_room();
        let Some(batch) = chunk.batch.as_ref().filter(|_| !fits) else {
            self.whole(chunk)?;
            return self.checkpoint(next);
        };
        let mut from = 0;
        while from < chunk.rows && !self.is_full() {
            let take = (chunk.rows - from).min(self.rows_left).min(self.part_room());
            let range = index(from)..index(from + take);
            let mut piece = Chunk { rows: take, ..Chunk::default() };
            self.writer.write(batch, range, Join::Together, &mut piece.text)?;
            piece.pack(self.compressor.as_mut())?;
            self.whole(&piece)?;
            from += take;
            let place = if from < chunk.rows { Place { row: here.row + from, ..here } } else { next };
            self.checkpoint(place)?;
        }
        Ok(())
    }

    /// Ends the last part; an export without rows has one part too.
    pub(crate) fn finish(mut self) -> Result<crate::Summary, ExportError> {
        if !self.part_open {
            self.begin_part()?;
        }
        self.end_part()?;
        Ok(crate::Summary { rows: self.at.rows, parts: self.at.part })
    }

    /// Rows that fit into the part the next row goes to: a full part is ended before it.
    fn part_room(&self) -> u64 {
        match self.rows_per_part.saturating_sub(self.at.part_rows) {
            room if self.part_open && room > 0 => room,
            _ => self.rows_per_part,
        }
    }

    fn whole(&mut self, chunk: &Chunk) -> Result<(), ExportError> {
        if self.part_open && self.at.part_rows >= self.rows_per_part {
            self.end_part()?;
        }
        if !self.part_open {
            self.begin_part()?;
        }
        if let Some(pace) = &mut self.pace {
            pace.wait(chunk.rows, self.control)?;
        }
        let separator = self.writer.separator(self.at.part_rows == 0);
        self.small(separator)?;
        self.store(chunk.stored(), chunk.text.len() as u64, chunk.crc)?;
        self.at.part_rows += chunk.rows;
        self.at.rows += chunk.rows;
        self.rows_left -= chunk.rows;
        self.control.add_rows(chunk.rows);
        Ok(())
    }

    fn begin_part(&mut self) -> Result<(), ExportError> {
        let (part, rows, is_sorted) = (self.at.part + 1, self.at.rows, self.at.is_sorted);
        self.at = Checkpoint { part, rows, is_sorted, ..Checkpoint::default() };
        self.part_open = true;
        self.sink.begin(self.at.part).map_err(ExportError::Sink)?;
        self.store(file_header(self.codec), 0, 0)?;
        let mut text = std::mem::take(&mut self.text);
        text.clear();
        self.writer.begin_part(&mut text);
        self.small(text.as_bytes())?;
        self.text = text;
        Ok(())
    }

    fn end_part(&mut self) -> Result<(), ExportError> {
        let mut text = std::mem::take(&mut self.text);
        text.clear();
        self.writer.end_part(self.at.part_rows, &mut text);
        self.small(text.as_bytes())?;
        self.text = text;
        let trailer = file_trailer(self.codec, self.at.part_crc, self.at.part_raw_bytes);
        self.store(&trailer, 0, 0)?;
        let part = Part {
            index: self.at.part,
            rows: self.at.part_rows,
            bytes: self.at.part_bytes,
            raw_bytes: self.at.part_raw_bytes,
        };
        self.part_open = false;
        self.sink.end(&part).map_err(ExportError::Sink)
    }

    /// Stores a few bytes of text that no worker made.
    fn small(&mut self, text: &[u8]) -> Result<(), ExportError> {
        if text.is_empty() {
            return Ok(());
        }
        let Some(compressor) = &mut self.compressor else {
            return self.store(text, text.len() as u64, 0);
        };
        let mut stored = std::mem::take(&mut self.stored);
        stored.clear();
        compressor.chunk(text, &mut stored)?;
        self.store(&stored, text.len() as u64, crc32(text))?;
        self.stored = stored;
        Ok(())
    }

    fn store(&mut self, bytes: &[u8], raw_len: u64, crc: u32) -> Result<(), ExportError> {
        if self.codec == Some(Codec::Gzip) {
            self.at.part_crc = crc32_join(self.at.part_crc, crc, raw_len);
        }
        self.at.part_raw_bytes += raw_len;
        self.at.part_bytes += bytes.len() as u64;
        self.control.add_bytes(bytes.len() as u64);
        if bytes.is_empty() { Ok(()) } else { self.sink.write(bytes).map_err(ExportError::Sink) }
    }

    fn checkpoint(&mut self, next: Place) -> Result<(), ExportError> {
        (self.at.unit, self.at.batch, self.at.row) = (next.unit, next.batch, next.row);
        self.sink.checkpoint(&self.at).map_err(ExportError::Sink)
    }
}

fn index(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}
