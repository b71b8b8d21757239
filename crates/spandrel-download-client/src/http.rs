//! The HTTP side: JSON answers here, files in `fetch`.

use std::time::Duration;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Method, Request, Response, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::rt::TokioExecutor;
use serde::de::DeserializeOwned;
use spandrel_download_protocol::{
    DatasetInfo, DatasetList, DownloadId, DownloadRequest, DownloadStatus, ErrorResponse, Preview, Problem,
};
use spandrel_transport::TlsClient;
use tokio::time::timeout;

use crate::address::HttpOrigin;
use crate::connector::Connector;
use crate::{Client, ClientError, ClientOptions, dial};

#[derive(Debug, Clone)]
pub(crate) struct Http {
    client: HyperClient<Connector, Full<Bytes>>,
    origin: HttpOrigin,
    bearer: Option<HeaderValue>,
    pub(crate) options: ClientOptions,
}

impl Http {
    pub(crate) fn new(origin: HttpOrigin, tls: Option<TlsClient>, options: &ClientOptions) -> Self {
        let bearer = options.http_token().and_then(|token| dial::bearer(token).ok());
        let client = HyperClient::builder(TokioExecutor::new()).build(Connector::new(tls));
        Self { client, origin, bearer, options: options.clone() }
    }

    /// Sends a request; the token goes along when the address is of the server's own origin.
    pub(crate) async fn send(
        &self,
        method: Method,
        reference: &str,
        headers: &[(http::HeaderName, String)],
        body: Bytes,
    ) -> Result<Response<Incoming>, ClientError> {
        let (uri, is_own) = self.origin.join(reference)?;
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        if let Some(token) = self.bearer.as_ref().filter(|_| is_own) {
            request = request.header(AUTHORIZATION, token.clone());
        }
        let request = request.body(Full::new(body)).map_err(|e| ClientError::Http(e.to_string()))?;
        self.client.request(request).await.map_err(|e| ClientError::Http(chain(&e)))
    }

    /// Whether it is known where that is, and it may be fetched from there.
    pub(crate) fn reaches(&self, reference: &str) -> Result<(), ClientError> {
        self.origin.join(reference).map(drop)
    }

    async fn json<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<T, ClientError> {
        let after_ms = self.options.answer_ms;
        let exchange = async {
            let answer = self.send(method, path, &[], body).await?;
            if !answer.status().is_success() {
                return Err(self.refusal(answer, path).await);
            }
            let body = self.collect(answer).await?;
            serde_json::from_slice(&body).map_err(|e| ClientError::Http(format!("{path}: {e}")))
        };
        let late = |_| ClientError::Http(format!("{path}: no answer within {after_ms} ms"));
        timeout(Duration::from_millis(after_ms), exchange).await.map_err(late)?
    }

    /// An answer that is not a success, as an error.
    pub(crate) async fn refusal(&self, answer: Response<Incoming>, reference: &str) -> ClientError {
        let status = answer.status().as_u16();
        let problem =
            self.collect(answer).await.ok().and_then(|b| serde_json::from_slice::<Problem>(&b).ok());
        match problem {
            Some(problem) => ClientError::Refused(ErrorResponse::from(problem)),
            None => {
                let path = reference.parse::<Uri>().map(|uri| uri.path().to_owned()).unwrap_or_default();
                ClientError::Status { status, path }
            }
        }
    }

    async fn collect(&self, answer: Response<Incoming>) -> Result<Bytes, ClientError> {
        let limited = Limited::new(answer.into_body(), self.options.answer_bytes_max);
        let body = limited.collect().await.map_err(|e| ClientError::Http(e.to_string()))?;
        Ok(body.to_bytes())
    }

    pub(crate) async fn download(&self, id: DownloadId) -> Result<DownloadStatus, ClientError> {
        self.json(Method::GET, &format!("/v1/downloads/{id}"), Bytes::new()).await
    }
}

/// hyper's own text is "client error (Connect)"; the cause is what helps.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

impl Client {
    /// The data sets this client may read. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`ClientError::Refused`], [`ClientError::Http`], [`ClientError::Status`].
    pub async fn datasets(&self) -> Result<Vec<DatasetInfo>, ClientError> {
        let list: DatasetList = self.http.json(Method::GET, "/v1/datasets", Bytes::new()).await?;
        Ok(list.datasets)
    }

    /// The first `rows` rows a request would give (0 to 100), without making a job. Cancel safe.
    ///
    /// # Errors
    ///
    /// As [`datasets`](Self::datasets).
    pub async fn preview(&self, request: &DownloadRequest, rows: u32) -> Result<Preview, ClientError> {
        let body = serde_json::to_vec(request).expect("requests are plain data");
        self.http.json(Method::POST, &format!("/v1/preview?rows={rows}"), body.into()).await
    }
}
