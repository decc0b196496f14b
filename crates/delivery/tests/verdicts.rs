//! What PostHog answers, and the verdict each event gets.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::*;
use moehog_emulator::posthog::{self, Action, ResetAt, Rule};
use moehog_proto::event::Event;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn events_arrive_as_they_are_in_one_gzipped_request() {
    let posthog = posthog();
    let sent = [event(1, "ann", r#","big":18446744073709551615,"text":"\u00e9""#), event(2, "bob", "")];
    let response = deliver(&client(&config(&posthog.url())), "shop", &sent).await;
    assert_eq!(words(&response), ["delivered", "delivered"]);
    assert!(response.verdicts.iter().all(|verdict| verdict.sent && verdict.answer == 1));
    let [answer] = &response.answers[..] else { panic!("one request: {:?}", response.answers) };
    assert_eq!((answer.status, answer.body.as_str(), answer.events), (200, r#"{"status":"Ok"}"#, 2));
    assert!(answer.started_at_ms > 1_700_000_000_000);

    let arrivals = posthog.books().arrivals();
    assert_eq!(arrivals.iter().map(|event| &event.raw).collect::<Vec<_>>(), [&sent[0].json, &sent[1].json]);
    let [exchange] = &posthog.books().exchanges()[..] else { panic!("one request") };
    assert_eq!((exchange.method.as_str(), exchange.route.as_str()), ("POST", "/batch"));
    assert_eq!(exchange.header("content-encoding"), Some("gzip"));
    assert_eq!(exchange.header("content-type"), Some("application/json"));
    assert!(exchange.header("user-agent").unwrap().starts_with("moehog/"));
    let body = String::from_utf8(exchange.body.to_vec()).unwrap();
    assert!(body.starts_with(r#"{"api_key":"phc_test","batch":[{"#) && !body.contains("sent_at"), "{body}");
}

#[tokio::test]
async fn history_goes_in_requests_of_its_own_and_a_bad_event_of_it_is_found_among_history() {
    let posthog = posthog();
    posthog.faults().add(Rule::refuse("\"bad\"", "failed to parse request"));
    let mut sent = events(40);
    sent[21] = event(21, "user_21", r#","bad":1"#);
    for event in sent.iter_mut().skip(1).step_by(2) {
        event.historical = true;
    }
    let response = deliver(&client(&config(&posthog.url())), "shop", &sent).await;
    for (number, verdict) in response.verdicts.iter().enumerate() {
        assert_eq!(word(verdict), if number == 21 { "refused" } else { "delivered" }, "event {number}");
    }
    let arrivals = posthog.books().arrivals();
    assert_eq!((arrivals.len(), arrivals.iter().filter(|event| event.historical).count()), (39, 19));
    for arrival in arrivals {
        let number = sent.iter().position(|event| event.json == arrival.raw).unwrap();
        assert_eq!(arrival.historical, sent[number].historical, "event {number}");
    }
}

#[tokio::test]
async fn one_bad_event_in_300_costs_itself_within_20_requests() {
    for guilty in [0, 149, 150, 299] {
        let posthog = posthog();
        posthog.faults().add(Rule::refuse("\"bad\"", "failed to parse request: invalid uuid"));
        let mut sent = events(300);
        sent[guilty] = event(guilty, "user_x", r#","bad":1"#);
        let response = deliver(&client(&config(&posthog.url())), "shop", &sent).await;
        for (number, verdict) in response.verdicts.iter().enumerate() {
            assert_eq!(word(verdict), if number == guilty { "refused" } else { "delivered" }, "event {number}");
        }
        assert_eq!(reason(&response.verdicts[guilty]), "refused: PostHog said `failed to parse request: invalid uuid`");
        assert!(response.answers.len() <= 20, "{} requests", response.answers.len());
        assert_eq!(posthog.books().unique(), 299);
        assert_eq!(posthog.books().exchanges().len(), response.answers.len());
    }
}

#[tokio::test]
async fn what_posthogs_own_rules_refuse_is_found_and_the_rest_is_stored_once() {
    let posthog = posthog();
    let mut sent = events(40);
    sent[7].json = sent[7].json.to_vec().replace(b"user_7", b"");
    sent[31].json = sent[31].json.to_vec().replace(b"user_31", b"");
    let response = deliver(&client(&config(&posthog.url())), "shop", &sent).await;
    let refused: Vec<_> = (0..40).filter(|index| word(&response.verdicts[*index]) == "refused").collect();
    assert_eq!(refused, [7, 31]);
    assert!(reason(&response.verdicts[7]).contains("distinct_id"), "{}", reason(&response.verdicts[7]));
    assert!(posthog.books().copies().values().all(|copies| *copies == 1));
    assert_eq!(posthog.books().unique(), 38);
}

#[tokio::test]
async fn what_is_not_one_object_is_rejected_unsent_and_cannot_write_into_the_request_around_it() {
    let posthog = posthog();
    let mut sent = events(5);
    sent[1].json = Bytes::from_static(br#"{"event":"a"}],"api_key":"phc_INJECTED","x":[{"event":"b"}"#);
    sent[2].json = sent[2].json.to_vec().replace(b"\"n\":2", b"\"n\":NaN");
    sent[4].json = Bytes::new();
    let response = deliver(&client(&config(&posthog.url())), "shop", &sent).await;
    assert_eq!(words(&response), ["delivered", "rejected", "rejected", "delivered", "rejected"]);
    for bad in [1, 2, 4] {
        let (verdict, said) = (&response.verdicts[bad], reason(&response.verdicts[bad]));
        assert!(said.starts_with("not_one_object: ") && !said.contains("phc_"), "{said}");
        assert!(!verdict.sent && verdict.answer == 0);
    }
    assert_eq!(posthog.books().unique(), 2);
    assert_eq!(posthog.books().exchanges().len(), 1);
}

#[tokio::test]
async fn a_partly_taken_batch_is_tried_again_with_the_same_bytes() {
    let posthog = posthog();
    posthog.faults().add(Rule::always(Action::Partial { stored: 3, status: 503 }).times(1));
    let (client, sent) = (client(&config(&posthog.url())), events(10));
    let first = deliver(&client, "shop", &sent).await;
    assert_eq!(words(&first), ["retry"; 10]);
    assert!(first.verdicts.iter().all(|verdict| verdict.sent));
    assert_eq!(reason(&first.verdicts[0]), "server_error: status 503 `transient error, please retry`");
    assert_eq!(words(&deliver(&client, "shop", &sent).await), ["delivered"; 10]);
    let exchanges = posthog.books().exchanges();
    assert_eq!(exchanges[0].body, exchanges[1].body);
    assert_eq!((posthog.books().arrivals().len(), posthog.books().unique()), (13, 10));
}

#[tokio::test]
async fn an_answer_that_is_lost_a_reset_and_a_timeout_are_tried_again() {
    let posthog = posthog();
    let mut config = config(&posthog.url());
    config.posthog.timeout = Duration::from_millis(300);
    let client = client(&config);
    let sent = events(3);
    for action in [Action::AnswerLost, Action::Reset { at: ResetAt::BeforeReading }, Action::Hang] {
        posthog.faults().add(Rule::always(action.clone()).times(1));
        let response = deliver(&client, "shop", &sent).await;
        assert_eq!(words(&response), ["retry"; 3], "{action:?}");
        assert!(response.verdicts.iter().all(|verdict| verdict.sent && verdict.answer == 1), "{action:?}");
        assert_eq!(response.answers[0].status, 0);
        assert!(!response.answers[0].body.is_empty());
        assert_eq!(words(&deliver(&client, "shop", &sent).await), ["delivered"; 3]);
    }
    assert_eq!(posthog.books().unique(), 3, "each resend was the same event");
}

#[tokio::test]
async fn a_posthog_that_is_away_has_read_nothing_and_is_no_reason_to_doubt_the_key() {
    for known_before in [false, true] {
        let posthog = posthog();
        let client = client(&config(&posthog.url()));
        if known_before {
            assert_eq!(words(&deliver(&client, "shop", &events(2)).await), ["delivered"; 2]);
        }
        posthog.down().await;
        let response = deliver(&client, "shop", &events(2)).await;
        assert_eq!(words(&response), ["retry"; 2]);
        assert!(response.verdicts.iter().all(|verdict| !verdict.sent));
        assert_eq!(response.answers.len(), usize::from(known_before));
        assert!(reason(&response.verdicts[0]).contains("refused"), "{}", reason(&response.verdicts[0]));
        posthog.up().unwrap();
        tokio::time::sleep(Duration::from_millis(if known_before { 0 } else { 1010 })).await;
        assert_eq!(words(&deliver(&client, "shop", &events(2)).await), ["delivered"; 2]);
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_the_place_is_named() {
    let elsewhere = posthog();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = format!("http://{}", listener.local_addr().unwrap());
    let moved = format!("HTTP/1.1 308 Moved\r\nlocation: {}/batch/\r\ncontent-length: 0\r\n\r\n", elsewhere.url());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let _read = stream.read(&mut request).await;
            let _written = stream.write_all(moved.as_bytes()).await;
        }
    });
    let response = deliver(&client(&config(&host)), "shop", &events(2)).await;
    assert_eq!(words(&response), ["hold"; 2]);
    assert!(reason(&response.verdicts[0]).contains(&elsewhere.url()), "{}", reason(&response.verdicts[0]));
    assert!(elsewhere.books().exchanges().is_empty());
    assert_eq!(elsewhere.books().counts().flags_requests, 0, "the key is not carried there either");
}

#[tokio::test]
async fn retry_after_is_passed_on_and_ends_the_call() {
    let posthog = posthog();
    let mut config = config(&posthog.url());
    config.posthog.max_request_bytes = 300;
    posthog.faults().add(Rule::always(Action::Answer {
        status: 429,
        body: "rate limited".into(),
        retry_after: Some("7".into()),
    }));
    let response = deliver(&client(&config), "shop", &events(4)).await;
    assert_eq!(words(&response)[0], "retry");
    assert_eq!(after_ms(&response.verdicts[0]), 7000);
    assert_eq!(response.answers.len(), 1, "nothing is sent after it");
    assert!(words(&response).contains(&"none"));
}

#[tokio::test]
async fn a_500_of_one_request_does_not_stop_the_others_but_that_persons_later_events() {
    let posthog = posthog();
    posthog.faults().add(Rule::status(500).times(1));
    let mut config = config(&posthog.url());
    config.posthog.max_request_bytes = 300;
    let sent = [event(1, "ann", ""), event(2, "bob", ""), event(3, "ann", ""), event(4, "cem", "")];
    let response = deliver(&client(&config), "shop", &sent).await;
    assert_eq!(words(&response), ["retry", "delivered", "none", "delivered"]);
}

#[tokio::test]
async fn answers_that_need_a_person_hold_and_reject_nothing() {
    for (status, word) in [
        (401, "wrong_key"),
        (402, "quota"),
        (403, "forbidden"),
        (404, "wrong_host"),
        (405, "wrong_host"),
        (302, "wrong_host"),
        (418, "unexpected_answer"),
    ] {
        let posthog = posthog();
        posthog.faults().add(Rule::status(status));
        let response = deliver(&client(&config(&posthog.url())), "shop", &events(5)).await;
        assert_eq!(words(&response), ["hold"; 5], "{status}");
        assert!(reason(&response.verdicts[0]).starts_with(&format!("{word}: ")), "{}", reason(&response.verdicts[0]));
        assert_eq!(response.answers.len(), 1, "{status}");
        assert!(response.verdicts.iter().all(|verdict| !verdict.sent));
    }
}

#[tokio::test]
async fn an_event_that_posthog_cannot_store_is_rejected_and_its_neighbours_are_delivered() {
    let posthog = start(posthog::Config { max_decoded_bytes: 1 << 30, ..posthog::Config::of_2024() });
    let many_quotes = format!(",\"list\":[{}1]", "\"q\",".repeat(160_000));
    let sent = [event(1, "ann", ""), event(2, "bob", &many_quotes), event(3, "cem", "")];
    let response = deliver(&client(&config(&posthog.url())), "shop", &sent).await;
    assert_eq!(words(&response), ["delivered", "rejected", "delivered"]);
    assert!(reason(&response.verdicts[1]).starts_with("too_large: "), "{}", reason(&response.verdicts[1]));
    assert!(!response.verdicts[1].sent);
    assert_eq!(posthog.books().exchanges().len(), 1);
}

/// Text that gzip does not shrink much.
fn noise(bytes: usize) -> String {
    let mut state = 0x9e37_79b9_u32;
    let letters = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        char::from(b'!' + (state % 90) as u8)
    });
    letters.filter(|letter| !matches!(letter, '"' | '\\')).take(bytes).collect()
}

fn noisy(count: usize, bytes: usize) -> Vec<Event> {
    (0..count)
        .map(|number| event(number, &format!("user_{number}"), &format!(",\"noise\":\"{}\"", noise(bytes))))
        .collect()
}

#[tokio::test]
async fn a_413_is_split_by_size_and_one_event_that_a_proxy_takes_for_too_large_waits() {
    let posthog = start(posthog::Config { max_body_bytes: 20_000, ..posthog::Config::default() });
    let mut sent = noisy(12, 5_000);
    sent[5] = event(5, "user_5", &format!(",\"noise\":\"{}\"", noise(60_000)));
    let response = deliver(&client(&config(&posthog.url())), "shop", &sent).await;
    for (number, verdict) in response.verdicts.iter().enumerate() {
        assert_eq!(word(verdict), if number == 5 { "retry" } else { "delivered" }, "event {number}: {verdict:?}");
    }
    assert!(reason(&response.verdicts[5]).starts_with("too_large_for_proxy: status 413"), "{:?}", response.verdicts[5]);
    assert_eq!(posthog.books().unique(), 11);
}

#[tokio::test]
async fn a_large_body_that_is_cut_off_is_split() {
    // an old capture server resets the connection of a body over twice its cap
    let posthog =
        start(posthog::Config { max_body_bytes: 600_000, max_decoded_bytes: 1 << 30, ..posthog::Config::of_2024() });
    let sent = noisy(16, 100_000);
    let response = deliver(&client(&config(&posthog.url())), "shop", &sent).await;
    assert_eq!(words(&response), ["delivered"; 16], "{:?}", response.answers);
    assert!(response.answers.iter().any(|answer| answer.status == 0), "{:?}", response.answers);
    assert_eq!(posthog.books().unique(), 16);
}

#[tokio::test]
async fn a_uuid_that_a_call_holds_twice_goes_in_two_requests() {
    let posthog = posthog();
    let sent = [event(1, "ann", ""), event(2, "bob", ""), event(1, "ann", "")];
    let response = deliver(&client(&config(&posthog.url())), "shop", &sent).await;
    assert_eq!(words(&response), ["delivered"; 3]);
    let exchanges = posthog.books().exchanges();
    assert_eq!(exchanges.iter().map(|exchange| exchange.events).collect::<Vec<_>>(), [2, 1]);
}

trait Replace {
    fn replace(self, from: &[u8], to: &[u8]) -> bytes::Bytes;
}

impl Replace for Vec<u8> {
    fn replace(self, from: &[u8], to: &[u8]) -> bytes::Bytes {
        let text = String::from_utf8(self).unwrap();
        let replaced = text.replace(std::str::from_utf8(from).unwrap(), std::str::from_utf8(to).unwrap());
        assert_ne!(replaced, text);
        replaced.into()
    }
}
