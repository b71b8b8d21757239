//! Who we are, whom we trust, and what is done to messages: flags and environment.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use spandrel_download_client::{
    ClientError, ClientOptions, Credentials, Fingerprint, Seal, Trust, bearer, read_secret,
};

#[derive(Debug, Args)]
#[command(next_help_heading = "Credentials and trust")]
pub(crate) struct TrustArgs {
    /// File with a bearer token; SPANDREL_BEARER may hold the token itself
    #[arg(long, value_name = "FILE", env = "SPANDREL_BEARER_FILE")]
    bearer_file: Option<PathBuf>,
    /// Name of the key that signs messages
    #[arg(long, value_name = "ID", env = "SPANDREL_KEY_ID")]
    key_id: Option<String>,
    /// File with that key as base64url; SPANDREL_KEY may hold the key itself
    #[arg(long, value_name = "FILE", env = "SPANDREL_KEY_FILE", requires = "key_id")]
    key_file: Option<PathBuf>,
    /// Seal messages (AES-256-GCM) with the key
    #[arg(long, value_enum, env = "SPANDREL_SEAL", requires = "key_id", num_args = 0..=1, require_equals = true,
          default_missing_value = "required")]
    seal: Option<SealArg>,
    /// Deflate long messages where the server offers it
    #[arg(long, env = "SPANDREL_DEFLATE", value_parser = clap::builder::BoolishValueParser::new())]
    deflate: bool,
    /// PEM file of the authorities to trust, instead of those of the operating system
    #[arg(long, value_name = "FILE", env = "SPANDREL_CA", conflicts_with = "tls_pin")]
    ca: Option<PathBuf>,
    /// SHA-256 of the one certificate to trust, in hex: for servers that signed their own
    #[arg(long, value_name = "SHA256", env = "SPANDREL_TLS_PIN")]
    tls_pin: Option<Fingerprint>,
    /// Where files come from with tcp, tcps and unix addresses: the server's http:// or https:// address
    #[arg(long, value_name = "URL", env = "SPANDREL_HTTP")]
    http: Option<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum SealArg {
    /// Sealed, or no session
    Required,
    /// Sealed where the server offers it, else signed only
    IfOffered,
}

impl TrustArgs {
    pub(crate) fn options(&self) -> Result<ClientOptions, ClientError> {
        let mut options = ClientOptions::default().deflates(self.deflate).seal(match self.seal {
            None => Seal::Off,
            Some(SealArg::Required) => Seal::Required,
            Some(SealArg::IfOffered) => Seal::IfOffered,
        });
        let token = match &self.bearer_file {
            Some(file) => Some(bearer(&read_secret(file)?)?),
            None => variable("SPANDREL_BEARER").map(|token| bearer(&token)).transpose()?,
        };
        match (&self.key_id, token) {
            (Some(id), token) => {
                options = options.credentials(self.key(id)?);
                options.http_bearer = token;
            }
            (None, Some(token)) => options = options.credentials(Credentials::Bearer(token)),
            (None, None) => {}
        }
        if let Some(file) = &self.ca {
            options = options.trust(Trust::CaFile(file.clone()));
        }
        if let Some(pin) = self.tls_pin {
            options = options.trust(Trust::Pin(pin));
        }
        options.http_url.clone_from(&self.http);
        Ok(options)
    }

    fn key(&self, id: &str) -> Result<Credentials, ClientError> {
        match (&self.key_file, variable("SPANDREL_KEY")) {
            (Some(file), _) => Credentials::key(id, &read_secret(file)?),
            (None, Some(secret)) => Credentials::key(id, &secret),
            (None, None) => Err(ClientError::Options("--key-id needs the key: --key-file or SPANDREL_KEY")),
        }
    }
}

/// Read here and not by the argument parser, which would show it in its messages.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.trim().is_empty())
}
