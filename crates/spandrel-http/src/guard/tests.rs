use super::*;
use proptest::prelude::*;

fn guard(loopback: bool, public: Option<&str>, allowed: &[&str]) -> Guard {
    Guard::new(&GuardConfig {
        listen_is_loopback: loopback,
        public_base_url: public.map(str::to_owned),
        allowed_origins: allowed.iter().map(|&origin| origin.to_owned()).collect(),
    })
    .unwrap()
}

const OWN: Option<&str> = Some("127.0.0.1:8001");

#[test]
fn a_page_may_drive_only_its_own_server() {
    let plain = guard(false, None, &[]);
    for (host, origin) in [
        ("127.0.0.1:8001", "http://127.0.0.1:8001"),
        ("localhost:8001", "http://localhost:8001"),
        ("LOCALHOST:8001", "http://localhost:8001"),
        ("[::1]:8001", "http://[::1]:8001"),
        ("[0:0::1]:8001", "http://[::1]:8001"),
        ("x.example", "http://x.example"),
        ("x.example", "https://x.example"),
        ("x.example:80", "http://x.example"),
        ("x.example", "http://x.example:80"),
        ("x.example:443", "https://x.example"),
        ("xn--bcher-kva.example", "https://xn--bcher-kva.example"),
        ("xn--bcher-kva.example", "https://XN--BCHER-KVA.EXAMPLE"),
    ] {
        assert_eq!(plain.check(&Method::POST, Some(host), Some(origin), false), Ok(()), "{origin} to {host}");
    }
    for (host, origin) in [
        ("127.0.0.1:8001", "http://evil.example"),
        ("127.0.0.1:8001", "http://127.0.0.1"),
        ("127.0.0.1:8001", "http://127.0.0.1:8002"),
        ("127.0.0.1:8001", "http://127.0.0.1:08001"),
        ("127.0.0.1:8001", "http://localhost:8001"),
        ("127.0.0.1:8001", "http://127.0.0.2:8001"),
        ("127.0.0.1:8001", "http://127.0.0.1.evil.example:8001"),
        ("127.0.0.1:8001", "http://127.0.0.1:8001.evil.example"),
        ("127.0.0.1:8001", "http://127.0.0.1:8001@evil.example"),
        ("127.0.0.1:8001", "http://evil.example@127.0.0.1:8001"),
        ("127.0.0.1:8001", "http://evil.example#@127.0.0.1:8001"),
        ("127.0.0.1:8001", "http://evil.example\\@127.0.0.1:8001"),
        ("127.0.0.1:8001", "http://127.0.0.1.:8001"),
        ("127.0.0.1:8001", "http://127.1:8001"),
        ("127.0.0.1:8001", "http://2130706433:8001"),
        ("127.0.0.1:8001", "http://0x7f.0.0.1:8001"),
        ("127.0.0.1:8001", "http://127.0.0.1:8001/"),
        ("127.0.0.1:8001", "http://127.0.0.1:8001 http://evil.example"),
        ("127.0.0.1:8001", "http://evil.example, http://127.0.0.1:8001"),
        ("127.0.0.1:8001", "127.0.0.1:8001"),
        ("127.0.0.1:8001", "//127.0.0.1:8001"),
        ("127.0.0.1:8001", "null"),
        ("127.0.0.1:8001", "NULL"),
        ("127.0.0.1:8001", ""),
        ("127.0.0.1:8001", "*"),
        ("127.0.0.1:8001", "file://"),
        ("x.example", "http://x.example:8080"),
        ("x.example:80", "https://x.example"),
        ("x.example", "http://x.example."),
        ("x.example.", "http://x.example."),
        ("x.example", "http://sub.x.example"),
        ("x.example", "http://evilx.example"),
        ("x.example", "chrome-extension://x.example"),
        ("bücher.example", "http://bücher.example"),
        ("null", "null"),
        ("", "http://"),
        ("user@x.example", "http://x.example"),
    ] {
        let got = plain.check(&Method::POST, Some(host), Some(origin), false);
        assert_eq!(got, Err(Refused::Origin), "{origin} to {host}");
    }
    assert_eq!(plain.check(&Method::POST, None, Some("http://x.example"), false), Err(Refused::Origin));
    assert_eq!(plain.check(&Method::POST, None, None, false), Ok(()), "no browser");
}

#[test]
fn what_only_reads_may_come_from_any_page() {
    let (plain, evil) = (guard(true, None, &[]), Some("http://evil.example"));
    for (method, is_upgrade, want) in [
        (Method::GET, false, Ok(())),
        (Method::HEAD, false, Ok(())),
        (Method::OPTIONS, false, Ok(())),
        (Method::GET, true, Err(Refused::Origin)),
        (Method::POST, false, Err(Refused::Origin)),
        (Method::PUT, false, Err(Refused::Origin)),
        (Method::PATCH, false, Err(Refused::Origin)),
        (Method::DELETE, false, Err(Refused::Origin)),
        (Method::CONNECT, false, Err(Refused::Origin)),
        (Method::TRACE, false, Err(Refused::Origin)),
        (Method::from_bytes(b"get").unwrap(), false, Err(Refused::Origin)),
    ] {
        assert_eq!(plain.check(&method, OWN, evil, is_upgrade), want, "{method} {is_upgrade}");
        assert_eq!(plain.check(&method, OWN, None, is_upgrade), Ok(()), "{method} without origin");
    }
}

#[test]
fn a_loopback_listener_answers_to_its_own_names_only() {
    let local = guard(true, Some("https://export.example:8443/x"), &["http://desk.example:3000"]);
    for (host, want) in [
        (Some("127.0.0.1:8001"), Ok(())),
        (Some("127.0.0.1"), Ok(())),
        (Some("127.9.9.9:1"), Ok(())),
        (Some("localhost"), Ok(())),
        (Some("LocalHost:8001"), Ok(())),
        (Some("[::1]:8001"), Ok(())),
        (Some("[::ffff:127.0.0.1]:8001"), Ok(())),
        (Some("export.example"), Ok(())),
        (Some("EXPORT.example:8443"), Ok(())),
        (Some("export.example:9"), Ok(())),
        (Some("desk.example"), Ok(())),
        (Some("evil.example:8001"), Err(Refused::Host)),
        (Some("127.0.0.1.evil.example:8001"), Err(Refused::Host)),
        (Some("7f000001.rbndr.example"), Err(Refused::Host)),
        (Some("localhost.evil.example"), Err(Refused::Host)),
        (Some("evil-localhost"), Err(Refused::Host)),
        (Some("app.localhost"), Err(Refused::Host)),
        (Some("localhost."), Err(Refused::Host)),
        (Some("127.0.0.1."), Err(Refused::Host)),
        (Some("sub.export.example"), Err(Refused::Host)),
        (Some("export.example."), Err(Refused::Host)),
        (Some("localhost:"), Err(Refused::Host)),
        (Some("localhost:80:80"), Err(Refused::Host)),
        (Some("evil.example@localhost"), Err(Refused::Host)),
        (Some("localhost@evil.example"), Err(Refused::Host)),
        (Some("localhost,evil.example"), Err(Refused::Host)),
        (Some("localhost evil.example"), Err(Refused::Host)),
        (Some("0.0.0.0:8001"), Err(Refused::Host)),
        (Some("[::]:8001"), Err(Refused::Host)),
        (Some("192.168.0.2:8001"), Err(Refused::Host)),
        (Some("[::1%25lo]"), Err(Refused::Host)),
        (Some("127.1"), Err(Refused::Host)),
        (Some("2130706433"), Err(Refused::Host)),
        (Some(""), Err(Refused::Host)),
        (None, Err(Refused::Host)),
    ] {
        for method in [Method::GET, Method::HEAD, Method::OPTIONS, Method::POST] {
            assert_eq!(local.check(&method, host, None, false), want, "{method} {host:?}");
        }
    }
    let rebound = Some("evil.example:8001");
    let own_origin = Some("http://evil.example:8001");
    assert_eq!(local.check(&Method::POST, rebound, own_origin, false), Err(Refused::Host), "rebinding");
    let open = guard(false, None, &[]);
    assert_eq!(open.check(&Method::GET, rebound, None, false), Ok(()), "other listeners have any name");
    assert_eq!(open.check(&Method::GET, None, None, false), Ok(()));
}

#[test]
fn the_public_url_and_listed_origins_are_trusted() {
    let both =
        guard(true, Some("https://Export.Example/x?y"), &["http://desk.example:3000", "https://a.example"]);
    for (origin, want) in [
        ("https://export.example", Ok(())),
        ("https://export.example:443", Ok(())),
        ("http://export.example:443", Ok(())), // host and port count, as the rule says
        ("http://export.example", Err(Refused::Origin)),
        ("https://export.example:8443", Err(Refused::Origin)),
        ("http://desk.example:3000", Ok(())),
        ("HTTP://DESK.example:3000", Ok(())),
        ("https://desk.example:3000", Err(Refused::Origin)), // a listed origin is a whole origin
        ("http://desk.example", Err(Refused::Origin)),
        ("https://a.example:443", Ok(())),
        ("http://a.example", Err(Refused::Origin)),
        ("https://sub.a.example", Err(Refused::Origin)),
        ("null", Err(Refused::Origin)),
    ] {
        assert_eq!(both.check(&Method::POST, OWN, Some(origin), false), want, "{origin}");
        assert_eq!(both.check(&Method::GET, OWN, Some(origin), true), want, "{origin} upgrade");
    }
}

#[test]
fn configuration_that_cannot_be_meant_is_refused() {
    for origin in [
        "*",
        "null",
        "desk.example",
        "http://desk.example/",
        "http://*.example",
        "https://bücher.example",
        "",
    ] {
        let config = GuardConfig { allowed_origins: vec![origin.to_owned()], ..GuardConfig::default() };
        assert_eq!(
            Guard::new(&config).unwrap_err(),
            GuardConfigError::AllowedOrigin(origin.into()),
            "{origin}"
        );
    }
    for url in
        ["export.example", "https://u:p@export.example/", "ws://export.example", "https://", "https://a b/"]
    {
        let config = GuardConfig { public_base_url: Some(url.to_owned()), ..GuardConfig::default() };
        assert_eq!(Guard::new(&config).unwrap_err(), GuardConfigError::PublicBase(url.into()), "{url}");
    }
}

#[test]
fn cors_is_for_listed_origins_alone() {
    let listed = guard(true, Some("https://export.example"), &["https://a.example"]);
    for (origin, want) in [
        (Some("https://a.example"), Some("https://a.example")),
        (Some("https://export.example"), None),
        (Some("https://b.example"), None),
        (Some("null"), None),
        (None, None),
    ] {
        let mut headers = HeaderMap::new();
        listed.add_cors(origin.map(|text| HeaderValue::from_str(text).unwrap()).as_ref(), &mut headers);
        let got = headers.get("access-control-allow-origin").map(|value| value.to_str().unwrap());
        assert_eq!(got, want, "{origin:?}");
        assert_eq!(headers["vary"], "Origin", "{origin:?}");
        assert_eq!(headers.contains_key("access-control-expose-headers"), want.is_some(), "{origin:?}");
        assert!(!headers.contains_key("access-control-allow-credentials"));
    }
    let mut headers = HeaderMap::new();
    guard(true, None, &[]).add_cors(Some(&HeaderValue::from_static("https://a.example")), &mut headers);
    assert!(headers.is_empty(), "nothing listed, nothing said");
}

#[test]
fn a_preflight_is_answered_for_listed_origins_alone() {
    let listed = guard(true, None, &["https://a.example"]);
    let ask = |origin: &'static str, method: &Method, is_preflight: bool| {
        let mut headers = HeaderMap::new();
        headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
        if is_preflight {
            headers.insert(header::ACCESS_CONTROL_REQUEST_METHOD, HeaderValue::from_static("POST"));
        }
        listed.preflight(method, &headers)
    };
    let answer = ask("https://a.example", &Method::OPTIONS, true).unwrap();
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    for (name, want) in [
        ("access-control-allow-origin", "https://a.example"),
        ("access-control-allow-methods", "GET, HEAD, POST, DELETE"),
        ("vary", "Origin"),
    ] {
        assert_eq!(answer.headers()[name], want, "{name}");
    }
    assert!(answer.headers()["access-control-allow-headers"].to_str().unwrap().contains("Authorization"));
    assert!(ask("https://b.example", &Method::OPTIONS, true).is_none(), "not listed");
    assert!(ask("https://a.example", &Method::OPTIONS, false).is_none(), "plain OPTIONS");
    assert!(ask("https://a.example", &Method::POST, true).is_none(), "not OPTIONS");
}

proptest! {
    /// Whatever origin is let in without configuration has the host of `Host`.
    #[test]
    fn prop_an_accepted_origin_has_the_host(
        host in "(localhost|127\\.0\\.0\\.1|\\[::1\\])(:[0-9]{1,5})?",
        origin in "https?://(localhost|127\\.0\\.0\\.1|\\[::1\\]|evil)[.@:/#]{0,2}(evil\\.example)?(:[0-9]{1,5})?",
    ) {
        if guard(true, None, &[]).check(&Method::POST, Some(&host), Some(&origin), false).is_ok() {
            let bare = host.split_once("]:").map_or_else(
                || host.split(':').next().filter(|h| !h.starts_with('[')).unwrap_or(&host).to_owned(),
                |(address, _)| format!("{address}]"),
            );
            let rest = origin.split_once("://").unwrap().1;
            prop_assert!(rest == bare || rest.strip_prefix(&format!("{bare}:")).is_some_and(|p| p.parse::<u16>().is_ok()), "{} {}", host, origin);
        }
    }

    /// No pair of texts makes the guard panic, and reading is never refused where writing is allowed.
    #[test]
    fn prop_never_panics_and_reads_are_laxer(host in ".{0,40}", origin in ".{0,40}", loopback: bool) {
        let guard = guard(loopback, None, &["https://a.example"]);
        let post = guard.check(&Method::POST, Some(&host), Some(&origin), false);
        let get = guard.check(&Method::GET, Some(&host), Some(&origin), false);
        prop_assert!(get.is_ok() || post.is_err());
    }
}
