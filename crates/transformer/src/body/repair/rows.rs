//! Events that stand in a row, with nothing around them: a line each, or one behind the other.

use serde::de::IgnoredAny;

use super::{Events, Mended, is_json, rivals::Shape};
use crate::notes::Repair;

/// A body of one event a line, at least one of which can be read.
pub(super) fn lines(text: &str) -> Option<Mended> {
    let lines = || text.lines().map(str::trim_ascii).filter(|line| !line.is_empty());
    let are_objects = lines().nth(1).is_some() && lines().all(|line| line.starts_with('{'));
    if !are_objects || !lines().any(is_json) {
        return None;
    }
    // a list of one document may be printed over several lines: one that closes what another opened, or two that are not whole
    let mut partial = lines().map(Shape::of).filter(|shape| !shape.is_whole());
    if partial.next().is_some_and(|first| first.is_unopened || partial.next().is_some()) {
        return None;
    }
    let mut events = Events::new("[", text.len());
    events.mended.are_lines = true;
    for line in lines() {
        let begin = line.as_ptr().addr() - text.as_ptr().addr();
        events.take(text, begin..begin + line.len())?;
    }
    events.end("]")
}

/// A body of objects with blanks between them or nothing, all of which can be read.
pub(super) fn in_a_row(text: &str) -> Option<Mended> {
    let mut events = Events::new("[", text.len());
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<IgnoredAny>();
    let (mut begin, mut gap) = (0, None);
    while let Some(value) = values.next() {
        value.ok()?;
        let end = values.byte_offset();
        let raw = text.get(begin..end)?;
        let blanks = raw.len() - raw.trim_ascii_start().len();
        if !raw[blanks..].starts_with('{') {
            return None;
        }
        gap = gap.or((begin > 0).then_some(begin));
        events.take(text, begin + blanks..end)?;
        begin = end;
    }
    events.repaired(Repair::MissingComma, gap.unwrap_or(0));
    (events.count > 1).then(|| events.end("]"))?
}
