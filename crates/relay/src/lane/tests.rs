use bytes::Bytes;
use moehog_journal::{Crashed, Entry};
use moehog_proto::{
    JournalId, Reason, Receipt,
    delivery::{DeliverResponse, Delivered, EventVerdict, Verdict},
    event::Event,
    journal::EntryHeader,
    transformer::{Mapped, MappedEvent, TransformResponse, TransformedWebhook, mapped_event, transformed_webhook},
};

use super::{sending::GATHER, *};
use crate::{poison::Failure, route::Handed};

struct Rig {
    lane: Lane,
    now: Now,
}

impl Rig {
    fn new(config: &Config) -> Self {
        Self::of("default", config)
    }

    fn of(destination: &str, config: &Config) -> Self {
        let now = Now { instant: Instant::now(), epoch_ms: 1 };
        let shared = (Limits::alone(config), Evidence::new(), Ceiling::new(config.max_events_per_second));
        Self { lane: Lane::new(destination, config, shared, 7, now.instant), now }
    }

    fn steps(&mut self) -> Vec<Step> {
        std::iter::from_fn(|| self.lane.next(self.now)).collect()
    }

    fn step(&mut self) -> Step {
        let mut steps = self.steps();
        assert_eq!(steps.len(), 1, "{steps:?}");
        steps.remove(0)
    }

    fn later(&mut self, by: Duration) {
        self.now.instant += by;
    }

    /// Tells the lane that webhooks of these sizes were read.
    fn read(&mut self, sizes: &[usize]) {
        self.read_from(1, sizes);
    }

    fn read_from(&mut self, from: u64, sizes: &[usize]) {
        self.read_part(from, sizes, true);
    }

    fn read_part(&mut self, from: u64, sizes: &[usize], caught_up: bool) {
        let entry = |(index, size): (usize, &usize)| Entry {
            receipt: Receipt::plain(JournalId(7), from + index as u64),
            header: EntryHeader::default(),
            body: Bytes::from(vec![b'x'; *size]),
            progress: None,
            settled: false,
            crashed: Crashed::default(),
            decided: None,
        };
        let carried = |entry| Carried::new(entry, None);
        let batch = sizes.iter().enumerate().map(entry).map(carried).collect();
        self.lane.read(batch, from + sizes.len() as u64, caught_up);
    }

    /// Answers a Transform call with one event a webhook, of so many bytes.
    fn answer(&mut self, call: TransformCall, request: &TransformRequest, bytes: usize) {
        self.answer_each(call, request, bytes, 1);
    }

    /// Answers a Transform call with so many events a webhook, each of another person.
    fn answer_each(&mut self, call: TransformCall, request: &TransformRequest, bytes: usize, events: u32) {
        let answer = |webhook: &moehog_proto::transformer::Webhook| {
            let event = |position: u32| {
                let distinct_id = format!("{}/{position}", webhook.receipt);
                let uuid = u128::from(webhook.receipt.as_bytes()[9]) << 32 | u128::from(position);
                let event = Event {
                    uuid: Bytes::copy_from_slice(&uuid.to_be_bytes()),
                    distinct_id,
                    json: vec![b'x'; bytes].into(),
                    ..Event::default()
                };
                MappedEvent { position, ordinal: 0, outcome: Some(mapped_event::Outcome::Event(event)) }
            };
            let mapped = Mapped { events: (0..events).map(event).collect() };
            TransformedWebhook { result: Some(transformed_webhook::Result::Mapped(mapped)) }
        };
        let webhooks = request.webhooks.iter().map(answer).collect();
        self.lane.transformed(
            call,
            TransformResponse { webhooks, mapping_revision: "r1".into(), ..TransformResponse::default() },
            None,
            |_, _| {},
        );
    }
}

fn verdicts(count: usize, verdict: Option<Verdict>) -> DeliverEnd {
    let verdict = EventVerdict { verdict, ..EventVerdict::default() };
    let response = DeliverResponse { verdicts: vec![verdict; count], ..DeliverResponse::default() };
    DeliverEnd::Answered { response, took: Duration::from_millis(20) }
}

#[test]
fn an_entry_goes_through_read_transform_deliver_record_and_leaves_nothing_behind() {
    let mut rig = Rig::new(&Config::default());
    assert!(matches!(rig.step(), Step::Read { from: 0, .. }));
    rig.read(&[10, 10]);
    let Step::Transform(call, request) = rig.step() else { panic!("not a transform") };
    assert_eq!(request.webhooks.len(), 2);
    rig.answer(call, &request, 100);
    let Step::Deliver(call, request) = rig.step() else { panic!("not a deliver") };
    assert_eq!(request.events.len(), 2);
    rig.lane.delivered(&call, verdicts(2, Some(Verdict::Delivered(Delivered {}))), rig.now);
    let Step::Record(call, records) = rig.step() else { panic!("not a record") };
    assert!(records.iter().all(|record| record.settled && record.progress.events.len() == 1));
    assert!(!rig.lane.is_recorded());
    rig.lane.recorded(call, rig.now);
    assert!(rig.lane.is_recorded());
    assert_eq!(rig.lane.in_flight(), (0, 0, 0));
    assert_eq!(rig.lane.take_settled().delivered, 2);
    assert!(rig.steps().is_empty(), "it waits for the journal to grow");
    rig.lane.grown();
    assert!(matches!(rig.step(), Step::Read { from: 3, .. }));
}

#[test]
fn a_call_of_which_nothing_was_tried_needs_no_record_and_is_made_again_soon() {
    let mut rig = Rig::new(&Config::default());
    rig.step();
    rig.read(&[10]);
    let Step::Transform(call, request) = rig.step() else { panic!("not a transform") };
    rig.answer(call, &request, 100);
    let Step::Deliver(call, _) = rig.step() else { panic!("not a deliver") };
    rig.lane.delivered(&call, DeliverEnd::NeverLeft { why: Reason::word("connect") }, rig.now);
    assert!(rig.steps().is_empty());
    let wake_at = rig.lane.wake_at(rig.now.instant).expect("it wakes by itself");
    assert!(wake_at <= rig.now.instant + Duration::from_millis(100));
    rig.later(Duration::from_millis(100));
    assert!(matches!(rig.step(), Step::Deliver(..)));
}

#[test]
fn bytes_stay_counted_until_what_became_of_them_is_recorded() {
    let mut rig = Rig::new(&Config::default());
    rig.step();
    rig.read(&[10]);
    let Step::Transform(call, request) = rig.step() else { panic!("not a transform") };
    rig.answer(call, &request, 100);
    let Step::Deliver(call, _) = rig.step() else { panic!("not a deliver") };
    rig.lane.delivered(&call, verdicts(1, Some(Verdict::Delivered(Delivered {}))), rig.now);
    for _ in 0..3 {
        let Step::Record(call, _) = rig.step() else { panic!("not a record") };
        rig.lane.record_failed(call, rig.now);
        assert!(rig.lane.in_flight().2 >= 100, "a disk that fails is no way to carry more");
        rig.later(Duration::from_secs(2));
    }
}

#[test]
fn an_entry_that_is_settled_while_it_is_recorded_is_recorded_again() {
    let mut rig = Rig::new(&Config { deliver_max_events: 1, ..Config::default() });
    rig.step();
    rig.read(&[10]);
    let Step::Transform(call, request) = rig.step() else { panic!("not a transform") };
    rig.answer_each(call, &request, 100, 2);
    let mut steps = rig.steps().into_iter();
    let (Some(Step::Deliver(first, _)), Some(Step::Deliver(second, _))) = (steps.next(), steps.next()) else {
        panic!("not two delivers")
    };
    rig.lane.delivered(&first, verdicts(1, Some(Verdict::Delivered(Delivered {}))), rig.now);
    let Step::Record(recording, records) = rig.step() else { panic!("not a record") };
    assert!(!records[0].settled);
    rig.lane.delivered(&second, verdicts(1, Some(Verdict::Delivered(Delivered {}))), rig.now);
    rig.lane.recorded(recording, rig.now);
    let Step::Record(recording, records) = rig.step() else { panic!("not a record") };
    assert!(records[0].settled, "what came during the first record is in the second");
    rig.lane.recorded(recording, rig.now);
    assert_eq!(rig.lane.in_flight(), (0, 0, 0));
}

#[test]
fn a_webhook_that_does_not_fit_is_read_again_once_nothing_is_in_flight() {
    let mut rig = Rig::new(&Config { in_flight_bytes: 8_000, ..Config::default() });
    rig.step();
    rig.read(&[100, 5_000]);
    let Step::Transform(call, request) = rig.step() else { panic!("not a transform") };
    assert_eq!(request.webhooks.len(), 1);
    rig.answer(call, &request, 10);
    let Step::Deliver(call, _) = rig.step() else { panic!("not a deliver alone: it is not read over and over") };
    rig.lane.delivered(&call, verdicts(1, Some(Verdict::Delivered(Delivered {}))), rig.now);
    let Some(Step::Record(call, _)) = rig.lane.next(rig.now) else { panic!("not a record") };
    rig.lane.recorded(call, rig.now);
    let Step::Read { from: 2, limit, .. } = rig.step() else { panic!("not a read") };
    assert_eq!((limit.max_entries.get(), limit.max_bytes > 5_000), (1, true));
}

#[test]
fn a_webhook_that_needs_more_than_the_lane_may_hold_waits_for_room() {
    let config = Config { in_flight_bytes: 100_000, ..Config::default() };
    let mut rig = Rig::new(&config);
    rig.step();
    rig.lane.too_large(1, 90_000);
    assert!(rig.steps().is_empty());
    let wanted = rig.lane.uses().overdraft;
    assert!(wanted > 4 * 90_000, "{wanted}");
    assert!(rig.lane.wake_at(rig.now.instant).is_some(), "it asks again");
    let lent = |bytes| crate::overdraft::Lent { bytes, is_wanted: false };
    rig.lane.set_limits(Limits { overdraft: lent(wanted), ..Limits::alone(&config) });
    let Step::Read { from: 1, limit, .. } = rig.step() else { panic!("not a read") };
    assert_eq!((limit.max_entries.get(), limit.max_bytes), (1, 90_000));
    rig.read(&[90_000]);
    let Step::Transform(call, request) = rig.step() else { panic!("not a transform") };
    assert!(request.max_response_bytes > 3 * 90_000, "{}", request.max_response_bytes);
    rig.answer(call, &request, 10);
    assert_eq!(rig.lane.uses().overdraft, wanted, "until it is looked at");
    rig.steps();
    assert_eq!(rig.lane.uses().overdraft, 0, "what is left of it is small");
}

#[test]
fn an_answer_that_is_larger_than_the_room_for_it_is_asked_for_again() {
    let config = Config { in_flight_bytes: 400_000, ..Config::default() };
    let mut rig = Rig::new(&config);
    rig.step();
    rig.read(&[10]);
    let Step::Transform(call, request) = rig.step() else { panic!("not a transform") };
    rig.answer(call, &request, 500_000);
    assert!(rig.steps().is_empty());
    let wanted = rig.lane.uses().overdraft;
    assert!(wanted >= 500_000, "{wanted}");
    let lent = crate::overdraft::Lent { bytes: wanted, is_wanted: false };
    rig.lane.set_limits(Limits { overdraft: lent, ..Limits::alone(&config) });
    let Step::Transform(call, request) = rig.step() else { panic!("not a transform") };
    assert!(request.max_response_bytes >= 500_000);
    rig.answer(call, &request, 500_000);
    assert!(matches!(rig.step(), Step::Deliver(..)));
    assert_eq!(rig.lane.uses().overdraft, wanted, "while it is needed");
}

#[test]
fn every_call_that_begins_before_a_decision_is_noted_notes_it_itself() {
    let mut rig = Rig::new(&Config { deliver_max_events: 2, deliver_pause: Duration::ZERO, ..Config::default() });
    rig.step();
    rig.read(&[10]);
    let Step::Transform(call, request) = rig.step() else { panic!("not a transform") };
    rig.answer_each(call, &request, 10, 5);
    let mapping = Arc::new(moehog_proto::journal::Mapping { revision: "r1".into(), ..Default::default() });
    rig.lane.entries.get_mut(0).unwrap().mapping = Some(mapping.clone());
    let mut steps = rig.steps();
    let (Some(Step::Deliver(second, _)), Some(Step::Deliver(first, _))) = (steps.pop(), steps.pop()) else {
        panic!("not two calls")
    };
    let of_webhook = [crate::mappings::Decision { mapping, sequences: vec![1] }];
    assert_eq!((&first.decisions[..], &second.decisions[..]), (&of_webhook[..], &of_webhook[..]));
    // the first was not noted, and not made; the second was
    let not_made = DeliverEnd::NeverLeft { why: Reason::word("not_noted") };
    rig.lane.delivered(&first, not_made, rig.now);
    rig.lane.was_noted(&second);
    rig.lane.delivered(&second, verdicts(2, Some(Verdict::Delivered(Delivered {}))), rig.now);
    let decided = |step| match step {
        Step::Deliver(call, _) => Some(call.decisions.len()),
        _ => None,
    };
    assert_eq!(rig.steps().into_iter().filter_map(decided).collect::<Vec<_>>(), [0], "the journal knows it");
}

#[test]
fn in_a_backlog_a_call_that_is_not_full_waits_a_little_for_what_is_being_read() {
    let mut rig = Rig::new(&Config { deliver_max_events: 10, ..Config::default() });
    rig.step();
    rig.read_part(1, &[10; 15], false);
    let mut steps = rig.steps();
    assert!(matches!(steps.pop(), Some(Step::Read { from: 16, .. })));
    let Some(Step::Transform(call, request)) = steps.pop() else { panic!("not a transform") };
    rig.answer(call, &request, 100);
    let Step::Deliver(_, full) = rig.step() else { panic!("not a deliver") };
    assert_eq!(full.events.len(), 10, "there is room for two, and five wait for more");
    let wake_at = rig.lane.wake_at(rig.now.instant).expect("it wakes by itself");
    assert!(wake_at <= rig.now.instant + GATHER);
    rig.later(wake_at - rig.now.instant);
    let Step::Deliver(_, part) = rig.step() else { panic!("not a deliver") };
    assert_eq!(part.events.len(), 5, "nobody waits for long");
}

#[test]
fn a_call_that_is_not_full_waits_for_nothing_while_none_is_under_way_or_no_more_comes() {
    let config = Config { deliver_max_events: 10, ..Config::default() };
    let mut rig = Rig::new(&config);
    rig.step();
    rig.read_part(1, &[10; 5], false);
    let Some(Step::Transform(call, request)) = rig.steps().into_iter().next() else { panic!("not a transform") };
    rig.answer(call, &request, 100);
    assert!(matches!(rig.step(), Step::Deliver(..)), "none is under way");
    let mut rig = Rig::new(&config);
    rig.step();
    rig.read(&[10; 15]);
    let Step::Transform(call, request) = rig.step() else { panic!("not a transform") };
    rig.answer(call, &request, 100);
    let events: Vec<_> = rig.steps().iter().map(|step| matches!(step, Step::Deliver(..))).collect();
    assert_eq!(events, [true, true], "no more comes");
}

#[test]
fn large_events_fill_a_call_by_their_bytes() {
    let mut rig = Rig::new(&Config { deliver_max_bytes: 50_000, ..Config::default() });
    rig.step();
    rig.read_part(1, &[10; 9], false);
    let Some(Step::Transform(call, request)) = rig.steps().into_iter().next() else { panic!("not a transform") };
    rig.answer(call, &request, 20_000);
    let steps = rig.steps();
    let delivers = steps.iter().filter(|step| matches!(step, Step::Deliver(..))).count();
    assert_eq!(delivers, 2, "the window's two are full");
    assert!(rig.lane.full_waits(), "and another waits");
}

#[test]
fn a_transform_call_that_failed_gives_its_reserved_room_back() {
    let mut rig = Rig::new(&Config::default());
    rig.step();
    rig.read(&[10]);
    for _ in 0..5 {
        let Step::Transform(call, _) = rig.step() else { panic!("not a transform") };
        assert!(rig.lane.budget.reserved > 0);
        rig.lane.transform_failed(call, Failure::NeverLeft, rig.now);
        assert_eq!(rig.lane.budget.reserved, 0);
        rig.later(Duration::from_secs(10));
    }
}

#[test]
fn what_is_handed_on_is_tried_again_in_its_order_and_what_cannot_be_read_is_dead() {
    let mut rig = Rig::of("rule:main,eu", &Config::default());
    rig.step();
    rig.read(&[10, 10, 10]);
    let Step::Transform(call, request) = rig.step() else { panic!("not a transform") };
    rig.answer_each(call, &request, 100, 2);
    let Step::Route(call, parcels) = rig.step() else { panic!("not a route") };
    let receipt = Receipt::plain(JournalId(7), 9);
    let wanted: Vec<_> =
        parcels.iter().map(|parcel| (parcel.sequence, &*parcel.destination, parcel.events.len())).collect();
    assert_eq!(wanted, [(1, "main", 2), (2, "main", 2), (3, "main", 2)]);
    // nothing is said of the third
    rig.lane.routed(call, &[Handed::As(receipt), Handed::Later], rig.now);
    let Step::Record(call, records) = rig.step() else { panic!("not a record") };
    assert_eq!(records.iter().map(|record| (record.sequence, record.settled)).collect::<Vec<_>>(), [(1, true)]);
    assert!(records[0].progress.events.iter().all(|event| event.routed_to == receipt.to_string()));
    rig.lane.recorded(call, rig.now);
    assert!(rig.steps().is_empty(), "not again at once");
    let wake_at = rig.lane.wake_at(rig.now.instant).expect("it wakes by itself");
    rig.later(wake_at - rig.now.instant);
    let Step::Route(call, again) = rig.step() else { panic!("not a route") };
    assert_eq!(again, parcels[1..]);
    rig.lane.routed(call, &[Handed::Gone, Handed::As(receipt)], rig.now);
    let Step::Record(call, records) = rig.step() else { panic!("not a record") };
    assert!(records.iter().all(|record| record.settled));
    assert!(
        records[0].progress.events.iter().all(|event| event.reason == "webhook_unreadable" && !event.detail.is_empty())
    );
    rig.lane.recorded(call, rig.now);
    assert_eq!(rig.lane.in_flight(), (0, 0, 0), "all of it is given back");
    let settled = rig.lane.take_settled();
    assert_eq!((settled.settled, settled.filtered, settled.dead), (3, 4, 2));
    let died: Vec<_> = rig.lane.take_died().into_iter().map(|(_, reason, events)| (reason.code, events)).collect();
    assert_eq!(died, [("webhook_unreadable".to_string(), 2)]);
    assert!(rig.lane.take_died().is_empty(), "told once");
}

#[test]
fn what_becomes_final_or_waits_is_told_once_while_somebody_watches_and_else_not_at_all() {
    let mut rig = Rig::new(&Config::default());
    rig.lane.set_watched(true);
    rig.step();
    rig.read(&[10]);
    let Step::Transform(call, request) = rig.step() else { panic!("not a transform") };
    rig.answer(call, &request, 100);
    let retry = Verdict::Retry(moehog_proto::delivery::Retry::default());
    for verdict in [retry.clone(), retry, Verdict::Delivered(Delivered {})] {
        let deliver =
            rig.steps().into_iter().find_map(|step| if let Step::Deliver(call, _) = step { Some(call) } else { None });
        rig.lane.delivered(&deliver.expect("a deliver"), verdicts(1, Some(verdict)), rig.now);
        let record =
            rig.steps().into_iter().find_map(|step| if let Step::Record(call, _) = step { Some(call) } else { None });
        rig.lane.recorded(record.expect("a record"), rig.now);
        rig.later(Duration::from_secs(3600));
    }
    let told: Vec<_> = rig.lane.take_passed().into_iter().map(|passing| passing.state).collect();
    assert_eq!(told, [moehog_proto::journal::EventState::Pending, moehog_proto::journal::EventState::Delivered]);
    assert!(rig.lane.take_passed().is_empty());
    rig.lane.set_watched(false);
    assert!(rig.lane.take_passed().is_empty());
}
