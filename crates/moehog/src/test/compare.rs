//! What came out, beside what was expected.
//!
//! What an expected event does not name is not compared: an event has more than its author means (its receipt, versions, what moehog
//! says of it), and a case that breaks with each of these is soon written anew unread. `exact` compares all that the body decides.

use moehog_telemetry::terminal::shown;
use serde_json::{Map, Value, json};
use similar::{ChangeTag, TextDiff};

use crate::mapped::{Mapped, Unsent};

/// Properties that moehog adds to each event by itself.
const OWN: [&str; 4] = ["$lib", "$lib_version", "$geoip_disable", "moehog"];
/// Lines around a change.
const CONTEXT: usize = 3;

/// An event as a case expects it.
pub(crate) fn expected(mapped: &Mapped, exact: bool) -> Value {
    let event = match &mapped.outcome {
        Ok(event) => event,
        Err(Unsent { code, field, .. }) if mapped.is_dead() => return json!({"dead": code, "field": field}),
        Err(Unsent { code, .. }) => return json!({"unsent": code}),
    };
    let event: Value = serde_json::from_str(event).unwrap_or_default();
    let mut shown = Map::new();
    for name in ["event", "distinct_id", "timestamp"] {
        shown.insert(name.to_string(), event[name].clone());
    }
    if exact {
        shown.insert("uuid".to_string(), event["uuid"].clone());
    }
    let properties = event["properties"].as_object().into_iter().flatten();
    let properties = properties.filter(|(name, _)| !OWN.contains(&&***name));
    let properties: Map<_, _> = properties.map(|(name, value)| (name.clone(), value.clone())).collect();
    shown.insert("properties".to_string(), properties.into());
    for name in ["notes", "repaired"] {
        if let Some(said) = event.pointer(&format!("/properties/moehog/{name}")) {
            shown.insert(name.to_string(), said.clone());
        }
    }
    if let Some(destination) = &mapped.destination {
        shown.insert("destination".to_string(), destination.as_str().into());
    }
    shown.into()
}

/// The lines that differ; none where all that is expected came out.
pub(crate) fn difference(expect: &[Value], mapped: &[Mapped], exact: bool) -> anyhow::Result<Option<String>> {
    let came_out: Vec<_> = mapped
        .iter()
        .enumerate()
        .map(|(at, mapped)| match expect.get(at) {
            Some(wanted) if !exact => named(wanted, &whole(mapped)),
            _ => expected(mapped, exact),
        })
        .collect();
    if came_out == expect {
        return Ok(None);
    }
    let (old, new) = (serde_json::to_string_pretty(expect)?, serde_json::to_string_pretty(&came_out)?);
    let diff = TextDiff::from_lines(&old, &new);
    let mut lines = String::from("  - expected  + came out\n");
    for (at, group) in diff.grouped_ops(CONTEXT).iter().enumerate() {
        if at > 0 {
            lines += "  …\n";
        }
        for change in group.iter().flat_map(|operation| diff.iter_changes(operation)) {
            let sign = match change.tag() {
                ChangeTag::Delete => '-',
                ChangeTag::Insert => '+',
                ChangeTag::Equal => ' ',
            };
            lines += &format!("  {sign} {}\n", shown(change.value().trim_end_matches('\n')));
        }
    }
    Ok(Some(lines))
}

/// All that may be asked of an event.
fn whole(mapped: &Mapped) -> Value {
    let mut all = expected(mapped, true);
    let event = mapped.outcome.as_ref().ok().and_then(|event| serde_json::from_str::<Value>(event).ok());
    if let Some(properties) = event.as_ref().and_then(|event| event.get("properties")) {
        all["properties"] = properties.clone();
        for name in ["notes", "repaired"] {
            if all.get(name).is_none() {
                all[name] = json!([]);
            }
        }
        if all.get("destination").is_none() {
            all["destination"] = "".into();
        }
    }
    all
}

/// What `wanted` names of an event: its members, and of its properties those that are named.
fn named(wanted: &Value, event: &Value) -> Value {
    let Some(wanted) = wanted.as_object() else { return event.clone() };
    // another kind of outcome is shown whole
    let is_sent = |event: &Map<String, Value>| !event.contains_key("dead") && !event.contains_key("unsent");
    let Some(members) = event.as_object().filter(|event| is_sent(event) == is_sent(wanted)) else {
        return event.clone();
    };
    let pick = |wanted: &Map<String, Value>, from: &Map<String, Value>| -> Map<String, Value> {
        let found = wanted.keys().filter_map(|name| Some((name.clone(), from.get(name)?.clone())));
        found.collect()
    };
    let mut picked = pick(wanted, members);
    if let (Some(wanted), Some(from)) =
        (wanted.get("properties").and_then(Value::as_object), members.get("properties").and_then(Value::as_object))
    {
        picked.insert("properties".to_string(), pick(wanted, from).into());
    }
    picked.into()
}
