use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn event(person: &str, uuid: u128, bytes: usize) -> Event {
    Event {
        uuid: uuid.to_be_bytes().to_vec().into(),
        distinct_id: person.to_string(),
        json: vec![b'x'; bytes].into(),
        ..Event::default()
    }
}

fn enter(barrier: &mut Barrier, sequence: u64, person: &str) {
    barrier.enter(0, 0, (sequence, event(person, u128::from(sequence), 10)), Tried::default());
}

fn sequences(barrier: &Barrier, call: &[Key]) -> Vec<u64> {
    call.iter().map(|key| barrier.get(*key).unwrap().sequence).collect()
}

/// All of a call is final and recorded.
fn settle(barrier: &mut Barrier, call: &[Key], now: Instant) {
    let persons: Vec<_> = call.iter().map(|key| barrier.person(*key).unwrap()).collect();
    for key in call {
        barrier.finish(*key);
    }
    persons.into_iter().for_each(|person| barrier.release(person, now));
}

#[test]
fn a_person_is_blocked_until_released_and_others_are_not() {
    let now = Instant::now();
    let mut barrier = Barrier::new();
    enter(&mut barrier, 1, "anna");
    let first = barrier.take(500, 1000);
    enter(&mut barrier, 2, "anna");
    enter(&mut barrier, 3, "bob");
    let second = barrier.take(500, 1000);
    assert_eq!(sequences(&barrier, &second), [3]);
    let anna = barrier.person(first[0]).unwrap();
    barrier.finish(first[0]);
    assert!(barrier.take(500, 1000).is_empty(), "final and not recorded");
    barrier.release(anna, now);
    let third = barrier.take(500, 1000);
    assert_eq!(sequences(&barrier, &third), [2]);
}

#[test]
fn an_event_put_back_goes_first_and_not_before_it_is_due() {
    let now = Instant::now();
    let due = now + Duration::from_secs(9);
    let mut barrier = Barrier::new();
    (1..=3).for_each(|sequence| enter(&mut barrier, sequence, "anna"));
    let call = barrier.take(2, 1000);
    assert_eq!(sequences(&barrier, &call), [1, 2]);
    let anna = barrier.person(call[0]).unwrap();
    for key in call.iter().rev() {
        barrier.put_back(*key, due);
    }
    barrier.release(anna, now);
    assert_eq!((barrier.due(), barrier.ready_events()), (Some(due), 0));
    barrier.wake(now);
    assert!(barrier.take(500, 1000).is_empty());
    barrier.wake(due);
    let again = barrier.take(500, 1000);
    assert_eq!(sequences(&barrier, &again), [1, 2, 3]);
}

#[test]
fn hurrying_makes_all_ready() {
    let now = Instant::now();
    let mut barrier = Barrier::new();
    enter(&mut barrier, 1, "anna");
    let call = barrier.take(1, 1000);
    let anna = barrier.person(call[0]).unwrap();
    barrier.put_back(call[0], now + Duration::from_secs(300));
    barrier.release(anna, now);
    barrier.hurry();
    assert_eq!((barrier.ready_events(), barrier.due()), (1, None));
}

#[test]
fn a_call_holds_what_fits_and_one_event_of_any_size() {
    let mut barrier = Barrier::new();
    for (sequence, bytes) in [(1, 5000), (2, 400), (3, 400), (4, 400)] {
        barrier.enter(
            0,
            0,
            (sequence, event(&format!("person{sequence}"), u128::from(sequence), bytes)),
            Tried::default(),
        );
    }
    let calls: Vec<Vec<Key>> = std::iter::repeat_with(|| barrier.take(500, 1000)).take(4).collect();
    let calls: Vec<_> = calls.iter().map(|call| sequences(&barrier, call)).collect();
    assert_eq!(calls, [vec![1], vec![2, 3], vec![4], vec![]]);
}

#[test]
fn one_uuid_is_not_taken_twice() {
    let mut barrier = Barrier::new();
    for (sequence, person, uuid) in [(1, "anna", 7), (2, "bob", 7), (3, "carl", 8), (4, "anna", 7), (5, "anna", 9)] {
        barrier.enter(0, 0, (sequence, event(person, uuid, 10)), Tried::default());
    }
    let first = barrier.take(500, 1000);
    assert_eq!(sequences(&barrier, &first), [1, 3], "what follows anna's second event waits with it");
    settle(&mut barrier, &first, Instant::now());
    let second = barrier.take(500, 1000);
    assert_eq!(sequences(&barrier, &second), [2], "bob was there first");
    settle(&mut barrier, &second, Instant::now());
    let third = barrier.take(500, 1000);
    assert_eq!(sequences(&barrier, &third), [4, 5]);
}

#[test]
fn an_event_with_a_limit_travels_in_no_larger_call() {
    let mut barrier = Barrier::new();
    (1..=8).for_each(|sequence| enter(&mut barrier, sequence, &format!("person{sequence}")));
    let call = barrier.take(500, 100_000);
    let persons: Vec<_> = call.iter().map(|key| barrier.person(*key).unwrap()).collect();
    for key in call.iter().rev() {
        barrier.get_mut(*key).unwrap().limit = 4;
        barrier.put_back(*key, Instant::now());
    }
    persons.into_iter().for_each(|person| barrier.release(person, Instant::now()));
    (9..=10).for_each(|sequence| enter(&mut barrier, sequence, &format!("person{sequence}")));
    let calls: Vec<Vec<Key>> = std::iter::repeat_with(|| barrier.take(500, 100_000)).take(3).collect();
    let calls: Vec<_> = calls.iter().map(|call| sequences(&barrier, call)).collect();
    assert_eq!(calls[0], [9, 10], "what may travel with many others, in every second call");
    assert_eq!(calls[1].len(), 4);
    assert_eq!(calls[2].len(), 4);
}

#[test]
fn a_probe_is_another_persons_event_each_time() {
    let now = Instant::now();
    let mut barrier = Barrier::new();
    (1..=3).for_each(|sequence| enter(&mut barrier, sequence, &format!("person{sequence}")));
    let mut probed = Vec::new();
    for _ in 0..6 {
        let key = barrier.take_probe(1, || 0.0)[0];
        probed.push(barrier.get(key).unwrap().sequence);
        let person = barrier.person(key).unwrap();
        barrier.put_back(key, now);
        barrier.release(person, now);
    }
    assert_eq!(probed, [1, 3, 2, 1, 3, 2], "that of the longest time ago, the newest, any");
}

/// What a test does to a barrier.
#[derive(Debug, Clone)]
enum Act {
    Enter(u8),
    Take(u8),
    Probe,
    /// Ends the nth call under way; each bit says whether an event is final.
    End(u8, u16),
    Hurry,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (0..5_u8).prop_map(Act::Enter),
        3 => (1..6_u8).prop_map(Act::Take),
        1 => Just(Act::Probe),
        4 => (any::<u8>(), any::<u16>()).prop_map(|(call, finals)| Act::End(call, finals)),
        1 => Just(Act::Hurry),
    ]
}

proptest! {
    /// The oracle keeps a plain list a person and knows nothing of lines, queues and hashes.
    #[test]
    fn events_of_a_person_leave_in_order_one_call_at_a_time_and_none_is_lost(
        acts in proptest::collection::vec(act(), 1..120),
    ) {
        let now = Instant::now();
        let mut barrier = Barrier::new();
        let mut open: HashMap<String, Vec<u64>> = HashMap::new();
        let mut calls: Vec<Vec<Key>> = Vec::new();
        let (mut sequence, mut drained) = (0, 0);
        let mut acts = acts.into_iter();
        loop {
            // at the end, everything that is left is taken and settled
            let act = match acts.next() {
                Some(act) => act,
                None if open.values().all(Vec::is_empty) => break,
                None => {
                    drained += 1;
                    prop_assert!(drained < 2000, "events are stuck: {:?}", open);
                    match drained % 3 {
                        0 => Act::Hurry,
                        1 => Act::Take(5),
                        _ => Act::End(0, u16::MAX),
                    }
                }
            };
            match act {
                Act::Enter(person) => {
                    sequence += 1;
                    let person = format!("person{person}");
                    enter(&mut barrier, sequence, &person);
                    open.entry(person).or_default().push(sequence);
                }
                Act::Take(_) | Act::Probe => {
                    let call = match act {
                        Act::Take(most) => barrier.take(most as usize, 1000),
                        _ => barrier.take_probe(1, || 0.0),
                    };
                    let mut of_call: HashMap<String, Vec<u64>> = HashMap::new();
                    for key in &call {
                        let waiting = barrier.get(*key).unwrap();
                        of_call.entry(waiting.event.distinct_id.clone()).or_default().push(waiting.sequence);
                    }
                    for (person, taken) in &of_call {
                        prop_assert_eq!(taken, &open[person][..taken.len()].to_vec(), "the oldest open events of {}", person);
                        let busy = calls.iter().flatten().any(|key| &barrier.get(*key).unwrap().event.distinct_id == person);
                        prop_assert!(!busy, "{} is in two calls", person);
                    }
                    if !call.is_empty() {
                        calls.push(call);
                    }
                }
                Act::End(call, finals) if !calls.is_empty() => {
                    let call = calls.remove(call as usize % calls.len());
                    let persons: Vec<_> = call.iter().map(|key| barrier.person(*key).unwrap()).collect();
                    for (index, key) in call.iter().enumerate().rev() {
                        if finals & (1 << (index % 16)) != 0 {
                            let waiting = barrier.finish(*key).unwrap();
                            open.get_mut(&waiting.event.distinct_id).unwrap().retain(|at| *at != waiting.sequence);
                        } else {
                            barrier.put_back(*key, now + Duration::from_secs(1 + index as u64));
                        }
                    }
                    persons.into_iter().for_each(|person| barrier.release(person, now));
                }
                Act::End(..) => {}
                Act::Hurry => barrier.hurry(),
            }
            let all: usize = open.values().map(Vec::len).sum();
            prop_assert_eq!(barrier.len(), all);
            prop_assert!(barrier.ready_events() <= all);
        }
        prop_assert_eq!((barrier.len(), barrier.ready_events(), barrier.lines.len()), (0, 0, 0));
    }
}

#[test]
fn what_stands_behind_a_suspect_is_not_delayed_and_says_behind_what() {
    let now = Instant::now();
    let mut barrier = Barrier::new();
    for (entry, person) in [(0, "anna"), (1, "anna"), (2, "bob")] {
        let event = event(person, entry as u128, 10);
        barrier.enter(entry, 0, (10 + entry as u64, event), Tried::default());
    }
    let delayed = |barrier: &Barrier| {
        let mut entries: Vec<_> = barrier.delayed().collect();
        entries.sort_unstable();
        entries
    };
    assert_eq!((delayed(&barrier), barrier.suspects()), (vec![0, 1, 2], 0));
    let call = barrier.take_probe(1, || 0.0);
    let (suspect, person) = (call[0], barrier.person(call[0]).unwrap());
    assert_eq!(barrier.standing(suspect), Standing::UnderWay);
    barrier.suspect(suspect, true);
    barrier.put_back(suspect, now + Duration::from_secs(1));
    barrier.release(person, now);
    let keys: Vec<_> = (0..3).map(|entry| barrier.of_entry(entry).next().unwrap().0).collect();
    let standing = |barrier: &Barrier| [0, 1, 2].map(|at| barrier.standing(keys[at]));
    let due = now + Duration::from_secs(1);
    assert_eq!(standing(&barrier), [Standing::Later(due, true), Standing::Behind(10), Standing::Ready]);
    assert_eq!((delayed(&barrier), barrier.suspects(), barrier.next_due()), (vec![2], 1, Some((due, true))));
    // while it is tried again, too
    barrier.wake(due);
    let again = barrier.take_probe(2, || 0.0);
    assert!(again.contains(&suspect));
    assert_eq!(delayed(&barrier), [2]);
    assert!(barrier.finish(suspect).is_some());
    assert_eq!(barrier.suspects(), 0);
}

#[test]
fn nobody_overtakes_what_stepped_aside_and_comes_back() {
    let now = Instant::now();
    let mut barrier = Barrier::new();
    [(1, "anna"), (2, "bob"), (3, "anna")].into_iter().for_each(|(at, person)| enter(&mut barrier, at, person));
    barrier.step_aside(4, false);
    [(4, "anna"), (5, "carl")].into_iter().for_each(|(at, person)| enter(&mut barrier, at, person));
    let call = barrier.take(500, 1000);
    assert_eq!(sequences(&barrier, &call), [5], "anna waits");
    settle(&mut barrier, &call, now);
    enter(&mut barrier, 1, "anna");
    assert_eq!(barrier.standing(0), Standing::Behind(1));
    let call = barrier.take(500, 1000);
    assert_eq!(sequences(&barrier, &call), [1], "her third is not back, and her fourth waits for that");
    settle(&mut barrier, &call, now);
    // what is here steps aside again: what of these persons comes back behind it waits for the next round
    enter(&mut barrier, 2, "bob");
    barrier.step_aside(5, false);
    [(3, "anna"), (4, "bob")].into_iter().for_each(|(at, person)| enter(&mut barrier, at, person));
    let call = barrier.take(500, 1000);
    assert_eq!(sequences(&barrier, &call), [3]);
    settle(&mut barrier, &call, now);
    barrier.begin_round();
    enter(&mut barrier, 2, "bob");
    barrier.all_are_back();
    let call = barrier.take(500, 1000);
    assert_eq!(sequences(&barrier, &call), [2, 4], "in their order");
}

#[test]
fn once_all_came_back_only_those_who_stepped_aside_again_are_waited_for() {
    let now = Instant::now();
    let mut barrier = Barrier::new();
    [(1, "anna"), (2, "bob")].into_iter().for_each(|(at, person)| enter(&mut barrier, at, person));
    barrier.step_aside(3, false);
    enter(&mut barrier, 1, "anna");
    let call = barrier.take(500, 1000);
    settle(&mut barrier, &call, now);
    // in the second round nothing of hers is left
    for _ in 0..2 {
        enter(&mut barrier, 2, "bob");
        barrier.step_aside(3, false);
        barrier.begin_round();
    }
    [(4, "anna"), (5, "bob")].into_iter().for_each(|(at, person)| enter(&mut barrier, at, person));
    let call = barrier.take(500, 1000);
    assert_eq!(sequences(&barrier, &call), [4]);
}

#[test]
fn a_barrier_that_is_filled_again_goes_on_with_what_is_probed_next() {
    let (mut barrier, mut probed) = (Barrier::new(), Vec::new());
    for _ in 0..3 {
        (1..=9).for_each(|sequence| enter(&mut barrier, sequence, &format!("person{sequence}")));
        let taken = barrier.take_probe(1, || 0.5);
        probed.extend(sequences(&barrier, &taken));
        barrier = Barrier::after(&barrier);
    }
    assert_eq!(probed, [1, 9, 5], "the oldest, the newest, any");
}
