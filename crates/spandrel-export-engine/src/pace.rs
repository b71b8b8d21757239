//! Rows per second, held over every window.

use std::time::{Duration, Instant};

use crate::run::{Control, ExportError};

/// Spreads rows evenly: `n` rows occupy `n / rate` seconds, and time not used is not saved up.
#[derive(Debug)]
pub(crate) struct Pace {
    rows_per_s: u64,
    free_at: Option<Instant>,
}

impl Pace {
    pub(crate) fn new(rows_per_s: u64) -> Self {
        Self { rows_per_s: rows_per_s.max(1), free_at: None }
    }

    /// Rows worth writing at once: a tenth of a second's.
    pub(crate) fn batch_rows(rows_per_s: u64) -> usize {
        usize::try_from(rows_per_s / 10).unwrap_or(usize::MAX).max(1)
    }

    /// Waits until `rows` more may be written.
    pub(crate) fn wait(&mut self, rows: u64, control: &Control) -> Result<(), ExportError> {
        let start = now();
        let free_at = self.free_at.map_or(start, |at| at.max(start));
        while let Some(left) = free_at.checked_duration_since(now()).filter(|d| !d.is_zero()) {
            control.wait_stopped(left.min(Duration::from_millis(100)))?;
        }
        #[expect(clippy::cast_precision_loss, reason = "a duration needs no more than 53 bits")]
        let share =
            Duration::try_from_secs_f64(rows as f64 / self.rows_per_s as f64).unwrap_or(Duration::MAX);
        self.free_at = free_at.checked_add(share);
        Ok(())
    }
}

#[expect(clippy::disallowed_methods, reason = "the engine owns the clock of paced exports")]
fn now() -> Instant {
    Instant::now()
}
