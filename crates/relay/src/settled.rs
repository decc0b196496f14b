//! What settled entries came to, each event once.

use moehog_proto::journal::Book;

/// Adds what an entry came to, without what it was `counted` for when it was settled before.
pub(crate) fn add_settled(total: &mut Book, entry: &Book, counted: Option<&Book>) {
    total.settled += u64::from(counted.is_none());
    let before = counted.copied().unwrap_or_default();
    total.mapped += entry.mapped.saturating_sub(before.mapped);
    total.delivered += entry.delivered.saturating_sub(before.delivered);
    total.delivered_degraded += entry.delivered_degraded.saturating_sub(before.delivered_degraded);
    total.filtered += entry.filtered.saturating_sub(before.filtered);
    total.duplicate += entry.duplicate.saturating_sub(before.duplicate);
    total.dead += entry.dead.saturating_sub(before.dead);
}
