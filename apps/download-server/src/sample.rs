//! `download-server sample`: a data set of trades for trials at scale.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

/// Writes a deterministic data set of exchange trades as Parquet files.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  download-server sample --rows 10000000 --out trades\n  download-server serve --data trades"
)]
pub(crate) struct SampleArgs {
    /// Rows to write.
    #[arg(long, default_value_t = 1_000_000, value_name = "N")]
    rows: u64,
    /// Folder for the files; made when missing.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// No progress bar.
    #[arg(long, short)]
    quiet: bool,
}

/// Runs the command.
pub(crate) fn run(args: &SampleArgs) -> ExitCode {
    let bar = crate::bar::rows(args.rows, args.quiet);
    match spandrel_source_parquet::write_trades(args.rows, &args.out, &mut |rows| bar.set_position(rows)) {
        Ok(()) => {
            bar.finish_and_clear();
            eprintln!("{} rows in {}", args.rows, args.out.display());
            ExitCode::SUCCESS
        }
        Err(e) => {
            bar.abandon();
            eprintln!("{e}");
            ExitCode::from(5)
        }
    }
}
