//! `moehog dead-letters`: asks the admin port of a running gateway.

use anyhow::{Context, bail};
use serde_json::Value;

use crate::cli::{DeadLetters, DeadLettersAction};

/// Most that the gateway gives in one answer.
const PAGE: usize = 1000;

#[expect(clippy::print_stdout, reason = "the command's answer")]
pub(crate) async fn run(command: DeadLetters) -> anyhow::Result<()> {
    let gateway = Gateway::new(&command.gateway)?;
    match &command.action {
        DeadLettersAction::List { source, limit } => {
            let letters = gateway.list(source.as_deref(), *limit).await?;
            if command.json {
                println!("{:#}", Value::from(letters));
            } else if letters.is_empty() {
                println!("no dead letters");
            } else {
                print!("{}", table(&letters));
            }
        }
        DeadLettersAction::Show { receipt } => {
            let entry = gateway.get(&["api", "dead-letters", receipt], &[]).await?;
            if command.json {
                println!("{entry:#}");
            } else {
                print!("{}", page(&entry));
            }
        }
    }
    Ok(())
}

/// The admin API of a gateway.
struct Gateway {
    client: reqwest::Client,
    base: reqwest::Url,
}

impl Gateway {
    fn new(admin: &str) -> anyhow::Result<Self> {
        let text = if admin.contains("://") { admin.to_string() } else { format!("http://{admin}") };
        let base = text.parse().with_context(|| format!("--admin {admin} is not an address"))?;
        // plain HTTP to an admin port: no certificate is needed, and no proxy stands between
        let roots = std::iter::empty::<reqwest::Certificate>();
        let _already_installed = rustls::crypto::ring::default_provider().install_default();
        let client =
            reqwest::Client::builder().no_proxy().tls_certs_only(roots).build().context("make an HTTP client")?;
        Ok(Self { client, base })
    }

    async fn list(&self, source: Option<&str>, limit: usize) -> anyhow::Result<Vec<Value>> {
        let mut letters = Vec::new();
        let mut before = None;
        while letters.len() < limit {
            let page = (limit - letters.len()).min(PAGE).to_string();
            let mut query = vec![("limit", page.as_str())];
            query.extend(source.map(|source| ("source", source)));
            query.extend(before.as_deref().map(|before| ("before", before)));
            let mut answer = self.get(&["api", "dead-letters"], &query).await?;
            let Some(Value::Array(found)) = answer.get_mut("dead_letters").map(Value::take) else {
                bail!("the gateway's answer holds no dead_letters");
            };
            letters.extend(found);
            match answer.get("next").and_then(Value::as_str) {
                Some(next) => before = Some(next.to_string()),
                None => break,
            }
        }
        Ok(letters)
    }

    async fn get(&self, path: &[&str], query: &[(&str, &str)]) -> anyhow::Result<Value> {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let asked = format!("ask the gateway at {} (is it running? --admin names its admin address)", self.base);
        let answer = self.client.get(url).send().await.context(asked)?;
        let status = answer.status();
        let body: Value = answer.json().await.with_context(|| format!("read the gateway's answer ({status})"))?;
        if !status.is_success() {
            bail!("{}", body.get("message").and_then(Value::as_str).unwrap_or("the gateway refused"));
        }
        Ok(body)
    }
}

/// The text of a field; a dash where there is none.
fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).filter(|text| !text.is_empty()).unwrap_or("-")
}

/// One line a dead letter, columns wide enough for what they hold.
fn table(letters: &[Value]) -> String {
    const COLUMNS: [&str; 6] = ["RECEIPT", "RECEIVED", "SOURCE", "DESTINATION", "EVENT", "REASON"];
    let rows: Vec<[String; 6]> = std::iter::once(COLUMNS.map(str::to_string))
        .chain(letters.iter().map(|letter| {
            let field = |name| text(letter, name).to_string();
            let event = letter.get("position").map_or_else(|| "-".to_string(), |position| format!("#{position}"));
            [field("receipt"), field("received_at"), field("source"), field("destination"), event, reason(letter)]
        }))
        .collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<_> = (0..COLUMNS.len()).map(width).collect();
    let line = |row: &[String; 6]| {
        let cells: Vec<_> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

fn reason(letter: &Value) -> String {
    match (text(letter, "reason"), text(letter, "detail")) {
        (reason, "-") => reason.to_string(),
        (reason, detail) => format!("{reason}: {detail}"),
    }
}

/// One webhook: what is known, what became of its events, PostHog's answers, and what came.
fn page(entry: &Value) -> String {
    let empty = Value::Null;
    let header = entry.get("header").unwrap_or(&empty);
    let list = |name: &str| entry.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let mut lines = vec![
        format!("receipt      {}", text(entry, "receipt")),
        format!("received     {}", text(header, "received_at")),
        format!("source       {}", text(header, "source")),
        format!("destination  {}", text(header, "destination")),
        format!("trace        {}", text(header, "trace_id")),
        String::new(),
    ];
    for event in list("events") {
        let position = event.get("position").cloned().unwrap_or_default();
        lines.push(format!("event #{position}  {}  {}", text(&event, "state"), reason(&event)));
    }
    for attempt in list("attempts") {
        let status =
            attempt.get("status").and_then(Value::as_u64).map_or_else(|| "no answer".to_string(), |s| s.to_string());
        lines.push(format!("asked {}  {status}  {}", text(&attempt, "started_at"), text(&attempt, "answer")));
    }
    lines.push(String::new());
    let text_at = |path| entry.pointer(path).and_then(Value::as_str);
    let shown = text_at("/decompressed/text").or_else(|| text_at("/body/text"));
    lines.push(shown.unwrap_or("(not text: --json has it in base64)").to_string());
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_table_has_a_line_a_dead_letter_with_its_reason() {
        let letter = json!({
            "receipt": "3f9a1c2b-12f-a07c", "received_at": "2026-11-24T10:00:00Z", "source": "capture",
            "destination": "default", "position": 3, "reason": "rejected", "detail": "event submitted without a distinct_id",
        });
        let table = table(&[letter]);
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(lines.len(), 2);
        assert!(lines[1].ends_with("#3     rejected: event submitted without a distinct_id"), "{table}");
    }

    #[test]
    fn a_page_shows_the_body_as_text() {
        let entry = json!({
            "receipt": "r", "header": {"source": "default"}, "body": {"text": "{}"}, "decompressed": null,
            "events": [{"position": 0, "state": "dead", "reason": "unreadable_json", "detail": ""}], "attempts": [],
        });
        let page = page(&entry);
        assert!(page.contains("event #0  dead  unreadable_json"), "{page}");
        assert!(page.ends_with("{}\n"), "{page}");
    }
}
