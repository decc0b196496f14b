//! What a request shows of what it knows: a token in a header, or a user with a password.

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use http::{HeaderMap, HeaderName, HeaderValue, header};
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
}

impl Credentials {
    pub(super) fn new(config: &config::Source) -> Self {
        let config::Source { header, tokens, basic, .. } = config.clone();
        Self { header, tokens, basic }
    }

    /// Whether there is nothing that could be shown.
    pub(super) fn is_empty(&self) -> bool {
        self.tokens.is_empty() && self.basic.is_empty()
    }

    /// Whether a text is one of the tokens or passwords.
    pub(super) fn is_secret(&self, text: &[u8]) -> bool {
        is_one_of(self.tokens.iter().chain(self.basic.iter().map(|pair| &pair.password)), text)
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
}

/// Whether the header holds one of the tokens; none where there is no such header. Of several all are looked at.
pub(crate) fn shows_one_of(tokens: &[Secret], header: &HeaderName, headers: &HeaderMap) -> Option<bool> {
    let fits = |shown: &HeaderValue| {
        let bearer = (*header == header::AUTHORIZATION).then(|| bearer(shown)).flatten();
        is_one_of(tokens, shown.as_bytes()) | bearer.is_some_and(|shown| is_one_of(tokens, shown))
    };
    headers.get_all(header).iter().map(fits).reduce(|fits, next| fits | next)
}

/// In constant time a token: every one is compared, whichever fits.
pub(super) fn is_one_of<'a>(tokens: impl IntoIterator<Item = &'a Secret>, shown: &[u8]) -> bool {
    let fits = tokens.into_iter().map(|token| token.expose().as_bytes().ct_eq(shown));
    fits.fold(Choice::from(0), |fits, next| fits | next).into()
}

/// Whether `Authorization` holds one of the users with its password; none where there is no such header. In constant time a
/// user and a password.
fn shows_user_of(basic: &[Basic], headers: &HeaderMap) -> Option<bool> {
    let fits = |shown: &HeaderValue| {
        let decoded = after_scheme(shown.as_bytes(), b"basic ").and_then(|shown| BASE64.decode(shown).ok());
        let Some((user, password)) = decoded.as_deref().and_then(at_colon) else { return false };
        // every pair is compared, whichever fits
        let fits = basic
            .iter()
            .map(|pair| pair.user.as_bytes().ct_eq(user) & pair.password.expose().as_bytes().ct_eq(password));
        fits.fold(Choice::from(0), |fits, next| fits | next).into()
    };
    headers.get_all(header::AUTHORIZATION).iter().map(fits).reduce(|fits, next| fits | next)
}

/// The token behind `Bearer`.
pub(super) fn bearer(shown: &HeaderValue) -> Option<&[u8]> {
    after_scheme(shown.as_bytes(), b"bearer ")
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
