//! `/api/receipts/{receipt}`: one webhook, whole; by its receipt, or by the uuid of an event in it.

use axum::{
    Json,
    extract::{Path, State},
};
use http::StatusCode;
use moehog_journal::Journal;
use moehog_proto::{ParseReceiptError, Receipt};
use uuid::Uuid;

use super::{
    Admin, Failure, OTHER_JOURNAL,
    view::{EntryView, WaitView},
};

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
    let mapped = admin.looks.map(&entry).await;
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

pub(super) fn receipt(journal: &dyn Journal, text: &str) -> Result<Receipt, Failure> {
    journal.receipt(text).map_err(|error| {
        let (status, code) = match &error {
            ParseReceiptError::Shape | ParseReceiptError::Check => (StatusCode::BAD_REQUEST, "malformed_receipt"),
            ParseReceiptError::OtherJournal { .. } => (StatusCode::NOT_FOUND, OTHER_JOURNAL),
        };
        Failure { status, error: code, message: error.to_string() }
    })
}
