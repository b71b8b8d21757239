use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};

use super::*;

/// A moment the certificates below are made for: 2030-01-01.
const NOW_S: i64 = 1_893_456_000;

/// Files of a chain as an authority makes them.
struct Chain {
    files: Vec<(&'static str, String)>,
}

impl Chain {
    /// A server's certificate for `names`, valid from 2029 until `until`.
    fn new(names: &[&str], until: (i32, u8, u8)) -> Self {
        let params = |names: Vec<String>, name: &str, until: (i32, u8, u8)| {
            let mut params = CertificateParams::new(names).unwrap();
            params.distinguished_name.push(DnType::CommonName, name);
            (params.not_before, params.not_after) =
                (date_time_ymd(2029, 1, 1), date_time_ymd(until.0, until.1, until.2));
            params
        };
        let authority = |name: &str| {
            let mut params = params(Vec::new(), name, (2040, 1, 1));
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params
        };
        let keys = [(); 3].map(|()| KeyPair::generate().unwrap());
        let (root, middle) = (authority("Test Root"), authority("Test Middle"));
        let own = params(names.iter().map(|&name| name.to_owned()).collect(), "Test Server", until);
        let own_made = own.signed_by(&keys[2], &Issuer::from_params(&middle, &keys[1])).unwrap();
        let middle_made = middle.signed_by(&keys[1], &Issuer::from_params(&root, &keys[0])).unwrap();
        let root_made = root.self_signed(&keys[0]).unwrap();
        Self {
            files: vec![
                ("cert.pem", own_made.pem()),
                ("ChainCA1.crt", middle_made.pem()),
                ("RootCA.crt", root_made.pem()),
                ("hardware.key", keys[2].serialize_pem()),
            ],
        }
    }

    fn official() -> Self {
        Self::new(&PUBLIC_NAMES, (2031, 1, 1))
    }

    fn text(&mut self, name: &str) -> &mut String {
        &mut self.files.iter_mut().find(|(file, _)| *file == name).unwrap().1
    }

    fn without(mut self, name: &str) -> Self {
        self.files.retain(|(file, _)| *file != name);
        self
    }

    fn examine(&self) -> (Report, bool) {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in &self.files {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        let mut report = Report::default();
        let is_tls = certificates::examine(&mut report, dir.path(), NOW_S);
        (report, is_tls)
    }
}

#[test]
fn four_good_files_are_good() {
    let (report, is_tls) = Chain::official().examine();
    assert!(is_tls && report.wrong == 0, "{}", report.text);
    for part in [
        "all four of",
        "CN=Test Server, 365 days left",
        "signed by the next",
        "is for hw.playentry.org",
        "is for hardware.playentry.org",
    ] {
        assert!(report.text.contains(part), "{part}: {}", report.text);
    }
    let (report, _) = Chain::new(&["*.playentry.org"], (2031, 1, 1)).examine();
    assert_eq!(report.wrong, 0, "{}", report.text);
}

#[test]
fn each_fault_of_certificates_is_told() {
    let swapped = {
        let mut chain = Chain::official();
        let (middle, root) = (chain.text("ChainCA1.crt").clone(), chain.text("RootCA.crt").clone());
        (*chain.text("ChainCA1.crt"), *chain.text("RootCA.crt")) = (root, middle);
        chain
    };
    let foreign_key = {
        let mut chain = Chain::official();
        *chain.text("hardware.key") = KeyPair::generate().unwrap().serialize_pem();
        chain
    };
    let garbled = {
        let mut chain = Chain::official();
        *chain.text("RootCA.crt") = "no certificate".into();
        chain
    };
    for (name, chain, is_tls, want) in [
        ("expired", Chain::new(&PUBLIC_NAMES, (2029, 12, 31)), true, "CN=Test Server expired 1 days ago"),
        ("one name", Chain::new(&["hw.playentry.org"], (2031, 1, 1)), true, "not for hardware.playentry.org"),
        (
            "deeper star",
            Chain::new(&["*.org", "hw.playentry.org"], (2031, 1, 1)),
            true,
            "is for *.org, hw.playentry.org, not for hardware",
        ),
        ("order", swapped, true, "cert.pem is signed by CN=Test Middle, but ChainCA1.crt is CN=Test Root"),
        ("no key", Chain::official().without("hardware.key"), false, "lacks hardware.key"),
        ("no root", Chain::official().without("RootCA.crt"), false, "lacks RootCA.crt: plain HTTP"),
        ("key of another", foreign_key, false, "cannot be used"),
        ("garbled", garbled, false, "RootCA.crt is no PEM with a certificate"),
    ] {
        let (report, got) = chain.examine();
        assert_eq!(got, is_tls, "{name}: {}", report.text);
        let line = report.text.lines().find(|line| line.contains(want));
        assert!(line.is_some_and(|line| line.starts_with("  WRONG")), "{name}: {}", report.text);
    }
    let (report, _) = Chain::new(&PUBLIC_NAMES, (2030, 1, 11)).examine();
    assert!(
        report.wrong == 0 && report.text.contains("note   cert.pem: CN=Test Server expires in 10 days"),
        "{}",
        report.text
    );
    let mut report = Report::default();
    assert!(!certificates::examine(&mut report, Path::new("/nonexistent"), NOW_S));
    assert!(report.wrong == 0 && report.text.contains("plain HTTP"), "{}", report.text);
}

#[test]
fn a_certificate_of_tomorrow_is_told() {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in Chain::official().files {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    let mut report = Report::default();
    assert!(certificates::examine(&mut report, dir.path(), 1_700_000_000));
    assert!(report.wrong == 3 && report.text.contains("is the clock right?"), "{}", report.text);
}

async fn examined(file: Option<&str>, variables: &[(&str, &str)], flags: &Flags) -> (Report, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    if let Some(text) = file {
        std::fs::write(dir.path().join(crate::config::FILE_NAME), text).unwrap();
    }
    let variable =
        |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, text)| (*text).to_owned());
    let around = Surroundings {
        variable: &variable,
        variables: variables.iter().map(|(key, _)| (*key).to_owned()).collect(),
        folder: dir.path(),
        resolve: |_| Box::pin(async { Vec::new() }),
    };
    (examine(flags, &around).await, dir.path().to_owned())
}

#[tokio::test]
async fn settings_are_shown_with_their_source_and_without_secrets() {
    let file = "port = 0\nsecret = \"HUSH\"\norigins = [\"default\", \"null\"]";
    let variables = [("SPANDREL_HW_TOKEN", "HUSH"), ("SPANDREL_HW_LOG", "warn")];
    let (report, _) =
        examined(Some(file), &variables, &Flags { status: Some("127.0.0.1:0".into()), ..Flags::default() })
            .await;
    for part in [
        "port = 0 (file)",
        "secret = set (file)",
        "token = set (SPANDREL_HW_TOKEN)",
        "status = 127.0.0.1:0 (--status)",
        "log = warn (SPANDREL_HW_LOG)",
        "origins = https://playentry.org,*.playentry.org,loopback,file,null (file)",
        "*.playentry.org: https, default port, all names below it",
        "null lets in frames of any web page",
        "port 0: the system chooses",
        "status page: 127.0.0.1:0 is free",
        "NODE_CHANNEL_FD",
    ] {
        assert!(report.text.contains(part), "{part}: {}", report.text);
    }
    assert!(!report.text.contains("HUSH"), "{}", report.text);
}

#[tokio::test]
async fn faults_around_the_program_are_told() {
    let (report, _) = examined(Some("prot = 1"), &[("SPANDREL_HW_ORIGIN", "*")], &Flags::default()).await;
    assert!(report.text.contains("WRONG") && report.text.contains("unknown key \"prot\""), "{}", report.text);
    assert!(report.text.contains("\"SPANDREL_HW_ORIGIN\" is no setting"), "{}", report.text);
    for (fd, mode, want) in [
        ("7", "advanced", "NODE_CHANNEL_SERIALIZATION_MODE is \"advanced\""),
        ("1", "json", "NODE_CHANNEL_FD is \"1\", expected a number from 3 on"),
        ("x", "", "NODE_CHANNEL_FD is \"x\""),
    ] {
        let variables =
            [("NODE_CHANNEL_FD", fd), ("NODE_CHANNEL_SERIALIZATION_MODE", mode), ("SPANDREL_HW_PORT", "0")];
        let (report, _) = examined(None, &variables, &Flags::default()).await;
        assert!(report.wrong > 0 && report.text.contains(want), "{want}: {}", report.text);
    }
}

#[tokio::test]
async fn names_that_lead_elsewhere_are_told() {
    let cases: [(&str, Resolve, bool, usize, &str); 6] = [
        (
            "here",
            |_| Box::pin(async { vec![[127, 0, 0, 1].into()] }),
            true,
            0,
            "ok     hw.playentry.org is 127.0.0.1",
        ),
        (
            "filtered",
            |_| Box::pin(async { vec![[0, 0, 0, 0].into()] }),
            true,
            2,
            "add \"127.0.0.1 hw.playentry.org\"",
        ),
        (
            "elsewhere, too",
            |_| Box::pin(async { vec![[127, 0, 0, 1].into(), [192, 0, 2, 1].into()] }),
            true,
            2,
            "192.0.2.1",
        ),
        (
            "other loopback",
            |_| Box::pin(async { vec![[127, 0, 0, 2].into()] }),
            true,
            2,
            "127.0.0.2, not 127.0.0.1",
        ),
        ("filtered, no TLS", |_| Box::pin(async { vec![[0, 0, 0, 0].into()] }), false, 0, "over TLS only"),
        ("no answer", |_| Box::pin(async { Vec::new() }), true, 0, "cannot be resolved here"),
    ];
    for (name, resolve, is_tls, wrong, want) in cases {
        let mut report = Report::default();
        names(&mut report, resolve, 23518, is_tls).await;
        assert!(report.wrong == wrong && report.text.contains(want), "{name}: {}", report.text);
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_file_with_a_secret_is_for_its_owner() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.toml");
    for (text, mode, want) in [
        ("port = 0\ntoken = \"a\"", 0o644, true),
        ("port = 0\ntoken = \"a\"", 0o600, false),
        ("port = 0", 0o644, false),
    ] {
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let (report, _) =
            examined(None, &[], &Flags { config: Some(path.clone()), ..Flags::default() }).await;
        assert_eq!(report.text.contains("others can read it"), want, "{text} {mode:o}: {}", report.text);
    }
}
