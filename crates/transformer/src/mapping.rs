//! From an event as it was sent to a plan of the event as PostHog is told it.
//!
//! A plan holds slices of the body: values that no rule touches are copied as they stand, and only what a rule computes is
//! made anew. Writing a plan down is `Output`'s.

pub(crate) mod capture;
pub(crate) mod identity;
pub(crate) mod ids;
pub(crate) mod placeholder;
mod properties;
pub(crate) mod streams;
pub(crate) mod time;

use std::borrow::Cow;

use uuid::Uuid;

pub(crate) use self::properties::{Properties, Rank};
use self::{ids::Ids, placeholder::Policy, time::Moment};
use crate::{
    fault::Fault,
    item::{Item, Kind},
    json,
    moengage::EventCodes,
    notes::{Note, Notes},
    output,
};
use moehog_proto::transformer::Webhook;

/// Names the built-in mapping; it changes with what the mapping makes of a body.
pub(crate) const REVISION: &str = "builtin-1";

/// Deepest value that PostHog reads inside a batch.
///
/// Source: PostHog's capture reads with serde_json, limit 128 (probed 2026-08); a value stands four levels deep.
const MAX_DEPTH: usize = 100;

/// What one event becomes, beside its properties.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    pub(crate) uuid: Uuid,
    pub(crate) name: Cow<'a, str>,
    pub(crate) distinct_id: Cow<'a, str>,
    pub(crate) moment: Moment<'a>,
    /// PostHog shall make no person profile of it.
    pub(crate) personless: bool,
}

/// What the mapping of an event may use beside the event.
#[derive(Debug)]
pub(crate) struct Context<'w> {
    pub(crate) webhook: &'w Webhook,
    pub(crate) codes: &'w EventCodes,
    pub(crate) keep_push_tokens: bool,
    /// The body holds something like a placeholder.
    pub(crate) markers: bool,
    pub(crate) ids: Ids,
    pub(crate) notes: Notes,
}

impl Context<'_> {
    /// The UUID by the event's own id, else by its place in the webhook first taken.
    fn uuid(&mut self, id: Option<&str>, position: u32) -> Uuid {
        match id {
            Some(id) => self.ids.of_id(&self.webhook.source, id),
            None => self.ids.of_place(&self.webhook.source, output::origin_receipt(self.webhook), position),
        }
    }

    /// When it happened by `raw`, else when the webhook was received.
    fn moment<'a>(&mut self, raw: Option<&'a str>) -> Moment<'a> {
        let Some(raw) = raw.filter(|raw| !json::is_null(raw)) else { return self.received() };
        match Moment::read(raw) {
            Some(moment) => {
                if !moment.is_verbatim() && !json::is_number(raw) {
                    self.notes.count(Note::RewrittenTime);
                }
                moment
            }
            None => {
                self.notes.count(Note::UnreadableTime);
                self.received()
            }
        }
    }

    fn received(&self) -> Moment<'static> {
        Moment::from_ms(self.webhook.received_at_ms)
    }

    fn policy(&self, nothings: bool) -> Policy {
        Policy { markers: self.markers, nothings }
    }
}

/// Maps one event of a body by what it looks like; `list` is the list it stands in.
pub(crate) fn map<'a>(
    item: &Item<'a>,
    position: u32,
    list: List,
    context: &mut Context<'_>,
    properties: &mut Properties<'a>,
) -> Result<Plan<'a>, Fault> {
    properties.clear();
    if item.kind != Kind::Object {
        return Err(Fault::NotAnObject);
    }
    if item.overflows() {
        return Err(Fault::TooManyProperties);
    }
    if list == List::Events {
        return streams::map(item, position, context, properties);
    }
    if is_of_another_project(item, &context.webhook.api_key) {
        return Err(Fault::KeyMismatch);
    }
    if streams::is_flat(item) {
        return streams::map(item, position, context, properties);
    }
    capture::map(item, position, context, properties)
}

/// The list of a body that an event stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum List {
    /// `events` of a Streams batch.
    Events,
    /// `batch` of a PostHog request, a bare array, or no list at all.
    Batch,
}

/// Refuses a value that PostHog could not read.
fn checked(raw: &str) -> Result<&str, Fault> {
    if json::nests_deeper(raw, MAX_DEPTH) { Err(Fault::NestedTooDeep) } else { Ok(raw) }
}

/// Whether the event names a project other than `key`. Without a key of the request every event goes where its source says.
pub(crate) fn is_of_another_project(item: &Item<'_>, key: &str) -> bool {
    let differs = |raw: &str| json::string(raw).is_some_and(|own| !own.is_empty() && own != key);
    if key.is_empty() {
        return false;
    }
    let mut own = ["api_key", "token", "$token"].iter().filter_map(|name| item.field(name)).peekable();
    if own.peek().is_some() {
        return own.any(differs);
    }
    // a property named `token` may be anything; only what looks like a project key is one
    let token = item.properties.pairs.iter().rev().find(|pair| pair.name == "token");
    token.is_some_and(|pair| pair.value.starts_with("\"phc_") && differs(pair.value))
}
