//! The filters and tests of expressions: Jinja's, MoEngage's documented ones, and ours.

use jiff::{Timestamp, fmt::strtime};
use minijinja::{
    Environment, Error, ErrorKind, State, Value,
    value::{Kwargs, Rest},
};
use sha2::{Digest, Sha256};

use super::{expression, names::Secret, read};
use crate::{
    hex,
    mapping::{ids, privacy, time::Moment, types::Type},
};

/// Every filter there is.
pub(crate) const NAMES: [&str; 37] = [
    // Jinja's
    "abs",
    "capitalize",
    "count",
    "d",
    "default",
    "first",
    "float",
    "format",
    "int",
    "join",
    "last",
    "length",
    "list",
    "lower",
    "max",
    "min",
    "replace",
    "reverse",
    "round",
    "sort",
    "split",
    "string",
    "sum",
    "title",
    "tojson",
    "trim",
    "unique",
    "upper",
    "urlencode",
    // MoEngage's
    "base64encode",
    "convertToSHA256NoSalt",
    "dateTimeFormatter",
    // ours
    "boolean",
    "hash",
    "number",
    "slug",
    "uuid5",
];

/// Every test there is.
pub(crate) const TESTS: [&str; 13] = [
    "boolean",
    "defined",
    "divisibleby",
    "endingwith",
    "even",
    "in",
    "mapping",
    "none",
    "number",
    "odd",
    "sequence",
    "startingwith",
    "string",
];

/// Adds what Jinja does not have.
pub(crate) fn add(engine: &mut Environment<'static>) {
    engine.add_filter("base64encode", base64);
    engine.add_filter("convertToSHA256NoSalt", sha256);
    engine.add_filter("dateTimeFormatter", format_time);
    engine.add_filter("boolean", |value: Value| cast(Type::Boolean, &value));
    engine.add_filter("number", |value: Value| cast(Type::Number, &value));
    engine.add_filter("hash", hash);
    engine.add_filter("slug", slug);
    engine.add_filter("uuid5", uuid5);
}

/// What a wrong name probably means, as the end of a sentence.
pub(crate) fn like(name: &str) -> String {
    match name {
        "convertToSHA256" => {
            ": MoEngage does not document what it makes of its key; use `hash` or `convertToSHA256NoSalt`".into()
        }
        "today" => {
            ": the day must not change when an event is sent again; use `webhook.received_at | dateTimeFormatter(…)`"
                .into()
        }
        _ => read::like(name, &NAMES)
            .map_or_else(|| format!(": there are {}", NAMES.join(", ")), |known| format!(": did you mean `{known}`?")),
    }
}

/// A value of another type, where that is certainly the same.
fn cast(to: Type, value: &Value) -> Result<Value, Error> {
    let raw = expression::json(value).map_err(|_| Error::from(ErrorKind::UndefinedError))?;
    match to.cast(&raw) {
        Some(raw) => Ok(super::names::value(&raw)),
        None => Err(Error::new(ErrorKind::InvalidOperation, format!("this is no {}", to.name()))),
    }
}

fn text(value: &Value) -> Result<String, Error> {
    match value.as_str() {
        Some(text) => Ok(text.to_string()),
        None if value.is_undefined() || value.is_none() => Err(Error::from(ErrorKind::UndefinedError)),
        None => Ok(value.to_string()),
    }
}

fn base64(value: Value) -> Result<String, Error> {
    use base64::{Engine, prelude::BASE64_STANDARD};
    Ok(BASE64_STANDARD.encode(text(&value)?))
}

fn sha256(value: Value) -> Result<String, Error> {
    Ok(hex(&Sha256::digest(text(&value)?)))
}

/// The keyed hash of a text, as `[privacy] hash` makes it.
fn hash(state: &State<'_, '_>, value: Value) -> Result<String, Error> {
    let text = text(&value)?;
    let secret =
        Secret::of(state).ok_or_else(|| Error::new(ErrorKind::InvalidOperation, "there is no key to hash with"))?;
    Ok(privacy::keyed_hash(secret.bytes(), &text))
}

/// A UUID of the text, the same for the same text.
fn uuid5(value: Value) -> Result<String, Error> {
    Ok(ids::of_name(&[text(&value)?.as_bytes()]).to_string())
}

/// Words of small letters and digits, joined by `_`: a name for a property.
fn slug(value: Value) -> Result<String, Error> {
    let text = text(&value)?.to_lowercase();
    let words: Vec<_> = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    Ok(words.join("_"))
}

/// A point in time by a pattern of `strftime`, in UTC. MoEngage names the pattern `toFormat`.
fn format_time(value: Value, pattern: Rest<Value>, named: Kwargs) -> Result<String, Error> {
    let pattern = match named.get::<Option<String>>("toFormat")? {
        Some(pattern) => pattern,
        None => pattern.first().map(text).transpose()?.ok_or_else(|| Error::from(ErrorKind::MissingArgument))?,
    };
    named.assert_all_used()?;
    let invalid = |message: String| Error::new(ErrorKind::InvalidOperation, message);
    let raw = expression::json(&value).map_err(|_| Error::from(ErrorKind::UndefinedError))?;
    let moment = Moment::read(&raw).ok_or_else(|| invalid("this is no point in time".to_string()))?;
    let at = Timestamp::from_millisecond(moment.ms()).map_err(|error| invalid(error.to_string()))?;
    strtime::format(&pattern, at).map_err(|error| invalid(error.to_string()))
}
