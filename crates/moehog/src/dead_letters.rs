//! `moehog dead-letters`: asks the admin port of a running gateway.

mod revise;

use anyhow::bail;
use moehog_telemetry::terminal::{shown, shown_json};
use serde_json::Value;

use self::revise::Change;
use crate::{
    cli::{DeadLetters, DeadLettersAction},
    gateway::{Gateway, Gateways},
    receipt::{page, reason, text},
};

/// Most that the gateway gives in one answer.
const PAGE: usize = 1000;

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "the command's answer, and what it leaves out")]
pub(crate) async fn run(command: DeadLetters) -> anyhow::Result<()> {
    let gateways = Gateways::new(&command.gateway)?;
    match &command.action {
        DeadLettersAction::List { source, limit } => {
            let mut found = Found::default();
            for gateway in gateways.all().await? {
                found.add(list(&gateway, source.as_deref(), *limit).await?);
            }
            let rest = found.rest(source.as_deref(), *limit);
            let letters = newest(found.letters, *limit);
            if command.gateway.json {
                println!("{}", shown_json(&format!("{:#}", Value::from(letters))));
            } else if letters.is_empty() {
                println!("no dead letters");
            } else {
                print!("{}", table(&letters));
            }
            // beside what is read by programs
            if let Some(rest) = rest {
                eprintln!("{rest}");
            }
        }
        DeadLettersAction::Show { receipt } => {
            let (_gateway, entry) = gateways.entry(receipt).await?;
            if command.gateway.json {
                println!("{}", shown_json(&format!("{entry:#}")));
            } else {
                print!("{}", page(&entry));
            }
        }
        DeadLettersAction::Retry(which) => revise::run(&gateways, which, Change::Retry, command.gateway.json).await?,
        DeadLettersAction::Discard(which) => {
            revise::run(&gateways, which, Change::Discard, command.gateway.json).await?
        }
        DeadLettersAction::Export(which) => revise::export(&gateways, which).await?,
    }
    Ok(())
}

/// Dead letters of some gateways.
#[derive(Debug, Default)]
struct Found {
    letters: Vec<Value>,
    /// How many they keep, of all sources.
    kept: u64,
    /// There are older ones than these.
    is_cut: bool,
}

impl Found {
    fn add(&mut self, of_gateway: Self) {
        self.letters.extend(of_gateway.letters);
        self.kept += of_gateway.kept;
        self.is_cut |= of_gateway.is_cut;
    }

    /// What is said of those that are not shown; nothing where all are.
    fn rest(&self, source: Option<&str>, limit: usize) -> Option<String> {
        let shown = self.letters.len().min(limit);
        if shown == self.letters.len() && !self.is_cut {
            return None;
        }
        Some(match source {
            None => format!("the newest {shown} of {}: --limit {} shows all", self.kept, self.kept),
            Some(source) => format!("the newest {shown} of `{source}`, which has more: --limit shows further ones"),
        })
    }
}

async fn list(gateway: &Gateway, source: Option<&str>, limit: usize) -> anyhow::Result<Found> {
    let mut all = Found::default();
    let mut before = None;
    while all.letters.len() < limit {
        let page = (limit - all.letters.len()).min(PAGE).to_string();
        let mut query = vec![("limit", page.as_str())];
        query.extend(source.map(|source| ("source", source)));
        query.extend(before.as_deref().map(|before| ("before", before)));
        let mut answer = gateway.get(&["api", "dead-letters"], &query).await?;
        let Some(Value::Array(found)) = answer.get_mut("dead_letters").map(Value::take) else {
            bail!("the gateway's answer holds no dead_letters");
        };
        all.letters.extend(found);
        all.kept = answer.get("kept").and_then(Value::as_u64).unwrap_or_default();
        before = answer.get("next").and_then(Value::as_str).map(str::to_string);
        if before.is_none() {
            break;
        }
    }
    // a last page that is full has a next one that may be empty
    all.is_cut = before.is_some() && (source.is_some() || all.kept > all.letters.len() as u64);
    Ok(all)
}

/// Of several gateways' dead letters the newest; times are RFC 3339 in UTC.
fn newest(mut letters: Vec<Value>, limit: usize) -> Vec<Value> {
    letters.sort_by(|one, other| text(other, "received_at").cmp(text(one, "received_at")));
    letters.truncate(limit);
    letters
}

/// One line a dead letter, columns wide enough for what they hold.
fn table(letters: &[Value]) -> String {
    const COLUMNS: [&str; 6] = ["RECEIPT", "RECEIVED", "SOURCE", "DESTINATION", "EVENT", "REASON"];
    let rows: Vec<[String; 6]> = std::iter::once(COLUMNS.map(str::to_string))
        .chain(letters.iter().map(|letter| {
            let field = |name| shown(text(letter, name)).into_owned();
            let event = letter
                .get("position")
                .map_or_else(|| "-".to_string(), |position| shown(&format!("#{position}")).into_owned());
            [
                field("receipt"),
                field("received_at"),
                field("source"),
                field("destination"),
                event,
                shown(&reason(letter)).into_owned(),
            ]
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_newest_of_all_gateways_are_listed() {
        let letter = |day: u8| json!({"received_at": format!("2026-11-{day:02}T10:00:00.000Z")});
        // two of one gateway, two of another
        let letters = newest(vec![letter(20), letter(10), letter(21), letter(11)], 3);
        assert_eq!(letters, [letter(21), letter(20), letter(11)]);
    }

    #[test]
    fn what_is_left_out_is_said() {
        let found = |letters: usize, kept, is_cut| Found { letters: vec![json!({}); letters], kept, is_cut };
        assert_eq!(found(3, 3, false).rest(None, 100), None);
        assert_eq!(found(100, 319, true).rest(None, 100).unwrap(), "the newest 100 of 319: --limit 319 shows all");
        // each of two gateways gave all that it has
        assert_eq!(found(150, 150, false).rest(None, 100).unwrap(), "the newest 100 of 150: --limit 150 shows all");
        assert!(found(100, 319, true).rest(Some("shop"), 100).unwrap().contains("`shop`, which has more"));
    }

    #[test]
    fn the_table_has_a_line_a_dead_letter_with_its_reason() {
        let letter = json!({
            "receipt": "3f9a1c2b-e217697277a3b278a25daec74e8c5c58-1d6d", "received_at": "2026-11-24T10:00:00Z", "source": "capture",
            "destination": "default", "position": 3, "reason": "rejected", "detail": "event submitted without a distinct_id",
        });
        let table = table(&[letter]);
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0].find("RECEIVED"), lines[1].find("2026-11-24"), "{table}");
        assert!(lines[1].ends_with("#3     rejected: event submitted without a distinct_id"), "{table}");
    }
}
