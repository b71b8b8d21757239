//! What a person sees while rows are written and files come.

use std::io::IsTerminal as _;

use indicatif::{ProgressBar, ProgressStyle};
use spandrel_download_client::GetEvent;

/// One bar: rows first, then bytes.
pub(crate) struct Show {
    pub(crate) bar: ProgressBar,
    is_fetching: bool,
}

impl Show {
    pub(crate) fn new(is_quiet: bool) -> Self {
        let is_hidden = is_quiet || !std::io::stderr().is_terminal();
        let bar = if is_hidden { ProgressBar::hidden() } else { ProgressBar::new(0) };
        Self { bar, is_fetching: false }
    }

    fn style(&self, template: &str) {
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.bar.set_style(style);
        }
    }

    pub(crate) fn event(&mut self, event: &GetEvent<'_>) {
        match event {
            GetEvent::Waiting(ms) => self.bar.println(format!("the server is busy, asking again in {ms} ms")),
            GetEvent::Accepted(start) => {
                self.style("{wide_bar} {human_pos}/{human_len} rows {per_sec} {eta}");
                self.bar.set_length(start.total_rows);
            }
            GetEvent::Progress(update) => {
                self.bar.set_length(update.total_rows);
                self.bar.set_position(update.processed_rows);
            }
            GetEvent::Reconnecting { attempt, delay_ms } => {
                self.bar.println(format!("connection lost, attempt {attempt} in {delay_ms} ms"));
            }
            GetEvent::Complete(complete) => {
                self.bar.set_position(complete.total_rows);
            }
            GetEvent::Bytes { file, have } => {
                if !self.is_fetching {
                    self.is_fetching = true;
                    self.bar.reset();
                    self.style("{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec}");
                }
                self.bar.set_message(file.file_name.clone());
                self.bar.set_length(file.bytes);
                self.bar.set_position(*have);
            }
            GetEvent::Merging => self.bar.set_message("joining the parts"),
            _ => {}
        }
    }
}
