//! `moehog status`: what running gateways are doing, on one screen.

use std::time::Duration;

use moehog_telemetry::terminal::{shown, shown_json};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::{
    cli::Status,
    columns::{folded, width},
    gateway::{AskError, Gateway, Gateways},
    paint::Paint,
};

/// Between the two looks that rates are taken from, and between two screens.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Clears the terminal.
const CLEAR: &str = "\u{1b}[2J\u{1b}[H";

#[expect(clippy::print_stdout, reason = "the command's answer")]
pub(crate) async fn run(status: Status) -> anyhow::Result<()> {
    let gateways = Gateways::new(&status.gateway)?;
    let (mut began, mut before) = (Instant::now(), look(&gateways).await?);
    loop {
        sleep(LOOK_EVERY).await;
        let (again, now) = (Instant::now(), look(&gateways).await?);
        let took = again.duration_since(began).as_secs_f64();
        let rated: Vec<_> = now.iter().map(|one| rated(one, &before, took)).collect();
        if status.gateway.json {
            println!("{}", shown_json(&format!("{:#}", Value::from(rated))));
        } else {
            let pages: Vec<_> = rated.iter().map(|one| page(one, width(), Paint::stdout())).collect();
            println!("{}{}", if status.watch { CLEAR } else { "" }, pages.join("\n").trim_end());
        }
        if !status.watch {
            return Ok(());
        }
        (began, before) = (again, now);
    }
}

async fn look(gateways: &Gateways) -> Result<Vec<Value>, AskError> {
    let mut all = Vec::new();
    for gateway in gateways.all().await? {
        all.push(ask(&gateway).await?);
    }
    Ok(all)
}

async fn ask(gateway: &Gateway) -> Result<Value, AskError> {
    gateway.get(&["api", "status"], &[]).await
}

fn count(status: &Value, at: &str) -> u64 {
    status.pointer(at).and_then(Value::as_u64).unwrap_or_default()
}

/// What a gateway says, and how fast its counts grew since it said the same `before`.
fn rated(now: &Value, before: &[Value], seconds: f64) -> Value {
    let is_it = |one: &&Value| one.pointer("/journal/id") == now.pointer("/journal/id");
    let mut status = now.clone();
    if let Some(before) = before.iter().find(is_it) {
        let rate = |at| {
            let grown = count(now, at).saturating_sub(count(before, at));
            (grown as f64 / seconds * 10.0).round() / 10.0
        };
        status["per_second"] = json!({
            "webhooks": rate("/ledger/webhooks/taken"),
            "delivered": rate("/ledger/events/delivered"),
            "dead": rate("/ledger/events/dead"),
        });
    }
    status
}

fn list<'a>(status: &'a Value, name: &str) -> &'a [Value] {
    status.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn word<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// A time without its day's parts below a second.
fn at(value: &Value, name: &str) -> String {
    let time = word(value, name);
    time.get(..19).unwrap_or(time).replace('T', " ")
}

/// One screen, no line wider than `width`.
fn page(status: &Value, width: usize, paint: Paint) -> String {
    let rate = |name: &str| {
        let rate = status.pointer(&format!("/per_second/{name}")).and_then(Value::as_f64);
        rate.map_or_else(|| "-".to_string(), |rate| format!("{rate:.1}/s"))
    };
    let lanes = list(status, "lanes");
    let oldest = lanes.iter().map(|lane| at(lane, "oldest_received_at")).filter(|time| !time.is_empty()).min();
    let mut lines = vec![
        format!(
            "moehog {}  journal {}",
            word(status, "version"),
            status.pointer("/journal/id").map_or("", |id| id.as_str().unwrap_or_default())
        ),
        format!("webhooks  {:>10}  taken {}", count(status, "/ledger/webhooks/taken"), rate("webhooks")),
        format!(
            "waiting   {:>10}  webhooks{}",
            count(status, "/ledger/webhooks/waiting"),
            oldest.map(|oldest| format!(", the oldest since {oldest}")).unwrap_or_default()
        ),
        format!(
            "delivered {:>10}  events {}",
            count(status, "/ledger/events/delivered") + count(status, "/ledger/events/delivered_degraded"),
            rate("delivered")
        ),
        format!(
            "dead      {:>10}  events {}, {} dead letters kept",
            count(status, "/ledger/events/dead"),
            rate("dead"),
            count(status, "/journal/dead_letters")
        ),
    ];
    for lane in lanes {
        let state = word(lane, "state");
        let painted = if state == "open" { paint.green(state) } else { paint.red(state) };
        lines.push(format!(
            "\nlane {} > {}  {painted}, {} wait",
            shown(word(lane, "source")),
            shown(word(lane, "destination")),
            count(lane, "/unsettled")
        ));
        if state != "open" {
            lines.push(format!("  since {}: {}", at(lane, "state_since"), shown(word(lane, "reason"))));
        }
        let next = at(lane, "next_try_at");
        if !next.is_empty() {
            lines.push(format!("  tried again {next}, waits for {}", shown(word(lane, "waits_for"))));
        }
    }
    let dead = list(status, "dead_since_start");
    if !dead.is_empty() {
        lines.push("\ndead since the start, by source and reason".to_string());
    }
    for one in dead {
        let line = format!("{} {}", shown(word(one, "source")), shown(word(one, "reason")));
        lines.push(format!("{:>10}  {line}", count(one, "/events")));
    }
    if let Some(last) = dead.iter().max_by_key(|one| word(one, "last_at")) {
        lines.push(format!(
            "\nlast error  {}  {}: {}",
            at(last, "last_at"),
            shown(word(last, "reason")),
            shown(word(last, "detail"))
        ));
        lines.push(format!("  moehog receipt {}", shown(word(last, "last_receipt"))));
    }
    lines.iter().flat_map(|line| line.split('\n')).flat_map(|line| fit(line, width)).map(|line| line + "\n").collect()
}

/// Lines within the width; a painted line holds characters that take none.
fn fit(line: &str, width: usize) -> Vec<String> {
    let unseen = line.matches('\u{1b}').count() / 2 * 9;
    folded(line, width + unseen)
}

#[cfg(test)]
mod tests {
    use unicode_width::UnicodeWidthStr;

    use super::*;

    fn status(taken: u64) -> Value {
        json!({
            "version": "0.1.0",
            "journal": {"id": "3f9a1c2b", "dead_letters": 312},
            "ledger": {
                "webhooks": {"taken": taken, "waiting": 4},
                "events": {"delivered": 90, "delivered_degraded": 1, "dead": 312},
            },
            "lanes": [
                {"source": "shop", "destination": "default", "state": "held", "unsettled": 4,
                 "state_since": "2026-11-24T10:00:00.000Z", "oldest_received_at": "2026-11-24T09:59:00.000Z",
                 "next_try_at": "2026-11-24T10:05:00.000Z", "waits_for": "probe",
                 "reason": format!("api_key_unknown: {}", "PostHog does not know the key of this destination ".repeat(4))},
            ],
            "dead_since_start": [
                {"source": "shop", "reason": "rule_missing_value", "events": 312, "last_at": "2026-11-24T10:00:01.000Z",
                 "last_receipt": "3f9a1c2b-e217697277a3b278a25daec74e8c5c58-1d6d", "detail": "no `total`; set it"},
            ],
        })
    }

    #[test]
    fn one_screen_says_rates_lanes_deaths_and_the_last_error_within_its_width() {
        let now = rated(&status(500), &[status(400)], 2.0);
        for columns in [80, 120] {
            let page = page(&now, columns, Paint::never());
            assert!(page.lines().all(|line| line.width() <= columns), "{page}");
            for said in [
                "taken 50.0/s",
                "the oldest since 2026-11-24 09:59:00",
                "lane shop > default  held, 4 wait",
                "since 2026-11-24 10:00:00: api_key_unknown",
                "tried again 2026-11-24 10:05:00, waits for probe",
                "312  shop rule_missing_value",
                "last error  2026-11-24 10:00:01  rule_missing_value: no `total`; set it",
            ] {
                assert!(page.contains(said), "{said} is not in\n{page}");
            }
        }
    }

    #[test]
    fn a_gateway_that_was_not_there_before_has_no_rate() {
        assert!(rated(&status(5), &[], 1.0).get("per_second").is_none());
        assert!(page(&status(5), 80, Paint::never()).contains("taken -"));
    }
}
