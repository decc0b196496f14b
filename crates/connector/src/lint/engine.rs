//! The Jinja that templates are filled in: MoEngage's filters beside its own.

use jiff::{Timestamp, fmt::strtime, tz::TimeZone};
use minijinja::{
    Environment, Error, ErrorKind, UndefinedBehavior, Value, context,
    value::{Kwargs, Rest},
};

use super::template::Used;

/// What ends a request.
pub(super) const NOT_SENT: &str = "MOE_NOT_SEND";
/// Steps that one filling may take: a body that needs more would hang MoEngage too.
const MAX_STEPS: u64 = 5_000_000;

/// Filters of MoEngage's, and of Jinja's that this engine lacks; what they do to a value changes no finding.
///
/// Source: MoEngage, "Jinja Templating Language" (read 2026-11); Jinja 3.1, "List of Builtin Filters".
const PASSED: [&str; 9] =
    ["base64decode", "today", "urldecode", "center", "forceescape", "striptags", "urlize", "wordwrap", "xmlattr"];

/// Those of which no quote, backslash or line break comes, whatever the value.
const ENCODING: [&str; 6] =
    ["base64encode", "convertToSHA256", "convertToSHA256NoSalt", "dateFormatter", "dateTimeFormatter", "urlencode"];

/// The engine for a template that uses these filters. Those that it does not know leave a value as it is.
pub(super) fn environment(used: &[Used]) -> Environment<'static> {
    let mut environment = Environment::new();
    minijinja_contrib::add_to_environment(&mut environment);
    environment.set_undefined_behavior(UndefinedBehavior::Chainable);
    environment.set_fuel(Some(MAX_STEPS));
    environment.add_function(NOT_SENT, |_: Rest<Value>| -> Result<Value, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, NOT_SENT))
    });
    for name in PASSED {
        environment.add_filter(name, |value: Value, _: Rest<Value>, _: Kwargs| value);
    }
    for name in ENCODING {
        environment.add_filter(name, |value: Value, _: Rest<Value>, _: Kwargs| {
            value.to_string().replace(|character: char| character.is_control() || "\"\\".contains(character), "")
        });
    }
    // from one date to another
    environment.add_filter("days", |_: Value, _: Rest<Value>| 2);
    for name in ["length", "count"] {
        // of what is a list, when sent
        environment.add_filter(name, |value: Value| value.len().unwrap_or_else(|| value.to_string().chars().count()));
    }
    environment.add_filter("wordcount", |value: Value| value.to_string().split_whitespace().count());
    environment.add_filter("random", |value: Value| value.try_iter().ok().and_then(|mut items| items.next()));
    environment.add_filter("tojson", |value: Value, _: Rest<Value>| match value.as_str() {
        Some(text) => serde_json::Value::from(text).to_string(),
        None if value.is_undefined() || value.is_none() => "null".to_string(),
        None => value.to_string(),
    });
    for name in ["int", "float"] {
        // Jinja makes 0 of a text that is no number
        environment.add_filter(name, |value: Value, _: Rest<Value>| {
            let number = value.to_string().trim().parse::<f64>().unwrap_or_default();
            if number.fract() == 0.0 { Value::from(number as i64) } else { Value::from(number) }
        });
    }
    // what Python's texts, lists and objects have; of others, which change no finding, the value itself
    environment.set_unknown_method_callback(|state, value, method, arguments| {
        let known = minijinja_contrib::pycompat::unknown_method_callback(state, value, method, arguments);
        known.or_else(|_unknown| Ok(value.clone()))
    });
    for Used { name, .. } in used {
        let is_known = environment.compile_expression("name is filter").and_then(|asks| asks.eval(context! { name }));
        if !is_known.is_ok_and(|known| known.is_true()) {
            environment.add_filter(name.clone(), |value: Value, _: Rest<Value>, _: Kwargs| value);
        }
    }
    environment
}

/// Lets the filters that print times print this one, whatever they are given.
pub(super) fn print_at(environment: &mut Environment<'static>, ms: i64) {
    for name in ["dateTimeFormatter", "dateFormatter"] {
        environment.add_filter(name, move |_: Value, pattern: Rest<Value>, named: Kwargs| -> Result<String, Error> {
            let told = named.get::<Option<String>>("toFormat")?;
            let pattern = told.or_else(|| pattern.first().map(Value::to_string)).unwrap_or_default();
            let zone = named.get::<Option<String>>("timeZone")?;
            Ok(printed(&pattern, zone.as_deref(), ms))
        });
    }
    environment
        .add_filter("today", move |pattern: String, zone: Option<String>| printed(&pattern, zone.as_deref(), ms));
}

/// A time by a pattern, in the zone of this name; as the pattern stands where it is none.
fn printed(pattern: &str, zone: Option<&str>, ms: i64) -> String {
    let zone = zone.and_then(|name| TimeZone::get(name).ok()).unwrap_or(TimeZone::UTC);
    let at = Timestamp::from_millisecond(ms).unwrap_or_default().to_zoned_datetime(zone);
    strtime::format(pattern, &at).unwrap_or_else(|_unknown| pattern.to_string())
}
