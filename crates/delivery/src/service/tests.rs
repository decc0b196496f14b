//! Turns, deadlines, callers that leave: with a real PostHog emulator and short times.

use moehog_emulator::posthog::{Action, PostHog, Rule, Running};
use moehog_proto::delivery::Load;

use super::*;

fn posthog() -> Running {
    PostHog::bind(([127, 0, 0, 1], 0).into(), moehog_emulator::posthog::Config::default()).unwrap().start()
}

fn service(posthog: &Running, change: impl FnOnce(&mut Config)) -> Inner {
    let mut config: Config = moehog_runtime::load(Config::DEFAULTS, None, []).unwrap();
    config.posthog.host = posthog.url().parse().unwrap();
    // every event alone
    config.posthog.max_request_bytes = 1;
    change(&mut config);
    Arc::into_inner(Delivery::new(&config).unwrap().0).unwrap()
}

fn events(count: u8) -> Vec<Event> {
    let event = |number: u8| Event {
        uuid: bytes::Bytes::copy_from_slice(&[number; 16]),
        distinct_id: number.to_string(),
        json: format!(r#"{{"event":"e","distinct_id":"{number}","properties":{{}}}}"#).into(),
        ..Event::default()
    };
    (0..count).map(event).collect()
}

fn delivered(response: &DeliverResponse) -> usize {
    response.verdicts.iter().filter(|verdict| matches!(verdict.verdict, Some(Verdict::Delivered(_)))).count()
}

#[tokio::test]
async fn no_request_begins_after_the_last_moment_and_the_answer_says_what_is_known() {
    let posthog = posthog();
    posthog.set_latency(Duration::from_millis(100));
    let service = Inner { last_request: Duration::from_millis(250), ..service(&posthog, |_| {}) };
    let response = service.deliver(None, "key:phc_a", &events(10)).await.unwrap();
    let delivered = delivered(&response);
    assert!((1..=3).contains(&delivered), "{delivered}");
    assert_eq!(response.answers.len(), delivered);
    assert!(response.verdicts[delivered..].iter().all(|verdict| verdict.verdict.is_none() && !verdict.sent));
}

#[tokio::test]
async fn a_call_is_answered_in_time_though_a_request_hangs() {
    let posthog = posthog();
    posthog.faults().add(Rule::always(Action::Hang).nth(2));
    let service = Inner { answer_by: Duration::from_millis(400), ..service(&posthog, |_| {}) };
    let began = Instant::now();
    let response = service.deliver(None, "key:phc_a", &events(3)).await.unwrap();
    assert!((300..2000).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    assert_eq!(delivered(&response), 1);
    assert!(matches!(response.verdicts[1].verdict, Some(Verdict::Retry(_))) && response.verdicts[1].sent);
    assert_eq!(response.verdicts[2], EventVerdict::default());
}

#[tokio::test]
async fn a_call_without_a_turn_is_overload_and_no_attempt() {
    let posthog = posthog();
    let service = Arc::new(service(&posthog, |config| {
        config.limits = crate::Limits { concurrency: 1, queue: 0, queue_wait: Duration::from_secs(10) };
    }));
    posthog.faults().add(Rule::always(Action::Hang).times(1));
    let hanging = tokio::spawn({
        let service = service.clone();
        async move { service.deliver(None, "key:phc_a", &events(1)).await }
    });
    let turn_is_taken = async {
        while service.destinations.find("key:phc_a").unwrap().turns.one_is_free() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), turn_is_taken).await.expect("the first call takes it");
    let response = service.deliver(None, "key:phc_a", &events(2)).await.unwrap();
    assert!(response.answers.is_empty());
    let busy = Some(Load { waited_ms: 0, concurrency: 1, max_concurrency: 1 });
    assert_eq!(response.load, busy, "an overloaded call is told how busy its destination is");
    for verdict in &response.verdicts {
        assert!(matches!(&verdict.verdict, Some(Verdict::Retry(retry)) if retry.overloaded), "{verdict:?}");
    }
    // another destination has turns of its own
    assert_eq!(delivered(&service.deliver(None, "key:phc_b", &events(1)).await.unwrap()), 1);
    hanging.abort();
    assert!(hanging.await.unwrap_err().is_cancelled());
    let response = service.deliver(None, "key:phc_a", &events(1)).await.unwrap();
    assert_eq!(delivered(&response), 1, "the turn is given up");
    assert_eq!(response.load, busy);
    assert_eq!(service.deliver(None, "gone", &events(1)).await.unwrap().load, None, "no destination, no load");
}

#[tokio::test]
async fn a_caller_that_leaves_starts_no_other_request() {
    let posthog = posthog();
    posthog.set_latency(Duration::from_millis(200));
    let service = service(&posthog, |_| {});
    let events = events(5);
    let left = tokio::time::timeout(Duration::from_millis(300), service.deliver(None, "key:phc_a", &events)).await;
    assert!(left.is_err());
    tokio::time::sleep(Duration::from_millis(600)).await;
    let requests = posthog.books().exchanges().len();
    assert!((1..=2).contains(&requests), "{requests}");
}
