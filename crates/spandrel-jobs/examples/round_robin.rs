//! Two principals share one slot: who runs when.
#![expect(clippy::print_stdout, reason = "an example shows its result")]

use spandrel_jobs::{
    DownloadId, JobTable, Limits, NewJob, Now, Output, Principal, RequestId, Retention, Spec, Total,
    UtcOffset,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut limits = Limits::default();
    limits.max_active = 1;
    let mut table = JobTable::new(limits, Retention::default());
    let now = Now::default();
    for (n, who) in ["ann", "ann", "ann", "bob", "bob"].into_iter().enumerate() {
        let id = DownloadId::from_bytes([u8::try_from(n).unwrap_or(0); 16]);
        let spec = Spec {
            dataset: "logs".into(),
            snapshot: String::new(),
            request: "{}".into(),
            request_key: "k".into(),
            format: "csv".into(),
            codec: None,
            formula_guard: false,
            time_zone: UtcOffset::Zulu,
            file_stem: "logs".into(),
            file_suffix: ".csv".into(),
            content_type: "text/csv; charset=utf-8".into(),
            rows_per_file: 500_000,
        };
        let total = Total { rows: 1, is_exact: true, scan_rows: 1 };
        let request_id = RequestId::parse(&format!("request-{n}"))?;
        table.create(now, NewJob { id, principal: Principal::new(who), request_id, spec, total })?;
    }
    while let Some(work) = table.poll() {
        match work {
            Output::Persist(id) => table.stored(now, id),
            Output::Start(id) => {
                let job =
                    table.job(id).map(|job| (job.principal().as_str(), job.record().request_id.as_str()));
                println!("runs: {job:?}, {} waiting", table.queued_len());
                table.finished(now, id, 1);
            }
            _ => {}
        }
    }
    Ok(())
}
