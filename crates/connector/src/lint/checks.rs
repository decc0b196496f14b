//! What a body becomes when it is filled.

use super::{
    Finding, Severity, event,
    filled::Filled,
    probe::{Outcome, Probes},
    shape::Shape,
    skeleton, suggest,
    template::{TagKind, Template},
    text::{Says, Text},
    values::Fill,
};

/// Adds the findings of a body that is read as a template.
pub(super) fn run(text: &Text<'_>, template: &Template, probes: &Probes, findings: &mut Vec<Finding>) {
    let filled = match (probes.filled(|_| Fill::Number), probes.filled(|_| Fill::Word)) {
        (Outcome::Sent(numbers), _) if !numbers.trim().is_empty() => numbers,
        (Outcome::Failed(_) | Outcome::NotSent | Outcome::Sent(_), Outcome::Sent(words))
            if !words.trim().is_empty() =>
        {
            words
        }
        (Outcome::Failed(reason), _) | (_, Outcome::Failed(reason)) => {
            findings.push(unchecked(text, &format!("this Jinja cannot fill it ({reason})")));
            return;
        }
        _ => {
            findings.push(unchecked(text, "no test value gets past its own conditions"));
            return;
        }
    };
    let shape = Shape::read(&filled);
    let mut unquoted = Vec::new();
    match &shape {
        Shape::Neither => {
            findings.push(no_json(text, template));
            return;
        }
        Shape::Form(_) => findings.push(form(text)),
        Shape::Json(_) => values(text, template, probes, &mut unquoted, findings),
    }
    let filled = Filled { text, template, probes, unquoted };
    event::checks(&filled, &shape, findings);
}

/// Look-ups whose values break the JSON around them.
fn values(
    text: &Text<'_>,
    template: &Template,
    probes: &Probes,
    unquoted: &mut Vec<usize>,
    findings: &mut Vec<Finding>,
) {
    let breaks = |fill: Fill, which: &[usize]| {
        let filled = probes.filled(|at| if which.contains(&at) { fill } else { Fill::Number });
        matches!(filled, Outcome::Sent(filled) if !matches!(Shape::read(&filled), Shape::Json(_)))
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
        findings.extend(guilty.map(|at| value(text, template, at, bare)));
    }
}

fn value(text: &Text<'_>, template: &Template, at: usize, bare: bool) -> Finding {
    let access = &template.accesses[at];
    let tag = suggest::tag(template, &access.range);
    let printed = tag != access.range;
    let inside = if printed { tag.start + 2..tag.end - 2 } else { tag.clone() };
    let trimmed = text.body.get(inside.clone()).unwrap_or_default();
    let dashes = (trimmed.starts_with('-'), trimmed.ends_with('-'));
    let inside = inside.start + usize::from(dashes.0)..inside.end - usize::from(dashes.1);
    let expression = suggest::corrected(text, template, inside);
    let (says, instead) = if bare {
        let says = Says {
            severity: Severity::Error,
            code: "unquoted_placeholder",
            breaks: format!("the JSON breaks where {} is blank or a text", suggest::shown(access)),
            why: "it stands without quotes, and MoEngage puts nothing there for a blank attribute".to_string(),
        };
        (says, suggest::number_or_text(&expression))
    } else {
        let says = Says {
            severity: Severity::Warning,
            code: "unescaped_placeholder",
            breaks: format!(
                "the JSON breaks where {} holds a quote, a backslash or a line break",
                suggest::shown(access)
            ),
            why: "MoEngage puts the value in as it is, and PostHog refuses the whole request".to_string(),
        };
        (says, suggest::escaped(&expression))
    };
    // of a list each element would have to be escaped where it is printed
    let fix = (printed && !access.is_iterated).then(|| text.with(tag, &instead));
    text.finding(access.range.start, says, fix)
}

fn no_json(text: &Text<'_>, template: &Template) -> Finding {
    let broken = skeleton::broken(template);
    let first = template.tags.iter().find(|tag| tag.kind == TagKind::Print).map_or(0, |tag| tag.range.start);
    let (at, what, mend) = match broken {
        Some(broken) => (broken.at, broken.what, broken.mend),
        None => (first, "what the placeholders print is no JSON".to_string(), None),
    };
    let says = Says {
        severity: Severity::Error,
        code: "invalid_json",
        breaks: "no event arrives".to_string(),
        why: format!("{what}: the body is no JSON, whatever fills it"),
    };
    text.finding(at, says, mend.map(|(range, instead)| text.with(range, instead)))
}

fn form(text: &Text<'_>) -> Finding {
    let says = Says {
        severity: Severity::Warning,
        code: "form_body",
        breaks: "a value that holds `&`, `=`, `+` or `%` breaks it, and every value arrives as text".to_string(),
        why: "this is a form (key=value), whose values nobody encodes in a Raw body: choose the body type Form in MoEngage, or write JSON \
              and the header `Content-Type: application/json`"
            .to_string(),
    };
    text.finding(0, says, None)
}

fn unchecked(text: &Text<'_>, why: &str) -> Finding {
    let says = Says {
        severity: Severity::Hint,
        code: "not_checked",
        breaks: "what the body becomes was not looked at".to_string(),
        why: why.to_string(),
    };
    text.finding(0, says, None)
}
