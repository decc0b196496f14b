//! A list of events of which some cannot be read: each is mended by itself, and what cannot be costs itself.

use std::ops::Range;

use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess};

use super::{
    Events, Mended,
    rivals::Shape,
    tokens::{skip_blanks, text_end},
};
use crate::{
    item::{Kind, Members, Walk, name},
    notes::Repair,
};

/// The body with each event of its list as it was meant; none where the list cannot be told from what is around it.
pub(super) fn repair(text: &str) -> Option<Mended> {
    if !Shape::of(text).is_whole() {
        return None;
    }
    let list = List::find(text.as_bytes())?;
    let mut events = Events::new(text.get(..list.begin)?, text.len());
    if let Some(at) = list.lacks_comma {
        events.repaired(Repair::MissingComma, at);
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
    let mut found = Found::default();
    let read = Walk(&mut found).deserialize(&mut serde_json::Deserializer::from_str(text));
    read.is_ok() && !(found.events && found.others)
}

/// What stands in a body's list.
#[derive(Debug, Default)]
struct Found {
    events: bool,
    others: bool,
}

impl<'a> Members<'a> for Found {
    fn kind(&mut self, _: Kind) {}

    fn member<A: MapAccess<'a>>(&mut self, key: &'a str, members: &mut A) -> Result<(), A::Error> {
        match key {
            "\"events\"" | "\"batch\"" => members.next_value_seed(Walk(self)),
            _ => members.next_value::<IgnoredAny>().map(|_| ()),
        }
    }

    fn elements<A: SeqAccess<'a>>(&mut self, elements: &mut A) -> Result<(), A::Error> {
        let mut one = IsEvent::default();
        while elements.next_element_seed(Walk(&mut one))?.is_some() {
            // what cannot be read is `null`
            self.events |= one.is_named || one.kind == Kind::Absent;
            self.others |= !one.is_named && one.kind != Kind::Absent;
            one = IsEvent::default();
        }
        Ok(())
    }
}

/// Whether an element is an event by its members.
#[derive(Debug, Default)]
struct IsEvent {
    kind: Kind,
    is_named: bool,
}

impl<'a> Members<'a> for IsEvent {
    fn kind(&mut self, kind: Kind) {
        self.kind = kind;
    }

    fn member<A: MapAccess<'a>>(&mut self, key: &'a str, members: &mut A) -> Result<(), A::Error> {
        self.is_named |= OF_AN_EVENT.contains(&&*name(key));
        members.next_value::<IgnoredAny>().map(|_| ())
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
    /// Where the first comma is missing.
    lacks_comma: Option<usize>,
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
        let mut list = Self { begin: open + 1, end: 0, elements: Vec::new(), lacks_comma: None };
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
                b'{' => list.lacks_comma = list.lacks_comma.or(Some(at)),
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
