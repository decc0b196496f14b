//! Bodies as MoEngage sends them.

use std::fmt;

use bytes::Bytes;
use jiff::Timestamp;
use memchr::memmem;

use crate::moengage::filler;

/// Digits of a number inside a body.
const DIGITS: usize = 12;
/// Stands where a number goes until it is known.
const BLANK: &str = "000000000000";

/// What kind of body. The three Connector bodies are the tutorial's own with their placeholders filled, so every value is
/// a string. Source: PostHog docs, "MoEngage" tutorial (read 2026-08).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Template {
    /// The tutorial's first: a campaign's name and an address.
    Generic,
    /// The tutorial's second: a purchase.
    Purchase,
    /// The tutorial's third: `$identify` with a top-level `$set`.
    Identify,
    /// A Streams batch of so many purchases, numbers as numbers.
    Streams {
        /// Events in the batch; MoEngage's default is 100.
        events: usize,
    },
    /// A Streams batch of what campaigns do, as the documentation's samples have it: a push received, an e-mail opened, and
    /// somebody without an ID, in turn.
    Campaign {
        /// Events in the batch.
        events: usize,
    },
}

/// Marks an event, to be found again in whatever it becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark {
    /// Which sender's run.
    pub run: u32,
    /// Which event of the run.
    pub number: u64,
}

impl Mark {
    const HEAD: &'static str = "mark~";

    /// Finds a mark in an event's bytes, or any text.
    #[must_use]
    pub fn find(bytes: &[u8]) -> Option<Self> {
        Self::find_all(bytes).next()
    }

    /// Finds all marks, in order.
    pub fn find_all(bytes: &[u8]) -> impl Iterator<Item = Self> + '_ {
        memmem::find_iter(bytes, Self::HEAD).filter_map(|at| {
            let tail = bytes.get(at + Self::HEAD.len()..)?;
            let (run, number) = (tail.get(..8)?, tail.get(9..9 + DIGITS)?);
            if tail[8] != b'.' || tail.get(9 + DIGITS) != Some(&b'~') {
                return None;
            }
            Some(Self {
                run: u32::from_str_radix(std::str::from_utf8(run).ok()?, 16).ok()?,
                number: std::str::from_utf8(number).ok()?.parse().ok()?,
            })
        })
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:08x}.{:012}~", Self::HEAD, self.run, self.number)
    }
}

/// A body but for its numbers: making the next one writes a few digits.
#[derive(Debug, Clone)]
pub struct Draft {
    run: u32,
    users: u64,
    events: usize,
    bytes: Vec<u8>,
    slots: Vec<Slot>,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    at: usize,
    event: usize,
    is_user: bool,
}

/// A body and the events in it.
#[derive(Debug, Clone)]
pub struct Body {
    /// What is posted.
    pub bytes: Bytes,
    /// Its events.
    pub marks: Vec<Mark>,
}

/// How a [`Draft`] is made.
#[derive(Debug)]
struct Writer {
    text: String,
    slots: Vec<Slot>,
}

impl Writer {
    /// Adds text in which `#N` is the event's number and `#U` its user's.
    fn add(&mut self, event: usize, pattern: &str) {
        let mut rest = pattern;
        while let Some(at) = rest.find('#') {
            let (before, after) = rest.split_at(at);
            self.text.push_str(before);
            let kind = after.as_bytes().get(1).copied();
            if matches!(kind, Some(b'N' | b'U')) {
                self.slots.push(Slot { at: self.text.len(), event, is_user: kind == Some(b'U') });
                self.text.push_str(BLANK);
                rest = &after[2..];
            } else {
                self.text.push('#');
                rest = &after[1..];
            }
        }
        self.text.push_str(rest);
    }
}

impl Draft {
    /// A draft of bodies for this project key. `run` tells this sender's events from another's.
    #[must_use]
    pub fn new(template: Template, key: &str, run: u32) -> Self {
        Self::sized(template, key, run, 0)
    }

    /// The same, each event filled up to so many bytes: a Connector's body as a whole, or one event of a batch.
    #[must_use]
    pub fn sized(template: Template, key: &str, run: u32, event_bytes: usize) -> Self {
        Self::seeded(template, key, run, event_bytes, u64::from(run))
    }

    /// The same with other filler text, where several senders are not to send the same.
    #[must_use]
    pub fn seeded(template: Template, key: &str, run: u32, event_bytes: usize, seed: u64) -> Self {
        let mut writer = Writer { text: String::new(), slots: Vec::new() };
        let events = match template {
            Template::Streams { events } | Template::Campaign { events } => {
                streams(&mut writer, template, run, events, event_bytes, seed);
                events
            }
            _ => {
                connector(&mut writer, template, key, run, event_bytes, seed);
                1
            }
        };
        Self { run, users: 1_000_000, events, bytes: writer.text.into_bytes(), slots: writer.slots }
    }

    /// The same with so many users: event `n` is about user `n % users`, so that fewer users get more events each.
    #[must_use]
    pub fn users(self, users: u64) -> Self {
        Self { users: users.max(1), ..self }
    }

    /// Events in each body.
    #[must_use]
    pub fn events(&self) -> usize {
        self.events
    }

    /// Bytes of each body.
    #[must_use]
    pub fn body_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The body whose first event has this number.
    #[must_use]
    pub fn body(&self, first: u64) -> Body {
        let mut bytes = self.bytes.clone();
        self.stamp(&mut bytes, first);
        let marks = (0..self.events as u64).map(|event| Mark { run: self.run, number: first + event }).collect();
        Body { bytes: bytes.into(), marks }
    }

    /// Bodies without end, one after the other, from this number on.
    pub fn bodies(self, first: u64) -> impl Iterator<Item = Body> + Send {
        let step = self.events.max(1) as u64;
        (0..).map(move |index| self.body(first + index * step))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Writes the numbers into a copy of the draft's bytes.
    pub(crate) fn stamp(&self, bytes: &mut [u8], first: u64) {
        for slot in &self.slots {
            let number = first + slot.event as u64;
            let mut left = if slot.is_user { number % self.users } else { number };
            for digit in bytes[slot.at..slot.at + DIGITS].iter_mut().rev() {
                *digit = b'0' + (left % 10) as u8;
                left /= 10;
            }
        }
    }
}

fn connector(writer: &mut Writer, template: Template, key: &str, run: u32, bytes: usize, seed: u64) {
    let mark = format!("mark~{run:08x}.#N~");
    let start = writer.text.len();
    let (pattern, tail) = match template {
        Template::Purchase => (
            format!(
                r##"{{"api_key":"{key}","event":"purchase_completed","distinct_id":"user-#U","properties":{{"source":"moengage","amount":"49.90","product_name":"Trail shoe {mark}","currency":"INR""##
            ),
            "}}",
        ),
        Template::Identify => (
            format!(
                r##"{{"api_key":"{key}","event":"$identify","distinct_id":"user-#U","$set":{{"email":"user-#U@example.com","name":"Asha Rao","moengage_segment":"Lapsed {mark}""##
            ),
            "}}",
        ),
        _ => (
            format!(
                r##"{{"api_key":"{key}","event":"moengage_event_name","distinct_id":"user-#U","properties":{{"source":"moengage","campaign_name":"Monsoon sale {mark}","email":"user-#U@example.com""##
            ),
            "}}",
        ),
    };
    writer.add(0, &pattern);
    let missing = bytes.saturating_sub(writer.text.len() - start + tail.len());
    writer.text.push_str(&filler::members(missing, seed));
    writer.text.push_str(tail);
}

fn streams(writer: &mut Writer, template: Template, run: u32, events: usize, bytes: usize, seed: u64) {
    let now = Timestamp::now().as_second();
    writer.add(
        0,
        &format!(
            r#"{{"app_name":"Shop","source":"MOENGAGE","moe_request_id":"{run:08x}-0000-4000-9000-#N","events":["#
        ),
    );
    for event in 0..events {
        if event > 0 {
            writer.text.push(',');
        }
        let start = writer.text.len();
        let (head, tail) = match (template, event % 3) {
            (Template::Campaign { .. }, 0) => PUSH,
            (Template::Campaign { .. }, 1) => EMAIL,
            (Template::Campaign { .. }, _) => ANONYMOUS,
            _ => PURCHASE,
        };
        let at = now - (events - event) as i64;
        writer.add(event, &head.replace("#R", &format!("{run:08x}")).replace("#T", &at.to_string()));
        let mut end = Writer { text: String::new(), slots: Vec::new() };
        end.add(event, tail);
        let missing = bytes.saturating_sub(writer.text.len() - start + end.text.len());
        writer.text.push_str(&filler::members(missing, seed.wrapping_add(event as u64)));
        let base = writer.text.len();
        writer.slots.extend(end.slots.into_iter().map(|slot| Slot { at: slot.at + base, ..slot }));
        writer.text.push_str(&end.text);
    }
    writer.text.push_str("]}");
}

/// Events of a batch up to where an attribute can be added, and from there on. `#R` is the run, `#T` the time.
const PURCHASE: (&str, &str) = (
    concat!(
        r##"{"event_name":"Purchased","event_code":"Purchased","event_uuid":"#R-0000-4000-8000-#N","event_time":#T,"##,
        r##""event_type":"USER_ACTION_EVENT","event_source":"MOENGAGE","uid":"user-#U","event_attributes":{"##,
        r##""purchase_amount":49.90,"currency":"INR","product_name":"Trail shoe mark~#R.#N~""##,
    ),
    r##"},"user_attributes":{"moengage_user_id":"moe-#U"},"device_attributes":{}}"##,
);
const PUSH: (&str, &str) = (
    concat!(
        r##"{"event_name":"Notification Received Android","event_code":"NOTIFICATION_RECEIVED_MOE","##,
        r##""event_uuid":"#R-0000-4000-8000-#N","event_time":#T,"event_type":"CAMPAIGN_EVENT","event_source":"MOENGAGE","##,
        r##""push_id":"recipient device’s push token","uid":"user-#U","event_attributes":{"campaign_id":"353df897hkbh67658","##,
        r##""campaign_name":"Monsoon sale mark~#R.#N~","campaign_type":"Event Trigger","campaign_channel":"Push""##,
    ),
    concat!(
        r##"},"user_attributes":{"moengage_user_id":"moe-#U","user_attr_1":"user_attr_val1"},"##,
        r##""device_attributes":{"moengage_device_id":"device-#U","device_attr_1":"device_attr_val1"}}"##,
    ),
);
const EMAIL: (&str, &str) = (
    concat!(
        r##"{"event_name":"Email Opened","event_code":"MOE_EMAIL_OPEN","event_uuid":"#R-0000-4000-8000-#N","event_time":#T,"##,
        r##""event_type":"CAMPAIGN_EVENT","event_source":"MOENGAGE","email_id":"user-#U@example.com","uid":"user-#U","##,
        r##""event_attributes":{"campaign_id":"353df897hkbh67659","campaign_name":"Winter news mark~#R.#N~","##,
        r##""campaign_type":"Periodic","campaign_channel":"EMAIL","parent_flow_id":"f-1","parent_flow_name":"Welcome""##,
    ),
    r##"},"user_attributes":{"moengage_user_id":"moe-#U"},"device_attributes":{}}"##,
);
const ANONYMOUS: (&str, &str) = (
    concat!(
        r##"{"event_name":"On-site Message Shown","event_code":"MOE_ONSITE_MESSAGE_SHOWN","##,
        r##""event_uuid":"#R-0000-4000-8000-#N","event_time":#T,"event_type":"CAMPAIGN_EVENT","event_source":"MOENGAGE","##,
        r##""event_attributes":{"campaign_id":"353df897hkbh67660","campaign_name":"Hello mark~#R.#N~""##,
    ),
    r##"},"user_attributes":{"moengage_user_id":"moe-#U"},"device_attributes":{"moengage_device_id":""}}"##,
);

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn the_tutorials_bodies_are_filled() {
        let body = |template| -> Value {
            serde_json::from_slice(&Draft::new(template, "phc_a", 7).users(10).body(42).bytes).unwrap()
        };
        assert_eq!(
            body(Template::Purchase),
            json!({"api_key": "phc_a", "event": "purchase_completed", "distinct_id": "user-000000000002", "properties":
                {"source": "moengage", "amount": "49.90", "product_name": "Trail shoe mark~00000007.000000000042~",
                "currency": "INR"}})
        );
        assert_eq!(body(Template::Identify)["$set"]["email"], "user-000000000002@example.com");
        assert_eq!(body(Template::Generic)["properties"]["campaign_name"], "Monsoon sale mark~00000007.000000000042~");
    }

    #[test]
    fn sizes_are_exact() {
        for bytes in [470, 1024, 5_000] {
            assert_eq!(Draft::sized(Template::Purchase, "phc_a", 1, bytes).body_bytes(), bytes);
        }
        for bytes in [470, 1024] {
            let draft = Draft::sized(Template::Streams { events: 100 }, "", 1, bytes);
            let body: Value = serde_json::from_slice(&draft.body(0).bytes).unwrap();
            assert_eq!(body["events"].as_array().unwrap().len(), 100);
            let envelope = Draft::sized(Template::Streams { events: 0 }, "", 1, bytes).body_bytes();
            assert_eq!(draft.body_bytes(), envelope + 100 * bytes + 99);
        }
    }

    #[test]
    fn each_event_of_a_batch_has_its_own_uuid_user_and_mark() {
        let draft = Draft::new(Template::Streams { events: 100 }, "", 0xabc);
        let body = draft.body(300);
        let parsed: Value = serde_json::from_slice(&body.bytes).unwrap();
        let events = parsed["events"].as_array().unwrap();
        for name in ["event_uuid", "uid"] {
            let distinct: BTreeSet<_> = events.iter().map(|event| event[name].as_str().unwrap()).collect();
            assert_eq!(distinct.len(), 100, "{name}");
        }
        assert_eq!(events[1]["event_uuid"], "00000abc-0000-4000-8000-000000000301");
        assert!(uuid::Uuid::parse_str(events[1]["event_uuid"].as_str().unwrap()).is_ok());
        assert_eq!(Mark::find_all(&body.bytes).collect::<Vec<_>>(), body.marks);
        let campaign = Draft::new(Template::Campaign { events: 6 }, "", 2).body(9);
        let parsed: Value = serde_json::from_slice(&campaign.bytes).unwrap();
        assert_eq!(parsed["events"][3]["event_code"], "NOTIFICATION_RECEIVED_MOE");
        assert_eq!(parsed["events"][5].get("uid"), None);
        assert_eq!(Mark::find_all(&campaign.bytes).collect::<Vec<_>>(), campaign.marks);
        assert_eq!(Mark::find(body.marks[3].to_string().as_bytes()), Some(body.marks[3]));
        assert_eq!(draft.clone().bodies(0).nth(2).unwrap().marks[0].number, 200);
    }
}
