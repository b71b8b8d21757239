//! The HTTP side: JSON answers here, files in `fetch`.

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Method, Request, Response, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::de::DeserializeOwned;
use spandrel_download_protocol::{
    DatasetInfo, DatasetList, DownloadId, DownloadRequest, DownloadStatus, ErrorResponse, Preview, Problem,
};

use crate::origin::Origin;
use crate::session::bearer;
use crate::{Client, ClientError, ClientOptions};

#[derive(Debug, Clone)]
pub(crate) struct Http {
    client: HyperClient<HttpConnector, Full<Bytes>>,
    pub(crate) origin: Origin,
    bearer: Option<HeaderValue>,
    pub(crate) options: ClientOptions,
}

impl Http {
    pub(crate) fn new(origin: Origin, options: &ClientOptions) -> Result<Self, ClientError> {
        let bearer = options.bearer.as_deref().map(bearer).transpose()?;
        let client = HyperClient::builder(TokioExecutor::new()).build_http();
        Ok(Self { client, origin, bearer, options: options.clone() })
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

    async fn json<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<T, ClientError> {
        let answer = self.send(method, path, &[], body).await?;
        let status = answer.status();
        if !status.is_success() {
            return Err(self.refusal(answer, path).await);
        }
        let body = self.collect(answer).await?;
        serde_json::from_slice(&body).map_err(|e| ClientError::Http(format!("{path}: {e}")))
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
