//! Events as bodies of every shape, some damaged in a way that has one reading.

use rand::{Rng, rngs::StdRng, seq::IndexedRandom};
use serde_json::{Map, Value, json};

use super::meant::Meant;

/// A body, and what its events mean.
pub(crate) struct Written {
    pub(crate) body: String,
    pub(crate) content_type: &'static str,
    pub(crate) api_key: &'static str,
    pub(crate) meant: Vec<Meant>,
}

impl Written {
    pub(crate) fn any(chance: &mut StdRng) -> Self {
        let many = chance.random_range(1..4);
        let mut meant: Vec<_> = (0..many).map(|number| Meant::any(chance, number)).collect();
        let (mut content_type, mut api_key) = ("application/json", "");
        let body = match chance.random_range(0..8) {
            0 => {
                api_key = "phc_test";
                list(chance, meant.iter().map(capture).collect(), |list| json!({"api_key": "phc_test", "batch": list}))
            }
            1 => {
                meant.truncate(1);
                damaged(chance, &capture(&meant[0]).to_string())
            }
            2 => {
                meant.truncate(1);
                damaged(chance, &flat(&meant[0]).to_string())
            }
            3 => {
                // what a form cannot say
                meant.truncate(1);
                content_type = "application/x-www-form-urlencoded";
                meant[0].properties.retain(|_, value| value.is_string());
                form(&mut meant[0])
            }
            4 => list(
                chance,
                meant.iter_mut().map(streams).collect(),
                |list| json!({"source": "MOENGAGE", "events": list}),
            ),
            5 => {
                let lines: Vec<_> = meant
                    .iter_mut()
                    .map(|meant| json!({"export_day": "1", "event": streams(meant)}).to_string())
                    .collect();
                lines.join("\n")
            }
            6 => list(chance, meant.iter_mut().map(rudder).collect(), |list| json!({"batch": list})),
            _ => list(chance, meant.iter().map(capture).collect(), Value::from),
        };
        Self { body, content_type, api_key, meant }
    }
}

/// A body around a list, whose objects may stand without commas.
fn list(chance: &mut StdRng, events: Vec<Value>, around: impl Fn(Vec<Value>) -> Value) -> String {
    if events.len() > 1 && chance.random_bool(0.1) {
        let whole = around(vec!["moehog-list".into()]).to_string();
        let separator = ["", " ", "\n"].choose(chance).unwrap();
        let events: Vec<_> = events.iter().map(Value::to_string).collect();
        return whole.replace("\"moehog-list\"", &events.join(separator));
    }
    damaged(chance, &around(events).to_string())
}

/// The same, or with a comma too many at its end, a blank that is none, a number that is none, or a line break within a text.
fn damaged(chance: &mut StdRng, json: &str) -> String {
    match chance.random_range(0..12) {
        0 => {
            let end = json.len() - 1;
            [&json[..end], ",", &json[end..]].concat()
        }
        1 => [&json[..1], "\u{a0}", &json[1..]].concat(),
        2 => json.replace(":null", ":NaN"),
        3 => json.replace(":true", ":True").replace(":null", ":None"),
        4 => json.replace("\\nand", "\nand"),
        _ => json.to_string(),
    }
}

fn put(object: &mut Map<String, Value>, name: &str, value: Option<&Value>) {
    object.extend(value.map(|value| (name.to_string(), value.clone())));
}

fn capture(meant: &Meant) -> Value {
    let mut event = json!({
        "event": meant.name, "distinct_id": meant.person, "uuid": meant.id, "properties": meant.properties,
    });
    put(event.as_object_mut().unwrap(), "timestamp", meant.time.as_ref());
    event
}

fn flat(meant: &Meant) -> Value {
    let mut event = json!({"event": meant.name, "distinct_id": meant.person, "uuid": meant.id});
    let object = event.as_object_mut().unwrap();
    object.extend(meant.properties.clone());
    put(object, "timestamp", meant.time.as_ref());
    event
}

/// In a form every value is a text.
fn form(meant: &mut Meant) -> String {
    let time = meant.time.as_ref().map(|time| time.as_str().map_or_else(|| time.to_string(), str::to_string));
    let mut pairs = form_urlencoded::Serializer::new(String::new());
    pairs.append_pair("event", &meant.name).append_pair("distinct_id", &meant.person).append_pair("uuid", &meant.id);
    if let Some(time) = time {
        pairs.append_pair("timestamp", &time);
    }
    for (name, value) in &meant.properties {
        pairs.append_pair(name, value.as_str().unwrap());
    }
    pairs.finish()
}

fn streams(meant: &mut Meant) -> Value {
    meant.beside = &["event_uuid", "moengage_user_id"];
    let mut event = json!({
        "event_name": meant.name, "event_uuid": meant.id, "uid": meant.person, "event_attributes": meant.properties,
        "user_attributes": {"moengage_user_id": "m1"},
    });
    put(event.as_object_mut().unwrap(), "event_time", meant.time.as_ref());
    event
}

fn rudder(meant: &mut Meant) -> Value {
    let mut event = json!({
        "type": "track", "event": meant.name, "userId": meant.person, "messageId": meant.id, "properties": meant.properties,
    });
    put(event.as_object_mut().unwrap(), "timestamp", meant.time.as_ref());
    event
}
