use std::fmt::Write;

use moehog_proto::transformer::{Webhook, mapped_event::Outcome, transformed_webhook};
use serde_json::{Value, json};

use super::Rules;
use crate::{Mapping, Transformer};

mod combined;

/// A Streams body of one event.
pub(super) fn streams(name: &str, attributes: Value) -> String {
    json!({"events": [{
        "event_name": name, "event_code": name, "event_uuid": "3b918064-08dc-47ae-b674-c23797475a8d", "event_time": 1_767_225_600,
        "uid": "u-1", "email_id": "ada@example.com",
        "event_attributes": attributes,
        "user_attributes": {"moengage_user_id": "m-1", "First Name": "Ada"},
    }]})
    .to_string()
}

pub(super) fn rules(text: &str) -> Rules {
    Rules::read(text, Some(b"key")).unwrap_or_else(|problems| panic!("{problems:?}"))
}

/// What becomes of the first event.
fn outcome(rules: &str, body: &str) -> Outcome {
    let transformer = Transformer::new(&Mapping::default(), self::rules(rules));
    let webhook = Webhook {
        receipt: "r-1".into(),
        received_at_ms: 1_767_225_700_000,
        source: "shop".into(),
        body: body.to_string().into(),
        ..Webhook::default()
    };
    match transformer.transform(&webhook).result {
        Some(transformed_webhook::Result::Mapped(mapped)) => mapped.events[0].outcome.clone().unwrap(),
        other => panic!("{other:?}"),
    }
}

fn event(rules: &str, body: &str) -> Value {
    match outcome(rules, body) {
        Outcome::Event(event) => serde_json::from_slice(&event.json).unwrap(),
        other => panic!("{other:?}"),
    }
}

fn problems(text: &str) -> String {
    let mut said = String::new();
    for problem in Rules::read(text, None).unwrap_err() {
        writeln!(said, "{problem}").unwrap();
    }
    said
}

#[test]
fn a_rule_says_name_person_id_time_and_properties() {
    let mapped = event(
        r#"
        [[rule]]
        when = "event == 'Purchased'"
        event = "purchase_completed"
        distinct_id = "shop-{{ UserAttribute['moengage_user_id'] }}"
        uuid = "{{ EventAttribute['order'] }}"
        timestamp = "{{ EventAttribute['at'] }}"
        groups = { company = "{{ EventAttribute['company'] }}" }
        [rule.properties]
        amount = "{{ EventAttribute['purchase_amount'] | number }}"
        label = "{{ EventAttribute['order'] | lower }} of {{ UserAttribute['First Name'] }}"
        source = "moengage"
        first_item = "{{ EventAttribute['items'][0].sku }}"
        items = "{{ EventAttribute['items'] }}"
        half = "{{ EventAttribute['count'] / 2 }}"
        gone = "{{ EventAttribute['nothing'] }}"
        hello = "hello {{ EventAttribute['nothing'] }}"
        fixed = 3
        both = ["{{ uid }}", 1, true]
        [rule.person]
        set = { email = "{{ email_id }}", plan = "{{ EventAttribute['plan'] }}" }
        set_once = { first_seen = "{{ webhook.received_at }}" }
        unset = ["old"]
        "#,
        &streams(
            "Purchased",
            json!({"purchase_amount": "49.90", "order": "A-7", "at": "2026-01-02T03:04:05Z", "company": "acme",
                   "items": [{"sku": "x1"}], "count": 5}),
        ),
    );
    assert_eq!(mapped["event"], "purchase_completed");
    assert_eq!(mapped["distinct_id"], "shop-m-1");
    assert_eq!(mapped["timestamp"], "2026-01-02T03:04:05Z");
    let properties = &mapped["properties"];
    for (name, value) in [
        ("amount", json!(49.9)),
        ("label", json!("a-7 of Ada")),
        ("source", json!("moengage")),
        ("first_item", json!("x1")),
        ("items", json!([{"sku": "x1"}])),
        ("half", json!(2.5)),
        ("fixed", json!(3)),
        ("both", json!(["u-1", 1, true])),
        ("order", json!("A-7")),
        ("moe_email_id", json!("ada@example.com")),
        ("$set", json!({"email": "ada@example.com"})),
        ("$set_once", json!({"first_seen": "2026-01-01T00:01:40.000Z"})),
        ("$unset", json!(["old"])),
        ("$groups", json!({"company": "acme"})),
    ] {
        assert_eq!(properties[name], value, "{name} of {properties}");
    }
    assert!(properties.get("gone").is_none() && properties.get("hello").is_none(), "{properties}");
}

#[test]
fn the_first_rule_that_fits_counts_and_without_one_nothing_changes() {
    let text = r#"
        [[rule]]
        when = "event in ['A', 'B'] and EventAttribute['x'] is defined"
        event = "first"
        [[rule]]
        source = "elsewhere"
        event = "second"
        [[rule]]
        when = "EventAttribute['n'] > 3 or event == 'B'"
        event = "third"
        [[rule]]
        when = "event == 'noise'"
        filter = true
    "#;
    let name = |name: &str, attributes: Value| event(text, &streams(name, attributes))["event"].clone();
    assert_eq!(name("A", json!({"x": 1})), "first");
    assert_eq!(name("A", json!({"n": 4})), "third");
    assert_eq!(name("B", json!({})), "third");
    assert_eq!(name("A", json!({"n": 3})), "A");
    assert_eq!(name("A", json!({"n": "text"})), "A");
    assert_eq!(name("A", json!({"n": "3.5"})), "third");
    assert!(matches!(outcome(text, &streams("noise", json!({}))), Outcome::Filtered(rule) if rule == "rule 4"));
}

#[test]
fn numbers_are_compared_on_each_side_of_a_bound() {
    let holds = |condition: &str, number: Value| {
        let text = format!("[[rule]]\nwhen = \"EventAttribute['n'] {condition} 3\"\nevent = \"held\"");
        event(&text, &streams("A", json!({"n": number})))["event"] == "held"
    };
    for (condition, below, equal, above) in
        [("<", true, false, false), ("<=", true, true, false), (">", false, false, true), (">=", false, true, true)]
    {
        for (number, expected) in [(json!(2), below), (json!("3"), equal), (json!(3.0), equal), (json!("4"), above)] {
            assert_eq!(holds(condition, number.clone()), expected, "{number} {condition} 3");
        }
    }
}

#[test]
fn a_rule_may_keep_only_what_it_names() {
    let text =
        "[[rule]]\nkeep = false\nproperties = { a = \"{{ EventAttribute['x'] }}\" }\nperson = { set = { p = 1 } }";
    let body = r#"{"event":"A","distinct_id":"u","properties":{"x":1,"y":2,"$ip":"1.2.3.4"},"$set":{"q":2}}"#;
    let mapped = event(text, body);
    let names: Vec<_> = mapped["properties"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, ["$ip", "$lib", "$lib_version", "$set", "a", "moehog"]);
    assert_eq!(mapped["properties"]["$set"], json!({"p": 1, "q": 2}));
}

#[test]
fn of_two_attributes_of_one_name_the_last_counts_as_for_every_reader() {
    let body = r#"{"events":[{"event_name":"A","uid":"u","event_attributes":{"n":1,"n":2}}]}"#;
    let mapped = event("[[rule]]\nproperties = { m = \"{{ EventAttribute['n'] }}\" }", body);
    assert_eq!((&mapped["properties"]["m"], &mapped["properties"]["n"]), (&json!(2), &json!(2)));
}

#[test]
fn what_no_rule_touches_and_what_a_rule_moves_stays_byte_for_byte() {
    let body = r#"{"events":[{"event_name":"A","uid":"u","event_attributes":{"n":18446744073709551615,"f":1.0,"t":"\u00e9\/"}}]}"#;
    let text = "[[rule]]\nproperties = { m = \"{{ EventAttribute['n'] }}\", g = \"{{ EventAttribute.f }}\", u = \"{{ EventAttribute['t'] }}\" }";
    let Outcome::Event(event) = outcome(text, body) else { panic!("no event") };
    let json = std::str::from_utf8(&event.json).unwrap();
    for kept in [
        r#""n":18446744073709551615"#,
        r#""f":1.0"#,
        r#""t":"\u00e9\/""#,
        r#""m":18446744073709551615"#,
        r#""g":1.0"#,
        r#""u":"\u00e9\/""#,
    ] {
        assert!(json.contains(kept), "{kept} in {json}");
    }
}

#[test]
fn a_rule_that_cannot_say_who_makes_a_dead_letter_that_names_its_line() {
    for (rule, reason) in [
        ("distinct_id = \"{{ EventAttribute['nobody'] }}\"", "rule_missing_value"),
        ("event = \"{{ EventAttribute['nothing'] }}\"", "rule_missing_value"),
        ("event = \"{{ uid + 1 }}\"", "rule_failed"),
        ("distinct_id = \"guest\"", "rule_forbidden"),
        ("event = \"$exception\"", "rule_forbidden"),
    ] {
        let Outcome::Dead(rejection) = outcome(&format!("\n[[rule]]\n{rule}"), &streams("A", json!({}))) else {
            panic!("{rule} gives an event")
        };
        assert_eq!(rejection.reason, reason, "{rule}");
        if reason.starts_with("rule_") {
            assert!(rejection.detail.contains("line 2"), "{}", rejection.detail);
        }
    }
}

#[test]
fn types_and_privacy_hold_for_every_property_and_person() {
    let text = r#"
        heal = "all"
        types = { zip = "string", member = "boolean" }
        privacy = { drop = ["secret", "First Name"], hash = ["moe_email_id", "phone"] }
        [[rule]]
        properties = { known = "{{ EventAttribute['phone'] | hash }}" }
        person = { set = { phone = "{{ EventAttribute['phone'] }}", secret = "s", total = "7" } }
    "#;
    let mapped = event(
        text,
        &streams(
            "A",
            json!({"amount": "1.50", "price": "1,299.00", "zip": 1234, "member": "True", "version": "1.10",
                             "secret": "x", "phone": "+49"}),
        ),
    );
    let properties = &mapped["properties"];
    for (name, value) in [
        ("amount", json!(1.5)),
        ("price", json!("1,299.00")),
        ("zip", json!("1234")),
        ("member", json!(true)),
        ("version", json!("1.10")),
    ] {
        assert_eq!(properties[name], value, "{name}");
    }
    assert!(properties.get("secret").is_none() && properties.get("user_First Name").is_none(), "{properties}");
    let hashed = properties["phone"].as_str().unwrap();
    assert_eq!(hashed.len(), 64);
    assert_eq!(properties["known"], hashed, "the filter and the list make the same hash");
    assert_eq!(properties["$set"], json!({"phone": hashed, "total": 7}));
    assert!(
        properties["moe_email_id"].as_str().unwrap().len() == 64 && !mapped.to_string().contains("ada@"),
        "{mapped}"
    );
}

#[test]
fn who_is_missing_or_refused_is_dead_left_out_or_nobody_as_the_file_says() {
    let body = |uid: &str| {
        format!(r#"{{"events":[{{"event_name":"A","uid":"{uid}","user_attributes":{{"moengage_user_id":"m"}}}}]}}"#)
    };
    assert!(matches!(outcome("", &body("guest")), Outcome::Dead(fault) if fault.reason == "forbidden_id"));
    assert!(matches!(outcome("identity = { refused = 'drop' }", &body("guest")), Outcome::Filtered(_)));
    let nobody = event("identity = { refused = 'personless' }", &body("guest"));
    assert_eq!(
        (&nobody["distinct_id"], &nobody["properties"]["$process_person_profile"]),
        (&json!("m"), &json!(false))
    );
    let listed = event("identity = { distinct_id = [\"UserAttribute['crm']\", 'uid'] }", &body("u-2"));
    assert_eq!(listed["distinct_id"], "u-2");
    let dead = outcome("identity = { distinct_id = [\"UserAttribute['crm']\"] }", &body("u-2"));
    assert!(matches!(dead, Outcome::Dead(fault) if fault.reason == "missing_distinct_id"));
}

#[test]
fn the_attributes_that_rules_look_at_are_known_by_the_event() {
    let text = r#"
        [[rule]]
        when = "event == 'Purchased' and EventAttribute['Amount'] > 3 and EventAttribute['Kind'] | lower == 'x'"
        properties = { a = "{{ EventAttribute['Item Names'][0] }}", b = "{{ UserAttribute['First Name'] | upper }} {{ uid }}" }
        [[rule]]
        when = "event == 'Opened'"
        properties = { c = "{{ EventAttribute['Subject'] }}" }
    "#;
    let set = |names: &[&str]| names.iter().map(ToString::to_string).collect();
    let purchased = rules(text).attributes("Purchased");
    assert_eq!((purchased.event, purchased.user), (set(&["Amount", "Item Names", "Kind"]), set(&["First Name"])));
    assert_eq!(rules(text).attributes("Opened").event, set(&["Subject"]));
    assert_eq!(rules(text).attributes("Closed"), super::Attributes::default());
}

#[test]
fn free_json_is_an_event_where_a_rule_names_it() {
    let text = "[[rule]]\nevent = \"{{ action }}\"\ndistinct_id = \"{{ who.id }}\"";
    let mapped = event(text, r#"{"action": "bought", "who": {"id": 42}, "amount": "5"}"#);
    assert_eq!((&mapped["event"], &mapped["distinct_id"]), (&json!("bought"), &json!("42")));
    assert_eq!(mapped["properties"]["amount"], 5);
}

#[test]
fn everything_that_is_wrong_is_named_with_its_line() {
    let text = r#"heal = "some"
colour = 1
types = { amount = "number", zip = "text" }
privacy = { drop = ["a"], hash = ["a"] }
[[rule]]
when = "event == 'A' and event == 'B'"
evnt = "x"
[[rule]]
when = "event in ['C', 'D']"
properties = { amount = "{{ x | boolean }}", "$set" = {}, y = "{{ z | money }}", q = "{{ a", s = "{% if x %}" }
[[rule]]
when = "event == 'C'"
event = "{{ UserAttributes['x'] }}"
filter = true
person = { set = { a = 1 }, unset = ["a"] }
[[rule]]
when = "1 == 1"
properties = { amount = "{{ webhook.sender }}", h = "{{ uid | hash }}" }
[[rule]]
when = "event == 'D' and (uid | hash) == 'x'"
[identity]
distinct_id = ["{{ uid | hash }}"]
"#;
    insta::assert_snapshot!(problems(text));
    insta::assert_snapshot!(problems("[[rule]\nevent = "));
}

#[test]
fn a_condition_that_cannot_be_read_says_nothing_of_other_rules() {
    let said = problems("[[rule]]\nwhen = \"event ==\"\n[[rule]]\nevent = \"x\"\n");
    assert!(said.contains("line 2: rule 1, when") && !said.contains("rule 2"), "{said}");
}

#[test]
fn a_name_that_posthog_would_not_list_is_found_at_load_and_counted_in_a_body() {
    let name = "n".repeat(201);
    for key in ["properties", "person.set", "person.set_once"] {
        let said = problems(&format!("[[rule]]\n[rule.{key}]\n{name} = 1\n"));
        assert!(said.contains("line 3: rule 1, ") && said.contains("is 201 bytes long"), "{key}: {said}");
    }
    let transformer = Transformer::new(&Mapping::default(), Rules::default());
    for (name, count) in [(name.as_str(), 1), (&name[1..], 0)] {
        let body = streams("Purchased", json!({name: 1})).into();
        let webhook = Webhook { receipt: "r-1".into(), source: "shop".into(), body, ..Webhook::default() };
        let (transformed, notes) = transformer.transform_counted(&webhook);
        assert_eq!(notes.get(crate::Note::LongName), count);
        let Some(transformed_webhook::Result::Mapped(mapped)) = transformed.result else { panic!("rejected") };
        let Some(Outcome::Event(event)) = &mapped.events[0].outcome else { panic!("no event") };
        assert!(event.json.windows(name.len()).any(|window| window == name.as_bytes()), "it is kept");
    }
}

#[test]
fn the_receipt_that_a_rule_reads_is_the_one_its_sender_was_told() {
    let transformer =
        Transformer::new(&Mapping::default(), rules("[[rule]]\nproperties.r = '{{ webhook.receipt }}'\n"));
    for (address, shown, expected) in [("a-1", "r-1", "r-1"), ("r-0", "", "r-0"), ("", "", "routed")] {
        let webhook = Webhook {
            receipt: "routed".into(),
            origin_receipt: address.into(),
            origin_shown: shown.into(),
            source: "shop".into(),
            body: streams("Purchased", json!({})).into(),
            ..Webhook::default()
        };
        let Some(transformed_webhook::Result::Mapped(mapped)) = transformer.transform(&webhook).result else {
            panic!("rejected")
        };
        let Some(Outcome::Event(event)) = &mapped.events[0].outcome else { panic!("no event") };
        let json: Value = serde_json::from_slice(&event.json).unwrap();
        assert_eq!(
            (&json["properties"]["r"], &json["properties"]["moehog"]["receipt"]),
            (&expected.into(), &expected.into())
        );
    }
}

#[test]
fn a_rule_names_the_destination_of_its_events() {
    let destination = |text: &str| match outcome(text, &streams("Purchased", json!({}))) {
        Outcome::Event(event) => event.destination,
        other => panic!("{other:?}"),
    };
    let text = "[[rule]]\nwhen = \"event == 'Purchased'\"\nsource = 'shop'\ndestination = 'eu'\n";
    assert_eq!(destination(text), "eu");
    assert_eq!(destination(&text.replace("Purchased", "Returned")), "");
    let rules = rules(text);
    let named: Vec<_> = rules.destinations().collect();
    assert_eq!(named, [super::Named { line: 1, place: "rule 1", source: Some("shop"), destination: "eu" }]);
    for (rule, says) in [
        ("destination = '{{ uid }}'", "line 2: rule 1, destination: must be the name of one destination"),
        ("destination = 'key:phc_x'", "line 2: rule 1, destination: must be the name of one destination"),
        ("destination = ''", "line 2: rule 1, destination: must be the name of one destination"),
        ("destination = ['eu', 'us']", "line 2: rule 1, destination: must be a text"),
        ("filter = true\ndestination = 'eu'", "line 1: rule 1: filters the events out and maps them too"),
    ] {
        let said = problems(&format!("[[rule]]\n{rule}\n"));
        assert!(said.contains(says), "{rule}: {said}");
    }
}
