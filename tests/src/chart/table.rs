//! The table of the chart's values, made of their schema and their defaults.

use std::{collections::BTreeMap, fmt::Write as _};

use anyhow::{Context, ensure};
use serde_json::Value;

/// Lines of a README between which the table stands.
const BEGIN: &str = "<!-- The table of values is written by `cargo xtask render`. -->\n";
const END: &str = "<!-- End of the table of values. -->\n";

/// A README with the table in it made anew.
pub(super) fn replace_table(readme: &str, schema: &Value, defaults: &Value) -> anyhow::Result<String> {
    let (before, rest) = readme.split_once(BEGIN).context("the README has no line where the table of values begins")?;
    let (_, after) = rest.split_once(END).context("the README has no line where the table of values ends")?;
    Ok(format!("{before}{BEGIN}\n{}\n{END}{after}", table(schema, defaults)?))
}

/// A table for each part of the values, those that stand alone first.
fn table(schema: &Value, defaults: &Value) -> anyhow::Result<String> {
    let definitions = &schema["definitions"];
    let (mut alone, mut parts) = (Vec::new(), String::new());
    for (name, value) in properties(schema) {
        let mut rows = Vec::new();
        let described = add_rows(name, value, &defaults[name], definitions, &mut rows)?;
        if rows.len() == 1 {
            alone.append(&mut rows);
        } else {
            write!(parts, "\n### {name}\n\n{described}\n\n{HEAD}{}", rows.concat())?;
        }
    }
    ensure!(!alone.is_empty() && !parts.is_empty(), "the schema has no values");
    Ok(format!("{HEAD}{}{parts}", alone.concat()))
}

const HEAD: &str = "| value | default | what it is |\n| --- | --- | --- |\n";

/// Adds a row for a value, or for each value inside of it; gives the text that describes it.
fn add_rows<'a>(
    path: &str,
    schema: &'a Value,
    default: &Value,
    definitions: &'a Value,
    rows: &mut Vec<String>,
) -> anyhow::Result<&'a str> {
    let target = schema["$ref"].as_str().and_then(|target| target.strip_prefix("#/definitions/"));
    let meant = target.map_or(schema, |name| &definitions[name]);
    let own = schema["description"].as_str().or_else(|| meant["description"].as_str());
    let described = own.with_context(|| format!("{path} has no description"))?;
    let named = properties(meant).count() > 0;
    if !named {
        rows.push(row(path, default, described, &meant["enum"]));
    }
    for (name, value) in properties(meant) {
        add_rows(&format!("{path}.{name}"), value, &default[name], definitions, rows)?;
    }
    for (name, value) in properties(&meant["items"]) {
        add_rows(&format!("{path}[].{name}"), value, &Value::Null, definitions, rows)?;
    }
    Ok(described)
}

/// The values that a schema names, without those that it names to refuse them, by name: what order an object keeps is up
/// to what else is built.
fn properties(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    let refused = |value: &Value| value["description"].as_str().is_some_and(|text| text.starts_with("Refused"));
    let named = schema["properties"].as_object().into_iter().flatten();
    named.filter(|(_, value)| !refused(value)).collect::<BTreeMap<_, _>>().into_iter()
}

fn row(path: &str, default: &Value, described: &str, words: &Value) -> String {
    let default = if default.is_null() { String::new() } else { format!("`{default}`") };
    let words: Vec<_> = words.as_array().into_iter().flatten().map(|word| format!("`{word}`")).collect();
    let words = if words.is_empty() { String::new() } else { format!(" One of {}.", words.join(", ")) };
    let escaped = |text: String| text.replace('|', "\\|");
    format!("| `{path}` | {} | {} |\n", escaped(default), escaped(format!("{described}{words}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_value_has_a_row_with_its_default_and_its_description() {
        let schema = json!({
            "properties": {
                "name": {"description": "Who it is."},
                "gateway": {"description": "The gateways.", "properties": {
                    "mode": {"description": "How | why.", "enum": ["a", "b"]},
                    "labels": {"$ref": "#/definitions/labels", "description": "Its labels."},
                    "hosts": {"description": "Names.", "items": {"properties": {"host": {"$ref": "#/definitions/labels"}}}},
                    "old": {"description": "Refused: use mode."},
                }},
            },
            "definitions": {"labels": {"description": "Labels."}},
        });
        let defaults = json!({"name": "", "gateway": {"mode": "a", "labels": {}, "hosts": []}});
        let readme = format!("# A\n{BEGIN}stale\n{END}the end\n");
        let made = replace_table(&readme, &schema, &defaults).unwrap();
        let rows = "| `name` | `\"\"` | Who it is. |\n\n### gateway\n\nThe gateways.\n\n| value | default | what it is |\n\
                    | --- | --- | --- |\n| `gateway.hosts` | `[]` | Names. |\n| `gateway.hosts[].host` |  | Labels. |\n\
                    | `gateway.labels` | `{}` | Its labels. |\n| `gateway.mode` | `\"a\"` | How \\| why. One of `\"a\"`, `\"b\"`. |\n";
        assert!(made.contains(rows) && !made.contains("stale") && made.ends_with("the end\n"), "{made}");
        assert!(replace_table("# A\n", &schema, &defaults).is_err());
    }
}
