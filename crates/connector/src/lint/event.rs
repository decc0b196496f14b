//! What PostHog would be told: who, what, when, and by which key.

use serde_json::{Map, Value};

use super::{
    Finding, Severity,
    filled::Filled,
    shape::Shape,
    suggest,
    template::Name,
    text::Says,
    values::{self, Fill},
};
use crate::{attribute::Attribute, jinja, names};

/// Members in which an event's own id is found.
const KEYS: [&str; 4] = ["uuid", "event_uuid", "messageId", "message_id"];

/// Members beside `properties` that are read.
const READ: [&str; 12] = [
    "api_key",
    "token",
    "event",
    "distinct_id",
    "properties",
    "timestamp",
    "offset",
    "uuid",
    "event_uuid",
    "messageId",
    "message_id",
    "sent_at",
];

/// Adds the findings of the event that a body makes.
pub(super) fn checks(filled: &Filled<'_>, numbers: &Shape, findings: &mut Vec<Finding>) {
    let Some(words) = filled.shape(|_| Fill::Word) else { return };
    let (Some(event), Some(as_numbers)) = (words.event(), numbers.event()) else { return };
    let mut says = Checks { filled, findings };
    says.name(event);
    says.person(event, as_numbers);
    says.key(event, as_numbers);
    says.time(event);
    says.api_key(event);
    says.beside(event);
    if matches!(numbers, Shape::Json(_)) {
        for (name, value) in as_numbers {
            says.quantities(name, value, name == "properties" || name.starts_with('$'));
        }
    }
}

struct Checks<'a, 'f> {
    filled: &'a Filled<'a>,
    findings: &'f mut Vec<Finding>,
}

impl Checks<'_, '_> {
    fn name(&mut self, event: &Map<String, Value>) {
        if event.get("event").and_then(Value::as_str).is_none_or(|name| name.trim().is_empty()) {
            let fix = Some("\"event\": \"the event's name\",".to_string());
            self.add("{", Severity::Error, "no_event", ("no event arrives", "nothing says which event it is"), fix);
        }
    }

    fn person(&mut self, event: &Map<String, Value>, numbers: &Map<String, Value>) {
        let Some(id) = distinct_id(event) else {
            let fix = Some(format!("\"distinct_id\": \"{}\",", guarded(&Attribute::user("ID"))));
            let says = ("no event arrives", "nothing says whose event it is");
            self.add("{", Severity::Error, "no_distinct_id", says, fix);
            return;
        };
        let sources = self.sources([Some(id.clone()), distinct_id(numbers)]);
        let Some(first) = sources.first().copied() else {
            let fix = Some(format!("\"distinct_id\": \"{}\",", guarded(&Attribute::user("ID"))));
            let breaks = format!("all users become one person, `{id}`");
            self.add("distinct_id", Severity::Error, "constant_id", (&breaks, "the id is the same for everyone"), fix);
            return;
        };
        let access = &self.filled.template.accesses[first];
        let (at, shown) = (access.range.start, suggest::shown(access));
        let is_contact = match &access.name {
            Name::Attribute(attribute) => names::is_contact(&attribute.name),
            Name::Bare(written) => names::is_contact(written),
        };
        if is_contact {
            let fix = self.guarded(first, &Attribute::user("ID"));
            let says = Says {
                severity: Severity::Warning,
                code: "contact_as_id",
                breaks: format!("who changes {shown} becomes a second person"),
                why: "an address is no id: send the ID that your apps give PostHog, and the address as a property"
                    .to_string(),
            };
            self.findings.push(self.filled.text.finding(at, says, fix));
        }
        self.guard(&sources, at, &shown, is_contact);
    }

    /// What is sent for a user who has no id.
    fn guard(&mut self, sources: &[usize], at: usize, shown: &str, is_contact: bool) {
        let group: Vec<usize> = sources.iter().flat_map(|source| self.same(*source)).collect();
        for fill in [Fill::Missing, Fill::Blank] {
            let shape = self.filled.shape(|at| if group.contains(&at) { fill } else { Fill::Word });
            let Some(id) = shape.map(|shape| shape.event().and_then(distinct_id).unwrap_or_default()) else { continue };
            let attribute = match &self.filled.template.accesses[sources[0]].name {
                Name::Attribute(attribute) if !is_contact => attribute.clone(),
                _ => Attribute::user("ID"),
            };
            let fix = self.guarded(sources[0], &attribute);
            let says = if id.trim().is_empty() {
                Says {
                    severity: Severity::Warning,
                    code: "no_guard",
                    breaks: format!("a request is made for users without {shown}, and no event comes of it"),
                    why: "an event needs an id; `MOE_NOT_SEND` counts these users as not sent, with the reason"
                        .to_string(),
                }
            } else {
                Says {
                    severity: Severity::Error,
                    code: "shared_id",
                    breaks: format!("all users without {shown} become one person, `{id}`"),
                    why: "its default is the same for everyone".to_string(),
                }
            };
            self.findings.push(self.filled.text.finding(at, says, fix));
            return;
        }
    }

    fn key(&mut self, event: &Map<String, Value>, numbers: &Map<String, Value>) {
        let fix = Some(
            "\"uuid\": \"{{EventAttribute['Order ID']}}\",  (an attribute that names one event and no other)"
                .to_string(),
        );
        match key(event) {
            None => {
                let says = (
                    "an event that MoEngage sends twice counts twice",
                    "nothing tells a rerun from a new event: moehog makes a UUID of any text here, PostHog itself takes only a UUID",
                );
                self.add("{", Severity::Warning, "no_uuid", says, fix);
            }
            Some(words) if self.sources([Some(words.clone()), key(numbers)]).is_empty() => {
                let says = ("a person's events of one day become one", "the uuid is the same for all of them");
                self.add("uuid", Severity::Error, "constant_uuid", says, fix);
            }
            Some(_) => {}
        }
    }

    fn time(&mut self, event: &Map<String, Value>) {
        if ["timestamp", "offset"].iter().all(|field| event.get(*field).is_none_or(Value::is_null)) {
            let fix = Some(
                "\"timestamp\": \"{{EventAttribute['Ordered At']}}\",  (the attribute that says when)".to_string(),
            );
            let says = (
                "the event has the time of its arrival",
                "MoEngage sends it up to minutes later, and a rerun hours later: only an attribute of the event says when it happened",
            );
            self.add("{", Severity::Warning, "no_timestamp", says, fix);
        }
    }

    fn api_key(&mut self, event: &Map<String, Value>) {
        for field in ["api_key", "token"] {
            if event.get(field).and_then(Value::as_str).is_some_and(|key| key.is_empty() || key.starts_with('<')) {
                let says = ("no event arrives", "the project API key is still the example's");
                let fix = Some(format!("\"{field}\": \"phc_…\",  (PostHog, Settings, Project API key)"));
                self.add(field, Severity::Error, "api_key_left", says, fix);
            }
        }
    }

    fn beside(&mut self, event: &Map<String, Value>) {
        for name in
            event.keys().filter(|name| !READ.contains(&&***name) && !["$distinct_id", "$token"].contains(&&***name))
        {
            if name.starts_with('$') {
                let says = (
                    &*format!("PostHog's newer API does not read `{name}` here"),
                    "it belongs within `properties`, where both of its APIs read it; moehog moves it there",
                );
                let fix = Some(format!("\"properties\": {{ \"{name}\": … }}"));
                self.add(name, Severity::Hint, "outside_properties", says, fix);
            } else {
                let says = (&*format!("`{name}` is lost"), "PostHog reads no such member beside `properties`");
                let fix = Some(format!("\"properties\": {{ \"{name}\": … }}"));
                self.add(name, Severity::Warning, "ignored_member", says, fix);
            }
        }
    }

    /// Numbers that are sent as text under a quantity's name.
    fn quantities(&mut self, name: &str, value: &Value, within: bool) {
        match value {
            Value::Object(members) if within => {
                members.iter().for_each(|(name, value)| self.quantities(name, value, true))
            }
            Value::Array(items) if within => items.iter().for_each(|item| self.quantities(name, item, true)),
            Value::String(text) if within && names::is_quantity(name) => {
                let Some(at) = self.sources([Some(text.clone())]).first().copied() else { return };
                let access = &self.filled.template.accesses[at];
                let says = Says {
                    severity: Severity::Warning,
                    code: "number_as_text",
                    breaks: format!("PostHog cannot add up `{name}`: it arrives as text"),
                    why: "the placeholder stands in quotes; moehog makes numbers of names such as this one, PostHog itself does not"
                        .to_string(),
                };
                let tag = suggest::tag(self.filled.template, &access.range);
                let fix = (tag != access.range).then(|| {
                    let inside = suggest::corrected(self.filled.text, self.filled.template, tag.start + 2..tag.end - 2);
                    let quoted = self.filled.text.body[..tag.start].ends_with('"')
                        && self.filled.text.body[tag.end..].starts_with('"');
                    let around = if quoted { tag.start - 1..tag.end + 1 } else { tag.clone() };
                    quoted.then(|| self.filled.text.with(around, &suggest::number_or_text(&inside)))
                });
                self.findings.push(self.filled.text.finding(access.range.start, says, fix.flatten()));
            }
            _ => {}
        }
    }

    /// The look-ups whose values one of the printed texts holds: a filter may leave nothing of a word, or of a number.
    fn sources<const N: usize>(&self, printed: [Option<String>; N]) -> Vec<usize> {
        let printed: Vec<String> = printed.into_iter().flatten().collect();
        let accesses = self.filled.template.accesses.iter().enumerate();
        let holds = |(at, access): (usize, &super::template::Access)| {
            let compared =
                |printed: &String| access.compared_with.as_ref().is_some_and(|text| printed.contains(&**text));
            printed.iter().any(|printed| values::holds(printed, at) || compared(printed)).then_some(at)
        };
        accesses.filter_map(holds).collect()
    }

    /// The line of a look-up with this attribute, guarded, in its place; none where it stands in a statement.
    fn guarded(&self, at: usize, attribute: &Attribute) -> Option<String> {
        let range = &self.filled.template.accesses[at].range;
        let tag = suggest::tag(self.filled.template, range);
        (tag != *range).then(|| self.filled.text.with(tag, &guarded(attribute)))
    }

    /// The look-ups of the same name.
    fn same(&self, at: usize) -> Vec<usize> {
        let name = &self.filled.template.accesses[at].name;
        let accesses = self.filled.template.accesses.iter().enumerate();
        accesses.filter(|(_, access)| access.name == *name).map(|(at, _)| at).collect()
    }

    /// A finding at a member, or at the event's first bracket.
    fn add(&mut self, member: &str, severity: Severity, code: &'static str, says: (&str, &str), fix: Option<String>) {
        let at = self.filled.text.place(member, &self.filled.template.tags);
        let says = Says { severity, code, breaks: says.0.to_string(), why: says.1.to_string() };
        self.findings.push(self.filled.text.finding(at, says, fix));
    }
}

/// The id in the first of the places where PostHog looks for it.
fn distinct_id(event: &Map<String, Value>) -> Option<String> {
    let inner = event.get("properties").and_then(|properties| properties.get("distinct_id"));
    let places = [event.get("distinct_id"), event.get("$distinct_id"), inner];
    places.into_iter().flatten().find_map(printed)
}

/// The event's own id, in the first of the places where it is found.
fn key(event: &Map<String, Value>) -> Option<String> {
    let inner = event.get("properties").and_then(|properties| properties.get("$insert_id"));
    KEYS.iter().filter_map(|key| event.get(*key)).chain(inner).find_map(printed)
}

fn printed(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Null => None,
        other => Some(other.to_string()),
    }
}

/// A print that is safe between quotes, and sends nothing where the attribute is missing or blank.
fn guarded(attribute: &Attribute) -> String {
    let print = suggest::escaped(&attribute.to_string());
    format!("{{% if not {attribute} %}}{}{{% endif %}}{print}", jinja::not_send(attribute))
}
