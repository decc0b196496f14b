//! The filters and tests of expressions: Jinja's, MoEngage's documented ones, and ours.

use minijinja::{
    Environment, Error, ErrorKind, State, Value,
    value::{Kwargs, Rest},
};
use sha2::{Digest, Sha256};

use super::{
    budget::MAX_STEPS,
    charged::{charge, json, text},
    dates, like, money,
    names::{Meter, Secret},
};
use crate::value::{ids, privacy, types::Type};

/// Every filter there is.
pub(crate) const NAMES: [&str; 40] = [
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
    "days",
    "today",
    // ours
    "boolean",
    "hash",
    "money",
    "number",
    "slug",
    "uuid5",
];

/// The engine's last step, which says how far the expression went. No expression can say it.
pub(crate) const END: &str = "__end";
/// The test that is the engine's first step, which leaves it as many steps as it is given.
pub(crate) const BEGIN: &str = "__begin";
/// Lets through what is no array and no object.
pub(crate) const SINGLE: &str = "__single";
/// Jinja's `format`.
const FORMAT: &str = "__format";

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
    engine.add_test(BEGIN, begin);
    engine.add_filter(END, end);
    engine.add_filter(SINGLE, single);
    engine.add_filter(FORMAT, minijinja::filters::format);
    engine.add_filter("format", format);
    engine.add_filter("base64encode", base64);
    engine.add_filter("convertToSHA256NoSalt", sha256);
    engine.add_filter("dateTimeFormatter", dates::format);
    engine.add_filter("days", dates::days);
    engine.add_filter("today", dates::today);
    engine.add_filter("boolean", |state: &State<'_, '_>, value: Value| cast(state, Type::Boolean, &value));
    engine.add_filter("number", |state: &State<'_, '_>, value: Value| cast(state, Type::Number, &value));
    engine.add_filter("hash", hash);
    engine.add_filter("money", money::money);
    engine.add_filter("slug", slug);
    engine.add_filter("uuid5", uuid5);
}

/// What a wrong name probably means, as the end of a sentence.
pub(crate) fn like(name: &str) -> String {
    match name {
        "convertToSHA256" => {
            ": MoEngage does not document what it makes of its key; use `hash` or `convertToSHA256NoSalt`".into()
        }
        _ => like::like(name, &NAMES)
            .map_or_else(|| format!(": there are {}", NAMES.join(", ")), |known| format!(": did you mean `{known}`?")),
    }
}

fn begin(state: &State<'_, '_>, _: Value) -> Result<bool, Error> {
    let given = Meter::of(state).map_or(0, |meter| meter.get());
    state.consume_fuel(MAX_STEPS.saturating_sub(given))?;
    Ok(true)
}

fn end(state: &State<'_, '_>, value: Value) -> Value {
    if let (Some(meter), Some((_, left))) = (Meter::of(state), state.fuel_levels()) {
        meter.set(meter.get().saturating_sub(left));
    }
    value
}

fn single(value: Value) -> Result<Value, Error> {
    match value.as_object() {
        Some(_) => Err(Error::new(ErrorKind::InvalidOperation, "arrays are not multiplied")),
        None => Ok(value),
    }
}

/// Jinja's filter; what it fills in may be filled in as often as there are places for it.
fn format(state: &mut State<'_, '_>, pattern: Value, values: Rest<Value>, named: Kwargs) -> Result<Value, Error> {
    let places = pattern.as_str().map_or(0, |pattern| pattern.matches('%').count());
    let named = Value::from(named);
    let bytes: usize = values.iter().chain([&named]).map(|value| value.to_string().len()).sum();
    charge(state, bytes.saturating_mul(places))?;
    let named = Some(named).filter(|named| named.len().is_some_and(|len| len > 0));
    let arguments: Vec<_> = [pattern].into_iter().chain(values.0).chain(named).collect();
    state.apply_filter(FORMAT, &arguments)
}

/// A value of another type, where that is certainly the same.
fn cast(state: &State<'_, '_>, to: Type, value: &Value) -> Result<Value, Error> {
    let raw = json(state, value)?;
    match to.cast(&raw) {
        Some(raw) => Ok(super::names::value(&raw)),
        None => Err(Error::new(ErrorKind::InvalidOperation, format!("this is no {}", to.name()))),
    }
}

fn base64(state: &State<'_, '_>, value: Value) -> Result<String, Error> {
    use base64::{Engine, prelude::BASE64_STANDARD};
    Ok(BASE64_STANDARD.encode(text(state, &value)?))
}

fn sha256(state: &State<'_, '_>, value: Value) -> Result<String, Error> {
    Ok(hex::encode(Sha256::digest(text(state, &value)?)))
}

/// The keyed hash of a text, as `[privacy] hash` makes it.
fn hash(state: &State<'_, '_>, value: Value) -> Result<String, Error> {
    let text = text(state, &value)?;
    let secret =
        Secret::of(state).ok_or_else(|| Error::new(ErrorKind::InvalidOperation, "there is no key to hash with"))?;
    Ok(privacy::keyed_hash(secret.bytes(), &text))
}

/// A UUID of the text, the same for the same text.
fn uuid5(state: &State<'_, '_>, value: Value) -> Result<String, Error> {
    Ok(ids::of_name(&[text(state, &value)?.as_bytes()]).to_string())
}

/// Words of small letters and digits, joined by `_`: a name for a property.
fn slug(state: &State<'_, '_>, value: Value) -> Result<String, Error> {
    let text = text(state, &value)?.to_lowercase();
    let words: Vec<_> = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    Ok(words.join("_"))
}
