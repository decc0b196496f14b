use crate::{LaneStats, Ledger};

use super::*;

fn closes(ledger: &Ledger) {
    let book = &ledger.book;
    assert_eq!(book.taken, book.settled + ledger.waiting + book.damaged, "{ledger:?}");
    let final_ones = book.delivered + book.delivered_degraded + book.filtered + book.duplicate + book.dead;
    assert_eq!(book.mapped, final_ones + ledger.in_flight, "{ledger:?}");
}

pub(crate) async fn the_books_agree_with_a_recount_at_every_step(store: &mut dyn Store) {
    use EventState::{Dead, Delivered, DeliveredDegraded, Duplicate, Filtered, Pending};
    let journal = store.open().await;
    let claim = journal.claim("s").await.unwrap();
    let check = async || {
        let ledger = journal.stats().ledger;
        assert_eq!(journal.recount().await.unwrap(), ledger);
        closes(&ledger);
        ledger
    };
    assert_eq!(check().await, Ledger::default());
    let mut numbers = Vec::new();
    for taken in 1..=6 {
        numbers.push(append(&journal, "s", "d", "x").await.sequence);
        assert_eq!(check().await.waiting, taken);
    }
    claim.record(vec![record(numbers[0], &[Delivered, Pending, Pending, Filtered])]).await.unwrap();
    assert_eq!(check().await.in_flight, 2);
    claim.record(vec![record(numbers[0], &[Delivered, Dead, DeliveredDegraded, Filtered])]).await.unwrap();
    assert_eq!(check().await.in_flight, 0);
    claim.record(vec![record(numbers[1], &[Duplicate]), record(numbers[2], &[])]).await.unwrap();
    let ledger = check().await;
    assert_eq!((ledger.book.settled, ledger.waiting), (3, 3));
    let book = ledger.book;
    assert_eq!((book.mapped, book.delivered, book.delivered_degraded), (5, 1, 1));
    assert_eq!((book.filtered, book.duplicate, book.dead), (1, 1, 1));
}

pub(crate) async fn the_books_survive_restarts(store: &mut dyn Store) {
    let mut expected = Ledger::default();
    for round in 0..6 {
        let journal = store.open().await;
        assert_eq!(journal.stats().ledger, expected, "round {round}");
        assert_eq!(journal.recount().await.unwrap(), expected, "round {round}");
        let claim = journal.claim("s").await.unwrap();
        for states in [&[EventState::Delivered, EventState::Dead][..], &[EventState::Pending], &[EventState::Filtered]]
        {
            let sequence = append(&journal, "s", "d", "x".repeat(900)).await.sequence;
            claim.record(vec![record(sequence, states)]).await.unwrap();
        }
        expected = journal.stats().ledger;
        closes(&expected);
        assert_eq!((expected.book.taken, expected.book.settled), (3 * (round + 1), 2 * (round + 1)));
        drop(claim);
        match round % 2 {
            0 => store.kill().await,
            _ => journal.close().await,
        }
    }
}

pub(crate) async fn lanes_tell_what_waits(store: &mut dyn Store) {
    let journal = store.open().await;
    assert_eq!(journal.lanes(), []);
    let mut numbers = Vec::new();
    for number in 0..6 {
        numbers.push(append(&journal, "s", ["x", "y"][number % 2], "b").await.sequence);
    }
    let lanes = |journal: &Arc<dyn Journal>| {
        let mut lanes = journal.lanes();
        for lane in ["x", "y", "z"] {
            let listed = lanes.iter().find(|it| it.destination == lane);
            assert_eq!(journal.lane("s", lane).as_ref(), listed, "one lane and all of them");
            assert_eq!(journal.lane("z", lane), None);
        }
        lanes.sort_by(|one, other| one.destination.cmp(&other.destination));
        lanes
    };
    let told = |lane: &LaneStats| (lane.source.clone(), lane.destination.clone(), lane.unsettled);
    let expected = [("s".to_owned(), "x".to_owned(), 3), ("s".to_owned(), "y".to_owned(), 3)];
    assert_eq!(lanes(&journal).iter().map(told).collect::<Vec<_>>(), expected);
    for (lane, oldest) in lanes(&journal).iter().zip(&numbers) {
        assert!(lane.oldest <= *oldest && lane.oldest > 0, "{lane:?}");
        assert_eq!(lane.oldest_received_at_ms, 1_700_000_000_000);
    }
    let claim = journal.claim("s").await.unwrap();
    let settle = async |numbers: &[Sequence]| {
        claim.record(numbers.iter().map(|number| record(*number, &[EventState::Delivered])).collect()).await.unwrap();
    };
    settle(&[numbers[0], numbers[1], numbers[3]]).await;
    assert_eq!(lanes(&journal).iter().map(|lane| lane.unsettled).collect::<Vec<_>>(), [2, 1]);
    settle(&[numbers[5]]).await;
    assert_eq!(lanes(&journal).iter().map(told).collect::<Vec<_>>(), [("s".to_owned(), "x".to_owned(), 2)]);
    store.kill().await;
    let journal = store.open().await;
    assert_eq!(lanes(&journal).iter().map(told).collect::<Vec<_>>(), [("s".to_owned(), "x".to_owned(), 2)]);
    assert!(lanes(&journal)[0].oldest <= numbers[2]);
}
