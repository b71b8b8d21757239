//! The progress bar of commands that move rows.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar over `rows`; hidden when quiet (indicatif hides it by itself when stderr is no terminal).
pub(crate) fn rows(rows: u64, quiet: bool) -> ProgressBar {
    if quiet {
        return ProgressBar::with_draw_target(Some(rows), ProgressDrawTarget::hidden());
    }
    let style = ProgressStyle::with_template(
        "{wide_bar} {percent:>3} %  {human_pos} of {human_len} rows  {per_sec}  {eta} left",
    );
    ProgressBar::new(rows).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
