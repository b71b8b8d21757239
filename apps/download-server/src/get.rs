//! `download-server get`: the client as a command. Wiring only; what it does is in `spandrel_download_client::get`.
//!
//! Exit codes: 0 done, 2 usage, 3 refused by the server, 4 connection, 5 digest or files, 6 cancelled.
//! Ctrl-C while rows are written cancels the job (`--keep-job` leaves it); while files are fetched it stops, and
//! the same command with `--attach ID` goes on.

use std::io::{IsTerminal, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use spandrel_download_client::{
    Client, ClientError, ClientOptions, Credentials, GetError, GetEvent, GetOptions, GetReport, Wanted, get,
};
use spandrel_download_protocol::{
    Codec, Column, DownloadId, DownloadRequest, Format, SortOrder, Timestamp, UtcOffset, parse_filter_text,
};

/// Exports rows of a time range from a server to files here.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  download-server get http://127.0.0.1:8001 --from 2013-01-01T00:00:00Z --to 2013-02-01T00:00:00Z
  download-server get http://127.0.0.1:8001 --from 2013-01-01T00:00:00Z --to 2014-01-01T00:00:00Z \\
      --filter 'dep_delay > 60' --columns time_hour,carrier,dep_delay --gzip -o late.csv.gz
  download-server get http://127.0.0.1:8001 --attach dl_5q3m0c2b7n1k9x8v4w6z2A -o january/

Exit codes: 0 done, 2 usage, 3 refused by the server, 4 connection, 5 digest or files, 6 cancelled.")]
pub(crate) struct GetArgs {
    /// Address of the server, like http://127.0.0.1:8001
    url: String,
    /// Data set; the server's default one if left out
    #[arg(long)]
    dataset: Option<String>,
    /// First instant inside, like 2024-03-01T00:00:00+09:00; the offset is needed
    #[arg(long, required_unless_present = "attach", value_parser = Timestamp::parse)]
    from: Option<Timestamp>,
    /// First instant past the range
    #[arg(long, required_unless_present = "attach", value_parser = Timestamp::parse)]
    to: Option<Timestamp>,
    /// Test that rows must pass, like 'price > 100', 'symbol in A,B', 'note contains "x y"', 'user is null'; all
    /// must hold. Text beginning with { is taken as a JSON filter
    #[arg(long = "filter", value_name = "TEST")]
    filters: Vec<String>,
    /// Columns in order; all if left out
    #[arg(long, value_delimiter = ',')]
    columns: Option<Vec<String>>,
    /// Sort keys, like price:desc,id
    #[arg(long, value_delimiter = ',', value_parser = sort_key)]
    sort: Vec<(String, SortOrder)>,
    /// Most rows
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// File format
    #[arg(long, value_enum, default_value_t = FormatArg::Csv)]
    format: FormatArg,
    /// Compress with gzip
    #[arg(long, conflicts_with = "zstd")]
    gzip: bool,
    /// Compress with zstd
    #[arg(long)]
    zstd: bool,
    /// Offset of printed times, Z or like +09:00
    #[arg(long, value_parser = UtcOffset::parse, allow_hyphen_values = true)]
    time_zone: Option<UtcOffset>,
    /// Rows of one part
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=500_000))]
    rows_per_file: Option<u64>,
    /// Pace, in rows a second
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    rows_per_second: Option<u64>,
    /// CSV: leave out the row of names
    #[arg(long)]
    no_header: bool,
    /// CSV: one of , ; | or tab
    #[arg(long, value_parser = delimiter)]
    delimiter: Option<char>,
    /// CSV: begin with a byte order mark
    #[arg(long)]
    bom: bool,
    /// CSV: guard text that a spreadsheet would run as a formula
    #[arg(long)]
    formula_guard: bool,
    /// File, or directory if it is one or ends with a slash; the current directory if left out
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Join several parts into one file (not gzip; zstd with ndjson only)
    #[arg(long)]
    merge: bool,
    /// Ctrl-C leaves the job at the server instead of cancelling it
    #[arg(long)]
    keep_job: bool,
    /// Take up a job made before instead of making one
    #[arg(long, value_name = "ID", value_parser = DownloadId::parse,
          conflicts_with_all = ["dataset", "from", "to", "filters", "columns", "sort", "limit", "gzip", "zstd"])]
    attach: Option<DownloadId>,
    /// Bearer token
    #[arg(long, env = "SPANDREL_BEARER", hide_env_values = true)]
    bearer: Option<String>,
    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum FormatArg {
    Csv,
    Json,
    Ndjson,
}

fn sort_key(text: &str) -> Result<(String, SortOrder), String> {
    let (field, order) = match text.rsplit_once(':') {
        Some((field, "desc")) => (field, SortOrder::Desc),
        Some((field, "asc")) => (field, SortOrder::Asc),
        Some((_, other)) => return Err(format!("expected field:asc or field:desc, got {other:?}")),
        None => (text, SortOrder::Asc),
    };
    if field.is_empty() { Err("expected a column name".to_owned()) } else { Ok((field.to_owned(), order)) }
}

fn delimiter(text: &str) -> Result<char, String> {
    match text {
        "," => Ok(','),
        ";" => Ok(';'),
        "|" => Ok('|'),
        "\t" | "\\t" | "tab" => Ok('\t'),
        _ => Err("expected , ; | or tab".to_owned()),
    }
}

/// Runs the command; says on stderr what went wrong, and on stdout which files there are.
pub(crate) async fn run(args: GetArgs) -> ExitCode {
    match try_run(&args).await {
        Ok(report) => {
            let mut out = std::io::stdout().lock();
            for file in &report.files {
                // Nobody reading is no failure of the download.
                let _ = writeln!(out, "{}", file.display());
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("download-server get: {error}");
            if let GetError::Interrupted { id, is_cancelled: false } = &error {
                eprintln!("take it up with: download-server get {} --attach {id}", args.url);
            }
            ExitCode::from(error.exit_code())
        }
    }
}

async fn try_run(args: &GetArgs) -> Result<GetReport, GetError> {
    let mut options = ClientOptions::default();
    if let Some(token) = &args.bearer {
        options = options.credentials(Credentials::bearer(token)?);
    }
    let client = Client::connect(&args.url, options).await?;
    let wanted = match args.attach {
        Some(id) => Wanted::Job(id),
        None => Wanted::New(Box::new(request(args, &client).await?)),
    };
    let mut options = GetOptions::default();
    options.output.clone_from(&args.output);
    (options.merge, options.keep_job, options.csv_has_no_header) =
        (args.merge, args.keep_job, args.no_header);
    let mut show = Show::new(args.quiet);
    let interrupt = async { drop(tokio::signal::ctrl_c().await) };
    let outcome = get(&client, wanted, &options, interrupt, |event| show.event(&event)).await;
    show.bar.finish_and_clear();
    outcome
}

async fn request(args: &GetArgs, client: &Client) -> Result<DownloadRequest, GetError> {
    let (Some(from), Some(to)) = (args.from, args.to) else {
        return Err(GetError::Usage("--from and --to are needed".to_owned()));
    };
    let format = match args.format {
        FormatArg::Csv => Format::Csv,
        FormatArg::Json => Format::Json,
        FormatArg::Ndjson => Format::Ndjson,
    };
    let mut request = DownloadRequest::new(from, to, format);
    request.search_params.dataset.clone_from(&args.dataset);
    request.search_params.columns.clone_from(&args.columns);
    request.search_params.limit = args.limit;
    for (field, order) in &args.sort {
        request = request.sort(field, *order);
    }
    if args.gzip || args.zstd {
        request = request.compress(if args.gzip { Codec::Gzip } else { Codec::Zstd });
    }
    request.options.time_zone = args.time_zone;
    request.options.rows_per_part = args.rows_per_file;
    request.options.rows_per_s = args.rows_per_second;
    let csv = &mut request.options.csv;
    csv.header = args.no_header.then_some(false);
    csv.delimiter = args.delimiter;
    csv.bom = args.bom.then_some(true);
    csv.formula_guard = args.formula_guard.then_some(true);
    with_filters(request, args, client).await
}

/// Filters as text need the columns' types, so the server is asked for them first.
async fn with_filters(
    mut request: DownloadRequest,
    args: &GetArgs,
    client: &Client,
) -> Result<DownloadRequest, GetError> {
    let mut columns: Option<Vec<Column>> = None;
    for text in &args.filters {
        let fault =
            |e: spandrel_download_protocol::ProtocolError| GetError::Usage(format!("--filter {text:?}: {e}"));
        if text.trim_start().starts_with('{') {
            let filter = spandrel_download_protocol::RequestFilter::from_json(text).map_err(fault)?;
            request = request.filter(filter);
            continue;
        }
        if columns.is_none() {
            columns = Some(columns_of(client, args.dataset.as_deref()).await?);
        }
        let filter = parse_filter_text(text, columns.as_deref().unwrap_or_default()).map_err(fault)?;
        request = request.filter(filter);
    }
    Ok(request)
}

async fn columns_of(client: &Client, dataset: Option<&str>) -> Result<Vec<Column>, ClientError> {
    let sets = client.datasets().await?;
    let found = sets.into_iter().find(|set| match dataset {
        Some(name) => set.name == name,
        None => set.default,
    });
    found.map(|set| set.columns).ok_or_else(|| {
        let name = dataset.unwrap_or("(default)");
        let code = spandrel_download_protocol::ErrorCode::UnknownDataset;
        spandrel_download_protocol::ErrorResponse::new(code, format!("there is no data set {name:?}")).into()
    })
}

/// One bar: rows first, then bytes.
struct Show {
    bar: ProgressBar,
    is_fetching: bool,
}

impl Show {
    fn new(is_quiet: bool) -> Self {
        let is_hidden = is_quiet || !std::io::stderr().is_terminal();
        let bar = if is_hidden { ProgressBar::hidden() } else { ProgressBar::new(0) };
        Self { bar, is_fetching: false }
    }

    fn style(&self, template: &str) {
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.bar.set_style(style);
        }
    }

    fn event(&mut self, event: &GetEvent<'_>) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: GetArgs,
    }

    fn parse(line: &str) -> Result<GetArgs, clap::Error> {
        Cli::try_parse_from(["get"].into_iter().chain(line.split(' '))).map(|cli| cli.args)
    }

    #[test]
    fn command_lines_are_read_or_refused() {
        let range = "http://x --from 2024-03-01T00:00:00Z --to 2024-03-02T00:00:00Z";
        let args =
            parse(&format!("{range} --columns a,b --sort price:desc,id --time-zone -03:30 -o out/")).unwrap();
        assert_eq!(args.columns, Some(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(args.sort, [("price".to_owned(), SortOrder::Desc), ("id".to_owned(), SortOrder::Asc)]);
        assert_eq!(args.time_zone, Some(UtcOffset::Minutes(-210)));
        assert!(parse("http://x --attach dl_AAAAAAAAAAAAAAAAAAAAAA").is_ok());
        for bad in [
            "http://x",
            "http://x --from 2024-03-01 --to 2024-03-02T00:00:00Z",
            &format!("{range} --gzip --zstd"),
            &format!("{range} --sort price:down"),
            &format!("{range} --limit 0"),
            &format!("{range} --format xml"),
            &format!("{range} --delimiter x"),
            &format!("{range} --attach dl_AAAAAAAAAAAAAAAAAAAAAA"),
            "http://x --attach 5",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
