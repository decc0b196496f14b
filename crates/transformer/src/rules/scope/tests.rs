use moehog_proto::{
    event::Header,
    transformer::{Webhook, mapped_event::Outcome, transformed_webhook},
};
use serde_json::Value;

use crate::{Mapping, Rules, Transformer};

/// What a rule's property `p` is made of an expression.
fn made(expression: &str, webhook: &Webhook) -> Option<Value> {
    let rules = format!("[[rule]]\nproperties.p = '''{{{{ {expression} }}}}'''\n");
    let rules = Rules::read(&rules, None).unwrap_or_else(|problems| panic!("{expression}: {problems:?}"));
    let result = Transformer::new(&Mapping::default(), rules).transform(webhook).result;
    let Some(transformed_webhook::Result::Mapped(mapped)) = result else { panic!("rejected") };
    let Some(Outcome::Event(event)) = &mapped.events[0].outcome else { panic!("{:?}", mapped.events[0]) };
    let json: Value = serde_json::from_slice(&event.json).unwrap();
    json["properties"].get("p").cloned()
}

fn webhook() -> Webhook {
    let header = |name: &str, value: &str| Header { name: name.into(), value: value.into() };
    Webhook {
        receipt: "r-1".into(),
        source: "shop".into(),
        body: r#"{"event":"e","distinct_id":"ada","which":"campaign"}"#.into(),
        query: "campaign=a&campaign=Summer+%26%20Sun&%C3%A9=%C3%A9%22&empty=&flag".into(),
        headers: vec![header("x-campaign", "one"), header("x-shop", "\"eu\""), header("x-campaign", "two")],
        ..Webhook::default()
    }
}

#[test]
fn a_rule_reads_parameters_headers_and_the_method() {
    for (expression, expected) in [
        ("webhook.query['campaign']", Some("Summer & Sun")),
        ("webhook.query.campaign", Some("Summer & Sun")),
        ("webhook.query['é']", Some("é\"")),
        ("'yes' if webhook.query['empty'] is defined else 'no'", Some("yes")),
        ("'yes' if webhook.query['flag'] == '' else 'no'", Some("yes")),
        ("webhook.query['Campaign']", None),
        ("webhook.header['x-campaign']", Some("one, two")),
        ("webhook.header['X-CAMPAIGN']", Some("one, two")),
        ("webhook.header['X-Shop']", Some("\"eu\"")),
        ("webhook.header['x-none']", None),
        ("webhook.method", Some("POST")),
        // by the engine, too
        ("webhook.query['campaign'] | lower", Some("summer & sun")),
        ("webhook.header['X-Campaign'] | upper", Some("ONE, TWO")),
        ("webhook.header['X-None'] | default('none')", Some("none")),
        ("webhook.header['X-Shop'] ~ webhook.query['campaign'] ~ webhook.method", Some("\"eu\"Summer & SunPOST")),
        ("webhook.query[which] | upper", Some("SUMMER & SUN")),
        ("webhook.header['X-' ~ which]", Some("one, two")),
        ("webhook.header | list | join(' ')", Some("x-campaign x-shop")),
    ] {
        assert_eq!(made(expression, &webhook()), expected.map(Value::from), "{expression}");
    }
    let all = made("webhook.query", &webhook()).unwrap();
    assert_eq!(all, serde_json::json!({"campaign": "Summer & Sun", "é": "é\"", "empty": "", "flag": ""}));
    let get = Webhook { method: "GET".into(), ..webhook() };
    assert_eq!(made("webhook.method", &get), Some("GET".into()));
    let old = Webhook { query: String::new(), headers: Vec::new(), ..webhook() };
    for expression in ["webhook.query['campaign']", "webhook.header['x-campaign']"] {
        assert_eq!(made(expression, &old), None, "of a gateway that sends none: {expression}");
    }
}

#[test]
fn what_a_webhook_has_not_is_found_when_the_file_is_read() {
    let problems = Rules::read("[[rule]]\nevent = \"{{ webhook.headers['x-a'] }}\"\n", None).unwrap_err();
    let said = problems[0].to_string();
    assert!(
        said.contains("`webhook` has no `headers`: it has source, receipt, received_at, method, query, header"),
        "{said}"
    );
}
