//! The pure function: one webhook in, what became of its events out.

use std::{borrow::Cow, sync::Arc};

use moehog_proto::transformer::{TransformedWebhook, Webhook, transformed_webhook};
use moehog_runtime::Cores;
use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess};

use crate::{
    body::{self, DecodeError},
    config::Mapping,
    fault::{Fault, Unreadable},
    item::{self, Item, Kind, Members, Walk},
    mapping::{self, Context, List, Properties, ids::Ids, placeholder::Detector},
    moengage::EventCodes,
    notes::Notes,
    output::Output,
};

/// Maps webhooks to PostHog events. Cheap to clone; holds no state that changes.
#[derive(Debug, Clone)]
pub struct Transformer(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    config: Mapping,
    codes: EventCodes,
    placeholders: Detector,
    cores: Cores,
}

impl Transformer {
    /// A transformer with the built-in mapping.
    #[must_use]
    pub fn new(config: Mapping) -> Self {
        Self(Arc::new(Parts {
            config,
            codes: EventCodes::default(),
            placeholders: Detector::default(),
            cores: Cores::all(),
        }))
    }

    /// Where large calls are worked on.
    pub(crate) fn cores(&self) -> &Cores {
        &self.0.cores
    }

    /// Names the mapping that makes the events.
    #[must_use]
    pub fn revision(&self) -> &'static str {
        mapping::REVISION
    }

    /// Maps one webhook. Any bytes give events or a rejection; the same webhook gives the same answer.
    #[must_use]
    pub fn transform(&self, webhook: &Webhook) -> TransformedWebhook {
        self.transform_counted(webhook).0
    }

    /// [`Self::transform`], with counts of what was done beyond copying.
    #[must_use]
    pub fn transform_counted(&self, webhook: &Webhook) -> (TransformedWebhook, Notes) {
        let mut notes = Notes::default();
        let result = match self.map(webhook, &mut notes) {
            Ok(output) => transformed_webhook::Result::Mapped(output.finish()),
            Err(fault) => transformed_webhook::Result::Rejection(fault.into()),
        };
        (TransformedWebhook { result: Some(result) }, notes)
    }

    fn map(&self, webhook: &Webhook, notes: &mut Notes) -> Result<Output, Fault> {
        let bytes = body::unpack(&webhook.body).map_err(|error| match error {
            DecodeError::Gzip(_) => Fault::UnreadableGzip,
            DecodeError::TooLarge => Fault::TooLarge,
        })?;
        let text: Cow<'_, str> = body::text(&bytes, notes);
        if text.trim_ascii().is_empty() {
            return Err(Fault::EmptyBody);
        }
        let mut walk = Body {
            context: Context {
                webhook,
                codes: &self.0.codes,
                keep_push_tokens: self.0.config.keep_push_tokens,
                markers: self.0.placeholders.may_hold_marker(&text),
                ids: Ids::new(),
                notes: Notes::default(),
            },
            output: Output::new(webhook, text.len()),
            item: Item::default(),
            properties: Properties::new(),
            own: Item::default(),
            lists: 0,
            stopped: None,
        };
        let read = walk.read(&text);
        notes.merge(&walk.context.notes);
        read?;
        Ok(walk.output)
    }
}

/// A body while it is read. Events of a list are mapped as they are met, so that no list is ever held.
#[derive(Debug)]
struct Body<'a, 'w> {
    context: Context<'w>,
    output: Output,
    /// The event of a list under way.
    item: Item<'a>,
    properties: Properties<'a>,
    /// The body itself, which may be one event.
    own: Item<'a>,
    /// Lists of events that were met.
    lists: u32,
    /// Why reading was stopped before the end.
    stopped: Option<Fault>,
}

impl<'a> Body<'a, '_> {
    fn read(&mut self, text: &'a str) -> Result<(), Fault> {
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let read = Walk(&mut *self).deserialize(&mut deserializer).and_then(|()| deserializer.end());
        match (self.stopped, read) {
            (Some(fault), _) => return Err(fault),
            (None, Err(error)) => return Err(unreadable(&error, text)),
            (None, Ok(())) => {}
        }
        match self.lists {
            0 => self.map_own(),
            1 if self.output.is_empty() => Err(Fault::NoEvents),
            1 => {
                // a request's own key speaks for all its events
                if mapping::is_of_another_project(&self.own, &self.context.webhook.api_key) {
                    self.output.mismatch();
                }
                Ok(())
            }
            _ => Err(Fault::UnknownShape), // `events` and `batch` in one body
        }
    }

    /// Maps a body that is one event.
    fn map_own(&mut self) -> Result<(), Fault> {
        // the line of a file export holds the event as an object
        let nested = self.own.field("event").filter(|raw| raw.starts_with('{'));
        let list = if let Some(raw) = nested {
            self.item.read(raw);
            if mapping::is_of_another_project(&self.own, &self.context.webhook.api_key) {
                return self.output.take(0, Err(Fault::KeyMismatch), &self.properties);
            }
            List::Events
        } else {
            std::mem::swap(&mut self.item, &mut self.own);
            let is_event = ["event", "event_name", "event_code"].iter().any(|name| self.item.field(name).is_some());
            if !is_event || self.item.kind != Kind::Object {
                return Err(Fault::UnknownShape);
            }
            List::Batch
        };
        self.take(0, list)
    }

    fn take(&mut self, position: u32, list: List) -> Result<(), Fault> {
        let plan = mapping::map(&self.item, position, list, &mut self.context, &mut self.properties);
        self.output.take(position, plan, &self.properties)
    }
}

impl<'a> Members<'a> for Body<'a, '_> {
    fn kind(&mut self, kind: Kind) {
        self.own.kind = kind;
    }

    fn member<A: MapAccess<'a>>(&mut self, key: &'a str, members: &mut A) -> Result<(), A::Error> {
        let list = match &*item::name(key) {
            "events" => List::Events,
            "batch" => List::Batch,
            _ => return self.own.member(key, members),
        };
        members.next_value_seed(Walk(&mut Elements { body: self, list }))
    }

    fn elements<A: SeqAccess<'a>>(&mut self, elements: &mut A) -> Result<(), A::Error> {
        Elements { body: self, list: List::Batch }.elements(elements)
    }
}

/// A list of events.
struct Elements<'b, 'a, 'w> {
    body: &'b mut Body<'a, 'w>,
    list: List,
}

impl<'a> Members<'a> for Elements<'_, 'a, '_> {
    fn kind(&mut self, _: Kind) {}

    fn member<A: MapAccess<'a>>(&mut self, _: &'a str, members: &mut A) -> Result<(), A::Error> {
        members.next_value::<IgnoredAny>().map(|_| ())
    }

    fn elements<A: SeqAccess<'a>>(&mut self, elements: &mut A) -> Result<(), A::Error> {
        self.body.lists += 1;
        for position in 0.. {
            self.body.item.clear();
            if elements.next_element_seed(Walk(&mut self.body.item))?.is_none() {
                break;
            }
            if let Err(fault) = self.body.take(position, self.list) {
                self.body.stopped = Some(fault);
                return Err(A::Error::custom("stopped"));
            }
        }
        Ok(())
    }
}

fn unreadable(error: &serde_json::Error, text: &str) -> Fault {
    let text = text.trim_ascii_start();
    let cause = match text.as_bytes().first() {
        Some(b'{' | b'[') if error.is_eof() => Unreadable::Truncated,
        Some(b'{' | b'[') if is_whole(text) => Unreadable::Trailing,
        Some(b'{' | b'[') => Unreadable::Syntax,
        _ if text.contains('=') => Unreadable::Form,
        _ => Unreadable::Syntax,
    };
    Fault::UnreadableJson { line: error.line(), column: error.column(), cause }
}

/// Whether a valid value stands at the beginning.
fn is_whole(text: &str) -> bool {
    serde_json::Deserializer::from_str(text).into_iter::<IgnoredAny>().next().is_some_and(|value| value.is_ok())
}

#[cfg(test)]
mod tests;
