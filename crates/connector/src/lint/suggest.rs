//! Names that MoEngage does not fill, and what to write instead.

use std::ops::Range;

use super::{
    Severity,
    found::{Edit, Found, Mend, Need},
    template::{Access, Name, TagKind, Template, Used},
    text::Text,
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

/// Filters that Jinja 2.8 has, and MoEngage's own.
///
/// Source: Jinja 2.8, "List of Builtin Filters"; MoEngage, "Jinja Templating Language" (read 2026-11).
const FILTERS: [&str; 58] = [
    "abs",
    "attr",
    "batch",
    "capitalize",
    "center",
    "count",
    "d",
    "default",
    "dictsort",
    "e",
    "escape",
    "filesizeformat",
    "first",
    "float",
    "forceescape",
    "format",
    "groupby",
    "indent",
    "int",
    "join",
    "last",
    "length",
    "list",
    "lower",
    "map",
    "pprint",
    "random",
    "reject",
    "rejectattr",
    "replace",
    "reverse",
    "round",
    "safe",
    "select",
    "selectattr",
    "slice",
    "sort",
    "string",
    "striptags",
    "sum",
    "title",
    "trim",
    "truncate",
    "upper",
    "urlencode",
    "urlize",
    "wordcount",
    "wordwrap",
    "xmlattr",
    "base64decode",
    "base64encode",
    "convertToSHA256",
    "convertToSHA256NoSalt",
    "dateFormatter",
    "dateTimeFormatter",
    "days",
    "today",
    "urldecode",
];

/// Filters of Jinja's that are newer than 2.8.
const NEWER_FILTERS: [&str; 5] = ["items", "max", "min", "tojson", "unique"];

/// What to write for a name that MoEngage does not know.
enum Instead {
    Attribute(Attribute),
    /// Nothing fills it: the text itself has to be typed.
    Typed(&'static str),
}

/// What a look-up or a filter is found for by its name alone.
pub(super) fn names(text: &Text<'_>, template: &Template, found: &mut Vec<Found>) {
    for access in &template.accesses {
        let at = access.range.start;
        match &access.name {
            Name::Bare(written) if is_other_object(written) => {}
            Name::Bare(written) => found.push(undocumented(text, template, access, written)),
            Name::Attribute(attribute) if access.needs_brackets => {
                let says = (
                    format!("`{}` is blank", text.body.get(access.range.clone()).unwrap_or_default()),
                    "a name with a space or bracket is read only in brackets and quotes".to_string(),
                );
                let mend = named(template, access, attribute);
                found.push(Found::new(at, Severity::Error, "needs_brackets", says, mend));
            }
            Name::Attribute(attribute) => {
                if let Some((severity, code, says)) = reserved(attribute) {
                    found.push(Found::new(at, severity, code, says, Mend::None));
                }
            }
        }
    }
    for Used { name, at } in &template.filters {
        let why = if NEWER_FILTERS.contains(&&**name) {
            "MoEngage names it nowhere, and one of the two Jinja versions that it names has it not"
        } else if FILTERS.contains(&&**name) {
            continue;
        } else {
            "neither MoEngage nor Jinja documents it; the value is looked at as if the filter left it as it is"
        };
        let says = (format!("`{name}` may fail the request"), why.to_string());
        found.push(Found::new(*at, Severity::Warning, "undocumented_filter", says, Mend::None));
    }
}

/// What an attribute that MoEngage knows is found for.
fn reserved(attribute: &Attribute) -> Option<(Severity, &'static str, (String, String))> {
    Some(match attribute.object {
        Object::Campaign if names::CAMPAIGN.contains(&&*attribute.name) => (
            Severity::Warning,
            "flow_only",
            (
                format!("{attribute} is blank outside a Flow"),
                "MoEngage fills campaign attributes in a Flow's Connector stage, not in a Connector campaign"
                    .to_string(),
            ),
        ),
        Object::Campaign => (
            Severity::Error,
            "undocumented_placeholder",
            (
                format!("{attribute} is never filled"),
                format!("of campaigns a Connector knows only {}, and those only in a Flow", names::CAMPAIGN.join(", ")),
            ),
        ),
        _ if names::is_reserved(attribute) => (
            Severity::Warning,
            "reserved_attribute",
            (
                format!("{attribute} is your value in a preview and MoEngage's own when sent"),
                "MoEngage keeps this name for itself: track the value under another name".to_string(),
            ),
        ),
        _ => return None,
    })
}

fn undocumented(text: &Text<'_>, template: &Template, access: &Access, written: &str) -> Found {
    let (why, mend) = match instead(written) {
        Instead::Attribute(attribute) => (
            format!("it fills {attribute}; without an object in front the text goes out as it stands or blank"),
            named(template, access, &attribute),
        ),
        Instead::Typed(typed) => (
            "MoEngage has no such variable for a Connector: type the text itself".to_string(),
            Mend::Advice(text.with(tag(template, &access.range), typed)),
        ),
    };
    let says = (format!("MoEngage does not know `{written}`"), why);
    Found::new(access.range.start, Severity::Error, "undocumented_placeholder", says, mend)
}

/// The right name: with all else that its print lacks, or by itself in a statement.
fn named(template: &Template, access: &Access, attribute: &Attribute) -> Mend {
    match template.print_around(&access.range) {
        Some(tag) => Mend::Print(tag, Need::Names),
        None => Mend::Put(Edit { range: access.range.clone(), text: attribute.to_string() }),
    }
}

/// What a print prints, with the names that MoEngage knows.
pub(super) fn expression(text: &Text<'_>, template: &Template, tag: &Range<usize>) -> String {
    let whole = text.body.get(tag.clone()).unwrap_or_default();
    let dashes = (usize::from(whole.starts_with("{{-")), usize::from(whole.ends_with("-}}")));
    corrected(text, template, tag.start + 2 + dashes.0..tag.end - 2 - dashes.1)
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

/// The attribute of a look-up, or the one that it means.
pub(super) fn attribute(access: &Access) -> Option<Attribute> {
    match &access.name {
        Name::Attribute(attribute) => Some(attribute.clone()),
        Name::Bare(written) => match instead(written) {
            Instead::Attribute(attribute) => Some(attribute),
            Instead::Typed(_) => None,
        },
    }
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
