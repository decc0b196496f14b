//! A trace as text.

use std::collections::BTreeMap;

use super::Span;

/// What is shown of a span beside its name, in this order.
const SHOWN: [&str; 5] = [
    "http.response.status_code",
    "moehog.verdict",
    "moehog.events.delivered",
    "rpc.response.status_code",
    "moehog.events",
];

/// Draws the spans of one trace, given in the order they began: children below their parents, the process that did the work
/// beside them. The second process of a service is its `#2`. What hangs on a span that is not there is a root.
#[must_use]
pub fn tree(spans: &[Span]) -> String {
    let mut lives: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for span in spans {
        let lives = lives.entry(&span.service).or_default();
        if !lives.contains(&&*span.instance) {
            lives.push(&span.instance);
        }
    }
    let process = |span: &Span| {
        let life = lives[&*span.service].iter().position(|instance| *instance == span.instance).unwrap_or_default();
        if life == 0 { span.service.clone() } else { format!("{} #{}", span.service, life + 1) }
    };
    let mut lines = Vec::new();
    for root in spans.iter().filter(|span| !spans.iter().any(|other| other.span_id == span.parent_id)) {
        draw(spans, root, "", "", &mut lines);
    }
    let width = lines.iter().map(|(text, _)| text.chars().count()).max().unwrap_or_default();
    let process_width = spans.iter().map(|span| process(span).len()).max().unwrap_or_default();
    let line = |(text, span): &(String, &Span)| {
        let gap = " ".repeat(width - text.chars().count());
        let shown = SHOWN.iter().filter_map(|name| Some((name.rsplit('.').next()?, span.attributes.get(*name)?)));
        let shown: String = shown.map(|(name, value)| format!("  {name} {value}")).collect();
        format!("{}\n", format!("{text}{gap}  {:process_width$}{shown}", process(span)).trim_end())
    };
    lines.iter().map(line).collect()
}

fn draw<'a>(spans: &'a [Span], span: &'a Span, lead: &str, below: &str, lines: &mut Vec<(String, &'a Span)>) {
    lines.push((format!("{lead}{}", span.name), span));
    let children: Vec<_> = spans.iter().filter(|child| child.parent_id == span.span_id).collect();
    for (index, child) in children.iter().enumerate() {
        let (branch, on) = if index + 1 == children.len() { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        draw(spans, child, &format!("{below}{branch}"), &format!("{below}{on}"), lines);
    }
}
