//! `download-server export`: one file from data on this machine, with the server's engine and no server.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use spandrel_download_protocol::{
    Codec, Defaults, DownloadRequest, Format, Lookup, RequestSort, Resolved, Schema, Timestamp,
    parse_filter_text,
};
use spandrel_export::Source;
use spandrel_export_engine::{Checkpoint, Control, Export, Part, Sink};
use spandrel_source_parquet::DatasetConfig;

use crate::words::{FormatName, delimiter};

/// Exit code for a request that does not fit the data.
const USAGE: u8 = 2;
/// Exit code for data or files that cannot be read or written.
const FILES: u8 = 5;

/// Writes rows of a data set to one file.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  download-server export --data trades -o trades.csv.gz
  download-server export --data trades --from 2024-01-10T00:00:00Z --to 2024-01-13T00:00:00Z \\
      --filter 'symbol in BTC-KRW, ETH-KRW' --filter 'price > 100' --columns ts,symbol,price -o some.ndjson
  download-server export --data flights.parquet --sort dep_delay:desc --limit 100 -o late.csv

Exit codes: 0 done, 2 the request does not fit the data, 5 data or files cannot be read or written.")]
pub(crate) struct ExportArgs {
    /// A Parquet file, a folder of them, or a glob.
    #[arg(long, value_name = "PATH")]
    data: PathBuf,
    /// File to write; its ending chooses format and compression (.csv .json .ndjson, .gz .zst).
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// Format, when the file's ending does not tell.
    #[arg(long, value_enum)]
    format: Option<FormatName>,
    /// First instant (RFC 3339 with offset); default: the first there is.
    #[arg(long, value_name = "TIME", value_parser = time)]
    from: Option<Timestamp>,
    /// First instant past the range; default: past the last there is.
    #[arg(long, value_name = "TIME", value_parser = time)]
    to: Option<Timestamp>,
    /// A condition such as 'price > 100', 'symbol in A, B', 'note is not null'; all must hold.
    #[arg(long, value_name = "TEXT")]
    filter: Vec<String>,
    /// Columns in this order; default: all.
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    columns: Vec<String>,
    /// Leading sort keys, for example price:desc,id; may be repeated. Time order follows.
    #[arg(long, value_name = "COLUMN[:asc|desc],…", value_delimiter = ',')]
    sort: Vec<RequestSort>,
    /// Most rows, counted after sorting.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Print timestamps at this offset, for example +09:00.
    #[arg(long, value_name = "±hh:mm", allow_hyphen_values = true)]
    time_zone: Option<String>,
    /// CSV delimiter: , ; | or tab.
    #[arg(long, value_name = "C", value_parser = delimiter)]
    delimiter: Option<char>,
    /// CSV without a row of names.
    #[arg(long)]
    no_header: bool,
    /// CSV with a byte order mark.
    #[arg(long)]
    bom: bool,
    /// Put ' before text that a spreadsheet would run as a formula.
    #[arg(long)]
    formula_guard: bool,
    /// The time column; default: the first timestamp column.
    #[arg(long, value_name = "NAME")]
    time_column: Option<String>,
    /// Worker threads; default: one a core.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    workers: Option<u16>,
    /// No progress bar and no closing line.
    #[arg(long, short)]
    quiet: bool,
}

fn time(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text).map_err(|e| e.to_string())
}

/// Runs the command.
pub(crate) fn run(args: &ExportArgs) -> ExitCode {
    match export(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err((code, what)) => {
            eprintln!("{what}");
            ExitCode::from(code)
        }
    }
}

type Failure = (u8, String);

fn files(e: impl ToString) -> Failure {
    (FILES, e.to_string())
}

fn usage(e: impl ToString) -> Failure {
    (USAGE, e.to_string())
}

fn export(args: &ExportArgs) -> Result<(), Failure> {
    let config = DatasetConfig {
        scan: false,
        time_column: args.time_column.clone(),
        ..DatasetConfig::new("data", &args.data)
    };
    let source = spandrel_source_parquet::open(config).map_err(files)?;
    let resolved = request(args, source.as_ref())?;
    let rows = source.rows(&source.snapshot()).map_err(files)?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let part = with_suffix(&args.output, ".part");
    let export = Export {
        rows,
        query: resolved.query,
        output: resolved.output,
        workers: args.workers.map_or(cores, usize::from),
        scratch: with_suffix(&args.output, ".sort"),
    };
    let bar = crate::bar::rows(source.facts().rows, args.quiet);
    if !args.quiet
        && let Ok(Some(rows)) = export.rows_exact()
    {
        bar.set_length(rows);
    }
    let mut sink = OneFile { file: File::create(&part).map_err(files)?, bar: bar.clone() };
    let done = export.run(&mut sink, &Control::new(), None).and_then(|done| {
        // Only a whole file gets the name that was asked for.
        std::fs::rename(&part, &args.output).map_err(spandrel_export_engine::ExportError::Sink)?;
        Ok(done)
    });
    match done {
        Ok(done) => {
            bar.finish_and_clear();
            if !args.quiet {
                eprintln!("{} rows in {}", done.rows, args.output.display());
            }
            Ok(())
        }
        Err(e) => {
            bar.abandon();
            // Best effort: the error that brought us here is the one to tell.
            let _ = std::fs::remove_file(&part);
            Err(files(e))
        }
    }
}

/// The command line as a request of the protocol, checked like one.
fn request(args: &ExportArgs, source: &dyn Source) -> Result<Resolved, Failure> {
    let schema = source.schema();
    let (format, codec) = kind_of(args)?;
    // Any instant that RFC 3339 can write, where the range is open.
    let open = |text: &str| Timestamp::parse(text).map_err(usage);
    let from = args.from.map_or_else(|| open("0001-01-01T00:00:00Z"), Ok)?;
    let to = args.to.map_or_else(|| open("9999-12-31T23:59:59.999999999Z"), Ok)?;
    let mut request = DownloadRequest::new(from, to, format);
    for text in &args.filter {
        request = request.filter(
            parse_filter_text(text, schema.columns())
                .map_err(|e| usage(format!("--filter '{text}': {e}")))?,
        );
    }
    if !args.columns.is_empty() {
        request = request.columns(args.columns.iter().map(String::as_str));
    }
    request.search_params.sort.clone_from(&args.sort);
    if let Some(limit) = args.limit {
        request = request.limit(limit);
    }
    if let Some(codec) = codec {
        request = request.compress(codec);
    }
    request.options.time_zone = args
        .time_zone
        .as_deref()
        .map(|z| spandrel_download_protocol::UtcOffset::parse(z).map_err(usage))
        .transpose()?;
    request.options.csv.header = args.no_header.then_some(false);
    request.options.csv.bom = args.bom.then_some(true);
    request.options.csv.formula_guard = args.formula_guard.then_some(true);
    request.options.csv.delimiter = args.delimiter;
    let find = |_: Option<&str>| Lookup::Found { name: "data".into(), schema: Arc::<Schema>::clone(&schema) };
    let mut resolved = request.resolve(&find, &Defaults::default()).map_err(|e| usage(e.message))?;
    // One file, whatever its length: the protocol's part limit is the server's.
    resolved.output.rows_per_part = None;
    Ok(resolved)
}

/// Format and compression from the file's ending, or from `--format`.
fn kind_of(args: &ExportArgs) -> Result<(Format, Option<Codec>), Failure> {
    let name = args.output.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let (stem, codec) = match (name.strip_suffix(".gz"), name.strip_suffix(".zst")) {
        (Some(stem), _) => (stem, Some(Codec::Gzip)),
        (_, Some(stem)) => (stem, Some(Codec::Zstd)),
        _ => (name.as_str(), None),
    };
    let format = match args.format {
        Some(name) => name.into(),
        None if stem.ends_with(".csv") => Format::Csv,
        None if stem.ends_with(".json") => Format::Json,
        None if stem.ends_with(".ndjson") || stem.ends_with(".jsonl") => Format::Ndjson,
        None => {
            return Err(usage(
                "the format is not clear from the file name: end it in .csv, .json or .ndjson, or give --format",
            ));
        }
    };
    Ok((format, codec))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

struct OneFile {
    file: File,
    bar: indicatif::ProgressBar,
}

impl Sink for OneFile {
    fn begin(&mut self, _: u32) -> io::Result<()> {
        Ok(())
    }
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }
    fn end(&mut self, _: &Part) -> io::Result<()> {
        Ok(())
    }
    fn checkpoint(&mut self, at: &Checkpoint) -> io::Result<()> {
        self.bar.set_position(at.rows);
        Ok(())
    }
    fn restart(&mut self) -> io::Result<()> {
        self.file.rewind()?;
        self.file.set_len(0)
    }
}
