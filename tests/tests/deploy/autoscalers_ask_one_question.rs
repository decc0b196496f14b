//! How many deliveries are wanted: KEDA's query, and the rule that prometheus-adapter needs, are one.

use std::fs;

use anyhow::{Context, ensure};
use moehog_tests::{Chart, root};
use serde_json::Value;

use super::{
    faults::{expressions, selectors},
    world::{chart, objects},
};

/// KEDA's query of `ci/keda.yaml` with these values.
fn query(chart: &Chart, namespace: &str, sets: &[&str]) -> anyhow::Result<String> {
    let sets: Vec<_> = sets.iter().flat_map(|set| ["--set-json", *set]).collect();
    let rendered = chart.render_as("moehog", namespace, &[chart.values("keda")], &sets)?;
    let query = expressions(&objects(&rendered)?).into_iter().find(|(object, _)| object.starts_with("ScaledObject"));
    Ok(query.context("a query")?.1)
}

#[test]
fn the_rule_for_prometheus_adapter_asks_what_keda_asks() -> anyhow::Result<()> {
    let Some(chart) = chart("the rule for prometheus-adapter asks what keda asks")? else { return Ok(()) };
    let page = fs::read_to_string(root().join("deploy/README.md"))?;
    let (_, rule) = page.split_once("```yaml\nexternalRules:").context("the rule")?;
    let (rule, _) = rule.split_once("```").context("its end")?;
    let rule: Value = serde_saphyr::from_str(&format!("externalRules:{rule}"))?;
    let rule = &rule["externalRules"][0];
    let asked = rule["metricsQuery"].as_str().context("a query")?;
    let of = r#"namespace="moehog",service="moehog-gateway-headless""#;
    let asked = asked.trim().replace("<<.LabelMatchers>>", of);
    ensure!(asked == query(&chart, "moehog", &[])?, "the adapter asks `{asked}`");

    let rendered = objects(&chart.render(&[chart.values("hpa")], &[])?)?;
    let wanted = rendered.iter().find(|object| object["spec"]["metrics"][0]["type"] == "External");
    let metric = &wanted.context("an autoscaler on an external metric")?["spec"]["metrics"][0]["external"]["metric"];
    ensure!(metric["name"] == rule["name"]["as"], "{metric} is not what the rule makes");
    ensure!(metric["selector"]["matchLabels"]["service"] == "moehog-gateway-headless", "{metric}");
    Ok(())
}

#[test]
fn the_question_is_of_this_release_and_follows_the_values() -> anyhow::Result<()> {
    let Some(chart) = chart("the question is of this release and follows the values")? else { return Ok(()) };
    let sets = [r#"delivery.env={"MOEHOG__LIMITS__CONCURRENCY":"32"}"#, "delivery.autoscaling.targetBacklogSeconds=45"];
    let asked = query(&chart, "shop", &sets)?;
    ensure!(asked.contains("/ (32 * 0.8)") && asked.contains("/ 45 or"), "{asked}");
    for selector in selectors(&asked)? {
        let of = selector.matchers.matchers.iter().map(|matcher| format!("{}={}", matcher.name, matcher.value));
        let of: Vec<_> = of.collect();
        ensure!(of == ["namespace=shop", "service=moehog-gateway-headless"], "{selector} is of {of:?}");
    }
    Ok(())
}
