//! A thousand nasty values, where they are put, and what a body has to make of them.

use moehog_connector::{Attribute, Connector, Kind, Property, Source};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Map, Value, json};

/// Where a value is put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Position {
    Id,
    Key,
    Time,
    Property,
    Number,
    Boolean,
    Person,
}

pub(crate) const POSITIONS: [Position; 7] = [
    Position::Id,
    Position::Key,
    Position::Time,
    Position::Property,
    Position::Number,
    Position::Boolean,
    Position::Person,
];

/// A value as MoEngage may hold it, beyond what JSON has.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Nasty {
    /// The attribute is not there.
    Missing,
    Json(Value),
    /// An integer too large for JSON readers, by its digits.
    Huge(String),
    /// A number that is none, as Python and Rust print it.
    NoNumber(f64),
}

/// The connector whose attributes are filled.
pub(crate) fn connector() -> Connector {
    let mut connector = Connector::new("purchase_completed \"é\" {{ {% {#");
    connector.key = Some(Attribute::event("Order ID"));
    connector.time = Some(Attribute::event("Ordered At"));
    let properties = [
        Property::filled("item's \"name\"", Attribute::event("Item's Names"), Kind::AsIs),
        Property::filled("amount", Attribute::event("Value"), Kind::Number),
        Property::filled("gift", Attribute::event("Gift"), Kind::Boolean),
        Property { name: "plan".to_string(), value: Source::Constant("{{pro}} {%".into()) },
    ];
    connector.properties.extend(properties);
    let person = [
        Property::filled("email", Attribute::user("Email (Standard)"), Kind::AsIs),
        Property::filled("age", Attribute::user("Age"), Kind::Number),
    ];
    connector.person.extend(person);
    connector
}

/// The attributes of a trigger without anything unusual, by object.
pub(crate) fn plain() -> [(&'static str, &'static str, Value); 8] {
    [
        ("UserAttribute", "ID", json!("user_42")),
        ("UserAttribute", "Email (Standard)", json!("ada@example.com")),
        ("UserAttribute", "Age", json!("36")),
        ("EventAttribute", "Order ID", json!("A-1")),
        ("EventAttribute", "Ordered At", json!("2026-08-20T10:11:12Z")),
        ("EventAttribute", "Item's Names", json!("Lamp")),
        ("EventAttribute", "Value", json!("49.90")),
        ("EventAttribute", "Gift", json!("True")),
    ]
}

impl Position {
    /// The attribute that is filled there.
    pub(crate) fn attribute(self) -> (&'static str, &'static str) {
        match self {
            Self::Id => ("UserAttribute", "ID"),
            Self::Key => ("EventAttribute", "Order ID"),
            Self::Time => ("EventAttribute", "Ordered At"),
            Self::Property => ("EventAttribute", "Item's Names"),
            Self::Number => ("EventAttribute", "Value"),
            Self::Boolean => ("EventAttribute", "Gift"),
            Self::Person => ("UserAttribute", "Email (Standard)"),
        }
    }
}

/// What has to be sent where `value` is at `position` and all else is plain; none where nothing is to be sent.
///
/// A number of the value that is no JSON number is told as `{"$huge": digits}` or `{"$text": "nan"}`: the engines print them
/// differently.
pub(crate) fn expected(position: Position, value: &Nasty) -> Option<Value> {
    let id = if position == Position::Id { scalar(value)? } else { json!("user_42") };
    let mut event = json!({
        "event": "purchase_completed \"é\" {{ {% {#",
        "distinct_id": id,
        "properties": {"source": "moengage", "plan": "{{pro}} {%", "item's \"name\"": "Lamp", "amount": 49.90, "gift": true,
            "$set": {"email": "ada@example.com", "age": 36}},
    });
    let time = if position == Position::Time { scalar(value) } else { Some(json!("2026-08-20T10:11:12Z")) };
    let key = if position == Position::Key { scalar(value) } else { Some(json!("A-1")) };
    let composed =
        || Some(format!("user_42 purchase_completed \"é\" {{{{ {{% {{# {}", time.as_ref()?.as_str()?).into());
    put(&mut event, "uuid", key.or_else(composed));
    put(&mut event, "timestamp", time.clone());
    let properties = &mut event["properties"];
    match position {
        Position::Property => put(properties, "item's \"name\"", as_is(value)),
        Position::Number => put(properties, "amount", number(value)),
        Position::Boolean => put(properties, "gift", boolean(value)),
        Position::Person => put(&mut properties["$set"], "email", as_is(value)),
        Position::Id | Position::Key | Position::Time => {}
    }
    Some(event)
}

fn put(object: &mut Value, name: &str, value: Option<Value>) {
    let Some(members) = object.as_object_mut() else { return };
    match value {
        Some(value) => members.insert(name.to_string(), value),
        None => members.remove(name),
    };
}

/// A text that is not blank, or a number as text.
fn scalar(value: &Nasty) -> Option<Value> {
    match value {
        Nasty::Json(Value::String(text)) if !text.trim_matches(is_space).is_empty() => Some(json!(text)),
        Nasty::Json(Value::Number(number)) => Some(json!({"$printed": number})),
        Nasty::Huge(digits) => Some(json!(digits)),
        Nasty::NoNumber(_) => Some(json!({"$text": true})),
        _ => None,
    }
}

/// What both engines trim: Python trims the separators U+001C to U+001F too.
fn is_space(character: char) -> bool {
    character.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&character)
}

fn as_is(value: &Nasty) -> Option<Value> {
    match value {
        Nasty::Missing | Nasty::Json(Value::Null) => None,
        Nasty::Json(Value::String(text)) if text.is_empty() => None,
        Nasty::Json(value) => Some(value.clone()),
        Nasty::Huge(digits) if digits.len() <= 308 => Some(json!({"$huge": digits})),
        Nasty::Huge(digits) => Some(json!(digits)),
        Nasty::NoNumber(_) => Some(json!({"$text": true})),
    }
}

/// A plain decimal of at most 15 digits becomes a number.
fn number(value: &Nasty) -> Option<Value> {
    let Nasty::Json(Value::String(text)) = value else { return as_is(value) };
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let count = unsigned.bytes().filter(u8::is_ascii_digit).count();
    let plain = digits(whole) && digits(fraction) && (whole == "0" || !whole.starts_with('0')) && count <= 15;
    if plain { serde_json::from_str(text).ok() } else { as_is(value) }
}

fn boolean(value: &Nasty) -> Option<Value> {
    match value {
        Nasty::Json(Value::String(text)) if text.to_lowercase() == "true" => Some(json!(true)),
        Nasty::Json(Value::String(text)) if text.to_lowercase() == "false" => Some(json!(false)),
        _ => as_is(value),
    }
}

/// A thousand values: those that people thought of, and as many of a seed's as are missing.
pub(crate) fn values() -> Vec<Nasty> {
    let mut values = thought_of();
    let mut random = StdRng::seed_from_u64(7);
    while values.len() < 1000 {
        values.push(match random.random_range(0..10) {
            0 => Nasty::Json(json!(random.random::<i64>() >> random.random_range(0..63))),
            1 => Nasty::Json(json!(f64::from(random.random::<i32>()) / 1000.0)),
            2 => Nasty::Json(tree(&mut random, 3)),
            3 => Nasty::Json(Value::String(decimal(&mut random))),
            _ => Nasty::Json(Value::String(text(&mut random))),
        });
    }
    values
}

fn text(random: &mut StdRng) -> String {
    const PIECES: [&str; 44] = [
        "\"", "\\", "\n", "\r\n", "\t", "\0", "\u{1}", "\u{8}", "\u{b}", "\u{c}", "\u{1b}", "\u{1f}", "\u{7f}",
        "\u{85}", "\u{2028}", "\u{2029}", "\u{feff}", "😀", "é", "漢", "שלום", "\u{202e}", "{", "}", "{{", "}}", "{%",
        "%}", "{#", "#}", "</", "&quot;", "'", ",", ":", "[", "]", "\\u0022", "\\n", "true", "null", "1", " ", "%22",
    ];
    let length = random.random_range(0..12);
    (0..length).map(|_| PIECES[random.random_range(0..PIECES.len())]).collect()
}

fn decimal(random: &mut StdRng) -> String {
    let length = random.random_range(1..18);
    (0..length)
        .map(|_| char::from(b"0123456789012345678901234567890123456789.-eE+,"[random.random_range(0..46)]))
        .collect()
}

fn tree(random: &mut StdRng, depth: usize) -> Value {
    match random.random_range(0..if depth == 0 { 4 } else { 6 }) {
        0 => Value::Null,
        1 => json!(random.random::<bool>()),
        2 => json!(random.random::<i32>()),
        3 => Value::String(text(random)),
        4 => (0..random.random_range(0..4)).map(|_| tree(random, depth - 1)).collect(),
        _ => {
            let members = (0..random.random_range(0..4)).map(|_| (text(random), tree(random, depth - 1)));
            Value::Object(members.collect::<Map<_, _>>())
        }
    }
}

fn thought_of() -> Vec<Nasty> {
    let controls = (0..0x20_u8).map(|byte| format!("a{}b", char::from(byte)));
    let all: String = (0..0x250_u32).filter_map(char::from_u32).collect();
    let texts = [
        "",
        " ",
        "\n",
        "\u{1f}",
        "\u{a0}",
        "x",
        "Ada \"the\" Countess",
        "ends in a backslash \\",
        "\\",
        "\\\\\"",
        "\"",
        "'",
        "line\nbreak",
        "cr\r\nlf",
        "tab\t",
        "\u{2028}\u{2029}",
        "😀👨‍👩‍👧",
        "{{ x }}",
        "{{",
        "}}",
        "{% if %}",
        "{#",
        "<b>&amp;</b>",
        "</script>",
        "\", \"distinct_id\": \"x",
        "\"}, \"event\": \"stolen\", \"a\": {\"b\": \"",
        "',\"",
        "1",
        "0",
        "-0",
        "007",
        "1.10",
        "1.",
        ".5",
        "-",
        "-.",
        "--1",
        "1-1",
        "+1",
        "1e5",
        "1e999",
        "1,299.00",
        "1_000",
        "٣",
        "½",
        "49.90",
        " 49.90",
        "123456789012345",
        "1234567890123456",
        "-12345.6789012345",
        "0.1",
        "00.1",
        "NaN",
        "nan",
        "Infinity",
        "-Infinity",
        "0x10",
        "true",
        "True",
        "FALSE",
        "tRuE",
        "yes",
        "null",
        "None",
        "undefined",
        "[]",
        "{}",
        "['a', 'b']",
        "%22%0A",
        "\\u0022",
        "https://x.example/?a=1&b=\"2\"#c",
        "日本語",
        "مرحبا",
        "\u{202e}abc",
        "e\u{301}",
        "\u{feff}bom",
        "\u{0}",
        "a\u{0}",
        "MOE NOT SEND",
    ];
    let mut values: Vec<Nasty> = texts.iter().map(|text| Nasty::Json(json!(text))).collect();
    values.extend(controls.map(|text| Nasty::Json(json!(text))));
    values.extend([
        Nasty::Missing,
        Nasty::Json(json!(all)),
        Nasty::Json(json!("\"\\\n".repeat(1_000))),
        Nasty::Json(json!("9".repeat(400))),
        Nasty::Json(Value::Null),
        Nasty::Json(json!(true)),
        Nasty::Json(json!(false)),
        Nasty::Json(json!(0)),
        Nasty::Json(json!(-7)),
        Nasty::Json(json!(0.5)),
        Nasty::Json(json!(-2.5e-7)),
        Nasty::Json(json!(1e22)),
        Nasty::Json(json!(u64::MAX)),
        Nasty::Json(json!(i64::MIN)),
        Nasty::Json(json!([])),
        Nasty::Json(json!({})),
        Nasty::Json(json!(["a\"b", 1, 2.5, null, true, ["\n"], {"k\\": "v"}])),
        Nasty::Json(json!({"a": {"b": {"c": ["d", {"e\"": null}]}}, "": "", "items": 1, "keys": false})),
        Nasty::Huge("1".repeat(30)),
        Nasty::Huge("9".repeat(308)),
        Nasty::Huge("9".repeat(309)),
        Nasty::NoNumber(f64::NAN),
        Nasty::NoNumber(f64::INFINITY),
        Nasty::NoNumber(f64::NEG_INFINITY),
    ]);
    values
}
