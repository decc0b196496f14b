//! How a webhook is called.

use moehog_proto::transformer::Webhook;

/// The receipt that the sender's 200 held.
pub(crate) fn receipt_shown(webhook: &Webhook) -> &str {
    if webhook.origin_shown.is_empty() { origin_address(webhook) } else { &webhook.origin_shown }
}

/// What UUIDs are made from: where the webhook first taken is in its journal.
pub(crate) fn origin_address(webhook: &Webhook) -> &str {
    if webhook.origin_receipt.is_empty() { &webhook.receipt } else { &webhook.origin_receipt }
}
