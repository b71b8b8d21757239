//! Bounds and clockwork of the configuration (protocol section 14).

use serde::Deserialize;
use spandrel_download_service::ServiceConfig;

/// What is left out has its default there. All are at least 1 but those that say otherwise.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Limits {
    max_message_bytes: Option<usize>,
    max_connections: Option<usize>,
    max_http_connections: Option<usize>,
    max_connections_per_address: Option<usize>,
    /// Until the head of a request is there, and before it the TLS handshake.
    head_timeout_ms: Option<u64>,
    body_timeout_ms: Option<u64>,
    /// A reader that takes nothing for so long is dropped.
    stalled_reader_ms: Option<u64>,
    /// Until a command or REST call is answered `TIMEOUT`.
    command_timeout_ms: Option<u64>,
    /// Of all connections together.
    outbound_total_bytes: Option<usize>,
    /// Resident memory at which jobs are refused.
    max_memory_bytes: Option<u64>,
    max_stuck_runs: Option<usize>,
    max_attachments: Option<usize>,
    messages_per_second: Option<u32>,
    message_burst: Option<u32>,
    outbound_queue_bytes: Option<usize>,
    outbound_timeout_ms: Option<u64>,
    max_active: Option<usize>,
    max_active_per_principal: Option<usize>,
    /// May be 0: no job waits.
    max_queued: Option<usize>,
    max_parts: Option<u32>,
    max_sort_rows: Option<u64>,
    /// May be 0: no second try.
    max_retries: Option<u32>,
    /// Before the first retry; doubles each time.
    retry_delay_ms: Option<u64>,
    source_timeout_ms: Option<u64>,
    /// May be 0: a full disk is found out by writing.
    min_free_bytes: Option<u64>,
    max_nonces: Option<usize>,
    max_filter_depth: Option<usize>,
    max_filter_leaves: Option<usize>,
    max_group_entries: Option<usize>,
    max_in_values: Option<usize>,
    max_filter_value_bytes: Option<usize>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Heartbeat {
    interval_ms: Option<u64>,
    timeout_ms: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Retention {
    file_ttl_ms: Option<u64>,
    record_ttl_ms: Option<u64>,
    paused_ttl_ms: Option<u64>,
    url_ttl_ms: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Csv {
    #[serde(default)]
    pub(crate) formula_guard_default: bool,
}

/// Least bytes of a message: a hello with its health has to fit.
const MESSAGE_BYTES_MIN: usize = 4_096;
/// Connections of requests beside those of messages, unless said otherwise.
const HTTP_BESIDE: usize = 2_000;
/// Most levels of a filter: evaluation recurses.
const FILTER_DEPTH_MAX: usize = 32;

impl Limits {
    pub(super) fn check(&self) -> Result<(), String> {
        let small = |n: Option<usize>| n == Some(0);
        let zero = [
            ("maxConnections", small(self.max_connections)),
            ("maxHttpConnections", small(self.max_http_connections)),
            ("maxConnectionsPerAddress", small(self.max_connections_per_address)),
            ("headTimeoutMs", self.head_timeout_ms == Some(0)),
            ("bodyTimeoutMs", self.body_timeout_ms == Some(0)),
            ("stalledReaderMs", self.stalled_reader_ms == Some(0)),
            ("commandTimeoutMs", self.command_timeout_ms == Some(0)),
            ("outboundTotalBytes", small(self.outbound_total_bytes)),
            ("maxMemoryBytes", self.max_memory_bytes == Some(0)),
            ("maxStuckRuns", small(self.max_stuck_runs)),
            ("maxAttachments", small(self.max_attachments)),
            ("messagesPerSecond", self.messages_per_second == Some(0)),
            ("messageBurst", self.message_burst == Some(0)),
            ("outboundQueueBytes", small(self.outbound_queue_bytes)),
            ("outboundTimeoutMs", self.outbound_timeout_ms == Some(0)),
            ("maxActive", small(self.max_active)),
            ("maxActivePerPrincipal", small(self.max_active_per_principal)),
            ("maxParts", self.max_parts == Some(0)),
            ("retryDelayMs", self.retry_delay_ms == Some(0)),
            ("sourceTimeoutMs", self.source_timeout_ms == Some(0)),
            ("maxNonces", small(self.max_nonces)),
            ("maxFilterDepth", small(self.max_filter_depth)),
            ("maxFilterLeaves", small(self.max_filter_leaves)),
            ("maxGroupEntries", small(self.max_group_entries)),
            ("maxInValues", small(self.max_in_values)),
            ("maxFilterValueBytes", small(self.max_filter_value_bytes)),
        ];
        if let Some((name, _)) = zero.iter().find(|(_, is_zero)| *is_zero) {
            return Err(format!("limits.{name} is 0, with which nothing would work; it is at least 1"));
        }
        if self.max_message_bytes.is_some_and(|n| n < MESSAGE_BYTES_MIN) {
            return Err(format!(
                "limits.maxMessageBytes is under {MESSAGE_BYTES_MIN}, with which no hello fits"
            ));
        }
        if self.max_filter_depth.is_some_and(|n| n > FILTER_DEPTH_MAX) {
            return Err(format!("limits.maxFilterDepth is over {FILTER_DEPTH_MAX}: every level costs stack"));
        }
        Ok(())
    }

    pub(super) fn apply(&self, service: &mut ServiceConfig) {
        let sessions = &mut service.sessions;
        set(&mut sessions.attachments_max, self.max_attachments);
        set(&mut sessions.messages_per_s, self.messages_per_second);
        set(&mut sessions.message_burst, self.message_burst);
        set(&mut sessions.outbound_bytes_max, self.outbound_queue_bytes);
        set(&mut sessions.outbound_over_ms, self.outbound_timeout_ms);
        let protocol = &mut sessions.protocol;
        set(&mut protocol.message_bytes_max, self.max_message_bytes);
        set(&mut protocol.filter_depth_max, self.max_filter_depth);
        set(&mut protocol.filter_leaves_max, self.max_filter_leaves);
        set(&mut protocol.group_entries_max, self.max_group_entries);
        set(&mut protocol.in_values_max, self.max_in_values);
        set(&mut protocol.filter_value_bytes_max, self.max_filter_value_bytes);
        let jobs = &mut service.jobs;
        set(&mut jobs.max_active, self.max_active);
        set(&mut jobs.max_active_per_principal, self.max_active_per_principal);
        set(&mut jobs.max_queued, self.max_queued);
        set(&mut jobs.max_parts, self.max_parts);
        set(&mut jobs.retries_max, self.max_retries);
        set(&mut jobs.retry_delay_ms, self.retry_delay_ms);
        let limits = &mut service.limits;
        set(&mut limits.connections_max, self.max_connections);
        // Message connections come in through the HTTP port: room for all of them, and for requests beside.
        limits.http_connections_max =
            limits.http_connections_max.max(limits.connections_max.saturating_add(HTTP_BESIDE));
        set(&mut limits.http_connections_max, self.max_http_connections);
        limits.http_per_address_max = self.max_connections_per_address.or(limits.http_per_address_max);
        set(&mut limits.head_ms_max, self.head_timeout_ms);
        set(&mut limits.body_ms_max, self.body_timeout_ms);
        set(&mut limits.stalled_ms_max, self.stalled_reader_ms);
        set(&mut limits.command_ms_max, self.command_timeout_ms);
        set(&mut limits.outbound_bytes_max, self.outbound_total_bytes);
        set(&mut limits.stuck_runs_max, self.max_stuck_runs);
        if let Some(bytes) = self.max_memory_bytes {
            limits.memory_fail_bytes = bytes;
            limits.memory_warn_bytes = limits.memory_warn_bytes.min(bytes / 2);
        }
        set(&mut limits.source_timeout_ms, self.source_timeout_ms);
        set(&mut limits.nonces_max, self.max_nonces);
        limits.sort_rows_max = self.max_sort_rows.or(limits.sort_rows_max);
        limits.free_bytes_min = self.min_free_bytes.or(limits.free_bytes_min);
    }
}

impl Heartbeat {
    pub(super) fn check(&self) -> Result<(), String> {
        for (name, value) in [("intervalMs", self.interval_ms), ("timeoutMs", self.timeout_ms)] {
            if value == Some(0) {
                return Err(format!(
                    "heartbeat.{name} is 0, with which nothing would work; it is at least 1"
                ));
            }
        }
        Ok(())
    }

    pub(super) fn apply(&self, service: &mut ServiceConfig) {
        set(&mut service.sessions.heartbeat_interval_ms, self.interval_ms);
        set(&mut service.sessions.heartbeat_timeout_ms, self.timeout_ms);
    }
}

impl Retention {
    pub(super) fn apply(&self, service: &mut ServiceConfig) {
        set(&mut service.retention.file_ttl_ms, self.file_ttl_ms);
        set(&mut service.retention.record_ttl_ms, self.record_ttl_ms);
        set(&mut service.retention.paused_ttl_ms, self.paused_ttl_ms);
        set(&mut service.url_ttl_ms, self.url_ttl_ms);
    }
}

fn set<T>(to: &mut T, from: Option<T>) {
    if let Some(from) = from {
        *to = from;
    }
}
