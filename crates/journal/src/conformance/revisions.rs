use moehog_proto::journal::{EventPlace, Mapping};

use crate::{DeadLetterQuery, Letters, Revised, Revision};

use super::*;

fn all_of(receipt: Receipt) -> Letters {
    Letters { receipt, places: Vec::new() }
}

fn at(receipt: Receipt, positions: &[u32]) -> Letters {
    let place = |position: &u32| EventPlace { position: *position, ordinal: 0 };
    Letters { receipt, places: positions.iter().map(place).collect() }
}

async fn letters(journal: &Arc<dyn Journal>) -> Vec<(Sequence, u32)> {
    let listed = journal.dead_letters(DeadLetterQuery::default()).await.unwrap();
    listed.iter().map(|letter| (letter.receipt.sequence, letter.event.position)).collect()
}

async fn checked(journal: &Arc<dyn Journal>) -> crate::Ledger {
    let ledger = journal.stats().ledger;
    assert_eq!(journal.recount().await.unwrap(), ledger);
    let book = &ledger.book;
    assert_eq!(book.taken, book.settled + ledger.waiting + book.damaged, "{ledger:?}");
    let ends = [book.delivered, book.delivered_degraded, book.filtered, book.duplicate, book.dead, book.discarded];
    assert_eq!(book.mapped, ends.iter().sum::<u64>() + ledger.in_flight, "{ledger:?}");
    ledger
}

/// The states of an entry's events as they are recorded.
fn states(entry: &Entry) -> Vec<EventState> {
    entry.progress.iter().flat_map(|progress| &progress.events).map(EventOutcome::state).collect()
}

pub(crate) async fn dead_events_are_tried_again_and_their_neighbours_are_not(store: &mut dyn Store) {
    use EventState::{Dead, Delivered, Filtered, Pending};
    let journal = store.open().await;
    let receipt = append(&journal, "s", "d", "x").await;
    let other = append(&journal, "s", "d", "y").await;
    let claim = journal.claim("s").await.unwrap();
    let ends = [Delivered, Dead, Filtered, Dead, Dead];
    claim.record(vec![record(receipt.sequence, &ends), record(other.sequence, &[Dead])]).await.unwrap();
    assert_eq!(journal.lanes(), []);
    checked(&journal).await;

    let revised = journal.revise(vec![at(receipt, &[1, 4])], Revision::Retry).await.unwrap();
    assert_eq!(revised, [Revised::Events(2)]);
    let entries = read(&claim, "d").await;
    assert_eq!(sequences(&entries), [receipt.sequence]);
    assert_eq!(states(&entries[0]), [Delivered, Pending, Filtered, Dead, Pending]);
    let events = &entries[0].progress.as_ref().unwrap().events;
    assert_eq!((events[1].attempts, &*events[1].reason), (0, ""), "it was not tried yet");
    assert_eq!((events[3].attempts, &*events[3].reason), (1, "rejected"));
    assert_eq!(entries[0].receipt, receipt);
    assert_eq!(letters(&journal).await, [(other.sequence, 0), (receipt.sequence, 3)]);
    let ledger = checked(&journal).await;
    assert_eq!((ledger.waiting, ledger.in_flight, ledger.book.dead), (1, 2, 2));
    assert_eq!(journal.lane("s", "d").unwrap().unsettled, 1);

    // those that were opened, and then all that is left
    claim.record(vec![record(receipt.sequence, &[Delivered, Delivered, Filtered, Dead, Dead])]).await.unwrap();
    assert_eq!(journal.lanes(), []);
    let all = vec![all_of(receipt), all_of(other)];
    assert_eq!(journal.revise(all, Revision::Retry).await.unwrap(), [Revised::Events(2), Revised::Events(1)]);
    assert_eq!(letters(&journal).await, []);
    let ended = [record(receipt.sequence, &[Delivered; 5]), record(other.sequence, &[Delivered])];
    claim.record(ended.to_vec()).await.unwrap();
    let ledger = checked(&journal).await;
    assert_eq!((ledger.book.delivered, ledger.book.dead, ledger.waiting, ledger.book.settled), (6, 0, 0, 2));
    drop(claim);
    journal.close().await;
    let journal = store.open().await;
    assert_eq!(checked(&journal).await, ledger);
    assert_eq!((letters(&journal).await, journal.lanes()), (Vec::new(), Vec::new()));
}

pub(crate) async fn a_webhook_of_which_nothing_was_made_is_mapped_as_a_new_one(store: &mut dyn Store) {
    let journal = store.open().await;
    let receipt = append(&journal, "s", "d", "not json").await;
    let claim = journal.claim("s").await.unwrap();
    let mut nothing = record(receipt.sequence, &[EventState::Dead]);
    Arc::make_mut(&mut nothing.progress).events[0].uuid.clear();
    claim.record(vec![nothing]).await.unwrap();
    assert_eq!(journal.revise(vec![all_of(receipt)], Revision::Retry).await.unwrap(), [Revised::Events(1)]);
    assert_eq!(states(&read(&claim, "d").await[0]), [], "its events are those that are made of it now");
    assert_eq!(checked(&journal).await.book.mapped, 0);
    claim.record(vec![record(receipt.sequence, &[EventState::Delivered; 3])]).await.unwrap();
    assert_eq!(checked(&journal).await.book.delivered, 3);
}

pub(crate) async fn what_is_tried_again_is_mapped_by_what_is_in_force_then(store: &mut dyn Store) {
    let journal = store.open().await;
    let mut receipts = Vec::new();
    for body in ["x", "y", "z"] {
        receipts.push(append(&journal, "s", "d", body).await);
    }
    let claim = journal.claim("s").await.unwrap();
    let numbers: Vec<_> = receipts.iter().map(|receipt| receipt.sequence).collect();
    let mapping = Mapping { revision: "old".into(), text: "rules".into() };
    claim.decide(&mapping, &numbers).await.unwrap();
    claim.record(vec![record(numbers[1], &[EventState::Delivered, EventState::Dead])]).await.unwrap();
    journal.revise(vec![all_of(receipts[1])], Revision::Retry).await.unwrap();
    let decided = async |journal: &Arc<dyn Journal>, claim: &Arc<dyn Claim>| {
        let entries = read(claim, "d").await;
        checked(journal).await;
        entries.iter().map(|entry| entry.decided.is_some()).collect::<Vec<_>>()
    };
    assert_eq!(decided(&journal, &claim).await, [true, false, true]);
    store.kill().await;
    let journal = store.open().await;
    let claim = journal.claim("s").await.unwrap();
    assert_eq!(decided(&journal, &claim).await, [true, false, true]);
    let mapping = Mapping { revision: "new".into(), text: "rules".into() };
    claim.decide(&mapping, &numbers[1..2]).await.unwrap();
    let revisions = read(&claim, "d").await.into_iter().map(|entry| entry.decided.unwrap().revision);
    assert_eq!(revisions.collect::<Vec<_>>(), ["old", "new", "old"]);
}

pub(crate) async fn who_walks_the_lane_is_told_what_was_reopened(store: &mut dyn Store) {
    let journal = store.open().await;
    let mut receipts = Vec::new();
    for destination in ["d", "e", "d"] {
        receipts.push(append(&journal, "s", destination, "x").await);
    }
    let claim = journal.claim("s").await.unwrap();
    let dead = receipts.iter().map(|receipt| record(receipt.sequence, &[EventState::Dead]));
    claim.record(dead.collect()).await.unwrap();
    let walker = claim.clone();
    let waits = tokio::spawn(async move { walker.reopened("d").await });
    while !waits.is_finished() {
        // it may not wait yet: who begins to walk reads all there is
        journal.revise(receipts.iter().map(|receipt| all_of(*receipt)).collect(), Revision::Retry).await.unwrap();
        claim
            .record(receipts.iter().map(|receipt| record(receipt.sequence, &[EventState::Dead])).collect())
            .await
            .unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let told = waits.await.unwrap().unwrap();
    assert_eq!(told.into_iter().collect::<Vec<_>>(), [receipts[0].sequence, receipts[2].sequence]);
    let walker = claim.clone();
    let waits = tokio::spawn(async move { walker.reopened("d").await });
    drop(claim);
    journal.close().await;
    // what was reopened in between may be told before
    if let Some(told) = waits.await.unwrap() {
        assert!(told.contains(&receipts[0].sequence));
    }
}

pub(crate) async fn what_was_discarded_is_listed_no_more(store: &mut dyn Store) {
    use EventState::{Dead, Delivered, Discarded};
    let journal = store.open().await;
    let receipt = append(&journal, "s", "d", "x").await;
    let claim = journal.claim("s").await.unwrap();
    claim.record(vec![record(receipt.sequence, &[Dead, Delivered, Dead])]).await.unwrap();
    let discard = async |positions: &[u32]| {
        let revised = journal.revise(vec![at(receipt, positions)], Revision::Discard).await.unwrap();
        checked(&journal).await;
        revised
    };
    assert_eq!(discard(&[0]).await, [Revised::Events(1)]);
    assert_eq!(letters(&journal).await, [(receipt.sequence, 2)]);
    assert_eq!(discard(&[]).await, [Revised::Events(1)]);
    assert_eq!((letters(&journal).await, journal.lanes()), (Vec::new(), Vec::new()));
    let entry = journal.get(receipt).await.unwrap().unwrap();
    assert_eq!((states(&entry), entry.settled), (vec![Discarded, Delivered, Discarded], true));
    let ledger = checked(&journal).await;
    assert_eq!((ledger.book.dead, ledger.book.discarded, ledger.book.settled), (0, 2, 1));
    assert_eq!(journal.stats().dead_letters, 0);
    // what was discarded is not tried again
    let retried = journal.revise(vec![all_of(receipt)], Revision::Retry).await.unwrap();
    assert_eq!(retried, [Revised::Events(0)]);
    drop(claim);
    journal.close().await;
    assert_eq!(checked(&store.open().await).await, ledger);
}

pub(crate) async fn what_is_under_way_or_not_dead_or_not_there_stays_as_it_is(store: &mut dyn Store) {
    use EventState::{Dead, Delivered, Pending};
    let journal = store.open().await;
    let receipts = [append(&journal, "s", "d", "x").await, append(&journal, "s", "d", "y").await];
    let claim = journal.claim("s").await.unwrap();
    let records = vec![record(receipts[0].sequence, &[Dead, Pending]), record(receipts[1].sequence, &[Delivered])];
    claim.record(records).await.unwrap();
    let ledger = checked(&journal).await;
    let letters = vec![all_of(receipts[0]), all_of(receipts[1]), all_of(journal.receipt_of(99))];
    for to in [Revision::Retry, Revision::Discard] {
        let revised = journal.revise(letters.clone(), to).await.unwrap();
        assert_eq!(revised, [Revised::UnderWay, Revised::Events(0), Revised::Gone]);
        assert_eq!(checked(&journal).await, ledger);
    }
    claim.record(vec![record(receipts[0].sequence, &[Dead, Delivered])]).await.unwrap();
    // named twice, which counts once, and again when it is open already
    let twice = vec![all_of(receipts[0]), at(receipts[0], &[0])];
    let revised = journal.revise(twice.clone(), Revision::Retry).await.unwrap();
    assert_eq!(revised, [Revised::Events(1), Revised::UnderWay]);
    assert_eq!(journal.revise(twice, Revision::Retry).await.unwrap(), [Revised::UnderWay, Revised::UnderWay]);
    assert_eq!(checked(&journal).await.in_flight, 1);
}

pub(crate) async fn a_revision_survives_a_kill_at_once_and_a_power_cut_soon(store: &mut dyn Store) {
    use EventState::{Dead, Delivered, Pending};
    let mut journal = store.open().await;
    let receipt = append(&journal, "s", "d", "x").await;
    // bodies that end the segment, so that its files are sealed
    let claim = journal.claim("s").await.unwrap();
    claim.record(vec![record(receipt.sequence, &[Delivered, Dead])]).await.unwrap();
    drop(claim);
    for round in 0..3 {
        journal.close().await;
        journal = store.open().await;
        assert_eq!(journal.revise(vec![all_of(receipt)], Revision::Retry).await.unwrap(), [Revised::Events(1)]);
        if round == 0 {
            store.kill().await;
        } else {
            tokio::time::sleep(Duration::from_millis(1500)).await;
            store.cut_power().await;
        }
        journal = store.open().await;
        let claim = journal.claim("s").await.unwrap();
        let entries = read(&claim, "d").await;
        assert_eq!(states(&entries[0]), [Delivered, Pending], "round {round}");
        checked(&journal).await;
        claim.record(vec![record(receipt.sequence, &[Delivered, Dead])]).await.unwrap();
        assert_eq!(letters(&journal).await, [(receipt.sequence, 1)]);
    }
}
