//! Every wait has a cause, and a time where it has one.

use std::time::Duration;

use moehog_relay::{GateState, LaneStatus, Wait, WaitsFor};
use tokio::time::sleep;

use crate::{
    rig::Rig,
    sink::{Plan, delivered, hold, refused, retry},
};

const SECOND: Duration = Duration::from_secs(1);

async fn waits(rig: &Rig, sequence: u64) -> Vec<Wait> {
    rig.status().waits("shop", "default", sequence).await
}

fn lane(rig: &Rig) -> LaneStatus {
    rig.status().lanes().remove(0)
}

fn now_ms() -> i64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i64
}

fn words(waits: &[Wait]) -> Vec<&str> {
    waits.iter().map(|wait| wait.waits_for.word()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_suspect_waits_for_evidence_and_its_person_for_it() {
    let rig = Rig::started();
    rig.sink.script(|request| {
        Plan::each(request, |event| if event.distinct_id == "bad" { refused() } else { delivered() })
    });
    let first = rig.append("bad").await;
    sleep(20 * SECOND).await;
    let second = rig.append("bad").await;
    sleep(SECOND).await;
    let of_first = waits(&rig, first).await;
    let next = of_first[0].next_try_ms.unwrap();
    assert_eq!((of_first.len(), of_first[0].event, of_first[0].waits_for), (1, Some((0, 0)), WaitsFor::Evidence));
    assert!(next > now_ms() && next <= now_ms() + 30_000);
    let behind = Wait { event: Some((0, 0)), waits_for: WaitsFor::Person(first), next_try_ms: None };
    assert_eq!(waits(&rig, second).await, [behind]);
    let status = lane(&rig);
    assert_eq!((status.suspects, status.unsettled, status.delayed_since_ms), (1, 2, None), "{status:?}");
    assert_eq!(status.suspected_since_ms, status.oldest_received_at_ms);
    let told = status.next_try.unwrap();
    assert!(told.waits_for == WaitsFor::Evidence && told.at_ms > now_ms(), "{told:?}");
    let unmapped = rig.status().unmapped("shop", "default").unwrap();
    assert_eq!((unmapped.mapped, unmapped.since_ms), (2, None), "all is mapped: nobody waits for that");
    rig.append("carl").await;
    sleep(40 * SECOND).await;
    assert_eq!(waits(&rig, first).await, []);
    let next = waits(&rig, second).await;
    assert_eq!(words(&next), ["evidence"], "the next one of its person is a suspect for itself");
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_transformer_or_a_destination_says_so_and_until_when() {
    let rig = Rig::started();
    rig.mapper.0.lock().down = true;
    let first = rig.append("anna").await;
    sleep(10 * SECOND).await;
    let wait = waits(&rig, first).await[0];
    assert_eq!((wait.event, wait.waits_for), (None, WaitsFor::Transformer));
    assert!(wait.next_try_ms.is_some_and(|at| at > now_ms()), "{wait:?}");
    assert_eq!(lane(&rig).next_try.unwrap().waits_for, WaitsFor::Transformer);
    assert!(rig.status().unmapped("shop", "default").unwrap().since_ms.is_some());
    rig.sink.script(|request| Plan::all(request, hold));
    rig.mapper.0.lock().down = false;
    sleep(30 * SECOND).await;
    let status = lane(&rig);
    assert!(matches!(status.state, GateState::Held { .. }));
    let (told, wait) = (status.next_try.unwrap(), waits(&rig, first).await[0]);
    assert_eq!((told.waits_for, Some(told.at_ms)), (WaitsFor::Destination, wait.next_try_ms));
    assert_eq!(wait.event, Some((0, 0)));
    let delayed = status.delayed_since_ms;
    assert_eq!(delayed, status.oldest_received_at_ms, "no evidence would help");
}

#[tokio::test(start_paused = true)]
async fn an_event_that_is_sent_again_later_says_when() {
    let rig = Rig::started();
    rig.sink.script(|request| {
        Plan::each(request, |event| if event.distinct_id == "anna" { retry(200_000) } else { delivered() })
    });
    let sequence = rig.append("anna\nbob").await;
    sleep(5 * SECOND).await;
    let wait = waits(&rig, sequence).await[0];
    assert_eq!((wait.event, wait.waits_for), (Some((0, 0)), WaitsFor::Retry));
    assert!(wait.next_try_ms.is_some_and(|at| at > now_ms() + 150_000), "{wait:?}");
    assert_eq!(waits(&rig, sequence + 1).await[0].waits_for, WaitsFor::Room, "it is not there");
}
