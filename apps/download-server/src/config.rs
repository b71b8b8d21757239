//! The configuration file (protocol section 15): JSON, or TOML when its name ends in `.toml`.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use spandrel_download_protocol::{Column, ColumnType, UtcOffset};
use spandrel_source_parquet::{DatasetConfig, FileFormat};

/// Everything that can be configured; a member that is not here is refused.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Config {
    #[serde(default = "default_listen")]
    pub(crate) listen: String,
    #[serde(default)]
    pub(crate) tcp_listen: Option<String>,
    #[serde(default)]
    pub(crate) ipc: Option<String>,
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

/// Read so that a file meant for a later version is refused for the right reason.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(dead_code, reason = "only its presence counts until TLS is built")]
pub(crate) struct Tls {
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
    self_signed: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(dead_code, reason = "keys and tokens are checked for their shape until sessions use them")]
pub(crate) struct Auth {
    #[serde(default)]
    pub(crate) mode: AuthMode,
    window_ms: Option<u64>,
    #[serde(default)]
    keys: Vec<Key>,
    #[serde(default)]
    bearer_tokens: Vec<BearerToken>,
}

#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum AuthMode {
    #[default]
    None,
    Required,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(dead_code, reason = "see Auth")]
struct Key {
    id: String,
    secret: String,
    principal: String,
    not_before: Option<u64>,
    not_after: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "see Auth")]
struct BearerToken {
    token: String,
    principal: String,
}

// Secrets stay out of logs.
impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key({})", self.id)
    }
}

impl std::fmt::Debug for BearerToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BearerToken({})", self.principal)
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

/// Bounds of protocol section 14; what is left out has its default there.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Limits {
    pub(crate) max_message_bytes: Option<usize>,
    pub(crate) max_connections: Option<usize>,
    pub(crate) max_attachments: Option<usize>,
    pub(crate) messages_per_second: Option<u32>,
    pub(crate) message_burst: Option<u32>,
    pub(crate) outbound_queue_bytes: Option<usize>,
    pub(crate) max_active: Option<usize>,
    pub(crate) max_active_per_principal: Option<usize>,
    pub(crate) max_queued: Option<usize>,
    pub(crate) max_parts: Option<u32>,
    pub(crate) max_sort_rows: Option<u64>,
    pub(crate) max_retries: Option<u32>,
    pub(crate) source_timeout_ms: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Heartbeat {
    pub(crate) interval_ms: Option<u64>,
    pub(crate) timeout_ms: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Retention {
    pub(crate) file_ttl_ms: Option<u64>,
    pub(crate) record_ttl_ms: Option<u64>,
    pub(crate) paused_ttl_ms: Option<u64>,
    pub(crate) url_ttl_ms: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Csv {
    #[serde(default)]
    pub(crate) formula_guard_default: bool,
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

    fn parse(text: &str, is_toml: bool) -> Result<Self, String> {
        let config: Self = if is_toml {
            toml::from_str(text).map_err(|e| e.to_string())?
        } else {
            serde_json::from_str(text).map_err(|e| e.to_string())?
        };
        let later = [
            ("tcpListen", config.tcp_listen.is_some()),
            ("ipc", config.ipc.is_some()),
            ("tls", config.tls.is_some()),
        ];
        if let Some((name, _)) = later.iter().find(|(_, is_set)| *is_set) {
            return Err(format!("{name} is not available yet; leave it out or set it to null"));
        }
        let (limits, heartbeat) = (&config.limits, &config.heartbeat);
        let small = |n: Option<usize>| n == Some(0);
        let zero = [
            ("limits.maxMessageBytes", small(limits.max_message_bytes)),
            ("limits.maxConnections", small(limits.max_connections)),
            ("limits.maxAttachments", small(limits.max_attachments)),
            ("limits.messagesPerSecond", limits.messages_per_second == Some(0)),
            ("limits.messageBurst", limits.message_burst == Some(0)),
            ("limits.outboundQueueBytes", small(limits.outbound_queue_bytes)),
            ("limits.maxActive", small(limits.max_active)),
            ("limits.maxActivePerPrincipal", small(limits.max_active_per_principal)),
            ("limits.maxParts", limits.max_parts == Some(0)),
            ("limits.sourceTimeoutMs", limits.source_timeout_ms == Some(0)),
            ("heartbeat.intervalMs", heartbeat.interval_ms == Some(0)),
            ("heartbeat.timeoutMs", heartbeat.timeout_ms == Some(0)),
        ];
        if let Some((name, _)) = zero.iter().find(|(_, is_zero)| *is_zero) {
            return Err(format!("{name} is 0, with which nothing would work; it is at least 1"));
        }
        // Never less protection than was asked for.
        if config.auth.mode == AuthMode::Required {
            return Err("auth.mode \"required\" is not available yet; only \"none\" is".into());
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_and_toml_say_the_same() {
        let json = r#"{ "listen": "127.0.0.1:9", "datasets": [{ "name": "a", "path": "a.csv", "timeColumn": "time",
            "columns": [{ "name": "time", "type": "timestamp", "precision": 3 }] }], "limits": { "maxActive": 2 } }"#;
        let toml = "listen = \"127.0.0.1:9\"\n[limits]\nmaxActive = 2\n[[datasets]]\nname = \"a\"\npath = \"a.csv\"\n\
            timeColumn = \"time\"\ncolumns = [{ name = \"time\", type = \"timestamp\", precision = 3 }]\n";
        let (a, b) = (Config::parse(json, false).unwrap(), Config::parse(toml, true).unwrap());
        assert_eq!(format!("{a:?}"), format!("{b:?}"));
        assert_eq!((a.limits.max_active, a.state_dir), (Some(2), "state".into()));
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
            ("later", r#"{ "datasets": [], "ipc": "stdio" }"#, "ipc is not available"),
            ("auth", r#"{ "datasets": [], "auth": { "mode": "required" } }"#, "auth.mode"),
            ("zero", r#"{ "datasets": [], "limits": { "maxActive": 0 } }"#, "limits.maxActive is 0"),
            ("zero", r#"{ "datasets": [], "heartbeat": { "intervalMs": 0 } }"#, "heartbeat.intervalMs is 0"),
            (
                "column",
                r#"{ "datasets": [{ "name": "a", "path": "b", "columns": [{ "name": "c", "type": "int", "precison": 1 }] }] }"#,
                "precison",
            ),
            ("auth mode", r#"{ "datasets": [], "auth": { "mode": "maybe" } }"#, "maybe"),
        ] {
            let error = Config::parse(text, false).unwrap_err();
            assert!(error.contains(want), "{name}: {error}");
        }
    }

    #[test]
    fn secrets_are_not_printed() {
        let text = r#"{ "datasets": [], "auth": { "keys": [{ "id": "k1", "secret": "HUSH", "principal": "p" }],
            "bearerTokens": [{ "token": "HUSH", "principal": "p" }] } }"#;
        assert!(!format!("{:?}", Config::parse(text, false).unwrap()).contains("HUSH"));
    }

    #[test]
    fn one_data_set_is_named_after_its_file() {
        let config = Config::of_data(Path::new("/x/trades.2024.parquet")).unwrap();
        assert_eq!((config.datasets[0].name.as_str(), config.datasets[0].default), ("trades.2024", true));
    }
}
