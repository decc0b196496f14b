//! What a body becomes when it is filled.

use super::{
    Severity, event,
    filled::Filled,
    found::{Edit, Found, Mend, Need},
    probe::{Outcome, Probes},
    shape::Shape,
    skeleton, suggest,
    template::{Expected, TagKind, Template},
    text::Text,
    timed::{self, ReadsTime},
    values::Fill,
};

/// Adds the findings of a body that is read as a template.
pub(super) fn run(text: &Text<'_>, template: &Template, reads_time: Option<&ReadsTime<'_>>, found: &mut Vec<Found>) {
    let probes = &Probes::new(template);
    for aside in &probes.left_aside {
        found.push(unchecked(template.tags[aside.tag].range.start, "what stands here", &aside.reason));
    }
    let sent = [Fill::Number, Fill::Word].map(|fill| probes.filled(|_| fill));
    let filled = sent.iter().find_map(|outcome| match outcome {
        Outcome::Sent(filled) if !filled.trim().is_empty() => Some(filled),
        _ => None,
    });
    let Some(filled) = filled else {
        let reason = sent.iter().find_map(|outcome| match outcome {
            Outcome::Failed(reason) => Some(format!("this Jinja cannot fill it ({reason})")),
            Outcome::Sent(_) | Outcome::NotSent => None,
        });
        let reason = match (reason, template.prepared.trim().is_empty()) {
            (_, true) => return found.push(empty()),
            (Some(reason), _) => reason,
            (None, _) => "no test value gets past its own conditions".to_string(),
        };
        return found.push(unchecked(0, "what the body becomes", &reason));
    };
    let shape = Shape::read(filled);
    let mut unquoted = Vec::new();
    match &shape {
        Shape::Neither if probes.left_aside.is_empty() => return found.push(no_json(text, template, filled)),
        Shape::Neither => {
            let reason = "with a number in the places that were not looked at, it is no JSON";
            return found.push(unchecked(0, "what the body becomes", reason));
        }
        Shape::Form(_) => found.push(form()),
        Shape::Json(_) => values(template, probes, &mut unquoted, found),
    }
    let filled = Filled { text, template, probes, unquoted };
    event::checks(&filled, &shape, found);
    if let Some(reads_time) = reads_time {
        timed::check(&filled, reads_time, found);
    }
}

/// Look-ups whose values break the JSON around them.
fn values(template: &Template, probes: &Probes<'_>, unquoted: &mut Vec<usize>, found: &mut Vec<Found>) {
    let base = probes.base();
    let breaks = |fill: Fill, which: &[usize]| {
        let filled = probes.filled(|at| if which.contains(&at) { fill } else { base });
        // a body's own condition may leave nothing of it
        matches!(filled, Outcome::Sent(filled) if !filled.trim().is_empty() && !matches!(Shape::read(&filled), Shape::Json(_)))
    };
    for group in probes.groups() {
        let members = probes.members(group);
        let (bare, nasty) =
            (breaks(Fill::Word, &members) || breaks(Fill::Blank, &members), breaks(Fill::Nasty, &members));
        if !bare && !nasty {
            continue;
        }
        let fill = if bare { Fill::Word } else { Fill::Nasty };
        let alone: Vec<usize> = members.iter().copied().filter(|member| breaks(fill, &[*member])).collect();
        let guilty = if alone.is_empty() { vec![group] } else { alone };
        if bare {
            unquoted.extend(&members);
        }
        let guilty = guilty.into_iter().filter(|at| !suggest::is_typed(&template.accesses[*at]));
        found.extend(guilty.map(|at| value(template, at, bare)));
    }
}

fn value(template: &Template, at: usize, bare: bool) -> Found {
    let access = &template.accesses[at];
    let shown = suggest::shown(access);
    let is_value = access.expected == Expected::Value;
    let (severity, code, says) = match (bare, is_value) {
        (true, true) => (
            Severity::Error,
            "unquoted_placeholder",
            (
                format!("the JSON breaks where {shown} is blank or a text"),
                "it stands without quotes, and MoEngage puts nothing there for a blank attribute".to_string(),
            ),
        ),
        (true, false) => (
            Severity::Error,
            "unquoted_placeholder",
            (
                format!("the JSON breaks where {shown} is empty or holds a text"),
                "the comma or the quotes around what is printed of it suit only some of its values".to_string(),
            ),
        ),
        (false, _) => (
            Severity::Warning,
            "unescaped_placeholder",
            (
                format!("the JSON breaks where {shown} holds a quote, a backslash or a line break"),
                "MoEngage puts the value in as it is, and PostHog refuses the whole request".to_string(),
            ),
        ),
    };
    // of a list each element would have to be escaped where it is printed
    let tag = template.print_around(&access.range).filter(|_| is_value);
    let mend = tag.map_or(Mend::None, |tag| Mend::Print(tag, if bare { Need::Number } else { Need::Escape }));
    Found::new(access.range.start, severity, code, says, mend)
}

fn no_json(text: &Text<'_>, template: &Template, filled: &str) -> Found {
    let left = left_unread(filled);
    let is_mended = |edit: &Edit| {
        let mut mended = text.body.to_string();
        mended.replace_range(edit.range.clone(), &edit.text);
        let Ok(template) = Template::read(&Text::new(&mended)) else { return false };
        match Probes::new(&template).filled(|_| Fill::Number) {
            Outcome::Sent(filled) => left_unread(&filled) < left,
            Outcome::NotSent | Outcome::Failed(_) => false,
        }
    };
    let breaks = skeleton::breaks(text.body, template);
    let mends = |broken: &&skeleton::Break| broken.mend.as_ref().is_some_and(is_mended);
    // what stands between statements is printed as often as they say
    let is_certain =
        |at: usize| !template.tags.iter().any(|tag| tag.kind == TagKind::Statement && tag.range.start < at);
    let first = template.tags.iter().find(|tag| tag.kind == TagKind::Print).map_or(0, |tag| tag.range.start);
    let (at, what, mend) = match (breaks.iter().find(mends), breaks.first()) {
        (Some(broken), _) => (broken.at, broken.what.to_string(), broken.mend.clone()),
        (None, Some(broken)) if is_certain(broken.at) => (broken.at, broken.what.to_string(), None),
        _ => (first, format!("what its tags print is no JSON, near `{}` of test values", near(filled, left)), None),
    };
    let breaks = "PostHog takes no event of it, and moehog only where the mistake has one reading".to_string();
    let says = (breaks, format!("{what}: the body is no JSON, whatever fills it"));
    Found::new(at, Severity::Error, "invalid_json", says, mend.map_or(Mend::None, Mend::Put))
}

/// How much of a text is left where its JSON breaks.
fn left_unread(filled: &str) -> usize {
    skeleton::error_at(filled).map_or(0, |(at, _)| filled.len() - at + 1)
}

/// A few characters around the place with so many bytes behind it.
fn near(filled: &str, left: usize) -> String {
    let at = filled.len().saturating_sub(left.saturating_sub(1));
    let before: String = filled.get(..at).unwrap_or_default().chars().rev().take(12).collect();
    let behind = filled.get(at..).unwrap_or_default().chars().take(12);
    before.chars().rev().chain(behind).collect::<String>().split_whitespace().collect::<Vec<_>>().join(" ")
}

fn empty() -> Found {
    let says = ("no event arrives".to_string(), "the body is empty".to_string());
    Found::new(0, Severity::Error, "empty_body", says, Mend::None)
}

fn form() -> Found {
    let says = (
        "a value that holds `&`, `=`, `+` or `%` breaks it, and every value arrives as text".to_string(),
        "this is a form (key=value), whose values nobody encodes in a Raw body: choose the body type Form in MoEngage, or write JSON \
         and the header `Content-Type: application/json`"
            .to_string(),
    );
    Found::new(0, Severity::Warning, "form_body", says, Mend::None)
}

fn unchecked(at: usize, what: &str, reason: &str) -> Found {
    let says = (format!("{what} was not looked at"), reason.to_string());
    Found::new(at, Severity::Hint, "not_checked", says, Mend::None)
}
