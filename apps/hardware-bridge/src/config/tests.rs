use std::collections::HashMap;

use super::*;

/// A folder with an executable's files, and an environment.
struct Machine {
    dir: tempfile::TempDir,
    variables: HashMap<&'static str, &'static str>,
}

impl Machine {
    fn new(file: Option<&str>, variables: &[(&'static str, &'static str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        if let Some(text) = file {
            std::fs::write(dir.path().join(FILE_NAME), text).unwrap();
        }
        Self { dir, variables: variables.iter().copied().collect() }
    }

    fn read(&self, flags: &Flags) -> Result<Settings, String> {
        let variable = |name: &str| self.variables.get(name).map(|&text| text.to_owned());
        Settings::read(flags, self.dir.path(), &variable)
    }

    fn error(&self, flags: &Flags) -> String {
        self.read(flags).expect_err("it cannot be meant")
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

const FULL: &str = r#"
port = 4000
tls_dir = "certs"
secret = "from file"
origins = ["https://file.example", "null"]
token = "file-token"
status = "127.0.0.1:4001"
log = "warn"
"#;

const ALL: [(&str, &str); 7] = [
    ("SPANDREL_HW_PORT", "5000"),
    ("SPANDREL_HW_TLS_DIR", "/variable"),
    ("SPANDREL_HW_SECRET", "from variable"),
    ("SPANDREL_HW_ORIGINS", "https://variable.example, file"),
    ("SPANDREL_HW_TOKEN", "variable-token"),
    ("SPANDREL_HW_STATUS", "127.0.0.1:5001"),
    ("SPANDREL_HW_LOG", "error"),
];

/// Everything by its text, the secrets among it.
fn shown(settings: &Settings) -> [String; 7] {
    [
        settings.port.value.to_string(),
        settings.tls_dir.value.display().to_string(),
        settings
            .secret
            .value
            .as_ref()
            .map_or(String::new(), |s| spandrel_bridge_protocol::encrypt(s, "x", [1; 8])),
        settings.origins.value.to_string(),
        settings.token.value.as_ref().map_or(String::new(), |token| token.expose().to_owned()),
        settings.status.value.map_or(String::new(), |at| at.to_string()),
        settings.log.value.to_string(),
    ]
}

fn sources(settings: &Settings) -> [Source; 7] {
    [
        settings.port.source,
        settings.tls_dir.source,
        settings.secret.source,
        settings.origins.source,
        settings.token.source,
        settings.status.source,
        settings.log.source,
    ]
}

fn sealed(secret: &str) -> String {
    spandrel_bridge_protocol::encrypt(&Secret::new(secret), "x", [1; 8])
}

#[test]
fn without_anything_the_defaults_hold() {
    let machine = Machine::new(None, &[]);
    let settings = machine.read(&Flags::default()).unwrap();
    let assets = machine.dir.path().join("assets").display().to_string();
    let want = ["23518", &assets, "", "https://playentry.org,*.playentry.org,loopback,file", "", "", "info"];
    assert_eq!(shown(&settings), want);
    assert_eq!(sources(&settings), [Source::Default; 7]);
    assert_eq!(settings.file, None);
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let machine = Machine::new(Some(FULL), &[]);
    let settings = machine.read(&Flags::default()).unwrap();
    let certs = machine.dir.path().join("certs").display().to_string();
    let of_file = [
        "4000",
        &certs,
        &sealed("from file"),
        "https://file.example,null",
        "file-token",
        "127.0.0.1:4001",
        "warn",
    ];
    assert_eq!(shown(&settings), of_file);
    assert_eq!(sources(&settings), [Source::File; 7]);

    let machine = Machine::new(Some(FULL), &ALL);
    let settings = machine.read(&Flags::default()).unwrap();
    let of_variables = [
        "5000",
        "/variable",
        &sealed("from variable"),
        "https://variable.example,file",
        "variable-token",
        "127.0.0.1:5001",
        "error",
    ];
    assert_eq!(shown(&settings), of_variables);
    assert_eq!(sources(&settings), NAMES.map(|name| Source::Variable(name.variable)));

    let flags = Flags {
        config: None,
        port: Some("0".into()),
        tls_dir: Some("flag".into()),
        secret_file: Some(machine.write("secret", "from flag\r\n")),
        origins: Some("*".into()),
        token_file: Some(machine.write("token", "flag-token\n")),
        status: Some("[::1]:6001".into()),
        log: Some("off".into()),
    };
    let settings = machine.read(&flags).unwrap();
    assert_eq!(shown(&settings), ["0", "flag", &sealed("from flag"), "*", "flag-token", "[::1]:6001", "off"]);
    assert_eq!(sources(&settings), NAMES.map(|name| Source::Flag(name.flag)));
}

#[test]
fn an_empty_variable_is_not_set() {
    let empty = ALL.map(|(name, _)| (name, ""));
    let settings = Machine::new(Some(FULL), &empty).read(&Flags::default()).unwrap();
    assert_eq!(sources(&settings), [Source::File; 7]);
}

#[test]
fn a_named_file_stands_for_the_one_beside_the_program() {
    let machine = Machine::new(Some("port = 1"), &[]);
    let other = tempfile::tempdir().unwrap();
    let path = other.path().join("other.toml");
    std::fs::write(&path, "port = 2\ntls_dir = \"c\"").unwrap();
    let flags = Flags { config: Some(path.clone()), ..Flags::default() };
    let settings = machine.read(&flags).unwrap();
    assert_eq!((settings.port.value, settings.file), (2, Some(path.clone())));
    assert_eq!(settings.tls_dir.value, other.path().join("c"), "relative to its file");
    std::fs::remove_file(path).unwrap();
    assert!(machine.error(&flags).contains("other.toml"), "a named file has to be there");
}

#[test]
fn an_empty_list_in_the_file_admits_no_page() {
    let settings = Machine::new(Some("origins = []"), &[]).read(&Flags::default()).unwrap();
    assert_eq!((settings.origins.value.to_string().as_str(), settings.origins.source), ("", Source::File));
}

#[test]
fn what_cannot_be_meant_is_named_in_one_line() {
    for (name, file, variables, want) in [
        (
            "unknown key",
            "prot = 1",
            &[][..],
            "unknown key \"prot\"; known are port, tls_dir, secret, origins, token, status, log",
        ),
        ("key in a table", "[port]\nx = 1", &[], "port (file) is"),
        ("port as text", "port = \"1\"", &[], "port (file) is"),
        ("port too large", "port = 65536", &[], "expected a number from 0 to 65535"),
        ("negative port", "port = -1", &[], "expected a number from 0 to 65535"),
        ("port with a point", "port = 1.5", &[], "expected a number from 0 to 65535"),
        ("tls_dir as number", "tls_dir = 5", &[], "tls_dir (file) is not a text"),
        ("empty tls_dir", "tls_dir = \"\"", &[], "tls_dir (file) is empty"),
        ("origins as text", "origins = \"file\"", &[], "origins (file) is not a list"),
        ("origins with a number", "origins = [\"file\", 1]", &[], "holds something that is not a text"),
        (
            "origin of no form",
            "origins = [\"a.example\"]",
            &[],
            "origin entry \"a.example\" is not understood",
        ),
        ("empty secret", "secret = \"\"", &[], "secret (file) is empty"),
        ("status without port", "status = \"127.0.0.1\"", &[], "expected ADDRESS:PORT"),
        ("log", "log = \"loud\"", &[], "expected off, error, warn, info, debug or trace"),
        ("no toml", "port = = 1", &[], "in line 1"),
        ("no toml", "port = 1\norigins = [", &[], "in line 2"),
        ("twice", "port = 1\nport = 2", &[], "in line 2"),
        (
            "port",
            "",
            &[("SPANDREL_HW_PORT", "abc\n")],
            "port (SPANDREL_HW_PORT) is \"abc\\n\", expected a number",
        ),
        ("port", "", &[("SPANDREL_HW_PORT", " 1")], "port (SPANDREL_HW_PORT) is"),
        (
            "origins",
            "",
            &[("SPANDREL_HW_ORIGINS", "default,x.example")],
            "origins (SPANDREL_HW_ORIGINS) cannot be used: origin entry \"x.example\"",
        ),
        (
            "not utf-8",
            "",
            &[("SPANDREL_HW_TLS_DIR", "a\u{fffd}")],
            "tls_dir (SPANDREL_HW_TLS_DIR) is not UTF-8",
        ),
        ("status", "", &[("SPANDREL_HW_STATUS", "yes")], "status (SPANDREL_HW_STATUS) is \"yes\""),
    ] {
        let error = Machine::new(Some(file), variables).error(&Flags::default());
        assert!(error.contains(want) && !error.contains('\n'), "{name}: {error}");
    }
}

#[test]
fn files_that_are_no_configuration_are_named() {
    let machine = Machine::new(None, &[]);
    let long = machine.write("long", &"#".repeat(usize::try_from(FILE_BYTES_MAX).unwrap() + 1));
    let most = machine.write("most", &"#".repeat(usize::try_from(FILE_BYTES_MAX).unwrap()));
    let absent = machine.dir.path().join("absent");
    let error = |config: &Path| machine.read(&Flags { config: Some(config.into()), ..Flags::default() });
    assert!(error(&most).is_ok());
    assert!(error(&long).unwrap_err().contains("longer than 65536 bytes"));
    assert!(error(&absent).unwrap_err().contains("absent"));
    assert!(error(machine.dir.path()).is_err());
    let error = machine.error(&Flags { token_file: Some(absent), ..Flags::default() });
    assert!(error.starts_with("token (--token-file) ") && error.contains("absent"), "{error}");
}

/// Whatever is wrong around a secret, no error and no debug text shows it.
#[test]
fn secrets_are_in_no_error() {
    for (name, file, variables) in [
        ("a number", "secret = 4884", &[][..]),
        ("a list", "secret = [\"HUSH\"]", &[]),
        ("no quotes", "secret = HUSH", &[]),
        ("open quote", "secret = \"HUSH", &[]),
        ("token as number", "token = 4884", &[]),
        ("token with a blank", "token = \"HUSH HUSH\"", &[]),
        ("token in a table", "[token]\nvalue = \"HUSH\"", &[]),
        ("token", "", &[("SPANDREL_HW_TOKEN", "HUSH,HUSH")]),
        ("twice", "secret = \"HUSH\"\nsecret = \"HUSH\"", &[]),
    ] {
        let error = Machine::new(Some(file), variables).error(&Flags::default());
        assert!(
            !error.contains("HUSH") && !error.contains("4884") && !error.contains('\n'),
            "{name}: {error}"
        );
    }
    let settings =
        Machine::new(Some("secret = \"HUSH\"\ntoken = \"HUSH\""), &[]).read(&Flags::default()).unwrap();
    assert!(!format!("{settings:?}").contains("HUSH"));
}

const DOC: &str = include_str!("../../../../docs/hardware-bridge.md");

#[test]
fn the_documented_settings_are_the_settings() {
    let machine = Machine::new(None, &[]);
    let settings = machine.read(&Flags::default()).unwrap();
    let mut values =
        shown(&settings).map(|text| if text.is_empty() { "not set".into() } else { format!("`{text}`") });
    values[1] = "`assets`".into();
    assert_eq!(settings.tls_dir.value, machine.dir.path().join("assets"));
    let start = DOC.find("| key | environment | flag | default |").expect("the table");
    let rows: Vec<Vec<&str>> = DOC[start..]
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| line.split(" | ").map(|cell| cell.trim_start_matches("| ")).collect())
        .collect();
    assert_eq!(rows.len(), NAMES.len());
    for ((row, name), value) in rows.iter().zip(NAMES).zip(values) {
        let want =
            [format!("`{}`", name.key), format!("`{}`", name.variable), format!("`{}`", name.flag), value];
        assert_eq!(row[..4], want);
        assert!(row[4].len() > 20, "{}: what for?", name.key);
    }
}

#[test]
fn the_documented_file_can_be_read() {
    let block = DOC.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    // What is commented out is there to be uncommented.
    let settings = Machine::new(Some(&block.replace("# ", "")), &[]).read(&Flags::default()).unwrap();
    assert_eq!(sources(&settings), [Source::File; 7]);
}

/// The help says the same defaults.
#[test]
fn flags_are_those_of_the_table() {
    use clap::CommandFactory as _;
    let command = crate::Cli::command();
    for name in NAMES {
        let flag = command.get_arguments().find(|arg| arg.get_long() == name.flag.strip_prefix("--"));
        assert!(flag.is_some(), "{}", name.flag);
    }
    let help = command.clone().render_long_help().to_string();
    for part in ["[default: 23518]", &format!("[default: {}]", Origins::default()), "[default: info]"] {
        assert!(help.contains(part), "{part}: {help}");
    }
    for line in help.lines() {
        assert!(line.chars().count() <= 120, "{line}");
    }
}
