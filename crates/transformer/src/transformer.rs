//! The pure function: one webhook in, what became of its events out.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    sync::{Arc, Weak},
};

use moehog_proto::transformer::{TransformedWebhook, Webhook, transformed_webhook};
use moehog_runtime::Cores;
use parking_lot::RwLock;
use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess};

use crate::{
    body::{self, DecodeError},
    builtin::{Context, capture, rudder},
    config::Mapping,
    costly::Named,
    fault::Fault,
    former::Former,
    item::{self, Item, Kind, Members, Walk},
    mapping::{self, List},
    moengage::EventCodes,
    notes::{Note, Notes, Repair},
    output::Output,
    rules::Rules,
    value::{Properties, placeholder::Detector, time::ahead_ms},
};

/// Maps webhooks to PostHog events. Cheap to clone; the rules can be replaced while it is used.
#[derive(Debug, Clone)]
pub struct Transformer(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    keep_push_tokens: bool,
    rules: RwLock<Arc<Rules>>,
    /// Rules of before that callers asked for.
    former: Former,
    costly: Named,
    codes: EventCodes,
    placeholders: Detector,
    cores: Cores,
    /// Names this process.
    instance: String,
}

impl Transformer {
    /// A transformer with the built-in mapping and rules over it, which may use all cores.
    #[must_use]
    pub fn new(config: &Mapping, rules: Rules) -> Self {
        Self::on(Cores::all(), config, rules)
    }

    /// One whose long work is done on these cores.
    pub(crate) fn on(cores: Cores, config: &Mapping, rules: Rules) -> Self {
        Self(Arc::new(Parts {
            keep_push_tokens: config.keep_push_tokens,
            rules: RwLock::new(Arc::new(rules.with_push_tokens(config.keep_push_tokens))),
            former: Former::default(),
            costly: Named::default(),
            codes: EventCodes::default(),
            placeholders: Detector::default(),
            cores,
            instance: uuid::Uuid::new_v4().to_string(),
        }))
    }

    /// The same, without keeping it alive.
    pub(crate) fn downgrade(&self) -> WeakTransformer {
        WeakTransformer(Arc::downgrade(&self.0))
    }

    /// Names this process in answers.
    pub(crate) fn instance(&self) -> &str {
        &self.0.instance
    }

    /// What was named in the log for its cost.
    pub(crate) fn costly(&self) -> &Named {
        &self.0.costly
    }

    /// Where is worked on what may take long.
    pub(crate) fn cores(&self) -> &Cores {
        &self.0.cores
    }

    /// The rules as they are now; a call works with the same ones from its begin to its end.
    #[must_use]
    pub fn rules(&self) -> Arc<Rules> {
        self.0.rules.read().clone()
    }

    /// Replaces the rules; calls under way end with those they began with.
    pub fn replace(&self, rules: Rules) {
        *self.0.rules.write() = Arc::new(rules.with_push_tokens(self.0.keep_push_tokens));
    }

    /// The rules that `wanted` was given of; those of now where nothing is wanted, or what is cannot be had.
    pub(crate) fn rules_of(&self, wanted: Option<&moehog_proto::transformer::Mapping>) -> Arc<Rules> {
        let now = self.rules();
        let wanted = wanted.filter(|wanted| wanted.revision != now.revision());
        wanted.and_then(|wanted| self.0.former.rules(wanted, &now)).unwrap_or(now)
    }

    /// Maps one webhook. Any bytes give events or a rejection; the same webhook and rules give the same answer.
    #[must_use]
    pub fn transform(&self, webhook: &Webhook) -> TransformedWebhook {
        self.transform_counted(webhook).0
    }

    /// [`Self::transform`], with counts of what was done beyond copying.
    #[must_use]
    pub fn transform_counted(&self, webhook: &Webhook) -> (TransformedWebhook, Notes) {
        self.transform_by(&self.rules(), webhook)
    }

    /// [`Self::transform_counted`] by rules that may have been replaced meanwhile.
    pub(crate) fn transform_by(&self, rules: &Rules, webhook: &Webhook) -> (TransformedWebhook, Notes) {
        let mut notes = Notes::default();
        let result = match self.map(webhook, rules, &mut notes) {
            Ok(output) => transformed_webhook::Result::Mapped(output.finish()),
            Err(fault) => transformed_webhook::Result::Rejection(fault.into()),
        };
        (TransformedWebhook { result: Some(result) }, notes)
    }

    fn map(&self, webhook: &Webhook, rules: &Rules, notes: &mut Notes) -> Result<Output, Fault> {
        let undecodable = |error| match error {
            DecodeError::Gzip(_) => Fault::UnreadableGzip,
            DecodeError::TooLarge => Fault::TooLarge,
        };
        let bytes = body::unpack(&webhook.body).map_err(undecodable)?;
        let mut text: Cow<'_, str> = body::text(&bytes, (&webhook.content_type, &webhook.content_encoding), notes);
        if text.trim_ascii().is_empty() {
            return Err(Fault::EmptyBody);
        }
        let is_form = body::form::is_form(&webhook.content_type, &text);
        let whole = if is_form { body::form::whole(&text).map_err(undecodable)? } else { None };
        let is_event = is_form && whole.is_none();
        if let Some(whole) = whole {
            text = Cow::Owned(body::text(&whole, ("", ""), notes).into_owned());
        }
        let of_text = [(Note::RepairedUtf8, Repair::Utf8), (Note::RepairedSurrogate, Repair::Surrogate)];
        let mut repairs: Vec<_> =
            of_text.into_iter().filter(|(note, _)| notes.get(*note) > 0).map(|(_, it)| it).collect();
        if is_form {
            notes.count(Note::Form);
        }
        if is_event {
            return self.read(webhook, rules, &body::form::to_json(&text), &repairs, &BTreeMap::new(), notes);
        }
        let read = self.read(webhook, rules, &text, &repairs, &BTreeMap::new(), notes);
        let Err(fault @ Fault::UnreadableJson { .. }) = read else { return read };
        let mended = body::repair(&text).ok_or(fault)?;
        if !mended.repairs.is_empty() {
            notes.count(Note::RepairedJson);
        }
        repairs.extend(&mended.repairs);
        let broken =
            mended.broken.iter().map(|broken| (broken.position, body::unreadable_event(&text, &mended, broken)));
        self.read(webhook, rules, &mended.text, &repairs, &broken.collect(), notes)
    }

    /// Reads a body that is JSON, of which some events cannot be read, by their place. Where attributes are no object, they may be the
    /// text of one. What is no JSON leaves no notes.
    fn read(
        &self,
        webhook: &Webhook,
        rules: &Rules,
        text: &str,
        repairs: &[Repair],
        broken: &BTreeMap<u32, Fault>,
        notes: &mut Notes,
    ) -> Result<Output, Fault> {
        let (mut read, mut noted) = self.read_by_its_clock(webhook, rules, text, repairs, broken);
        if noted.get(Note::WrongKind) > 0
            && let Some(unfolded) = body::unfolded(text)
        {
            (read, noted) = self.read_by_its_clock(webhook, rules, &unfolded, repairs, broken);
        }
        if !matches!(read, Err(Fault::UnreadableJson { .. })) {
            notes.merge(&noted);
        }
        read
    }

    /// Reads a body once, and where it says, which may be behind its events, that the clock was wrong that dated them,
    /// again by that.
    fn read_by_its_clock(
        &self,
        webhook: &Webhook,
        rules: &Rules,
        text: &str,
        repairs: &[Repair],
        broken: &BTreeMap<u32, Fault>,
    ) -> (Result<Output, Fault>, Notes) {
        let (read, noted, ahead_ms) = self.body(webhook, rules, text.len(), repairs, broken, 0).read_all(text);
        if ahead_ms == 0 {
            return (read, noted);
        }
        let (read, noted, _) = self.body(webhook, rules, text.len(), repairs, broken, ahead_ms).read_all(text);
        (read, noted)
    }

    fn body<'a>(
        &'a self,
        webhook: &'a Webhook,
        rules: &'a Rules,
        bytes: usize,
        repairs: &[Repair],
        broken: &'a BTreeMap<u32, Fault>,
        ahead_ms: i64,
    ) -> Body<'a> {
        Body {
            context: Context {
                webhook,
                codes: &self.0.codes,
                rules,
                markers: true,
                mended_quotes: repairs.contains(&Repair::UnescapedQuote),
                keeps_values: false,
                ahead_ms,
                notes: Notes::default(),
            },
            output: Output::new(webhook, rules.revision(), repairs, bytes),
            item: Item::default(),
            properties: Properties::new(),
            own: Item::default(),
            lists: 0,
            broken,
            placeholders: &self.0.placeholders,
            stopped: None,
        }
    }
}

/// A transformer that may be gone.
#[derive(Debug, Clone)]
pub(crate) struct WeakTransformer(Weak<Parts>);

impl WeakTransformer {
    pub(crate) fn upgrade(&self) -> Option<Transformer> {
        self.0.upgrade().map(Transformer)
    }
}

/// A body while it is read. Events of a list are mapped as they are met, so that no list is ever held.
#[derive(Debug)]
struct Body<'a> {
    context: Context<'a>,
    output: Output,
    /// The event of a list under way.
    item: Item<'a>,
    properties: Properties<'a>,
    /// The body itself, which may be one event.
    own: Item<'a>,
    /// Lists of events that were met.
    lists: u32,
    /// Events of a list that cannot be read.
    broken: &'a BTreeMap<u32, Fault>,
    placeholders: &'a Detector,
    /// Why reading was stopped before the end.
    stopped: Option<Fault>,
}

impl<'a> Body<'a> {
    /// Reads the whole text; what was noted, too, and by how much the clock was ahead that sent a list of events.
    fn read_all(mut self, text: &'a str) -> (Result<Output, Fault>, Notes, i64) {
        self.context.markers = self.placeholders.may_hold_marker(text);
        let read = self.read(text);
        // of an event that is sent by itself PostHog asks no `sent_at`
        let sent_at = self.own.field("sent_at").filter(|_| read.is_ok() && self.lists == 1);
        let ahead_ms = ahead_ms(sent_at, self.context.webhook.received_at_ms);
        (read.map(|()| self.output), self.context.notes, ahead_ms)
    }

    fn read(&mut self, text: &'a str) -> Result<(), Fault> {
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let read = Walk(&mut *self).deserialize(&mut deserializer).and_then(|()| deserializer.end());
        match (self.stopped, read) {
            (Some(fault), _) => return Err(fault),
            (None, Err(error)) => return Err(body::unreadable(&error, text)),
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
                // which may say so behind them
                if capture::is_historical(&self.own) {
                    self.output.historical();
                }
                Ok(())
            }
            _ => Err(Fault::UnknownShape), // `events` and `batch` in one body
        }
    }

    /// Maps a body that is one event.
    fn map_own(&mut self) -> Result<(), Fault> {
        std::mem::swap(&mut self.item, &mut self.own);
        let is_event = ["event", "event_name", "event_code"].iter().any(|name| self.item.field(name).is_some())
            || rudder::is_one(&self.item);
        let may_be_event = is_event || (self.context.rules.names_events() && self.context.webhook.api_key.is_empty());
        if !may_be_event || self.item.kind != Kind::Object {
            return Err(Fault::UnknownShape);
        }
        self.take(0, List::Batch)
    }

    /// Maps the event that was read.
    fn take(&mut self, position: u32, list: List) -> Result<(), Fault> {
        if let Some(fault) = self.broken.get(&position) {
            return self.output.take(position, Err(*fault), &self.properties, &[]);
        }
        // the line of a file export holds the event as an object
        let nested = self.item.field("event").filter(|raw| list == List::Batch && raw.starts_with('{'));
        let list = match nested {
            Some(_) if mapping::is_of_another_project(&self.item, &self.context.webhook.api_key) => {
                return self.output.take(position, Err(Fault::KeyMismatch), &self.properties, &[]);
            }
            Some(raw) => {
                self.item.read(raw);
                List::Events
            }
            None => list,
        };
        let plan = mapping::map(&self.item, position, list, &mut self.context, &mut self.properties);
        let told = self.context.notes.take_told();
        self.output.take(position, plan, &self.properties, &told)
    }
}

impl<'a> Members<'a> for Body<'a> {
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
struct Elements<'b, 'a> {
    body: &'b mut Body<'a>,
    list: List,
}

impl<'a> Members<'a> for Elements<'_, 'a> {
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

#[cfg(test)]
mod tests;
