//! A delivery service that does as told, and at every call checks what must hold at all times:
//!
//! - no event is sent again once a final state of it is recorded;
//! - an event that may have been sent is resent byte for byte;
//! - when an event of a person is sent, each earlier one is recorded final, or stands before it in the same call;
//! - events are in journal order, one uuid not twice, within the limits of a call.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use moehog_journal::{Journal, memory::Memory};
use moehog_proto::{
    Blame, Reason,
    delivery::{
        Answer, DeliverRequest, DeliverResponse, Delivered, DeliveryService, EventVerdict, Hold, Load, Refused,
        Rejected, Retry, Verdict,
    },
    event::Event,
    journal::{EventOutcome, EventState},
};
use parking_lot::Mutex;
use tonic::{Request, Response, Status};

/// Where an event is: sequence and position.
pub(crate) type At = (u64, u32);

/// What is to become of a call.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) after: Duration,
    /// One an event; too few say nothing of the rest.
    pub(crate) verdicts: Vec<EventVerdict>,
    /// The call dies instead of being answered; events whose verdict is `delivered` were taken all the same.
    pub(crate) dies: bool,
    pub(crate) load: Option<Load>,
}

type Script = Box<dyn FnMut(&DeliverRequest) -> Plan + Send>;

#[derive(Clone)]
pub(crate) struct Sink(Arc<Shared>);

struct Shared {
    journal: Arc<Memory>,
    state: Mutex<State>,
}

#[derive(Default)]
pub(crate) struct State {
    script: Option<Script>,
    /// Events of each call, and when it began.
    pub(crate) calls: Vec<(String, Vec<At>)>,
    /// Events that PostHog took, in the order of their arrival.
    pub(crate) taken: Vec<At>,
    /// Destination, person and uuid of each.
    pub(crate) gone_to: Vec<(String, String, Bytes)>,
    /// Bytes of events that may have been sent and are not final.
    pub(crate) sent: HashMap<At, Bytes>,
    /// All events of a person that are known to be planned, in journal order.
    pub(crate) planned: HashMap<String, Vec<At>>,
    /// Those of them that are recorded final.
    done: HashSet<At>,
    /// What was found wrong.
    pub(crate) faults: Vec<String>,
    /// Events that were not recorded as final when a later one of their person was sent, and what was sent.
    pub(crate) overtaken: Vec<((u64, u32), String)>,
    pub(crate) under_way: usize,
    pub(crate) most_under_way: usize,
}

pub(crate) fn delivered() -> EventVerdict {
    verdict(Verdict::Delivered(Delivered {}), &Reason::default())
}

pub(crate) fn rejected() -> EventVerdict {
    verdict(Verdict::Rejected(Rejected::default()), &because("refused", "PostHog said no"))
}

/// PostHog refused it alone.
pub(crate) fn refused() -> EventVerdict {
    verdict(Verdict::Refused(Refused::default()), &because("refused", "PostHog said no"))
}

pub(crate) fn retry(after_ms: u64) -> EventVerdict {
    verdict(Verdict::Retry(Retry { after_ms, ..Retry::default() }), &because("server_error", "status 503"))
}

/// PostHog answered 500 to it and others.
pub(crate) fn in_doubt() -> EventVerdict {
    verdict(Verdict::Retry(Retry { in_doubt: true, ..Retry::default() }), &because("server_error", "status 500"))
}

/// PostHog answered 500 to it alone.
pub(crate) fn failed() -> EventVerdict {
    verdict(Verdict::Retry(Retry { by_event: true, ..Retry::default() }), &because("server_error", "status 500"))
}

pub(crate) fn overloaded() -> EventVerdict {
    let retry = Retry { overloaded: true, ..Retry::default() };
    EventVerdict { sent: false, answer: 0, ..verdict(Verdict::Retry(retry), &Reason::word("overloaded")) }
}

pub(crate) fn hold() -> EventVerdict {
    let why = because("wrong_key", "no project owns it").remedied("set destinations.default.api_key");
    verdict(Verdict::Hold(Hold::default()), &why)
}

pub(crate) fn untried() -> EventVerdict {
    EventVerdict::default()
}

/// PostHog took it, or not, and says no more of it.
pub(crate) fn given_back() -> EventVerdict {
    EventVerdict { sent: true, answer: 1, ..EventVerdict::default() }
}

fn because(code: &str, message: &str) -> Reason {
    Reason::new(Blame::Destination, code, message)
}

fn verdict(verdict: Verdict, why: &Reason) -> EventVerdict {
    let mut given = EventVerdict { sent: true, answer: 1, ..EventVerdict::default() };
    given.give(verdict, why);
    given
}

impl Plan {
    pub(crate) fn all(request: &DeliverRequest, verdict: fn() -> EventVerdict) -> Self {
        let verdicts = std::iter::repeat_with(verdict).take(request.events.len()).collect();
        Self { after: Duration::from_millis(20), verdicts, dies: false, load: None }
    }

    /// Everything is refused: a few events alone, and the rest is given back, as delivery does.
    pub(crate) fn refusing(request: &DeliverRequest) -> Self {
        let mut verdicts = vec![given_back(); request.events.len()];
        verdicts.iter_mut().take(8).for_each(|verdict| *verdict = refused());
        Self { after: Duration::from_millis(20), verdicts, dies: false, load: None }
    }

    /// Each event gets its own.
    pub(crate) fn each(request: &DeliverRequest, mut verdict: impl FnMut(&Event) -> EventVerdict) -> Self {
        let verdicts = request.events.iter().map(&mut verdict).collect();
        Self { after: Duration::from_millis(20), verdicts, dies: false, load: None }
    }

    pub(crate) fn dying(self) -> Self {
        Self { dies: true, ..self }
    }
}

pub(crate) fn at(event: &Event) -> At {
    (event.receipt.parse().unwrap(), event.position)
}

impl Sink {
    pub(crate) fn new(journal: Arc<Memory>) -> Self {
        Self(Arc::new(Shared { journal, state: Mutex::default() }))
    }

    pub(crate) fn script(&self, script: impl FnMut(&DeliverRequest) -> Plan + Send + 'static) {
        self.0.state.lock().script = Some(Box::new(script));
    }

    pub(crate) fn state(&self) -> parking_lot::MutexGuard<'_, State> {
        self.0.state.lock()
    }

    /// Every event, by its uuid, went to one destination, and under one person's name.
    pub(crate) fn each_went_to_one_place(&self) {
        let state = self.state();
        let mut places = HashMap::new();
        for (destination, person, uuid) in &state.gone_to {
            let place = places.entry(uuid.clone()).or_insert_with(|| (destination.clone(), person.clone()));
            assert_eq!((destination, person), (&place.0, &place.1), "{uuid:?} went to two places");
        }
    }

    /// The process died: nothing is under way any more. What may have been sent is sent again as it was.
    pub(crate) fn forget(&self) {
        self.0.state.lock().under_way = 0;
    }

    pub(crate) async fn outcome(&self, (sequence, position): At) -> Option<EventOutcome> {
        let journal = &self.0.journal;
        let entry = journal.get(journal.receipt_of(sequence)).await.unwrap().unwrap();
        entry.progress?.events.into_iter().find(|event| event.position == position)
    }

    async fn check(&self, request: &DeliverRequest) {
        let (mut faults, mut overtaken) = (Vec::new(), Vec::new());
        let ats: Vec<At> = request.events.iter().map(at).collect();
        if !ats.is_sorted() {
            faults.push(format!("not in journal order: {ats:?}"));
        }
        let uuids: HashSet<_> = request.events.iter().map(|event| event.uuid.clone()).collect();
        if uuids.len() < ats.len() {
            faults.push(format!("one uuid twice in a call: {ats:?}"));
        }
        if ats.is_empty() || ats.len() > 500 {
            faults.push(format!("a call of {} events", ats.len()));
        }
        let planned: HashMap<String, Vec<At>> = {
            let state = self.state();
            let of = |event: &Event| Some((event.distinct_id.clone(), state.planned.get(&event.distinct_id)?));
            let open = |(person, all): (String, &Vec<At>)| {
                (person, all.iter().filter(|at| !state.done.contains(at)).copied().collect())
            };
            request.events.iter().filter_map(of).map(open).collect()
        };
        let mut known = BTreeMap::new();
        for (index, event) in request.events.iter().enumerate() {
            let outcome = self.outcome(ats[index]).await;
            if outcome.as_ref().is_some_and(is_final) {
                faults.push(format!("{:?} is sent although it is recorded {outcome:?}", ats[index]));
            }
            if let Some(mapped) = outcome.and_then(|outcome| outcome.mapped)
                && mapped.json != event.json
            {
                faults.push(format!("{:?} is not resent as it was recorded", ats[index]));
            }
            for earlier in
                planned.get(&event.distinct_id).into_iter().flatten().filter(|earlier| **earlier < ats[index])
            {
                if ats[..index].contains(earlier) {
                    continue;
                }
                let is_done = match known.get(earlier) {
                    Some(is_done) => *is_done,
                    None => {
                        let is_done = self.outcome(*earlier).await.as_ref().is_some_and(is_final);
                        known.insert(*earlier, is_done);
                        is_done
                    }
                };
                if !is_done {
                    overtaken
                        .push((*earlier, format!("{:?} of {} overtakes {earlier:?}", ats[index], event.distinct_id)));
                }
            }
        }
        let mut state = self.state();
        state.done.extend(known.iter().filter(|(_, is_done)| **is_done).map(|(at, _)| *at));
        for (event, at) in request.events.iter().zip(&ats) {
            if state.sent.get(at).is_some_and(|sent| *sent != event.json) {
                faults.push(format!("{at:?} is not resent byte for byte"));
            }
        }
        state.faults.extend(faults);
        state.overtaken.extend(overtaken);
        state.calls.push((request.destination.clone(), ats));
    }
}

fn is_final(outcome: &EventOutcome) -> bool {
    !matches!(outcome.state(), EventState::Pending | EventState::Unspecified)
}

/// Counts a call while it is under way.
struct UnderWay(Sink);

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.under_way = state.under_way.saturating_sub(1);
    }
}

#[tonic::async_trait]
impl DeliveryService for Sink {
    async fn deliver(&self, request: Request<DeliverRequest>) -> Result<Response<DeliverResponse>, Status> {
        let request = request.into_inner();
        self.check(&request).await;
        let plan = {
            let mut state = self.state();
            state.under_way += 1;
            state.most_under_way = state.most_under_way.max(state.under_way);
            match &mut state.script {
                Some(script) => script(&request),
                None => Plan::all(&request, delivered),
            }
        };
        let _under_way = UnderWay(self.clone());
        let sent = request.events.iter().zip(&plan.verdicts).filter(|(_, verdict)| plan.dies || verdict.sent);
        self.state().sent.extend(sent.map(|(event, _)| (at(event), event.json.clone())));
        tokio::time::sleep(plan.after).await;
        let is_taken = |verdict: &EventVerdict| matches!(verdict.verdict, Some(Verdict::Delivered(_)));
        let taken = request.events.iter().zip(&plan.verdicts).filter(|(_, verdict)| is_taken(verdict));
        let taken: Vec<_> = taken.map(|(event, _)| event).collect();
        let gone_to = |event: &&Event| (request.destination.clone(), event.distinct_id.clone(), event.uuid.clone());
        self.state().gone_to.extend(taken.iter().map(gone_to));
        self.state().taken.extend(taken.into_iter().map(at));
        if plan.dies {
            return Err(Status::unavailable("connection reset"));
        }
        let worst = plan.verdicts.iter().any(|verdict| !is_taken(verdict));
        let answer = Answer {
            started_at_ms: 1,
            duration_ms: 20,
            status: if worst { 503 } else { 200 },
            body: "body".into(),
            events: request.events.len() as u32,
        };
        Ok(Response::new(DeliverResponse { verdicts: plan.verdicts, answers: vec![answer], load: plan.load }))
    }
}
