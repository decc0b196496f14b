//! A generated body prints valid JSON with exactly the value, for a thousand nasty values in each place, in minijinja.
//!
//! MoEngage's attributes are plain maps here, and its `MOE_NOT_SEND` statement is made a call that ends the rendering. The same
//! bodies and values go through Python's Jinja2 in the workspace's tests.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by failing")]

mod corpus;

use std::collections::BTreeMap;

use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior, Value as Filled};
use moehog_connector::{Attribute, Connector, Kind, Property, Source, lint};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};

use self::corpus::{Nasty, POSITIONS, Position, connector, expected, plain, values};

fn filled(value: &Nasty) -> Option<Filled> {
    match value {
        Nasty::Missing => None,
        Nasty::Json(value) => Some(of_json(value)),
        Nasty::Huge(digits) => digits.parse::<i128>().ok().map(Filled::from),
        Nasty::NoNumber(number) => Some(Filled::from(*number)),
    }
}

fn of_json(value: &Value) -> Filled {
    match value {
        Value::Null => Filled::from(()),
        Value::Bool(value) => Filled::from(*value),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Filled::from(number),
            (None, Some(number)) => Filled::from(number),
            (None, None) => Filled::from(number.as_f64().unwrap()),
        },
        Value::String(text) => Filled::from(text.as_str()),
        Value::Array(items) => items.iter().map(of_json).collect::<Vec<_>>().into(),
        Value::Object(members) => {
            let members = members.iter().map(|(name, value)| (name.clone(), of_json(value)));
            Filled::from(members.collect::<BTreeMap<String, Filled>>())
        }
    }
}

/// What is known to this engine and not to the corpus: it holds no integer beyond 128 bits, and does not trim U+001C to U+001F.
fn is_beyond(position: Position, value: &Nasty) -> bool {
    let scalar = matches!(position, Position::Id | Position::Key | Position::Time);
    match value {
        Nasty::Huge(digits) => digits.parse::<i128>().is_err(),
        Nasty::Json(Value::String(text)) => {
            scalar
                && !text.trim().is_empty()
                && text.chars().all(|character| character.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&character))
        }
        _ => false,
    }
}

fn matches(actual: &Value, expected: &Value) -> bool {
    let number = |text: &str| serde_json::from_str::<Value>(text).ok().and_then(|value| value.as_f64());
    match expected {
        Value::Object(members) if members.contains_key("$huge") => {
            actual.as_f64().is_some() && actual.as_f64() == members["$huge"].as_str().and_then(number)
        }
        Value::Object(members) if members.contains_key("$printed") => {
            actual.as_str().and_then(number).is_some_and(|actual| Some(actual) == members["$printed"].as_f64())
        }
        Value::Object(members) if members.contains_key("$text") => {
            actual.as_str().is_some_and(|text| ["nan", "inf", "-inf"].contains(&&*text.to_lowercase()))
        }
        Value::Object(members) => actual.as_object().is_some_and(|actual| {
            actual.len() == members.len()
                && members.iter().all(|(name, value)| actual.get(name).is_some_and(|actual| matches(actual, value)))
        }),
        Value::Array(items) => actual.as_array().is_some_and(|actual| {
            actual.len() == items.len() && actual.iter().zip(items).all(|(actual, item)| matches(actual, item))
        }),
        Value::Number(expected) => actual.is_number() && actual.as_f64() == expected.as_f64(),
        other => actual == other,
    }
}

fn environment(behavior: UndefinedBehavior, escape: AutoEscape) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(behavior);
    environment.set_auto_escape_callback(move |_| escape.clone());
    environment.add_function("MOE_NOT_SEND", |reason: String| -> Result<Filled, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, format!("not sent: {reason}")))
    });
    environment
}

/// The body with its `MOE_NOT_SEND` statement as a call.
fn callable(body: &str) -> String {
    let called = body.replace("{% MOE_NOT_SEND(\"no ID\") %}", "{{ MOE_NOT_SEND(\"no ID\") }}");
    assert_ne!(called, body);
    called
}

#[test]
fn is_printed_as_valid_json_and_touches_no_other_field() {
    let body = callable(&connector().body());
    let values = values();
    assert_eq!(values.len(), 1000);
    // the first are those that people thought of
    for (behavior, escape, values) in [
        (UndefinedBehavior::Lenient, AutoEscape::None, &values[..]),
        (UndefinedBehavior::Strict, AutoEscape::None, &values[..150]),
        (UndefinedBehavior::Lenient, AutoEscape::Html, &values[..150]),
    ] {
        let environment = environment(behavior, escape.clone());
        let template = environment.template_from_str(&body).unwrap();
        let mut sent = 0;
        for (value, position) in values.iter().flat_map(|value| POSITIONS.map(|position| (value, position))) {
            if is_beyond(position, value) {
                continue;
            }
            let mut objects: BTreeMap<&str, BTreeMap<&str, Filled>> = BTreeMap::new();
            for (object, name, value) in plain() {
                objects.entry(object).or_default().insert(name, of_json(&value));
            }
            let (object, name) = position.attribute();
            let members = objects.get_mut(object).unwrap();
            members.remove(name);
            members.extend(filled(value).map(|value| (name, value)));
            let objects: BTreeMap<&str, Filled> =
                objects.into_iter().map(|(object, members)| (object, Filled::from(members))).collect();
            let said = format!("{position:?} {value:?} under {behavior:?} {escape:?}");
            match (template.render(Filled::from(objects)), expected(position, value)) {
                (Ok(printed), Some(expected)) => {
                    let event: Value =
                        serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{said}: {error}: {printed}"));
                    assert!(matches(&event, &expected), "{said}:\n{event:#}\n{expected:#}");
                    sent += 1;
                }
                (Err(error), None) => assert!(error.to_string().contains("not sent: no ID"), "{said}: {error}"),
                (outcome, expected) => panic!("{said}: {outcome:?} instead of {expected:?}"),
            }
        }
        assert!(sent > 6 * values.len(), "{sent}");
    }
}

#[test]
fn comes_in_a_body_in_which_lint_finds_nothing() {
    let whole = connector();
    assert_eq!(lint(&whole.body()), []);
    let mut keyed = whole.clone();
    keyed.time = None;
    let mut composed = whole.clone();
    composed.key = None;
    let mut bare = whole;
    (bare.key, bare.time) = (None, None);
    bare.properties.clear();
    bare.person.clear();
    bare.api_key = Some("phc_x".to_string());
    for (connector, expected) in
        [(keyed, vec!["no_timestamp"]), (composed, vec![]), (bare, vec!["no_timestamp", "no_uuid"])]
    {
        let codes: Vec<_> = lint(&connector.body()).iter().map(|finding| finding.code).collect();
        assert_eq!(codes, expected, "{}", connector.body());
    }
}

#[test]
fn stands_first_in_an_object_without_constants() {
    let mut connector = connector();
    connector.properties.retain(|property| property.name.starts_with("item"));
    connector.properties[0].name = "source".to_string();
    let body = callable(&connector.body());
    let environment = environment(UndefinedBehavior::Strict, AutoEscape::None);
    for (value, expected) in [(Some("a\"b"), json!("a\"b")), (None, Value::Null)] {
        let event: BTreeMap<&str, &str> = value.into_iter().map(|value| ("Item's Names", value)).collect();
        let user = BTreeMap::from([("ID", "u1")]);
        let objects = BTreeMap::from([("UserAttribute", user), ("EventAttribute", event)]);
        let printed = environment.render_str(&body, Filled::from(objects)).unwrap();
        let event: Value = serde_json::from_str(&printed).unwrap();
        assert_eq!(event["properties"], json!({"source": expected}));
    }
}

/// A connector of a seed, in which no name is MoEngage's own.
fn drawn(seed: u64) -> Connector {
    let mut random = StdRng::seed_from_u64(seed);
    let mut connector = Connector::new("order placed");
    let kinds = [Kind::AsIs, Kind::Number, Kind::Boolean];
    let mut property = |at: usize, attribute: fn(&str) -> Attribute| {
        let kind = kinds[random.random_range(0..3)];
        match random.random_range(0..5) {
            0 => Property { name: format!("c{at}"), value: Source::Constant(json!(at)) },
            _ => Property::filled(&format!("p{at}"), attribute(&format!("My Attribute {at}")), kind),
        }
    };
    connector.properties.extend((0..4).map(|at| property(at, Attribute::event)));
    connector.person.extend((4..7).map(|at| property(at, Attribute::user)));
    connector.properties.truncate(random.random_range(0..6));
    connector.person.truncate(random.random_range(0..4));
    connector.key = random.random::<bool>().then(|| Attribute::event("Order No"));
    connector.time = random.random::<bool>().then(|| Attribute::event("Placed At"));
    connector.compose_key = random.random();
    connector.api_key = random.random::<bool>().then(|| "phc_x".to_string());
    connector
}

#[test]
fn of_200_drawn_connectors_lint_finds_no_more_than_that_key_and_time_are_not_known() {
    for seed in 0..200 {
        let connector = drawn(seed);
        let body = connector.body();
        let mut expected = Vec::new();
        if connector.time.is_none() {
            expected.push("no_timestamp");
        }
        if connector.key.is_none() && !(connector.compose_key && connector.time.is_some()) {
            expected.push("no_uuid");
        }
        let found: Vec<_> = lint(&body).iter().map(|finding| finding.code).collect();
        assert_eq!(found, expected, "seed {seed}\n{body}");
        let kinds: Vec<_> = connector.properties.iter().chain(&connector.person).map(|it| &it.value).collect();
        let uses = |kind| kinds.iter().any(|value| matches!(value, Source::Attribute(_, it) if *it == kind));
        let is_filled = kinds.iter().any(|value| matches!(value, Source::Attribute(..)));
        for (macro_, is_needed) in [
            ("macro json(", is_filled),
            ("macro field(", is_filled),
            ("macro number(", uses(Kind::Number)),
            ("macro boolean(", uses(Kind::Boolean)),
            ("kind=''", uses(Kind::Number) || uses(Kind::Boolean)),
        ] {
            assert_eq!(body.contains(macro_), is_needed, "seed {seed}: {macro_}\n{body}");
        }
    }
}
