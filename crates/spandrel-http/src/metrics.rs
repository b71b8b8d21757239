//! Counters, gauges and histograms in the Prometheus text format, on atomics.
//!
//! Our own, since it is this short: the usual facade is one global recorder per process, so tests would
//! share it, and its exporter brings an HTTP server beside ours.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

/// `Content-Type` of [`Metrics::render`].
pub const METRICS_CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Series of one registry. What is registered past it counts, but is not rendered: labels with values from
/// outside cannot fill the memory.
const SERIES_MAX: usize = 1000;

/// Only ever grows.
#[derive(Debug, Clone, Default)]
pub struct Counter(Arc<AtomicU64>);

impl Counter {
    /// Adds 1.
    pub fn inc(&self) {
        self.add(1);
    }

    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    /// The value now.
    #[must_use]
    pub fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Goes up and down.
#[derive(Debug, Clone, Default)]
pub struct Gauge(Arc<AtomicI64>);

impl Gauge {
    /// Sets the value.
    pub fn set(&self, value: i64) {
        self.0.store(value, Relaxed);
    }

    /// Adds `n`, which may be negative.
    pub fn add(&self, n: i64) {
        self.0.fetch_add(n, Relaxed);
    }

    /// The value now.
    #[must_use]
    pub fn value(&self) -> i64 {
        self.0.load(Relaxed)
    }
}

/// Counts observations at or below fixed bounds.
#[derive(Debug, Clone)]
pub struct Histogram(Arc<Buckets>);

#[derive(Debug)]
struct Buckets {
    bounds: &'static [f64],
    counts: Vec<AtomicU64>,
    sum_bits: AtomicU64,
}

impl Histogram {
    fn new(bounds: &'static [f64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(); // the last: above all
        Self(Arc::new(Buckets { bounds, counts, sum_bits: AtomicU64::new(0) }))
    }

    /// Counts one value, in the base unit that the name ends with (`_seconds`, `_bytes`).
    pub fn observe(&self, value: f64) {
        let at = self.0.bounds.iter().position(|bound| value <= *bound);
        let count = at.map_or(self.0.counts.last(), |at| self.0.counts.get(at));
        count.map(|count| count.fetch_add(1, Relaxed));
        let add = |bits| Some((f64::from_bits(bits) + value).to_bits());
        let _ = self.0.sum_bits.fetch_update(Relaxed, Relaxed, add);
    }
}

#[derive(Debug, Clone)]
enum Series {
    Counter(Counter),
    Gauge(Gauge),
    Histogram(Histogram),
}

#[derive(Debug)]
struct Family {
    kind: &'static str,
    help: &'static str,
    series: BTreeMap<String, Series>,
}

/// The metrics of one server; clones share them. Registering the same name and labels again gives the same
/// series. Names, label names and help (one line) come from the code; label values may be any text.
/// Registering a name as two kinds gives the second a series that is not rendered.
#[derive(Debug, Clone, Default)]
pub struct Metrics(Arc<Mutex<BTreeMap<&'static str, Family>>>);

impl Metrics {
    /// A counter; its name ends in `_total`.
    pub fn counter(&self, name: &'static str, help: &'static str, labels: &[(&str, &str)]) -> Counter {
        match self.series("counter", name, help, labels, || Series::Counter(Counter::default())) {
            Series::Counter(counter) => counter,
            _ => Counter::default(),
        }
    }

    /// A gauge.
    pub fn gauge(&self, name: &'static str, help: &'static str, labels: &[(&str, &str)]) -> Gauge {
        match self.series("gauge", name, help, labels, || Series::Gauge(Gauge::default())) {
            Series::Gauge(gauge) => gauge,
            _ => Gauge::default(),
        }
    }

    /// A histogram with rising upper `bounds`; the one at infinity is implied.
    pub fn histogram(
        &self,
        name: &'static str,
        help: &'static str,
        labels: &[(&str, &str)],
        bounds: &'static [f64],
    ) -> Histogram {
        match self.series("histogram", name, help, labels, || Series::Histogram(Histogram::new(bounds))) {
            Series::Histogram(histogram) => histogram,
            _ => Histogram::new(bounds),
        }
    }

    fn series(
        &self,
        kind: &'static str,
        name: &'static str,
        help: &'static str,
        labels: &[(&str, &str)],
        new: impl Fn() -> Series,
    ) -> Series {
        let labels =
            labels.iter().map(|(k, v)| format!("{k}=\"{}\"", escape(v))).collect::<Vec<_>>().join(",");
        let mut families = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let held: usize = families.values().map(|family| family.series.len()).sum();
        let family = families.entry(name).or_insert_with(|| Family { kind, help, series: BTreeMap::new() });
        match family.series.get(&labels) {
            Some(series) => series.clone(),
            None if held >= SERIES_MAX || family.kind != kind => new(),
            None => family.series.entry(labels).or_insert_with(new).clone(),
        }
    }

    /// Writes all series in the text format, sorted by name and labels.
    #[must_use]
    pub fn render(&self) -> String {
        let mut out = String::new();
        let families = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, family) in families.iter() {
            let Family { kind, help, .. } = family;
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
            for (labels, series) in &family.series {
                let _ = match series {
                    Series::Counter(counter) => writeln!(out, "{name}{} {}", braces(labels), counter.value()),
                    Series::Gauge(gauge) => writeln!(out, "{name}{} {}", braces(labels), gauge.value()),
                    Series::Histogram(histogram) => histogram.0.render(&mut out, name, labels),
                };
            }
        }
        out
    }
}

impl Buckets {
    fn render(&self, out: &mut String, name: &str, labels: &str) -> std::fmt::Result {
        let comma = if labels.is_empty() { "" } else { "," };
        let mut below = 0;
        for (bound, count) in self.bounds.iter().zip(&self.counts) {
            below += count.load(Relaxed);
            writeln!(out, "{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {below}")?;
        }
        let above = self.counts.last().map_or(0, |count| count.load(Relaxed));
        let (all, sum) = (below + above, f64::from_bits(self.sum_bits.load(Relaxed)));
        writeln!(out, "{name}_bucket{{{labels}{comma}le=\"+Inf\"}} {all}")?;
        writeln!(out, "{name}_sum{0} {sum}\n{name}_count{0} {all}", braces(labels))
    }
}

fn braces(labels: &str) -> String {
    if labels.is_empty() { String::new() } else { format!("{{{labels}}}") }
}

fn escape(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_what_prometheus_reads() {
        let metrics = Metrics::default();
        metrics.counter("x_requests_total", "Requests.", &[("code", "200")]).add(2);
        metrics.counter("x_requests_total", "Requests.", &[("code", "200")]).inc();
        metrics.counter("x_requests_total", "Requests.", &[("code", "404")]).inc();
        metrics.gauge("x_open", "Open now.", &[]).set(-2);
        let took = metrics.histogram("x_seconds", "Time.", &[("m", "GET")], &[0.1, 1.0]);
        for value in [0.0, 0.1, 0.5, 1.5] {
            took.observe(value);
        }
        let want = r#"# HELP x_open Open now.
# TYPE x_open gauge
x_open -2
# HELP x_requests_total Requests.
# TYPE x_requests_total counter
x_requests_total{code="200"} 3
x_requests_total{code="404"} 1
# HELP x_seconds Time.
# TYPE x_seconds histogram
x_seconds_bucket{m="GET",le="0.1"} 2
x_seconds_bucket{m="GET",le="1"} 3
x_seconds_bucket{m="GET",le="+Inf"} 4
x_seconds_sum{m="GET"} 2.1
x_seconds_count{m="GET"} 4
"#;
        assert_eq!(metrics.render(), want);
    }

    #[test]
    fn a_label_value_cannot_leave_its_quotes() {
        let metrics = Metrics::default();
        metrics.counter("x_total", "X.", &[("name", "a\"} 9\nb\\")]).inc();
        assert_eq!(metrics.render().lines().last(), Some(r#"x_total{name="a\"} 9\nb\\"} 1"#));
    }

    #[test]
    fn a_name_has_one_kind() {
        let metrics = Metrics::default();
        metrics.counter("x_total", "X.", &[]).inc();
        metrics.gauge("x_total", "X.", &[]).set(7);
        metrics.gauge("x_total", "X.", &[("a", "b")]).set(7);
        assert_eq!(metrics.render(), "# HELP x_total X.\n# TYPE x_total counter\nx_total 1\n");
    }

    #[test]
    fn one_series_over_the_limit_counts_but_is_not_kept() {
        let metrics = Metrics::default();
        for n in 0..=SERIES_MAX {
            metrics.counter("x_total", "X.", &[("n", &n.to_string())]).inc();
        }
        assert_eq!(metrics.render().lines().count(), SERIES_MAX + 2);
        metrics.counter("x_total", "X.", &[("n", "0")]).inc();
        assert!(metrics.render().contains("x_total{n=\"0\"} 2"), "held series go on");
    }
}
