//! What the server answers.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::Full;

#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
    content_type: Option<&'static str>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Answer {
    pub(crate) fn empty(status: StatusCode) -> Self {
        Self { status, body: Bytes::new(), content_type: None, headers: Vec::new() }
    }

    pub(crate) fn json(status: StatusCode, body: impl Into<Bytes>) -> Self {
        Self { status, body: body.into(), content_type: Some("application/json"), headers: Vec::new() }
    }

    pub(crate) fn script(body: impl Into<Bytes>) -> Self {
        Self {
            status: StatusCode::OK,
            body: body.into(),
            content_type: Some("application/javascript"),
            headers: Vec::new(),
        }
    }

    /// The same with a header, in place of one of the same name.
    pub(crate) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.retain(|(own, _)| *own != name);
        self.headers.push((name, value));
        self
    }

    /// The same, and the connection ends with it.
    pub(crate) fn closing(self) -> Self {
        self.with(header::CONNECTION, HeaderValue::from_static("close"))
    }
}

/// Plain text, as PostHog words its errors.
pub(crate) fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    Answer { status, body: body.into(), content_type: Some("text/plain; charset=utf-8"), headers: Vec::new() }
}

impl From<Answer> for Response<Full<Bytes>> {
    fn from(answer: Answer) -> Self {
        let mut response = Response::new(Full::new(answer.body));
        *response.status_mut() = answer.status;
        if let Some(content_type) = answer.content_type {
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        response.headers_mut().extend(answer.headers);
        response
    }
}
