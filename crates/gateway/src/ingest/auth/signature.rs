//! A source whose sender signs what it sends: HMAC-SHA256 over the body as it came.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderValue};
use ring::hmac;
use subtle::{Choice, ConstantTimeEq};

use crate::{config, ingest::Refusal};

/// Bytes of a signature.
const SIGNATURE_BYTES: usize = 32;

/// Computes the signatures of a body as it comes, one for each secret.
#[derive(Debug)]
pub(crate) struct SignatureWatch {
    /// What the request shows.
    shown: Vec<[u8; SIGNATURE_BYTES]>,
    contexts: Vec<hmac::Context>,
}

impl SignatureWatch {
    /// For the signature that the request shows; none where it shows none.
    ///
    /// # Errors
    ///
    /// The time that is signed is missing, or too far from now.
    pub(crate) fn new(config: &config::Signature, headers: &HeaderMap) -> Result<Option<Self>, Refusal> {
        let shown: Vec<_> =
            headers.get_all(&config.header).iter().flat_map(|value| signatures(value, &config.prefix)).collect();
        if shown.is_empty() {
            return Ok(None);
        }
        let signed_at = config.timestamp.as_ref().map(|name| headers.get(name));
        let signed_at = match signed_at {
            None => None,
            Some(value) => Some(value.filter(|value| is_near(value, config.tolerance)).ok_or(Refusal::SignatureStale)?),
        };
        let context = |secret: &moehog_runtime::Secret| {
            let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes()));
            if let Some(signed_at) = signed_at {
                context.update(signed_at.as_bytes());
                context.update(b".");
            }
            context
        };
        Ok(Some(Self { shown, contexts: config.secrets.iter().map(context).collect() }))
    }

    /// Takes the next bytes of the body.
    pub(crate) fn feed(&mut self, piece: &[u8]) {
        self.contexts.iter_mut().for_each(|context| context.update(piece));
    }

    /// Whether one of the signatures is of one of the secrets. In constant time each.
    pub(crate) fn judge(self) -> bool {
        let tags = self.contexts.into_iter().map(hmac::Context::sign);
        let fits = tags.flat_map(|tag| self.shown.iter().map(move |shown| tag.as_ref().ct_eq(shown)));
        fits.fold(Choice::from(0), |fits, next| fits | next).into()
    }
}

/// What a header shows: several are apart by commas or spaces, each in hexadecimal or Base64 behind the prefix.
fn signatures(value: &HeaderValue, prefix: &str) -> Vec<[u8; SIGNATURE_BYTES]> {
    let text = value.to_str().unwrap_or_default();
    text.split([',', ' ']).filter_map(|shown| decoded(shown.strip_prefix(prefix)?)).collect()
}

fn decoded(text: &str) -> Option<[u8; SIGNATURE_BYTES]> {
    if text.len() == 2 * SIGNATURE_BYTES {
        let mut bytes = [0; SIGNATURE_BYTES];
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        return Some(bytes);
    }
    STANDARD.decode(text).ok()?.try_into().ok()
}

/// Whether a time in seconds since the epoch is near enough to now.
fn is_near(value: &HeaderValue, tolerance: Duration) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let at = value.to_str().ok().and_then(|text| text.parse::<u64>().ok());
    at.is_some_and(|at| now.abs_diff(at) <= tolerance.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(prefix: &str, timestamp: bool) -> config::Signature {
        config::Signature {
            secrets: ["the secret of old", "the secret of today"].map(|text| text.to_string().into()).to_vec(),
            header: "x-signature".parse().unwrap(),
            prefix: prefix.to_string(),
            timestamp: timestamp.then(|| "x-signed-at".parse().unwrap()),
            tolerance: Duration::from_secs(300),
        }
    }

    fn sign(secret: &str, text: &[u8]) -> Vec<u8> {
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), text).as_ref().to_vec()
    }

    fn judge(
        config: &config::Signature,
        headers: &[(&'static str, String)],
        pieces: &[&[u8]],
    ) -> Result<Option<bool>, Refusal> {
        let headers = headers.iter().map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()));
        let watch = SignatureWatch::new(config, &headers.collect())?;
        Ok(watch.map(|mut watch| {
            pieces.iter().for_each(|piece| watch.feed(piece));
            watch.judge()
        }))
    }

    /// Source: RFC 4231, test case 2.
    #[test]
    fn it_is_the_known_one_of_known_bytes() {
        let known = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(hex::encode(sign("Jefe", b"what do ya want for nothing?")), known);
    }

    #[test]
    fn one_of_any_secret_over_the_very_body_is_right_and_no_other() {
        let config = config("sha256=", false);
        let (old, new) = (sign("the secret of old", b"{body}"), sign("the secret of today", b"{body}"));
        let shown = |value: String| [("x-signature", value)];
        for right in [
            format!("sha256={}", hex::encode(&old)),
            format!("sha256={}", hex::encode(&new).to_uppercase()),
            format!("sha256={}", STANDARD.encode(&new)),
            format!("sha1=abc, sha256={},sha256={}", hex::encode([7; 32]), hex::encode(&new)),
        ] {
            assert_eq!(judge(&config, &shown(right.clone()), &[b"{bo", b"dy}"]), Ok(Some(true)), "{right}");
            assert_eq!(judge(&config, &shown(right.clone()), &[b"{body} "]), Ok(Some(false)), "{right}");
        }
        for none in ["".to_string(), hex::encode(&new), "sha256=".into(), format!("sha256={}", &hex::encode(&new)[2..])]
        {
            assert_eq!(judge(&config, &shown(none.clone()), &[b"{body}"]), Ok(None), "{none}");
        }
        let wrong = format!("sha256={}", hex::encode(sign("another secret", b"{body}")));
        assert_eq!(judge(&config, &shown(wrong), &[b"{body}"]), Ok(Some(false)));
    }

    #[test]
    fn a_time_that_is_signed_is_near() {
        let config = config("", true);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let judged = |at: String, signed: String| {
            let signature = hex::encode(sign("the secret of old", format!("{signed}.body").as_bytes()));
            judge(&config, &[("x-signature", signature), ("x-signed-at", at)], &[b"body"])
        };
        for at in [now - 290, now, now + 290] {
            assert_eq!(judged(at.to_string(), at.to_string()), Ok(Some(true)), "{at}");
        }
        assert_eq!(judged(now.to_string(), (now - 1).to_string()), Ok(Some(false)), "the time is signed too");
        for at in [(now - 310).to_string(), (now + 310).to_string(), "soon".into(), "-1".into()] {
            assert_eq!(judged(at.clone(), at.clone()), Err(Refusal::SignatureStale), "{at}");
        }
        let signature = hex::encode(sign("the secret of old", b"body"));
        assert_eq!(judge(&config, &[("x-signature", signature)], &[b"body"]), Err(Refusal::SignatureStale));
    }
}
