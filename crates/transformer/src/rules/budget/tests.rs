use std::fmt::Write;

use moehog_proto::transformer::{Webhook, mapped_event::Outcome, transformed_webhook};
use serde_json::{Value, json};

use super::*;
use crate::{
    Mapping, Note, Notes, Transformer,
    rules::tests::{rules, streams},
};

/// What becomes of an event, and what was counted.
fn mapped(text: &str, attributes: Value) -> (Outcome, Notes) {
    let transformer = Transformer::new(&Mapping::default(), rules(text));
    let body = streams("A", attributes).into();
    let (transformed, notes) = transformer.transform_counted(&Webhook { body, ..Webhook::default() });
    let Some(transformed_webhook::Result::Mapped(mut mapped)) = transformed.result else { panic!("{transformed:?}") };
    (mapped.events.remove(0).outcome.unwrap(), notes)
}

/// The properties of an event that is sent, and the places that cost too much.
fn sent(text: &str, attributes: Value) -> (Value, Vec<String>) {
    let (Outcome::Event(event), notes) = mapped(text, attributes) else { panic!("{text:.300} makes no event") };
    let event: Value = serde_json::from_slice(&event.json).unwrap();
    let mut properties = event["properties"].clone();
    properties.as_object_mut().unwrap().retain(|name, _| name != "moehog" && !name.starts_with('$'));
    (properties, notes.too_costly().keys().cloned().collect())
}

fn properties(expressions: &[&str]) -> String {
    let mut text = "[[rule]]\nkeep = false\n[rule.properties]\n".to_string();
    for (number, expression) in expressions.iter().enumerate() {
        writeln!(text, "p{number} = '''{{{{ {expression} }}}}'''").unwrap();
    }
    text + "last = \"{{ EventAttribute['kind'] | upper }}\"\n"
}

#[test]
fn a_property_that_costs_too_much_is_left_out_and_named_and_the_event_goes_out_with_the_others() {
    let attributes = json!({
        "kind": "k", "many": "a".repeat(30_000), "long": "x".repeat(30_000), "large": "b".repeat(600_000), "n": 20_000_000, "dates": "b".repeat(200_000), "list": ["0123456789"],
        "quotes": "\"".repeat(600_000), "wide": vec!["y".repeat(100); 100], "numbers": vec![7; 20_000], "huge": vec![0; 1_000_000],
    });
    let e = |name: &str| format!("EventAttribute['{name}']");
    for expression in [
        format!("{} | replace('a', {})", e("many"), e("long")),
        "'%099999999d' | format(1)".to_string(),
        "'%.99999999f' | format(1)".to_string(),
        format!("'x' * {}", e("n")),
        format!("{0} ~ {0} ~ {0}", e("large")),
        format!("[{0}, {0}]", e("large")),
        e("quotes") + " | upper",
        format!("'{}' | format(a={})", "%(a)s".repeat(2000), e("wide")),
        format!("[{}] | join({})", "1,".repeat(3000), e("long")),
        format!("{}{}", e("long"), " | base64encode".repeat(40)),
        format!("1767225600 | dateTimeFormatter({} | replace('b', '%c')) | length", e("dates")),
        vec![format!("({} | sort | length)", e("numbers")); 20].join(" + "),
        e("huge") + " | sort | length",
    ] {
        let mut named = attributes.clone();
        named.as_object_mut().unwrap().retain(|name, _| name == "kind" || expression.contains(&e(name)));
        let (properties, costly) = sent(&properties(&[&expression]), named);
        assert_eq!(costly, ["rule 1, properties.p0"], "{expression:.200}");
        assert_eq!(properties, json!({"last": "K"}), "{expression:.200}");
    }
}

#[test]
fn an_array_is_not_multiplied_by_what_was_sent() {
    let attributes = json!({"kind": "k", "list": ["0123456789"], "n": 1_000_000, "price": 2.5});
    let text = properties(&[
        "(EventAttribute['list'] * EventAttribute['n']) ~ ''",
        "(EventAttribute['n'] * EventAttribute['list']) | string",
        "EventAttribute['n'] * EventAttribute['price'] * 2",
        "'ab' * 3 ~ EventAttribute['price'] ** 2",
    ]);
    let (properties, costly) = sent(&text, attributes);
    assert_eq!((properties, costly.len()), (json!({"last": "K", "p2": 5_000_000.0, "p3": "ababab6.25"}), 0));
}

#[test]
fn what_is_moved_cast_and_joined_counts_too() {
    let attributes =
        json!({"kind": "k", "large": "b".repeat(600_000), "number": format!("0.{}1", "0".repeat(600_000))});
    let large = "EventAttribute['large']";
    let (properties, costly) =
        sent(&properties(&[large, large, "EventAttribute['number'] | number"]), attributes.clone());
    assert_eq!(properties["p0"].as_str().map(str::len), Some(600_000));
    assert_eq!((properties.get("p1"), &properties["last"]), (None, &json!("K")));
    assert!(costly.contains(&"rule 1, properties.p1".to_string()), "{costly:?}");
    for value in [format!("a {{{{ {large} }}}} {{{{ {large} }}}}"), format!("{{{{ {large} }}}}")] {
        let text =
            format!("[[rule]]\nkeep = false\nproperties = {{ a = [\"{value}\", {{ b = \"{value}\" }}], c = 1 }}");
        let (properties, costly) = sent(&text, attributes.clone());
        assert_eq!((properties, costly), (json!({"c": 1}), vec!["rule 1, properties.a".to_string()]), "{value}");
    }
}

#[test]
fn what_must_be_said_and_costs_too_much_is_a_dead_letter_with_words_of_its_own() {
    for field in ["event", "distinct_id"] {
        let text = format!("\n[[rule]]\n{field} = \"{{{{ '%099999999d' | format(1) }}}}\"");
        let (Outcome::Dead(dead), _) = mapped(&text, json!({})) else { panic!("{field} costs nothing") };
        assert_eq!(dead.reason, "rule_costly");
        assert!(dead.detail.contains("line 2") && dead.detail.contains(field), "{}", dead.detail);
    }
}

#[test]
fn a_condition_that_costs_too_much_does_not_hold_and_is_named() {
    let text =
        "[[rule]]\nwhen = \"'%099999999d' | format(uid) == 'x' or true\"\nfilter = true\n[[rule]]\nproperties.a = 1\n";
    let (properties, costly) = sent(text, json!({}));
    assert_eq!((&properties["a"], costly), (&json!(1), vec!["rule 1, when".to_string()]));
}

#[test]
fn who_an_event_is_of_is_known_before_properties_cost_what_there_is() {
    let costly = "EventAttribute['list'] | sort | unique | sort | length";
    let list: Vec<_> = (0..3000).collect();
    let text = format!("[identity]\ndistinct_id = [\"uid | upper\"]\n{}", properties(&[costly; 60]));
    let (Outcome::Event(event), notes) = mapped(&text, json!({"kind": "k", "list": list})) else { panic!("no event") };
    let event: Value = serde_json::from_slice(&event.json).unwrap();
    assert_eq!((&event["distinct_id"], &event["properties"]["p0"]), (&json!("U-1"), &json!(3000)));
    assert!(notes.get(Note::RuleCostly) > 20 && notes.too_costly().len() <= 16, "{notes:?}");
}

#[test]
fn looking_into_what_is_large_again_and_again_has_an_end() {
    let mut text = String::new();
    for number in 0..2000 {
        writeln!(text, "[[rule]]\nwhen = \"EventAttribute['wide'].x == '{number}'\"\nproperties.n = {number}").unwrap();
    }
    let wide = json!({"wide": {"y": "z".repeat(1_000_000), "x": "1999"}});
    let (_, costly) = sent(&text, wide);
    assert!(costly.len() == 16 && costly.iter().all(|place| place.ends_with(", when")), "{costly:?}");
    let (properties, costly) = sent(&text, json!({"wide": {"x": "1999"}}));
    assert_eq!((&properties["n"], costly.len()), (&json!(1999), 0));
}

#[test]
fn a_mapping_with_a_thousand_computed_properties_is_no_costly_one() {
    let present = vec!["EventAttribute['kind'] | trim | replace('k', 'key') | slug"; 500];
    let missing = vec!["EventAttribute['nothing'] | lower"; 500];
    let (properties, costly) = sent(&properties(&[present, missing].concat()), json!({"kind": " k "}));
    assert_eq!((&properties["p499"], properties.get("p500"), costly.len()), (&json!("key"), None, 0));
}

#[test]
fn what_is_too_large_leaves_room_for_what_is_small_and_too_many_steps_end_them() {
    let budget = Budget::default();
    assert_eq!(budget.make(MAX_OUTPUT_BYTES + 1), Err(Unusable::Costly));
    assert_eq!(budget.make(MAX_OUTPUT_BYTES - 1), Ok(()));
    assert_eq!(
        (budget.make(2), budget.make(1), budget.make(1)),
        (Err(Unusable::Costly), Ok(()), Err(Unusable::Costly))
    );
    assert_eq!(budget.step(MAX_STEPS - 1), Ok(()));
    assert_eq!((budget.step(2), budget.step(1)), (Err(Unusable::Costly), Err(Unusable::Costly)));
}

#[test]
fn sixty_four_bytes_are_a_step() {
    let budget = Budget::default();
    budget.read(6400).unwrap();
    assert_eq!(budget.steps(), MAX_STEPS - 101);
}
