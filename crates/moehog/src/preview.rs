//! `moehog preview`: what PostHog would get of a body, beside the body itself.

use std::{
    collections::BTreeMap,
    io::{self, IsTerminal},
    time::{SystemTime, UNIX_EPOCH},
};

use moehog_proto::{
    Reason,
    event::Header,
    transformer::{Rejection, Webhook, mapped_event::Outcome, transformed_webhook},
};
use moehog_telemetry::terminal;
use moehog_transformer::{Note, Notes, Rules, Transformer, Type, unpacked};
use serde_json::{Value, json, value::RawValue};

use crate::{check, cli::Preview, input, notes};

/// Columns of the body beside its event.
const LEFT: usize = 64;

/// What becomes of one event.
struct Shown {
    raw: String,
    /// The destination that its rule names.
    destination: Option<String>,
    /// The event as PostHog gets it, or why it does not.
    mapped: Result<String, (String, String)>,
}

impl Shown {
    /// Whether it would be a dead letter: what a rule leaves out and what stands there twice is none.
    fn is_dead(&self) -> bool {
        matches!(&self.mapped, Err((reason, _)) if !["filtered", "duplicate"].contains(&reason.as_str()))
    }
}

#[expect(clippy::print_stdout, reason = "the command's answer")]
pub(crate) fn run(preview: &Preview) -> anyhow::Result<()> {
    let mapping = check::mapping(preview.config.as_deref())?;
    let rules = match preview.mapping.as_ref().or(mapping.file.as_ref()) {
        None => Rules::default(),
        Some(path) => check::usable(path, &mapping)?,
    };
    let body = input::read(&preview.body)?;
    let transformer = Transformer::new(&mapping, rules);
    let (transformed, notes) = transformer.transform_counted(&webhook(preview, &body));
    let shown = match transformed.result {
        Some(transformed_webhook::Result::Mapped(mapped)) => {
            let raw = events(&unpacked(&body));
            let outcomes =
                mapped.events.into_iter().filter_map(|event| Some((event.position as usize, event.outcome?)));
            outcomes
                .map(|(at, outcome)| {
                    shown(raw.get(at).filter(|raw| !raw.is_empty()).unwrap_or(&preview.query).clone(), outcome)
                })
                .collect()
        }
        Some(transformed_webhook::Result::Rejection(why)) => {
            let (raw, mapped) = (String::from_utf8_lossy(&unpacked(&body)).into_owned(), Err(dead(why)));
            vec![Shown { raw, destination: None, mapped }]
        }
        None => Vec::new(),
    };
    let pins = pins(&shown);
    if preview.json {
        println!("{}", terminal::shown_json(&format!("{:#}", json(&shown, &pins, &transformer))));
        return all_arrive(&shown);
    }
    let colours = io::stdout().is_terminal();
    for (number, shown) in (1..).zip(&shown) {
        print!("{}", page(number, shown, colours));
    }
    for (note, times) in unsaid(&notes) {
        println!("note: {times} {}", note.name());
    }
    for (place, times) in notes.too_costly() {
        println!("note: {times} of {place}: would take more steps or bytes than the mapping of one event may");
    }
    if !pins.is_empty() {
        println!("these texts look like other types; where they are, put into the mapping file:\n\n[types]");
        pins.iter().for_each(|(name, pin)| println!("{}", pin_line(name, *pin)));
    }
    all_arrive(&shown)
}

/// An error where an event would be a dead letter, for scripts.
fn all_arrive(shown: &[Shown]) -> anyhow::Result<()> {
    let dead = shown.iter().filter(|shown| shown.is_dead()).count();
    anyhow::ensure!(dead == 0, "{dead} of {} would be dead letters", shown.len());
    Ok(())
}

/// How often each note was counted that no event says of itself.
fn unsaid(notes: &Notes) -> impl Iterator<Item = (Note, u64)> {
    let said = |note: Note| notes.said().iter().filter(|((said, _), _)| *said == note).map(|(_, times)| times).sum();
    let unsaid = Note::ALL.iter().map(move |note| (*note, notes.get(*note).saturating_sub(said(*note))));
    unsaid.filter(|(_, times)| *times > 0)
}

fn webhook(preview: &Preview, body: &[u8]) -> Webhook {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let is_capture = preview.source == "capture";
    let key = is_capture.then(|| serde_json::from_slice::<Value>(body).ok()).flatten();
    let key = key.and_then(|body| Some(body.get("api_key").or(body.get("token"))?.as_str()?.to_string()));
    Webhook {
        receipt: "preview".to_string(),
        received_at_ms: i64::try_from(now.as_millis()).unwrap_or_default(),
        source: preview.source.clone(),
        route: if is_capture { "capture" } else { "in" }.to_string(),
        content_type: preview.content_type.clone(),
        api_key: key.unwrap_or_default(),
        method: if body.is_empty() && !preview.query.is_empty() { "GET".to_string() } else { String::new() },
        query: preview.query.clone(),
        headers: preview
            .headers
            .iter()
            .map(|(name, value)| Header { name: name.clone(), value: value.clone() })
            .collect(),
        body: body.to_vec().into(),
        ..Webhook::default()
    }
}

fn shown(raw: String, outcome: Outcome) -> Shown {
    let destination = match &outcome {
        Outcome::Event(event) => Some(event.destination.clone()).filter(|name| !name.is_empty()),
        _ => None,
    };
    let mapped = match outcome {
        Outcome::Event(event) => Ok(String::from_utf8_lossy(&event.json).into_owned()),
        Outcome::Dead(why) => Err(dead(why)),
        Outcome::Filtered(by) => Err(("filtered".to_string(), format!("left out by {by}"))),
        Outcome::Duplicate(_) => {
            Err(("duplicate".to_string(), "an earlier event of this body is the same to PostHog".to_string()))
        }
    };
    Shown { raw, destination, mapped }
}

fn dead(rejection: Rejection) -> (String, String) {
    let why = Reason::from(rejection);
    (why.code.clone(), why.sentence())
}

/// The events of a body as they stand in it, by their position.
fn events(body: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(body);
    let list = |raw: &RawValue| {
        serde_json::from_str::<Vec<&RawValue>>(raw.get())
            .map(|events| events.iter().map(|event| event.get().to_string()).collect::<Vec<_>>())
    };
    if let Ok(whole) = serde_json::from_str::<&RawValue>(&text) {
        if let Ok(events) = list(whole) {
            return events;
        }
        let members = serde_json::from_str::<BTreeMap<String, &RawValue>>(&text).unwrap_or_default();
        let events = ["events", "batch"].iter().find_map(|name| list(members.get(*name)?).ok());
        return events.unwrap_or_else(|| vec![text.into_owned()]);
    }
    let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).map(str::to_string).collect();
    if lines.len() > 1 && lines.iter().any(|line| serde_json::from_str::<&RawValue>(line).is_ok()) {
        return lines;
    }
    vec![text.into_owned()]
}

/// Properties that are texts in every event and look like another type in all of them.
fn pins(shown: &[Shown]) -> BTreeMap<String, Type> {
    let mut seen: BTreeMap<String, Option<Type>> = BTreeMap::new();
    for event in shown.iter().filter_map(|shown| serde_json::from_str::<Value>(shown.mapped.as_ref().ok()?).ok()) {
        for (name, value) in event["properties"].as_object().into_iter().flatten() {
            let Some(text) = value.as_str().filter(|_| !name.starts_with('$') && !names_something(name)) else {
                continue;
            };
            let raw = Value::from(text).to_string();
            let looks = [Type::Number, Type::Boolean].into_iter().find(|wanted| wanted.cast(&raw).is_some());
            let known = seen.entry(name.clone()).or_insert(looks);
            *known = known.filter(|known| looks == Some(*known));
        }
    }
    seen.into_iter().filter_map(|(name, pin)| Some((name, pin?))).collect()
}

/// Whether a property's name says that it is an id, a number to call, or a code: digits that are no amount.
fn names_something(name: &str) -> bool {
    let name = name.to_lowercase();
    let words: Vec<_> = name.split(|c: char| !c.is_alphanumeric()).collect();
    let ids = [
        "id", "ids", "uuid", "code", "phone", "mobile", "number", "zip", "postcode", "version", "sku", "ean", "coupon",
    ];
    words.iter().any(|word| ids.contains(word)) || name.ends_with("id")
}

/// As it stands in a mapping file: TOML escapes as JSON does.
fn pin_line(name: &str, pin: Type) -> String {
    format!("{} = \"{}\"", terminal::shown_json(&Value::from(name).to_string()), pin.name())
}

fn json(shown: &[Shown], pins: &BTreeMap<String, Type>, transformer: &Transformer) -> Value {
    let parsed = |text: &str| serde_json::from_str(text).unwrap_or_else(|_| Value::from(text));
    let events: Vec<_> = shown
        .iter()
        .map(|shown| match &shown.mapped {
            Ok(event) => json!({"raw": parsed(&shown.raw), "event": parsed(event), "destination": shown.destination}),
            Err((reason, detail)) => json!({"raw": parsed(&shown.raw), "reason": reason, "detail": detail}),
        })
        .collect();
    let pins: BTreeMap<_, _> = pins.iter().map(|(name, pin)| (name, pin.name())).collect();
    json!({"mapping": transformer.rules().revision(), "events": events, "proposed_types": pins})
}

/// One event: the body on the left, what PostHog gets on the right.
fn page(number: usize, shown: &Shown, colours: bool) -> String {
    let paint =
        |colour: &str, text: &str| if colours { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_string() };
    let safe = |lines: Vec<String>| lines.iter().map(|line| terminal::shown(line).into_owned()).collect::<Vec<_>>();
    let left = safe(indented(&shown.raw));
    let (title, right) = match &shown.mapped {
        Ok(event) => {
            let at = shown.destination.as_ref().map(|name| format!(" in `{name}`")).unwrap_or_default();
            (paint("32", &terminal::shown(&format!("PostHog gets{at}"))), safe(indented(event)))
        }
        Err((reason, detail)) => (paint("31", &terminal::shown(reason)), safe(wrapped(detail))),
    };
    let mut page =
        format!("{} {title}\n", paint("1", &format!("{:<width$}", format!("event {number}"), width = LEFT + 2)));
    for at in 0..left.len().max(right.len()) {
        let begin: String = left.get(at).map(|line| line.chars().take(LEFT).collect()).unwrap_or_default();
        let end = right.get(at).map_or("", String::as_str);
        let padding = " ".repeat(LEFT - begin.chars().count());
        page += format!("{}{padding} │ {end}", paint("2", &begin)).trim_end();
        page.push('\n');
    }
    if let Ok(event) = shown.mapped.as_deref() {
        for note in notes::of(&serde_json::from_str(event).unwrap_or_default()) {
            page += &format!("{}\n", terminal::shown(&format!("note: {note}")));
        }
    }
    page + "\n"
}

/// JSON with a member a line, each value as it stands.
fn indented(json: &str) -> Vec<String> {
    let (mut lines, mut line, mut depth) = (Vec::new(), String::new(), 0_usize);
    let (mut in_text, mut escaped) = (false, false);
    let mut end = |line: &mut String, depth: usize| {
        lines.push(std::mem::replace(line, "  ".repeat(depth)));
    };
    for character in json.trim().chars() {
        if in_text {
            line.push(character);
            (in_text, escaped) = (escaped || character != '"', !escaped && character == '\\');
            continue;
        }
        match character {
            '{' | '[' => {
                line.push(character);
                depth += 1;
                end(&mut line, depth);
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                end(&mut line, depth);
                line.push(character);
            }
            ',' => {
                line.push(character);
                end(&mut line, depth);
            }
            ':' => line.push_str(": "),
            blank if blank.is_whitespace() => {}
            other => {
                in_text = other == '"';
                line.push(other);
            }
        }
    }
    lines.push(line);
    lines.retain(|line| !line.trim().is_empty());
    lines
}

/// A sentence in lines of the right column.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + word.chars().count() < LEFT => {
                if !line.is_empty() {
                    line.push(' ');
                }
                line.push_str(word);
            }
            _ => lines.push(word.to_string()),
        }
    }
    lines
}
