//! Who watches an entry is told what is made of it, and is never waited for.

use std::time::Duration;

use futures::FutureExt;
use moehog_journal::{Journal, Until, Watch};
use moehog_proto::journal::EventState;
use tokio::time::timeout;

use crate::{
    rig::{Rig, webhook},
    sink::{Plan, delivered},
};

const SOON: Duration = Duration::from_secs(2);

async fn append_watched(rig: &Rig, body: &str) -> Watch {
    let deadline = tokio::time::Instant::now() + SOON;
    rig.journal.append_watched(webhook("default", body), deadline, Until::Settled).await.unwrap().1.unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_was_mapped_is_told_while_delivery_still_works_and_what_was_recorded_after_it() {
    let rig = Rig::started();
    rig.sink.script(|request| Plan { after: Duration::from_secs(30), ..Plan::all(request, delivered) });
    let mut watch = append_watched(&rig, "anna\n!dead\n!filter").await;
    let known = timeout(SOON, watch.mapped()).await.expect("told before delivery answers");
    let events: Vec<_> = known.progress.events.iter().map(|event| (event.state(), event.reason.as_str())).collect();
    use EventState::{Dead, Filtered, Pending};
    assert_eq!(events, [(Pending, ""), (Dead, "missing_event"), (Filtered, "rule 1")]);
    assert_eq!(known.progress.events[1].detail, "no name");
    assert!(timeout(SOON, watch.settled()).await.is_err(), "delivery has not answered");
    let known = timeout(Duration::from_secs(60), watch.settled()).await.expect("told when it is recorded");
    assert_eq!(known.progress.events[0].state(), EventState::Delivered);
}

#[tokio::test(start_paused = true)]
async fn a_rejected_webhook_is_told_with_its_reason() {
    let rig = Rig::started();
    let mut watch = append_watched(&rig, "@reject").await;
    let known = timeout(SOON, watch.mapped()).await.unwrap();
    let event = &known.progress.events[0];
    assert_eq!((event.state(), &*event.reason, &*event.detail), (EventState::Dead, "unreadable_json", "line 1"));
    assert!(timeout(SOON, watch.settled()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_watcher_that_never_looks_holds_up_nobody() {
    let rig = Rig::started();
    let mut idle = Vec::new();
    for number in 0..300 {
        idle.push(append_watched(&rig, &format!("person-{number}")).await);
        rig.append(format!("other-{number}")).await;
    }
    rig.settled(Duration::from_secs(30)).await;
    assert_eq!(rig.journal.stats().ledger.book.delivered, 600);
    // the last word waits for whoever looks late
    let knows = |watch: &mut Watch| tokio::task::unconstrained(watch.settled()).now_or_never().is_some();
    assert!(idle.iter_mut().all(knows));
}
