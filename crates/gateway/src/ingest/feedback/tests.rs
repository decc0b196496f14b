use moehog_journal::{NewEntry, memory::Memory};
use moehog_proto::journal::{EventOutcome, EventState};

use super::*;

fn feedback() -> Feedback {
    Feedback::new(&config::Feedback { wait: Duration::from_millis(300), at_once: 2 }, None)
}

fn now_ms() -> i64 {
    moehog_runtime::epoch_ms()
}

fn header(destination: &str, received_at_ms: i64) -> EntryHeader {
    EntryHeader { source: "s".into(), destination: destination.into(), received_at_ms, ..EntryHeader::default() }
}

async fn append(journal: &Memory, destination: &str, received_at_ms: i64) {
    let entry = NewEntry { header: header(destination, received_at_ms), body: "x".into() };
    journal.append(entry, Instant::now() + Duration::from_secs(1)).await.unwrap();
}

#[test]
fn what_looks_like_a_list_or_cannot_be_looked_at_cheaply_waits_for_nothing() {
    let feedback = feedback();
    for body in [
        &br#"{"event":"e","distinct_id":"u"}"#[..],
        b"",
        b"api_key=a&event=e",
        br#"{"event":"events","properties":{"batches":"batch"}"#,
        &[b' '; 64 * 1024],
    ] {
        assert!(feedback.looks_like_one_event(body), "{}", String::from_utf8_lossy(body));
    }
    for body in [
        &br#"{"app_name":"Shop","events":[{}]}"#[..],
        br#"{"events": ["#,
        br#"{"events""#,
        b"{\"x\":\"events\",\"events\"\n : []}",
        br#"{"api_key":"a","batch":[]}"#,
        br#"[{"event":"e"}]"#,
        b" \r\n[",
        b"\xef\xbb\xbf [",
        &[b' '; 64 * 1024 + 1],
    ] {
        assert!(!feedback.looks_like_one_event(body), "{}", String::from_utf8_lossy(body));
    }
}

#[tokio::test(start_paused = true)]
async fn a_lane_with_256_waiting_or_an_old_one_catches_up_no_more_and_another_does() {
    let (journal, feedback) = (Memory::new(), feedback());
    let catches_up = |destination: &str| feedback.catches_up(&journal, &header(destination, 0));
    assert!(catches_up("full"));
    tokio::time::advance(LOOK_EVERY).await;
    for _ in 0..255 {
        append(&journal, "full", now_ms() + 60_000).await;
    }
    assert!(catches_up("full"));
    assert!(!catches_up("full"), "the one before counts although the look at the lanes does not show it yet");
    append(&journal, "old", now_ms() - 150).await;
    append(&journal, "young", now_ms() + 60_000).await;
    tokio::time::advance(LOOK_EVERY).await;
    assert!(!catches_up("old"));
    assert!(catches_up("young") && catches_up("empty"));
    append(&journal, "full", now_ms() + 60_000).await;
    tokio::time::advance(LOOK_EVERY).await;
    assert!(!catches_up("full"));
}

#[test]
fn a_sender_asks_for_seconds_and_gets_three_at_most() {
    for (lines, seconds) in [
        (&["wait=2"][..], Some(2)),
        (&["respond-async, Wait = 1"], Some(1)),
        (&["return=minimal", "wait=\"3\"; foo=bar"], Some(3)),
        (&["wait=100"], Some(3)),
        (&["wait=0"], None),
        (&["wait=soon"], None),
        (&["wait"], None),
        (&["waiting=2"], None),
        (&[], None),
    ] {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(PREFER, line.parse().unwrap());
        }
        assert_eq!(preferred_seconds(&headers), seconds, "{lines:?}");
    }
}

#[tokio::test]
async fn a_wait_of_zero_watches_nothing_unless_the_sender_asks() {
    let (journal, off) = (Memory::new(), Feedback::new(&config::Feedback { wait: Duration::ZERO, at_once: 2 }, None));
    let plan = |prefers| off.plan(&journal, &header("d", 0), Some(b"{}"), prefers);
    assert!(matches!(plan(None), Plan::Append(None)));
    let waits = Wanted::Settled { seconds: 2 };
    assert!(matches!(plan(Some(2)), Plan::Append(Some(Wait { wanted, .. })) if wanted == waits));
}

#[tokio::test]
async fn what_was_handed_to_other_lanes_is_waited_for_and_counted_as_what_became_of_it_there() {
    let journal = Memory::new();
    let entry = |destination: &str| NewEntry { header: header(destination, 0), body: "x".into() };
    let soon = Instant::now() + Duration::from_secs(5);
    let (receipt, watch) = journal.append_watched(entry("rule:a,b"), soon, Until::Settled).await.unwrap();
    let handed = [journal.append(entry("a"), soon).await.unwrap(), journal.append(entry("b"), soon).await.unwrap()];
    let event = |state: EventState, to: Option<Receipt>| EventOutcome {
        state: state.into(),
        routed_to: to.map(|receipt| receipt.to_string()).unwrap_or_default(),
        ..EventOutcome::default()
    };
    let claim = journal.claim("s").await.unwrap();
    let settle = async |receipt: Receipt, events: Vec<EventOutcome>| {
        let progress = Progress { events, ..Progress::default() };
        let record = moehog_journal::Record { sequence: receipt.sequence, progress: progress.into(), settled: true };
        claim.record(vec![record]).await.unwrap();
    };
    let [a, b] = handed.map(|receipt| event(EventState::Filtered, Some(receipt)));
    settle(receipt, vec![a.clone(), b, event(EventState::Filtered, None), a]).await;
    let known = watch.unwrap().settled().await;
    let mut settled = Box::pin(followed(&journal, &known.progress));
    assert!(tokio::time::timeout(Duration::from_millis(50), &mut settled).await.is_err(), "nothing is final yet");
    settle(handed[0], vec![event(EventState::Delivered, None), event(EventState::Dead, None)]).await;
    assert!(tokio::time::timeout(Duration::from_millis(50), &mut settled).await.is_err(), "`b` is not final yet");
    settle(handed[1], vec![event(EventState::DeliveredDegraded, None)]).await;
    let book = settled.await.unwrap();
    assert_eq!((book.delivered, book.delivered_degraded, book.dead, book.filtered), (1, 1, 1, 1));
    assert_eq!(book.mapped, 4);
}

#[tokio::test]
async fn only_some_answers_wait_at_once_and_each_gives_its_turn_back() {
    let (journal, feedback) = (Memory::new(), feedback());
    let plan = |prefers| match feedback.plan(&journal, &header("d", 0), Some(b"{}"), prefers) {
        Plan::Append(wait) => wait,
        Plan::Again(_) => panic!("nothing was refused"),
    };
    let (first, second) = (plan(None), plan(None));
    assert!(first.is_some() && second.is_some() && plan(None).is_none());
    assert!(plan(Some(1)).is_some(), "who asks for it waits all the same");
    drop(first);
    assert!(plan(None).is_some());
    // an answer gives its turn back when it is given
    let listening = Listening { wait: second.unwrap(), watch: None };
    let receipt = journal.receipt_of(1);
    assert!(matches!(feedback.said(&journal, Instant::now(), receipt, Some(listening)).await, Said::Taken));
    let (third, fourth) = (plan(None), plan(None));
    assert!(third.is_some() && fourth.is_some());
}
