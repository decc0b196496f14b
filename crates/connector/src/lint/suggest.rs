//! Names that MoEngage does not fill, and what to write instead.

use std::ops::Range;

use super::{
    Finding, Severity,
    template::{Access, Name, TagKind, Template},
    text::{Says, Text},
};
use crate::{
    attribute::{Attribute, Object},
    jinja, names,
};

/// Variables of the tutorials, and the display names of MoEngage's standard attributes that they mean.
///
/// Source: MoEngage, "Data Export Glossary" and "PostHog" (read 2026-08): `ID`, `Email (Standard)`, `First Name`, `Last Name`.
const USER: [(&str, &str); 15] = [
    ("user_id", "ID"),
    ("userid", "ID"),
    ("uid", "ID"),
    ("id", "ID"),
    ("customer_id", "ID"),
    ("distinct_id", "ID"),
    ("unique_id", "ID"),
    ("email", "Email (Standard)"),
    ("email_id", "Email (Standard)"),
    ("first_name", "First Name"),
    ("last_name", "Last Name"),
    ("mobile", "Mobile Number"),
    ("mobile_number", "Mobile Number"),
    ("phone", "Mobile Number"),
    ("phone_number", "Mobile Number"),
];

/// Objects of MoEngage's that a Connector may use and whose members are named by the workspace.
const OTHER_OBJECTS: [&str; 4] = ["product", "recommend", "auxiliary", "content"];

/// What to write for a name that MoEngage does not know.
enum Instead {
    Attribute(Attribute),
    /// Nothing fills it: the text itself has to be typed.
    Typed(&'static str),
}

/// Findings that a look-up or a filter makes by its name alone.
pub(super) fn names(text: &Text<'_>, template: &Template, findings: &mut Vec<Finding>) {
    for access in &template.accesses {
        let at = access.range.start;
        let says = match &access.name {
            Name::Bare(written) if is_other_object(written) => continue,
            Name::Bare(written) => {
                let (why, fix) = match instead(written) {
                    Instead::Attribute(attribute) => (
                        format!(
                            "it fills {attribute}; without an object in front the text goes out as it stands or blank"
                        ),
                        attribute.to_string(),
                    ),
                    Instead::Typed(typed) => {
                        let why = "MoEngage has no such variable for a Connector: type the text itself".to_string();
                        let says = undocumented(written, why);
                        findings.push(text.finding(at, says, Some(text.with(tag(template, &access.range), typed))));
                        continue;
                    }
                };
                findings.push(text.finding(
                    at,
                    undocumented(written, why),
                    Some(text.with(access.range.clone(), &fix)),
                ));
                continue;
            }
            Name::Attribute(attribute) if access.needs_brackets => {
                let fix = Some(text.with(access.range.clone(), &attribute.to_string()));
                let says = Says {
                    severity: Severity::Error,
                    code: "needs_brackets",
                    breaks: format!("`{}` is blank", text.body.get(access.range.clone()).unwrap_or_default()),
                    why: "a name with a space or bracket is read only in brackets and quotes".to_string(),
                };
                findings.push(text.finding(at, says, fix));
                continue;
            }
            Name::Attribute(attribute) => match attribute.object {
                Object::Campaign if names::CAMPAIGN.contains(&&*attribute.name) => Says {
                    severity: Severity::Warning,
                    code: "flow_only",
                    breaks: format!("{attribute} is blank outside a Flow"),
                    why: "MoEngage fills campaign attributes in a Flow's Connector stage, not in a Connector campaign"
                        .to_string(),
                },
                Object::Campaign => Says {
                    severity: Severity::Error,
                    code: "undocumented_placeholder",
                    breaks: format!("{attribute} is never filled"),
                    why: format!(
                        "of campaigns a Connector knows only {}, and those only in a Flow",
                        names::CAMPAIGN.join(", ")
                    ),
                },
                _ if names::is_reserved(attribute) => Says {
                    severity: Severity::Warning,
                    code: "reserved_attribute",
                    breaks: format!("{attribute} is your value in a preview and MoEngage's own when sent"),
                    why: "MoEngage keeps this name for itself: track the value under another name".to_string(),
                },
                _ => continue,
            },
        };
        findings.push(text.finding(at, says, None));
    }
    for filter in template.filters.iter().filter(|filter| filter.name == "tojson") {
        let says = Says {
            severity: Severity::Warning,
            code: "undocumented_filter",
            breaks: "`tojson` may fail the request".to_string(),
            why: "MoEngage names it nowhere, and one of the two Jinja versions that it names has it not".to_string(),
        };
        findings.push(text.finding(filter.at, says, None));
    }
}

/// An expression with the names that MoEngage knows.
pub(super) fn corrected(text: &Text<'_>, template: &Template, range: Range<usize>) -> String {
    let mut written = text.body.get(range.clone()).unwrap_or_default().to_string();
    let inside = |access: &&Access| access.range.start >= range.start && access.range.end <= range.end;
    for access in template.accesses.iter().rev().filter(inside) {
        let attribute = match &access.name {
            Name::Bare(bare) => match instead(bare) {
                Instead::Attribute(attribute) => attribute,
                Instead::Typed(_) => continue,
            },
            Name::Attribute(attribute) if access.needs_brackets => attribute.clone(),
            Name::Attribute(_) => continue,
        };
        written.replace_range(access.range.start - range.start..access.range.end - range.start, &attribute.to_string());
    }
    written
}

/// An expression whose text is safe between JSON's quotes.
pub(super) fn escaped(expression: &str) -> String {
    let expression = expression.trim();
    let simple = !["~", "+", " if ", " or ", " and "].iter().any(|operator| expression.contains(operator));
    let expression = if simple { expression.to_string() } else { format!("({expression})") };
    format!("{{{{ {expression}{} }}}}", jinja::short_chain())
}

/// An expression that is a number where it is one, and a text otherwise.
pub(super) fn number_or_text(expression: &str) -> String {
    let chain = jinja::short_chain();
    let expression = expression.trim();
    let expression = expression.strip_suffix(&chain).unwrap_or(expression);
    format!(
        "{{% if {expression} is number %}}{{{{ {expression} }}}}{{% else %}}\"{}\"{{% endif %}}",
        escaped(expression)
    )
}

/// The print that a look-up stands in; the look-up itself where it stands in a statement.
pub(super) fn tag(template: &Template, range: &Range<usize>) -> Range<usize> {
    let around = |tag: &&super::template::Tag| {
        tag.kind == TagKind::Print && tag.range.start <= range.start && range.end <= tag.range.end
    };
    template.tags.iter().find(around).map_or_else(|| range.clone(), |tag| tag.range.clone())
}

/// How findings call a look-up.
pub(super) fn shown(access: &Access) -> String {
    match &access.name {
        Name::Attribute(attribute) => attribute.to_string(),
        Name::Bare(written) => written.clone(),
    }
}

/// Whether no placeholder can stand there: the text has to be typed.
pub(super) fn is_typed(access: &Access) -> bool {
    matches!(&access.name, Name::Bare(written) if matches!(instead(written), Instead::Typed(_)))
}

fn undocumented(written: &str, why: String) -> Says {
    Says {
        severity: Severity::Error,
        code: "undocumented_placeholder",
        breaks: format!("MoEngage does not know `{written}`"),
        why,
    }
}

fn instead(written: &str) -> Instead {
    let last = written.rsplit(['.', '[']).next().unwrap_or(written);
    let last = last.trim_matches(|character: char| "\"'])( ".contains(character));
    let snake = names::snake_case(last);
    if let Some((_, name)) = USER.iter().find(|(variable, _)| *variable == snake) {
        return Instead::Attribute(Attribute::user(name));
    }
    match &*snake {
        "event_name" | "event" => Instead::Typed("the event's name"),
        "campaign_name" | "campaign_id" | "campaign" => Instead::Typed("the campaign's name"),
        "segment_name" | "segment" => Instead::Typed("the segment's name"),
        _ => Instead::Attribute(Attribute::event(last)),
    }
}

fn is_other_object(written: &str) -> bool {
    let lower = written.to_lowercase();
    written.starts_with(char::is_uppercase) && OTHER_OBJECTS.iter().any(|object| lower.starts_with(object))
}
