//! An alert of one release is neither raised nor kept silent by another one that the same Prometheus scrapes.

use std::{collections::BTreeMap, fs};

use anyhow::{Context, ensure};
use moehog_tests::root;
use serde_json::Value;

use super::{
    faults::selectors,
    world::{chart, objects},
};

/// The expression of each alert under its name.
fn alerts(rules: &Value) -> anyhow::Result<BTreeMap<String, String>> {
    let rules = rules["groups"][0]["rules"].as_array().context("rules")?;
    let alert = |rule: &Value| Some((rule["alert"].as_str()?.to_string(), rule["expr"].as_str()?.to_string()));
    rules.iter().map(alert).collect::<Option<_>>().context("an alert without a name or an expression")
}

/// The matcher that leads to the Service whose pods expose a metric; none for a metric of others.
fn service(metric: &str, release: &str) -> Option<String> {
    let family = metric.strip_prefix("moehog_")?.split('_').next()?;
    Some(match family {
        "gateway" | "journal" | "relay" => format!("service={release}-gateway-headless"),
        "transformer" | "delivery" => format!("service={release}-{family}-headless"),
        _ => format!("service={release}-(gateway|transformer|delivery)-headless"),
    })
}

#[test]
fn each_series_of_an_alert_is_of_the_release_that_renders_it() -> anyhow::Result<()> {
    let Some(chart) = chart("each series of an alert is of the release that renders it")? else { return Ok(()) };
    let rendered = objects(&chart.render_as("shop", "elsewhere", &[chart.values("all-on")], &[])?)?;
    let rules = rendered.iter().find(|object| object["kind"] == "PrometheusRule").context("alerts")?;
    let (mut seen, mut wrong) = (0, Vec::new());
    for (alert, query) in alerts(&rules["spec"])? {
        for selector in selectors(&query)? {
            let metric = selector.name.clone().context("a metric")?;
            let matchers = selector.matchers.matchers.iter();
            let of: Vec<_> = matchers.map(|matcher| format!("{}={}", matcher.name, matcher.value)).collect();
            let mut wanted = vec!["namespace=elsewhere".to_string()];
            wanted.extend(service(&metric, "shop-moehog"));
            wanted.extend(metric.starts_with("kube_statefulset").then(|| "statefulset=shop-moehog-gateway".into()));
            let scaler = "horizontalpodautoscaler=(keda-hpa-)?shop-moehog-delivery";
            wanted.extend(metric.starts_with("kube_horizontalpodautoscaler").then(|| scaler.into()));
            ensure!(wanted.len() == 2, "{alert}: whose is {metric}?");
            if !wanted.iter().all(|matcher| of.contains(matcher)) {
                wrong.push(format!("{alert}: {metric} is of {of:?}, not of {wanted:?}"));
            }
            seen += 1;
        }
    }
    ensure!(seen > 25, "{seen} series");
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// Whoever has no chart gives the file to Prometheus as it is.
#[test]
fn the_file_asks_for_whatever_is_scraped_and_the_chart_only_narrows_it() -> anyhow::Result<()> {
    let Some(chart) = chart("the file asks for whatever is scraped and the chart only narrows it")? else {
        return Ok(());
    };
    let file = fs::read_to_string(root().join("deploy/helm/moehog/files/alerts.yaml"))?;
    let plain = alerts(&serde_saphyr::from_str(&file)?)?;
    let rendered = objects(&chart.render(&[chart.values("all-on")], &[])?)?;
    let rules = rendered.iter().find(|object| object["kind"] == "PrometheusRule").context("alerts")?;
    let narrowed = alerts(&rules["spec"])?;
    ensure!(plain.keys().eq(narrowed.keys()), "{plain:?} and {narrowed:?}");
    for (alert, query) in &plain {
        let (before, after) = (selectors(query)?, selectors(&narrowed[alert])?);
        ensure!(before.len() == after.len(), "{alert}: {query} and {}", narrowed[alert]);
        for (before, after) in before.iter().zip(&after) {
            ensure!(before.name == after.name, "{alert}: {before} becomes {after}");
            let kept = before.matchers.matchers.iter().filter(|matcher| !matcher.value.starts_with(".+-"));
            let lost: Vec<_> = kept.filter(|matcher| !after.matchers.matchers.contains(matcher)).collect();
            ensure!(lost.is_empty(), "{alert}: {after} has lost {lost:?}");
            let scraped = ["namespace", "service"].map(|label| format!("{label}="));
            let asks = before.to_string();
            ensure!(!scraped.iter().any(|label| asks.contains(label)), "{alert}: the file asks for {asks}");
        }
    }
    Ok(())
}
