//! What becomes of a webhook's events: finished JSON in one buffer, and one outcome each.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    io::Write,
    mem,
};

use bytes::Bytes;
use moehog_proto::{
    event::{Event, TraceContext},
    limits::{MAX_EVENTS, MAX_MAPPED_BYTES},
    transformer::{Mapped, MappedEvent, Webhook, mapped_event::Outcome},
};
use uuid::Uuid;

use crate::{
    body::Located,
    fault::Fault,
    json,
    mapping::{Plan, Planned},
    notes::{Repair, Told},
    value::{Properties, time::Moment},
    webhook,
};

const UUID_BYTES: usize = 16;

const LIBRARY: &[u8] = concat!("\"$lib\":\"moehog\",\"$lib_version\":\"", env!("CARGO_PKG_VERSION"), "\",").as_bytes();

/// What was mended in a body.
#[derive(Debug, Default)]
pub(crate) struct Repaired {
    /// Each kind once.
    pub(crate) kinds: Vec<Repair>,
    /// The first places, where they are known.
    pub(crate) places: Vec<Located>,
}

/// An event whose JSON is written.
#[derive(Debug)]
struct Finished {
    /// Where its JSON ends.
    end: usize,
    /// Its place among the outcomes.
    index: usize,
    /// The day it happened, in UTC.
    day: i64,
}

/// Gathers the outcomes of one webhook.
#[derive(Debug)]
pub(crate) struct Output {
    receipt: String,
    trace: Option<TraceContext>,
    /// The property `moehog` of each event, with its key and without what closes it.
    origin: Vec<u8>,
    events: Vec<MappedEvent>,
    json: Vec<u8>,
    uuids: Vec<u8>,
    finished: Vec<Finished>,
    /// By UUID, the first of `finished` that has it.
    first: HashMap<Uuid, usize>,
    /// The keys of further events that share a UUID.
    further: HashSet<(Uuid, i64, String, String)>,
}

impl Output {
    pub(crate) fn new(webhook: &Webhook, revision: &str, repaired: &Repaired, body_bytes: usize) -> Self {
        Self {
            receipt: webhook.receipt.clone(),
            trace: webhook.trace.clone(),
            origin: origin(webhook, revision, repaired),
            events: Vec::new(),
            json: Vec::with_capacity((body_bytes + body_bytes / 2 + 512).min(MAX_MAPPED_BYTES)),
            uuids: Vec::new(),
            finished: Vec::new(),
            first: HashMap::new(),
            further: HashSet::new(),
        }
    }

    /// Takes what became of the event at `position`. Stops at what makes the webhook too large.
    pub(crate) fn take(
        &mut self,
        position: u32,
        planned: Result<Planned<'_>, Fault>,
        properties: &Properties<'_>,
        told: &[Told],
    ) -> Result<(), Fault> {
        if self.events.len() >= MAX_EVENTS {
            return Err(Fault::TooManyEvents);
        }
        let outcome = match planned {
            Err(fault) => Outcome::Dead(fault.into()),
            Ok(Planned::Filtered(reason)) => Outcome::Filtered(reason.to_string()),
            Ok(Planned::Event(plan)) if self.repeats(&plan) => Outcome::Duplicate(true),
            Ok(Planned::Event(plan)) => Outcome::Event(self.write(position, plan, properties, told)),
        };
        self.events.push(MappedEvent { position, ordinal: 0, outcome: Some(outcome) });
        if self.json.len() > MAX_MAPPED_BYTES { Err(Fault::TooLarge) } else { Ok(()) }
    }

    /// Whether no event was taken yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Makes every event one that carries the key of another project.
    pub(crate) fn mismatch(&mut self) {
        self.finished.clear();
        for event in &mut self.events {
            event.outcome = Some(Outcome::Dead(Fault::KeyMismatch.into()));
        }
    }

    /// Makes every event history: the request around them says so.
    pub(crate) fn historical(&mut self) {
        for event in &mut self.events {
            if let Some(Outcome::Event(event)) = &mut event.outcome {
                event.historical = true;
            }
        }
    }

    pub(crate) fn finish(mut self) -> Mapped {
        let (mut begin, uuids) = (0, self.json.len());
        // one buffer for all
        self.json.append(&mut self.uuids);
        let bytes = Bytes::from(mem::take(&mut self.json));
        for (nth, finished) in self.finished.into_iter().enumerate() {
            if let Some(Outcome::Event(event)) = &mut self.events[finished.index].outcome {
                event.json = bytes.slice(begin..finished.end);
                let uuid = uuids + nth * UUID_BYTES;
                event.uuid = bytes.slice(uuid..uuid + UUID_BYTES);
            }
            begin = finished.end;
        }
        Mapped { events: self.events }
    }

    /// Whether an earlier event of this webhook has the key by which PostHog collapses duplicates: UUID, day, name, person.
    ///
    /// Source: PostHog, posthog/models/event/sql.py (055f2c3c, read 2026-08).
    fn repeats(&mut self, plan: &Plan<'_>) -> bool {
        let day = plan.moment.day();
        let first = match self.first.entry(plan.uuid) {
            Entry::Vacant(vacant) => {
                vacant.insert(self.finished.len());
                return false;
            }
            Entry::Occupied(first) => &self.finished[*first.get()],
        };
        let same = first.day == day
            && matches!(&self.events[first.index].outcome, Some(Outcome::Event(event))
                if event.name == plan.name && event.distinct_id == plan.distinct_id);
        same || !self.further.insert((plan.uuid, day, plan.name.to_string(), plan.distinct_id.to_string()))
    }

    /// Writes one finished event: `uuid`, `event`, `distinct_id`, `timestamp`, `properties`, in this order. Neither
    /// `api_key` nor `sent_at`: PostHog would shift the time by the latter, differently on each try.
    fn write(&mut self, position: u32, plan: Plan<'_>, properties: &Properties<'_>, told: &[Told]) -> Event {
        let out = &mut self.json;
        out.extend_from_slice(b"{\"uuid\":\"");
        out.extend_from_slice(plan.uuid.hyphenated().encode_lower(&mut Uuid::encode_buffer()).as_bytes());
        out.extend_from_slice(b"\",\"event\":");
        json::write_string(out, &plan.name);
        out.extend_from_slice(b",\"distinct_id\":");
        json::write_string(out, &plan.distinct_id);
        out.extend_from_slice(b",\"timestamp\":\"");
        plan.moment.write(out);
        out.extend_from_slice(b"\",\"properties\":{");
        properties.write(out);
        if !(properties.contains("$lib") || properties.contains("$lib_version")) {
            out.extend_from_slice(LIBRARY);
        }
        // without it PostHog would place every person where moehog runs
        if !(properties.contains("$ip") || properties.contains("$geoip_disable")) {
            out.extend_from_slice(b"\"$geoip_disable\":true,");
        }
        if plan.personless {
            out.extend_from_slice(b"\"$process_person_profile\":false,");
        }
        out.extend_from_slice(&self.origin);
        say(out, &plan.moment, told);
        out.extend_from_slice(b"}}}");
        self.uuids.extend_from_slice(plan.uuid.as_bytes());
        self.finished.push(Finished { end: self.json.len(), index: self.events.len(), day: plan.moment.day() });
        Event {
            position,
            ordinal: 0,
            uuid: Bytes::new(),
            distinct_id: plan.distinct_id.into_owned(),
            name: plan.name.into_owned(),
            trace: self.trace.clone(),
            json: Bytes::new(),
            receipt: self.receipt.clone(),
            destination: plan.destination.to_string(),
            historical: plan.historical,
        }
    }
}

/// `"moehog":{…}`: by it an event at PostHog leads back to its webhook.
fn origin(webhook: &Webhook, revision: &str, repaired: &Repaired) -> Vec<u8> {
    let mut out = Vec::with_capacity(160 + webhook.source.len());
    out.extend_from_slice(b"\"moehog\":{\"receipt\":");
    json::write_string(&mut out, webhook::receipt_shown(webhook));
    if let Some(trace) = webhook.trace.as_ref().filter(|trace| trace.trace_id() != 0) {
        let written = write!(out, ",\"trace_id\":\"{:032x}\"", trace.trace_id());
        debug_assert!(written.is_ok(), "a vector takes all");
    }
    out.extend_from_slice(b",\"source\":");
    json::write_string(&mut out, &webhook.source);
    out.extend_from_slice(b",\"mapping\":");
    json::write_string(&mut out, revision);
    if !repaired.kinds.is_empty() {
        let names: Vec<_> = repaired.kinds.iter().map(|repair| ["\"", repair.name(), "\""].concat()).collect();
        out.extend_from_slice(format!(",\"repaired\":[{}]", names.join(",")).as_bytes());
    }
    if !repaired.places.is_empty() {
        let places: Vec<_> = repaired.places.iter().map(|place| format!("\"{place}\"")).collect();
        out.extend_from_slice(format!(",\"repaired_at\":[{}]", places.join(",")).as_bytes());
    }
    out
}

/// Appends what an event says of itself to its property `moehog`: `"time":"received"` where its own time could not be read,
/// `"shifted_ms":…` where its sender's clock was wrong, and `"notes":[{"code":…,"property":…,"original":…}]`.
fn say(out: &mut Vec<u8>, moment: &Moment<'_>, told: &[Told]) {
    if moment.is_stand_in() {
        out.extend_from_slice(b",\"time\":\"received\"");
    }
    if moment.shifted_ms() != 0 {
        let written = write!(out, ",\"shifted_ms\":{}", moment.shifted_ms());
        debug_assert!(written.is_ok(), "a vector takes all");
    }
    for (nth, Told { note, property, original }) in told.iter().enumerate() {
        out.extend_from_slice(if nth == 0 { b",\"notes\":[{\"code\":" } else { b",{\"code\":" });
        json::write_string(out, note.name());
        out.extend_from_slice(b",\"property\":");
        json::write_string(out, property);
        if !original.is_empty() {
            out.extend_from_slice(b",\"original\":");
            json::write_string(out, original);
        }
        out.push(b'}');
    }
    if !told.is_empty() {
        out.push(b']');
    }
}
