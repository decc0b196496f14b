//! `moehog dead-letters retry`, `discard` and `export`.

use std::{
    collections::BTreeSet,
    io::{IsTerminal, Write, stderr},
    num::NonZeroU32,
    time::Duration,
};

use anyhow::{Context, ensure};
use moehog_runtime::Exit;
use moehog_telemetry::terminal::shown_json;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    cli::Which,
    gateway::{AskError, Gateway, Gateways},
};

/// What becomes of dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Retry,
    Discard,
}

impl Change {
    fn path(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Discard => "discard",
        }
    }
}

/// What the gateways did.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Done {
    events: u64,
    webhooks: u64,
    under_way: u64,
    gone: u64,
}

impl Done {
    fn add(&mut self, answer: &Value) {
        let count = |name| answer.get(name).and_then(Value::as_u64).unwrap_or_default();
        self.events += count("events");
        self.webhooks += count("webhooks");
        self.under_way += count("under_way");
        self.gone += count("gone");
    }

    /// What is said at the end.
    fn words(self, change: Change, is_dry: bool) -> String {
        let Self { events, webhooks, under_way, gone } = self;
        let of = format!("{} of {}", counted(events, "event"), counted(webhooks, "webhook"));
        let mut text = match (change, is_dry) {
            (Change::Retry, true) => format!("{of} would be tried again\n"),
            (Change::Discard, true) => format!("{of} would be discarded\n"),
            (Change::Discard, false) => format!("{of} discarded\n"),
            (Change::Retry, false) if events == 0 => "no dead letters to try again\n".to_string(),
            (Change::Retry, false) => {
                format!("{of} tried again: those that are dead still are listed by `moehog dead-letters list`\n")
            }
        };
        if under_way > 0 {
            let webhooks = counted(under_way, "webhook");
            text += &format!("{webhooks} left out, of which other events are still under way: ask again later\n");
        }
        if gone > 0 {
            text += &format!("{} left out, which are not kept any more or cannot be read\n", counted(gone, "webhook"));
        }
        text
    }
}

fn counted(count: u64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

#[expect(clippy::print_stdout, reason = "the command's answer")]
pub(super) async fn run(gateways: &Gateways, which: &Which, change: Change, json: bool) -> anyhow::Result<()> {
    let says_which = which.all || !which.receipts.is_empty() || which.filters().next().is_some();
    if !(which.dry_run || change == Change::Retry || says_which) {
        return Err(anyhow::anyhow!("name receipts, or say which with --source, --reason and the like, or --all"))
            .context(Exit::Configuration);
    }
    let mut done = Done::default();
    if which.receipts.is_empty() {
        for gateway in gateways.all().await? {
            revise_all(&gateway, which, change, &mut done).await?;
        }
    }
    for receipt in which.receipts.iter().collect::<BTreeSet<_>>() {
        let (gateway, _entry) = gateways.entry(receipt).await?;
        let body = json!({"receipts": [receipt], "dry_run": which.dry_run});
        done.add(&gateway.post(&["api", "dead-letters", change.path()], &body).await?);
    }
    clear_progress();
    if json {
        let Done { events, webhooks, under_way, gone } = done;
        let done = json!({"events": events, "webhooks": webhooks, "under_way": under_way, "gone": gone});
        println!("{}", shown_json(&format!("{done:#}")));
    } else {
        print!("{}", done.words(change, which.dry_run));
    }
    ensure!(done.gone == 0, "{} could not be taken up", counted(done.gone, "webhook"));
    Ok(())
}

/// Asks page by page: what was done is done, and a command that is ended goes on when it is run again.
async fn revise_all(gateway: &Gateway, which: &Which, change: Change, done: &mut Done) -> Result<(), AskError> {
    let mut body = Value::Object(which.filters().map(|(name, value)| (name.to_string(), value.into())).collect());
    body["dry_run"] = which.dry_run.into();
    loop {
        let (began, before) = (Instant::now(), done.events);
        let answer = gateway.post(&["api", "dead-letters", change.path()], &body).await?;
        done.add(&answer);
        show_progress(done.events);
        match answer.get("next").and_then(Value::as_str) {
            Some(next) => body["before"] = next.into(),
            None => return Ok(()),
        }
        if let Some(rate) = which.rate {
            tokio::time::sleep_until(began + takes(done.events - before, rate)).await;
        }
    }
}

/// How long so many events take at this rate.
fn takes(events: u64, rate: NonZeroU32) -> Duration {
    Duration::from_millis(events.saturating_mul(1000) / u64::from(rate.get()))
}

#[expect(clippy::print_stdout, reason = "the command's answer")]
pub(super) async fn export(gateways: &Gateways, which: &Which) -> anyhow::Result<()> {
    let is = |letter: &Value, name: &str, wanted: Option<&str>| {
        wanted.is_none_or(|wanted| letter.get(name).and_then(Value::as_str) == Some(wanted))
    };
    let within = |letter: &Value| {
        let at = letter.get("received_at").and_then(Value::as_str).and_then(|at| at.parse::<jiff::Timestamp>().ok());
        which.since.is_none_or(|since| at.is_some_and(|at| at >= since.0))
            && which.until.is_none_or(|until| at.is_some_and(|at| at < until.0))
    };
    for gateway in gateways.all().await? {
        let mut before: Option<String> = None;
        loop {
            let mut query = vec![("limit", "1000")];
            query.extend(which.source.as_deref().map(|source| ("source", source)));
            query.extend(before.as_deref().map(|before| ("before", before)));
            let answer = gateway.get(&["api", "dead-letters"], &query).await?;
            let letters = answer.get("dead_letters").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            for letter in letters {
                let receipt = letter.get("receipt").and_then(Value::as_str).unwrap_or_default();
                let is_named = which.receipts.is_empty() || which.receipts.iter().any(|wanted| wanted == receipt);
                let is_meant = is(letter, "destination", which.destination.as_deref())
                    && is(letter, "reason", which.reason.as_deref());
                if is_named && is_meant && within(letter) {
                    println!("{}", shown_json(&letter.to_string()));
                }
            }
            before = answer.get("next").and_then(Value::as_str).map(str::to_string);
            if before.is_none() {
                break;
            }
        }
    }
    Ok(())
}

impl Which {
    /// What a request says of which are meant.
    fn filters(&self) -> impl Iterator<Item = (&'static str, String)> {
        let times = [("since", self.since), ("until", self.until)];
        let times = times.map(|(name, at)| (name, at.map(|at| at.0.to_string())));
        let texts = [("source", &self.source), ("destination", &self.destination), ("reason", &self.reason)];
        let texts = texts.map(|(name, text)| (name, text.clone()));
        texts.into_iter().chain(times).filter_map(|(name, value)| Some((name, value?)))
    }
}

/// Where somebody looks, how far it is.
fn show_progress(events: u64) {
    let mut terminal = stderr();
    if terminal.is_terminal() {
        // a terminal that is gone misses nothing
        let _gone = write!(terminal, "\r{}\x1b[K", counted(events, "event")).and_then(|()| terminal.flush());
    }
}

fn clear_progress() {
    let mut terminal = stderr();
    if terminal.is_terminal() {
        let _gone = write!(terminal, "\r\x1b[K").and_then(|()| terminal.flush());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_is_said_with_what_was_left_out() {
        let done = Done { events: 312, webhooks: 1, under_way: 2, gone: 1 };
        let words = done.words(Change::Retry, false);
        assert!(words.starts_with("312 events of 1 webhook tried again"), "{words}");
        assert!(words.contains("2 webhooks left out, of which other events"), "{words}");
        assert!(words.contains("1 webhook left out, which are not kept"), "{words}");
        assert_eq!(Done::default().words(Change::Retry, false), "no dead letters to try again\n");
        let rate = NonZeroU32::new(200).unwrap();
        assert_eq!([takes(500, rate), takes(0, rate)], [Duration::from_millis(2500), Duration::ZERO]);
        let done = Done { events: 1, webhooks: 1, ..Done::default() };
        assert_eq!(done.words(Change::Discard, true), "1 event of 1 webhook would be discarded\n");
    }
}
