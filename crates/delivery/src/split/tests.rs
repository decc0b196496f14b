use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use moehog_proto::delivery::Delivered;
use proptest::prelude::*;

use super::*;

fn event(uuid: u8, person: &str, bytes: usize) -> Event {
    Event {
        uuid: Bytes::copy_from_slice(&[uuid; 16]),
        distinct_id: person.to_string(),
        json: vec![b'x'; bytes].into(),
        ..Event::default()
    }
}

/// `count` small events, each of its own person and with its own uuid.
fn strangers(count: usize) -> Vec<Event> {
    (0..count)
        .map(|index| Event {
            uuid: Bytes::copy_from_slice(&(index as u128).to_be_bytes()),
            ..event(0, &index.to_string(), 10)
        })
        .collect()
}

fn split(events: &[Event]) -> Split<'_> {
    Split::new(events, &BTreeMap::new(), Vec::new(), 1000, taken())
}

fn taken() -> (Verdict, Reason) {
    (Verdict::Delivered(Delivered {}), Reason::default())
}

fn because(code: &str) -> Reason {
    Reason::new(Blame::Destination, code, "words")
}

fn refused() -> Outcome {
    Outcome::Refused { why: because("refused") }
}

fn retry(others: bool) -> Outcome {
    Outcome::Retry { after_ms: 7, why: because("server_error"), sent: true, others, in_doubt: others }
}

/// Runs a call against a PostHog that refuses every request with a guilty event in it; gives the requests made.
fn run(split: &mut Split<'_>, guilty: &BTreeSet<usize>) -> Vec<Vec<usize>> {
    let mut requests = Vec::new();
    while let Some(request) = split.next() {
        let outcome =
            if request.events.iter().any(|index| guilty.contains(index)) { refused() } else { Outcome::Taken };
        requests.push(request.events.clone());
        split.record(request, outcome, requests.len() as u32);
    }
    requests
}

fn words(verdicts: &[EventVerdict]) -> Vec<&'static str> {
    verdicts
        .iter()
        .map(|verdict| match verdict.verdict {
            Some(Verdict::Delivered(_)) => "delivered",
            Some(Verdict::Degraded(_)) => "degraded",
            Some(Verdict::Rejected(_)) => "rejected",
            Some(Verdict::Refused(_)) => "refused",
            Some(Verdict::Retry(_)) => "retry",
            Some(Verdict::Hold(_)) => "hold",
            None => "none",
        })
        .collect()
}

#[test]
fn where_everything_is_refused_few_are_tried_alone_and_the_rest_is_given_back() {
    for count in [1, 8, 9, 16, 500] {
        let events = strangers(count);
        let mut split = Split::new(&events, &BTreeMap::new(), Vec::new(), usize::MAX, taken());
        let requests = run(&mut split, &(0..count).collect());
        let bound = (2 * MOST_REFUSED).min(2 * count - 1) + count.ilog2() as usize;
        assert!(requests.len() <= bound, "{count} events: {} requests", requests.len());
        let verdicts = split.into_verdicts();
        assert!(verdicts.iter().all(|verdict| verdict.sent), "all were in a request that may have been read");
        let words = words(&verdicts);
        assert_eq!(words.iter().filter(|word| **word == "refused").count(), count.min(MOST_REFUSED));
        assert_eq!(words.iter().filter(|word| **word == "none").count(), count.saturating_sub(MOST_REFUSED));
    }
}

#[test]
fn one_guilty_event_is_found_within_twice_the_logarithm_and_costs_itself() {
    for count in (1..=130).chain([255, 256, 257, 300, 499, 500]) {
        let events = strangers(count);
        for guilty in 0..count {
            let mut split = Split::new(&events, &BTreeMap::new(), Vec::new(), usize::MAX, taken());
            let requests = run(&mut split, &BTreeSet::from([guilty]));
            let bound = 2.0 * (count as f64).log2() + 1.0;
            assert!(requests.len() as f64 <= bound, "{count} events, number {guilty}: {} requests", requests.len());
            let verdicts = words(&split.into_verdicts());
            assert_eq!(verdicts.iter().filter(|word| **word == "delivered").count(), count - 1);
            assert_eq!(verdicts[guilty], "refused");
        }
    }
}

#[test]
fn a_refused_event_has_posthogs_words_and_its_last_request() {
    let events = strangers(2);
    let mut split = split(&events);
    run(&mut split, &BTreeSet::from([1]));
    let verdicts = split.into_verdicts();
    assert_eq!(verdicts[1].verdict, Some(Verdict::Refused(Refused { reason: "refused: words".to_string() })));
    assert_eq!(verdicts[1].why.as_deref(), Some(&because("refused")));
    assert_eq!((verdicts[0].answer, verdicts[1].answer), (2, 3));
}

#[test]
fn one_uuid_is_never_twice_in_a_request() {
    let events = [event(1, "a", 10), event(2, "b", 10), event(1, "a", 10), event(3, "c", 10)];
    assert_eq!(run(&mut split(&events), &BTreeSet::new()), [vec![0, 1], vec![2, 3]]);
}

#[test]
fn requests_are_cut_by_size_and_an_event_larger_than_one_goes_alone() {
    let events = [event(1, "a", 600), event(2, "b", 600), event(3, "c", 5000), event(4, "d", 10), event(5, "e", 10)];
    assert_eq!(run(&mut split(&events), &BTreeSet::new()), [vec![0], vec![1], vec![2], vec![3, 4]]);
}

#[test]
fn an_event_that_posthog_cannot_store_is_rejected_unsent() {
    let events = [event(1, "a", 10), event(2, "b", 900_001), event(3, "c", 10)];
    let mut split = split(&events);
    assert_eq!(run(&mut split, &BTreeSet::new()), [vec![0, 2]]);
    let verdicts = split.into_verdicts();
    assert!(
        matches!(&verdicts[1].verdict, Some(Verdict::Rejected(rejected)) if rejected.reason.starts_with("too_large:"))
    );
    assert!(!verdicts[1].sent && verdicts[1].answer == 0);
}

#[test]
fn too_large_is_cut_by_bytes_down_to_one_event() {
    let events = [event(1, "a", 10), event(2, "b", 10), event(3, "c", 10), event(4, "d", 800)];
    let mut split = split(&events);
    let too_large = || Outcome::TooLarge { why: because("too_large_for_proxy") };
    let first = split.next().unwrap();
    split.record(first, too_large(), 1);
    let second = split.next().unwrap();
    assert_eq!(second.events, [0, 1, 2]);
    split.record(second, Outcome::Taken, 2);
    // what is too large together need not be too large alone
    while let Some(request) = split.next() {
        assert_eq!(request.events, [3]);
        split.record(request, too_large(), 3);
    }
    let verdicts = split.into_verdicts();
    assert_eq!(words(&verdicts), ["delivered", "delivered", "delivered", "retry"], "a proxy's limit may be raised");
    assert!(matches!(&verdicts[3].verdict, Some(Verdict::Retry(Retry { by_event: true, .. }))), "{verdicts:?}");
}

#[test]
fn what_fails_alone_may_be_at_fault_and_what_fails_with_others_is_in_doubt() {
    for (events, alone) in [(vec![event(1, "ann", 10)], true), (vec![event(1, "ann", 10), event(2, "bob", 10)], false)]
    {
        let mut split = split(&events);
        let request = split.next().unwrap();
        split.record(request, retry(true), 1);
        for verdict in split.into_verdicts() {
            let Some(Verdict::Retry(retry)) = verdict.verdict else { panic!("{verdict:?}") };
            assert_eq!((retry.by_event, retry.in_doubt), (alone, !alone));
        }
    }
}

#[test]
fn behind_an_event_to_be_tried_again_nothing_of_that_person_is_sent() {
    // a 400 halves the call; then the first half is answered 500
    let events = [event(1, "ann", 10), event(2, "bob", 10), event(3, "ann", 10), event(4, "cem", 10)];
    let mut split = split(&events);
    let whole = split.next().unwrap();
    split.record(whole, refused(), 1);
    let first = split.next().unwrap();
    split.record(first, retry(true), 2);
    let second = split.next().unwrap();
    assert_eq!(second.events, [3], "ann's second event waits");
    split.record(second, Outcome::Taken, 3);
    assert!(split.next().is_none());
    let verdicts = split.into_verdicts();
    assert_eq!(words(&verdicts), ["retry", "retry", "none", "delivered"]);
    assert!(verdicts[2].sent, "it was inside the first request");
    assert_eq!(
        verdicts[0].verdict,
        Some(Verdict::Retry(Retry {
            after_ms: 7,
            reason: "server_error: words".into(),
            in_doubt: true,
            ..Retry::default()
        })),
        "of two events nobody knows which it is"
    );
}

#[test]
fn a_failing_posthog_ends_the_call_and_a_hold_holds_the_rest() {
    for (outcome, expected) in [
        (retry(false), ["delivered", "retry", "none"]),
        (Outcome::Hold { why: because("wrong_key") }, ["delivered", "hold", "hold"]),
    ] {
        let events = [event(1, "a", 900), event(2, "b", 900), event(3, "c", 900)];
        let mut split = split(&events);
        let first = split.next().unwrap();
        split.record(first, Outcome::Taken, 1);
        let second = split.next().unwrap();
        split.record(second, outcome, 2);
        assert!(split.next().is_none());
        let verdicts = split.into_verdicts();
        assert_eq!(words(&verdicts), expected);
        assert!(!verdicts[2].sent);
    }
}

#[derive(Debug, Clone)]
enum Say {
    Judge,
    Retry { others: bool },
    TooLarge,
    Hold,
}

fn says() -> impl Strategy<Value = Say> {
    prop_oneof![
        12 => Just(Say::Judge),
        1 => any::<bool>().prop_map(|others| Say::Retry { others }),
        2 => Just(Say::TooLarge),
        1 => Just(Say::Hold),
    ]
}

/// UUID, person, bytes and guilt of each; so many of them are guilty.
fn events_of(guilty: f64) -> impl Strategy<Value = Vec<(u8, u8, usize, bool)>> {
    prop::collection::vec((0_u8..20, 0_u8..6, 1_usize..400, prop::bool::weighted(guilty)), 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn every_event_has_one_verdict_or_a_reason_to_have_none(
        made in prop_oneof![events_of(0.1), events_of(0.95)],
        script in prop::collection::vec(says(), 0..80),
    ) {
        let events: Vec<_> = made.iter().map(|(uuid, person, bytes, _)| event(*uuid, &person.to_string(), *bytes)).collect();
        let mut split = split(&events);
        let mut script = script.into_iter();
        let (mut requests, mut taken, mut waiting) = (0, Vec::new(), HashMap::<&str, usize>::new());
        let (mut ended, mut refused_alone) = (None, 0);
        let mut seen = vec![false; events.len()];
        while let Some(request) = split.next() {
            prop_assert!(ended.is_none(), "a request after {ended:?}");
            requests += 1;
            prop_assert!(requests <= events.len() * 3 + 1);
            let indexes = request.events.clone();
            prop_assert!(indexes.is_sorted() && !indexes.is_empty());
            let uuids: BTreeSet<_> = indexes.iter().map(|index| &events[*index].uuid).collect();
            prop_assert_eq!(uuids.len(), indexes.len(), "one uuid twice");
            let bytes: usize = indexes.iter().map(|index| events[*index].json.len()).sum();
            prop_assert!(bytes <= 1000 || indexes.len() == 1);
            for index in &indexes {
                let person = events[*index].distinct_id.as_str();
                prop_assert!(!waiting.contains_key(person), "{person} is overtaken");
                seen[*index] = true;
            }
            let guilty = indexes.iter().any(|index| made[*index].3);
            let outcome = match script.next().unwrap_or(Say::Judge) {
                Say::Judge if guilty => {
                    refused_alone += usize::from(indexes.len() == 1);
                    if taken.is_empty() && refused_alone == MOST_REFUSED {
                        ended = Some("refused");
                    }
                    refused()
                }
                Say::Judge => {
                    taken.extend(&indexes);
                    Outcome::Taken
                }
                Say::Retry { others } => {
                    if !others {
                        ended = Some("retry");
                    }
                    waiting.extend(indexes.iter().map(|index| (events[*index].distinct_id.as_str(), *index)));
                    retry(others)
                }
                Say::TooLarge => {
                    if let [index] = &indexes[..] {
                        waiting.insert(&events[*index].distinct_id, *index);
                    }
                    Outcome::TooLarge { why: because("too_large_for_proxy") }
                }
                Say::Hold => {
                    ended = Some("hold");
                    Outcome::Hold { why: because("wrong_key") }
                }
            };
            split.record(request, outcome, requests as u32);
        }
        prop_assert!(taken.is_sorted(), "events are taken in their order");
        let verdicts = split.into_verdicts();
        prop_assert_eq!(verdicts.len(), events.len());
        for (index, (word, verdict)) in words(&verdicts).into_iter().zip(&verdicts).enumerate() {
            prop_assert_eq!(word == "delivered", taken.contains(&index));
            if word == "none" {
                let waits = waiting.contains_key(events[index].distinct_id.as_str());
                prop_assert!(waits || matches!(ended, Some("retry" | "refused")), "event {} was forgotten", index);
            }
            prop_assert_eq!(verdict.answer > 0, seen[index]);
        }
    }
}
