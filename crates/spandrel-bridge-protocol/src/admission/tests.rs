use proptest::prelude::*;

use super::*;

fn rules(list: &str) -> Rules {
    Rules::new(Origins::parse(list).unwrap())
}

/// A request as every client of this machine makes it, changed by `change`.
fn facts<'a>(change: impl FnOnce(&mut Facts<'a>)) -> Facts<'a> {
    let mut facts = Facts { host: Header::One(b"127.0.0.1:23518"), ..Facts::default() };
    change(&mut facts);
    facts
}

#[test]
fn programs_and_listed_pages_come_in() {
    let page = |text: &'static str| facts(|f| f.origin = Header::One(text.as_bytes()));
    let rules = rules("default");
    assert_eq!(rules.judge(&facts(|_| {})), Ok(Admitted::Program));
    assert_eq!(rules.judge(&facts(|f| f.is_child_server = true)), Ok(Admitted::ChildServer));
    assert_eq!(rules.judge(&page("https://playentry.org")), Ok(Admitted::Page));
    assert_eq!(rules.judge(&page("http://localhost:8080")), Ok(Admitted::Page));
    assert!(matches!(rules.judge(&page("https://evil.example")), Err(Refusal::Origin { .. })));
}

#[test]
fn only_the_names_of_this_machine_are_hosts() {
    for host in [
        "127.0.0.1:23518",
        "127.0.0.1",
        "localhost:23518",
        "LOCALHOST:1",
        "hw.playentry.org:23518",
        "HW.PlayEntry.org",
        "hardware.playentry.org:1",
    ] {
        assert_eq!(
            rules("default").judge(&facts(|f| f.host = Header::One(host.as_bytes()))),
            Ok(Admitted::Program),
            "{host}"
        );
    }
    let long = "a".repeat(NAME_BYTES_MAX + 1);
    for host in [
        "",
        " ",
        "evil.example",
        "rebind.evil.example:23518",
        "127.0.0.1.evil.example:23518",
        "xhw.playentry.org:23518",
        "hw.playentry.org.evil.example",
        "hw.playentry.org.",
        "playentry.org",
        "localhost.evil.example",
        "localhost.",
        "localhost:",
        "localhost:0",
        "localhost:99999",
        "localhost:80:80",
        "user@localhost",
        "localhost/",
        "localhost, localhost",
        "local host",
        "127.0.0.2",
        "127.1",
        "2130706433",
        "0.0.0.0",
        "[::1]",
        "::1",
        "http://localhost",
        "localhost\0",
        &long,
    ] {
        let refused = rules("default,null").judge(&facts(|f| f.host = Header::One(host.as_bytes())));
        assert!(matches!(refused, Err(Refusal::Host { .. })), "{host:?}: {refused:?}");
        // Not even with an origin that is listed, or that agrees with the host.
        let with_origin = facts(|f| {
            (f.host, f.origin) = (Header::One(host.as_bytes()), Header::One(b"https://playentry.org"))
        });
        assert!(matches!(rules("default").judge(&with_origin), Err(Refusal::Host { .. })), "{host:?}");
        assert_eq!(
            rules("*").judge(&facts(|f| f.host = Header::One(host.as_bytes()))),
            Ok(Admitted::Program),
            "{host:?} under *"
        );
    }
    for (host, is_doubled) in [(Header::Missing, false), (Header::Many, true)] {
        assert_eq!(rules("default").judge(&facts(|f| f.host = host)), Err(Refusal::NoHost { is_doubled }));
        assert_eq!(rules("*").judge(&facts(|f| f.host = host)), Ok(Admitted::Program));
    }
}

#[test]
fn no_setting_lets_a_browser_pose_as_a_program() {
    for list in ["default", "*", "null,file", "https://playentry.org"] {
        for (name, origin, site) in [
            ("listed origin", Header::One(&b"https://playentry.org"[..]), Header::Missing),
            ("foreign origin", Header::One(b"https://evil.example"), Header::Missing),
            ("null", Header::One(b"null"), Header::Missing),
            ("empty origin", Header::One(b""), Header::Missing),
            ("two origins", Header::Many, Header::Missing),
            ("image", Header::Missing, Header::One(b"cross-site")),
            ("neighbour", Header::Missing, Header::One(b"same-site")),
            ("own page", Header::Missing, Header::One(b"same-origin")),
            ("address bar", Header::Missing, Header::One(b"none")),
            ("two sites", Header::Missing, Header::Many),
        ] {
            for token in [None, Some("right")] {
                let facts = facts(|f| {
                    (f.origin, f.sec_fetch_site, f.token, f.is_child_server) = (origin, site, token, true);
                });
                for rules in [rules(list), rules(list).with_token(Token::new("right").unwrap())] {
                    let judged = rules.judge(&facts);
                    assert!(matches!(judged, Err(Refusal::Pretender { .. })), "{list}, {name}: {judged:?}");
                }
            }
        }
    }
}

#[test]
fn without_an_origin_only_the_browsers_own_doing_comes_in() {
    for (site, want) in [
        (Header::Missing, true),
        (Header::One(&b"none"[..]), true),
        (Header::One(b"same-origin"), true),
        (Header::One(b"cross-site"), false),
        (Header::One(b"same-site"), false),
        (Header::One(b"Cross-Site"), false),
        (Header::One(b"new-value"), false),
        (Header::One(b"none, none"), false),
        (Header::One(b""), false),
        (Header::Many, false),
    ] {
        let facts = facts(|f| f.sec_fetch_site = site);
        let judged = rules("default").judge(&facts);
        assert_eq!(judged.is_ok(), want, "{site:?}: {judged:?}");
        assert!(want || matches!(judged, Err(Refusal::Site { .. })), "{site:?}: {judged:?}");
        assert!(rules("*").judge(&facts).is_ok(), "{site:?} under *");
    }
    // A page that says who it is is judged by that.
    let listed = facts(|f| {
        (f.origin, f.sec_fetch_site) = (Header::One(b"https://playentry.org"), Header::One(b"cross-site"));
    });
    assert_eq!(rules("default").judge(&listed), Ok(Admitted::Page));
}

#[test]
fn an_origin_sent_twice_matches_nothing() {
    let twice = facts(|f| f.origin = Header::Many);
    assert!(matches!(rules("default,null").judge(&twice), Err(Refusal::Origin { .. })));
    assert_eq!(rules("*").judge(&twice), Ok(Admitted::Page));
    let values: [&[u8]; 2] = [b"https://playentry.org", b"https://playentry.org"];
    assert_eq!(Header::of(values), Header::Many);
    assert_eq!(Header::of(values.into_iter().take(1)), Header::One(values[0]));
    assert_eq!(Header::of([]), Header::Missing);
}

#[test]
fn pages_know_the_token_and_programs_need_none() {
    let rules = rules("*").with_token(Token::new("right-token").unwrap());
    for (token, is_missing) in [
        (None, true),
        (Some(""), false),
        (Some("right-toke"), false),
        (Some("right-tokem"), false),
        (Some("right-token "), false),
        (Some("RIGHT-TOKEN"), false),
        (Some("right-token\0"), false),
        (Some("한글"), false),
    ] {
        let page = facts(|f| (f.origin, f.token) = (Header::One(b"https://playentry.org"), token));
        match rules.judge(&page) {
            Err(Refusal::Token { is_missing: got, .. }) => assert_eq!(got, is_missing, "{token:?}"),
            other => panic!("{token:?}: {other:?}"),
        }
        assert_eq!(rules.judge(&facts(|f| f.token = token)), Ok(Admitted::Program), "{token:?}");
        assert_eq!(
            rules.judge(&facts(|f| (f.token, f.is_child_server) = (token, true))),
            Ok(Admitted::ChildServer)
        );
    }
    let page = facts(|f| (f.origin, f.token) = (Header::One(b"https://playentry.org"), Some("right-token")));
    assert_eq!(rules.judge(&page), Ok(Admitted::Page));
    // A browser that says no origin is a browser all the same.
    let image = facts(|f| f.sec_fetch_site = Header::One(b"cross-site"));
    assert!(matches!(rules.judge(&image), Err(Refusal::Token { is_missing: true, .. })));
}

#[test]
fn a_refusal_is_one_line_that_names_the_setting_and_no_token() {
    let rules = rules("default").with_token(Token::new("sesame").unwrap());
    let listed = Header::One(&b"https://playentry.org"[..]);
    let far = format!("https://{}", ["a"; 120].join("."));
    for (change, want) in [
        (
            facts(|f| f.host = Header::One(b"evil\r\n.example")),
            "refused a request for host \"evil\\r\\n.example\": it is reached as 127.0.0.1, localhost, hw.playentry.org or hardware.playentry.org only; the entry * in origins (SPANDREL_HW_ORIGINS) admits any",
        ),
        (
            facts(|f| f.host = Header::Missing),
            "refused a request without host: expected exactly one; the entry * in origins (SPANDREL_HW_ORIGINS) admits it",
        ),
        (
            facts(|f| (f.is_child_server, f.origin) = (true, listed)),
            "refused childServer from a browser (origin \"https://playentry.org\"): only programs may join, no setting admits it",
        ),
        (
            facts(|f| f.origin = Header::One(b"https://Evil.example:443")),
            "refused origin \"https://Evil.example:443\": it is not in the list; origins (SPANDREL_HW_ORIGINS) set to default,https://evil.example admits it",
        ),
        (
            facts(|f| f.origin = Header::One(b"null")),
            "refused origin \"null\": it is not in the list; origins (SPANDREL_HW_ORIGINS) set to default,null admits it, and sandboxed frames of any web page with it",
        ),
        (
            facts(|f| f.origin = Header::One(b"\x1b]0;x\x07")),
            "refused origin \"\\x1b]0;x\\x07\": it is not in the list; origins (SPANDREL_HW_ORIGINS) set to * admits it, and every other page with it",
        ),
        (
            facts(|f| f.origin = Header::Many),
            "refused origin \"(sent more than once)\": it is not in the list; origins (SPANDREL_HW_ORIGINS) set to * admits it, and every other page with it",
        ),
        (
            facts(|f| f.origin = Header::One(far.as_bytes())),
            &format!(
                "refused origin \"{}...\": it is not in the list; origins (SPANDREL_HW_ORIGINS) set to default,<the origin> admits it",
                &far[..80]
            ),
        ),
        (
            facts(|f| f.sec_fetch_site = Header::One(b"same-site")),
            "refused a request without origin from another site (sec-fetch-site \"same-site\"); the entry * in origins (SPANDREL_HW_ORIGINS) admits it",
        ),
        (
            facts(|f| (f.origin, f.token) = (listed, Some("sesam"))),
            "refused origin \"https://playentry.org\": it sends another pairing token; give the page the one of the setting token (SPANDREL_HW_TOKEN), or unset that",
        ),
        (
            facts(|f| f.origin = listed),
            "refused origin \"https://playentry.org\": it sends no pairing token; give the page the one of the setting token (SPANDREL_HW_TOKEN), or unset that",
        ),
    ] {
        assert_eq!(rules.judge(&change).unwrap_err().to_string(), want);
    }
    let facts = facts(|f| f.token = Some("sesame"));
    for printed in [format!("{rules:?}"), format!("{facts:?}"), format!("{:?}", rules.judge(&facts))] {
        assert!(!printed.contains("sesame"), "{printed}");
    }
}

#[test]
fn the_list_that_admits_is_true() {
    for origin in [
        "https://evil.example",
        "http://evil.example:8080",
        "app://x",
        "null",
        "",
        "evil",
        "http://[fd00::1]",
    ] {
        let page = facts(|f| f.origin = Header::One(origin.as_bytes()));
        let Err(Refusal::Origin { list, .. }) = rules("default").judge(&page) else { panic!("{origin}") };
        assert_eq!(rules(&list).judge(&page), Ok(Admitted::Page), "{origin:?} with {list}");
    }
}

fn any_header() -> impl Strategy<Value = Option<Vec<u8>>> {
    prop_oneof![
        Just(None),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(Some),
        prop::sample::select(vec![
            "127.0.0.1",
            "localhost:1",
            "evil.example",
            "https://playentry.org",
            "https://evil.example",
            "null",
            "file://",
            "cross-site",
            "none",
        ])
        .prop_map(|text| Some(text.as_bytes().to_vec())),
    ]
}

fn header(value: Option<&Vec<u8>>) -> Header<'_> {
    value.map_or(Header::Missing, |value| Header::One(value))
}

proptest! {
    /// Under no rules does a request with a browser's header come in as a program, and every refusal is one printable line.
    #[test]
    fn prop_browsers_are_never_programs(
        host in any_header(), origin in any_header(), site in any_header(), is_child_server: bool, is_open: bool,
    ) {
        let rules = rules(if is_open { "*" } else { "default" });
        let facts = Facts {
            host: header(host.as_ref()), origin: header(origin.as_ref()), sec_fetch_site: header(site.as_ref()),
            is_child_server, token: None,
        };
        let is_browser = origin.is_some() || site.is_some();
        match rules.judge(&facts) {
            Ok(admitted) => prop_assert_eq!(admitted == Admitted::Page, is_browser),
            Err(refusal) => prop_assert!(refusal.to_string().bytes().all(|b| (b' '..=b'~').contains(&b))),
        }
    }

    /// A longer list admits no less.
    #[test]
    fn prop_entries_only_open(origin in any_header(), entry in "(https://evil\\.example|null|file|\\*)") {
        let facts = Facts { host: Header::One(b"localhost"), origin: header(origin.as_ref()), ..Facts::default() };
        let (short, long) = (rules("default").judge(&facts), rules(&format!("default,{entry}")).judge(&facts));
        prop_assert!(short.is_err() || long.is_ok());
    }
}
