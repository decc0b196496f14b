//! `moehog send-test`: one event through all of moehog, and where it is until PostHog has it.

mod post;
mod progress;

use std::{fmt::Display, time::Duration};

use anyhow::{Context, anyhow};
use moehog_telemetry::terminal::{shown, shown_json};
use serde::Serialize;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use self::{post::Post, progress::Progress};
use crate::{
    cli::SendTest,
    gateway::{AskError, Gateways},
    notes,
    receipt::routed_to,
};

/// The gateway that gave a receipt knows it at once; its address may take a moment to be known here.
const KNOWN_WITHIN: Duration = Duration::from_secs(10);
/// Time between two looks at the receipt: at first and later.
const LOOK_EVERY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(500));
/// How long the first holds.
const AT_FIRST: Duration = Duration::from_secs(2);

/// How an event ended that was not delivered.
#[derive(Debug, PartialEq, Eq)]
struct NotDelivered {
    /// One word.
    outcome: &'static str,
    /// Why, and what to do.
    reason: String,
}

impl NotDelivered {
    fn new(outcome: &'static str, reason: impl Into<String>) -> Self {
        Self { outcome, reason: reason.into() }
    }
}

pub(crate) async fn run(command: SendTest) -> anyhow::Result<()> {
    let gateways = Gateways::new(&command.gateway)?;
    let post = Post::new(&command)?;
    let mut report = Report { json: command.gateway.json, ..Report::default() };
    report.step("posts", &command.url);
    let ended = test(post, &gateways, command.timeout, &mut report).await;
    if let Err(NotDelivered { outcome, reason }) = &ended {
        report.told.outcome = outcome;
        report.told.reason = Some(reason.clone());
    }
    report.end()?;
    ended.map_err(|not_delivered| anyhow!(not_delivered.reason))
}

async fn test(post: Post, gateways: &Gateways, timeout: Duration, report: &mut Report) -> Result<(), NotDelivered> {
    let begun = Instant::now();
    let taken = post.send().await?;
    let (receipt, trace) = (taken.receipt.as_str(), taken.trace_id.as_str());
    report.step("taken", format_args!("200 after {} s, receipt {receipt}, trace {trace}", seconds(begun)));
    (report.told.receipt, report.told.trace_id) = (Some(receipt.to_string()), Some(trace.to_string()));

    let mut shown = false;
    // where a rule names its destination, it has an entry of its own there
    let mut routed = receipt.to_string();
    loop {
        let why = match gateways.entry(&routed).await {
            Ok((gateway, entry)) => {
                shown = true;
                report.mapped(&entry);
                if let Some(next) = entry.pointer("/events/0").and_then(routed_to) {
                    report.step("routed", format_args!("by its rule, receipt {next}"));
                    routed = next.to_string();
                    continue;
                }
                // only what still waits needs it; without it less can be said
                let status = gateway.get(&["api", "status"], &[]).await.unwrap_or_default();
                match Progress::of(&entry, &status) {
                    Progress::Delivered { reservation } => {
                        let but = reservation.iter().map(|why| format!(", with a reservation: {why}"));
                        report.step("delivered", format_args!("after {} s{}", seconds(begun), but.collect::<String>()));
                        (report.told.seconds, report.told.reservation) = (Some(seconds(begun)), reservation);
                        return Ok(());
                    }
                    Progress::Ended(NotDelivered { outcome, reason }) => {
                        let reason = format!("{reason}; `moehog receipt {receipt}` shows all of it");
                        return Err(NotDelivered { outcome, reason });
                    }
                    Progress::Waits(why) => why,
                }
            }
            Err(error) if error.may_pass() && (shown || begun.elapsed() < KNOWN_WITHIN.min(timeout)) => {
                format!("no gateway shows the receipt: {}", chain(error))
            }
            Err(error) => {
                let reason = format!("it was taken, receipt {receipt}, but cannot be followed: {}", chain(error));
                return Err(NotDelivered::new("not_shown", reason));
            }
        };
        if begun.elapsed() >= timeout {
            let reason =
                format!("not delivered after {timeout:?}: {why}; `moehog receipt {receipt}` shows what becomes of it");
            return Err(NotDelivered::new("waits", reason));
        }
        report.step("waits", why);
        let pause = if begun.elapsed() < AT_FIRST { LOOK_EVERY.0 } else { LOOK_EVERY.1 };
        sleep(pause).await;
    }
}

fn chain(error: AskError) -> String {
    format!("{:#}", anyhow::Error::new(error))
}

/// To the millisecond.
fn seconds(begun: Instant) -> f64 {
    (begun.elapsed().as_secs_f64() * 1000.0).round() / 1000.0
}

/// What is told: a line a step as it comes, or one JSON object at the end.
#[derive(Debug, Default)]
struct Report {
    json: bool,
    last: String,
    told: Told,
}

#[derive(Debug, Default, Serialize)]
struct Told {
    outcome: &'static str,
    reason: Option<String>,
    receipt: Option<String>,
    trace_id: Option<String>,
    /// As PostHog is sent it.
    event: Option<Value>,
    seconds: Option<f64>,
    reservation: Option<String>,
}

impl Report {
    /// A step; the same again is not told twice.
    #[expect(clippy::print_stdout, reason = "the command's answer")]
    fn step(&mut self, outcome: &'static str, text: impl Display) {
        self.told.outcome = outcome;
        let line = shown(&format!("{outcome:<9}  {text}")).into_owned();
        if !self.json && line != self.last {
            println!("{line}");
        }
        self.last = line;
    }

    /// The first event that the mapping makes of the webhook, once it is known.
    fn mapped(&mut self, entry: &Value) {
        let event = entry.pointer("/mapped/0/event").filter(|event| !event.is_null());
        if let (Some(event), None) = (event, &self.told.event) {
            self.step("mapped", event);
            for note in notes::of(event) {
                self.step("note", note);
            }
            self.told.event = Some(event.clone());
        }
    }

    #[expect(clippy::print_stdout, reason = "the command's answer")]
    fn end(&self) -> anyhow::Result<()> {
        if self.json {
            let told = serde_json::to_string_pretty(&self.told).context("write the report")?;
            println!("{}", shown_json(&told));
        }
        Ok(())
    }
}
