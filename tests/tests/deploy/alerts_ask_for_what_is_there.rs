//! The metrics of alerts and autoscalers, asked of running processes.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, ensure};
use moehog_tests::{Deployment, Service, Setup, Shape, connector, get, post, root, within};
use promql_parser::parser::VectorSelector;

use super::{
    faults::{expressions, selectors},
    world::{KEY, SOON, chart, posthog, renders},
};

/// Added by Prometheus to every series.
const BY_THE_SCRAPE: [&str; 3] = ["namespace", "pod", "service"];

/// The series that a query asks of us: what begins with `kube_` is of kube-state-metrics.
fn ours(query: &str) -> anyhow::Result<Vec<VectorSelector>> {
    let mut selectors = selectors(query)?;
    selectors.retain(|selector| selector.name.as_deref().is_none_or(|name| !name.starts_with("kube_")));
    Ok(selectors)
}

/// The labels of each metric that three processes expose.
async fn exposed(moehog: &Deployment) -> anyhow::Result<BTreeMap<String, BTreeSet<String>>> {
    let mut metrics: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for service in [Service::Gateway, Service::Transformer, Service::Delivery] {
        let page = get(moehog.admin_of(service)?, "/metrics").await?.text();
        for line in page.lines().filter(|line| !line.starts_with('#')) {
            let Some((series, _)) = line.rsplit_once(' ') else { continue };
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let names = labels.trim_end_matches('}').split(',').filter_map(|label| Some(label.split_once('=')?.0));
            metrics.entry(name.to_string()).or_default().extend(names.map(str::to_string));
        }
    }
    Ok(metrics)
}

#[tokio::test]
async fn running_processes_expose_each_metric_and_label_that_a_query_names() -> anyhow::Result<()> {
    let test = "running processes expose each metric and label that a query names";
    let Some(chart) = chart(test)? else { return Ok(()) };
    let queries: BTreeSet<_> =
        renders(&chart)?.iter().flat_map(|render| expressions(&render.objects)).map(|(_, query)| query).collect();
    let wanted: Vec<_> = queries.iter().map(|query| ours(query)).collect::<anyhow::Result<_>>()?;
    let wanted: Vec<_> = wanted.into_iter().flatten().collect();
    ensure!(wanted.len() > 15, "{} selectors in alerts and autoscalers", wanted.len());

    let posthog = posthog()?;
    let moehog = Deployment::start(Setup::new(Shape::Three, &posthog.url(), KEY)).await?;
    let body = connector(KEY, "ada", "00000000-0000-4000-8000-000000000001");
    let answer = post(moehog.http()?, "/capture/", &[("content-type", "application/json")], body).await?;
    ensure!(answer.status == 200, "answered {}: {}", answer.status, answer.text());
    for selector in wanted {
        let name = selector.name.clone().context("a query without a metric")?;
        let labels = selector.matchers.matchers.iter().map(|matcher| matcher.name.clone());
        let labels: BTreeSet<_> = labels.filter(|label| !BY_THE_SCRAPE.contains(&label.as_str())).collect();
        within(SOON, &format!("{name} is exposed with {labels:?}"), async || {
            exposed(&moehog).await.ok()?.get(&name)?.is_superset(&labels).then_some(())
        })
        .await?;
    }
    moehog.finish().await
}

#[test]
fn every_alert_has_a_runbook() -> anyhow::Result<()> {
    let Some(chart) = chart("every alert has a runbook")? else { return Ok(()) };
    let mut seen = 0;
    for object in renders(&chart)?.iter().flat_map(|render| &render.objects) {
        let groups = object["spec"]["groups"].as_array().filter(|_| object["kind"] == "PrometheusRule");
        for rule in groups.into_iter().flatten().flat_map(|group| group["rules"].as_array()).flatten() {
            let url = rule["annotations"]["runbook_url"].as_str().context("runbook_url")?;
            let (_, file) = url.rsplit_once('/').context("a path")?;
            let page = root().join("deploy/runbooks").join(file);
            ensure!(page.is_file(), "{} leads to {file}, which is not there", rule["alert"]);
            seen += 1;
        }
    }
    ensure!(seen > 15, "{seen} alerts");
    Ok(())
}
