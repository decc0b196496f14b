//! A case file.

use std::path::Path;

use anyhow::{Context, anyhow, bail, ensure};
use base64::{Engine, prelude::BASE64_STANDARD};
use jiff::Timestamp;
use moehog_proto::limits::MAX_BODY_BYTES;
use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};

use crate::input;

/// A body, how it comes, and what is expected of it.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) source: String,
    pub(crate) content_type: String,
    /// Mapping file, from the case's own directory on.
    pub(crate) mapping: Option<String>,
    /// When the webhook arrives.
    pub(crate) received_at: Timestamp,
    /// Whether what `expect` does not name is compared too.
    pub(crate) exact: bool,
    /// One of each event of the body.
    pub(crate) expect: Vec<Value>,
    written: Written,
}

/// A case as it stands in its file.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    what: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mapping: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    received_at: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exact: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body: Option<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body_file: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expect: Option<Vec<Value>>,
}

/// Members that an expected event may name.
const MEMBERS: [&str; 11] = [
    "event",
    "distinct_id",
    "timestamp",
    "uuid",
    "properties",
    "notes",
    "repaired",
    "destination",
    "dead",
    "field",
    "unsent",
];

impl Case {
    /// Reads a case; one that is written anew needs neither time of arrival nor expectation.
    pub(crate) fn read(text: &str, is_written_anew: bool) -> anyhow::Result<Self> {
        let written: Written = serde_json::from_str(text).map_err(|error| match error.classify() {
            serde_json::error::Category::Data => anyhow!(
                "{error}: a case has `body`, `body_base64` or `body_file`, `received_at` and `expect`, and may have `what`, `source`, \
                 `content_type`, `mapping` and `exact`"
            ),
            _ => anyhow!("it is no JSON: {error}"),
        })?;
        let received_at = match &written.received_at {
            Some(text) => text.parse().map_err(|_unread| {
                anyhow!("`received_at` is `{text}`: write the time of arrival as \"2026-11-28T10:00:00Z\"")
            })?,
            None if is_written_anew => Timestamp::from_second(Timestamp::now().as_second())?,
            None => bail!(
                "`received_at` is missing: write the time of arrival as \"2026-11-28T10:00:00Z\", or let --write put in the time that it is now"
            ),
        };
        let expect = match &written.expect {
            Some(expect) => expect.clone(),
            None if is_written_anew => Vec::new(),
            None => bail!("`expect` is missing: write the list of events that come out, or let --write put them in"),
        };
        if !is_written_anew {
            for (at, event) in expect.iter().enumerate() {
                check(event).with_context(|| format!("expect[{at}]"))?;
            }
        }
        Ok(Self {
            source: written.source.clone().unwrap_or_else(|| "default".to_string()),
            content_type: written.content_type.clone().unwrap_or_default(),
            mapping: written.mapping.clone(),
            received_at,
            exact: written.exact.unwrap_or_default(),
            expect,
            written,
        })
    }

    /// The body as it is sent. What is written as JSON is sent as it stands there, and a text as what it says.
    pub(crate) fn body(&self, directory: &Path) -> anyhow::Result<Vec<u8>> {
        let Written { body, body_base64, body_file, .. } = &self.written;
        match (body, body_base64, body_file) {
            (Some(json), None, None) => Ok(match serde_json::from_str::<String>(json.get()) {
                Ok(text) => text.into_bytes(),
                Err(_no_text) => json.get().as_bytes().to_vec(),
            }),
            (None, Some(text), None) => {
                BASE64_STANDARD.decode(text).context("`body_base64` is no base64: `base64 -w0 FILE` writes it")
            }
            (None, None, Some(file)) => {
                input::read(&directory.join(file), MAX_BODY_BYTES, "no webhook may be").context("`body_file`")
            }
            (None, None, None) => {
                bail!("`body` is missing: write the body as JSON or as a text, or name it in `body_file`")
            }
            _ => bail!("there is more than one body: leave one of `body`, `body_base64` and `body_file`"),
        }
    }

    /// The text of its file, with what is expected now.
    pub(crate) fn text(mut self) -> anyhow::Result<String> {
        self.written.received_at = Some(self.received_at.to_string());
        self.written.expect = Some(self.expect);
        Ok(serde_json::to_string_pretty(&self.written)? + "\n")
    }
}

/// What an expected event may say.
fn check(event: &Value) -> anyhow::Result<()> {
    let example = "write {\"event\": \"Purchase\", \"distinct_id\": \"u1\", \"properties\": {…}}, {\"dead\": \"missing_event\"} or \
                   {\"unsent\": \"duplicate\"}";
    let members = event.as_object().with_context(|| format!("it is no object: {example}"))?;
    for (name, value) in members {
        let is_right = match &**name {
            "properties" => value.is_object(),
            "notes" | "repaired" => value.is_array(),
            _ => value.is_string(),
        };
        ensure!(MEMBERS.contains(&&**name), "`{name}` is nothing that an event has: {example}");
        ensure!(is_right, "`{name}` has the wrong type: {example}");
    }
    ensure!(!members.is_empty(), "it expects nothing: {example}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(text: &str) -> String {
        let read = Case::read(text, false).and_then(|case| case.body(Path::new(".")));
        format!("{:#}", read.expect_err("a wrong case"))
    }

    #[test]
    fn what_is_wrong_with_a_case_is_said_with_its_field_and_remedy() {
        for (text, parts) in [
            ("[", ["it is no JSON", "line 1"]),
            (r#"{"bodi": {}}"#, ["bodi", "a case has `body`"]),
            (r#"{"body": {}, "expect": []}"#, ["`received_at` is missing", "2026-11-28T10:00:00Z"]),
            (
                r#"{"body": {}, "received_at": "28/11/2026", "expect": []}"#,
                ["`received_at` is `28/11/2026`", "10:00:00Z"],
            ),
            (r#"{"body": {}, "received_at": "2026-11-28T10:00:00Z"}"#, ["`expect` is missing", "--write"]),
            (r#"{"received_at": "2026-11-28T10:00:00Z", "expect": []}"#, ["`body` is missing", "body_file"]),
            (
                r#"{"body": 1, "body_base64": "", "received_at": "2026-11-28T10:00:00Z", "expect": []}"#,
                ["more than one body", "leave one"],
            ),
            (
                r#"{"body_base64": "%", "received_at": "2026-11-28T10:00:00Z", "expect": []}"#,
                ["`body_base64` is no base64", "base64 -w0"],
            ),
            (
                r#"{"body_file": "no-such", "received_at": "2026-11-28T10:00:00Z", "expect": []}"#,
                ["`body_file`", "no-such"],
            ),
            (
                r#"{"body": {}, "received_at": "2026-11-28T10:00:00Z", "expect": [{"event": "a"}, {"evnt": "b"}]}"#,
                ["expect[1]: `evnt` is nothing", "\"distinct_id\""],
            ),
            (
                r#"{"body": {}, "received_at": "2026-11-28T10:00:00Z", "expect": [{"properties": 1}]}"#,
                ["`properties` has the wrong type", "write {"],
            ),
            (r#"{"body": {}, "received_at": "2026-11-28T10:00:00Z", "expect": [{}]}"#, ["expects nothing", "write {"]),
        ] {
            let complaint = complaint(text);
            assert!(parts.iter().all(|part| complaint.contains(part)), "{text}: {complaint}");
        }
    }

    #[test]
    fn a_body_is_sent_as_it_stands() {
        let body = |body: &str| {
            let text = format!(r#"{{{body}, "received_at": "2026-11-28T10:00:00Z", "expect": []}}"#);
            String::from_utf8(Case::read(&text, false).unwrap().body(Path::new(".")).unwrap()).unwrap()
        };
        assert_eq!(
            body(r#""body": {"b": 1.50,  "a": 12345678901234567890}"#),
            r#"{"b": 1.50,  "a": 12345678901234567890}"#
        );
        assert_eq!(body(r#""body": "{\"a\": tru""#), "{\"a\": tru");
        assert_eq!(body(r#""body_base64": "e30=""#), "{}");
    }
}
