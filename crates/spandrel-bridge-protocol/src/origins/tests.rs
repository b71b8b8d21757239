use proptest::prelude::*;

use super::*;

fn admits(list: &str, origin: &str) -> bool {
    Origins::parse(list).unwrap().admits(&OriginHeader::read(origin.as_bytes()))
}

#[test]
fn the_default_admits_the_official_site_this_machine_and_pages_from_disk() {
    let default = Origins::default();
    assert_eq!(default.to_string(), DEFAULT);
    assert_eq!(Origins::parse("default"), Ok(default.clone()));
    for origin in [
        "https://playentry.org",
        "HTTPS://PlayEntry.ORG",
        "https://playentry.org:443",
        "https://sub.playentry.org",
        "https://a.b.playentry.org",
        "http://localhost",
        "http://localhost:8080",
        "https://localhost",
        "http://LOCALHOST:3000",
        "http://127.0.0.1:8080",
        "https://127.0.0.1",
        "http://[::1]:3000",
        "http://[0:0:0:0:0:0:0:1]",
        "file://",
        "FILE://",
    ] {
        assert!(default.admits(&OriginHeader::read(origin.as_bytes())), "{origin:?}");
    }
}

#[test]
fn look_alikes_are_not_admitted() {
    let long = format!("https://{}.playentry.org", "a.".repeat(300));
    for origin in [
        "",
        " ",
        "*",
        "null",
        "Null",
        "default",
        "file",
        "file:",
        "file:///",
        "file:///home/page.html",
        "file://playentry.org",
        "https://",
        "https://*.playentry.org",
        "https://.playentry.org",
        "https://playentry.org.",
        "https://playentry.org/",
        "https://playentry.org/x",
        "https://playentry.org?",
        "https://playentry.org#",
        "https://playentry.org\\",
        "https://playentry.org@evil.example",
        "https://evil.example@playentry.org",
        "https://evil.example/.playentry.org",
        "https://evil.example#.playentry.org",
        "https://playentry.org.evil.example",
        "https://evilplayentry.org",
        "https://evil-playentry.org",
        "https://playentry.orgevil.example",
        "https://playentry.org:81",
        "https://sub.playentry.org:8443",
        "https://playentry.org:",
        "https://playentry.org:0",
        "https://playentry.org:0443",
        "https://playentry.org:65979",
        "https://playentry.org: 443",
        "https://playentry.org:443:443",
        "https://play entry.org",
        " https://playentry.org",
        "https://playentry.org ",
        "https://playentry.org, https://evil.example",
        "https://playentry.org https://evil.example",
        "https:/playentry.org",
        "https:playentry.org",
        "//playentry.org",
        "playentry.org",
        "http://playentry.org",
        "http://sub.playentry.org",
        "http://playentry.org:443",
        "ws://playentry.org",
        "wss://playentry.org",
        "httpss://playentry.org",
        "https://playentry\u{3002}org",
        "https://playentr\u{443}.org",
        "https://playentry.org\0",
        "https://playentry%2eorg",
        "https://sub..playentry.org",
        "http://localhost.",
        "http://localhost.evil.example",
        "http://evil.localhost",
        "http://localhost@evil.example",
        "http://localhostevil.example",
        "ftp://localhost",
        "app://localhost",
        "http://127.0.0.1.evil.example:8080",
        "http://127.0.0.1.",
        "http://127.0.0.2",
        "http://127.1",
        "http://0x7f.0.0.1",
        "http://2130706433",
        "http://0177.0.0.1",
        "http://0.0.0.0",
        "http://[::]",
        "http://[::ffff:127.0.0.1]",
        "http://[::1%lo]",
        "http://[::1",
        "http://::1",
        "http://192.168.0.1",
        "chrome-extension://aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "about:blank",
        "data:text/html,x",
        "javascript://playentry.org",
        &long,
    ] {
        assert!(!admits("default", origin), "{origin:?}");
        assert!(admits("*", origin), "{origin:?} under *");
    }
}

#[test]
fn every_form_of_entry_admits_its_own_and_nothing_beside_it() {
    for (list, origin, want) in [
        ("https://school.example", "https://school.example", true),
        ("https://school.example", "https://school.example:443", true),
        ("https://school.example:443", "https://school.example", true),
        ("HTTPS://School.Example", "https://school.example", true),
        ("https://school.example", "http://school.example", false),
        ("https://school.example", "https://a.school.example", false),
        ("https://school.example", "https://school.example:8443", false),
        ("https://school.example:8443", "https://school.example:8443", true),
        ("https://school.example:8443", "https://school.example", false),
        ("http://10.0.0.5:8080", "http://10.0.0.5:8080", true),
        ("http://10.0.0.5:8080", "http://10.0.0.5", false),
        ("http://[fd00::5]", "http://[fd00:0::5]:80", true),
        ("https://my_class.example", "https://my_class.example", true),
        ("app://main", "app://main", true),
        ("app://main", "app://other", false),
        ("*.school.example", "https://a.school.example", true),
        ("*.school.example", "https://a.b.school.example:443", true),
        ("*.school.example", "https://A.SCHOOL.EXAMPLE", true),
        ("*.School.Example", "https://a.school.example", true),
        ("*.school.example", "https://school.example", false),
        ("*.school.example", "https://xschool.example", false),
        ("*.school.example", "http://a.school.example", false),
        ("*.school.example", "https://a.school.example:8443", false),
        ("*.school.example", "https://a.school.example.evil.example", false),
        ("loopback", "http://localhost:5173", true),
        ("loopback", "file://", false),
        ("loopback", "https://playentry.org", false),
        ("file", "file://", true),
        ("file", "null", false),
        ("null", "null", true),
        ("null", "NULL", false),
        ("null", "file://", false),
        ("null", "", false),
        ("default,https://school.example", "https://playentry.org", true),
        ("default,https://school.example", "https://school.example", true),
        ("default,https://school.example", "https://b.playentry.org", true),
        ("https://school.example", "https://playentry.org", false),
        ("https://school.example", "http://localhost", false),
        (" https://a.example ,\tfile ", "file://", true),
        ("LOOPBACK,File", "file://", true),
        ("*", "", true),
        ("https://a.example,*", "https://evil.example", true),
    ] {
        assert_eq!(admits(list, origin), want, "{list:?} and {origin:?}");
    }
}

#[test]
fn an_entry_of_no_form_is_named_with_what_is_allowed() {
    let long = format!("https://{}", "a".repeat(NAME_BYTES_MAX));
    for (list, entry, hint) in [
        ("", "\"\"", "is empty"),
        ("file,", "\"\"", "is empty"),
        ("file,,null", "\"\"", "is empty"),
        ("school.example", "\"school.example\"", "needs its scheme"),
        ("localhost:8080", "\"localhost:8080\"", "needs its scheme"),
        ("https://school.example/", "\"https://school.example/\"", "leave out the path"),
        ("default,https://a.example/x", "\"https://a.example/x\"", "leave out the path"),
        ("file://", "\"file://\"", "the entry file"),
        ("file:///home/x.html", "\"file:///home/x.html\"", "the entry file"),
        ("https://*.school.example", "\"https://*.school.example\"", "without a scheme"),
        ("https://schülern.example", "\"https://sch\\xc3\\xbclern.example\"", "in ASCII"),
        ("*.school.example:8443", "\"*.school.example:8443\"", ""),
        ("*.", "\"*.\"", ""),
        ("*school.example", "\"*school.example\"", ""),
        ("**", "\"**\"", ""),
        ("*.*", "\"*.*\"", ""),
        ("*.10.0.0.5", "\"*.10.0.0.5\"", ""),
        ("https://u@a.example", "\"https://u@a.example\"", ""),
        ("https://a.example:99999", "\"https://a.example:99999\"", ""),
        ("https://a.example;file", "\"https://a.example;file\"", ""),
        ("https://a.example file", "\"https://a.example file\"", ""),
        (&long, "\"https://aaa", ""),
    ] {
        let error = Origins::parse(list).unwrap_err().to_string();
        assert!(error.starts_with(&format!("origin entry {entry}")), "{list:?}: {error}");
        assert!(
            error.contains(hint) && error.contains("*.host, loopback, file, null, default or *"),
            "{error}"
        );
        assert!(error.len() < 400, "{error}");
    }
}

#[test]
fn a_list_in_a_file_may_be_empty() {
    let none = Origins::of_entries::<&str>([]).unwrap();
    assert!(!none.admits(&OriginHeader::read(b"https://playentry.org")) && !none.is_open());
    assert_eq!(none.to_string(), "");
    assert_eq!(Origins::of_entries(["default", " null "]).unwrap(), Origins::parse("default,null").unwrap());
}

#[test]
fn an_origin_one_byte_over_the_bound_is_unreadable() {
    // A scheme may be as long as it likes, a host may not.
    let of_len = |len: usize| format!("{}://a", "s".repeat(len - 4));
    assert!(matches!(OriginHeader::read(of_len(NAME_BYTES_MAX).as_bytes()), OriginHeader::Of(_)));
    assert_eq!(OriginHeader::read(of_len(NAME_BYTES_MAX + 1).as_bytes()), OriginHeader::Unreadable);
}

proptest! {
    /// What is written is read as the same list.
    #[test]
    fn prop_roundtrip_list(entries in prop::collection::vec(
        prop_oneof![
            Just("default".to_owned()), Just("loopback".to_owned()), Just("file".to_owned()),
            Just("null".to_owned()), Just("*".to_owned()), "\\*\\.[a-z]{1,8}(\\.[a-z]{1,8}){0,2}",
            "(http|https|app)://[a-z]{1,8}(\\.[a-z]{1,8}){0,2}(:[1-9][0-9]{0,3})?",
        ], 1..6)
    ) {
        let origins = Origins::of_entries(&entries).unwrap();
        prop_assert_eq!(Origins::parse(&origins.to_string()).unwrap(), origins);
    }

    /// Below a name is only what has that name's labels at its end, whole.
    #[test]
    fn prop_below_compares_whole_labels(front in "[a-z0-9.-]{0,12}", name in "[a-z]{1,6}\\.[a-z]{2,5}") {
        let host = format!("{front}{name}");
        let origins = Origins::parse(&format!("*.{name}")).unwrap();
        let labels: Vec<_> = host.split('.').collect();
        let is_below = front.ends_with('.') && labels.len() > 2 && labels.iter().all(|label| !label.is_empty());
        prop_assert_eq!(origins.admits(&OriginHeader::read(format!("https://{host}").as_bytes())), is_below);
    }

    /// No bytes are read as something that the default admits unless they are one of its own spellings.
    #[test]
    fn prop_any_bytes_stay_outside(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        prop_assert!(!Origins::default().admits(&OriginHeader::read(&bytes)));
    }
}
