//! `/metrics`: what an operator watches.

use spandrel_http::{Counter, Gauge, Metrics};

use crate::health::resident_bytes;
use crate::service::Inner;

const PANICS: &str = "Bugs: each has an incident in the log.";

#[derive(Debug)]
pub(crate) struct Gauges {
    metrics: Metrics,
    pub(crate) messages_in: Counter,
    pub(crate) messages_out: Counter,
    pub(crate) created: Counter,
    pub(crate) refused: Counter,
    pub(crate) stalled: Counter,
    pub(crate) panics: Counter,
    pub(crate) unproved: Counter,
    job_panics: Counter,
    stuck: Gauge,
    outbound: Gauge,
    active: Gauge,
    queued: Gauge,
    records: Gauge,
    connections: Gauge,
    resident: Gauge,
}

impl Gauges {
    pub(crate) fn new() -> Self {
        let metrics = Metrics::default();
        let gauge = |name, help| metrics.gauge(name, help, &[]);
        Self {
            messages_in: metrics.counter("spandrel_messages_received_total", "Messages from clients.", &[]),
            messages_out: metrics.counter("spandrel_messages_sent_total", "Messages to clients.", &[]),
            created: metrics.counter("spandrel_downloads_created_total", "Downloads accepted.", &[]),
            refused: metrics.counter(
                "spandrel_connections_refused_total",
                "HTTP connections over a bound.",
                &[],
            ),
            stalled: metrics.counter("spandrel_readers_stalled_total", "Readers that took nothing.", &[]),
            unproved: metrics.counter(
                "spandrel_messages_unproved_total",
                "Signed messages or sealed frames that were refused.",
                &[],
            ),
            panics: metrics.counter("spandrel_panics_total", PANICS, &[("in", "request")]),
            job_panics: metrics.counter("spandrel_panics_total", PANICS, &[("in", "job")]),
            stuck: gauge("spandrel_runs_stuck", "Runs whose source gives no answer."),
            outbound: gauge("spandrel_outbound_bytes", "Bytes waiting for message connections."),
            active: gauge("spandrel_downloads_active", "Downloads holding a slot."),
            queued: gauge("spandrel_downloads_queued", "Downloads waiting for a slot."),
            records: gauge("spandrel_downloads_records", "Downloads on record."),
            connections: gauge("spandrel_connections", "Open message connections."),
            resident: gauge("spandrel_resident_bytes", "Resident memory of the process."),
            metrics,
        }
    }

    pub(crate) fn render(&self, inner: &Inner) -> String {
        let signed = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        inner.jobs.read(|table| {
            self.active.set(signed(table.active_len()));
            self.queued.set(signed(table.queued_len()));
            self.records.set(signed(table.len()));
        });
        self.stuck.set(signed(inner.jobs.stuck_len()));
        self.outbound.set(signed(inner.budget.held()));
        self.job_panics.add(inner.jobs.panics().saturating_sub(self.job_panics.value()));
        self.connections.set(signed(inner.seats.taken()));
        self.resident.set(resident_bytes().and_then(|b| i64::try_from(b).ok()).unwrap_or(0));
        self.metrics.render()
    }
}
