//! Why a request is not taken: the one place that turns that into a status, a code and a remedy.
//!
//! MoEngage shows a marketer the status code and nothing else, so each kind of fault has its own. Only 200 counts as
//! sent. Source: MoEngage, "Connector Error Reference" (moengage/moengage-documentation @1d5336a5).

use std::borrow::Cow;

use http::{HeaderName, HeaderValue, StatusCode, header};
use moehog_journal::AppendError;
use serde::Serialize;
use strum::{EnumCount, VariantArray};

use super::answer::{Answer, with_body};

/// Why a request is not taken. Nothing of it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumCount, VariantArray)]
pub(crate) enum Refusal {
    /// No such path.
    UnknownPath,
    /// A path at which PostHog answers an SDK that asks for anything but to take events.
    AskedOfPostHog,
    /// `/v1/in/…` names no configured source, and the request could be sent to another one.
    UnknownSource,
    /// Not POST.
    Method,
    /// A `Content-Encoding` that nobody here can read.
    Encoding,
    /// The request shows nothing, and the source asks for something; or there is no such source.
    TokenMissing,
    /// The token, or the user with its password, is not the source's.
    TokenWrong,
    /// The signature shown is not that of the body.
    SignatureWrong,
    /// The time that is signed is missing, or long ago.
    SignatureStale,
    /// The source has no secret and no addresses: told to this machine alone.
    NotLocal,
    /// The sender's address is none of the source's.
    AddressNotAllowed,
    /// Another 401 or 403, after many refusals to strangers of the same address.
    TooManyFailures,
    /// No project key in a capture body.
    KeyMissing,
    /// A project key of no configured destination.
    KeyUnknown,
    /// A project key that PostHog would refuse by its shape.
    KeyMalformed,
    /// No destination is configured, and more keys than are taken without one came already.
    TooManyKeys,
    /// No destination with a key is configured, and the listener is reachable from outside.
    KeyNotConfigured,
    /// Larger than the limit, as received or decompressed.
    TooLarge,
    /// The body stopped coming.
    Stalled,
    /// The body broke off.
    BrokenOff,
    /// More requests or bytes under way than are held at once.
    Overloaded,
    /// The journal has no room.
    Full,
    /// The source has more than its share of the journal.
    SourceFull,
    /// Not durable in time.
    Late,
    /// The disk failed.
    Disk,
    /// The process is stopping.
    Closing,
    /// A fault of ours.
    Internal,
}

/// One remedy for all sources, and for names that none has: strangers learn neither which there are nor what they ask for.
const SHOW: &str = "send what sources.NAME of the configuration asks for: a token in its `header` (Authorization: Bearer TOKEN where it \
                    names none) or a user and password of its `basic`, from an address of its `from`";

/// What a refusal says.
struct Text {
    status: StatusCode,
    code: &'static str,
    field: &'static str,
    message: &'static str,
    remedy: &'static str,
}

impl From<&AppendError> for Refusal {
    fn from(error: &AppendError) -> Self {
        match error {
            AppendError::Full { .. } => Self::Full,
            AppendError::SourceFull { .. } => Self::SourceFull,
            AppendError::Deadline => Self::Late,
            AppendError::Write { .. } => Self::Disk,
            AppendError::Closed | AppendError::Behind => Self::Closing,
        }
    }
}

impl Refusal {
    /// The stable word for it, in answers and metrics.
    pub(crate) fn code(self) -> &'static str {
        self.text().code
    }

    #[rustfmt::skip]
    fn text(self) -> Text {
        use StatusCode as S;
        let text = |status, code, field, message, remedy| Text { status, code, field, message, remedy };
        match self {
            Self::UnknownPath => text(S::NOT_FOUND, "unknown_path", "path", "nothing is served at this path",
                "POST to /v1/in/NAME of a configured source, or to /capture/"),
            Self::AskedOfPostHog => text(S::NOT_FOUND, "asked_of_posthog", "path",
                "moehog takes events and passes nothing else through: feature flags, remote configuration, surveys and \
                 recordings are PostHog's",
                "give the SDK PostHog's own host for it (posthog-js: flags_api_host), or a client of its own with that \
                 host (python, node)"),
            Self::UnknownSource => text(S::NOT_FOUND, "unknown_source", "path",
                "no source of this name is configured", "POST to /v1/in/NAME of a source that is"),
            Self::Method => text(S::METHOD_NOT_ALLOWED, "method_not_allowed", "method",
                "webhooks are taken by POST; by GET only at /v1/in/NAME, and only where the request shows a token or password of that source",
                "set the connector's method to POST, or configure sources.NAME.tokens and send one in the header that the source names"),
            Self::Encoding => text(S::UNSUPPORTED_MEDIA_TYPE, "unknown_content_encoding", "content-encoding",
                "the body is in a coding that cannot be read, or in more than three",
                "send it as it is, or in gzip, deflate, br or zstd, and name that in Content-Encoding"),
            Self::TokenMissing => text(S::UNAUTHORIZED, "token_missing", "authorization",
                "the request shows nothing that is taken here: no token, no password", SHOW),
            Self::TokenWrong => text(S::UNAUTHORIZED, "token_wrong", "authorization",
                "the token or password is none that is taken here", SHOW),
            Self::SignatureWrong => text(S::UNAUTHORIZED, "signature_wrong", "signature",
                "there is no signature in the header that sources.NAME.signature names, or it is not that of the body as it came",
                "sign the very bytes that are sent, with a secret of sources.NAME.signature, and let nothing in between change them"),
            Self::SignatureStale => text(S::UNAUTHORIZED, "signature_stale", "signature",
                "the time that is signed is missing, or too far from now",
                "set the sender's clock, or raise sources.NAME.signature.tolerance"),
            Self::NotLocal => text(S::UNAUTHORIZED, "token_not_configured", "authorization",
                "this source has no token, no password and no addresses, so nobody may send to it", ""),
            Self::AddressNotAllowed => text(S::FORBIDDEN, "address_not_allowed", "address",
                "the request does not come from an address that this source takes", ""),
            Self::TooManyFailures => text(S::TOO_MANY_REQUESTS, "too_many_failures", "",
                "this request may not send, and 20 before it from the same address within a minute were refused",
                "the answers to those say what is wrong; a request that is right is taken at any time"),
            Self::KeyMissing => text(S::UNAUTHORIZED, "api_key_missing", "api_key",
                "the body holds no project key: no text under api_key, token or $token",
                "put \"api_key\": \"YOUR_PROJECT_API_KEY\" at the top of the body"),
            Self::KeyUnknown => text(S::UNAUTHORIZED, "api_key_unknown", "api_key",
                "the body's project key is not that of any configured destination", ""),
            Self::KeyMalformed => text(S::UNAUTHORIZED, "api_key_malformed", "api_key",
                "the body's project key is not 1 to 64 ASCII characters, or is a personal key (phx_)",
                "use the project API key, which begins with phc_, of PostHog's project settings"),
            Self::TooManyKeys => text(S::UNAUTHORIZED, "too_many_api_keys", "api_key",
                "no destination is configured, and as many different project keys as are taken without one came already",
                ""),
            Self::KeyNotConfigured => text(S::UNAUTHORIZED, "no_destination_configured", "api_key",
                "no destination is configured with a project key", ""),
            Self::TooLarge => text(S::PAYLOAD_TOO_LARGE, "body_too_large", "body",
                "the body is larger than http.max_body_bytes, as received or decompressed",
                "send fewer events in a request, or raise http.max_body_bytes where it is below 33554432"),
            Self::Stalled => text(S::REQUEST_TIMEOUT, "body_stalled", "body",
                "the body stopped coming", "send it again"),
            Self::BrokenOff => text(S::BAD_REQUEST, "body_broken_off", "body",
                "the body broke off before its end", "send it again"),
            Self::Overloaded => text(S::SERVICE_UNAVAILABLE, "overloaded", "",
                "more requests are under way than are held at once", "send it again after the time in Retry-After"),
            Self::Full => text(S::SERVICE_UNAVAILABLE, "journal_full", "",
                "the journal is full of webhooks that are not delivered yet",
                "see why they wait (the admin port's /api/status), or raise journal.budget_bytes"),
            Self::SourceFull => text(S::SERVICE_UNAVAILABLE, "source_full", "",
                "this source's undelivered webhooks fill its share of the journal",
                "see why they wait (the admin port's /api/status), or raise journal.budget_bytes"),
            Self::Late => text(S::SERVICE_UNAVAILABLE, "not_durable_in_time", "",
                "the webhook was not on the disk in time and was cancelled", "send it again after the time in Retry-After"),
            Self::Disk => text(S::SERVICE_UNAVAILABLE, "disk_failed", "",
                "the journal's disk failed and the webhook was cancelled", "free or mend the disk; no restart is needed"),
            Self::Closing => text(S::SERVICE_UNAVAILABLE, "stopping", "",
                "the gateway is stopping", "send it again after the time in Retry-After"),
            Self::Internal => text(S::INTERNAL_SERVER_ERROR, "internal", "",
                "the gateway failed at this request", "send it again, and report it with the gateway's log"),
        }
    }

    /// Whether somebody was refused who may not send.
    pub(crate) fn is_failed_authentication(self) -> bool {
        matches!(self.text().status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
    }

    /// Whether another sender would not have been refused, or this one if it sent less.
    pub(crate) fn is_its_senders_doing(self) -> bool {
        self == Self::Overloaded || self.text().status.is_client_error()
    }

    /// The answer, with what only the gateway's configuration knows.
    pub(crate) fn answer(self, help: &Help<'_>) -> Answer {
        let text = self.text();
        let body = Body {
            error: text.code,
            field: help.field.unwrap_or(text.field),
            message: text.message,
            remedy: help.remedy.as_deref().unwrap_or(text.remedy),
        };
        let body = serde_json::to_vec(&body).unwrap_or_default();
        let mut answer = with_body(text.status, body.into());
        let mut add = |name: HeaderName, value| answer.headers_mut().append(name, HeaderValue::from_static(value));
        match self {
            Self::TokenMissing | Self::TokenWrong => {
                add(header::WWW_AUTHENTICATE, "Bearer");
                add(header::WWW_AUTHENTICATE, r#"Basic realm="moehog""#)
            }
            Self::Method => add(header::ALLOW, "POST"),
            Self::Encoding => add(header::ACCEPT_ENCODING, "gzip, identity"),
            Self::Overloaded | Self::Late | Self::Closing => add(header::RETRY_AFTER, "1"),
            Self::Disk => add(header::RETRY_AFTER, "5"),
            Self::Full | Self::SourceFull => add(header::RETRY_AFTER, "30"),
            Self::TooManyFailures => add(header::RETRY_AFTER, "60"),
            _ => false,
        };
        if self == Self::Closing {
            answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        answer
    }
}

/// What only the configuration knows of a refusal.
#[derive(Debug, Default)]
pub(crate) struct Help<'a> {
    /// What was looked at, in place of the refusal's own field.
    pub(crate) field: Option<&'a str>,
    /// What to do, in place of the refusal's own remedy.
    pub(crate) remedy: Option<Cow<'a, str>>,
}

#[derive(Serialize)]
struct Body<'a> {
    error: &'static str,
    field: &'a str,
    message: &'static str,
    remedy: &'a str,
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_refusal_has_a_code_of_its_own_and_says_what_to_do() {
        let codes: HashSet<_> = Refusal::VARIANTS.iter().map(|refusal| refusal.code()).collect();
        assert_eq!(codes.len(), Refusal::COUNT);
        for refusal in Refusal::VARIANTS {
            let has_own = !refusal.text().remedy.is_empty();
            // the others get theirs from the configuration
            let from_configuration = matches!(
                refusal,
                Refusal::AddressNotAllowed
                    | Refusal::NotLocal
                    | Refusal::KeyUnknown
                    | Refusal::TooManyKeys
                    | Refusal::KeyNotConfigured
            );
            assert!(has_own != from_configuration, "{refusal:?}");
        }
        let most = moehog_proto::limits::MAX_BODY_BYTES;
        assert!(Refusal::TooLarge.text().remedy.ends_with(&format!("below {most}")), "one that works");
    }

    #[test]
    fn the_readme_says_what_each_status_means() {
        let readme = include_str!("../../../../README.md");
        let said: HashSet<_> =
            readme.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" | ")?.0.parse().ok()).collect();
        let refused = Refusal::VARIANTS.iter().map(|refusal| refusal.text().status.as_u16());
        let given: HashSet<u16> = refused.chain([200, 422]).collect();
        assert_eq!(said, given);
    }

    #[test]
    fn a_busy_answer_says_when_to_come_back() {
        for refusal in Refusal::VARIANTS {
            let answer = refusal.answer(&Help::default());
            let busy = matches!(answer.status(), StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS);
            assert_eq!(answer.headers().contains_key(header::RETRY_AFTER), busy, "{refusal:?}");
            assert_ne!(answer.status(), StatusCode::OK);
        }
    }
}
