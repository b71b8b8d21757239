//! `/metrics`: what an operator watches.

use spandrel_http::{Counter, Gauge, Metrics};

use crate::health::resident_bytes;
use crate::service::Inner;

#[derive(Debug)]
pub(crate) struct Gauges {
    metrics: Metrics,
    pub(crate) messages_in: Counter,
    pub(crate) messages_out: Counter,
    pub(crate) created: Counter,
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
        self.connections.set(signed(inner.connections.load(std::sync::atomic::Ordering::Relaxed)));
        self.resident.set(resident_bytes().and_then(|b| i64::try_from(b).ok()).unwrap_or(0));
        self.metrics.render()
    }
}
