//! Dead letters that are tried again: mapped by what is in force then, and sent without their neighbours.

use std::time::Duration;

use moehog_journal::{DeadLetterQuery, Journal, Letters, Revised, Revision};
use moehog_proto::journal::EventState;
use moehog_relay::GiveUpError;

use crate::{
    rig::Rig,
    sink::{Plan, delivered, hold, rejected},
};

const SOON: Duration = Duration::from_secs(10);

/// Has all dead letters tried again, and says how many there were.
async fn retry_all(rig: &Rig) -> u64 {
    let query = DeadLetterQuery { limit: 10_000, ..DeadLetterQuery::default() };
    let mut receipts: Vec<_> =
        rig.journal.dead_letters(query).await.unwrap().into_iter().map(|letter| letter.receipt).collect();
    receipts.dedup();
    let letters = receipts.into_iter().map(|receipt| Letters { receipt, places: Vec::new() }).collect();
    let revised = rig.journal.revise(letters, Revision::Retry).await.unwrap();
    revised.into_iter().map(|revised| if let Revised::Events(events) = revised { events } else { 0 }).sum()
}

/// How many events all calls held.
fn sent(rig: &Rig) -> usize {
    rig.sink.state().calls.iter().map(|(_, events)| events.len()).sum()
}

#[tokio::test(start_paused = true)]
async fn what_a_mistake_in_the_mapping_killed_arrives_once_it_is_mended_and_nothing_else_is_sent_again() {
    let rig = Rig::started();
    for number in 0..40 {
        rig.append(format!("anna{number}\n!mended{number}\n!filter\n!mended-too{number}")).await;
    }
    rig.append("@unread\nbob\ncarol").await;
    rig.settled(SOON).await;
    let book = rig.journal.stats().ledger.book;
    assert_eq!((book.delivered, book.filtered, book.dead, sent(&rig)), (40, 40, 81, 40));

    // it is retried before it is mended: it is dead again, for the same reason
    assert_eq!(retry_all(&rig).await, 81);
    rig.settled(SOON).await;
    assert_eq!((rig.journal.stats().ledger.book.dead, sent(&rig)), (81, 40));

    rig.mapper.0.lock().revision = 1;
    // new webhooks come meanwhile
    let later = rig.append("dora").await;
    assert_eq!(retry_all(&rig).await, 81);
    rig.settled(SOON).await;
    let book = rig.journal.stats().ledger.book;
    assert_eq!((book.delivered, book.filtered, book.dead), (40 + 80 + 2 + 1, 40, 0), "{book:?}");
    assert_eq!(sent(&rig), 40 + 82 + 1, "no neighbour is sent again");
    assert_eq!(retry_all(&rig).await, 0);
    assert_eq!(rig.outcome(later, 0).await.state(), EventState::Delivered);
    assert_eq!(rig.progress(1).await.retries, 2);
}

#[tokio::test(start_paused = true)]
async fn a_process_that_dies_in_the_middle_goes_on_with_what_was_asked_for() {
    let mut rig = Rig::started();
    for number in 0..40 {
        rig.append(format!("anna{number}\n!mended{number}")).await;
    }
    rig.settled(SOON).await;
    rig.mapper.0.lock().revision = 1;
    rig.sink.script(|request| Plan { after: Duration::from_secs(3), ..Plan::all(request, delivered) });
    assert_eq!(retry_all(&rig).await, 40);
    tokio::time::sleep(Duration::from_secs(1)).await;
    rig.crash().await;
    rig.start();
    rig.settled(SOON).await;
    let book = rig.journal.stats().ledger.book;
    assert_eq!((book.delivered, book.dead), (80, 0), "{book:?}");
}

#[tokio::test(start_paused = true)]
async fn what_posthog_refused_is_sent_again_under_the_same_uuid() {
    let rig = Rig::started();
    rig.sink.script(|request| Plan::all(request, rejected));
    let sequence = rig.append("anna").await;
    rig.settled(SOON).await;
    let dead = rig.outcome(sequence, 0).await;
    assert_eq!(dead.state(), EventState::Dead);
    rig.sink.script(|request| Plan::all(request, delivered));
    assert_eq!(retry_all(&rig).await, 1);
    rig.settled(SOON).await;
    let now = rig.outcome(sequence, 0).await;
    assert_eq!((now.state(), now.uuid), (EventState::Delivered, dead.uuid));
}

#[tokio::test(start_paused = true)]
async fn what_was_routed_is_tried_again_where_it_was_routed_to() {
    let rig = Rig::started();
    rig.sink.script(|request| {
        Plan::each(request, |event| if event.destination == "eu" { rejected() } else { delivered() })
    });
    rig.append_to("rule:main,eu,us", "anna >eu\nbob >us\ncarol >eu").await;
    rig.until("all is settled", SOON, |rig| rig.journal.stats().ledger.waiting == 0).await;
    rig.sink.script(|request| Plan::all(request, delivered));
    let dead = rig.journal.stats().ledger.book.dead;
    assert_eq!(retry_all(&rig).await, dead);
    rig.settled(SOON).await;
    let book = rig.journal.stats().ledger.book;
    assert_eq!((book.delivered, book.dead), (3, 0), "{book:?}");
}

#[tokio::test(start_paused = true)]
async fn a_held_lane_is_given_up_and_what_it_kept_is_mapped_anew() {
    let rig = Rig::started();
    rig.sink.script(|request| Plan::all(request, hold));
    for number in 0..1200 {
        rig.append(format!("anna{number}\n!filter\nbob{number}")).await;
    }
    rig.append("@big\ncarol").await;
    let other = rig.append_from("crm", "default", "dora").await;
    tokio::time::sleep(SOON).await;
    let unknown = rig.status().give_up("shop", "eu").await;
    assert!(matches!(unknown, Err(GiveUpError::Unknown { .. })), "{unknown:?}");
    let given_up = rig.status().give_up("shop", "default").await.unwrap();
    assert_eq!(given_up.webhooks, 1201);
    let ledger = rig.journal.stats().ledger;
    assert_eq!((ledger.waiting, ledger.book.dead), (1, given_up.events), "the other source waits still");
    assert_eq!(rig.outcome(other, 0).await.state(), EventState::Pending);
    // there is nothing of it that could be given up again
    assert!(rig.status().give_up("shop", "default").await.is_err());

    rig.sink.script(|request| Plan::all(request, delivered));
    rig.sink.state().sent.clear();
    rig.mapper.0.lock().revision = 1;
    assert_eq!(retry_all(&rig).await, given_up.events);
    rig.settled(Duration::from_secs(600)).await;
    let book = rig.journal.stats().ledger.book;
    assert_eq!((book.delivered, book.filtered, book.dead), (2400 + 1 + 1, 1200, 0), "{book:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_on_its_way_is_not_given_up() {
    let mut rig = Rig::started();
    rig.sink.script(|request| Plan { after: Duration::from_secs(5), ..Plan::all(request, delivered) });
    rig.append("anna").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let open = rig.status().give_up("shop", "default").await;
    assert!(matches!(open, Err(GiveUpError::Open)), "{open:?}");
    rig.settled(SOON).await;
    assert_eq!(rig.journal.stats().ledger.book.delivered, 1);
    rig.stop().await;
}
