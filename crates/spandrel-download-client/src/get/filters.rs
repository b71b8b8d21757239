//! Filters as people write them, for command lines.

use spandrel_download_protocol::{
    Column, ErrorCode, ErrorResponse, ProtocolError, RequestFilter, parse_filter_text,
};

use super::GetError;
use crate::{Client, ClientError};

/// Reads filters like `price > 100`, `symbol in A,B`, `user is null`, or JSON (a text that begins with `{`).
///
/// Tests in words need the columns' types, so the server is asked for them, over HTTP; JSON does not. `dataset` is
/// the one the request is for, `None` the server's default one. Cancel safe.
///
/// # Errors
///
/// [`GetError::Usage`] when a text is no filter, `UNKNOWN_DATASET` as [`ClientError::Refused`], and what
/// [`Client::datasets`] fails with.
pub async fn filters_from_text(
    client: &Client,
    dataset: Option<&str>,
    texts: &[String],
) -> Result<Vec<RequestFilter>, GetError> {
    let mut columns: Option<Vec<Column>> = None;
    let mut filters = Vec::with_capacity(texts.len());
    for text in texts {
        let fault = |e: ProtocolError| GetError::Usage(format!("--filter {text:?}: {e}"));
        if text.trim_start().starts_with('{') {
            filters.push(RequestFilter::from_json(text).map_err(fault)?);
            continue;
        }
        if columns.is_none() {
            columns = Some(columns_of(client, dataset).await?);
        }
        filters.push(parse_filter_text(text, columns.as_deref().unwrap_or_default()).map_err(fault)?);
    }
    Ok(filters)
}

async fn columns_of(client: &Client, dataset: Option<&str>) -> Result<Vec<Column>, ClientError> {
    let sets = client.datasets().await.map_err(|error| match error {
        error if error.is_auth() => ClientError::Denied {
            why: format!(
                "{error}; the columns' types come over HTTP, which takes a bearer token and no key: give one too, \
                 or the filter as JSON"
            ),
        },
        error => error,
    })?;
    let found = sets.into_iter().find(|set| match dataset {
        Some(name) => set.name == name,
        None => set.default,
    });
    found.map(|set| set.columns).ok_or_else(|| {
        let name = dataset.unwrap_or("(default)");
        ErrorResponse::new(ErrorCode::UnknownDataset, format!("there is no data set {name:?}")).into()
    })
}
