//! `data` of the events a client sends, `download:request` aside (protocol section 4).

use serde::Serialize;
use serde_json::value::RawValue;

use crate::json::{self, Json};
use crate::path::Path;
use crate::shape::{self, Reader, Unknown, refuse};
use crate::{DownloadId, ErrorCode, ErrorResponse, Limits};

/// `data` of `download:cancel`, `pause`, `resume`, `attach`, `detach`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct JobRef {
    /// Which job.
    pub download_id: DownloadId,
}

impl JobRef {
    /// Reads the data of a message.
    ///
    /// # Errors
    ///
    /// `INVALID_REQUEST` for a missing, ill-typed or unknown member; `DOWNLOAD_NOT_FOUND` for a text that is no
    /// download id, because no job can have it.
    pub fn parse(data: &RawValue, limits: &Limits) -> Result<Self, ErrorResponse> {
        let json = read(data, limits)?;
        let [id] = shape::members(&json, &Path::Root, ["downloadId"], Unknown::Refuse, CODE)?;
        let reader = Reader { path: Path::Root };
        reader.required(id, "downloadId")?;
        download_id(id)?
            .map(|download_id| Self { download_id })
            .ok_or_else(|| refuse(&Path::Root, "downloadId is missing", CODE))
    }
}

/// `data` of `status:check`; unknown members are ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusCheck {
    /// That job only; `scope` does not matter then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub download_id: Option<DownloadId>,
    /// Which jobs.
    pub scope: Scope,
}

/// Which jobs a `status:check` is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Those attached to this connection.
    #[default]
    Session,
    /// All of the principal.
    All,
}

impl StatusCheck {
    /// Reads the data of a message.
    ///
    /// # Errors
    ///
    /// `INVALID_REQUEST` for an ill-typed or repeated member or another scope; `DOWNLOAD_NOT_FOUND` for a text
    /// that is no download id.
    pub fn parse(data: &RawValue, limits: &Limits) -> Result<Self, ErrorResponse> {
        let json = read(data, limits)?;
        let names = ["downloadId", "scope"];
        let [id, scope] = shape::members(&json, &Path::Root, names, Unknown::Ignore, CODE)?;
        let reader = Reader { path: Path::Root };
        let scope = match reader.string(scope, "scope")?.as_deref() {
            None | Some("session") => Scope::Session,
            Some("all") => Scope::All,
            Some(_) => return Err(refuse(&Path::Root.name("scope"), "scope is session or all", CODE)),
        };
        Ok(Self { download_id: download_id(id)?, scope })
    }
}

/// `data` of a client's `connection:health`; unknown members are ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Health {
    /// Ping or pong.
    pub kind: HealthKind,
}

/// Kind of a client's `connection:health`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthKind {
    /// Wants a pong with the same request id within a second.
    Ping,
    /// Answers a ping; wants nothing.
    Pong,
}

impl Health {
    /// Reads the data of a message.
    ///
    /// # Errors
    ///
    /// `INVALID_REQUEST` unless `kind` is `ping` or `pong` (`hello` is the server's).
    pub fn parse(data: &RawValue, limits: &Limits) -> Result<Self, ErrorResponse> {
        let json = read(data, limits)?;
        let [kind] = shape::members(&json, &Path::Root, ["kind"], Unknown::Ignore, CODE)?;
        let kind = match (Reader { path: Path::Root }).string(kind, "kind")?.as_deref() {
            Some("ping") => HealthKind::Ping,
            Some("pong") => HealthKind::Pong,
            _ => return Err(refuse(&Path::Root.name("kind"), "kind is ping or pong", CODE)),
        };
        Ok(Self { kind })
    }
}

const CODE: ErrorCode = ErrorCode::InvalidRequest;

pub(crate) fn read<'a>(data: &'a RawValue, limits: &Limits) -> Result<Json<'a>, ErrorResponse> {
    // Messages were checked when their envelope was read; a fault here means the caller skipped that.
    json::parse(data.get(), limits.json_depth_max).map_err(|fault| ErrorResponse::new(CODE, fault.message()))
}

fn download_id(json: Option<&Json<'_>>) -> Result<Option<DownloadId>, ErrorResponse> {
    let Some(text) = (Reader { path: Path::Root }).string(json, "downloadId")? else { return Ok(None) };
    DownloadId::parse(&text)
        .map(Some)
        .map_err(|_| ErrorResponse::new(ErrorCode::DownloadNotFound, "there is no such download"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "dl_AAAAAAAAAAAAAAAAAAAAAA";

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    #[test]
    fn job_references_are_strict() {
        for (text, want) in [
            (format!("{{\"downloadId\":\"{ID}\"}}"), None),
            (format!("{{\"downloadId\":\"{ID}\",\"x-a\":1}}"), None),
            (format!("{{\"downloadId\":\"{ID}\",\"y\":1}}"), Some((ErrorCode::InvalidRequest, Some("/y")))),
            (
                format!("{{\"downloadId\":\"{ID}\",\"downloadId\":\"{ID}\"}}"),
                Some((ErrorCode::InvalidRequest, Some("/downloadId"))),
            ),
            ("{}".to_owned(), Some((ErrorCode::InvalidRequest, Some("/downloadId")))),
            ("{\"downloadId\":5}".to_owned(), Some((ErrorCode::InvalidRequest, Some("/downloadId")))),
            ("{\"downloadId\":\"dl_x\"}".to_owned(), Some((ErrorCode::DownloadNotFound, None))),
        ] {
            let got = JobRef::parse(&raw(&text), &Limits::default());
            let got = got.err().map(|e| (e.code, e.path().map(str::to_owned)));
            assert_eq!(got, want.map(|(code, path)| (code, path.map(str::to_owned))), "{text}");
        }
    }

    #[test]
    fn status_checks_and_pings_ignore_what_they_do_not_know() {
        let check = |text: &str| StatusCheck::parse(&raw(text), &Limits::default()).map_err(|e| e.code);
        assert_eq!(check("{\"future\":1}"), Ok(StatusCheck::default()));
        assert_eq!(check("{\"scope\":\"all\"}").map(|c| c.scope), Ok(Scope::All));
        assert_eq!(check("{\"scope\":\"world\"}"), Err(ErrorCode::InvalidRequest));
        assert_eq!(check("{\"scope\":null}"), Err(ErrorCode::InvalidRequest));
        assert_eq!(check("{\"downloadId\":\"dl_x\"}"), Err(ErrorCode::DownloadNotFound));
        let health = |text: &str| Health::parse(&raw(text), &Limits::default()).map_err(|e| e.code);
        assert_eq!(health("{\"kind\":\"ping\",\"n\":1}"), Ok(Health { kind: HealthKind::Ping }));
        assert_eq!(health("{\"kind\":\"pong\"}"), Ok(Health { kind: HealthKind::Pong }));
        assert_eq!(health("{\"kind\":\"hello\"}"), Err(ErrorCode::InvalidRequest));
        assert_eq!(health("{}"), Err(ErrorCode::InvalidRequest));
    }
}
