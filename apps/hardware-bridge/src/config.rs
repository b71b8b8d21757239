//! Settings: defaults, below `hardware-bridge.toml`, below the environment, below flags (hardware bridge protocol,
//! section 1). Each value knows where it came from.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use spandrel_bridge_protocol::{Origins, Secret, Shown};
use spandrel_bridge_service::DEFAULT_PORT;
use spandrel_crypto::Token;
use toml::Value;
use tracing::level_filters::LevelFilter;

/// The file that is read beside the executable when no other is named.
pub(crate) const FILE_NAME: &str = "hardware-bridge.toml";
/// A longer file is no configuration.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// One setting by its three names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Name {
    pub(crate) key: &'static str,
    pub(crate) variable: &'static str,
    pub(crate) flag: &'static str,
}

const fn name(key: &'static str, variable: &'static str, flag: &'static str) -> Name {
    Name { key, variable, flag }
}

/// All settings, in the order in which they are shown.
pub(crate) const NAMES: [Name; 7] = [
    name("port", "SPANDREL_HW_PORT", "--port"),
    name("tls_dir", "SPANDREL_HW_TLS_DIR", "--tls-dir"),
    name("secret", "SPANDREL_HW_SECRET", "--secret-file"),
    name("origins", "SPANDREL_HW_ORIGINS", "--origins"),
    name("token", "SPANDREL_HW_TOKEN", "--token-file"),
    name("status", "SPANDREL_HW_STATUS", "--status"),
    name("log", "SPANDREL_HW_LOG", "--log"),
];

/// Settings of the command line; what is not given counts nothing.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Flags {
    /// Configuration [default: hardware-bridge.toml beside the program, if there is one]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Port to listen on, and to join another bridge at; 0 takes a free one [default: 23518]
    #[arg(long, value_name = "PORT")]
    pub(crate) port: Option<String>,
    /// Folder with hardware.key, cert.pem, ChainCA1.crt and RootCA.crt [default: assets beside the program]
    #[arg(long, value_name = "DIR")]
    pub(crate) tls_dir: Option<String>,
    /// File with the passphrase of encrypt and decrypt
    #[arg(long, value_name = "FILE")]
    pub(crate) secret_file: Option<PathBuf>,
    /// Pages that may connect [default: https://playentry.org,*.playentry.org,loopback,file]
    #[arg(long, value_name = "LIST")]
    pub(crate) origins: Option<String>,
    /// File with a pairing token that pages have to know
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Serves a page with connections, rates and refusals here, as in 127.0.0.1:23519
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) status: Option<String>,
    /// What is told on stderr: off, error, warn, info, debug or trace [default: info]
    #[arg(long, value_name = "LEVEL")]
    pub(crate) log: Option<String>,
}

/// Where a value came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Default,
    File,
    Variable(&'static str),
    Flag(&'static str),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File => f.write_str("file"),
            Self::Variable(name) | Self::Flag(name) => f.write_str(name),
        }
    }
}

/// A value and its source.
#[derive(Debug, Clone)]
pub(crate) struct Set<T> {
    pub(crate) value: T,
    pub(crate) source: Source,
}

/// All settings.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// The file that was read, if any.
    pub(crate) file: Option<PathBuf>,
    pub(crate) port: Set<u16>,
    pub(crate) tls_dir: Set<PathBuf>,
    pub(crate) secret: Set<Option<Secret>>,
    pub(crate) origins: Set<Origins>,
    pub(crate) token: Set<Option<Token>>,
    pub(crate) status: Set<Option<SocketAddr>>,
    pub(crate) log: Set<LevelFilter>,
}

/// What a setting was given as.
enum Given {
    Text(String),
    Value(Value),
}

impl Given {
    fn text(&self) -> Result<&str, String> {
        match self {
            Self::Text(text) => Ok(text),
            Self::Value(value) => value.as_str().ok_or_else(|| "is not a text".to_owned()),
        }
    }
}

/// Looks for values in the order of precedence.
struct Layers<'a> {
    file: toml::Table,
    folder: PathBuf,
    variable: &'a dyn Fn(&str) -> Option<String>,
}

impl Settings {
    /// Reads everything. `folder` is that of the executable; `variable` gives the environment's.
    ///
    /// # Errors
    ///
    /// One line that names the setting and where it was given. Never a secret.
    pub(crate) fn read(
        flags: &Flags,
        folder: &Path,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, String> {
        let beside = folder.join(FILE_NAME);
        let file = match &flags.config {
            Some(path) => Some(path.clone()),
            None => beside.exists().then_some(beside),
        };
        let table = file.as_deref().map(read_file).transpose()?.unwrap_or_default();
        let file_folder = file.as_deref().and_then(Path::parent).unwrap_or(Path::new("")).to_owned();
        let layers = Layers { file: table, folder: file_folder, variable };
        let [port, tls_dir, secret, origins, token, status, log] = NAMES;
        Ok(Self {
            port: layers.choose(port, flags.port.as_deref(), DEFAULT_PORT, parse_port)?,
            tls_dir: layers.tls_dir(tls_dir, flags.tls_dir.as_deref(), folder)?,
            secret: layers.choose(
                secret,
                read_line(secret, flags.secret_file.as_deref())?.as_deref(),
                None,
                |given| {
                    Some(given.text()?)
                        .filter(|text| !text.is_empty())
                        .map(Secret::new)
                        .map(Some)
                        .ok_or("is empty".into())
                },
            )?,
            origins: layers.choose(origins, flags.origins.as_deref(), Origins::default(), parse_origins)?,
            token: layers.choose(
                token,
                read_line(token, flags.token_file.as_deref())?.as_deref(),
                None,
                |given| Token::new(given.text()?).map(Some).map_err(|e| format!("cannot be used: {e}")),
            )?,
            status: layers.choose(status, flags.status.as_deref(), None, |given| {
                let text = given.text()?;
                text.parse().map(Some).map_err(|_| is_not(text, "ADDRESS:PORT, as in 127.0.0.1:23519"))
            })?,
            log: layers.choose(log, flags.log.as_deref(), LevelFilter::INFO, |given| {
                let text = given.text()?;
                text.parse().map_err(|_| is_not(text, "off, error, warn, info, debug or trace"))
            })?,
            file,
        })
    }
}

impl Layers<'_> {
    fn choose<T>(
        &self,
        name: Name,
        flag: Option<&str>,
        default: T,
        parse: impl Fn(&Given) -> Result<T, String>,
    ) -> Result<Set<T>, String> {
        let (given, source) = if let Some(text) = flag {
            (Given::Text(text.to_owned()), Source::Flag(name.flag))
        } else if let Some(text) = (self.variable)(name.variable).filter(|text| !text.is_empty()) {
            (Given::Text(text), Source::Variable(name.variable))
        } else if let Some(value) = self.file.get(name.key) {
            (Given::Value(value.clone()), Source::File)
        } else {
            return Ok(Set { value: default, source: Source::Default });
        };
        if matches!(&given, Given::Text(text) if text.contains('\u{fffd}')) {
            return Err(format!("{} ({source}) is not UTF-8", name.key));
        }
        let value = parse(&given).map_err(|what| format!("{} ({source}) {what}", name.key))?;
        Ok(Set { value, source })
    }

    /// A relative one in the file starts at the file's folder; the default is beside the executable.
    fn tls_dir(&self, name: Name, flag: Option<&str>, beside: &Path) -> Result<Set<PathBuf>, String> {
        let mut set = self.choose(name, flag, beside.join("assets"), |given| {
            Some(given.text()?).filter(|text| !text.is_empty()).map(PathBuf::from).ok_or("is empty".into())
        })?;
        if set.source == Source::File {
            set.value = self.folder.join(set.value);
        }
        Ok(set)
    }
}

fn is_not(text: &str, expected: &str) -> String {
    format!("is {}, expected {expected}", Shown::new(text.as_bytes()))
}

fn parse_port(given: &Given) -> Result<u16, String> {
    const EXPECTED: &str = "a number from 0 to 65535";
    match given {
        Given::Text(text) => text.parse().map_err(|_| is_not(text, EXPECTED)),
        Given::Value(value) => value
            .as_integer()
            .and_then(|number| u16::try_from(number).ok())
            .ok_or_else(|| is_not(&value.to_string(), EXPECTED)),
    }
}

fn parse_origins(given: &Given) -> Result<Origins, String> {
    let read = match given {
        Given::Text(list) => Origins::parse(list),
        Given::Value(value) => {
            let list = value.as_array().ok_or("is not a list, expected origins = [\"default\", ...]")?;
            let entries: Option<Vec<&str>> = list.iter().map(Value::as_str).collect();
            Origins::of_entries(entries.ok_or("holds something that is not a text")?)
        }
    };
    read.map_err(|e| format!("cannot be used: {e}"))
}

/// The known keys of a file. What is wrong is told with its line, not with its text: secrets stand in lines, and errors
/// in logs.
fn read_file(path: &Path) -> Result<toml::Table, String> {
    let failed = |what: String| format!("{}: {what}", path.display());
    let text = read_bounded(path).map_err(failed)?;
    let table: toml::Table = toml::from_str(&text).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start));
        let line = before.map_or(0, |before| before.matches('\n').count()) + 1;
        failed(format!("{} in line {line}", error.message().replace('\n', " ")))
    })?;
    if let Some(unknown) = table.keys().find(|key| NAMES.iter().all(|name| name.key != *key)) {
        let known = NAMES.map(|name| name.key).join(", ");
        return Err(failed(format!("unknown key {}; known are {known}", Shown::new(unknown.as_bytes()))));
    }
    Ok(table)
}

/// The text in a file that holds one secret, without the line end that editors add.
fn read_line(name: Name, path: Option<&Path>) -> Result<Option<String>, String> {
    let Some(path) = path else { return Ok(None) };
    let text =
        read_bounded(path).map_err(|e| format!("{} ({}) {}: {e}", name.key, name.flag, path.display()))?;
    Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()))
}

fn read_bounded(path: &Path) -> Result<String, String> {
    use std::io::Read as _;
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|e| e.to_string())?;
    let len = file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(|e| e.to_string())?;
    if len as u64 > FILE_BYTES_MAX { Err(format!("longer than {FILE_BYTES_MAX} bytes")) } else { Ok(text) }
}

#[cfg(test)]
mod tests;
