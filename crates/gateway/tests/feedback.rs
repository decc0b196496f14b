//! What an answer says beyond "taken", and how long it waits for that.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::{io::Read, num::NonZeroUsize, sync::Arc, time::Duration};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use moehog_coding::{Coding, Decoder, made::coded};
use moehog_gateway::Feedback;
use moehog_journal::{
    Claim, Entry, Journal, ReadLimit, Record,
    memory::{Appends, Memory},
};
use moehog_proto::{
    Blame, Reason,
    journal::{EventOutcome, EventState, Progress},
};
use support::{Gateway, Setup, TUTORIAL, post, with};
use tokio::time::{Instant, sleep, timeout};

const WAIT: Duration = Duration::from_millis(300);
const UNFILLED: &str = "the placeholder in `distinct_id` was not filled; MoEngage fills {{UserAttribute['ID']}}";

fn start() -> Gateway {
    Setup { feedback: Feedback { wait: WAIT, at_once: 16 }, ..Setup::default() }.start()
}

fn event(state: EventState, why: Reason) -> EventOutcome {
    let mut event = EventOutcome { state: state.into(), ..EventOutcome::default() };
    event.explain(why);
    event
}

fn unfilled() -> Reason {
    Reason::new(Blame::Body, "unresolved_placeholder", "the placeholder in `distinct_id` was not filled")
        .about("distinct_id")
        .remedied("MoEngage fills {{UserAttribute['ID']}}")
}

/// What becomes of a body, by its words: `unfilled` and `rule` are dead, `mapped` waits for delivery.
fn mapped(entry: &Entry) -> Progress {
    let mut body = Vec::new();
    Decoder::new(&entry.header.content_encoding, &entry.body, 1 << 20).read_to_end(&mut body).unwrap();
    let body = String::from_utf8_lossy(&body);
    let event = if body.contains("unfilled") {
        event(EventState::Dead, unfilled())
    } else if body.contains("rule") {
        event(EventState::Dead, Reason::new(Blame::Mapping, "rule_failed", "rule 3 made nothing"))
    } else {
        event(EventState::Pending, Reason::default())
    };
    Progress { events: vec![event], ..Progress::default() }
}

/// A relay that maps and announces, and after `delivers` records all as final; none is never.
async fn relay(journal: Arc<Memory>, delivers: Option<Duration>) {
    let claim = journal.claim("capture").await.unwrap();
    let limit = ReadLimit { max_entries: NonZeroUsize::MAX, max_bytes: usize::MAX };
    let (mut from, mut seen) = (0, 0);
    loop {
        seen = journal.grown(seen).await.expect("the journal is open");
        let batch = claim.read("eu", from, limit).await.unwrap();
        from = batch.next;
        for entry in batch.entries {
            let progress = Arc::new(mapped(&entry));
            claim.announce(entry.sequence(), &progress);
            if let Some(after) = delivers {
                let claim = claim.clone();
                tokio::spawn(async move { deliver(&*claim, entry.sequence(), &progress, after).await });
            }
        }
    }
}

async fn deliver(claim: &dyn Claim, sequence: u64, progress: &Progress, after: Duration) {
    sleep(after).await;
    let mut progress = progress.clone();
    for event in progress.events.iter_mut().filter(|event| event.state() == EventState::Pending) {
        event.set_state(EventState::Delivered);
    }
    claim.record(vec![Record { sequence, progress: progress.into(), settled: true }]).await.unwrap();
}

fn body(word: &str) -> Request<Full<Bytes>> {
    post("/capture/", format!(r#"{{"api_key":"phc_eu","event":"e","distinct_id":"{word}"}}"#))
}

fn preferring(word: &str, seconds: &str) -> Request<Full<Bytes>> {
    with(body(word), "prefer", &format!("wait={seconds}"))
}

#[tokio::test(start_paused = true)]
async fn a_body_at_fault_is_422_with_what_is_wrong_where_and_what_to_do() {
    let gateway = start();
    tokio::spawn(relay(gateway.journal.clone(), None));
    let reply = gateway.send(with(body("unfilled"), "traceparent", TRACEPARENT)).await;
    assert_eq!(reply.status, 422, "{}", reply.json);
    let text = |name: &str| reply.json[name].as_str().unwrap();
    assert_eq!((text("status"), text("code"), text("field")), ("error", "unresolved_placeholder", "distinct_id"));
    assert_eq!(text("message"), "the placeholder in `distinct_id` was not filled");
    assert_eq!(text("remedy"), "MoEngage fills {{UserAttribute['ID']}}");
    assert_eq!(text("trace_id"), "4bf92f3577b34da6a3ce929d0e0e4736");
    let reason = serde_json::json!({"position": 0, "reason": "unresolved_placeholder", "detail": UNFILLED});
    assert_eq!(reply.json["reasons"], serde_json::json!([reason]));
    let receipt = gateway.journal.receipt(text("receipt")).unwrap();
    let kept = gateway.journal.get(receipt).await.unwrap().unwrap();
    assert!(String::from_utf8_lossy(&kept.body).contains("unfilled"), "it is kept all the same");
}

const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[tokio::test(start_paused = true)]
async fn a_body_without_fault_and_one_that_a_rule_is_to_blame_for_are_200_as_soon_as_they_are_mapped() {
    let gateway = start();
    tokio::spawn(relay(gateway.journal.clone(), None));
    for word in ["mapped", "rule"] {
        let sent = Instant::now();
        let reply = gateway.send(body(word)).await;
        assert_eq!((reply.status.as_u16(), reply.json.as_object().unwrap().len()), (200, 3), "{word}: {}", reply.json);
        assert!(sent.elapsed() < Duration::from_millis(50), "{word}: {:?}", sent.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_waits_no_longer_than_it_may_and_is_200_then() {
    let gateway = start();
    let sent = Instant::now();
    assert_eq!(gateway.send(body("unfilled")).await.status, 200);
    assert!((WAIT..WAIT + Duration::from_millis(5)).contains(&sent.elapsed()), "{:?}", sent.elapsed());

    // a slow disk leaves less of the 2 s
    let gateway = start();
    gateway.journal.set_appends(Appends::Hang);
    let sent = Instant::now();
    let (reply, ()) = tokio::join!(gateway.send(body("unfilled")), async {
        sleep(Duration::from_millis(1750)).await;
        gateway.journal.set_appends(Appends::Work);
    });
    assert_eq!(reply.status, 200);
    let after = sent.elapsed().as_millis();
    assert!((1900..2000).contains(&after), "answered after {after} ms");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_waited_for_in_a_backlog_and_the_fault_is_200() {
    let gateway = start();
    for number in 0..20 {
        let (reply, waited) = at_once(&gateway, body(&format!("unfilled {number}"))).await;
        assert!(reply.status == 200 && waited == (number == 0), "webhook {number} waited: {waited}");
    }
    // the first has waited for more than 100 ms by the system's clock; another lane knows nothing of that
    let other = post("/capture/", TUTORIAL.replace("phc_eu", "phc_us"));
    assert!(at_once(&gateway, other).await.1, "another lane has nothing waiting");
}

/// The answer, and whether it waited.
async fn at_once(gateway: &Gateway, request: Request<Full<Bytes>>) -> (support::Reply, bool) {
    let sent = Instant::now();
    let reply = gateway.send(request).await;
    // an entry's age goes by the system's clock
    if !sent.elapsed().is_zero() {
        std::thread::sleep(Duration::from_millis(110));
    }
    (reply, !sent.elapsed().is_zero())
}

/// Bodies that are lists by their looks, packed too.
fn lists() -> Vec<Vec<u8>> {
    let large = format!(r#"{{"api_key":"phc_eu","unfilled":"{}"}}"#, "x".repeat(64 * 1024));
    let batch = br#"{"api_key":"phc_eu","batch":[{"event":"unfilled"}]}"#;
    let mut lists = vec![batch.to_vec(), large.clone().into_bytes(), support::gzip(large.as_bytes())];
    lists.push(br#"[{"api_key":"phc_eu","event":"unfilled"}]"#.to_vec());
    lists.push(br#"{"api_key":"phc_eu","events":["unfilled"#.to_vec());
    lists.push(support::gzip(batch));
    lists
}

#[tokio::test(start_paused = true)]
async fn a_list_is_200_once_it_is_durable_whatever_came_of_it() {
    let gateway = start();
    tokio::spawn(relay(gateway.journal.clone(), None));
    for list in lists() {
        let (reply, waited) = at_once(&gateway, post("/batch/", list.clone())).await;
        assert_eq!((reply.status.as_u16(), waited), (200, false), "{}", String::from_utf8_lossy(&list[..20]));
    }
    assert_eq!(gateway.taken(), 6);
}

#[tokio::test(start_paused = true)]
async fn who_prefers_to_wait_is_told_what_came_of_a_list_and_it_is_200_all_the_same() {
    let gateway = start();
    tokio::spawn(relay(gateway.journal.clone(), Some(Duration::from_millis(700))));
    for list in lists() {
        let reply = gateway.send(with(post("/batch/", list), "prefer", "wait=3")).await;
        assert_eq!((reply.status.as_u16(), &reply.headers["preference-applied"]), (200, &"wait=3".parse().unwrap()));
        assert_eq!((&reply.json["state"], &reply.json["events"]["dead"]), (&"settled".into(), &1.into()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_packed_body_of_one_event_is_answered_as_the_plain_one_is() {
    let gateway = start();
    tokio::spawn(relay(gateway.journal.clone(), Some(Duration::from_millis(700))));
    for coding in Coding::ALL {
        let packed = |word: &str| {
            let body = format!(r#"{{"api_key":"phc_eu","event":"{word}","coding":"{}"}}"#, coding.name());
            with(post("/capture/", coded(coding, body.as_bytes())), "content-encoding", coding.name())
        };
        let refused = gateway.send(packed("unfilled")).await;
        assert_eq!(
            (refused.status.as_u16(), &refused.json["code"]),
            (422, &"unresolved_placeholder".into()),
            "{coding:?}"
        );
        let again = gateway.send(packed("unfilled")).await;
        assert_eq!((&again.json["receipt"], &again.json["times"]), (&refused.json["receipt"], &2.into()));
        let waited = gateway.send(with(packed("mapped"), "prefer", "wait=3")).await;
        assert_eq!((&waited.json["state"], &waited.json["events"]["delivered"]), (&"settled".into(), &1.into()));
    }
    assert_eq!(gateway.taken(), 8);
}

#[tokio::test(start_paused = true)]
async fn a_wait_of_zero_waits_for_nothing_and_refuses_nothing() {
    let gateway = Setup::default().start();
    tokio::spawn(relay(gateway.journal.clone(), None));
    for _ in 0..2 {
        let (reply, waited) = at_once(&gateway, body("unfilled")).await;
        assert_eq!((reply.status.as_u16(), waited), (200, false));
    }
    assert_eq!(gateway.taken(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_same_refused_body_within_a_minute_is_refused_at_once_and_not_stored_again() {
    let gateway = start();
    tokio::spawn(relay(gateway.journal.clone(), Some(Duration::ZERO)));
    let first = gateway.send(body("unfilled")).await;
    assert_eq!((first.status.as_u16(), &first.json["times"]), (422, &1.into()));
    for times in 2..5 {
        sleep(Duration::from_secs(14)).await;
        let (again, waited) = at_once(&gateway, body("unfilled")).await;
        assert_eq!((again.status.as_u16(), waited), (422, false));
        assert_eq!((&again.json["receipt"], &again.json["times"]), (&first.json["receipt"], &times.into()));
        assert_eq!(again.json["reasons"], first.json["reasons"]);
    }
    assert_eq!(gateway.taken(), 1);
    // it is of no account to who may not send, to another body, or after the minute
    let wrong_key = String::from_utf8_lossy(&collect(body("unfilled")).await).replace("phc_eu", "phc_nobody");
    assert_eq!(gateway.send(post("/capture/", wrong_key)).await.status, 401);
    assert_eq!(gateway.send(body("mapped")).await.status, 200);
    assert_eq!(gateway.send(preferring("unfilled, of another", "1")).await.json["times"], 1);
    assert_eq!(gateway.taken(), 3);
    sleep(Duration::from_secs(18)).await;
    let anew = gateway.send(preferring("unfilled", "1")).await;
    assert_eq!(gateway.taken(), 4, "{}", anew.json);
}

async fn collect(request: Request<Full<Bytes>>) -> Bytes {
    http_body_util::BodyExt::collect(request.into_body()).await.unwrap().to_bytes()
}

#[tokio::test(start_paused = true)]
async fn who_prefers_to_wait_is_told_what_the_events_came_to() {
    let gateway = Setup::default().start();
    tokio::spawn(relay(gateway.journal.clone(), Some(Duration::from_secs(1))));
    for (word, delivered, dead) in [("mapped", 1, 0), ("rule", 0, 1)] {
        let reply = gateway.send(preferring(word, "2")).await;
        assert_eq!((reply.status.as_u16(), &reply.json["state"]), (200, &"settled".into()), "{}", reply.json);
        assert_eq!(reply.headers["preference-applied"], "wait=2");
        let counts = serde_json::json!(
            {"delivered": delivered, "delivered_degraded": 0, "filtered": 0, "duplicate": 0, "dead": dead}
        );
        assert_eq!(reply.json["events"], counts, "{word}");
    }
    assert_eq!(gateway.send(preferring("unfilled", "2")).await.status, 422);
}

#[tokio::test(start_paused = true)]
async fn who_prefers_to_wait_is_answered_in_time_all_the_same() {
    let gateway = Setup::default().start();
    for (asked, applied, disk, after) in [("1", 1, 0, 1000), ("60", 3, 0, 3000), ("3", 3, 1700, 3400)] {
        gateway.journal.set_appends(Appends::Hang);
        let sent = Instant::now();
        let (reply, ()) = tokio::join!(gateway.send(preferring("mapped", asked)), async {
            sleep(Duration::from_millis(disk)).await;
            gateway.journal.set_appends(Appends::Work);
        });
        assert_eq!((reply.status.as_u16(), &reply.json["state"]), (200, &"taken".into()), "{}", reply.json);
        assert_eq!(reply.headers["preference-applied"], format!("wait={applied}"));
        let took = sent.elapsed().as_millis();
        assert!((after..after + 50).contains(&took), "wait={asked} was answered after {took} ms");
        assert!(reply.json.get("events").is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn a_sender_that_hangs_up_while_it_waits_leaves_its_webhook_and_nothing_else() {
    let gateway = start();
    let hung_up = timeout(Duration::from_millis(100), gateway.send(preferring("mapped", "3"))).await;
    assert!(hung_up.is_err());
    assert_eq!((gateway.taken(), gateway.journal.stats().watches), (1, 0));

    // hung up before it was durable
    gateway.journal.set_appends(Appends::Hang);
    assert!(timeout(Duration::from_millis(100), gateway.send(preferring("mapped", "3"))).await.is_err());
    gateway.journal.set_appends(Appends::Work);
    assert_eq!((gateway.taken(), gateway.journal.stats().watches), (2, 0));

    let under_way = tokio::spawn({
        let (ingest, request) = (gateway.ingest.clone(), preferring("mapped", "3"));
        async move { ingest.handle(support::LOOPBACK.parse().unwrap(), request).await }
    });
    sleep(Duration::from_millis(100)).await;
    assert_eq!(gateway.journal.stats().watches, 1);
    under_way.await.unwrap();
    assert_eq!(gateway.journal.stats().watches, 0);
}
