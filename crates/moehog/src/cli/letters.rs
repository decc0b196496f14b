//! Arguments of what is done about dead letters and held lanes.

use clap::{Args, Subcommand};

use super::Running;

/// Asks a running gateway for its dead letters.
#[derive(Debug, Args)]
pub(crate) struct DeadLetters {
    #[command(subcommand)]
    pub(crate) action: DeadLettersAction,
    #[command(flatten)]
    pub(crate) gateway: Running,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DeadLettersAction {
    /// Lists dead letters, newest first.
    List {
        /// Only of this source.
        #[arg(long)]
        source: Option<String>,
        /// Most dead letters to list.
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
    /// Shows one webhook: what came, what became of its events, and PostHog's answers.
    Show {
        /// The receipt, as the list or MoEngage's answer names it.
        receipt: String,
    },
    /// Has dead events mapped anew, by the mapping that is in force now, and sent: those alone, under the UUIDs and times that
    /// they had. What is dead again stays in the list.
    Retry(Which),
    /// Takes dead letters off the list for good: their events were never sent, and their webhooks may go.
    Discard(Which),
    /// Writes dead letters as lines of JSON, newest first.
    Export(Which),
}

/// Which dead letters are meant: all that are as every option says.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// All of these webhooks, by their receipts.
    #[arg(conflicts_with_all = ["source", "destination", "reason", "since", "until", "all"])]
    pub(crate) receipts: Vec<String>,
    /// Only of this source.
    #[arg(long)]
    pub(crate) source: Option<String>,
    /// Only of this destination, as the list names it.
    #[arg(long)]
    pub(crate) destination: Option<String>,
    /// Only with this reason, as in missing_distinct_id.
    #[arg(long)]
    pub(crate) reason: Option<String>,
    /// Only received then or later: a day as in 2026-11-28, or a time as in 2026-11-28T06:00:00Z. In UTC.
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<When>,
    /// Only received before.
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<When>,
    /// All there are, where no other option says which.
    #[arg(long)]
    pub(crate) all: bool,
    /// Does nothing, and says how many there are.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// About so many events a second at most, as where PostHog is to have room for what is new.
    #[arg(long, value_name = "EVENTS")]
    pub(crate) rate: Option<std::num::NonZeroU32>,
}

/// A point in time, or a day in UTC, which is its begin.
#[derive(Debug, Clone, Copy)]
pub(crate) struct When(pub(crate) jiff::Timestamp);

impl std::str::FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let day = || jiff::tz::TimeZone::UTC.to_timestamp(text.parse::<jiff::civil::Date>().ok()?.at(0, 0, 0, 0)).ok();
        let at = text.parse().ok().or_else(day);
        at.map(Self).ok_or_else(|| "a day as in 2026-11-28, or a time as in 2026-11-28T06:00:00Z".to_string())
    }
}

/// Asks a running gateway to give up a lane.
#[derive(Debug, Args)]
pub(crate) struct Lanes {
    #[command(subcommand)]
    pub(crate) action: LanesAction,
    #[command(flatten)]
    pub(crate) gateway: Running,
}

#[derive(Debug, Subcommand)]
pub(crate) enum LanesAction {
    /// Turns all that a held lane keeps into dead letters, so that `dead-letters retry` maps it anew: the end of what PostHog
    /// will never take as it is. Some of its events may have reached PostHog.
    #[command(name = "give-up")]
    GiveUp {
        /// The source.
        source: String,
        /// The destination, as /api/status names it.
        destination: String,
    },
}
