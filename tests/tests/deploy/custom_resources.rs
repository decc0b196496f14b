//! What the definition of a custom resource asks beyond JSON Schema: defaults, keys of lists, and rules in CEL.
//!
//! The rules are those that each project publishes, word by word, in `tests/custom-resources`; an interpreter of CEL
//! decides.

use std::collections::BTreeSet;

use anyhow::Context as _;
use cel::{Context, Program, Value as CelValue};
use serde_json::{Map, Value};

use super::{
    faults::{keyed, list, text},
    schemas::Schemas,
};

/// Words that CEL keeps for itself: a rule names a field of such a name with underscores around.
const RESERVED: [&str; 21] = [
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// The object as an API server has it before it looks at it: with the defaults of its schema.
pub(crate) fn with_defaults(schema: &Value, object: &Value) -> Value {
    match object {
        Value::Object(fields) => {
            let mut defaulted = fields.clone();
            for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
                if let Some(default) = schema.get("default") {
                    defaulted.entry(name.clone()).or_insert_with(|| default.clone());
                }
            }
            let of = |name: &str| schema["properties"].get(name).unwrap_or(&schema["additionalProperties"]);
            defaulted.into_iter().map(|(name, value)| (name.clone(), with_defaults(of(&name), &value))).collect()
        }
        Value::Array(items) => items.iter().map(|item| with_defaults(&schema["items"], item)).collect(),
        other => other.clone(),
    }
}

/// What is wrong with an object that has its defaults and keeps its schema; `path` is where it stands.
pub(crate) fn violations(schema: &Value, object: &Value, path: &str) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    for rule in list(&schema["x-kubernetes-validations"]) {
        let (rule, message) = (rule["rule"].as_str().context("a rule")?, &rule["message"]);
        match decide(rule, object).with_context(|| format!("decide `{rule}`"))? {
            CelValue::Bool(true) => {}
            decision => found.push(format!("{path}: {message}: `{rule}` is {decision:?}")),
        }
    }
    match object {
        Value::Object(fields) => {
            for (name, value) in fields {
                let of = schema["properties"].get(name).unwrap_or(&schema["additionalProperties"]);
                found.extend(violations(of, value, &format!("{path}/{name}"))?);
            }
        }
        Value::Array(items) => {
            let (keys, mut seen) = (list(&schema["x-kubernetes-list-map-keys"]), BTreeSet::new());
            for (at, item) in items.iter().enumerate() {
                found.extend(violations(&schema["items"], item, &format!("{path}/{at}"))?);
                let key: Vec<_> = keys.iter().filter_map(|key| Some(item[key.as_str()?].to_string())).collect();
                if !keys.is_empty() && !seen.insert(key) {
                    found.push(format!("{path}/{at}: another has the same {keys:?}"));
                }
            }
        }
        _ => {}
    }
    Ok(found)
}

/// What a rule says of an object.
fn decide(rule: &str, object: &Value) -> anyhow::Result<CelValue> {
    let program = Program::compile(rule).map_err(|error| anyhow::anyhow!("{error}"))?;
    let mut context = Context::default();
    context.add_variable("self", escaped(object)).map_err(|error| anyhow::anyhow!("{error}"))?;
    program.execute(&context).map_err(|error| anyhow::anyhow!("{error}"))
}

/// The object with the fields that have a word of CEL for a name as rules name them.
fn escaped(object: &Value) -> Value {
    let name = |name: &String| if RESERVED.contains(&name.as_str()) { format!("__{name}__") } else { name.clone() };
    match object {
        Value::Object(fields) => {
            Value::Object(fields.iter().map(|(key, value)| (name(key), escaped(value))).collect::<Map<_, _>>())
        }
        Value::Array(items) => items.iter().map(escaped).collect(),
        other => other.clone(),
    }
}

/// A rule that only one object in a hundred meets would else fail on the day it does.
#[test]
fn every_published_rule_is_read() -> anyhow::Result<()> {
    let (mut seen, mut values) = (0, Vec::new());
    for schema in Schemas::custom()?.sources() {
        keyed(schema, &mut values);
    }
    for (_, rules) in values.iter().filter(|(key, _)| *key == "x-kubernetes-validations") {
        for rule in list(rules).iter().map(|rule| text(&rule["rule"])) {
            Program::compile(rule).map_err(|error| anyhow::anyhow!("`{rule}`: {error}"))?;
            seen += 1;
        }
    }
    anyhow::ensure!(seen > 80, "{seen} rules");
    Ok(())
}

#[test]
fn defaults_stand_before_rules_and_a_rule_finds_fields_that_have_a_word_of_cel_for_a_name() -> anyhow::Result<()> {
    let schema = serde_json::json!({"properties": {"refs": {
        "items": {"properties": {"kind": {"default": "Service"}, "namespace": {}}},
        "x-kubernetes-validations": [{"message": "one each", "rule":
            "self.all(a, self.exists_one(b, a.kind == b.kind && a.__namespace__ == b.__namespace__))"}],
    }}});
    let check = |refs: Value| {
        let object = with_defaults(&schema, &serde_json::json!({"refs": refs}));
        violations(&schema, &object, "")
    };
    let twice = check(serde_json::json!([{"namespace": "a"}, {"namespace": "a", "kind": "Service"}]))?;
    anyhow::ensure!(matches!(&twice[..], [one] if one.starts_with("/refs: \"one each\"")), "{twice:?}");
    let once = check(serde_json::json!([{"namespace": "a"}, {"namespace": "a", "kind": "Gateway"}]))?;
    anyhow::ensure!(once.is_empty(), "{once:?}");
    Ok(())
}
