//! `/api/status`.

use axum::{Json, extract::State};
use moehog_journal::{Ledger, Stats};
use moehog_relay::{Dead, GateState, LaneStatus};
use serde::{Deserialize, Serialize};

use super::{Admin, Failure, request::Params, view::time};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ask {
    /// Count the books anew too; reads the whole journal.
    #[serde(default)]
    recount: bool,
}

#[derive(Debug, Serialize)]
pub(super) struct Status {
    version: &'static str,
    journal: JournalView,
    ledger: LedgerView,
    recount: Option<LedgerView>,
    /// What waits, by source and destination.
    lanes: Vec<LaneView>,
    /// Events that died since the start of this gateway, by source and reason.
    dead_since_start: Vec<DeadView>,
}

#[derive(Debug, Serialize)]
struct DeadView {
    source: String,
    reason: String,
    events: u64,
    /// Of the last of them.
    last_at: Option<String>,
    last_receipt: String,
    field: String,
    detail: String,
}

impl DeadView {
    fn new(dead: Dead) -> Self {
        Self {
            source: dead.source,
            events: dead.events,
            last_at: time(dead.last_at_ms),
            last_receipt: dead.last_receipt.to_string(),
            detail: dead.last.sentence(),
            reason: dead.last.code,
            field: dead.last.field,
        }
    }
}

#[derive(Debug, Serialize)]
struct JournalView {
    id: String,
    used_bytes: u64,
    budget_bytes: u64,
    segments: u64,
    cancelled: u64,
    dead_letters: u64,
    dead_letters_dropped: u64,
    /// Since when settled webhooks are still kept.
    retained_since: Option<String>,
}

impl JournalView {
    fn new(id: moehog_proto::JournalId, stats: &Stats) -> Self {
        Self {
            id: id.to_string(),
            used_bytes: stats.used_bytes,
            budget_bytes: stats.budget_bytes,
            segments: stats.segments,
            cancelled: stats.cancelled,
            dead_letters: stats.dead_letters,
            dead_letters_dropped: stats.dead_letters_dropped,
            retained_since: stats.retained_since_ms.and_then(time),
        }
    }
}

/// `taken = settled + waiting + damaged`, and `unconfirmed` beside it;
/// `mapped = delivered + delivered_degraded + filtered + duplicate + dead + in_flight`.
#[derive(Debug, Serialize)]
struct LedgerView {
    webhooks: Webhooks,
    events: Events,
}

#[derive(Debug, Serialize)]
struct Webhooks {
    taken: u64,
    settled: u64,
    waiting: u64,
    damaged: u64,
    unconfirmed: u64,
}

#[derive(Debug, Serialize)]
struct Events {
    mapped: u64,
    delivered: u64,
    delivered_degraded: u64,
    filtered: u64,
    duplicate: u64,
    dead: u64,
    discarded: u64,
    in_flight: u64,
}

impl LedgerView {
    fn new(ledger: &Ledger) -> Self {
        let book = &ledger.book;
        Self {
            webhooks: Webhooks {
                taken: book.taken,
                settled: book.settled,
                waiting: ledger.waiting,
                damaged: book.damaged,
                unconfirmed: book.unconfirmed,
            },
            events: Events {
                mapped: book.mapped,
                delivered: book.delivered,
                delivered_degraded: book.delivered_degraded,
                filtered: book.filtered,
                duplicate: book.duplicate,
                dead: book.dead,
                discarded: book.discarded,
                in_flight: ledger.in_flight,
            },
        }
    }
}

#[derive(Debug, Serialize)]
struct LaneView {
    source: String,
    destination: String,
    /// `open`, `held` (a person must act) or `circuit_open` (the destination fails).
    state: &'static str,
    reason: Option<String>,
    state_since: Option<String>,
    unsettled: u64,
    oldest_received_at: Option<String>,
    /// When the oldest was received that does not wait for evidence alone.
    delayed_since: Option<String>,
    /// Events that PostHog refused alone and that wait for evidence whose fault that is.
    suspects: usize,
    suspected_since: Option<String>,
    /// When something is tried again, and what it waits for: as in `/api/receipts`.
    next_try_at: Option<String>,
    waits_for: Option<&'static str>,
    in_flight_entries: usize,
    in_flight_events: usize,
    in_flight_bytes: usize,
    backlog: u64,
    backlog_since: Option<String>,
    calls: usize,
    window: usize,
}

impl LaneView {
    fn new(lane: LaneStatus) -> Self {
        let (state, reason) = match lane.state {
            GateState::Open => ("open", None),
            GateState::Held { reason } => ("held", Some(reason.to_string())),
            GateState::CircuitOpen { reason } => ("circuit_open", Some(reason.to_string())),
        };
        Self {
            source: lane.source,
            destination: lane.destination,
            state,
            reason,
            state_since: time(lane.state_since_ms),
            unsettled: lane.unsettled,
            oldest_received_at: lane.oldest_received_at_ms.and_then(time),
            delayed_since: lane.delayed_since_ms.filter(|_| lane.unsettled > 0).and_then(time),
            suspects: lane.suspects,
            suspected_since: lane.suspected_since_ms.and_then(time),
            next_try_at: lane.next_try.and_then(|next| time(next.at_ms)),
            waits_for: lane.next_try.map(|next| next.waits_for.word()),
            in_flight_entries: lane.in_flight_entries,
            in_flight_events: lane.in_flight_events,
            in_flight_bytes: lane.in_flight_bytes,
            backlog: lane.backlog,
            backlog_since: lane.backlog_since_ms.and_then(time),
            calls: lane.calls,
            window: lane.window,
        }
    }
}

/// The journal's books and sizes, and what waits where.
pub(super) async fn show(State(admin): State<Admin>, Params(ask): Params<Ask>) -> Result<Json<Status>, Failure> {
    let stats = admin.journal.stats();
    let recount = if ask.recount { Some(admin.journal.recount().await?) } else { None };
    Ok(Json(Status {
        version: env!("CARGO_PKG_VERSION"),
        journal: JournalView::new(admin.journal.id(), &stats),
        ledger: LedgerView::new(&stats.ledger),
        recount: recount.as_ref().map(LedgerView::new),
        lanes: admin.relay.lanes().into_iter().map(LaneView::new).collect(),
        dead_since_start: admin.relay.dead().into_iter().map(DeadView::new).collect(),
    }))
}
