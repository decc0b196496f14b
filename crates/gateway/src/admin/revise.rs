//! `/api/dead-letters/retry` and `/api/dead-letters/discard`.
//!
//! One request looks at so many dead letters, newest first, and says where the next one goes on: what it did is done, and
//! whoever asks begins again at any time without doing anything twice.

use std::collections::BTreeMap;

use axum::{Json, extract::State};
use http::StatusCode;
use jiff::Timestamp;
use moehog_journal::{DeadLetter, DeadLetterQuery, Letters, Revised, Revision};
use moehog_proto::{Destination, Receipt, journal::EventPlace};
use serde::{Deserialize, Serialize};

use super::{Admin, Failure, receipts::receipt, request::Object};

/// Dead letters that one request looks at.
const PAGE: usize = 500;

/// Which dead letters are meant: all that are as every member says. An empty object is all there are.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Which {
    /// All of these webhooks; nothing else is looked at then. A list without one is refused: it means none, and not all.
    receipts: Option<Vec<String>>,
    source: Option<String>,
    destination: Option<String>,
    /// Code of the reason.
    reason: Option<String>,
    /// Received then or later.
    since: Option<Timestamp>,
    /// Received before.
    until: Option<Timestamp>,
    /// Only older ones than this receipt: where a request before ended.
    before: Option<String>,
    /// Nothing is done: it only says how many there are.
    dry_run: bool,
}

impl Which {
    fn takes(&self, letter: &DeadLetter) -> bool {
        let is = |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|wanted| wanted == found);
        let at_ms = letter.header.received_at_ms;
        is(&self.destination, &Destination::of(&letter.header.destination).redacted())
            && is(&self.reason, &letter.event.reason)
            && self.since.is_none_or(|since| at_ms >= since.as_millisecond())
            && self.until.is_none_or(|until| at_ms < until.as_millisecond())
    }
}

/// What one request came to.
#[derive(Debug, Default, Serialize)]
pub(super) struct Done {
    /// Dead events that are tried again or discarded; of a dry run that would be.
    events: u64,
    /// Webhooks that they are of.
    webhooks: u64,
    /// Webhooks of which other events are still under way: to be asked for again.
    under_way: u64,
    /// Webhooks that are not kept any more, or of which the record cannot be read.
    gone: u64,
    /// `before` of the next request; none where this was the last.
    next: Option<String>,
}

pub(super) async fn retry(State(admin): State<Admin>, Object(which): Object<Which>) -> Result<Json<Done>, Failure> {
    revise(&admin, which, Revision::Retry).await.map(Json)
}

pub(super) async fn discard(State(admin): State<Admin>, Object(which): Object<Which>) -> Result<Json<Done>, Failure> {
    revise(&admin, which, Revision::Discard).await.map(Json)
}

async fn revise(admin: &Admin, which: Which, to: Revision) -> Result<Done, Failure> {
    let (letters, next) = match &which.receipts {
        Some(receipts) => (named(admin, receipts)?, None),
        None => page(admin, &which).await?,
    };
    let mut done = Done { next: next.map(|receipt| receipt.to_string()), ..Done::default() };
    if which.dry_run {
        if which.receipts.is_some() {
            return dry_run(admin, letters).await;
        }
        done.events = letters.iter().map(|letters| letters.places.len() as u64).sum();
        done.webhooks = letters.len() as u64;
        return Ok(done);
    }
    for revised in admin.journal.revise(letters, to).await? {
        match revised {
            Revised::Events(events) => {
                done.events += events;
                done.webhooks += u64::from(events > 0);
            }
            Revised::UnderWay => done.under_way += 1,
            Revised::Gone => done.gone += 1,
        }
    }
    tracing::info!(
        events = done.events,
        webhooks = done.webhooks,
        "{}",
        match to {
            Revision::Retry => "dead letters are tried again, as somebody asked for",
            Revision::Discard => "dead letters are discarded, as somebody asked for",
        }
    );
    Ok(done)
}

/// Those that are meant among the next page, by webhook, and where the page ends; none where it was the last.
async fn page(admin: &Admin, which: &Which) -> Result<(Vec<Letters>, Option<Receipt>), Failure> {
    let before = which.before.as_deref().map(|before| receipt(&*admin.journal, before)).transpose()?;
    let query = DeadLetterQuery {
        source: which.source.clone(),
        before: before.map_or(0, |receipt| receipt.sequence),
        limit: PAGE,
    };
    let found = admin.journal.dead_letters(query).await?;
    let next = found.last().filter(|_| found.len() >= PAGE).map(|last| last.receipt);
    let mut letters: Vec<Letters> = Vec::new();
    for letter in found.into_iter().filter(|letter| which.takes(letter)) {
        let place = EventPlace { position: letter.event.position, ordinal: letter.event.ordinal };
        match letters.last_mut().filter(|last| last.receipt == letter.receipt) {
            Some(last) => last.places.push(place),
            None => letters.push(Letters { receipt: letter.receipt, places: vec![place] }),
        }
    }
    Ok((letters, next))
}

/// All of the webhooks that were named, each once.
fn named(admin: &Admin, receipts: &[String]) -> Result<Vec<Letters>, Failure> {
    if receipts.is_empty() {
        return Err(Failure {
            status: StatusCode::BAD_REQUEST,
            error: "malformed_request",
            message: "receipts names none: leave it out for all dead letters that the other members take".to_string(),
        });
    }
    let mut letters: BTreeMap<String, Letters> = BTreeMap::new();
    for text in receipts {
        let receipt = receipt(&*admin.journal, text)?;
        letters.insert(receipt.to_string(), Letters { receipt, places: Vec::new() });
    }
    Ok(letters.into_values().collect())
}

async fn dry_run(admin: &Admin, letters: Vec<Letters>) -> Result<Done, Failure> {
    let mut done = Done::default();
    for Letters { receipt, .. } in letters {
        let Some(entry) = admin.journal.get(receipt).await? else {
            done.gone += 1;
            continue;
        };
        let dead = entry.progress.as_ref().map_or(0, |progress| moehog_journal::count(progress).0.dead);
        match entry.settled {
            true => (done.events, done.webhooks) = (done.events + dead, done.webhooks + u64::from(dead > 0)),
            false => done.under_way += 1,
        }
    }
    Ok(done)
}
