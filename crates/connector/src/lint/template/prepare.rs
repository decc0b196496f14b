//! A body made readable for a Jinja that does not know MoEngage, place by place as long as it was.

use std::ops::Range;

use crate::attribute::{Attribute, Object};

/// Words that end a name after a dot.
const KEYWORDS: [&str; 8] = ["or", "and", "not", "in", "is", "if", "else", "recursive"];

/// What a tag does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum TagKind {
    /// `{{ … }}`
    Print,
    /// `{% … %}`
    Statement,
    /// `{# … #}`
    Comment,
}

/// One tag, its braces included.
#[derive(Debug, Clone)]
pub(in super::super) struct Tag {
    pub(in super::super) kind: TagKind,
    pub(in super::super) range: Range<usize>,
}

/// A tag without an end.
#[derive(Debug)]
pub(super) struct Unclosed {
    pub(super) at: usize,
    pub(super) opening: &'static str,
}

/// An attribute in dot form whose name needs brackets.
#[derive(Debug)]
pub(super) struct Dotted {
    pub(super) range: Range<usize>,
    pub(super) attribute: Attribute,
}

#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) text: String,
    pub(super) tags: Vec<Tag>,
    pub(super) dotted: Vec<Dotted>,
}

/// Makes calls of `MOE_NOT_SEND` statements, and one word of names that need brackets.
pub(super) fn prepare(body: &str) -> Result<Prepared, Unclosed> {
    let tags = tags(body)?;
    let mut text = body.to_string();
    let mut dotted = Vec::new();
    for tag in &tags {
        let inside = tag.range.start + 2..tag.range.end - 2;
        if tag.kind == TagKind::Statement && is_not_send(&body[inside.clone()]) {
            text.replace_range(tag.range.start..inside.start, "{{");
            text.replace_range(inside.end..tag.range.end, "}}");
        }
        if tag.kind != TagKind::Comment {
            dotted.extend(names(body, inside));
        }
    }
    for Dotted { range, .. } in &dotted {
        let word: String =
            body[range.clone()].bytes().map(|byte| if is_word(byte) { char::from(byte) } else { '_' }).collect();
        text.replace_range(range.clone(), &word);
    }
    Ok(Prepared { text, tags, dotted })
}

fn is_not_send(inside: &str) -> bool {
    inside.trim_matches(|character: char| character == '-' || character.is_whitespace()).starts_with("MOE_NOT_SEND")
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'.'
}

/// All tags, in order. Quotes hide the ends of tags, but not in comments.
fn tags(body: &str) -> Result<Vec<Tag>, Unclosed> {
    let bytes = body.as_bytes();
    let (mut tags, mut at) = (Vec::new(), 0);
    while at + 1 < bytes.len() {
        let (kind, opening, closing) = match &bytes[at..at + 2] {
            b"{{" => (TagKind::Print, "{{", b"}}"),
            b"{%" => (TagKind::Statement, "{%", b"%}"),
            b"{#" => (TagKind::Comment, "{#", b"#}"),
            _ => {
                at += 1;
                continue;
            }
        };
        let end = end(bytes, at + 2, closing, kind != TagKind::Comment).ok_or(Unclosed { at, opening })?;
        tags.push(Tag { kind, range: at..end });
        at = if kind == TagKind::Statement && word(&body[at..end]) == "raw" { raw_end(body, end) } else { end };
    }
    Ok(tags)
}

/// What a statement does: its first word.
pub(in super::super) fn word(tag: &str) -> &str {
    let inside = tag.trim_start_matches(['{', '%', '-', '+']).trim_start();
    inside.split(|character: char| !(character.is_alphanumeric() || character == '_')).next().unwrap_or_default()
}

/// Where the statement begins that ends a text which is printed as it stands.
fn raw_end(body: &str, from: usize) -> usize {
    let is_end = |at: &usize| word(&body[*at..]) == "endraw";
    let ends = body[from..].match_indices("{%").map(|(at, _)| from + at);
    ends.into_iter().find(is_end).unwrap_or(body.len())
}

fn end(bytes: &[u8], from: usize, closing: &[u8], quotes: bool) -> Option<usize> {
    let (mut at, mut quote) = (from, None);
    while at + 1 < bytes.len() {
        match (quote, bytes[at]) {
            (Some(_), b'\\') => at += 1,
            (Some(open), byte) if byte == open => quote = None,
            (None, b'\'' | b'"') if quotes => quote = Some(bytes[at]),
            (None, _) if bytes[at..].starts_with(closing) => return Some(at + closing.len()),
            _ => {}
        }
        at += 1;
    }
    None
}

/// Attributes in dot form whose names hold a space or a bracket.
fn names(body: &str, inside: Range<usize>) -> Vec<Dotted> {
    let mut found = Vec::new();
    for object in Object::ALL {
        let start = format!("{}.", object.name());
        for (offset, _) in body[inside.clone()].match_indices(&start) {
            let at = inside.start + offset;
            let name_at = at + start.len();
            let name = name(&body[name_at..inside.end]);
            // `get('Name')` is a call
            if name.contains([' ', '(']) && !name.starts_with("get(") {
                let attribute = Attribute { object, name: name.to_string() };
                found.push(Dotted { range: at..name_at + name.len(), attribute });
            }
        }
    }
    found
}

/// The name that a text begins with: words up to a keyword or anything that is no part of a display name.
fn name(text: &str) -> &str {
    let end = text.find(|character: char| !(character.is_alphanumeric() || " _()".contains(character)));
    let text = text.get(..end.unwrap_or(text.len())).unwrap_or(text);
    let mut end = 0;
    for word in text.split_inclusive(' ') {
        if KEYWORDS.contains(&word.trim()) {
            break;
        }
        end += word.len();
    }
    text[..end].trim_end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prepared_body_is_as_long_and_says_the_same() {
        let body = "{% MOE_NOT_SEND(\"no }} ID\") %}{{UserAttribute.First Name|lower}} {{ UserAttribute.a or UserAttribute.b }}";
        let prepared = prepare(body).unwrap();
        let expected = "{{ MOE_NOT_SEND(\"no }} ID\") }}{{UserAttribute.First_Name|lower}} {{ UserAttribute.a or UserAttribute.b }}";
        assert_eq!(prepared.text, expected);
        assert_eq!(prepared.text.len(), body.len());
        let dotted: Vec<_> = prepared.dotted.iter().map(|dotted| dotted.attribute.to_string()).collect();
        assert_eq!(dotted, ["UserAttribute['First Name']"]);
        assert_eq!(prepared.tags.len(), 3);
    }

    #[test]
    fn a_tag_without_an_end_is_named() {
        for (body, opening) in [("a {{ b", "{{"), ("{% if x", "{%"), ("{# {{ }}", "{#"), ("{{ '}}'", "{{")] {
            assert_eq!(prepare(body).unwrap_err().opening, opening, "{body}");
        }
    }

    #[test]
    fn a_name_ends_where_an_expression_goes_on() {
        for (text, expected) in [
            ("Email (Standard)|lower }}", "Email (Standard)"),
            ("name or UserAttribute.b", "name"),
            ("First Name }}", "First Name"),
            ("name", "name"),
        ] {
            assert_eq!(name(text), expected, "{text}");
        }
    }
}
