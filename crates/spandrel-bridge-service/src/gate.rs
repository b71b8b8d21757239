//! Who may come in, and the memory of those who might not.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use http::{HeaderName, header, request::Parts};
use spandrel_bridge_protocol::{Admitted, Facts, Header, Refusal, Rules};
use spandrel_socketio_net::Query;
use spandrel_wire::Millis;

use crate::{clock::Clock, snapshot::Refused, sparse::Sparse};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Judges requests by the rules and remembers the last refusals. One for the life of a bridge.
pub(crate) struct Gate {
    rules: Rules,
    clock: Clock,
    kept_max: usize,
    /// Held for moments, never over a wait.
    refusals: Mutex<Refusals>,
}

#[derive(Default)]
struct Refusals {
    all: u64,
    last: VecDeque<(Millis, Refusal)>,
    log: Sparse,
}

impl Gate {
    pub(crate) fn new(rules: Rules, clock: Clock, kept_max: usize) -> Self {
        Self { rules, clock, kept_max, refusals: Mutex::default() }
    }

    /// Judges one request; a refusal is logged, at most one a second.
    pub(crate) fn judge(&self, parts: &Parts) -> Result<Admitted, Refusal> {
        let query = Query::parse(parts.uri.query().unwrap_or_default());
        let values = |name: HeaderName| Header::of(parts.headers.get_all(name).iter().map(|v| v.as_bytes()));
        // RFC 9112 section 3.2.2: a target with authority replaces `Host`.
        let host = match parts.uri.authority() {
            Some(authority) => Header::One(authority.as_str().as_bytes()),
            None => values(header::HOST),
        };
        let facts = Facts {
            host,
            origin: values(header::ORIGIN),
            sec_fetch_site: values(SEC_FETCH_SITE),
            is_child_server: is_child_server(query.get("childServer")),
            token: query.get("token"),
        };
        self.rules.judge(&facts).inspect_err(|refusal| self.remember(refusal))
    }

    fn remember(&self, refusal: &Refusal) {
        let now = self.clock.now();
        let mut refusals = self.lock();
        refusals.all += 1;
        if refusals.last.len() >= self.kept_max {
            refusals.last.pop_front();
        }
        if self.kept_max > 0 {
            refusals.last.push_back((now, refusal.clone()));
        }
        let admitted = refusals.log.admit(now, 1);
        drop(refusals);
        match admitted {
            Some(1) => tracing::warn!("{refusal}"),
            Some(cases) => tracing::warn!("{refusal} ({} refusals before were not logged)", cases - 1),
            None => {}
        }
    }

    pub(crate) fn refused(&self) -> u64 {
        self.lock().all
    }

    /// The last refusals, newest first.
    pub(crate) fn last(&self, now: Millis) -> Vec<Refused> {
        let shown = |(at, refusal): &(Millis, Refusal)| {
            let (what, setting) = shown(refusal);
            Refused { ago_ms: now.since(*at), what, setting }
        };
        self.lock().last.iter().rev().map(shown).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Refusals> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Does the sender say that it is a hardware program? The gate and the hub ask this of the same reading of the query.
pub(crate) fn is_child_server(value: Option<&str>) -> bool {
    value == Some("true")
}

/// What came, and the setting that would admit it.
fn shown(refusal: &Refusal) -> (String, Option<String>) {
    let origins = |list: &str| Some(format!("SPANDREL_HW_ORIGINS={list}"));
    match refusal {
        Refusal::Host { host } => (format!("host {host}"), origins("*")),
        Refusal::NoHost { is_doubled: true } => ("several hosts".to_owned(), origins("*")),
        Refusal::NoHost { is_doubled: false } => ("no host".to_owned(), origins("*")),
        Refusal::Pretender { origin } => (format!("childServer from {origin}"), None),
        Refusal::Origin { origin, list, .. } => (format!("origin {origin}"), origins(list)),
        Refusal::Site { site } => (format!("no origin, site {site}"), origins("*")),
        Refusal::Token { origin, is_missing: true } => {
            (format!("origin {origin} without token"), Some("the token in SPANDREL_HW_TOKEN".to_owned()))
        }
        Refusal::Token { origin, is_missing: false } => {
            (format!("origin {origin} with a wrong token"), Some("the token in SPANDREL_HW_TOKEN".to_owned()))
        }
        other => (other.to_string(), None),
    }
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate").field("refused", &self.refused()).finish_non_exhaustive()
    }
}
