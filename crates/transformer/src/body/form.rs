//! Form-encoded bodies, as a Connector sends them whose body type is `Form`: names and values.
//!
//! `properties[amount]` and `properties.amount` are the property `amount`, `$set[email]` sets the person's; so is any name that says
//! nothing about the event itself.

use form_urlencoded::parse;

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

/// The same as JSON. A form that is one name whose value is JSON, such as `data={…}`, is that value.
pub(crate) fn to_json(text: &str) -> String {
    let pairs: Vec<(String, String)> =
        parse(text.trim_ascii().as_bytes()).map(|(name, value)| (name.into(), value.into())).collect();
    if let [(name, value)] = &pairs[..]
        && ["data", "body", "payload"].contains(&name.as_str())
        && value.trim_ascii_start().starts_with(['{', '['])
    {
        return value.clone();
    }
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
        assert_eq!(to_json("data=%7B%22event%22%3A%22a%22%7D"), r#"{"event":"a"}"#);
        assert_eq!(to_json("a"), r#"{"properties":{"a":""}}"#);
    }
}
