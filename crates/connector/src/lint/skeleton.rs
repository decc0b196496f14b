//! Where a body is no JSON, whatever fills it.

mod slips;

use std::ops::Range;

use super::{
    found::Edit,
    template::{Tag, TagKind, Template, word},
};

/// Places that are looked for behind one another.
const MAX_BREAKS: usize = 12;

/// A place that no value can mend.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Break {
    pub(super) at: usize,
    pub(super) what: &'static str,
    /// What to put there.
    pub(super) mend: Option<Edit>,
}

/// Bytes of a text, and what goes in their place: a text, what stood at a part of them, a text.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Patch {
    range: Range<usize>,
    before: &'static str,
    kept: Range<usize>,
    behind: &'static str,
}

impl Patch {
    fn put(range: Range<usize>, text: &'static str) -> Self {
        let kept = range.end..range.end;
        Self { range, before: text, kept, behind: "" }
    }

    fn moved(&self, place: impl Fn(usize) -> usize) -> Self {
        let moved = |range: &Range<usize>| place(range.start)..place(range.end);
        Self { range: moved(&self.range), kept: moved(&self.kept), ..self.clone() }
    }
}

/// One edit of all patches, which are in order.
fn edit(text: &str, patches: &[Patch]) -> Option<Edit> {
    let (first, last) = (patches.first()?, patches.last()?);
    let (mut instead, mut at) = (String::new(), first.range.start);
    for Patch { range, before, kept, behind } in patches {
        instead += text.get(at..range.start)?;
        instead += before;
        instead += text.get(kept.clone())?;
        instead += behind;
        at = range.end;
    }
    Some(Edit { range: first.range.start..last.range.end, text: instead })
}

/// Reads the body with each print as a value, and gives the places where that is no JSON: the first, and those behind it that show
/// themselves once it is mended.
pub(super) fn breaks(body: &str, template: &Template) -> Vec<Break> {
    let mut skeleton = skeleton(body, &template.tags);
    let (mut breaks, mut edits) = (Vec::new(), Vec::<Edit>::new());
    while let Some((at, what, patches)) = broken(&skeleton)
        && breaks.len() < MAX_BREAKS
    {
        let place = |at: usize| edits.iter().rev().fold(at, back);
        let in_body: Vec<_> = patches.iter().map(|patch| patch.moved(place)).collect();
        breaks.push(Break { at: place(at), what, mend: edit(body, &in_body) });
        let Some(edit) = edit(&skeleton, &patches) else { break };
        skeleton.replace_range(edit.range.clone(), &edit.text);
        edits.push(edit);
    }
    breaks
}

/// A place in the text before an edit.
fn back(at: usize, Edit { range, text }: &Edit) -> usize {
    if at < range.start + text.len() { at.min(range.end) } else { at - text.len() + range.len() }
}

/// Where a text is no JSON, and what its reader says.
pub(super) fn error_at(text: &str) -> Option<(usize, String)> {
    let error = serde_json::from_str::<serde_json::Value>(text).err()?;
    let start: usize = text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
    let mut at = (start + error.column().saturating_sub(1)).min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    Some((at, error.to_string()))
}

/// The first place where a text is no JSON, what it is, and what mends it.
fn broken(skeleton: &str) -> Option<(usize, &'static str, Vec<Patch>)> {
    let (at, said) = error_at(skeleton)?;
    if let Some(slip) = slips::slip(skeleton, at) {
        return Some(slip);
    }
    let said = said.split(" at line ").next().unwrap_or_default();
    let before = skeleton[..at].trim_end().len();
    let (what, at, patch) = if said.starts_with("trailing comma") {
        let comma = skeleton[..at].rfind(',').unwrap_or(at);
        ("a comma before a closing bracket", comma, Some(Patch::put(comma..comma + 1, "")))
    } else if said.starts_with("expected `,`") {
        ("no comma between two members", before, Some(Patch::put(before..before, ",")))
    } else if said.starts_with("control character") {
        let line = skeleton[..at].trim_end_matches('\n').len();
        let end = line - usize::from(skeleton[..line].ends_with(','));
        ("a text without its closing quote", end, Some(Patch::put(end..end, "\"")))
    } else if said.starts_with("expected `:`") {
        ("no colon after a name", before, Some(Patch::put(before..before, ":")))
    } else if said.starts_with("key must be a string") {
        ("a name without quotes", at, None)
    } else if said.starts_with("EOF") {
        ("the body ends before its last bracket or quote", skeleton.trim_end().len(), None)
    } else if said.starts_with("trailing characters") {
        ("text after the end of the JSON", at, None)
    } else {
        ("text that is no JSON", at, None)
    };
    Some((at, what, patch.into_iter().collect()))
}

/// The body with prints as values and all other tags as blanks, and so what macros hold: place by place as long as it was.
fn skeleton(body: &str, tags: &[Tag]) -> String {
    let (mut skeleton, mut at, mut in_text) = (String::new(), 0, false);
    let mut declares = false;
    for tag in tags {
        let (data, statement) = (&body[at..tag.range.start], &body[tag.range.clone()]);
        if declares {
            skeleton += &" ".repeat(data.len());
        } else {
            in_text = ends_in_text(data, in_text);
            skeleton += data;
        }
        let (first, rest) = match (in_text, tag.kind) {
            (false, TagKind::Print) if !declares => ("0", " "),
            (false, _) => (" ", " "),
            (true, _) => ("x", "x"),
        };
        skeleton += first;
        skeleton += &rest.repeat(tag.range.len() - 1);
        if tag.kind == TagKind::Statement {
            declares = (declares || word(statement) == "macro") && word(statement) != "endmacro";
        }
        at = tag.range.end;
    }
    skeleton + &body[at..]
}

/// Whether a JSON text is open where a tag begins.
pub(super) fn is_in_text(body: &str, tags: &[Tag], tag: usize) -> bool {
    let (mut at, mut in_text) = (0, false);
    for tag in tags.iter().take(tag + 1) {
        in_text = ends_in_text(&body[at..tag.range.start], in_text);
        at = tag.range.end;
    }
    in_text
}

/// Whether a JSON text is open after this data.
fn ends_in_text(data: &str, mut in_text: bool) -> bool {
    let mut escaped = false;
    for byte in data.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            _ => {}
        }
    }
    in_text
}
