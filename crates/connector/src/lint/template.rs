//! A body read as Jinja: what it looks up, and its text with other look-ups in their place.

mod expected;
mod names;
mod prepare;
mod walk;

use std::ops::Range;

use minijinja::machinery::parse;

pub(super) use self::{
    expected::Expected,
    prepare::{Tag, TagKind, word},
};
use self::{expected::Uses, names::Names, walk::Walk};
use super::{
    Severity,
    found::{Edit, Found, Mend},
    text::Text,
};
use crate::attribute::Attribute;

/// What a template looks up in one place.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Name {
    /// A documented attribute.
    Attribute(Attribute),
    /// Anything else, as it is written.
    Bare(String),
}

/// One look-up.
#[derive(Debug, Clone)]
pub(super) struct Access {
    pub(super) range: Range<usize>,
    pub(super) name: Name,
    /// Whether it is written as a dot and a name that needs brackets.
    pub(super) needs_brackets: bool,
    /// Text it is compared with: the value that gets past the body's own condition.
    pub(super) compared_with: Option<String>,
    /// What it has to hold.
    pub(super) expected: Expected,
}

impl Access {
    fn of(name: Name, range: Range<usize>) -> Self {
        Self { range, name, needs_brackets: false, compared_with: None, expected: Expected::Value }
    }
}

/// A filter that is used, and where.
#[derive(Debug, Clone)]
pub(super) struct Used {
    pub(super) name: String,
    pub(super) at: usize,
}

/// A body that reads as Jinja.
#[derive(Debug)]
pub(super) struct Template {
    /// The body, its `MOE_NOT_SEND` statements as calls; place by place as long as it was.
    pub(super) prepared: String,
    /// Look-ups in the order they are written.
    pub(super) accesses: Vec<Access>,
    pub(super) filters: Vec<Used>,
    /// What stands in tags: statements, prints and comments.
    pub(super) tags: Vec<Tag>,
}

impl Template {
    /// Reads a body, or says where it is no Jinja.
    pub(super) fn read(text: &Text<'_>) -> Result<Self, Box<Found>> {
        let prepared = prepare::prepare(text.body).map_err(|unclosed| {
            let why = "what follows is read as Jinja to the end of the body".to_string();
            let says = (format!("`{}` is never closed", unclosed.opening), why);
            Box::new(Found::new(unclosed.at, Severity::Error, "template_syntax", says, Mend::None))
        })?;
        let (mut accesses, mut filters, uses) = {
            let tree = parse(&prepared.text, "body", Default::default()).map_err(|error| unread(text, &error))?;
            let names = Names::of(&tree);
            let (accesses, filters) = Walk::over(&tree, &prepared.text, &names);
            (accesses, filters, Uses::of(&tree, &prepared.text, &names))
        };
        for access in &mut accesses {
            if let Some(dotted) = prepared.dotted.iter().find(|dotted| dotted.range == access.range) {
                access.name = Name::Attribute(dotted.attribute.clone());
                access.needs_brackets = true;
            }
        }
        let named: Vec<_> = accesses.iter().map(|access| (access.name.clone(), access.range.start)).collect();
        for access in &mut accesses {
            let same = named.iter().filter(|(name, _)| *name == access.name).map(|(_, start)| *start);
            access.expected = uses.expected(same);
        }
        accesses.sort_by_key(|access| access.range.start);
        filters.sort_by_key(|filter| filter.at);
        Ok(Self { prepared: prepared.text, accesses, filters, tags: prepared.tags })
    }

    /// The print that a place of the body stands in, by its place among the tags; none in a statement.
    pub(super) fn print_around(&self, range: &Range<usize>) -> Option<usize> {
        let around =
            |tag: &Tag| tag.kind == TagKind::Print && tag.range.start <= range.start && range.end <= tag.range.end;
        self.tags.iter().position(around)
    }

    /// The template in pieces, each look-up replaced by one in `object`, named for its place in the list.
    pub(super) fn pieces(&self, object: &str) -> Vec<Piece> {
        let (mut pieces, mut at) = (Vec::new(), 0);
        for (index, tag) in self.tags.iter().enumerate() {
            pieces.push(Piece { tag: None, text: self.prepared[at..tag.range.start].to_string() });
            let mut text = self.prepared[tag.range.clone()].to_string();
            let inside =
                self.accesses.iter().enumerate().rev().filter(|(_, access)| tag.range.contains(&access.range.start));
            for (place, Access { range, .. }) in inside {
                let within = range.start - tag.range.start..range.end - tag.range.start;
                text.replace_range(within, &format!("{object}.p{place}"));
            }
            pieces.push(Piece { tag: Some(index), text });
            at = tag.range.end;
        }
        pieces.push(Piece { tag: None, text: self.prepared[at..].to_string() });
        pieces
    }
}

/// A tag, or what stands between two.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    /// Which of the template's tags it is.
    pub(super) tag: Option<usize>,
    pub(super) text: String,
}

fn unread(text: &Text<'_>, error: &minijinja::Error) -> Box<Found> {
    let line = error.line().unwrap_or(1);
    let at = error.range().map_or_else(
        || text.body.split_inclusive('\n').take(line - 1).map(str::len).sum(),
        |range| range.start.min(text.body.len()),
    );
    let detail = error.detail().unwrap_or("unreadable");
    let curly = ['‘', '’', '“', '”', '\u{a0}'];
    let straight = tag_around(text.body, at).map(|range| {
        let instead =
            text.body[range.clone()].replace(['‘', '’'], "'").replace(['“', '”'], "\"").replace('\u{a0}', " ");
        Edit { range, text: instead }
    });
    let straight = straight.filter(|edit| text.body[edit.range.clone()].contains(curly));
    let why = if straight.is_some() {
        "a text editor made the quotes curly or the blanks wide, and Jinja reads straight and plain ones only"
            .to_string()
    } else {
        format!("Jinja does not read it ({detail}), so MoEngage sends nothing")
    };
    let says = ("the template cannot be read".to_string(), why);
    Box::new(Found::new(at, Severity::Error, "template_syntax", says, straight.map_or(Mend::None, Mend::Put)))
}

/// The tag that a place of a body stands in or behind.
fn tag_around(body: &str, at: usize) -> Option<Range<usize>> {
    let before = body.get(..(at + 2).min(body.len())).or_else(|| body.get(..at))?;
    let start = ["{{", "{%"].iter().filter_map(|open| before.rfind(open)).max()?;
    let end = ["}}", "%}"].iter().filter_map(|close| body[start..].find(close)).min()?;
    Some(start..start + end + 2)
}
