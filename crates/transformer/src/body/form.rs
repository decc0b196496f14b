//! Form-encoded bodies, as a Connector sends them whose body type is `Form`: names and values.
//!
//! `properties[amount]` and `properties.amount` are the property `amount`, `$set[email]` sets the person's; so is any name that says
//! nothing about the event itself.

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use form_urlencoded::parse;

use super::DecodeError;
use crate::json;

/// Names that stay beside the properties.
const BESIDE: [&str; 13] = [
    "$distinct_id",
    "$token",
    "api_key",
    "distinct_id",
    "event",
    "event_code",
    "event_name",
    "event_time",
    "event_uuid",
    "timestamp",
    "token",
    "uid",
    "uuid",
];
/// Objects whose members may be named.
const OBJECTS: [&str; 5] = ["properties", "$set", "$set_once", "$groups", "event_attributes"];

/// Whether a body is form-encoded: it says so and does not begin as JSON, or it looks like nothing else.
pub(crate) fn is_form(content_type: &str, text: &str) -> bool {
    let text = text.trim_ascii();
    if text.starts_with(['{', '[', '"']) {
        return false;
    }
    let says_so = content_type.to_ascii_lowercase().starts_with("application/x-www-form-urlencoded");
    let name = text.split(['=', '&']).next().unwrap_or_default();
    let looks_so = text.contains('=') && !name.is_empty() && !name.contains(char::is_whitespace);
    says_so || looks_so
}

/// Base64 of which the padding was taken off, or a last character has bits too many.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone),
);
/// Names under which a form holds a whole body.
const WHOLE: [&str; 3] = ["data", "body", "payload"];
/// Names that PostHog's SDKs put beside it.
const BESIDE_WHOLE: [&str; 10] =
    ["compression", "ver", "lib_version", "ip", "_", "beacon", "retry_count", "api_key", "token", "$token"];

/// The body that a form holds as the value of one name, such as `data={…}`: JSON, or JSON in base64, compressed or not,
/// as PostHog's SDKs for browsers sent it. None where the form itself is the event.
///
/// # Errors
///
/// It is compressed, and cannot be unpacked, or is too large.
pub(crate) fn whole(text: &str) -> Result<Option<Vec<u8>>, DecodeError> {
    let mut value = None;
    for (name, of_name) in parse(text.trim_ascii().as_bytes()) {
        if WHOLE.contains(&&*name) && value.is_none() {
            value = Some(of_name);
        } else if !BESIDE_WHOLE.contains(&&*name) {
            return Ok(None);
        }
    }
    let Some(value) = value else { return Ok(None) };
    let value = value.trim_ascii();
    let is_json = |text: &[u8]| text.trim_ascii_start().starts_with(b"{") || text.trim_ascii_start().starts_with(b"[");
    if is_json(value.as_bytes()) {
        return Ok(Some(value.as_bytes().to_vec()));
    }
    // a plus that nobody escaped came as a blank, and line ends were put in by who wrote it
    let base64: Vec<u8> = value
        .bytes()
        .filter(|byte| !b"\r\n=".contains(byte))
        .map(|byte| match byte {
            b' ' | b'-' => b'+',
            b'_' => b'/',
            other => other,
        })
        .collect();
    let Ok(decoded) = BASE64.decode(base64) else { return Ok(None) };
    let unpacked = super::unpack("", &decoded)?;
    Ok(is_json(&unpacked).then(|| unpacked.into_owned()))
}

/// The same as JSON.
pub(crate) fn to_json(text: &str) -> String {
    let pairs: Vec<(String, String)> =
        parse(text.trim_ascii().as_bytes()).map(|(name, value)| (name.into(), value.into())).collect();
    let mut beside = Vec::new();
    let mut objects: Vec<(&str, Vec<u8>)> = Vec::new();
    for (name, value) in &pairs {
        if BESIDE.contains(&name.as_str()) {
            member(&mut beside, name, value);
            continue;
        }
        let (object, name) = place(name).unwrap_or(("properties", name));
        let known = objects.iter().position(|(known, _)| *known == object);
        let at = known.unwrap_or_else(|| {
            objects.push((object, Vec::new()));
            objects.len() - 1
        });
        member(&mut objects[at].1, name, value);
    }
    for (object, members) in objects {
        separate(&mut beside);
        json::write_string(&mut beside, object);
        beside.extend_from_slice(b":{");
        beside.extend_from_slice(&members);
        beside.push(b'}');
    }
    format!("{{{}}}", String::from_utf8_lossy(&beside))
}

fn member(members: &mut Vec<u8>, name: &str, value: &str) {
    separate(members);
    json::write_string(members, name);
    members.push(b':');
    json::write_string(members, value);
}

fn separate(members: &mut Vec<u8>) {
    if !members.is_empty() {
        members.push(b',');
    }
}

/// `object[name]` or `object.name`.
fn place(name: &str) -> Option<(&'static str, &str)> {
    OBJECTS.iter().find_map(|object| {
        let rest = name.strip_prefix(object)?;
        let bracketed = rest.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let inner = bracketed.or_else(|| rest.strip_prefix('.'))?;
        (!inner.is_empty()).then_some((*object, inner))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_told_by_its_type_or_by_its_looks() {
        let typed = "application/x-www-form-urlencoded; charset=UTF-8";
        assert!(is_form(typed, "event=a&distinct_id=u"));
        assert!(is_form("", "event=a"));
        assert!(!is_form(typed, r#" {"event":"a=b"}"#));
        assert!(!is_form("", "the event = a"));
        assert!(!is_form("text/plain", "event"));
    }

    #[test]
    fn names_and_values_become_an_event() {
        let form = "api_key=phc_x&event=Bought+it&distinct_id=u%201&amount=49.90&properties[coupon]=A%26B\
                    &properties.size=M&%24set[email]=a%40b.c";
        assert_eq!(
            to_json(form),
            r#"{"api_key":"phc_x","event":"Bought it","distinct_id":"u 1","properties":{"amount":"49.90","coupon":"A&B","size":"M"},"$set":{"email":"a@b.c"}}"#
        );
        assert_eq!(to_json("a"), r#"{"properties":{"a":""}}"#);
    }
    fn whole_text(form: &str) -> Option<String> {
        whole(form).unwrap().map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn a_form_with_a_whole_body_in_it_is_that_body() {
        for form in [
            "data=%7B%22event%22%3A%22a%22%7D",
            "payload=%20%7B%22event%22%3A%22a%22%7D%0A",
            "data=eyJldmVudCI6ImEifQ%3D%3D",
            "ver=1.0&data=eyJldmVudCI6ImEifQ==&compression=base64",
            "data=eyJldmVudCI6ImEifQ&ip=1&_=1724155872345",
        ] {
            assert_eq!(whole_text(form).as_deref(), Some(r#"{"event":"a"}"#), "{form}");
        }
        assert_eq!(whole_text("data=W3siZSI6Ij8%2BfiJ9XQ==").as_deref(), Some(r#"[{"e":"?>~"}]"#));
        assert_eq!(whole_text("data=W3siZSI6Ij8+fiJ9XQ==").as_deref(), Some(r#"[{"e":"?>~"}]"#));
        for form in ["event=a&distinct_id=u&data=%7B%7D", "data=hello", "data=aGVsbG8=", "compression=gzip-js", "data="]
        {
            assert_eq!(whole_text(form), None, "{form}");
        }
        assert!(matches!(whole("data=H4sIAAAA"), Err(DecodeError::Coding(moehog_coding::Coding::Gzip, _))));
    }
}
