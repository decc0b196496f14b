use moehog_proto::{JournalId, ParseReceiptError};

use crate::ReadError;

use super::*;

pub(crate) async fn a_read_is_of_one_lane_in_order_and_holds_no_cursor(store: &mut dyn Store) {
    let journal = store.open().await;
    for number in 0..30 {
        append(&journal, ["a", "b"][number % 2], ["x", "y", "z"][number % 3], number.to_string()).await;
    }
    let claim = journal.claim("a").await.unwrap();
    for destination in 0..3 {
        let expected: Vec<_> = (0..30).filter(|n| n % 2 == 0 && n % 3 == destination).map(|n| n.to_string()).collect();
        let destination = ["x", "y", "z"][destination];
        for _ in 0..2 {
            let entries = read(&claim, destination).await;
            assert_eq!(bodies(&entries), expected);
            assert!(entries.iter().all(|entry| entry.header.source == "a" && entry.header.destination == destination));
        }
        let whole = claim.read(destination, 0, ALL).await.unwrap();
        let middle = whole.entries[2].sequence();
        let rest = claim.read(destination, middle, ALL).await.unwrap();
        assert_eq!(sequences(&rest.entries), sequences(&whole.entries)[2..], "`from` is part of what is read");
        let beyond = claim.read(destination, whole.next, ALL).await.unwrap();
        assert!(beyond.entries.is_empty() && beyond.next >= whole.next);
    }
    let nothing = claim.read("no such destination", 0, ALL).await.unwrap();
    assert!(nothing.entries.is_empty());
}

pub(crate) async fn limits_bound_a_read_and_next_skips_nothing(store: &mut dyn Store) {
    let journal = store.open().await;
    let sizes = [10, 10, 500, 10, 0, 0, 10, 90, 10, 100, 10];
    for (number, size) in sizes.into_iter().enumerate() {
        append(&journal, "s", "other", "between").await;
        append(&journal, "s", "d", format!("{number:05}{}", "x".repeat(size))).await;
    }
    let claim = journal.claim("s").await.unwrap();
    let whole = sequences(&read(&claim, "d").await);
    for (max_entries, max_bytes) in [(1, 1000), (3, 1000), (100, 100), (100, 0), (2, 30), (100, 100_000)] {
        let (mut from, mut paged, mut pages, mut most) = (0, Vec::new(), 0, max_bytes);
        loop {
            let batch = claim.read("d", from, at_most(max_entries, most)).await.unwrap();
            assert!(batch.entries.len() <= max_entries);
            let bytes: usize = batch.entries.iter().map(|entry| entry.body.len()).sum();
            assert!(bytes <= most, "{bytes} bytes of {most}, {} entries", batch.entries.len());
            assert!(batch.next >= from, "a read does not go back");
            most = max_bytes;
            if let Some(bytes) = batch.too_large {
                assert!(batch.entries.is_empty() && bytes > max_bytes, "{bytes} of {max_bytes} bytes");
                (from, most) = (batch.next, bytes);
                continue;
            }
            if batch.entries.is_empty() && batch.next == from {
                break;
            }
            assert!(batch.entries.iter().all(|entry| (from..batch.next).contains(&entry.sequence())));
            paged.extend(sequences(&batch.entries));
            from = batch.next;
            pages += 1;
            assert!(pages <= 3 * sizes.len(), "a read that never ends");
        }
        assert_eq!(paged, whole, "in pages of {max_entries} entries, {max_bytes} bytes");
    }
    // the events that an entry keeps count as well
    let event = moehog_proto::event::Event { json: "x".repeat(700).into(), ..Default::default() };
    let kept = EventOutcome { state: EventState::Pending.into(), mapped: Some(event), ..EventOutcome::default() };
    let progress = Progress { events: vec![kept], ..Progress::default() };
    claim.record(vec![Record { sequence: whole[0], progress: progress.into(), settled: false }]).await.unwrap();
    let batch = claim.read("d", 0, at_most(1, 700)).await.unwrap();
    assert_eq!((batch.entries.len(), batch.next, batch.too_large), (0, whole[0], Some(715)));
    assert_eq!(claim.read("d", 0, at_most(1, 715)).await.unwrap().entries.len(), 1);
}

pub(crate) async fn growth_is_told_when_it_is_durable(store: &mut dyn Store) {
    let journal = store.open().await;
    let first = append(&journal, "s", "d", "a").await.sequence;
    assert_eq!(journal.grown(0).await, Some(first), "what is there already is told at once");
    store.stall();
    let grown = tokio::spawn({
        let journal = journal.clone();
        async move { journal.grown(first).await }
    });
    let appended = tokio::spawn({
        let journal = journal.clone();
        async move { append(&journal, "s", "d", "b").await }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!grown.is_finished(), "told before it was durable");
    store.resume();
    let second = appended.await.unwrap().sequence;
    assert_eq!(grown.await.unwrap(), Some(second));
}

pub(crate) async fn growth_wakes_the_lane_that_grew(store: &mut dyn Store) {
    let journal = store.open().await;
    let first = append(&journal, "s", "d", "a").await.sequence;
    let claim = journal.claim("s").await.unwrap();
    for destination in ["d", "e"] {
        assert!(claim.grown(destination, 0).await >= Some(first), "who comes first looks for itself");
    }
    let waits = |destination: &'static str, seen| {
        let claim = claim.clone();
        tokio::spawn(async move { claim.grown(destination, seen).await })
    };
    let (one, other) = (waits("d", first), waits("e", first));
    let second = append(&journal, "s", "e", "b").await.sequence;
    assert_eq!(other.await.unwrap(), Some(second));
    let other = waits("e", second);
    append(&journal, "another", "d", "c").await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!one.is_finished() && !other.is_finished(), "another lane grew");
    let last = append(&journal, "s", "d", "d").await.sequence;
    assert_eq!(one.await.unwrap(), Some(last));
    journal.close().await;
    assert_eq!(other.await.unwrap(), None);
    assert_eq!(claim.grown("d", last).await, None);
}

pub(crate) async fn an_events_uuid_finds_the_entries_that_hold_it(store: &mut dyn Store) {
    let journal = store.open().await;
    let mut receipts = Vec::new();
    for number in 0..40 {
        receipts.push(append(&journal, "a", "d", number.to_string()).await);
    }
    let claim = journal.claim("a").await.unwrap();
    let uuid = |number: u8| [number; 16];
    let recorded = |receipt: &Receipt, uuids: &[[u8; 16]]| {
        let mut record = record(receipt.sequence, &vec![EventState::Delivered; uuids.len()]);
        for (event, uuid) in Arc::make_mut(&mut record.progress).events.iter_mut().zip(uuids) {
            event.uuid = uuid.to_vec().into();
        }
        record
    };
    let records = receipts.iter().zip(1..).map(|(receipt, number)| recorded(receipt, &[uuid(200), uuid(number)]));
    claim.record(records.take(39).collect()).await.unwrap();
    drop(claim);
    for _ in 0..2 {
        assert_eq!(journal.find(uuid(7)).await.unwrap(), [receipts[6]]);
        let newest_first: Vec<_> = receipts[..39].iter().rev().copied().collect();
        assert_eq!(journal.find(uuid(200)).await.unwrap(), newest_first);
        assert_eq!(journal.find(uuid(40)).await.unwrap(), [], "nothing is recorded of it");
        // the uuid of an event is not any sixteen bytes of a record
        assert_eq!(journal.find([0; 16]).await.unwrap(), []);
    }
    journal.close().await;
    let journal = store.open().await;
    assert_eq!(journal.find(uuid(7)).await.unwrap(), [receipts[6]], "after it was opened again");
}

pub(crate) async fn a_receipt_is_read_from_its_text_and_another_journals_is_told(store: &mut dyn Store) {
    let journal = store.open().await;
    let receipt = append(&journal, "a", "d", "one").await;
    let text = receipt.to_string();
    assert_eq!((journal.receipt(&text), journal.receipt_of(receipt.sequence)), (Ok(receipt), receipt));
    assert_eq!(journal.receipt("one"), Err(ParseReceiptError::Shape));
    let other = JournalId(!journal.id().0);
    let elsewhere = Receipt::plain(other, receipt.sequence).to_string();
    assert_eq!(journal.receipt(&elsewhere), Err(ParseReceiptError::OtherJournal { journal: other }));
    drop(journal);

    store.kill().await;
    let journal = store.open().await;
    let found = journal.get(journal.receipt(&text).unwrap()).await.unwrap().unwrap();
    assert_eq!((found.receipt, found.body, found.receipt.to_string()), (receipt, "one".into(), text));
}

pub(crate) async fn a_receipt_finds_its_entry_and_no_other(store: &mut dyn Store) {
    let journal = store.open().await;
    let receipts = [append(&journal, "a", "d", "one").await, append(&journal, "b", "e", "two").await];
    for (receipt, body) in receipts.into_iter().zip(["one", "two"]) {
        assert_eq!(journal.get(receipt).await.unwrap().unwrap().body, body);
    }
    for sequence in [0, receipts[1].sequence + 1, Sequence::MAX] {
        assert!(journal.get(journal.receipt_of(sequence)).await.unwrap().is_none(), "{sequence}");
    }
    let other = Receipt::plain(JournalId(!journal.id().0), receipts[0].sequence);
    assert!(matches!(journal.get(other).await, Err(ReadError::OtherJournal { receipt }) if receipt == other));

    // Settled, it is still found, with what became of its events.
    let claim = journal.claim("a").await.unwrap();
    claim.record(vec![record(receipts[0].sequence, &[EventState::Delivered])]).await.unwrap();
    let found = journal.get(receipts[0]).await.unwrap().unwrap();
    assert!(found.settled);
    assert_eq!(found.body, "one");
    assert_eq!(found.progress.unwrap().events[0].state(), EventState::Delivered);
}
