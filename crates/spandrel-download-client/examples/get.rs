//! Gets the rows of a day: `cargo run --example get -- http://127.0.0.1:8001 2024-03-01T00:00:00Z 2024-03-02T00:00:00Z`.

use spandrel_download_client::{
    Client, ClientOptions, DownloadRequest, Format, GetEvent, GetOptions, Timestamp, Wanted, get,
};

#[expect(clippy::print_stdout, reason = "an example shows its result")]
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let url = args.next().unwrap_or_else(|| "http://127.0.0.1:8001".to_owned());
    let from = args.next().unwrap_or_else(|| "2024-03-01T00:00:00Z".to_owned());
    let to = args.next().unwrap_or_else(|| "2024-03-02T00:00:00Z".to_owned());

    let client = Client::connect(&url, ClientOptions::default()).await?;
    for set in client.datasets().await? {
        println!("{} has {} rows", set.name, set.rows);
    }
    let request = DownloadRequest::new(Timestamp::parse(&from)?, Timestamp::parse(&to)?, Format::Csv);
    let report = get(
        &client,
        Wanted::New(Box::new(request)),
        &GetOptions::default(),
        async { drop(tokio::signal::ctrl_c().await) },
        |event| match event {
            GetEvent::Progress(update) => println!("{} %", update.progress),
            GetEvent::Bytes { file, have } => println!("{}: {have} of {}", file.file_name, file.bytes),
            _ => {}
        },
    )
    .await?;
    println!("{} rows in {:?}", report.rows, report.files);
    Ok(())
}
