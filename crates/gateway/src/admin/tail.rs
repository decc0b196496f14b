//! `/api/tail`: events as they pass, as server-sent events.
//!
//! A reader that is too slow is told how many it missed; the relay waits for none. Persons are hashed, unless asked for.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    extract::{Query, State},
    response::{
        IntoResponse, Response, Sse,
        sse::{Event, KeepAlive},
    },
};
use futures::stream;
use http::StatusCode;
use moehog_proto::journal::EventState;
use moehog_relay::{FeedReader, MAX_READERS, Passed, Told};
use ring::hmac;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Admin, Failure, view::time};

/// Between two signs of life where nothing passes.
const ALIVE_EVERY: Duration = Duration::from_secs(10);

/// What a reader wants to see: all that is given must fit.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ask {
    source: Option<String>,
    destination: Option<String>,
    event: Option<String>,
    /// As PostHog knows it, or as it is shown here.
    person: Option<String>,
    state: Option<Where>,
    reason: Option<String>,
    /// Show persons as PostHog knows them.
    #[serde(default)]
    show_persons: bool,
}

/// Where an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Where {
    Delivered,
    DeliveredDegraded,
    Filtered,
    Duplicate,
    Dead,
    Discarded,
    Waiting,
}

impl From<EventState> for Where {
    fn from(state: EventState) -> Self {
        match state {
            EventState::Unspecified | EventState::Pending => Self::Waiting,
            EventState::Delivered => Self::Delivered,
            EventState::DeliveredDegraded => Self::DeliveredDegraded,
            EventState::Filtered => Self::Filtered,
            EventState::Duplicate => Self::Duplicate,
            EventState::Dead => Self::Dead,
            EventState::Discarded => Self::Discarded,
        }
    }
}

/// One event that passed.
#[derive(Debug, Serialize)]
struct PassedView<'a> {
    at: Option<String>,
    source: &'a str,
    destination: &'a str,
    /// Its name at PostHog; null where no event was made.
    event: Option<&'a str>,
    /// Null where no event was made.
    person: Option<String>,
    state: Where,
    /// A code; null of what was simply delivered.
    reason: Option<&'a str>,
    /// The reason's field, message and remedy.
    field: Option<&'a str>,
    detail: Option<String>,
    receipt: String,
    position: u32,
    ordinal: u32,
    uuid: Option<Uuid>,
}

/// Makes short hashes of persons, by a key that is drawn at the start: the same person has the same one until the gateway ends.
#[derive(Debug, Clone)]
pub(crate) struct Persons(Arc<hmac::Key>);

impl Persons {
    pub(crate) fn new() -> Self {
        let drawn = [Uuid::new_v4().into_bytes(), Uuid::new_v4().into_bytes()].concat();
        Self(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, &drawn)))
    }

    fn hash(&self, person: &str) -> String {
        format!("~{}", hex::encode(&hmac::sign(&self.0, person.as_bytes()).as_ref()[..5]))
    }
}

impl Ask {
    /// What a reader is shown of an event; nothing of one that it does not want.
    fn view<'a>(&self, passed: &'a Passed, persons: &Persons) -> Option<PassedView<'a>> {
        let fits = |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|wanted| wanted == is);
        let state = passed.state.into();
        let is_wanted = fits(&self.source, &passed.source)
            && fits(&self.destination, &passed.destination)
            && fits(&self.event, &passed.event)
            && fits(&self.reason, &passed.reason.code)
            && self.state.is_none_or(|wanted| wanted == state);
        if !is_wanted {
            return None;
        }
        let hashed = (!passed.person.is_empty()).then(|| persons.hash(&passed.person));
        let is_person = |wanted: &str| wanted == passed.person || hashed.as_deref() == Some(wanted);
        if self.person.as_deref().is_some_and(|wanted| !is_person(wanted)) {
            return None;
        }
        let some = |text: &'a str| Some(text).filter(|text| !text.is_empty());
        let reason = &passed.reason;
        Some(PassedView {
            at: time(passed.at_ms),
            source: &passed.source,
            destination: &passed.destination,
            event: some(&passed.event),
            person: if self.show_persons { some(&passed.person).map(str::to_string) } else { hashed },
            state,
            reason: some(&reason.code),
            field: some(&reason.field),
            detail: Some(reason.sentence()).filter(|sentence| !sentence.is_empty()),
            receipt: passed.receipt.to_string(),
            position: passed.position,
            ordinal: passed.ordinal,
            uuid: passed.uuid,
        })
    }

    /// The next that is told to a reader: an `event`, or how many it `missed`.
    async fn next(&self, reader: &mut FeedReader, persons: &Persons) -> Option<Event> {
        loop {
            let told = match reader.next().await? {
                Told::Missed(missed) => {
                    Event::default().event("missed").json_data(serde_json::json!({"missed": missed}))
                }
                Told::Passed(passed) => match self.view(&passed, persons) {
                    Some(view) => Event::default().event("event").json_data(view),
                    None => continue,
                },
            };
            return told.ok();
        }
    }
}

/// Events from now on, until the reader goes or the relay ends.
pub(super) async fn follow(State(admin): State<Admin>, Query(ask): Query<Ask>) -> Result<Response, Failure> {
    let Some(reader) = admin.relay.feed().read() else {
        return Err(Failure {
            status: StatusCode::SERVICE_UNAVAILABLE,
            error: "too_many_readers",
            message: format!("{MAX_READERS} read what passes already: end one of them"),
        });
    };
    // said at once, so that whoever asks knows from when on nothing is missed
    let begins = Event::default().event("begin").data("{}");
    let told = stream::unfold((reader, ask, admin.persons, Some(begins)), |(mut reader, ask, persons, begins)| async {
        let event = match begins {
            Some(begins) => begins,
            None => ask.next(&mut reader, &persons).await?,
        };
        Some((Ok::<_, Infallible>(event), (reader, ask, persons, None)))
    });
    Ok(Sse::new(told).keep_alive(KeepAlive::new().interval(ALIVE_EVERY)).into_response())
}

#[cfg(test)]
mod tests {
    use moehog_proto::{JournalId, Reason, Receipt};

    use super::*;

    fn passed() -> Passed {
        Passed {
            at_ms: 1_764_000_000_000,
            source: "shop".into(),
            destination: "default".into(),
            receipt: Receipt::plain(JournalId(1), 1),
            position: 2,
            ordinal: 0,
            uuid: None,
            event: "Purchased".into(),
            person: "ada".into(),
            state: EventState::Dead,
            reason: Reason::word("refused"),
        }
    }

    #[test]
    fn a_person_is_the_same_hash_until_the_end_and_shown_only_where_asked_for() {
        let (persons, others) = (Persons::new(), Persons::new());
        let shown = |ask: Ask, persons: &Persons| ask.view(&passed(), persons).unwrap().person.unwrap();
        let hash = shown(Ask::default(), &persons);
        assert_eq!(hash, shown(Ask::default(), &persons));
        assert_ne!(hash, shown(Ask::default(), &others));
        assert!(!serde_json::to_string(&Ask::default().view(&passed(), &persons)).unwrap().contains("ada"));
        assert_eq!(shown(Ask { show_persons: true, ..Ask::default() }, &persons), "ada");
        for person in [hash.as_str(), "ada"] {
            assert!(Ask { person: Some(person.into()), ..Ask::default() }.view(&passed(), &persons).is_some());
        }
    }

    #[test]
    fn all_filters_that_are_given_must_fit() {
        let (persons, some) = (Persons::new(), |text: &str| Some(text.to_string()));
        let fitting = || Ask {
            source: some("shop"),
            destination: some("default"),
            event: some("Purchased"),
            person: some("ada"),
            state: Some(Where::Dead),
            reason: some("refused"),
            show_persons: false,
        };
        assert!(fitting().view(&passed(), &persons).is_some());
        let other = some("other");
        for ask in [
            Ask { source: other.clone(), ..fitting() },
            Ask { destination: other.clone(), ..fitting() },
            Ask { event: other.clone(), ..fitting() },
            Ask { person: other.clone(), ..fitting() },
            Ask { state: Some(Where::Waiting), ..fitting() },
            Ask { reason: other, ..fitting() },
        ] {
            assert!(ask.view(&passed(), &persons).is_none(), "{ask:?}");
        }
    }
}
