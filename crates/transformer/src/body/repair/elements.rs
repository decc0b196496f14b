//! A list of events of which some cannot be read: each is mended by itself, and what cannot be costs itself.

use std::ops::Range;

use serde_json::Value;

use super::{
    Events, Mended,
    rivals::Shape,
    tokens::{skip_blanks, text_end},
};
use crate::notes::Repair;

/// The body with each event of its list as it was meant; none where the list cannot be told from what is around it.
pub(super) fn repair(text: &str) -> Option<Mended> {
    if !Shape::of(text).is_whole() {
        return None;
    }
    let list = List::find(text.as_bytes())?;
    let mut events = Events::new(text.get(..list.begin)?, text.len());
    if list.lacks_comma {
        events.repaired(Repair::MissingComma);
    }
    for element in list.elements {
        events.take(text, element)?;
    }
    let mended = events.end(text.get(list.end..)?)?;
    let is_mended = !(mended.repairs.is_empty() && mended.broken.is_empty());
    is_mended.then_some(mended)
}

/// Members by which an object is an event.
const OF_AN_EVENT: [&str; 6] = ["event", "event_name", "event_code", "EVENT_NAME", "EVENT_CODE", "type"];

/// Whether the objects of a body's list are all events or none is: a comma that was put between two halves of one event would make a
/// second of its properties.
pub(super) fn are_alike(text: &str) -> bool {
    let is_event = |element: &Value| match element {
        Value::Object(members) => OF_AN_EVENT.iter().any(|name| members.contains_key(*name)),
        // it cannot be read
        other => other.is_null(),
    };
    let of_list = |list: &Value| match list {
        Value::Array(elements) => elements.iter().all(is_event) || !elements.iter().any(is_event),
        _ => true,
    };
    match serde_json::from_str::<Value>(text) {
        Ok(Value::Object(members)) => ["events", "batch"].iter().filter_map(|name| members.get(*name)).all(of_list),
        Ok(list) => of_list(&list),
        Err(_) => false,
    }
}

/// The list of events in a body, told by its brackets.
struct List {
    /// Behind its opening bracket.
    begin: usize,
    /// Its closing bracket.
    end: usize,
    /// Objects, by their brackets.
    elements: Vec<Range<usize>>,
    lacks_comma: bool,
}

impl List {
    /// The body itself, or its only member `events` or `batch`.
    fn find(text: &[u8]) -> Option<Self> {
        let at = skip_blanks(text, 0);
        match text.get(at)? {
            b'[' => Self::read(text, at),
            b'{' => {
                let mut found = None;
                let mut at = at + 1;
                while let Some(begin) = next_list(text, &mut at) {
                    if found.is_some() {
                        return None;
                    }
                    let list = Self::read(text, begin)?;
                    at = list.end + 1;
                    found = Some(list);
                }
                found
            }
            _ => None,
        }
    }

    /// Reads the list that opens at `open`.
    fn read(text: &[u8], open: usize) -> Option<Self> {
        let mut list = Self { begin: open + 1, end: 0, elements: Vec::new(), lacks_comma: false };
        let mut at = skip_blanks(text, list.begin);
        loop {
            if text.get(at)? != &b'{' {
                return None;
            }
            let end = closed(text, at)?;
            list.elements.push(at..end);
            at = skip_blanks(text, end);
            match text.get(at)? {
                b',' => at = skip_blanks(text, at + 1),
                b'{' => list.lacks_comma = true,
                b']' => {
                    list.end = at;
                    return Some(list);
                }
                _ => return None,
            }
        }
    }
}

/// Where the next list of events opens among the members of an object whose inside is at `at`.
fn next_list(text: &[u8], at: &mut usize) -> Option<usize> {
    loop {
        match text.get(*at)? {
            b'"' => {
                let (begin, end) = (*at, text_end(text, *at + 1)?);
                let colon = skip_blanks(text, end);
                let value = skip_blanks(text, colon + 1);
                *at = end;
                let is_list = [&b"\"events\""[..], b"\"batch\""].contains(&&text[begin..end]);
                if is_list && text.get(colon) == Some(&b':') && text.get(value) == Some(&b'[') {
                    return Some(value);
                }
            }
            b'{' | b'[' => *at = closed(text, *at)?,
            _ => *at += 1,
        }
    }
}

/// Behind the bracket that closes the one at `open`. Those of a body nest rightly.
fn closed(text: &[u8], open: usize) -> Option<usize> {
    let (mut depth, mut is_text, mut at) = (0_usize, false, open);
    loop {
        match text.get(at)? {
            b'\\' => at += 1,
            b'"' => is_text = !is_text,
            b'{' | b'[' if !is_text => depth += 1,
            b'}' | b']' if !is_text => {
                depth -= 1;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
        at += 1;
    }
}
