//! Where a body is no JSON, whatever fills it.

use super::template::{Tag, TagKind, Template};

/// A place that no value can mend.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Break {
    pub(super) at: usize,
    pub(super) what: String,
    /// What to put there instead of how many bytes.
    pub(super) mend: Option<(std::ops::Range<usize>, &'static str)>,
}

/// Reads the body with each print as a value; none where that is JSON.
pub(super) fn broken(template: &Template) -> Option<Break> {
    let skeleton = skeleton(&template.prepared, &template.tags);
    let error = serde_json::from_str::<serde_json::Value>(&skeleton).err()?;
    let start: usize = skeleton.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
    let mut at = (start + error.column().saturating_sub(1)).min(skeleton.len());
    while !skeleton.is_char_boundary(at) {
        at -= 1;
    }
    let said = error.to_string();
    let said = said.split(" at line ").next().unwrap_or_default();
    let before = skeleton[..at].trim_end().len();
    let (what, at, mend) = if said.starts_with("trailing comma") {
        let comma = skeleton[..at].rfind(',').unwrap_or(at);
        ("a comma before a closing bracket", comma, Some((comma..comma + 1, "")))
    } else if said.starts_with("expected `,`") {
        ("no comma between two members", before, Some((before..before, ",")))
    } else if said.starts_with("control character") {
        let line = skeleton[..at].trim_end_matches('\n').len();
        let end = line - usize::from(skeleton[..line].ends_with(','));
        ("a text without its closing quote", end, Some((end..end, "\"")))
    } else if said.starts_with("expected `:`") {
        ("no colon after a name", before, Some((before..before, ":")))
    } else if said.starts_with("key must be a string") {
        ("a name without quotes", at, None)
    } else if said.starts_with("EOF") {
        ("the body ends before its last bracket or quote", skeleton.trim_end().len(), None)
    } else if said.starts_with("trailing characters") {
        ("text after the end of the JSON", at, None)
    } else {
        ("text that is no JSON", at, None)
    };
    Some(Break { at, what: what.to_string(), mend })
}

/// The body with prints as values and all other tags as blanks, place by place as long as it was.
fn skeleton(body: &str, tags: &[Tag]) -> String {
    let (mut skeleton, mut at, mut in_text) = (String::new(), 0, false);
    for tag in tags {
        let data = &body[at..tag.range.start];
        in_text = ends_in_text(data, in_text);
        skeleton += data;
        let (first, rest) = match (in_text, tag.kind) {
            (true, TagKind::Print) => ("x", "x"),
            (false, TagKind::Print) => ("0", " "),
            (true, _) => ("x", "x"),
            (false, _) => (" ", " "),
        };
        skeleton += first;
        skeleton += &rest.repeat(tag.range.len() - 1);
        at = tag.range.end;
    }
    skeleton + &body[at..]
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
