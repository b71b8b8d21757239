//! Who may come in, and the memory of those who might not.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Waker},
};

use http::{HeaderName, header, request::Parts};
use spandrel_bridge_protocol::{Admitted, Facts, Header, Refusal, Rules, Sign, browser_mark};
use spandrel_socketio_net::Query;
use spandrel_transport::Clock;
use spandrel_wire::Millis;

use crate::{snapshot::Refused, sparse::Sparse};

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
    log: Sparse<Refusal>,
    /// The hub: it has the timer by which held back lines are written.
    hub: Option<Waker>,
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
        let mut headers = parts.headers.iter();
        let facts = Facts {
            host,
            origin: values(header::ORIGIN),
            sec_fetch_site: values(SEC_FETCH_SITE),
            browser_mark: headers.find_map(|(name, value)| browser_mark(name.as_str(), value.as_bytes())),
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
        let (was_held, told) = (refusals.log.wake(), refusals.log.admit(now, 1, refusal.clone()));
        let hub = refusals.hub.take_if(|_| was_held.is_none() && told.is_none());
        drop(refusals);
        if let Some(told) = told {
            tell(told);
        }
        if let Some(hub) = hub {
            hub.wake();
        }
    }

    /// Logs what was held back and is due.
    pub(crate) fn log_late(&self, now: Millis) {
        let told = self.lock().log.due(now);
        if let Some(told) = told {
            tell(told);
        }
    }

    /// When [`log_late`](Self::log_late) has something; the task is woken when this changes.
    pub(crate) fn late_at(&self, cx: &Context<'_>) -> Option<Millis> {
        let mut refusals = self.lock();
        if refusals.hub.as_ref().is_none_or(|hub| !hub.will_wake(cx.waker())) {
            refusals.hub = Some(cx.waker().clone());
        }
        refusals.log.wake()
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

fn tell((cases, refusal): (u64, Refusal)) {
    match cases {
        1 => tracing::warn!("{refusal}"),
        cases => tracing::warn!("{refusal} ({} refusals before were not logged)", cases - 1),
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
        Refusal::Pretender { sign: Sign::Origin(origin) } => (format!("childServer from {origin}"), None),
        Refusal::Pretender { sign } => (format!("childServer from {sign}"), None),
        Refusal::Origin { origin, list, .. } => (format!("origin {origin}"), origins(list)),
        Refusal::Site { site } => (format!("no origin, site {site}"), origins("*")),
        Refusal::Browser { mark } => (format!("a browser without origin ({mark})"), origins("*")),
        Refusal::Token { sign, is_missing } => {
            let which = if *is_missing { "without token" } else { "with a wrong token" };
            (format!("{sign} {which}"), Some("the token in SPANDREL_HW_TOKEN".to_owned()))
        }
        other => (other.to_string(), None),
    }
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate").field("refused", &self.refused()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(query: &str, headers: &[(&str, &str)]) -> Parts {
        let target = format!("/socket.io/?EIO=3&transport=polling&{query}");
        let mut request = http::Request::builder().uri(target).header("host", "hw.playentry.org:23518");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn a_browser_is_known_by_any_of_its_headers() {
        let gate = Gate::new(Rules::default(), Clock::start(), 8);
        let image =
            [("Accept", "image/*"), ("Accept-Encoding", "gzip"), ("User-Agent", "Mozilla/5.0 (X11; Linux)")];
        for (query, headers, want) in [
            ("roomId=q", &[][..], Some(Admitted::Program)),
            ("childServer=true", &[], Some(Admitted::ChildServer)),
            ("childServer=true", &[("User-Agent", "node-XMLHttpRequest")], Some(Admitted::ChildServer)),
            ("roomId=q", &image, None),
            ("childServer=true", &image, None),
            ("roomId=q", &[("Sec-Fetch-Site", "none"), ("Referer", "x")], Some(Admitted::Page)),
        ] {
            assert_eq!(gate.judge(&parts(query, headers)).ok(), want, "{query} {headers:?}");
        }
        let told: Vec<_> = gate.last(Millis::new(0)).into_iter().map(|it| (it.what, it.setting)).collect();
        let open = Some("SPANDREL_HW_ORIGINS=*".to_owned());
        assert_eq!(
            told,
            [
                ("childServer from a browser without origin (it sends user-agent Mozilla)".to_owned(), None),
                ("a browser without origin (user-agent Mozilla)".to_owned(), open),
            ]
        );
    }

    /// What is behind as much as a query may hold is what a session reads later.
    #[test]
    fn all_of_a_query_is_judged() {
        let query = format!("{}childServer=true", format!("a={}&", "b".repeat(1_000)).repeat(60));
        let gate = Gate::new(Rules::default(), Clock::start(), 8);
        assert_eq!(gate.judge(&parts(&query, &[])).ok(), Some(Admitted::ChildServer));
        let page = parts(&query, &[("Origin", "https://playentry.org")]);
        assert!(matches!(gate.judge(&page), Err(Refusal::Pretender { .. })));
    }
}
