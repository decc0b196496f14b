use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use super::{suggest::escaped, *};

/// Line, severity and code of each finding.
fn codes(body: &str) -> Vec<(usize, Severity, &'static str)> {
    lint(body).into_iter().map(|finding| (finding.line, finding.severity, finding.code)).collect()
}

/// A body that lacks nothing, with these members in it.
fn whole(id: &str, uuid: &str, property: &str) -> String {
    let time = escaped("EventAttribute['At']");
    format!(
        "{{\n\"event\": \"purchase\",\n\"distinct_id\": \"{id}\",\n\"uuid\": \"{uuid}\",\n\"timestamp\": \"{time}\",\n\
         \"properties\": {{\n{property}\n}}\n}}"
    )
}

fn with(property: &str) -> String {
    whole(&guarded(), &escaped("EventAttribute['Order ID']"), property)
}

fn guarded() -> String {
    escaped("UserAttribute['ID']|default('MOE_NOT_SEND', true)")
}

fn only(body: &str) -> Finding {
    let findings = lint(body);
    assert_eq!(findings.len(), 1, "{body}\n{findings:#?}");
    findings.into_iter().next().unwrap()
}

/// The first finding of a body that is no JSON.
fn unread(body: &str) -> Finding {
    let mut found = lint(body).into_iter().filter(|finding| finding.code == "invalid_json");
    found.next().unwrap_or_else(|| panic!("{body}: {:#?}", lint(body)))
}

/// The one finding of a property: its code and the line to write instead, which mends it.
fn mended(property: &str) -> (&'static str, String) {
    let finding = only(&with(property));
    assert_eq!(finding.line, 7, "{finding}");
    let fix = finding.fix.unwrap_or_else(|| panic!("no fix for {property}"));
    assert!(!lint(&with(&fix)).iter().any(|left| left.code == finding.code), "{fix}");
    (finding.code, fix)
}

#[test]
fn a_whole_body_breaks_nowhere() {
    assert_eq!(codes(&with("")), []);
    assert_eq!(codes(&with(&format!("\"name\": \"{}\"", escaped("UserAttribute['First Name']")))), []);
    assert_eq!(
        codes(&with("\"n\": {% if EventAttribute['N'] is number %}{{ EventAttribute['N'] }}{% else %}0{% endif %}")),
        []
    );
}

#[test]
fn a_name_that_moengage_does_not_fill_is_named_with_the_right_one() {
    for (written, expected) in [
        ("user_id", "UserAttribute['ID']"),
        ("email", "UserAttribute['Email (Standard)']"),
        ("user.first_name", "UserAttribute['First Name']"),
        ("purchase_amount", "EventAttribute['purchase_amount']"),
        ("event['currency']", "EventAttribute['currency']"),
    ] {
        let findings = lint(&with(&format!("\"p\": \"{{{{{written}}}}}\"")));
        let finding = findings.iter().find(|finding| finding.code == "undocumented_placeholder");
        let finding = finding.unwrap_or_else(|| panic!("{written}: {findings:#?}"));
        assert_eq!(finding.fix.as_deref(), Some(&*format!("\"p\": \"{}\"", escaped(expected))), "{written}");
        assert_eq!((finding.line, finding.column, finding.severity), (7, 9, Severity::Error));
    }
    let typed = lint(&with("\"p\": \"{{ campaign_name }}\""));
    assert_eq!(typed[0].fix.as_deref(), Some("\"p\": \"the campaign's name\""));
}

#[test]
fn campaigns_are_known_in_flows_only_and_by_six_names() {
    let body = |name: &str| with(&format!("\"p\": \"{}\"", escaped(&format!("CampaignAttribute['{name}']"))));
    assert_eq!(codes(&body("Flow Name")), [(7, Severity::Warning, "flow_only")]);
    assert_eq!(codes(&body("Campaign Name")), [(7, Severity::Error, "undocumented_placeholder")]);
}

#[test]
fn what_a_template_names_itself_is_no_placeholder() {
    let set =
        "{% set name = UserAttribute['First Name'] %}{% for word in ['a'] %}{{ word }}{{ loop.index }}{% endfor %}";
    let body = with(&format!("\"p\": \"{set}{}\"", escaped("name")));
    assert_eq!(codes(&body), []);
    assert_eq!(codes(&with("\"p\": \"{{ ProductSet[0].name|int }}\"")), []);
}

#[test]
fn a_dotted_name_with_a_space_needs_brackets() {
    let finding = &lint(&with("\"p\": \"{{UserAttribute.First Name}}\""))[0];
    assert_eq!((finding.code, finding.severity), ("needs_brackets", Severity::Error));
    assert_eq!(finding.fix.as_deref(), Some(&*format!("\"p\": \"{}\"", escaped("UserAttribute['First Name']"))));
}

#[test]
fn a_value_without_quotes_breaks_when_it_is_blank() {
    let (code, fix) = mended("\"amount\": {{EventAttribute['Value']}}");
    assert_eq!(code, "unquoted_placeholder");
    assert!(fix.starts_with("\"amount\": {% if EventAttribute['Value'] is number %}"), "{fix}");
    assert_eq!(codes(&with("\"amount\": {{EventAttribute['Value']|int}}")), []);
}

#[test]
fn a_value_in_quotes_breaks_when_it_holds_one() {
    let (code, fix) = mended("\"name\": \"{{UserAttribute['First Name']|default('x' ~ 'y')}}\"");
    assert_eq!(code, "unescaped_placeholder");
    assert!(fix.contains("{{ (UserAttribute['First Name']|default('x' ~ 'y'))|string|replace"), "{fix}");
    let (code, fix) =
        mended("\"name\": \"{{- user_name -}}\", \"b\": \"x\"".replace("user_name", "UserAttribute['N']").as_str());
    assert_eq!((code, fix.ends_with("\", \"b\": \"x\"")), ("unescaped_placeholder", true), "{fix}");
}

#[test]
fn a_number_in_quotes_is_text() {
    let property = format!("\"items\": [{{\"Unit Price\": \"{}\"}}]", escaped("EventAttribute['Price']"));
    let (code, _) = mended(&property);
    assert_eq!(code, "number_as_text");
    let named_otherwise = format!("\"version\": \"{}\"", escaped("EventAttribute['Version']"));
    assert_eq!(codes(&with(&named_otherwise)), []);
}

#[test]
fn who_when_and_which_are_asked_for() {
    let missing = "{\"event\": \"purchase\", \"properties\": {}}";
    let expected = [
        (1, Severity::Error, "no_distinct_id"),
        (1, Severity::Warning, "no_timestamp"),
        (1, Severity::Warning, "no_uuid"),
    ];
    assert_eq!(codes(missing), expected);
    assert_eq!(codes(&with("").replace("\"event\"", "\"name\""))[0], (1, Severity::Error, "no_event"));
}

#[test]
fn an_id_is_one_persons_and_stays() {
    let uuid = escaped("EventAttribute['Order ID']");
    let codes = |id: &str| {
        lint(&whole(id, &uuid, "")).into_iter().map(|finding| (finding.severity, finding.code)).collect::<Vec<_>>()
    };
    let id = |filter: &str| escaped(&format!("UserAttribute['ID']{filter}"));
    assert_eq!(codes("everyone"), [(Severity::Error, "constant_id")]);
    assert_eq!(codes(&id("")), [(Severity::Warning, "no_guard")]);
    assert_eq!(codes(&id("|default('guest')")), [(Severity::Error, "shared_id")]);
    assert_eq!(codes(&id("|default('MOE_NOT_SEND')")), [(Severity::Warning, "no_guard")], "a blank id is none");
    let email = escaped("UserAttribute['Email (Standard)']|default('MOE_NOT_SEND', true)");
    assert_eq!(codes(&email), [(Severity::Warning, "contact_as_id")]);
    let guard = format!("{{% if not UserAttribute['ID'] %}}{{% MOE_NOT_SEND(\"no ID\") %}}{{% endif %}}{}", id(""));
    assert_eq!(codes(&guard), []);
}

#[test]
fn a_key_is_one_events() {
    assert_eq!(
        codes(&whole(&guarded(), "0190a1c4-0000-7000-8000-000000000000", "")),
        [(4, Severity::Error, "constant_uuid")]
    );
    assert_eq!(codes(&whole(&guarded(), "{{EventAttribute['Order No']|int}}", "")), []);
}

#[test]
fn what_cannot_be_read_is_found_where_it_stands() {
    for (body, line, column, fix) in [
        ("{\n  \"a\": 1,\n}", 2, 9, Some("\"a\": 1")),
        ("{\n  \"a\": 1\n  \"b\": \"{{UserAttribute['x']}}\"\n}", 2, 9, Some("\"a\": 1,")),
        ("{\n  \"a\": \"{{UserAttribute['x']}},\n  \"b\": 2\n}", 2, 31, Some("\"a\": \"{{UserAttribute['x']}}\",")),
        ("{\n  \"a\" 1\n}", 2, 6, Some("\"a\": 1")),
        ("{\n  \"a\": {\"b\": 1\n", 2, 15, None),
        ("{\"a\": 1} x", 1, 10, None),
        ("{\"a\": yes}", 1, 7, None),
    ] {
        let finding = unread(body);
        assert_eq!(
            (finding.code, finding.line, finding.column, finding.fix.as_deref()),
            ("invalid_json", line, column, fix),
            "{body}"
        );
    }
    for (body, line, column) in
        [("{\n\"a\": \"{{UserAttribute['x'\"\n}", 2, 7), ("{\n{% if %}\n}", 2, 7), ("{\n\n\"{{ a b }}\"}", 3, 7)]
    {
        let finding = only(body);
        assert_eq!((finding.code, finding.line, finding.column), ("template_syntax", line, column), "{body} {finding}");
    }
}

#[test]
fn what_a_document_or_another_language_put_in_is_named_and_mended() {
    for (body, what, fix) in [
        ("{\n\"a\": \"{{UserAttribute[‘x’]}}\"\n}", "quotes curly", "\"a\": \"{{UserAttribute['x']}}\""),
        ("{\n\"a\": \"{{\u{a0}UserAttribute['x']}}\"\n}", "blanks wide", "\"a\": \"{{ UserAttribute['x']}}\""),
        (
            "{“a”: “{{UserAttribute['x']}}”, “b”: “it's”}",
            "curly quotes",
            "{\"a\": \"{{UserAttribute['x']}}\", \"b\": \"it's\"}",
        ),
        (
            "{'a': '{{UserAttribute['x']}}', 'b': 'it's'}",
            "apostrophes",
            "{\"a\": \"{{UserAttribute['x']}}\", \"b\": \"it's\"}",
        ),
        ("{\"a\": True, \"b\": [None, NaN]}", "a word of Python", "{\"a\": true, \"b\": [null, null]}"),
        ("{\"a\":\u{a0}1}", "a blank pasted", "{\"a\": 1}"),
        ("{\"a\": 1 // the \"amount\"\n}", "a comment", "\n }"),
        ("{/* a's */\"a\": 1}", "a comment", "{\"a\": 1}"),
        ("{# ours #}{\"a\": 1\n # theirs\n}", "a comment", "\n }"),
        ("{\"a\" 1}", "no colon", "{\"a\": 1}"),
        ("{\"a\" \"{{UserAttribute['x']}}\"}", "no colon", "{\"a\": \"{{UserAttribute['x']}}\"}"),
    ] {
        let found = lint(body);
        let finding = found.iter().find(|finding| finding.why.contains(what));
        let finding = finding.unwrap_or_else(|| panic!("{body}: {found:#?}"));
        assert_eq!((finding.severity, finding.fixable), (Severity::Error, true), "{body}: {finding}");
        if fix != "\n }" {
            assert_eq!(finding.fix.as_deref(), Some(fix), "{body}");
        }
        let fixed = Linter::default().fixed(body);
        let still =
            lint(&fixed).into_iter().find(|finding| ["invalid_json", "template_syntax"].contains(&finding.code));
        assert_eq!(still, None, "{body} became {fixed}");
    }
    // what is text stays
    for right in ["say “hi”", "it's", "a // b", "# 1", "True story", "\u{a0}"] {
        let body = with(&format!("\"p\": \"{right}\""));
        assert_eq!(codes(&body), [], "{right}");
    }
}

#[test]
fn the_rest_is_named_too() {
    let tojson = with("\"name\": {{UserAttribute['First Name']|tojson}}");
    assert_eq!(codes(&tojson), [(7, Severity::Warning, "undocumented_filter")]);
    let reserved = with(&format!("\"tags\": \"{}\"", escaped("EventAttribute['Campaign Tags']")));
    assert_eq!(codes(&reserved), [(7, Severity::Warning, "reserved_attribute")]);
    let key = with("").replacen('{', "{\"api_key\": \"<ph_project_api_key>\",", 1);
    assert_eq!(codes(&key), [(1, Severity::Error, "api_key_left")]);
    let beside = with("").replacen('{', "{\"$set\": {\"a\": 1}, \"campaign\": \"x\",", 1);
    assert_eq!(codes(&beside), [(1, Severity::Hint, "outside_properties"), (1, Severity::Warning, "ignored_member")]);
}

#[test]
fn a_body_is_looked_at_past_its_own_conditions() {
    let inner = with("\"name\": \"{{UserAttribute['First Name']}}\"");
    let conditional = format!(
        "{{% if UserAttribute['brand'] == 'Puma' %}}{inner}{{% else %}}{{% MOE_NOT_SEND(\"no\") %}}{{% endif %}}"
    );
    assert_eq!(codes(&conditional), [(7, Severity::Warning, "unescaped_placeholder")]);
    let never = format!("{{% if UserAttribute['n']|length == 3 %}}{inner}{{% endif %}}");
    assert_eq!(codes(&never), [(1, Severity::Hint, "not_checked"), (7, Severity::Warning, "unescaped_placeholder")]);
    let seldom = format!("{{% if UserAttribute['n'] is string %}}{inner}{{% endif %}}");
    assert_eq!(codes(&seldom), [(7, Severity::Warning, "unescaped_placeholder")]);
    let unknown = with("\"name\": \"{{UserAttribute['First Name']|frobnicate}}\"");
    let expected = [(7, Severity::Warning, "unescaped_placeholder"), (7, Severity::Warning, "undocumented_filter")];
    assert_eq!(codes(&unknown), expected);
}

#[test]
fn a_form_is_no_event() {
    let form = "event=purchase&distinct_id={{UserAttribute['ID']|default('guest')}}&uuid={{EventAttribute['o']}}&timestamp={{EventAttribute['t']}}";
    let found: Vec<_> = lint(form).into_iter().map(|finding| (finding.column, finding.code)).collect();
    assert_eq!(found, [(1, "form_body"), (30, "shared_id")]);
}

#[test]
fn no_body_makes_it_panic() {
    const PIECES: [&str; 70] = [
        "{{",
        "}}",
        "{%",
        "%}",
        "{#",
        "#}",
        "{",
        "}",
        "[",
        "]",
        "\"",
        "'",
        ",",
        ":",
        "\n",
        " ",
        "-",
        "|",
        "~",
        ".",
        "=",
        "&",
        "\\",
        "é",
        "😀",
        "\u{feff}",
        "0",
        "1",
        "true",
        "null",
        "\"event\":",
        "\"distinct_id\":",
        "\"uuid\":",
        "\"properties\":",
        "\"$set\":",
        "\"value\":",
        "\"batch\": [",
        "\"p\": \"",
        "UserAttribute['ID']",
        "{{UserAttribute['Ünï']}}",
        "{{EventAttribute.Item Names (é)}}",
        "UserAttribute.First é",
        "UserAttribute.get('x')",
        "CampaignAttribute['Flow Name']",
        "{{user_id}}",
        "user.name[0]",
        "default('x')",
        "|tojson",
        "|int",
        "|upper",
        "{% if x == 'y' %}",
        "{% else %}",
        "{% endif %}",
        "{% set a = b %}",
        "{% for k in v %}",
        "{% endfor %}",
        "{% MOE_NOT_SEND(\"no\") %}",
        "{% macro m(v) %}",
        "{% endmacro %}",
        "event=purchase&distinct_id=",
        "“",
        "”é",
        "‘",
        "\u{a0}",
        "// é",
        "/* é */",
        "True",
        "{% raw %}",
        "{% endraw %}",
        "{{é|dateTimeFormatter(toFormat='%q')}}",
    ];
    let seed = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut found = 0;
    for _ in 0..3000 {
        let length = random.random_range(0..14);
        let body: String = (0..length).map(|_| PIECES[random.random_range(0..PIECES.len())]).collect();
        for finding in lint(&body).into_iter().chain(lint(&with(&body))) {
            assert!(finding.line >= 1 && finding.column >= 1, "{body}");
            found += 1;
        }
        assert_eq!(lint(&Linter::default().fixed(&with(&body))).iter().find(|finding| finding.fixable), None, "{body}");
    }
    assert!(found > 3000, "{found}");
}

#[test]
fn a_loop_that_prints_json_is_not_called_broken() {
    let with = |items: &str| {
        format!(
            r#"{{"event":"cart","distinct_id":"{{{{UserAttribute['ID']}}}}","uuid":"{{{{EventAttribute['Order ID']}}}}","properties":{{"items":[{items}]}}}}"#
        )
    };
    for right in [
        r#"{% for p in EventAttribute['Items'] %}"{{p}}"{% if not loop.last %},{% endif %}{% endfor %}"#,
        r#"{% for p in EventAttribute['Items'] %}{% if not loop.first %},{% endif %}"{{p}}"{% endfor %}"#,
        r#"{% for p in EventAttribute['Items'] %}{"sku":"{{p.sku}}"}{{ "," if not loop.last }}{% endfor %}"#,
        r#"{% for p in EventAttribute['Items'] %}"{{ p|dateTimeFormatter(toFormat='%d %b', timeZone='Asia/Kolkata') }}"{{ "," if not loop.last }}{% endfor %}"#,
        r#"{{'12/10/2020'|days('14/10/2020')}}"#,
    ] {
        let found = lint(&with(right));
        let wrong: Vec<_> = found
            .iter()
            .filter(|finding| ["invalid_json", "not_checked", "template_syntax"].contains(&finding.code))
            .collect();
        assert!(wrong.is_empty(), "{right}: {wrong:?}");
    }
    for broken in [
        r#"{% for p in EventAttribute['Items'] %}"{{p}}"{% endfor %}"#,
        r#"{% for p in EventAttribute['Items'] %}"{{p}}",{% endfor %}"#,
    ] {
        let found = lint(&with(broken));
        assert!(found.iter().any(|finding| finding.code == "invalid_json"), "{broken}: {found:?}");
    }
}
