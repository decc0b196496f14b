//! `/api/dead-letters`.

use axum::{Json, extract::State};
use moehog_journal::DeadLetterQuery;
use serde::{Deserialize, Serialize};

use super::{Admin, Failure, receipts::receipt, request::Params, view::DeadLetterView};

/// Dead letters in a page, and at most.
const PAGE: usize = 100;
const MAX_PAGE: usize = 1000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct List {
    source: Option<String>,
    /// Only older ones than this receipt.
    before: Option<String>,
    limit: Option<usize>,
}

#[derive(Debug, Serialize)]
pub(super) struct Page {
    dead_letters: Vec<DeadLetterView>,
    /// How many are kept, of all sources.
    kept: u64,
    /// `before` of the next page; none where this is the last.
    next: Option<String>,
}

/// Dead letters, newest first.
pub(super) async fn list(State(admin): State<Admin>, Params(list): Params<List>) -> Result<Json<Page>, Failure> {
    let before = list.before.map(|before| receipt(&*admin.journal, &before)).transpose()?;
    let before = before.map_or(0, |receipt| receipt.sequence);
    let limit = list.limit.unwrap_or(PAGE).clamp(1, MAX_PAGE);
    let letters = admin.journal.dead_letters(DeadLetterQuery { source: list.source, before, limit }).await?;
    let next = letters.last().filter(|_| letters.len() >= limit).map(|last| last.receipt.to_string());
    let kept = admin.journal.stats().dead_letters;
    Ok(Json(Page { dead_letters: letters.iter().map(DeadLetterView::new).collect(), kept, next }))
}
