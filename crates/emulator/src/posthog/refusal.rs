//! Why a request is refused, in PostHog's words.

use http::StatusCode;

/// Why a request is refused. The status and words are PostHog's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("failed to decode request: {0}")]
    Decode(String),
    #[error("failed to parse request: {0}")]
    Parse(String),
    #[error("request missing data payload")]
    NoPayload,
    #[error("request holds no event")]
    Empty,
    #[error("event submitted with an empty event name")]
    EmptyName,
    #[error("event submitted without a distinct_id")]
    NoDistinctId,
    #[error("event submitted with an invalid cookieless mode")]
    CookielessMode,
    #[error("event submitted without an api_key")]
    NoKey,
    #[error("batch submitted with inconsistent api_key values")]
    Keys,
    #[error("API key is not valid: {0}")]
    Key(&'static str),
    #[error("maximum event size exceeded: {bytes} bytes")]
    EventTooLarge { bytes: usize, status: StatusCode },
    #[error("Failed to buffer the request body: length limit exceeded")]
    BodyTooLarge,
    #[error("client stopped sending data")]
    Stalled,
    /// In the words of v1.
    #[error("{tag}: {message}")]
    V1 { status: StatusCode, tag: &'static str, message: String },
}

impl Refusal {
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Decode(_)
            | Self::Parse(_)
            | Self::NoPayload
            | Self::Empty
            | Self::EmptyName
            | Self::NoDistinctId
            | Self::CookielessMode => StatusCode::BAD_REQUEST,
            Self::NoKey | Self::Keys | Self::Key(_) => StatusCode::UNAUTHORIZED,
            Self::EventTooLarge { status, .. } | Self::V1 { status, .. } => *status,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Stalled => StatusCode::REQUEST_TIMEOUT,
        }
    }
}
