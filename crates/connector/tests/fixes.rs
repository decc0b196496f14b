//! What `lint` tells to write is accepted by itself: the finished body has nothing left that it would write otherwise.

mod templates;

use std::{fs, path::Path};

use moehog_connector::{Finding, Linter, Severity, lint};

use self::templates::{Without, written};

/// Lines of bodies as people write them, each with something to mend.
const LINES: [&str; 26] = [
    r#""distinct_id": "{{user_id}}""#,
    r#""distinct_id": "{{ UserAttribute['ID']|lower }}""#,
    r#""distinct_id": " {{UserAttribute['ID']}} ""#,
    r#""distinct_id": "{{UserAttribute['ID']|default('guest')}}""#,
    r#""distinct_id": "{{UserAttribute['Email (Standard)']}}""#,
    r#""distinct_id": "{{UserAttribute.Customer ID}}""#,
    r#""uid": "{{uid}}""#,
    r#""uuid": "{{EventAttribute['Order ID']}}""#,
    r#""timestamp": "{{EventAttribute['At']}}""#,
    r#""amount": {{EventAttribute['Value']}}"#,
    r#""amount": "{{EventAttribute['Value']}}""#,
    r#""price": "INR {{EventAttribute['Price']}}""#,
    r#""price": "{{- EventAttribute['Price'] -}}""#,
    r#""name": "{{first_name}} {{last_name}}""#,
    r#""name": "{{UserAttribute.First Name|default('x' ~ 'y')}}""#,
    r#""name": {% if first_name %}"{{first_name}}"{% else %}null{% endif %}"#,
    r#""items": [{% for p in EventAttribute['Items'] %}"{{p}}",{% endfor %}]"#,
    r#""items": [{% for p in EventAttribute['Items'] %}{"sku": "{{p.sku}}"}{{ "," if not loop.last }}{% endfor %}]"#,
    r#""sum": {{ EventAttribute['A']|int + EventAttribute['B'] }}"#,
    r#""quoted": {% set q = EventAttribute['Q'] %}"{{ q }}""#,
    r#""a" "{{EventAttribute['A']}}""#,
    r#""b": True // as Python writes it"#,
    r#"“c”: “{{EventAttribute['C']}}”"#,
    r#"'d': '{{EventAttribute["D"]}}'"#,
    r#""e": "{{EventAttribute[‘E’]}}""#,
    r#""campaign": "{{campaign_name}}""#,
];

fn unfixed(found: &[Finding]) -> impl Iterator<Item = &Finding> {
    found.iter().filter(|finding| finding.fixable)
}

fn errors(found: &[Finding]) -> Vec<&'static str> {
    let unread = |code| ["invalid_json", "template_syntax"].contains(&code);
    found.iter().filter(|it| it.severity == Severity::Error && !unread(it.code)).map(|it| it.code).collect()
}

/// Holds a body against the promise; how many findings it had that could be fixed.
fn holds(body: &str) -> usize {
    let (linter, before) = (Linter::default(), lint(body));
    let fixed = linter.fixed(body);
    let after = lint(&fixed);
    assert_eq!(unfixed(&after).next(), None, "{body}\nbecame\n{fixed}");
    assert_eq!(linter.fixed(&fixed), fixed);
    let is_read =
        |found: &[Finding]| errors(found).len() == found.iter().filter(|it| it.severity == Severity::Error).count();
    if is_read(&before) {
        assert!(
            is_read(&after) && errors(&after).len() <= errors(&before).len(),
            "{body}\nbecame\n{fixed}\n{after:#?}"
        );
    }
    let fixable = unfixed(&before).count();
    assert_eq!(fixable == 0, fixed == body, "{body}\nbecame\n{fixed}");
    fixable
}

#[test]
fn a_finished_body_has_nothing_left_to_fix() {
    let mut fixable = 0;
    for first in LINES {
        for second in LINES {
            fixable += holds(&format!("{{\n{first},\n{second},\n\"event\": \"purchase\"\n}}"));
        }
        fixable += holds(&format!("{{\n\"event\": \"x\",\n\"properties\": {{\n{first}\n}}\n}}"));
        fixable += holds(&format!("{{\"event\": \"x\" {first}}}"));
    }
    assert!(fixable > 1500, "{fixable}");
}

#[test]
fn so_do_the_bodies_of_guides_and_of_the_grammar() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../transformer/testdata");
    let mut guides = 0;
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            guides += usize::from(holds(&fs::read_to_string(path).unwrap()) > 0);
        }
    }
    assert!(guides > 5, "{guides}");
    let fixable: usize =
        (0..60).flat_map(|seed| [Without::Separator, Without::Comma].map(|it| holds(&written(seed, it).body))).sum();
    assert!(fixable > 60, "{fixable}");
}

#[test]
fn one_line_has_all_that_it_lacks() {
    let body = r#"{"event": "x", "distinct_id": " {{user_id|lower}} ", "uuid": "{{EventAttribute['o']}}", "timestamp": "{{EventAttribute['t']}}"}"#;
    let fixed = Linter::default().fixed(body);
    let id = r#""distinct_id": "{% if not UserAttribute['ID'] %}{% MOE_NOT_SEND("no ID") %}{% endif %}{{ UserAttribute['ID']|lower|string|replace("#;
    assert!(fixed.contains(id), "{fixed}");
    assert_eq!(lint(&fixed), [], "{fixed}");
}
