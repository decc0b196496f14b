//! Which events may stand in one request.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use moehog_proto::event::Event;

/// Requests that are begun so that a person's order holds between history and what is live. Beyond them, where somebody
/// mixes the two on and on, order holds within each: PostHog itself keeps the two in queues of their own.
const MAX_FOR_ORDER: usize = 16;

/// Cuts the events of a call into requests, as they come. A request holds no uuid twice, unless it is one event at most
/// so many bytes, either history or what is live, and either what v1 takes as it is or what it does not.
#[derive(Debug)]
pub(super) struct Cut<'a> {
    events: &'a [Event],
    max_request_bytes: usize,
    /// Indexes into `events`, ascending, a request each, in the order in which they are made.
    requests: Vec<Vec<usize>>,
    /// By the kind of its events.
    open: HashMap<Kind, Open<'a>>,
    /// The last request that holds an event of a person, where the call has events of both kinds.
    last_of_person: Option<HashMap<&'a str, usize>>,
}

/// Events of two kinds stand in no request together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Kind {
    pub(super) historical: bool,
    /// v1 takes it as it is.
    pub(super) fits_v1: bool,
}

/// A request that takes more events.
#[derive(Debug)]
struct Open<'a> {
    request: usize,
    bytes: usize,
    uuids: HashSet<&'a Bytes>,
}

impl<'a> Cut<'a> {
    /// `is_mixed`: the events are of more than one kind.
    pub(super) fn new(events: &'a [Event], is_mixed: bool, max_request_bytes: usize) -> Self {
        let last_of_person = is_mixed.then(HashMap::new);
        Self { events, max_request_bytes, requests: Vec::new(), open: HashMap::new(), last_of_person }
    }

    /// Takes the next event, by its index.
    pub(super) fn take(&mut self, index: usize, kind: Kind) {
        let event = &self.events[index];
        let person = event.distinct_id.as_str();
        let last = self.last_of_person.as_ref().and_then(|last| last.get(person).copied()).unwrap_or_default();
        let keeps_order = self.requests.len() < MAX_FOR_ORDER;
        let fits = |open: &Open<'_>| {
            let again = !event.uuid.is_empty() && open.uuids.contains(&event.uuid);
            !again && open.bytes + event.json.len() <= self.max_request_bytes && (open.request >= last || !keeps_order)
        };
        if !self.open.get(&kind).is_some_and(fits) {
            self.open.insert(kind, Open { request: self.requests.len(), bytes: 0, uuids: HashSet::new() });
            self.requests.push(Vec::new());
        }
        let Some(open) = self.open.get_mut(&kind) else { return };
        self.requests[open.request].push(index);
        open.bytes += event.json.len() + 1;
        open.uuids.insert(&event.uuid);
        if let Some(last) = &mut self.last_of_person {
            last.insert(person, open.request);
        }
    }

    /// The requests, in the order in which they are made.
    pub(super) fn into_requests(self) -> Vec<Vec<usize>> {
        self.requests
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cut(events: &[Event], max_request_bytes: usize) -> Vec<Vec<usize>> {
        let has = |historical| events.iter().any(|event| event.historical == historical);
        let mut cut = Cut::new(events, has(true) && has(false), max_request_bytes);
        for (index, event) in events.iter().enumerate() {
            cut.take(index, Kind { historical: event.historical, fits_v1: false });
        }
        cut.into_requests()
    }

    fn event(number: usize, person: &str, historical: bool) -> Event {
        Event {
            uuid: Bytes::copy_from_slice(&(number as u128).to_be_bytes()),
            distinct_id: person.to_string(),
            json: vec![b'x'; 10].into(),
            historical,
            ..Event::default()
        }
    }

    fn events(kinds: &[(&str, bool)]) -> Vec<Event> {
        kinds.iter().enumerate().map(|(number, (person, historical))| event(number, person, *historical)).collect()
    }

    #[test]
    fn history_and_what_is_live_never_stand_in_one_request() {
        let mixed = events(&[("a", true), ("b", false), ("c", true), ("d", false)]);
        assert_eq!(cut(&mixed, 1000), [vec![0, 2], vec![1, 3]]);
    }

    #[test]
    fn a_person_with_both_keeps_the_order_and_others_cost_no_request() {
        let mixed = events(&[("a", false), ("b", true), ("a", true), ("b", false), ("c", true), ("c", true)]);
        assert_eq!(cut(&mixed, 1000), [vec![0], vec![1, 2, 4, 5], vec![3]]);
    }

    #[test]
    fn who_mixes_the_two_on_and_on_costs_few_requests() {
        let mixed: Vec<_> = (0..500).map(|number| event(number, "a", number % 2 == 0)).collect();
        assert_eq!(cut(&mixed, 1 << 20).len(), MAX_FOR_ORDER);
    }

    proptest! {
        #[test]
        fn every_event_stands_in_one_request_of_its_kind_in_order(
            kinds in prop::collection::vec((0..4_u8, any::<bool>()), 0..40), max in 5..120_usize,
        ) {
            let all: Vec<_> =
                kinds.iter().enumerate().map(|(number, (person, kind))| event(number, &person.to_string(), *kind)).collect();
            let requests = cut(&all, max);
            let mut seen: Vec<usize> = requests.concat();
            // in the order of requests, while there are few
            if requests.len() < MAX_FOR_ORDER {
                for person in 0..4_u8 {
                    let of: Vec<_> = seen.iter().filter(|index| all[**index].distinct_id == person.to_string()).collect();
                    prop_assert!(of.is_sorted(), "{requests:?}");
                }
            }
            for request in &requests {
                prop_assert!(request.is_sorted() && !request.is_empty());
                prop_assert!(request.iter().all(|index| all[*index].historical == all[request[0]].historical));
                prop_assert!(request.len() == 1 || request.len() * 11 <= max + 1);
            }
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..all.len()).collect::<Vec<_>>());
        }
    }
}
