//! A body read as Jinja: what it looks up, and its text with other look-ups in their place.

mod names;
mod prepare;
mod walk;

use std::ops::Range;

use minijinja::machinery::parse;

pub(super) use self::prepare::{Tag, TagKind};
use self::{names::Names, walk::Walk};
use super::{
    Finding, Severity,
    text::{Says, Text},
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
    /// Whether a loop goes through its value, which is a list then.
    pub(super) is_iterated: bool,
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
    pub(super) fn read(text: &Text<'_>) -> Result<Self, Box<Finding>> {
        let prepared = prepare::prepare(text.body).map_err(|unclosed| {
            let why = "what follows is read as Jinja to the end of the body".to_string();
            let breaks = format!("`{}` is never closed", unclosed.opening);
            Box::new(text.finding(unclosed.at, syntax(breaks, why), None))
        })?;
        let (mut accesses, mut filters) = {
            let tree = parse(&prepared.text, "body", Default::default()).map_err(|error| unread(text, &error))?;
            Walk::over(&tree, &prepared.text, &Names::of(&tree))
        };
        for access in &mut accesses {
            if let Some(dotted) = prepared.dotted.iter().find(|dotted| dotted.range == access.range) {
                access.name = Name::Attribute(dotted.attribute.clone());
                access.needs_brackets = true;
            }
        }
        for access in &mut accesses {
            let within = |tag: &&Tag| tag.range.contains(&access.range.start);
            let tag = prepared.tags.iter().find(within).and_then(|tag| prepared.text.get(tag.range.clone()));
            let words = tag.map(|tag| tag.trim_start_matches(['{', '%', '-', '+']).trim_start());
            access.is_iterated = words.is_some_and(|words| words.starts_with("for "));
        }
        accesses.sort_by_key(|access| access.range.start);
        filters.sort_by_key(|filter| filter.at);
        Ok(Self { prepared: prepared.text, accesses, filters, tags: prepared.tags })
    }

    /// The template with each look-up replaced by one in `object`, named for its place in the list.
    pub(super) fn looking_up(&self, object: &str) -> String {
        let mut text = self.prepared.clone();
        for (index, access) in self.accesses.iter().enumerate().rev() {
            text.replace_range(access.range.clone(), &format!("{object}.p{index}"));
        }
        text
    }
}

fn unread(text: &Text<'_>, error: &minijinja::Error) -> Box<Finding> {
    let at = error.range().map_or(0, |range| range.start);
    let line = error.line().unwrap_or(1);
    let at =
        if error.range().is_some() { at } else { text.body.split_inclusive('\n').take(line - 1).map(str::len).sum() };
    let detail = error.detail().unwrap_or("unreadable").to_string();
    let whole = text.with(at..at, "");
    let curly = whole.contains(['‘', '’', '“', '”']);
    let straight = whole.replace(['‘', '’'], "'").replace(['“', '”'], "\"");
    let why = if curly {
        "a text editor made the quotes curly, and Jinja reads straight ones only".to_string()
    } else {
        format!("Jinja does not read it ({detail}), so MoEngage sends nothing")
    };
    Box::new(text.finding(at, syntax("the template cannot be read".to_string(), why), curly.then_some(straight)))
}

fn syntax(breaks: String, why: String) -> Says {
    Says { severity: Severity::Error, code: "template_syntax", breaks, why }
}
