use futures::FutureExt;
use moehog_proto::JournalId;

use crate::{AppendError, ReadError, Until, Watch};

use super::*;

async fn append_watched(journal: &Arc<dyn Journal>, body: impl Into<Bytes>) -> (Receipt, Watch) {
    let (receipt, watch) = journal.append_watched(webhook("s", "d", body), soon(), Until::Settled).await.unwrap();
    (receipt, watch.unwrap())
}

/// What a watch knows by now.
fn at_once<T>(heard: impl Future<Output = T>) -> Option<T> {
    tokio::task::unconstrained(heard).now_or_never()
}

/// A relay may announce an entry before its append has returned.
pub(crate) async fn a_watch_that_began_with_the_append_misses_nothing(store: &mut dyn Store) {
    const ENTRIES: usize = 300;
    let journal = store.open().await;
    let claim = journal.claim("s").await.unwrap();
    let relay = tokio::spawn(async move {
        let (mut from, mut announced) = (0, 0);
        while announced < ENTRIES {
            let batch = claim.read("d", from, ALL).await.unwrap();
            for entry in &batch.entries {
                claim.announce(entry.sequence(), &progress(&[EventState::Pending]).into());
            }
            (from, announced) = (batch.next, announced + batch.entries.len());
        }
        claim
    });
    let mut watches = Vec::new();
    for number in 0..ENTRIES {
        watches.push(append_watched(&journal, number.to_string()).await);
    }
    let claim = relay.await.unwrap();
    for (receipt, watch) in &mut watches {
        let known = at_once(watch.mapped());
        let known = known.unwrap_or_else(|| panic!("{receipt} was announced and its watch knows nothing"));
        assert_eq!((&*known.progress, known.settled), (&progress(&[EventState::Pending]), false));
    }
    claim
        .record(watches.iter().map(|(receipt, _)| record(receipt.sequence, &[EventState::Dead])).collect())
        .await
        .unwrap();
    for (receipt, watch) in &mut watches {
        let known = at_once(watch.settled()).unwrap_or_else(|| panic!("{receipt} was recorded and not told"));
        assert_eq!(known.progress.events[0].reason, "rejected");
    }
}

pub(crate) async fn a_watch_of_a_receipt_begins_with_what_is_stored(store: &mut dyn Store) {
    let journal = store.open().await;
    let receipt = append(&journal, "s", "d", "x").await;
    let claim = journal.claim("s").await.unwrap();
    let mut before = journal.watch(receipt).await.unwrap().unwrap();
    assert!(at_once(before.mapped()).is_none(), "nothing is stored");
    claim.record(vec![record(receipt.sequence, &[EventState::Pending, EventState::Dead])]).await.unwrap();
    let mut between = journal.watch(receipt).await.unwrap().unwrap();
    for watch in [&mut before, &mut between] {
        assert_eq!(at_once(watch.mapped()).unwrap().progress.events.len(), 2);
        assert!(at_once(watch.settled()).is_none(), "one event is pending");
    }
    claim.record(vec![record(receipt.sequence, &[EventState::Delivered, EventState::Dead])]).await.unwrap();
    let mut after = journal.watch(receipt).await.unwrap().unwrap();
    for watch in [&mut before, &mut between, &mut after] {
        let known = at_once(watch.settled()).unwrap();
        assert_eq!(*known.progress, progress(&[EventState::Delivered, EventState::Dead]));
    }
    let unknown = journal.receipt_of(receipt.sequence + 9);
    assert!(journal.watch(unknown).await.unwrap().is_none());
    let other = Receipt::plain(JournalId(!journal.id().0), receipt.sequence);
    assert!(matches!(journal.watch(other).await, Err(ReadError::OtherJournal { .. })));
}

/// Whichever of the two is first, the other knows of it.
pub(crate) async fn a_watch_that_begins_during_a_record_knows_of_it(store: &mut dyn Store) {
    let journal = store.open().await;
    let claim = journal.claim("s").await.unwrap();
    for number in 0..100 {
        let receipt = append(&journal, "s", "d", number.to_string()).await;
        let recorded = tokio::spawn({
            let claim = claim.clone();
            async move { claim.record(vec![record(receipt.sequence, &[EventState::Delivered])]).await.unwrap() }
        });
        let mut watch = journal.watch(receipt).await.unwrap().unwrap();
        recorded.await.unwrap();
        assert!(at_once(watch.settled()).is_some(), "entry {number} is settled and its watch does not know");
    }
}

pub(crate) async fn an_announcement_is_told_of_its_entry_and_stores_nothing(store: &mut dyn Store) {
    let journal = store.open().await;
    let (one, mut watch) = append_watched(&journal, "one").await;
    let (other, mut of_other) = append_watched(&journal, "other").await;
    let claim = journal.claim("s").await.unwrap();
    let dead = Arc::new(progress(&[EventState::Dead]));
    claim.announce(one.sequence, &dead);
    claim.announce(other.sequence + 9, &dead);
    assert_eq!(at_once(watch.mapped()).unwrap().progress, dead);
    assert!(at_once(watch.settled()).is_none(), "only what is stored is settled");
    assert!(at_once(of_other.mapped()).is_none());
    assert_eq!(journal.get(one).await.unwrap().unwrap().progress, None);
    assert_eq!(sequences(&read(&claim, "d").await), [one.sequence, other.sequence]);
    assert_eq!(journal.recount().await.unwrap(), journal.stats().ledger);
}

pub(crate) async fn a_stale_claim_announces_nothing(store: &mut dyn Store) {
    let journal = store.open().await;
    let stale = journal.claim("s").await.unwrap();
    store.kill().await;
    let journal = store.open().await;
    let (receipt, mut watch) = append_watched(&journal, "x").await;
    stale.announce(receipt.sequence, &progress(&[EventState::Dead]).into());
    assert!(at_once(watch.mapped()).is_none());
}

pub(crate) async fn a_watch_costs_nothing_once_it_is_dropped_or_its_append_failed(store: &mut dyn Store) {
    let journal = store.open().await;
    let watch = append_watched(&journal, "x").await;
    assert_eq!(journal.stats().watches, 1);
    drop(watch);
    assert_eq!(journal.stats().watches, 0);

    store.stall();
    let late = journal
        .append_watched(webhook("s", "d", "late"), Instant::now() + Duration::from_millis(50), Until::Settled)
        .await;
    assert!(matches!(late, Err(AppendError::Deadline)), "{late:?}");
    assert_eq!(journal.stats().watches, 0);
    let hung_up = journal.append_watched(webhook("s", "d", "hung up"), soon(), Until::Settled);
    assert!(tokio::time::timeout(Duration::from_millis(50), hung_up).await.is_err());
    assert_eq!(journal.stats().watches, 0);
    store.resume();
    append(&journal, "s", "d", "next").await;
    assert_eq!(bodies(&read(&journal.claim("s").await.unwrap(), "d").await), ["x", "hung up", "next"]);
    assert_eq!(journal.stats().watches, 0, "who hung up is not placed");
}
