//! Dead letters that are tried again or discarded: what becomes of an entry's progress, the same in every back end.

use moehog_proto::{
    Receipt,
    journal::{EventOutcome, EventPlace, EventState, Progress},
};

/// What is to become of dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revision {
    /// They are mapped and sent again.
    Retry,
    /// They were seen, and nothing more is wanted of them: they are listed no more, and their webhooks may go.
    Discard,
}

/// Dead letters of one webhook. Those of one webhook stand together: it is named once in a call.
#[derive(Debug, Clone, PartialEq)]
pub struct Letters {
    /// The webhook.
    pub receipt: Receipt,
    /// Its dead events; empty is all of them.
    pub places: Vec<EventPlace>,
}

/// What became of dead letters of one webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revised {
    /// So many dead events are tried again or discarded; 0 where none of them was dead any more.
    Events(u64),
    /// Other events of the webhook are still under way, which are final first; or it was named before in the same call.
    UnderWay,
    /// The webhook is not kept any more, or what was recorded of it cannot be read.
    Gone,
}

/// The progress once its dead events at these places (all where there are none) are revised, and how many these are; none
/// where none of them is dead. `routed` says that the entry is for some events of its webhook only.
pub(crate) fn revise(
    progress: &Progress,
    places: &[EventPlace],
    to: Revision,
    routed: bool,
) -> Option<(Progress, u64)> {
    let is_meant = |event: &EventOutcome| {
        let at = EventPlace { position: event.position, ordinal: event.ordinal };
        event.state() == EventState::Dead && (places.is_empty() || places.contains(&at))
    };
    let count = progress.events.iter().filter(|event| is_meant(event)).count() as u64;
    if count == 0 {
        return None;
    }
    let mut revised = progress.clone();
    if to == Revision::Discard {
        revised.events.iter_mut().filter(|event| is_meant(event)).for_each(|event| {
            event.set_state(EventState::Discarded);
        });
        return Some((revised, count));
    }
    // what it is mapped by now is not what it was mapped by, and has not been tried
    (revised.transform_deaths, revised.trying_ms) = (0, 0);
    revised.retries += 1;
    revised.former_revision.clear();
    let is_whole = |event: &EventOutcome| (event.position, event.ordinal) == (0, 0) && event.uuid.is_empty();
    if let ([event], false) = (&revised.events[..], routed)
        && is_whole(event)
    {
        // nothing was made of the webhook: its events are those that are made of it now
        revised.events.clear();
        return Some((revised, count));
    }
    for event in revised.events.iter_mut().filter(|event| is_meant(event)) {
        *event = EventOutcome {
            position: event.position,
            ordinal: event.ordinal,
            uuid: event.uuid.clone(),
            state: EventState::Pending.into(),
            ..EventOutcome::default()
        };
    }
    Some((revised, count))
}
