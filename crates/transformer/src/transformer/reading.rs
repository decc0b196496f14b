//! A body on the way through it: each event is mapped as it is met, so that no list is ever held.

use std::collections::BTreeMap;

use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess};

use crate::{
    body,
    builtin::{
        Context, capture, rudder,
        segment::{Change, Segment},
    },
    fault::Fault,
    item::{self, Item, Kind, Members, Walk},
    mapping::{self, List},
    notes::Notes,
    output::Output,
    value::{Properties, placeholder::Detector, time::ahead_ms},
};

/// A body while it is read.
#[derive(Debug)]
pub(super) struct Body<'a> {
    pub(super) context: Context<'a>,
    pub(super) output: Output,
    /// The event of a list under way.
    pub(super) item: Item<'a>,
    pub(super) properties: Properties<'a>,
    /// The body itself, which may be one event.
    pub(super) own: Item<'a>,
    /// Lists of events that were met.
    pub(super) lists: u32,
    /// Events of a list that cannot be read.
    pub(super) broken: &'a BTreeMap<u32, Fault>,
    pub(super) placeholders: &'a Detector,
    /// Why reading was stopped before the end.
    pub(super) stopped: Option<Fault>,
}

impl<'a> Body<'a> {
    /// Reads the whole text; what was noted, too, and by how much the clock was ahead that sent a list of events.
    pub(super) fn read_all(mut self, text: &'a str) -> (Result<Output, Fault>, Notes, i64) {
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
        match (self.stopped.take(), read) {
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
        if let Some(segment) = Segment::of(&self.own) {
            return self.map_users(&segment);
        }
        std::mem::swap(&mut self.item, &mut self.own);
        let is_event = ["event", "event_name", "event_code"].iter().any(|name| self.item.field(name).is_some())
            || rudder::is_one(&self.item);
        let may_be_event = is_event || (self.context.rules.names_events() && self.context.webhook.api_key.is_empty());
        if !may_be_event || self.item.kind != Kind::Object {
            return Err(Fault::UnknownShape);
        }
        self.take(0, List::Batch)
    }

    /// Maps each user of a body that is a segment.
    fn map_users(&mut self, segment: &Segment<'a>) -> Result<(), Fault> {
        let mut position = 0;
        for (change, list) in &segment.lists {
            let users = &mut Users { body: self, segment, change: *change, position };
            let read = Walk(users).deserialize(&mut serde_json::Deserializer::from_str(list));
            position = users.position;
            match self.stopped.take() {
                Some(fault) => return Err(fault),
                None => read.map_err(|_no_list| Fault::UnknownShape)?,
            }
        }
        if position == 0 { Err(Fault::NoEvents) } else { Ok(()) }
    }

    /// Maps the event that was read.
    fn take(&mut self, position: u32, list: List) -> Result<(), Fault> {
        if let Some(fault) = self.broken.get(&position) {
            return self.output.take(position, Err(fault.clone()), &self.properties, &[]);
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

/// A list of a segment's users, which are mapped as they are met.
struct Users<'b, 's, 'a> {
    body: &'b mut Body<'a>,
    segment: &'s Segment<'a>,
    change: Change,
    /// Of the next one.
    position: u32,
}

impl<'a> Members<'a> for Users<'_, '_, 'a> {
    fn kind(&mut self, _: Kind) {}

    fn member<A: MapAccess<'a>>(&mut self, _: &'a str, members: &mut A) -> Result<(), A::Error> {
        members.next_value::<IgnoredAny>().map(|_| ())
    }

    fn elements<A: SeqAccess<'a>>(&mut self, elements: &mut A) -> Result<(), A::Error> {
        loop {
            let Body { item, context, properties, output, stopped, .. } = &mut *self.body;
            item.clear();
            if elements.next_element_seed(Walk(&mut *item))?.is_none() {
                return Ok(());
            }
            self.segment.say_in(item);
            let plan = mapping::map_user(item, self.segment, self.change, self.position, context, properties);
            let told = context.notes.take_told();
            if let Err(fault) = output.take(self.position, plan, properties, &told) {
                *stopped = Some(fault);
                return Err(A::Error::custom("stopped"));
            }
            self.position += 1;
        }
    }
}
