//! What PostHog would be told: who, what, when, and by which key.

use serde_json::{Map, Value};

use super::{
    Severity,
    filled::Filled,
    found::{Edit, Found, Mend, Need},
    shape::Shape,
    suggest,
    template::Name,
    values::{self, Fill},
};
use crate::{attribute::Attribute, jinja, names};

/// Members that name an event.
const NAMES: [&str; 2] = ["event", "event_name"];
/// Members that say whose event it is, as PostHog and then as MoEngage names them.
const IDS: [&str; 9] = [
    "distinct_id",
    "$distinct_id",
    "uid",
    "user_id",
    "userId",
    "customer_id",
    "customerId",
    "moengage_user_id",
    "moengage_distinct_id",
];
/// Members in which an event's own id is found.
const KEYS: [&str; 4] = ["uuid", "event_uuid", "messageId", "message_id"];
/// Members that say when it happened.
const TIMES: [&str; 3] = ["timestamp", "offset", "event_time"];
/// Members beside `properties` that are read, or are not about the event.
const READ: [&str; 7] = ["api_key", "token", "$token", "properties", "sent_at", "historical_migration", "type"];

/// Adds the findings of the event that a body makes.
pub(super) fn checks(filled: &Filled<'_>, numbers: &Shape, found: &mut Vec<Found>) {
    let Some(words) = filled.shape(|_| Fill::Word).or_else(|| filled.shape(|_| Fill::Number)) else { return };
    let (Some(event), Some(as_numbers)) = (words.event(), numbers.event()) else { return };
    let mut says = Checks { filled, found };
    says.name(event);
    says.person(event, as_numbers);
    says.key(event, as_numbers);
    says.time(event);
    says.api_key(event);
    says.beside(event);
    if matches!(numbers, Shape::Json(_)) {
        for (name, value) in as_numbers {
            says.quantities(name, value, is_free(event) || name == "properties" || name.starts_with('$'));
        }
    }
}

struct Checks<'a, 'f> {
    filled: &'a Filled<'a>,
    found: &'f mut Vec<Found>,
}

impl Checks<'_, '_> {
    fn name(&mut self, event: &Map<String, Value>) {
        let names = NAMES.iter().filter_map(|name| event.get(*name)?.as_str());
        if names.into_iter().all(|name| name.trim().is_empty()) {
            let mend = Mend::Advice("\"event\": \"the event's name\",".to_string());
            self.add("{", Severity::Error, "no_event", ("no event arrives", "nothing says which event it is"), mend);
        }
    }

    fn person(&mut self, event: &Map<String, Value>, numbers: &Map<String, Value>) {
        let line = format!("\"distinct_id\": \"{}\",", guarded(&Attribute::user("ID")));
        let Some(id) = distinct_id(event) else {
            let says = ("no event arrives", "nothing says whose event it is");
            let mend = self.put_first(&line);
            self.add("{", Severity::Error, "no_distinct_id", says, mend);
            return;
        };
        if values::holds_unknown(&id) {
            return;
        }
        let sources = self.sources([Some(id.clone()), distinct_id(numbers)]);
        let Some(first) = sources.first().copied() else {
            let (at, breaks) = (id_member(event), format!("all users become one person, `{id}`"));
            let says = (&*breaks, "the id is the same for everyone");
            self.add(at, Severity::Error, "constant_id", says, Mend::Advice(line));
            return;
        };
        let access = &self.filled.template.accesses[first];
        let (at, shown) = (access.range.start, suggest::shown(access));
        let is_contact = match &access.name {
            Name::Attribute(attribute) => names::is_contact(&attribute.name),
            Name::Bare(written) => names::is_contact(written),
        };
        if is_contact {
            let says = (
                format!("who changes {shown} becomes a second person"),
                "an address is no id: send the ID that your apps give PostHog, and the address as a property"
                    .to_string(),
            );
            let print = self.filled.template.print_around(&access.range);
            let line = print.map(|tag| {
                let tag = self.filled.template.tags[tag].range.clone();
                Mend::Advice(self.filled.text.with(tag, &guarded(&Attribute::user("ID"))))
            });
            let mend = line.unwrap_or(Mend::None);
            self.found.push(Found::new(at, Severity::Warning, "contact_as_id", says, mend));
        }
        if id.trim() != id {
            let says = (
                "PostHog itself makes another person of an id with blanks around it".to_string(),
                "the blanks between the quotes and the placeholder are part of the id; moehog cuts them".to_string(),
            );
            let mend = self.without_blanks(first);
            self.found.push(Found::new(at, Severity::Warning, "blanks_around_id", says, mend));
        }
        self.guard(&sources, at, &shown);
    }

    /// What is sent for a user who has no id.
    fn guard(&mut self, sources: &[usize], at: usize, shown: &str) {
        let group: Vec<usize> = sources.iter().flat_map(|source| self.same(*source)).collect();
        for fill in [Fill::Missing, Fill::Blank] {
            let shape = self.filled.shape(|at| if group.contains(&at) { fill } else { Fill::Word });
            let Some(id) = shape.map(|shape| shape.event().and_then(distinct_id).unwrap_or_default()) else { continue };
            let access = &self.filled.template.accesses[sources[0]];
            let attribute = suggest::attribute(access).unwrap_or_else(|| Attribute::user("ID"));
            let tag = self.filled.template.print_around(&access.range);
            let mend = tag.map_or(Mend::None, |tag| Mend::Print(tag, Need::Guard(attribute)));
            let found = if id.trim().is_empty() {
                let says = (
                    format!("a request is made for users without {shown}, and no event comes of it"),
                    "an event needs an id; `MOE_NOT_SEND` counts these users as not sent, with the reason".to_string(),
                );
                Found::new(at, Severity::Warning, "no_guard", says, mend)
            } else {
                let says = (
                    format!("all users without {shown} become one person, `{id}`"),
                    "its default is the same for everyone".to_string(),
                );
                Found::new(at, Severity::Error, "shared_id", says, mend)
            };
            self.found.push(found);
            return;
        }
    }

    fn key(&mut self, event: &Map<String, Value>, numbers: &Map<String, Value>) {
        let advice = || {
            let print = suggest::escaped("EventAttribute['Order ID']");
            Mend::Advice(format!("\"uuid\": \"{print}\",  (an attribute that names one event and no other)"))
        };
        match key(event) {
            None => {
                let says = (
                    "an event that MoEngage sends twice counts twice",
                    "nothing tells a rerun from a new event: moehog makes a UUID of any text here, PostHog itself takes only a UUID",
                );
                self.add("{", Severity::Warning, "no_uuid", says, advice());
            }
            Some(words)
                if !values::holds_unknown(&words) && self.sources([Some(words.clone()), key(numbers)]).is_empty() =>
            {
                let says = ("a person's events of one day become one", "the uuid is the same for all of them");
                self.add("uuid", Severity::Error, "constant_uuid", says, advice());
            }
            Some(_) => {}
        }
    }

    fn time(&mut self, event: &Map<String, Value>) {
        if TIMES.iter().all(|field| event.get(*field).is_none_or(Value::is_null)) {
            let print = suggest::escaped("EventAttribute['Ordered At']");
            let advice = Mend::Advice(format!("\"timestamp\": \"{print}\",  (the attribute that says when)"));
            let says = (
                "the event has the time of its arrival",
                "MoEngage sends it up to minutes later, and a rerun hours later: only an attribute of the event says when it happened",
            );
            self.add("{", Severity::Warning, "no_timestamp", says, advice);
        }
    }

    fn api_key(&mut self, event: &Map<String, Value>) {
        for field in ["api_key", "token"] {
            if event.get(field).and_then(Value::as_str).is_some_and(|key| key.is_empty() || key.starts_with('<')) {
                let says = ("no event arrives", "the project API key is still the example's");
                let advice = Mend::Advice(format!("\"{field}\": \"phc_…\",  (PostHog, Settings, Project API key)"));
                self.add(field, Severity::Error, "api_key_left", says, advice);
            }
        }
    }

    fn beside(&mut self, event: &Map<String, Value>) {
        let is_read = |name: &str| [&NAMES[..], &IDS, &KEYS, &TIMES, &READ].iter().any(|names| names.contains(&name));
        for name in event.keys().filter(|name| !is_read(name)) {
            let advice = Mend::Advice(format!("\"properties\": {{ \"{name}\": … }}"));
            if name.starts_with('$') {
                let says = (
                    &*format!("PostHog's newer API does not read `{name}` here"),
                    "it belongs within `properties`, where both of its APIs read it; moehog moves it there",
                );
                self.add(name, Severity::Hint, "outside_properties", says, advice);
            } else if !is_free(event) {
                let says = (&*format!("`{name}` is lost"), "PostHog reads no such member beside `properties`");
                self.add(name, Severity::Warning, "ignored_member", says, advice);
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
                let says = (
                    format!("PostHog cannot add up `{name}`: it arrives as text"),
                    "the placeholder stands in quotes; moehog makes numbers of names such as this one, PostHog itself does not"
                        .to_string(),
                );
                let print = self.filled.template.print_around(&access.range);
                let mend = print.map_or(Mend::None, |tag| Mend::Print(tag, Need::Number));
                self.found.push(Found::new(access.range.start, Severity::Warning, "number_as_text", says, mend));
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

    /// A first member of the event, where that is the body itself.
    fn put_first(&self, line: &str) -> Mend {
        let (text, tags) = (self.filled.text, &self.filled.template.tags);
        let at = text.place("{", tags);
        let advice = || Mend::Advice(line.to_string());
        if !text.body[at..].starts_with('{') || text.place("batch", tags) != at {
            return advice();
        }
        Mend::Put(Edit { range: at + 1..at + 1, text: format!("\n  {line}") })
    }

    /// The print of a look-up without the blanks between it and the quotes around it.
    fn without_blanks(&self, at: usize) -> Mend {
        let template = self.filled.template;
        let Some(tag) = template.print_around(&template.accesses[at].range) else { return Mend::None };
        let (body, tag) = (self.filled.text.body, template.tags[tag].range.clone());
        let (before, behind) = (body[..tag.start].trim_end(), body[tag.end..].trim_start());
        if !before.ends_with('"') || !behind.starts_with('"') {
            return Mend::None;
        }
        let range = before.len()..body.len() - behind.len();
        Mend::Put(Edit { range, text: body[tag].to_string() })
    }

    /// The look-ups of the same name.
    fn same(&self, at: usize) -> Vec<usize> {
        let name = &self.filled.template.accesses[at].name;
        let accesses = self.filled.template.accesses.iter().enumerate();
        accesses.filter(|(_, access)| access.name == *name).map(|(at, _)| at).collect()
    }

    /// A finding at a member, or at the event's first bracket.
    fn add(&mut self, member: &str, severity: Severity, code: &'static str, says: (&str, &str), mend: Mend) {
        let at = self.filled.text.place(member, &self.filled.template.tags);
        self.found.push(Found::new(at, severity, code, (says.0.to_string(), says.1.to_string()), mend));
    }
}

/// Whether what stands beside the event's name and person are its properties: nothing else is said to be, and no key is shown, so
/// that it is no request for PostHog itself.
fn is_free(event: &Map<String, Value>) -> bool {
    ["properties", "api_key", "token"].iter().all(|name| !event.contains_key(*name))
}

/// The id in the first of the places where it is looked for.
fn distinct_id(event: &Map<String, Value>) -> Option<String> {
    let inner = event.get("properties").and_then(|properties| properties.get("distinct_id"));
    let (own, moengages) = IDS.split_at(2);
    let of = |names: &'static [&'static str]| names.iter().filter_map(|name| event.get(*name));
    of(own).chain(inner).chain(of(moengages)).find_map(printed)
}

/// The member that says whose event it is.
fn id_member(event: &Map<String, Value>) -> &'static str {
    IDS.iter().find(|name| event.contains_key(**name)).copied().unwrap_or("distinct_id")
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
