//! `download-server get`: the client as a command. Wiring only; what it does is in `spandrel_download_client::get`.
//!
//! Ctrl-C while rows are written cancels a new job (`--keep-job` leaves it); while files are fetched it stops, and
//! the same command with `--attach ID` goes on.

mod show;
mod trust;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use spandrel_download_client::{
    Client, GetError, GetEvent, GetOptions, GetReport, Wanted, filters_from_text, get, printable,
};
use spandrel_download_protocol::{Codec, DownloadId, DownloadRequest, RequestSort, Timestamp, UtcOffset};

use crate::words::{FormatName, delimiter};
use show::Show;

/// Exports rows of a time range from a server to files here.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  download-server get http://127.0.0.1:8001 --from 2013-01-01T00:00:00Z --to 2013-02-01T00:00:00Z
  download-server get http://127.0.0.1:8001 --from 2013-01-01T00:00:00Z --to 2014-01-01T00:00:00Z \\
      --filter 'dep_delay > 60' --columns time_hour,carrier,dep_delay --gzip -o late.csv.gz
  download-server get http://127.0.0.1:8001 --attach dl_5q3m0c2b7n1k9x8v4w6z2A -o january/
  download-server get https://exports.example --bearer-file token --from ... --to ...
  SPANDREL_KEY_FILE=k1 download-server get wss://exports.example --key-id k1 --seal --from ...
  download-server get https://127.0.0.1:8001 --tls-pin 3A:F1:... --from ... --to ...
  download-server get tcps://exports.example:8002 --http https://exports.example \\
      --key-id k1 --key-file k1 --from ... --to ...

Secrets come from files or from the environment: SPANDREL_BEARER (a token) and SPANDREL_KEY (the
43 characters of a key). They never stand on the command line, where others could see them. A file
that is named wins.

With a key, messages are signed in both directions, and files come by signed addresses. A --filter
in words needs the data set's columns over HTTP, which takes bearer tokens only: give a token too,
or the filter as JSON.

Exit codes: 0 done, 2 wrong usage, 3 refused by the server or failed there, 4 no connection,
5 files here cannot be read or written, 6 cancelled, 7 credentials not accepted, or server or its
addresses not trusted, 8 a file arrived with other bytes than announced.")]
pub(crate) struct GetArgs {
    /// Address of the server: http://host:port, https:// (or ws://, wss://), tcp://host:port, tcps://, unix:/path
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
    #[arg(long, value_delimiter = ',')]
    sort: Vec<RequestSort>,
    /// Most rows
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// File format
    #[arg(long, value_enum, default_value_t = FormatName::Csv)]
    format: FormatName,
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
    /// CSV: leave out the row of names. With --attach: the job was made so, which --merge has to know of zstd parts
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
    /// Join several parts into one file (not gzip; zstd with ndjson, or with csv and --no-header)
    #[arg(long)]
    merge: bool,
    /// Ctrl-C leaves a new job at the server instead of cancelling it; one taken up is always left
    #[arg(long)]
    keep_job: bool,
    /// Take up a job made before instead of making one
    #[arg(long, value_name = "ID", value_parser = DownloadId::parse,
          conflicts_with_all = ["dataset", "from", "to", "filters", "columns", "sort", "limit", "format", "gzip",
                                "zstd", "time_zone", "rows_per_file", "rows_per_second", "delimiter", "bom",
                                "formula_guard"])]
    attach: Option<DownloadId>,
    #[command(flatten)]
    trust: trust::TrustArgs,
    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
}

/// Runs the command; says on stderr what went wrong, and on stdout which files there are.
pub(crate) async fn run(args: GetArgs) -> ExitCode {
    let mut job = None;
    match try_run(&args, &mut job).await {
        Ok(report) => {
            let mut out = std::io::stdout().lock();
            for file in &report.files {
                // Nobody reading is no failure of the download.
                let _ = writeln!(out, "{}", file.display());
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("download-server get: {}", printable(&error.to_string()));
            if let Some(id) = still_there(&error, job) {
                eprintln!("take it up with: {}", take_up(&args, id));
            }
            ExitCode::from(error.exit_code())
        }
    }
}

/// The job that the server still has after this error, if there is one; `job` is what it accepted.
fn still_there(error: &GetError, job: Option<DownloadId>) -> Option<DownloadId> {
    match error {
        GetError::Job(_) | GetError::Interrupted { is_cancelled: true, .. } => None,
        GetError::Interrupted { id, .. } => Some(*id),
        _ => job,
    }
}

/// The command that goes on with a job; credentials are for the user to add.
fn take_up(args: &GetArgs, id: DownloadId) -> String {
    let mut command = format!("download-server get {} --attach {id}", args.url);
    for (is_set, flag) in [(args.merge, " --merge"), (args.no_header, " --no-header")] {
        command.push_str(if is_set { flag } else { "" });
    }
    if let Some(output) = &args.output {
        command.push_str(" -o ");
        command.push_str(&quoted(&output.to_string_lossy()));
    }
    command
}

/// As a shell takes it for one word.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+,:@%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", printable(word).replace('\'', r"'\''"))
}

/// Tells the name of the job in `job` once the server has it.
async fn try_run(args: &GetArgs, job: &mut Option<DownloadId>) -> Result<GetReport, GetError> {
    let client = Client::connect(&args.url, args.trust.options()?).await?;
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
    let report = |event: GetEvent<'_>| {
        if let GetEvent::Accepted(start) = event {
            *job = Some(start.download_id);
        }
        show.event(&event);
    };
    let outcome = get(&client, wanted, &options, interrupt, report).await;
    show.bar.finish_and_clear();
    outcome
}

async fn request(args: &GetArgs, client: &Client) -> Result<DownloadRequest, GetError> {
    let (Some(from), Some(to)) = (args.from, args.to) else {
        return Err(GetError::Usage("--from and --to are needed".to_owned()));
    };
    let mut request = DownloadRequest::new(from, to, args.format.into());
    request.search_params.dataset.clone_from(&args.dataset);
    request.search_params.columns.clone_from(&args.columns);
    request.search_params.limit = args.limit;
    request.search_params.sort.clone_from(&args.sort);
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
    let filters = filters_from_text(client, args.dataset.as_deref(), &args.filters).await?;
    Ok(filters.into_iter().fold(request, DownloadRequest::filter))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use spandrel_download_client::ClientError;
    use spandrel_download_protocol::{ErrorCode, ErrorResponse};

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
        assert_eq!(args.sort, ["price:desc".parse().unwrap(), "id".parse().unwrap()]);
        assert_eq!(args.time_zone, Some(UtcOffset::Minutes(-210)));
        for good in [
            "http://x --attach dl_AAAAAAAAAAAAAAAAAAAAAA",
            "http://x --attach dl_AAAAAAAAAAAAAAAAAAAAAA --merge --no-header --keep-job -o x.csv",
            &format!("{range} --bearer-file token"),
            &format!("{range} --key-id k1 --key-file k1 --seal --deflate"),
            &format!("{range} --key-id k1 --seal=if-offered --http http://x"),
            &format!("{range} --tls-pin {}", "3A:".repeat(31) + "f1"),
        ] {
            assert!(parse(good).is_ok(), "{good}");
        }
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
            &format!("{range} --seal"),
            &format!("{range} --key-file k1"),
            &format!("{range} --key-id k1 --seal=maybe"),
            &format!("{range} --tls-pin abc"),
            &format!("{range} --ca x.pem --tls-pin {}", "3A".repeat(32)),
            &format!("{range} --bearer secret"),
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        for ignored in [
            "--format csv",
            "--gzip",
            "--time-zone Z",
            "--rows-per-file 5",
            "--rows-per-second 5",
            "--delimiter ;",
            "--bom",
            "--formula-guard",
        ] {
            let line = format!("http://x --attach dl_AAAAAAAAAAAAAAAAAAAAAA {ignored}");
            assert!(parse(&line).is_err(), "{ignored} is the first request's to say");
        }
    }

    #[test]
    fn a_job_that_is_left_behind_is_named() {
        let id = DownloadId::from_bytes([0; 16]);
        let args =
            parse("http://x --attach dl_AAAAAAAAAAAAAAAAAAAAAA --merge --no-header -o it's.csv").unwrap();
        assert_eq!(
            take_up(&args, id),
            r"download-server get http://x --attach dl_AAAAAAAAAAAAAAAAAAAAAA --merge --no-header -o 'it'\''s.csv'"
        );
        let args = parse("http://x --attach dl_AAAAAAAAAAAAAAAAAAAAAA -o a/b.csv").unwrap();
        assert!(take_up(&args, id).ends_with("AAAA -o a/b.csv"));
        let refusal = || ErrorResponse::new(ErrorCode::SourceError, "x");
        for (error, job, want) in [
            (GetError::Client(ClientError::Http(String::new())), Some(id), Some(id)),
            (GetError::Client(refusal().into()), Some(id), Some(id)),
            (GetError::Client(refusal().into()), None, None),
            (GetError::Job(refusal()), Some(id), None),
            (GetError::Interrupted { id, is_cancelled: false }, None, Some(id)),
            (GetError::Interrupted { id, is_cancelled: true }, Some(id), None),
            (GetError::InterruptedEarly, None, None),
        ] {
            assert_eq!(still_there(&error, job), want, "{error}");
        }
    }
}
