//! Each case in `testdata/cases` gives what it says, and the table in `testdata/README.md` has a row for it.
//!
//! A case is a JSON file that another implementation could run: `body` (or `body_base64`, or `body_file` beside the directory; `gzip`
//! packs it), `source`, `api_key`, `content_type`, `content_encoding`, `method`, `query`, `headers`, `idempotency_key` and `mapping` go in, `expect` comes out. `MOEHOG_CASES=write` writes what comes out into
//! the cases and the table; read the difference before it is kept.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by failing")]

use std::{
    collections::BTreeMap,
    env, fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use flate2::{Compression, write::GzEncoder};
use moehog_proto::{
    Reason,
    event::{Header, TraceContext},
    transformer::{Rejection, Webhook, mapped_event::Outcome, transformed_webhook},
};
use moehog_transformer::{Mapping, Note, Rules, Transformer};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// For the table.
    what: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body_file: Option<String>,
    source: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    api_key: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    gzip: bool,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    content_type: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    content_encoding: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    method: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    query: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    headers: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    idempotency_key: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    mapping: String,
    expect: Value,
}

fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata")
}

impl Case {
    fn webhook(&self) -> Webhook {
        let body = match (&self.body, &self.body_base64, &self.body_file) {
            (Some(text), None, None) => text.clone().into_bytes(),
            (None, Some(text), None) => BASE64_STANDARD.decode(text).unwrap(),
            (None, None, Some(file)) => fs::read(testdata().join(file)).unwrap(),
            _ => panic!("one of body, body_base64 and body_file"),
        };
        let body = if self.gzip {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(&body).unwrap();
            encoder.finish().unwrap()
        } else {
            body
        };
        Webhook {
            receipt: "3f9a1c2b-12f-a07c".to_string(),
            received_at_ms: 1_787_220_672_345, // 2026-08-20T10:11:12.345Z
            source: self.source.clone(),
            route: if self.api_key.is_empty() { "in" } else { "capture" }.to_string(),
            api_key: self.api_key.clone(),
            content_type: self.content_type.clone(),
            content_encoding: self.content_encoding.clone(),
            method: self.method.clone(),
            query: self.query.clone(),
            headers: self
                .headers
                .iter()
                .map(|(name, value)| Header { name: name.clone(), value: value.clone() })
                .collect(),
            idempotency_key: self.idempotency_key.clone(),
            trace: TraceContext::from_traceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
            body: body.into(),
            ..Webhook::default()
        }
    }

    /// What comes out, in the form of `expect`.
    fn comes_out(&self) -> Value {
        let rules = match &*self.mapping {
            "" => Ok(Rules::default()),
            text => Rules::read(text, None),
        };
        let rules = rules.unwrap_or_else(|problems| panic!("{}: {problems:?}", self.what));
        let (transformed, notes) = Transformer::new(&Mapping::default(), rules).transform_counted(&self.webhook());
        let counted = Note::ALL.iter().filter(|note| notes.get(**note) > 0);
        let mut noted: Map<_, _> = counted.map(|note| (note.name().to_string(), notes.get(*note).into())).collect();
        for (property, count) in notes.types() {
            noted.insert(format!("type of {property}"), json!({"healed": count.healed, "kept": count.kept}));
        }
        match transformed.result.unwrap() {
            transformed_webhook::Result::Rejection(rejection) => {
                let mut shown = explained("rejected", rejection);
                shown["notes"] = noted.into();
                shown
            }
            transformed_webhook::Result::Mapped(mapped) => {
                let event = |outcome| match outcome {
                    Outcome::Event(event) => {
                        let event: moehog_proto::event::Event = event;
                        let json: Value = serde_json::from_slice(&event.json).unwrap();
                        assert_eq!(
                            (&json["event"], &json["distinct_id"]),
                            (&event.name.into(), &event.distinct_id.into())
                        );
                        assert_eq!(json["uuid"], uuid::Uuid::from_slice(&event.uuid).unwrap().to_string());
                        // byte for byte, since numbers and order matter
                        let mut shown = json!({"event": String::from_utf8(event.json.to_vec()).unwrap()});
                        if !event.destination.is_empty() {
                            shown["destination"] = event.destination.into();
                        }
                        if event.historical {
                            shown["historical"] = true.into();
                        }
                        shown
                    }
                    Outcome::Dead(rejection) => explained("dead", rejection),
                    Outcome::Duplicate(_) => json!("duplicate"),
                    Outcome::Filtered(by) => json!({"filtered": by}),
                };
                let events = mapped.events.into_iter().map(|mapped| event(mapped.outcome.unwrap()));
                json!({"events": events.collect::<Vec<_>>(), "notes": noted})
            }
        }
    }

    /// Its row of the table.
    fn row(&self, name: &str) -> String {
        let mut outcomes = Vec::new();
        for event in self.expect["events"].as_array().into_iter().flatten() {
            outcomes.push(match (event["event"].as_str(), &event["dead"], &event["filtered"]) {
                (Some(json), ..) => {
                    let json: Value = serde_json::from_str(json).unwrap();
                    let to = event["destination"].as_str().map(|name| format!(" to `{name}`")).unwrap_or_default();
                    let lane = if event["historical"] == true { ", history" } else { "" };
                    format!(
                        "`{}` of `{}`{to}{lane}",
                        json["event"].as_str().unwrap(),
                        json["distinct_id"].as_str().unwrap()
                    )
                }
                (None, Value::String(reason), _) => format!("dead: {reason}"),
                (None, _, Value::String(by)) => format!("left out by {by}"),
                _ => "duplicate".to_string(),
            });
        }
        if let Some(reason) = self.expect["rejected"].as_str() {
            outcomes.push(format!("rejected: {reason}"));
        }
        let notes = self.expect["notes"].as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(", ");
        format!("| [{name}](cases/{name}.json) | {} | {} | {notes} |\n", self.what, outcomes.join("; "))
    }
}

#[test]
fn each_case_gives_what_it_says_and_has_a_row() {
    let write = env::var_os("MOEHOG_CASES").is_some_and(|value| value == "write");
    let mut paths: Vec<_> =
        fs::read_dir(testdata().join("cases")).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 40, "{} cases", paths.len());
    let mut table = String::new();
    for path in paths {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let mut case: Case =
            serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap_or_else(|error| panic!("{name}: {error}"));
        let out = case.comes_out();
        if write {
            case.expect = out;
            fs::write(&path, format!("{}\n", serde_json::to_string_pretty(&case).unwrap())).unwrap();
        } else {
            assert_eq!(out, case.expect, "{name}: {}", case.what);
        }
        table += &case.row(name);
    }
    let page = testdata().join("README.md");
    let text = fs::read_to_string(&page).unwrap();
    let (before, _) = text.split_once("| case |").unwrap();
    let now = format!("{before}| case | what | what comes out | noted |\n| --- | --- | --- | --- |\n{table}");
    if write {
        fs::write(page, now).unwrap();
    } else {
        assert!(now == text, "testdata/README.md has not these rows:\n{table}");
    }
}

#[test]
fn every_sample_is_a_case() {
    let files = |directory: &Path| {
        let names = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.ends_with(".json")).collect::<Vec<_>>()
    };
    let cases: Vec<Case> = files(&testdata().join("cases"))
        .iter()
        .map(|name| serde_json::from_str(&fs::read_to_string(testdata().join("cases").join(name)).unwrap()).unwrap())
        .collect();
    for sample in files(&testdata()) {
        assert!(cases.iter().any(|case| case.body_file.as_ref() == Some(&sample)), "no case has {sample}");
    }
}

fn explained(how: &str, rejection: Rejection) -> Value {
    let why = Reason::from(rejection);
    let blame = why.blame_name();
    json!({how: why.code, "field": why.field, "message": why.message, "remedy": why.remedy, "blame": blame})
}

#[test]
fn the_mapping_file_of_the_readme_has_no_mistake() {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md")).unwrap();
    let (_, after) = readme.split_once("```toml\n# mapping.toml\n").unwrap();
    let (file, _) = after.split_once("```").unwrap();
    let rules = Rules::read(file, None).unwrap_or_else(|problems| panic!("{problems:?}"));
    assert_eq!(rules.count(), 2);
}
