//! `/api/receipts/{receipt}`: one webhook, whole; by its receipt, or by the uuid of an event in it.

use std::time::Duration;

use axum::{
    Json,
    extract::{Path, State},
};
use http::StatusCode;
use moehog_journal::{Crashed, Entry, Journal};
use moehog_proto::{
    ParseReceiptError, Receipt,
    event::TraceContext,
    transformer::{TransformRequest, TransformedWebhook},
};
use uuid::Uuid;

use super::{
    Admin, Failure, OTHER_JOURNAL,
    view::{EntryView, WaitView},
};

/// Longest wait for the events that the mapping makes of a webhook now.
const MAP_DEADLINE: Duration = Duration::from_secs(5);

/// One webhook: as it came, its events as the mapping makes them now, and what became of them.
pub(super) async fn show(State(admin): State<Admin>, Path(text): Path<String>) -> Result<Json<EntryView>, Failure> {
    let found = match Uuid::try_parse(&text) {
        Ok(uuid) => Some(holder(&admin, uuid).await?),
        Err(_) => None,
    };
    let receipt = found.map_or_else(|| receipt(&*admin.journal, &text), Ok)?;
    let Some(entry) = admin.journal.get(receipt).await? else {
        return Err(Failure {
            status: StatusCode::NOT_FOUND,
            error: "unknown_receipt",
            message: "no webhook has this receipt: it was not taken, is no longer kept, or its bytes are damaged (the log names those)".to_string(),
        });
    };
    let mapped = map(&admin, &entry).await;
    let header = &entry.header;
    let waits = match entry.settled {
        true => Vec::new(),
        false => admin.relay.waits(&header.source, &header.destination, receipt.sequence).await,
    };
    let waits = waits.iter().map(|wait| WaitView::new(wait, &*admin.journal)).collect();
    Ok(Json(EntryView::new(&entry, mapped, waits)))
}

/// The newest webhook that holds the event.
async fn holder(admin: &Admin, uuid: Uuid) -> Result<Receipt, Failure> {
    admin.journal.find(uuid.into_bytes()).await?.first().copied().ok_or_else(|| Failure {
        status: StatusCode::NOT_FOUND,
        error: "unknown_event",
        message: "no webhook that is kept has an event with this uuid on record: it is of another journal, was not mapped yet, \
                  or is no longer kept"
            .to_string(),
    })
}

/// What the transformer makes of the webhook; none where it does not answer, or has died of it before.
async fn map(admin: &Admin, entry: &Entry) -> Option<TransformedWebhook> {
    let died = entry.crashed != Crashed::default()
        || entry.progress.as_ref().is_some_and(|progress| {
            progress.transform_deaths > 0 || progress.events.iter().any(|event| event.reason == "transform_failed")
        });
    if died {
        return None;
    }
    // its events carry the trace; looking at them adds no span to it
    let trace = entry.header.trace.clone().map(|trace| TraceContext { flags: 0, ..trace });
    let webhooks = vec![moehog_relay::webhook_of(entry.clone(), trace)];
    let mut request = tonic::Request::new(TransformRequest { webhooks, ..TransformRequest::default() });
    request.set_timeout(MAP_DEADLINE);
    let mut transformer = admin.transformer.clone();
    let answer = tokio::time::timeout(MAP_DEADLINE, transformer.transform(request)).await;
    let answer = answer.ok()?.inspect_err(|status| tracing::debug!(%status, "webhook is shown without its events"));
    answer.ok()?.into_inner().webhooks.into_iter().next()
}

pub(super) fn receipt(journal: &dyn Journal, text: &str) -> Result<Receipt, Failure> {
    journal.receipt(text).map_err(|error| {
        let (status, code) = match &error {
            ParseReceiptError::Shape | ParseReceiptError::Check => (StatusCode::BAD_REQUEST, "malformed_receipt"),
            ParseReceiptError::OtherJournal { .. } => (StatusCode::NOT_FOUND, OTHER_JOURNAL),
        };
        Failure { status, error: code, message: error.to_string() }
    })
}
