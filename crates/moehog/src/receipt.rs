//! `moehog receipt`: one webhook, from what came to PostHog's answers.

use moehog_telemetry::terminal::{shown, shown_json, shown_lines};
use serde_json::Value;

use crate::{cli::Receipt, gateway::Gateways, notes};

/// What stands before each line of a body, so that none can be taken for a line of ours.
const BODY_INDENT: &str = "    ";

#[expect(clippy::print_stdout, reason = "the command's answer")]
pub(crate) async fn run(command: Receipt) -> anyhow::Result<()> {
    let (_gateway, entry) = Gateways::new(&command.gateway)?.entry(&command.receipt).await?;
    if command.gateway.json {
        println!("{}", shown_json(&format!("{entry:#}")));
    } else {
        print!("{}", page(&entry));
    }
    Ok(())
}

/// One webhook: what is known, what became of its events, PostHog's answers, and, indented, what came.
pub(crate) fn page(entry: &Value) -> String {
    let empty = Value::Null;
    let header = entry.get("header").unwrap_or(&empty);
    let list = |name: &str| entry.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let mut lines = vec![
        format!("receipt      {}", text(entry, "receipt")),
        format!("origin       {}", text(entry, "origin")),
        format!("received     {}", text(header, "received_at")),
        format!("source       {}", text(header, "source")),
        format!("destination  {}", text(header, "destination")),
        format!("trace        {}", text(header, "trace_id")),
    ];
    lines.extend(request(header));
    lines.push(String::new());
    for event in list("events") {
        let position = event.get("position").cloned().unwrap_or_default();
        let handed_on = routed_to(&event).map(|receipt| format!(", as {receipt}")).unwrap_or_default();
        lines.push(format!("event #{position}  {}  {}{handed_on}", text(&event, "state"), reason(&event)));
    }
    for wait in list("waits") {
        let of = wait.get("position").filter(|position| !position.is_null());
        let of = of.map(|position| format!("#{position} ")).unwrap_or_default();
        let behind =
            wait.get("behind").and_then(Value::as_str).map(|receipt| format!(" ({receipt})")).unwrap_or_default();
        let next = match text(&wait, "next_try_at") {
            "-" => String::new(),
            at => format!("; next try at {at}"),
        };
        lines.push(format!("waits {of} for {}: {}{behind}{next}", text(&wait, "waits_for"), text(&wait, "meaning")));
    }
    let former = text(entry, "former_revision");
    if former != "-" {
        lines.push(format!(
            "before by {former}: the process died while it sent events of it, and this mapping could not be had again"
        ));
    }
    for event in list("mapped") {
        let position = event.get("position").cloned().unwrap_or_default();
        let made = event.get("event").filter(|made| !made.is_null());
        lines.push(format!(
            "maps to #{position}  {}",
            made.map_or_else(|| text(&event, "reason").to_string(), Value::to_string)
        ));
        lines.extend(made.iter().flat_map(|made| notes::of(made)).map(|note| format!("note #{position}  {note}")));
    }
    for attempt in list("attempts") {
        let status =
            attempt.get("status").and_then(Value::as_u64).map_or_else(|| "no answer".to_string(), |s| s.to_string());
        lines.push(format!("asked {}  {status}  {}", text(&attempt, "started_at"), text(&attempt, "answer")));
    }
    lines.push(String::new());
    let text_at = |path| entry.pointer(path).and_then(Value::as_str);
    let body = text_at("/decompressed/text").or_else(|| text_at("/body/text"));
    let body = shown_lines(body.unwrap_or("(not text: --json has it in base64)"), BODY_INDENT);
    let lines: String = lines.iter().map(|line| format!("{}\n", shown(line))).collect();
    format!("{lines}{BODY_INDENT}{body}\n")
}

/// What is kept of the request beside its body; nothing of a POST that had nothing else.
fn request(header: &Value) -> Vec<String> {
    let (method, query) = (text(header, "method"), text(header, "query"));
    let mut lines = Vec::new();
    if query != "-" || !["-", "POST"].contains(&method) {
        lines.push(format!("request      {method}{}", if query == "-" { String::new() } else { format!(" ?{query}") }));
    }
    let kept = header.get("headers").and_then(Value::as_array).into_iter().flatten();
    lines.extend(kept.map(|kept| format!("header       {}: {}", text(kept, "name"), text(kept, "value"))));
    if header.get("is_keyed").and_then(Value::as_bool) == Some(true) {
        lines.push(format!("key          {} (Idempotency-Key)", text(header, "idempotency_key")));
    }
    lines
}

/// The text of a field; a dash where there is none.
pub(crate) fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).filter(|text| !text.is_empty()).unwrap_or("-")
}

/// Receipt of the entry that has an event for the destination which its rule names.
pub(crate) fn routed_to(event: &Value) -> Option<&str> {
    event.get("routed_to").and_then(Value::as_str)
}

pub(crate) fn reason(letter: &Value) -> String {
    match (text(letter, "reason"), text(letter, "detail")) {
        (reason, "-") => reason.to_string(),
        (reason, detail) => format!("{reason}: {detail}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_page_shows_what_is_kept_of_the_request_and_of_a_plain_post_nothing() {
        let page = |header: Value| super::page(&json!({"header": header, "body": {"text": "{}"}}));
        let plain =
            page(json!({"method": "POST", "query": "", "headers": [], "is_keyed": false, "idempotency_key": "k"}));
        assert_eq!(plain, page(json!({})));
        let all = page(json!({
            "method": "GET", "query": "event=a", "headers": [{"name": "x-campaign", "value": "sun"}], "is_keyed": true,
            "idempotency_key": "order-7",
        }));
        let lines = "request      GET ?event=a\nheader       x-campaign: sun\nkey          order-7 (Idempotency-Key)\n";
        assert!(all.contains(lines), "{all}");
    }

    #[test]
    fn a_page_shows_the_body_as_text() {
        let entry = json!({
            "receipt": "r", "header": {"source": "default"}, "body": {"text": "{}"}, "decompressed": null,
            "events": [{"position": 0, "state": "dead", "reason": "unreadable_json", "detail": ""}], "attempts": [],
            "mapped": [{"position": 0, "event": {"properties": {"moehog": {"notes": [{"code": "cut", "property": "event"}]}}}}],
            "waits": [{"position": 1, "waits_for": "person", "meaning": "an earlier event", "behind": "r0"}],
        });
        let page = page(&entry);
        assert!(page.contains("event #0  dead  unreadable_json"), "{page}");
        assert!(page.contains("waits #1  for person: an earlier event (r0)\n"), "{page}");
        assert!(page.contains("note #0  cut: event\n"), "{page}");
        assert!(page.ends_with("{}\n"), "{page}");
    }
}
