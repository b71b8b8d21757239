//! Requests of the polling transport: one connection for the GETs, one for the POSTs, both kept open.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use spandrel_socketio::Form;
use spandrel_transport::DialError;
use tokio::task::JoinHandle;

use super::target::Target;

/// A request to be sent.
pub(crate) struct Ask {
    pub(crate) sid: Option<String>,
    /// The body of a POST; none is a GET.
    pub(crate) body: Option<(Form, Bytes)>,
}

/// What became of a request, and the connection, if it can be used again.
pub(crate) struct Answered {
    pub(crate) kept: Option<HttpConnection>,
    pub(crate) result: Result<(Form, Bytes), Failure>,
}

/// A request without an answer of use.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Another status than 200.
    Status(u16),
    /// The server cannot be reached.
    Dial(DialError),
    /// The connection is gone, or the answer is no HTTP or too long.
    Gone,
}

/// A connection to which requests are sent one after the other. Dropping it closes it.
pub(crate) struct HttpConnection {
    sender: SendRequest<Full<Bytes>>,
    carrier: JoinHandle<()>,
}

impl HttpConnection {
    async fn open(target: &Target) -> Result<Self, Failure> {
        let stream = target.stream().await.map_err(Failure::Dial)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|_| Failure::Gone)?;
        let carrier = tokio::spawn(async move {
            let _ = connection.await; // whoever asks hears of the failure
        });
        Ok(Self { sender, carrier })
    }
}

impl Drop for HttpConnection {
    fn drop(&mut self) {
        self.carrier.abort();
    }
}

/// Sends a request over the kept connection or a new one. Cancelled, the connection is closed.
pub(crate) async fn ask(target: Arc<Target>, kept: Option<HttpConnection>, ask: Ask) -> Answered {
    match attempt(&target, kept, &ask).await {
        Ok((kept, form, body)) => Answered { kept, result: Ok((form, body)) },
        Err(failure) => Answered { kept: None, result: Err(failure) },
    }
}

async fn attempt(
    target: &Target,
    kept: Option<HttpConnection>,
    ask: &Ask,
) -> Result<(Option<HttpConnection>, Form, Bytes), Failure> {
    let mut request = request(target, ask)?;
    if let Some(mut connection) = kept.filter(|kept| !kept.sender.is_closed()) {
        match connection.sender.try_send_request(request).await {
            Ok(response) => return read(target, connection, response).await,
            // The server closed it while it was idle, and never saw the request.
            Err(mut e) => request = e.take_message().ok_or(Failure::Gone)?,
        }
    }
    let mut connection = HttpConnection::open(target).await?;
    let response = connection.sender.send_request(request).await.map_err(|_| Failure::Gone)?;
    read(target, connection, response).await
}

fn request(target: &Target, ask: &Ask) -> Result<Request<Full<Bytes>>, Failure> {
    let method = if ask.body.is_some() { Method::POST } else { Method::GET };
    let mut request = Request::builder()
        .method(method)
        .uri(target.polling(ask.sid.as_deref()))
        .header(header::HOST, &target.authority)
        .header(header::ACCEPT, "*/*");
    if let Some((form, _)) = &ask.body {
        request = request.header(header::CONTENT_TYPE, HeaderValue::from_static(form.content_type()));
    }
    if let Some(headers) = request.headers_mut() {
        headers.extend(target.headers.clone());
    }
    let body = ask.body.as_ref().map(|(_, body)| body.clone()).unwrap_or_default();
    let wrong = |e: http::Error| Failure::Dial(DialError::Handshake(e.to_string()));
    request.body(Full::new(body)).map_err(wrong)
}

async fn read(
    target: &Target,
    connection: HttpConnection,
    response: http::Response<hyper::body::Incoming>,
) -> Result<(Option<HttpConnection>, Form, Bytes), Failure> {
    if response.status() != StatusCode::OK {
        return Err(Failure::Status(response.status().as_u16()));
    }
    let content_type = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let form = Form::of_content_type(content_type.unwrap_or_default());
    let body = Limited::new(response.into_body(), target.payload_bytes_max).collect().await;
    let body = body.map_err(|_| Failure::Gone)?.to_bytes();
    Ok((Some(connection).filter(|connection| !connection.sender.is_closed()), form, body))
}
