use moehog_proto::journal::Mapping;

use crate::{ClaimError, Crashed, RecordError};

use super::*;

pub(crate) async fn a_source_is_claimed_once_and_free_when_the_claim_is_dropped(store: &mut dyn Store) {
    let journal = store.open().await;
    let claim = journal.claim("a").await.unwrap();
    match journal.claim("a").await {
        Err(ClaimError::Taken { source_name }) => assert_eq!(source_name, "a"),
        other => panic!("claimed twice: {other:?}"),
    }
    let of_another_source = journal.claim("b").await.unwrap();
    assert!(of_another_source.epoch() > claim.epoch());
    drop(claim);
    let again = journal.claim("a").await.unwrap();
    assert!(again.epoch() > of_another_source.epoch());
}

pub(crate) async fn a_claim_of_a_dead_process_is_refused(store: &mut dyn Store) {
    let journal = store.open().await;
    let receipt = append(&journal, "s", "d", "x").await;
    let stale = journal.claim("s").await.unwrap();
    stale.record(vec![record(receipt.sequence, &[EventState::Pending])]).await.unwrap();
    store.kill().await;

    let reopened = store.open().await;
    let claim = reopened.claim("s").await.unwrap();
    let refused = stale.record(vec![record(receipt.sequence, &[EventState::Dead])]).await;
    assert!(refused.is_err(), "a record under a stale claim counts");
    let started = stale.transform_started(&[receipt.sequence]).await;
    assert!(started.is_err(), "a call under a stale claim counts");
    assert!(!matches!(refused, Err(RecordError::StaleClaim { epoch }) if epoch != stale.epoch()));
    let entry = &read(&claim, "d").await[0];
    assert_eq!(entry.progress.as_ref().unwrap().events[0].state(), EventState::Pending);
    drop(stale);
    claim.record(vec![record(receipt.sequence, &[EventState::Delivered])]).await.unwrap();
    assert!(matches!(reopened.claim("s").await, Err(ClaimError::Taken { .. })), "a stale claim's end frees nothing");
}

/// A claim that recorded nothing has left nothing that a later one could be mistaken for.
pub(crate) async fn epochs_grow_over_restarts(store: &mut dyn Store) {
    let mut last = 0;
    for round in 0..6 {
        let journal = store.open().await;
        let sequence = append(&journal, "s", "d", "x").await.sequence;
        let claim = journal.claim("s").await.unwrap();
        assert!(claim.epoch() > last, "{} after {last}", claim.epoch());
        last = claim.epoch();
        claim.record(vec![record(sequence, &[EventState::Delivered])]).await.unwrap();
        drop(claim);
        match round % 2 {
            0 => store.kill().await,
            _ => journal.close().await,
        }
    }
}

pub(crate) async fn what_is_decided_is_told_until_the_entry_is_settled(store: &mut dyn Store) {
    let journal = store.open().await;
    let mut numbers = Vec::new();
    for _ in 0..4 {
        numbers.push(append(&journal, "s", "d", "x").await.sequence);
    }
    let mapping = |revision: &str| Mapping { revision: revision.into(), text: format!("text of {revision}").into() };
    let claim = journal.claim("s").await.unwrap();
    claim.decide(&mapping("r1"), &numbers[..3]).await.unwrap();
    claim.decide(&mapping("r2"), &numbers[1..2]).await.unwrap();
    // an entry may be recorded before all of its events are sent
    let open = EventOutcome { state: EventState::Pending.into(), ..EventOutcome::default() };
    let progress = Progress { events: vec![open], ..Progress::default() };
    claim.record(vec![Record { sequence: numbers[0], progress: progress.into(), settled: false }]).await.unwrap();
    claim
        .record(vec![Record { sequence: numbers[2], progress: Progress::default().into(), settled: true }])
        .await
        .unwrap();
    let expected = [Some(mapping("r1")), Some(mapping("r2")), None];
    let decided = |entries: &[Entry]| entries.iter().map(|entry| entry.decided.clone()).collect::<Vec<_>>();
    assert_eq!(decided(&read(&claim, "d").await), expected);
    store.kill().await;
    let journal = store.open().await;
    let claim = journal.claim("s").await.unwrap();
    assert_eq!(decided(&read(&claim, "d").await), expected);
    claim.decide(&mapping("r2"), &numbers[3..]).await.unwrap();
    store.kill().await;
    let journal = store.open().await;
    let claim = journal.claim("s").await.unwrap();
    let expected = [Some(mapping("r1")), Some(mapping("r2")), Some(mapping("r2"))];
    assert_eq!(decided(&read(&claim, "d").await), expected);
}

pub(crate) async fn a_transform_under_way_when_the_process_died_is_told(store: &mut dyn Store) {
    let journal = store.open().await;
    let mut numbers = Vec::new();
    for _ in 0..4 {
        numbers.push(append(&journal, "s", "d", "x").await.sequence);
    }
    let claim = journal.claim("s").await.unwrap();
    claim.transform_started(&numbers[..1]).await.unwrap();
    claim.transform_ended(&numbers[..1]).await.unwrap();
    claim.transform_started(&numbers[1..2]).await.unwrap();
    claim.transform_started(&numbers[2..]).await.unwrap();
    let crashed = |entries: &[Entry]| entries.iter().map(|entry| entry.crashed).collect::<Vec<_>>();
    assert_eq!(crashed(&read(&claim, "d").await), [Crashed::default(); 4], "nothing has died yet");
    store.kill().await;

    let (alone, together) = (Crashed { alone: 1, together: 0 }, Crashed { alone: 0, together: 1 });
    let journal = store.open().await;
    let claim = journal.claim("s").await.unwrap();
    assert_eq!(crashed(&read(&claim, "d").await), [Crashed::default(), alone, together, together]);
    assert_eq!(journal.get(journal.receipt_of(numbers[1])).await.unwrap().unwrap().crashed, alone);
}
