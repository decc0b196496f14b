//! `moehog preview`: what PostHog would get of a body, beside the body itself.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use moehog_proto::limits::MAX_BODY_BYTES;
use moehog_runtime::epoch_ms;
use moehog_telemetry::terminal;
use moehog_transformer::{Note, Notes, Rules, Transformer, Type};
use serde_json::Value;

use crate::{
    check,
    cli::Preview,
    columns::{self, Columns},
    input,
    mapped::{self, Mapped, Sent},
    notes,
    paint::Paint,
};

#[expect(clippy::print_stdout, reason = "the command's answer")]
pub(crate) fn run(preview: &Preview) -> anyhow::Result<()> {
    let mapping = check::mapping(preview.config.as_deref())?;
    let rules = match preview.mapping.as_ref().or(mapping.file.as_ref()) {
        None => Rules::default(),
        Some(path) => check::usable(path, &mapping)?,
    };
    let body = input::read(&preview.body, MAX_BODY_BYTES, "no webhook may be; `head` cuts a file of lines")?;
    let transformer = Transformer::new(&mapping, rules);
    let sent = Sent {
        source: &preview.source,
        content_type: &preview.content_type,
        query: &preview.query,
        headers: &preview.headers,
        ..Sent::of(&body, epoch_ms())
    };
    let (events, notes) = mapped::map(&transformer, &sent);
    let pins = pins(&events);
    if preview.json {
        json(&events, &pins, &transformer, &mut io::stdout().lock())?;
        return all_arrive(&events);
    }
    let page = Page { columns: Columns::of(columns::width()), colours: Paint::stdout().is_on() };
    for (number, event) in (1..).zip(&events) {
        print!("{}", page.of(number, event));
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
    all_arrive(&events)
}

/// An error where an event would be a dead letter, for scripts.
fn all_arrive(events: &[Mapped]) -> anyhow::Result<()> {
    let dead = events.iter().filter(|event| event.is_dead()).count();
    anyhow::ensure!(dead == 0, "{dead} of {} would be dead letters", events.len());
    Ok(())
}

/// How often each note was counted that no event says of itself.
fn unsaid(notes: &Notes) -> impl Iterator<Item = (Note, u64)> {
    let said = |note: Note| notes.said().iter().filter(|((said, _), _)| *said == note).map(|(_, times)| times).sum();
    let unsaid = Note::ALL.iter().map(move |note| (*note, notes.get(*note).saturating_sub(said(*note))));
    unsaid.filter(|(_, times)| *times > 0)
}

/// Properties that are texts in every event and look like another type in all of them.
fn pins(events: &[Mapped]) -> BTreeMap<String, Type> {
    let mut seen: BTreeMap<String, Option<Type>> = BTreeMap::new();
    for event in events.iter().filter_map(|event| serde_json::from_str::<Value>(event.outcome.as_ref().ok()?).ok()) {
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

/// Writes the events one by one, so that no more than one is held as a tree.
fn json(
    events: &[Mapped],
    pins: &BTreeMap<String, Type>,
    transformer: &Transformer,
    out: &mut impl Write,
) -> io::Result<()> {
    let shown =
        |value: &Value, indent: &str| terminal::shown_json(&format!("{value:#}")).replace('\n', &format!("\n{indent}"));
    write!(out, "{{\n  \"events\": [")?;
    for (at, event) in events.iter().enumerate() {
        write!(out, "{}\n    {}", if at == 0 { "" } else { "," }, shown(&event.json(), "    "))?;
    }
    let pins: Value = pins.iter().map(|(name, pin)| (name.clone(), Value::from(pin.name()))).collect();
    let mapping = Value::from(transformer.rules().revision());
    let end = if events.is_empty() { "" } else { "\n  " };
    writeln!(out, "{end}],\n  \"mapping\": {mapping},\n  \"proposed_types\": {}\n}}", shown(&pins, "  "))
}

/// How events are shown.
struct Page {
    columns: Columns,
    colours: bool,
}

impl Page {
    /// One event: the body on the left, what PostHog gets on the right.
    fn of(&self, number: usize, event: &Mapped) -> String {
        let paint = |colour: &str, text: &str| {
            if self.colours && !text.is_empty() { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_string() }
        };
        let safe = |lines: Vec<String>| lines.iter().map(|line| terminal::shown(line).into_owned()).collect::<Vec<_>>();
        let left = safe(indented(&event.raw));
        let (title, right) = match &event.outcome {
            Ok(json) => {
                let at = event.destination.as_ref().map(|name| format!(" in `{name}`")).unwrap_or_default();
                (paint("32", &terminal::shown(&format!("PostHog gets{at}"))), safe(indented(json)))
            }
            Err(unsent) => (paint("31", &terminal::shown(&unsent.code)), safe(vec![unsent.sentence.clone()])),
        };
        let width = self.columns.left + 2;
        let mut page = format!("{} {title}\n", paint("1", &format!("{:<width$}", format!("event {number}"))));
        page += &self.columns.beside(&left, &right, |text| paint("2", text));
        if let Ok(json) = event.outcome.as_deref() {
            for note in notes::of(&serde_json::from_str(json).unwrap_or_default()) {
                let line = terminal::shown(&format!("note: {note}")).into_owned();
                columns::folded(&line, self.columns.left + self.columns.right + 3).iter().for_each(|line| {
                    page += line;
                    page.push('\n');
                });
            }
        }
        page + "\n"
    }
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
