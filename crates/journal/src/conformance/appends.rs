use moehog_proto::{
    event::{Header, TraceContext},
    journal::{EventPlace, Kind, Origin},
};

use crate::AppendError;

use super::*;

pub(crate) async fn what_was_appended_is_read_byte_for_byte(store: &mut dyn Store) {
    let journal = store.open().await;
    let header = EntryHeader {
        kind: Kind::Replay.into(),
        source: "s".into(),
        route: "capture".into(),
        content_type: "text/plain; charset=utf-8".into(),
        content_encoding: "gzip".into(),
        received_at_ms: 1_755_000_000_123,
        origin: Some(Origin {
            receipt: "0123456789abcdef-12f".into(),
            received_at_ms: 12,
            shown: "3f9a1c2b-12f-a07c".into(),
        }),
        destination: "d".into(),
        idempotency_key: "key".into(),
        trace: Some(TraceContext { trace_id_low: 1, span_id: 2, flags: 1, ..TraceContext::default() }),
        api_key: "phc_x".into(),
        routed: vec![EventPlace { position: 3, ordinal: 1 }],
        method: "GET".into(),
        query: "campaign=Summer%20Sun".into(),
        headers: vec![Header { name: "x-campaign".into(), value: "a, b".into() }],
        keyed: true,
    };
    let every_byte: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    let bodies = [Bytes::new(), Bytes::from_static(b"\0"), Bytes::from_static(b"{\"a\":1}"), Bytes::from(every_byte)];
    let mut receipts = Vec::new();
    for body in &bodies {
        let entry = NewEntry { header: header.clone(), body: body.clone() };
        receipts.push(journal.append(entry, soon()).await.unwrap());
    }
    let check = async |journal: &Arc<dyn Journal>| {
        let entries = read(&journal.claim("s").await.unwrap(), "d").await;
        assert_eq!(entries.len(), bodies.len());
        for ((entry, body), receipt) in entries.iter().zip(&bodies).zip(&receipts) {
            let found = journal.get(*receipt).await.unwrap().unwrap();
            for entry in [entry, &found] {
                assert_eq!(entry.receipt, *receipt);
                assert_eq!(entry.header, header);
                assert!(entry.body == body, "a body of {} bytes came back changed", body.len());
                assert_eq!(entry.progress, None);
                assert!(!entry.settled);
            }
        }
    };
    check(&journal).await;
    journal.close().await;
    check(&store.open().await).await;
}

pub(crate) async fn nothing_is_read_before_it_is_durable(store: &mut dyn Store) {
    let journal = store.open().await;
    append(&journal, "s", "d", "first").await;
    let claim = journal.claim("s").await.unwrap();
    store.stall();
    let appended = tokio::spawn({
        let journal = journal.clone();
        async move { append(&journal, "s", "d", "second").await }
    });
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert!(!appended.is_finished(), "acknowledged before it was durable");
        assert_eq!(bodies(&read(&claim, "d").await), ["first"]);
        assert_eq!(journal.stats().ledger.book.taken, 1);
        assert_eq!(journal.lanes()[0].unsettled, 1);
    }
    store.resume();
    appended.await.unwrap();
    assert_eq!(bodies(&read(&claim, "d").await), ["first", "second"], "readers see it once it is acknowledged");
    assert_eq!(journal.stats().ledger.book.taken, 2);
}

pub(crate) async fn an_append_past_its_deadline_is_not_read_while_the_process_lives(store: &mut dyn Store) {
    let journal = store.open().await;
    append(&journal, "s", "d", "before").await;
    store.stall();
    let began = Instant::now();
    let late = |body: &'static str| journal.append(webhook("s", "d", body), began + Duration::from_millis(100));
    let (one, other) = tokio::join!(late("late"), late("late too"));
    assert!(matches!(one, Err(AppendError::Deadline)), "{one:?}");
    assert!(matches!(other, Err(AppendError::Deadline)), "{other:?}");
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(100) && took < Duration::from_secs(1), "answered after {took:?}");
    store.resume();
    append(&journal, "s", "d", "after").await;

    let claim = journal.claim("s").await.unwrap();
    let entries = read(&claim, "d").await;
    assert_eq!(bodies(&entries), ["before", "after"]);
    let last = entries[1].receipt;
    for sequence in 1..last.sequence {
        let found = journal.get(journal.receipt_of(sequence)).await.unwrap();
        assert_eq!(found.is_some(), sequence == entries[0].sequence(), "sequence {sequence}");
    }
    assert_eq!(journal.stats().ledger.book.taken, 2);
    assert_eq!(journal.stats().ledger.waiting, 2);
    assert_eq!(journal.recount().await.unwrap(), journal.stats().ledger);
    assert_eq!(journal.stats().cancelled, 2);

    // A journal that closes has made its cancellations durable.
    drop(claim);
    journal.close().await;
    store.cut_power().await;
    let journal = store.open().await;
    assert_eq!(bodies(&read(&journal.claim("s").await.unwrap(), "d").await), ["before", "after"]);
}

pub(crate) async fn dropping_an_append_cancels_nothing(store: &mut dyn Store) {
    let journal = store.open().await;
    store.stall();
    let dropped = tokio::time::timeout(Duration::from_millis(50), append(&journal, "s", "d", "hung up")).await;
    assert!(dropped.is_err());
    store.resume();
    append(&journal, "s", "d", "next").await;
    assert_eq!(bodies(&read(&journal.claim("s").await.unwrap(), "d").await), ["hung up", "next"]);
    assert_eq!(journal.stats().ledger.waiting, 2);
}

pub(crate) async fn what_was_acknowledged_survives_a_kill_and_a_power_cut(store: &mut dyn Store) {
    let mut expected = Vec::new();
    for round in 0..12 {
        let journal = store.open().await;
        let entries = read(&journal.claim("s").await.unwrap(), "d").await;
        assert_eq!(bodies(&entries), expected, "round {round}");
        assert_eq!(journal.recount().await.unwrap(), journal.stats().ledger, "round {round}");
        for number in 0..5 {
            let body = format!("{round} {number} {}", "x".repeat(number * 700));
            append(&journal, "s", "d", body.clone()).await;
            expected.push(body);
        }
        match round % 3 {
            0 => store.kill().await,
            1 => store.cut_power().await,
            _ => journal.close().await,
        }
    }
}

pub(crate) async fn sequences_grow_and_are_not_used_again(store: &mut dyn Store) {
    let (mut last, mut id) = (0, None);
    for round in 0..8 {
        let journal = store.open().await;
        assert_eq!(*id.get_or_insert(journal.id()), journal.id(), "the journal keeps its name");
        for _ in 0..3 {
            let receipt = append(&journal, "s", "d", "x").await;
            assert_eq!(receipt.journal, journal.id());
            assert!(receipt.sequence > last, "{} after {last}", receipt.sequence);
            last = receipt.sequence;
        }
        match round % 2 {
            0 => store.cut_power().await,
            _ => journal.close().await,
        }
    }
}

pub(crate) async fn many_senders_at_once_each_keep_their_order(store: &mut dyn Store) {
    let journal = store.open().await;
    let senders = (0..32).map(|sender| {
        let journal = journal.clone();
        tokio::spawn(async move {
            let mut receipts = Vec::new();
            for number in 0..20 {
                receipts.push(append(&journal, "s", "d", format!("{sender} {number}")).await);
            }
            receipts
        })
    });
    let mut receipts = Vec::new();
    for sender in senders.collect::<Vec<_>>() {
        let of_one = sender.await.unwrap();
        assert!(of_one.is_sorted_by(|one, next| one.sequence < next.sequence));
        receipts.extend(of_one);
    }
    let entries = read(&journal.claim("s").await.unwrap(), "d").await;
    assert_eq!(entries.len(), 32 * 20);
    receipts.sort_by_key(|receipt| receipt.sequence);
    assert_eq!(sequences(&entries), receipts.iter().map(|receipt| receipt.sequence).collect::<Vec<_>>());
    for sender in 0..32 {
        let prefix = format!("{sender} ");
        let of_one: Vec<_> = bodies(&entries).into_iter().filter(|body| body.starts_with(&prefix)).collect();
        assert_eq!(of_one, (0..20).map(|number| format!("{sender} {number}")).collect::<Vec<_>>());
    }
}

pub(crate) async fn a_closed_journal_refuses_and_has_all_when_opened_again(store: &mut dyn Store) {
    let journal = store.open().await;
    let receipt = append(&journal, "s", "d", "kept").await;
    let claim = journal.claim("s").await.unwrap();
    journal.close().await;
    let appended = journal.append(webhook("s", "d", "refused"), soon()).await;
    assert!(matches!(appended, Err(AppendError::Closed)), "{appended:?}");
    let claimed = journal.claim("other").await.map(|_| ());
    assert!(matches!(claimed, Err(crate::ClaimError::Closed)), "{claimed:?}");
    let recorded = claim.record(vec![record(receipt.sequence, &[EventState::Delivered])]).await;
    assert!(matches!(recorded, Err(crate::RecordError::Closed)), "{recorded:?}");
    // Nobody waits for growth that cannot come.
    assert_eq!(journal.grown(receipt.sequence).await, None);
    assert_eq!(
        journal.grown(receipt.sequence - 1).await,
        Some(receipt.sequence),
        "what came before is told all the same"
    );

    let journal = store.open().await;
    assert_eq!(bodies(&read(&journal.claim("s").await.unwrap(), "d").await), ["kept"]);
}

pub(crate) async fn what_is_appended_in_order_has_nothing_behind_one_that_failed(store: &mut dyn Store) {
    let journal = store.open().await;
    let some = |bodies: &[&'static str]| bodies.iter().map(|body| webhook("s", "d", *body)).collect::<Vec<_>>();
    let results = journal.append_in_order(some(&["one", "two", "three"]), soon()).await;
    let sequences: Vec<_> = results.into_iter().map(|result| result.unwrap().sequence).collect();
    assert!(sequences.is_sorted() && sequences.len() == 3, "{sequences:?}");
    store.stall();
    let late = journal.append_in_order(some(&["late", "later"]), Instant::now() + Duration::from_millis(100)).await;
    assert!(late.iter().all(Result::is_err), "{late:?}");
    store.resume();
    append(&journal, "s", "d", "four").await;
    let claim = journal.claim("s").await.unwrap();
    assert_eq!(bodies(&read(&claim, "d").await), ["one", "two", "three", "four"]);
}
