//! What a request shows of what it knows: a token in a header, or a user with a password.

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use http::{HeaderMap, HeaderName, header};
use moehog_runtime::Secret;
use subtle::{Choice, ConstantTimeEq};

use crate::config::{self, Basic};

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What a source takes, any of it.
#[derive(Debug)]
pub(super) struct Credentials {
    header: HeaderName,
    tokens: Vec<Secret>,
    basic: Vec<Basic>,
    /// For `WWW-Authenticate`.
    pub(super) challenges: Vec<&'static str>,
}

impl Credentials {
    pub(super) fn new(config: &config::Source) -> Self {
        let config::Source { header, tokens, basic, .. } = config.clone();
        let bearer = (!tokens.is_empty() && header == header::AUTHORIZATION).then_some("Bearer");
        let user = (!basic.is_empty()).then_some(r#"Basic realm="moehog""#);
        Self { challenges: bearer.into_iter().chain(user).collect(), header, tokens, basic }
    }

    /// Whether there is nothing that could be shown.
    pub(super) fn is_empty(&self) -> bool {
        self.tokens.is_empty() && self.basic.is_empty()
    }

    /// Whether the request shows one of them; none where it shows nothing.
    pub(super) fn shown(&self, headers: &HeaderMap) -> Option<bool> {
        let token = (!self.tokens.is_empty()).then(|| shows_one_of(&self.tokens, &self.header, headers)).flatten();
        let user = (!self.basic.is_empty()).then(|| shows_user_of(&self.basic, headers)).flatten();
        match (token, user) {
            (None, None) => None,
            (token, user) => Some(token == Some(true) || user == Some(true)),
        }
    }

    /// The header that is looked at first.
    pub(super) fn header(&self) -> &str {
        if self.tokens.is_empty() { header::AUTHORIZATION.as_str() } else { self.header.as_str() }
    }

    /// What to send to the source of this name.
    pub(super) fn remedy(&self, source: &str) -> String {
        let Self { header, .. } = self;
        let value = if header == header::AUTHORIZATION { "Bearer TOKEN" } else { "TOKEN" };
        let token = format!("send the header {header}: {value} with a token of sources.{source}.tokens");
        let user = format!("send Basic authorization with a user and the password of sources.{source}.basic");
        match (self.tokens.is_empty(), self.basic.is_empty()) {
            (false, false) => format!("{token}, or {user}"),
            (true, false) => user,
            (_, true) => token,
        }
    }
}

/// Whether the header holds one of the tokens; none where there is no such header. In constant time a token.
pub(crate) fn shows_one_of(tokens: &[Secret], header: &HeaderName, headers: &HeaderMap) -> Option<bool> {
    let shown = headers.get(header)?.as_bytes();
    let bearer = (*header == header::AUTHORIZATION).then(|| after_scheme(shown, b"bearer ")).flatten();
    // every token is compared, whichever fits
    let fits = tokens.iter().fold(Choice::from(0), |fits, token| {
        let token = token.expose();
        let token = token.as_bytes();
        fits | token.ct_eq(shown) | bearer.map_or(Choice::from(0), |shown| token.ct_eq(shown))
    });
    Some(fits.into())
}

/// Whether `Authorization` holds one of the users with its password; none where there is no such header. In constant time a
/// user and a password.
fn shows_user_of(basic: &[Basic], headers: &HeaderMap) -> Option<bool> {
    let shown = headers.get(header::AUTHORIZATION)?.as_bytes();
    let decoded = after_scheme(shown, b"basic ").and_then(|shown| BASE64.decode(shown).ok());
    let Some((user, password)) = decoded.as_deref().and_then(at_colon) else { return Some(false) };
    // every pair is compared, whichever fits
    let fits = basic.iter().fold(Choice::from(0), |fits, pair| {
        fits | pair.user.as_bytes().ct_eq(user) & pair.password.expose().as_bytes().ct_eq(password)
    });
    Some(fits.into())
}

/// What follows a scheme, given in small letters with the space behind it.
fn after_scheme<'a>(value: &'a [u8], scheme: &[u8]) -> Option<&'a [u8]> {
    let (shown, rest) = value.split_at_checked(scheme.len())?;
    shown.eq_ignore_ascii_case(scheme).then(|| rest.trim_ascii())
}

/// The user, which holds no colon, and the password, which may.
fn at_colon(pair: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = memchr::memchr(b':', pair)?;
    Some((&pair[..colon], &pair[colon + 1..]))
}
