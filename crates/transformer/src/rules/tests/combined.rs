//! Rules that are applied together: `[all]`, `continue`, `defaults`, and what one rule says over another.

use moehog_proto::transformer::mapped_event::Outcome;
use serde_json::json;

use super::{event, outcome, problems, streams};

#[test]
fn what_holds_for_all_comes_first_and_a_rule_that_goes_on_lets_the_next_one_say_more() {
    let rules = r#"
        [all]
        defaults = { currency = "INR", plan = "none" }
        properties = { team = "growth", tier = "all" }
        person = { set = { email = "{{ email_id }}" } }
        [[rule]]
        continue = true
        when = "EventAttribute['amount'] > 100"
        properties = { tier = "high" }
        person = { set = { big = true } }
        [[rule]]
        when = "event == 'Purchased'"
        event = "purchase"
        properties = { tier = "bought" }
        [[rule]]
        properties = { tier = "other" }
    "#;
    let tier = |name: &str, amount: u32| {
        let mapped = event(rules, &streams(name, json!({"amount": amount, "plan": "gold"})));
        let properties = &mapped["properties"];
        assert_eq!((&properties["team"], &properties["currency"]), (&json!("growth"), &json!("INR")));
        // an event that has it keeps it
        assert_eq!(properties["plan"], "gold");
        let set = if amount > 100 {
            json!({"email": "ada@example.com", "big": true})
        } else {
            json!({"email": "ada@example.com"})
        };
        assert_eq!(properties["$set"], set);
        format!("{} {}", mapped["event"].as_str().unwrap(), properties["tier"].as_str().unwrap())
    };
    assert_eq!(tier("Purchased", 500), "purchase bought");
    assert_eq!(tier("Purchased", 5), "purchase bought");
    assert_eq!(tier("Viewed", 500), "Viewed other");
}

#[test]
fn a_rule_that_leaves_out_or_keeps_nothing_does_so_wherever_it_stands() {
    let rules = r#"
        [all]
        properties = { team = "growth" }
        [[rule]]
        continue = true
        properties = { seen = true }
        [[rule]]
        when = "event == 'Test'"
        filter = true
        [[rule]]
        keep = false
        properties = { only = 1 }
    "#;
    assert!(matches!(outcome(rules, &streams("Test", json!({}))), Outcome::Filtered(rule) if rule == "rule 2"));
    let mapped = event(rules, &streams("A", json!({"gone": 1})));
    let properties = &mapped["properties"];
    assert_eq!(
        (&properties["team"], &properties["seen"], &properties["only"]),
        (&json!("growth"), &json!(true), &json!(1))
    );
    assert!(properties.get("gone").is_none() && properties.get("event_code").is_none(), "{properties}");
}

#[test]
fn the_person_of_all_events_is_said_once_and_a_rule_may_say_another() {
    let rules = r#"
        [all]
        distinct_id = "{{ EventAttribute['account'] }}"
        [[rule]]
        when = "event == 'Own'"
        distinct_id = "own-{{ uid }}"
    "#;
    assert_eq!(event(rules, &streams("A", json!({"account": "acc-1"})))["distinct_id"], "acc-1");
    assert_eq!(event(rules, &streams("Own", json!({"account": "acc-1"})))["distinct_id"], "own-u-1");
}

#[test]
fn mistakes_of_what_holds_for_all_are_named() {
    let said = problems(
        "[all]\nwhen = \"true\"\nevent = \"x\"\nproperties = { moehog = 1, a = 1 }\ndefaults = { \"$ip\" = \"1.1.1.1\" }\n\
         [[rule]]\nproperties = { a = \"x\" }\n[[rule]]\nfilter = true\ncontinue = true\n",
    );
    for expected in [
        "line 2: all, when: unknown key",
        "line 3: all, event: unknown key",
        "line 4: all, properties.moehog: is moehog's own",
        "line 5: all, defaults.$ip: names that begin with `$` are PostHog's",
        "line 7: rule 1, properties.a: is a string here, and all says number",
        "line 8: rule 2: filters the events out and maps them too",
    ] {
        assert!(said.contains(expected), "{said}\nlacks\n{expected}");
    }
    assert!(problems("all = 1").contains("must be a table: [all]"));
}

#[test]
fn a_rule_that_goes_on_hides_none_behind_it() {
    super::rules("[[rule]]\ncontinue = true\n[[rule]]\nproperties = { a = 1 }\n");
    assert!(problems("[[rule]]\nproperties = { a = 1 }\n[[rule]]\ncontinue = true\n").contains("can never apply"));
}

#[test]
fn money_is_read_in_the_language_that_is_said() {
    let rules = "[all]\nproperties = { amount = \"{{ EventAttribute['amount'] | money('de') }}\" }\n";
    let mapped = event(rules, &streams("A", json!({"amount": "1.299,00 €"})));
    assert_eq!(mapped["properties"]["amount"], json!(1299.0));
    // what is none stays, and the event says so
    let mapped = event(rules, &streams("A", json!({"amount": "1,299.00"})));
    assert_eq!(mapped["properties"]["amount"], "1,299.00");
    let note = &mapped["properties"]["moehog"]["notes"][0];
    assert_eq!((&note["code"], &note["property"]), (&json!("rule_failed"), &json!("all, properties.amount")));
}
