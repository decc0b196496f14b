//! What is scraped and shown, and objects of the user's own.

use std::collections::BTreeSet;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::{
    super::{
        faults::{expressions, list, text},
        world::{chart, objects},
    },
    find, rendered,
};

#[test]
fn monitors_carry_timeouts_and_rules_and_their_own_labels() -> anyhow::Result<()> {
    let Some(chart) = chart("monitors carry timeouts and rules and their own labels")? else { return Ok(()) };
    let node = json!({"sourceLabels": ["__meta_kubernetes_pod_node_name"], "targetLabel": "node"});
    let service = json!({"targetLabel": "service", "replacement": "moehog-delivery-headless"});
    for (case, kind, endpoints, relabelings) in [
        ("all-on", "ServiceMonitor", "endpoints", json!([node])),
        ("pod-monitor", "PodMonitor", "podMetricsEndpoints", json!([service, node])),
    ] {
        let objects = objects(&chart.render(&[chart.values(case)], &[])?)?;
        let monitor = find(&objects, kind, "moehog-delivery")?;
        ensure!(monitor["metadata"]["labels"]["release"] == "prometheus", "{kind}: {}", monitor["metadata"]);
        let scraped = &monitor["spec"][endpoints][0];
        ensure!(scraped["scrapeTimeout"] == "10s" && scraped["relabelings"] == relabelings, "{kind}: {scraped}");
        ensure!(scraped["metricRelabelings"][0]["action"] == "drop", "{kind}: {scraped}");
    }
    Ok(())
}

#[test]
fn the_dashboard_is_found_by_the_sidecar_and_its_panels_stand_side_by_side() -> anyhow::Result<()> {
    let test = "the dashboard is found by the sidecar and its panels stand side by side";
    let Some(chart) = chart(test)? else { return Ok(()) };
    let objects = objects(&chart.render(&[chart.values("all-on")], &[])?)?;
    let map = find(&objects, "ConfigMap", "moehog-dashboard")?;
    ensure!(map["metadata"]["labels"]["grafana_dashboard"] == "1", "{}", map["metadata"]);
    ensure!(map["metadata"]["annotations"]["grafana_folder"] == "moehog", "{}", map["metadata"]);
    let dashboard: Value = serde_json::from_str(text(&map["data"]["moehog.json"]))?;
    let variables: Vec<_> = list(&dashboard["templating"]["list"]).iter().map(|one| text(&one["name"])).collect();
    ensure!(variables == ["datasource", "namespace"], "{variables:?}");
    let panels = list(&dashboard["panels"]);
    ensure!(panels.len() > 10, "{} panels", panels.len());
    let (mut ids, mut cells) = (BTreeSet::new(), BTreeSet::new());
    for panel in panels {
        ensure!(ids.insert(panel["id"].as_u64()), "two panels have the id {}", panel["id"]);
        let at = ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64());
        let [Some(x), Some(y), Some(w), Some(h)] = at else { anyhow::bail!("{} stands nowhere", panel["title"]) };
        ensure!(x + w <= 24, "{} stands outside", panel["title"]);
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            ensure!(cells.insert(cell), "{} stands on another", panel["title"]);
        }
        ensure!(panel["datasource"]["uid"] == "${datasource}", "{} asks {}", panel["title"], panel["datasource"]);
    }
    let asked = expressions(&objects).into_iter().filter(|(object, _)| object == "ConfigMap/moehog-dashboard").count();
    ensure!(asked >= panels.len(), "{asked} queries of the dashboard are checked");
    ensure!(find(&rendered(&chart, &[])?, "ConfigMap", "moehog-dashboard").is_err(), "it is there unasked");
    Ok(())
}

#[test]
fn objects_of_ones_own_are_rendered_with_their_templates() -> anyhow::Result<()> {
    let Some(chart) = chart("objects of one's own are rendered with their templates")? else { return Ok(()) };
    let objects = objects(&chart.render(&[chart.values("all-on")], &[])?)?;
    let object = find(&objects, "ConfigMap", "moehog-object")?;
    ensure!(object["metadata"]["labels"]["app.kubernetes.io/instance"] == "moehog", "{object}");
    let replicas = find(&objects, "ConfigMap", "moehog-text")?["data"]["replicas"].as_str().context("replicas")?;
    ensure!(replicas == "4", "{replicas}");
    Ok(())
}
