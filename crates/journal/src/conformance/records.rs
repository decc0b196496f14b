use crate::DeadLetterQuery;

use super::*;

pub(crate) async fn the_last_record_counts_and_a_repeated_one_changes_nothing(store: &mut dyn Store) {
    use EventState::{Dead, Delivered, Pending};
    let journal = store.open().await;
    let sequence = append(&journal, "s", "d", "x").await.sequence;
    let claim = journal.claim("s").await.unwrap();
    for states in [&[Pending, Pending][..], &[Delivered, Pending], &[Delivered, Pending, Pending]] {
        for _ in 0..2 {
            claim.record(vec![record(sequence, states)]).await.unwrap();
            let entries = read(&claim, "d").await;
            assert_eq!(entries[0].progress, Some(progress(states)));
            assert_eq!(journal.stats().ledger.book.mapped, states.len() as u64);
            assert_eq!(journal.recount().await.unwrap(), journal.stats().ledger);
        }
    }
    // Several of one entry in one batch: the last counts.
    let batch = vec![record(sequence, &[Dead, Pending, Pending]), record(sequence, &[Delivered, Dead, Pending])];
    claim.record(batch).await.unwrap();
    assert_eq!(read(&claim, "d").await[0].progress, Some(progress(&[Delivered, Dead, Pending])));
    store.kill().await;
    let journal = store.open().await;
    let claim = journal.claim("s").await.unwrap();
    assert_eq!(read(&claim, "d").await[0].progress, Some(progress(&[Delivered, Dead, Pending])));

    let last = record(sequence, &[Delivered, Dead, Delivered]);
    for _ in 0..3 {
        claim.record(vec![last.clone()]).await.unwrap();
        let ledger = journal.stats().ledger;
        assert_eq!((ledger.book.settled, ledger.book.mapped, ledger.book.delivered, ledger.book.dead), (1, 3, 2, 1));
        assert_eq!(journal.recount().await.unwrap(), ledger);
    }
}

pub(crate) async fn a_settled_entry_is_never_read_again(store: &mut dyn Store) {
    let journal = store.open().await;
    let mut numbers = Vec::new();
    for number in 0..40 {
        numbers.push(append(&journal, "s", "d", number.to_string()).await.sequence);
    }
    let claim = journal.claim("s").await.unwrap();
    let settled: Vec<_> = numbers.iter().copied().filter(|sequence| sequence % 3 != 0).collect();
    let records = settled.iter().map(|sequence| record(*sequence, &[EventState::Delivered])).collect();
    claim.record(records).await.unwrap();
    let left: Vec<_> = numbers.into_iter().filter(|sequence| sequence % 3 == 0).collect();
    assert_eq!(sequences(&read(&claim, "d").await), left);
    for step in 0..3 {
        match step {
            0 => store.kill().await,
            _ => journal.close().await,
        }
        let journal = store.open().await;
        let claim = journal.claim("s").await.unwrap();
        assert_eq!(sequences(&read(&claim, "d").await), left);
        assert_eq!(journal.stats().ledger.waiting, left.len() as u64);
        drop(claim);
        journal.close().await;
    }
}

pub(crate) async fn records_survive_a_kill_at_once_and_a_power_cut_soon(store: &mut dyn Store) {
    let journal = store.open().await;
    let (one, other) = (append(&journal, "s", "d", "a").await.sequence, append(&journal, "s", "d", "b").await.sequence);
    let claim = journal.claim("s").await.unwrap();
    claim.record(vec![record(one, &[EventState::Delivered])]).await.unwrap();
    store.kill().await;

    let journal = store.open().await;
    let claim = journal.claim("s").await.unwrap();
    assert_eq!(sequences(&read(&claim, "d").await), [other]);
    claim.record(vec![record(other, &[EventState::Delivered, EventState::Pending])]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    store.cut_power().await;

    let journal = store.open().await;
    let entries = read(&journal.claim("s").await.unwrap(), "d").await;
    assert_eq!(sequences(&entries), [other]);
    assert_eq!(entries[0].progress, Some(progress(&[EventState::Delivered, EventState::Pending])));
}

pub(crate) async fn records_of_what_is_not_there_do_no_harm(store: &mut dyn Store) {
    let journal = store.open().await;
    let sequence = append(&journal, "s", "d", "a").await.sequence;
    let claim = journal.claim("s").await.unwrap();
    let records = [0, sequence + 50, sequence, 1 << 60].map(|sequence| record(sequence, &[EventState::Delivered]));
    claim.record(records.into()).await.unwrap();
    claim.record(Vec::new()).await.unwrap();
    let ledger = journal.stats().ledger;
    assert_eq!((ledger.book.taken, ledger.book.settled, ledger.book.delivered), (1, 1, 1));
    assert_eq!(journal.recount().await.unwrap(), ledger);
    drop(claim);
    journal.close().await;

    // What is appended later is not taken for settled.
    let journal = store.open().await;
    let mut later = Vec::new();
    for _ in 0..60 {
        later.push(append(&journal, "s", "d", "b").await.sequence);
    }
    assert_eq!(sequences(&read(&journal.claim("s").await.unwrap(), "d").await), later);
}

pub(crate) async fn dead_letters_are_listed_newest_first(store: &mut dyn Store) {
    use EventState::{Dead, Delivered, Pending};
    let journal = store.open().await;
    let mut numbers = Vec::new();
    for number in 0..6 {
        numbers.push(append(&journal, ["a", "b"][number % 2], "d", number.to_string()).await.sequence);
    }
    let (a, b) = (journal.claim("a").await.unwrap(), journal.claim("b").await.unwrap());
    a.record(vec![record(numbers[0], &[Dead, Delivered, Dead]), record(numbers[2], &[Delivered])]).await.unwrap();
    b.record(vec![record(numbers[1], &[Dead]), record(numbers[3], &[Dead, Pending])]).await.unwrap();
    a.record(vec![record(numbers[4], &[Dead])]).await.unwrap();

    let list = async |source: Option<&str>, before, limit| {
        let query = DeadLetterQuery { source: source.map(str::to_owned), before, limit };
        let letters = journal.dead_letters(query).await.unwrap();
        letters.iter().map(|letter| (letter.receipt.sequence, letter.event.position)).collect::<Vec<_>>()
    };
    let all = [(numbers[4], 0), (numbers[3], 0), (numbers[1], 0), (numbers[0], 0), (numbers[0], 2)];
    assert_eq!(list(None, 0, 0).await, all);
    assert_eq!(list(None, 0, 1).await, all[..1]);
    assert_eq!(list(None, 0, 4).await, all, "an entry is not split");
    assert_eq!(list(None, numbers[3], 2).await, all[2..4 + 1], "the next page");
    assert_eq!(list(Some("b"), 0, 0).await, all[1..3]);
    assert_eq!(list(Some("nobody"), 0, 0).await, []);
    assert_eq!(journal.stats().dead_letters, 5);

    let letter = journal.dead_letters(DeadLetterQuery { limit: 1, ..Default::default() }).await.unwrap().remove(0);
    assert_eq!(letter.header.source, "a");
    assert_eq!(letter.event.reason, "rejected");
    assert_eq!(letter.answer.unwrap().answer, "bad event");
    drop((a, b));
    journal.close().await;
    let journal = store.open().await;
    assert_eq!(journal.dead_letters(DeadLetterQuery::default()).await.unwrap().len(), 5);
    assert_eq!(journal.stats().dead_letters, 5);
}
