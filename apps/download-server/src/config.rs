//! The configuration file (protocol section 15): JSON, or TOML when its name ends in `.toml`.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use spandrel_download_protocol::{Column, ColumnType, UtcOffset};
use spandrel_download_service::ServiceConfig;
use spandrel_source_parquet::{DatasetConfig, FileFormat};

mod auth;
mod limits;
mod written;

use auth::Auth;
use limits::{Csv, Heartbeat, Limits, Retention};

/// Everything that can be configured; a member that is not here is refused.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Config {
    #[serde(default = "default_listen")]
    pub(crate) listen: String,
    #[serde(default)]
    pub(crate) tcp_listen: Option<String>,
    #[serde(default)]
    ipc: Option<String>,
    #[serde(default)]
    pub(crate) tls: Option<Tls>,
    #[serde(default = "default_state_dir")]
    pub(crate) state_dir: PathBuf,
    #[serde(default)]
    pub(crate) public_base_url: Option<String>,
    #[serde(default)]
    pub(crate) allowed_origins: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) auth: Auth,
    pub(crate) datasets: Vec<Dataset>,
    #[serde(default)]
    pub(crate) limits: Limits,
    #[serde(default)]
    pub(crate) heartbeat: Heartbeat,
    #[serde(default)]
    pub(crate) retention: Retention,
    #[serde(default)]
    pub(crate) csv: Csv,
}

fn default_listen() -> String {
    "127.0.0.1:8001".into()
}

fn default_state_dir() -> PathBuf {
    "state".into()
}

/// Encryption of `listen` and `tcpListen`: PEM files, or a certificate made at each start.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Tls {
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
    #[serde(default)]
    self_signed: bool,
}

/// A [`Tls`] that can be meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Certificate {
    Files { cert: PathBuf, key: PathBuf },
    SelfSigned,
}

impl Tls {
    pub(crate) fn is_self_signed(&self) -> bool {
        self.self_signed
    }

    pub(crate) fn certificate(&self) -> Result<Certificate, String> {
        match (&self.cert, &self.key, self.self_signed) {
            (Some(cert), Some(key), false) => Ok(Certificate::Files { cert: cert.clone(), key: key.clone() }),
            (None, None, true) => Ok(Certificate::SelfSigned),
            _ => Err("tls is either { \"cert\": PATH, \"key\": PATH } or { \"selfSigned\": true }".into()),
        }
    }
}

/// How a parent process talks to the server (protocol section 2.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ipc {
    Stdio,
    Node,
    Unix(PathBuf),
}

impl Ipc {
    fn parse(text: &str) -> Result<Self, String> {
        match (text, text.strip_prefix("unix:")) {
            ("stdio", _) => Ok(Self::Stdio),
            ("node", _) => Ok(Self::Node),
            (_, Some(path)) if !path.is_empty() => Ok(Self::Unix(path.into())),
            _ => Err(format!("ipc is {text:?}; it is \"stdio\", \"node\" or \"unix:PATH\"")),
        }
    }
}

/// One data set.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Dataset {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    #[serde(default)]
    format: Option<Format>,
    #[serde(default)]
    pub(crate) default: bool,
    #[serde(default)]
    time_column: Option<String>,
    #[serde(default)]
    columns: Option<Vec<ConfiguredColumn>>,
    #[serde(default)]
    assume_zone: UtcOffset,
    #[serde(default)]
    pub(crate) principals: Option<Vec<String>>,
}

/// A [`Column`] in which, other than on the wire, no member may be misspelt.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfiguredColumn {
    name: String,
    #[serde(rename = "type")]
    kind: ColumnType,
    #[serde(default)]
    precision: Option<u8>,
}

impl ConfiguredColumn {
    fn column(&self) -> Column {
        Column { name: self.name.clone(), kind: self.kind, precision: self.precision }
    }
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    Parquet,
    Csv,
}

impl Dataset {
    /// The default data set of `--data`, named after the file.
    fn of_path(path: &Path) -> Self {
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        Self {
            name: stem.filter(|s| !s.is_empty()).unwrap_or_else(|| "data".into()),
            path: path.to_owned(),
            format: None,
            default: true,
            time_column: None,
            columns: None,
            assume_zone: UtcOffset::Zulu,
            principals: None,
        }
    }

    /// What the source is opened with.
    pub(crate) fn source(&self) -> DatasetConfig {
        let mut source = DatasetConfig::new(&self.name, &self.path);
        source.format = self.format.map(|format| match format {
            Format::Parquet => FileFormat::Parquet,
            Format::Csv => FileFormat::Csv,
        });
        source.time_column.clone_from(&self.time_column);
        source.columns = self.columns.as_ref().map(|all| all.iter().map(ConfiguredColumn::column).collect());
        source.assume_zone = self.assume_zone;
        source
    }
}

impl Config {
    /// Reads a file; relative paths in it start at its folder.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let failed = |what: String| format!("{}: {what}", path.display());
        let text = std::fs::read_to_string(path).map_err(|e| failed(e.to_string()))?;
        let is_toml = path.extension().is_some_and(|x| x.eq_ignore_ascii_case("toml"));
        let mut config = Self::parse(&text, is_toml).map_err(failed)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        config.state_dir = folder.join(&config.state_dir);
        if let Some(tls) = &mut config.tls {
            tls.cert = tls.cert.as_ref().map(|path| folder.join(path));
            tls.key = tls.key.as_ref().map(|path| folder.join(path));
        }
        if let Some(path) = config.ipc.as_ref().and_then(|ipc| ipc.strip_prefix("unix:")) {
            config.ipc = Some(format!("unix:{}", folder.join(path).display()));
        }
        for dataset in &mut config.datasets {
            dataset.path = folder.join(&dataset.path);
        }
        Ok(config)
    }

    /// Defaults around one data set.
    pub(crate) fn of_data(path: &Path) -> Result<Self, String> {
        let mut config = Self::parse(r#"{ "datasets": [] }"#, false)?;
        config.datasets.push(Dataset::of_path(path));
        Ok(config)
    }

    pub(crate) fn ipc(&self) -> Result<Option<Ipc>, String> {
        self.ipc.as_deref().map(Ipc::parse).transpose()
    }

    /// Sets the bounds that are configured, and leaves the others.
    pub(crate) fn bound(&self, service: &mut ServiceConfig) {
        self.limits.apply(service);
        self.heartbeat.apply(service);
        self.retention.apply(service);
        service.formula_guard = self.csv.formula_guard_default;
        if let Some(window_ms) = self.auth.window_ms {
            service.auth_window_ms = window_ms;
        }
    }

    fn parse(text: &str, is_toml: bool) -> Result<Self, String> {
        let config: Self = if is_toml {
            toml::from_str(text).map_err(|e| without_its_line(&e, text))?
        } else {
            serde_json::from_str(text).map_err(|e| e.to_string())?
        };
        config.ipc()?;
        config.tls.as_ref().map(Tls::certificate).transpose()?;
        config.limits.check()?;
        config.heartbeat.check()?;
        config.auth.check()?;
        Ok(config)
    }
}

/// What is wrong, and in which line; not the line itself, which is in the whole text of the error: secrets stand in lines,
/// and errors in logs.
fn without_its_line(error: &toml::de::Error, text: &str) -> String {
    let before = error.span().and_then(|span| text.get(..span.start));
    let line = before.map(|before| format!(" in line {}", before.matches('\n').count() + 1));
    format!("{}{}", error.message(), line.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever is wrong around a secret, and wherever it was put, no error shows it.
    #[test]
    fn secrets_are_in_no_error() {
        for (name, auth) in [
            ("secret as key", r#"{ "keys": ["HUSHHUSH"] }"#),
            ("secret as keys", r#"{ "keys": "HUSHHUSH" }"#),
            ("secret by id", r#"{ "keys": { "k1": "HUSHHUSH" } }"#),
            ("misspelt", r#"{ "keys": [{ "id": "k1", "secret": "HUSHHUSH", "principle": "op" }] }"#),
            ("as id", r#"{ "keys": [{ "id": "HUSH HUSH", "secret": "a", "principal": "op" }] }"#),
            ("a number", r#"{ "keys": [{ "id": "k1", "secret": 4884, "principal": "op" }] }"#),
            (
                "as time",
                r#"{ "keys": [{ "id": "k", "secret": "a", "principal": "p", "notAfter": "HUSH" }] }"#,
            ),
            ("token", r#"{ "bearerTokens": ["HUSHHUSH"] }"#),
            ("tokens", r#"{ "bearerTokens": "HUSHHUSH" }"#),
            ("token as name", r#"{ "bearerTokens": [{ "HUSHHUSH": "op" }] }"#),
            ("token by name", r#"{ "bearerTokens": { "HUSHHUSH": "op" } }"#),
            ("token alone", r#""HUSHHUSH""#),
            ("name in auth", r#"{ "HUSHHUSH": "op" }"#),
            ("mode", r#"{ "mode": "HUSHHUSH" }"#),
            ("window", r#"{ "windowMs": "HUSHHUSH" }"#),
        ] {
            let json = format!(r#"{{ "datasets": [], "auth": {auth} }}"#);
            let toml = toml::to_string(&serde_json::from_str::<serde_json::Value>(&json).unwrap()).unwrap();
            for (text, is_toml) in [(json, false), (toml, true)] {
                let error = Config::parse(&text, is_toml).unwrap_err();
                assert!(!error.contains("HUSH") && !error.contains("4884"), "{name}: {error}");
                assert!(error.starts_with("auth") && error.contains("line "), "{name}: {error}");
            }
        }
    }

    /// What is no TOML or JSON at all is told by its line.
    #[test]
    fn secrets_are_in_no_error_of_the_syntax() {
        for (name, auth) in [
            ("open quote", r#"keys = [{ id = "k1", secret = "HUSHHUSH }]"#),
            ("no quotes", "bearerTokens = [{ token = HUSHHUSH }]"),
            ("half", r#"keys = [{ secret = "HUSHHUSH""#),
            ("twice", "mode = \"none\"\nmode = \"HUSHHUSH\""),
            ("escape", r#"keys = [{ secret = "HUSH\HUSH" }]"#),
            ("no key", r#""HUSHHUSH""#),
        ] {
            let error = Config::parse(&format!("datasets = []\n[auth]\n{auth}\n"), true).unwrap_err();
            assert!(!error.contains("HUSH"), "{name}: {error}");
            assert!(error.contains(" in line "), "{name}: {error}");
        }
        for auth in [r#"{ "secret": "HUSHHUSH }"#, r#"{ "token": HUSHHUSH }"#, r#"{ "token": "HUSH\HUSH" }"#]
        {
            let error = Config::parse(&format!("{{ \"datasets\": [],\n\"auth\": {auth}"), false).unwrap_err();
            assert!(!error.contains("HUSH") && error.contains("line 2"), "{error}");
        }
    }

    #[test]
    fn json_and_toml_say_the_same() {
        let json = r#"{ "listen": "127.0.0.1:9", "datasets": [{ "name": "a", "path": "a.csv", "timeColumn": "time",
            "columns": [{ "name": "time", "type": "timestamp", "precision": 3 }] }], "limits": { "maxActive": 2 } }"#;
        let toml = "listen = \"127.0.0.1:9\"\n[limits]\nmaxActive = 2\n[[datasets]]\nname = \"a\"\npath = \"a.csv\"\n\
            timeColumn = \"time\"\ncolumns = [{ name = \"time\", type = \"timestamp\", precision = 3 }]\n";
        let (a, b) = (Config::parse(json, false).unwrap(), Config::parse(toml, true).unwrap());
        assert_eq!(format!("{a:?}"), format!("{b:?}"));
        let mut service = ServiceConfig::new("x");
        a.bound(&mut service);
        assert_eq!((service.jobs.max_active, a.state_dir), (2, "state".into()));
    }

    #[test]
    fn wrong_members_are_named() {
        for (name, text, want) in [
            ("top", r#"{ "datasets": [], "lissen": 1 }"#, "lissen"),
            ("limits", r#"{ "datasets": [], "limits": { "maxActiv": 1 } }"#, "maxActiv"),
            (
                "data set",
                r#"{ "datasets": [{ "name": "a", "path": "b", "timecolumn": "c" }] }"#,
                "timecolumn",
            ),
            ("no data sets", "{}", "datasets"),
            ("type", r#"{ "datasets": [], "limits": { "maxActive": "2" } }"#, "expected usize"),
            ("ipc", r#"{ "datasets": [], "ipc": "pipe" }"#, "ipc is \"pipe\""),
            ("ipc path", r#"{ "datasets": [], "ipc": "unix:" }"#, "unix:PATH"),
            ("half a certificate", r#"{ "datasets": [], "tls": { "cert": "a.pem" } }"#, "tls is either"),
            ("no certificate", r#"{ "datasets": [], "tls": {} }"#, "tls is either"),
            (
                "two certificates",
                r#"{ "datasets": [], "tls": { "cert": "a", "key": "b", "selfSigned": true } }"#,
                "tls is either",
            ),
            (
                "small",
                r#"{ "datasets": [], "limits": { "maxMessageBytes": 100 } }"#,
                "maxMessageBytes is under",
            ),
            ("deep", r#"{ "datasets": [], "limits": { "maxFilterDepth": 99 } }"#, "maxFilterDepth is over"),
            ("zero", r#"{ "datasets": [], "limits": { "maxActive": 0 } }"#, "limits.maxActive is 0"),
            ("zero", r#"{ "datasets": [], "heartbeat": { "intervalMs": 0 } }"#, "heartbeat.intervalMs is 0"),
            (
                "column",
                r#"{ "datasets": [{ "name": "a", "path": "b", "columns": [{ "name": "c", "type": "int", "precison": 1 }] }] }"#,
                "precison",
            ),
            ("auth mode", r#"{ "datasets": [], "auth": { "mode": "maybe" } }"#, "auth.mode"),
        ] {
            let error = Config::parse(text, false).unwrap_err();
            assert!(error.contains(want), "{name}: {error}");
        }
    }

    #[test]
    fn every_bound_of_the_protocol_can_be_set() {
        let text = r#"{ "datasets": [], "auth": { "windowMs": 7 }, "csv": { "formulaGuardDefault": true },
            "limits": { "maxMessageBytes": 5001, "maxConnections": 2, "maxAttachments": 3, "messagesPerSecond": 4,
                "messageBurst": 5, "outboundQueueBytes": 6, "outboundTimeoutMs": 7, "maxActive": 8,
                "maxActivePerPrincipal": 9, "maxQueued": 0, "maxParts": 11, "maxSortRows": 12, "maxRetries": 0,
                "retryDelayMs": 14, "sourceTimeoutMs": 15, "minFreeBytes": 0, "maxNonces": 17, "maxFilterDepth": 18,
                "maxFilterLeaves": 19, "maxGroupEntries": 20, "maxInValues": 21, "maxFilterValueBytes": 22 },
            "heartbeat": { "intervalMs": 23, "timeoutMs": 24 },
            "retention": { "fileTtlMs": 25, "recordTtlMs": 26, "pausedTtlMs": 27, "urlTtlMs": 28 } }"#;
        let mut service = ServiceConfig::new("x");
        Config::parse(text, false).unwrap().bound(&mut service);
        let (sessions, protocol) = (&service.sessions, &service.sessions.protocol);
        let (jobs, limits, retention) = (&service.jobs, &service.limits, &service.retention);
        assert_eq!(
            (protocol.message_bytes_max, limits.connections_max, sessions.attachments_max),
            (5001, 2, 3)
        );
        assert_eq!((sessions.messages_per_s, sessions.message_burst, sessions.outbound_bytes_max), (4, 5, 6));
        assert_eq!((sessions.outbound_over_ms, jobs.max_active, jobs.max_active_per_principal), (7, 8, 9));
        assert_eq!((jobs.max_queued, jobs.max_parts, limits.sort_rows_max), (0, 11, Some(12)));
        assert_eq!((jobs.retries_max, jobs.retry_delay_ms, limits.source_timeout_ms), (0, 14, 15));
        assert_eq!((limits.free_bytes_min, limits.nonces_max, protocol.filter_depth_max), (Some(0), 17, 18));
        assert_eq!(
            (protocol.filter_leaves_max, protocol.group_entries_max, protocol.in_values_max),
            (19, 20, 21)
        );
        assert_eq!((protocol.filter_value_bytes_max, sessions.heartbeat_interval_ms), (22, 23));
        assert_eq!(
            (sessions.heartbeat_timeout_ms, retention.file_ttl_ms, retention.record_ttl_ms),
            (24, 25, 26)
        );
        assert_eq!((retention.paused_ttl_ms, service.url_ttl_ms, service.auth_window_ms), (27, 28, 7));
        assert!(service.formula_guard);
    }

    /// The blocks of TOML in the documentation.
    fn documented() -> Vec<&'static str> {
        let text = include_str!("../../../docs/configuration.md");
        text.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
    }

    #[test]
    fn the_documented_defaults_are_the_defaults() {
        let config = Config::parse(documented()[0], true).unwrap();
        let mut service = ServiceConfig::new("x");
        config.bound(&mut service);
        let mut built_in = ServiceConfig::new("x");
        built_in.clock = service.clock.clone(); // each knows when it was made
        assert_eq!(format!("{service:?}"), format!("{built_in:?}"));
        let plain = Config::parse(r#"{ "datasets": [] }"#, false).unwrap();
        assert_eq!((config.listen, config.state_dir), (plain.listen, plain.state_dir));
    }

    #[test]
    fn every_documented_member_is_one() {
        // What is commented out is there to be uncommented.
        let open: String = documented()[0]
            .lines()
            .map(|line| line.strip_prefix("# ").filter(|rest| rest.contains(" = ")).unwrap_or(line))
            .flat_map(|line| [line, "\n"])
            .collect();
        Config::parse(&open, true).unwrap();
        Config::parse(documented()[1], true).unwrap();
    }

    /// Message connections come through the same door as requests.
    #[test]
    fn more_connections_make_the_door_wider() {
        for (limits, want) in [
            (r"{}", 12_000),
            (r#"{ "maxConnections": 5 }"#, 12_000),
            (r#"{ "maxConnections": 50000 }"#, 52_000),
            (r#"{ "maxConnections": 50000, "maxHttpConnections": 7 }"#, 7),
        ] {
            let text = format!(r#"{{ "datasets": [], "limits": {limits} }}"#);
            let mut service = ServiceConfig::new("x");
            Config::parse(&text, false).unwrap().bound(&mut service);
            assert_eq!(service.limits.http_connections_max, want, "{limits}");
        }
    }

    #[test]
    fn relative_paths_start_at_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.json");
        let text = r#"{ "datasets": [], "tls": { "cert": "c.pem", "key": "/k.pem" }, "ipc": "unix:sock" }"#;
        std::fs::write(&path, text).unwrap();
        let config = Config::read(&path).unwrap();
        assert_eq!(config.ipc().unwrap(), Some(Ipc::Unix(dir.path().join("sock"))));
        let want = Certificate::Files { cert: dir.path().join("c.pem"), key: "/k.pem".into() };
        assert_eq!(config.tls.unwrap().certificate(), Ok(want));
    }

    #[test]
    fn one_data_set_is_named_after_its_file() {
        let config = Config::of_data(Path::new("/x/trades.2024.parquet")).unwrap();
        assert_eq!((config.datasets[0].name.as_str(), config.datasets[0].default), ("trades.2024", true));
    }
}
