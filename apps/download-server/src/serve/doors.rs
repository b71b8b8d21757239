//! Where clients come in beside HTTP: TCP frames and the parent process.

use std::net::IpAddr;
use std::path::PathBuf;

use spandrel_download_service::Service;
use spandrel_download_service::spandrel_transport::{Listener, Security, TlsServer, Transport as _};
use spandrel_transport_ipc::{Parent as Streams, UnixTransport};
use spandrel_transport_tcp::TcpTransport;

use crate::config::{Certificate, Config, Ipc};

/// TLS as configured; warns of what an operator should know.
pub(super) fn tls(config: &Config) -> Result<Option<TlsServer>, String> {
    let Some(tls) = &config.tls else { return Ok(None) };
    let server = match tls.certificate()? {
        Certificate::Files { cert, key } => TlsServer::from_pem_files(cert, key),
        Certificate::SelfSigned => TlsServer::self_signed(names(config)),
    };
    let server = server.map_err(|e| format!("tls: {e}"))?;
    if tls.is_self_signed() {
        tracing::warn!(
            fingerprint = %server.fingerprint(),
            "the certificate is self-signed and new with every start; for trials only"
        );
    }
    Ok(Some(server))
}

/// Names a self-signed certificate is for: those of this machine and the ones configured.
fn names(config: &Config) -> Vec<String> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    for address in [Some(&config.listen), config.tcp_listen.as_ref()].into_iter().flatten() {
        let host = host(address);
        if !host.is_empty() && host.parse::<IpAddr>().is_ok_and(|ip| !ip.is_unspecified()) {
            names.push(host.to_owned());
        }
    }
    let public = config.public_base_url.as_deref().and_then(|url| url.split_once("://"));
    if let Some((_, rest)) = public {
        names.push(host(rest.split('/').next().unwrap_or_default()).to_owned());
    }
    names.sort();
    names.dedup();
    names
}

/// Host of `host:port`, without the brackets of IPv6.
fn host(address: &str) -> &str {
    let host = match address.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !host.ends_with(':') => host,
        _ => address,
    };
    host.trim_start_matches('[').trim_end_matches(']')
}

/// Binds `tcpListen`.
pub(super) async fn tcp(
    config: &Config,
    service: &Service,
    tls: Option<TlsServer>,
) -> Result<Option<Box<dyn Listener>>, String> {
    let Some(address) = &config.tcp_listen else { return Ok(None) };
    let failed = |e: String| format!("tcpListen {address}: {e}");
    let (scheme, security) = match tls {
        Some(tls) => ("tcps", Security::none().with_server(tls)),
        None => ("tcp", Security::none()),
    };
    let endpoint =
        format!("{scheme}://{address}").parse().map_err(|_| failed("expected HOST:PORT".into()))?;
    let transport = TcpTransport::new()
        .with_limits(service.link_limits())
        .with_subprotocols(Service::subprotocols())
        .with_security(security);
    transport.listen(&endpoint).await.map(Some).map_err(|e| failed(e.to_string()))
}

/// How the parent of this process, or another process of this machine, comes in.
pub(super) enum Parent {
    None,
    /// The parent has one link, on stdin and stdout or on a channel.
    Link(Streams),
    Listener(Box<dyn Listener>),
}

/// Opens what `ipc` names.
pub(super) async fn parent(config: &Config, service: &Service) -> Result<Parent, String> {
    let limits = service.parent_limits();
    let failed = |e: &dyn std::fmt::Display| format!("ipc: {e}");
    Ok(match config.ipc()? {
        None => Parent::None,
        Some(Ipc::Stdio) => Parent::Link(Streams::stdio(&limits).map_err(|e| failed(&e))?),
        Some(Ipc::Node) => Parent::Link(Streams::node_channel(&limits).map_err(|e| failed(&e))?),
        Some(Ipc::Unix(path)) => {
            let at = format!("unix:{}", path.display()).parse().map_err(|e| failed(&e))?;
            let listener = UnixTransport::new().with_limits(limits).listen(&at).await;
            Parent::Listener(listener.map_err(|e| failed(&e))?)
        }
    })
}

impl Parent {
    /// Nothing but messages may be written to stdout.
    pub(super) fn owns_stdout(&self) -> bool {
        matches!(self, Self::Link(_))
    }

    pub(super) fn listener(&self) -> Option<&dyn Listener> {
        match self {
            Self::Listener(listener) => Some(&**listener),
            _ => None,
        }
    }

    /// Talks to it; done when it is gone, which never happens when there is none or when it may come back. A session that
    /// ends while the parent is there, because it was silent or spoke nonsense for too long, is no reason to leave those
    /// alone who come by HTTP.
    pub(super) async fn serve(self, service: &Service) {
        let service = service.clone();
        // A task of its own: it goes on while the server stops.
        match self {
            Self::None => std::future::pending().await,
            Self::Link(Streams { link, mut end, .. }) => {
                let talking = tokio::spawn(async move { service.serve_parent(link).await });
                tokio::select! {
                    biased;
                    () = &mut end => return,
                    _ = talking => {}
                }
                tracing::warn!(
                    "the session of the parent process is over, and it is still there; serving others on"
                );
                end.await;
            }
            Self::Listener(listener) => {
                tokio::spawn(async move { service.serve_parents(listener).await });
                std::future::pending().await
            }
        }
    }
}

/// Says once what is open to everybody who can listen on the network.
pub(super) fn warn_of_plain_text(config: &Config, listen: IpAddr) {
    if config.tls.is_some() {
        return;
    }
    let is_open = |address: &str| {
        host(address).parse::<IpAddr>().map_or(host(address) != "localhost", |ip| !ip.is_loopback())
    };
    if !listen.is_loopback() {
        tracing::warn!(
            listen = config.listen,
            "not a loopback address, and no tls: everything can be read on the way"
        );
    }
    if let Some(address) = config.tcp_listen.as_deref().filter(|address| is_open(address)) {
        tracing::warn!(
            tcp_listen = address,
            "not a loopback address, and no tls: everything can be read on the way"
        );
    }
}

/// Warns when others than the owner can read keys and tokens.
pub(super) fn warn_of_readable_secrets(config: &Config, path: Option<&PathBuf>) {
    use std::os::unix::fs::PermissionsExt as _;
    let Some(path) = path.filter(|_| config.auth.has_secrets()) else { return };
    let mode = std::fs::metadata(path).map_or(0, |meta| meta.permissions().mode());
    if mode & 0o077 != 0 {
        tracing::warn!(path = %path.display(), "others can read the keys and tokens in here; chmod 600 it");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_taken_out_of_addresses() {
        for (address, want) in [
            ("127.0.0.1:80", "127.0.0.1"),
            ("[::1]:80", "::1"),
            ("export.example:8443", "export.example"),
            ("export.example", "export.example"),
            ("[::]", "::"),
        ] {
            assert_eq!(host(address), want, "{address}");
        }
    }
}
