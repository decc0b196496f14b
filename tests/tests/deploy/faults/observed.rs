//! Scrapes, alerts and queries.

use promql_parser::{
    parser::{self, Expr, LabelModifier, VectorSelector},
    util::{ExprVisitor, walk_expr},
};
use serde_json::Value;

use super::{
    Check, Faults,
    durations::prometheus_seconds,
    manifest::{Manifest, entries, list, text, title},
};

const SEVERITIES: [&str; 3] = ["critical", "warning", "info"];

pub(super) fn look(manifest: &Manifest<'_>, faults: &mut Faults) {
    for (object, query) in expressions(manifest.objects) {
        if let Err(error) = parser::parse(&query) {
            faults.add(Check::QueriesParse, object, format!("`{query}`: {error}"));
        }
    }
    for rule in manifest.kind("PrometheusRule") {
        for alert in list(&rule["spec"]["groups"]).iter().flat_map(|group| list(&group["rules"])) {
            look_at_alert(rule, alert, faults);
        }
    }
    for (map, panel) in panels(*manifest) {
        look_at_panel(map, &panel, faults);
    }
    for monitor in manifest.kind("ServiceMonitor") {
        look_at_monitor(manifest, monitor, faults);
    }
    for monitor in manifest.kind("PodMonitor") {
        look_at_pod_monitor(manifest, monitor, faults);
    }
    let monitors: Vec<_> = manifest.kind("ServiceMonitor").chain(manifest.kind("PodMonitor")).collect();
    if let Some(first) = monitors.first() {
        let well = monitors.len() == manifest.workloads().count();
        let what = format!("{} services are scraped, each once", monitors.len());
        faults.unless(well, Check::MetricsAreScraped, title(first), what);
    }
}

/// Every query of alerts, autoscalers and dashboards, with the object it stands in.
pub(crate) fn expressions(objects: &[Value]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let manifest = Manifest::new(objects);
    for rule in manifest.kind("PrometheusRule") {
        for alert in list(&rule["spec"]["groups"]).iter().flat_map(|group| list(&group["rules"])) {
            found.push((title(rule), text(&alert["expr"]).to_string()));
        }
    }
    for scaler in manifest.kind("ScaledObject") {
        for trigger in list(&scaler["spec"]["triggers"]) {
            found.push((title(scaler), text(&trigger["metadata"]["query"]).to_string()));
        }
    }
    for (map, panel) in panels(manifest) {
        let queries = list(&panel["targets"]).iter().map(|target| text(&target["expr"]));
        // Grafana puts values in place of its variables before it asks
        let namespace = text(&map["metadata"]["namespace"]);
        let asked = |query: &str| query.replace("$__rate_interval", "5m").replace("$namespace", namespace);
        found.extend(queries.map(|query| (title(map), asked(query))));
    }
    found
}

/// The panels of every dashboard, with the ConfigMap that holds it.
fn panels<'a>(manifest: Manifest<'a>) -> Vec<(&'a Value, Value)> {
    let mut panels = Vec::new();
    for map in manifest.kind("ConfigMap") {
        let dashboards = entries(&map["data"]).filter(|(name, _)| name.ends_with(".json"));
        for dashboard in dashboards.filter_map(|(_, content)| serde_json::from_str::<Value>(text(content)).ok()) {
            panels.extend(list(&dashboard["panels"]).iter().map(|panel| (map, panel.clone())));
        }
    }
    panels
}

/// The series that a query asks for.
pub(crate) fn selectors(query: &str) -> anyhow::Result<Vec<VectorSelector>> {
    Ok(seen(query)?.selectors)
}

#[derive(Debug, Default)]
struct Seen {
    selectors: Vec<VectorSelector>,
    /// Labels that aggregations keep.
    kept: Vec<Vec<String>>,
}

impl ExprVisitor for Seen {
    type Error = std::convert::Infallible;

    fn pre_visit(&mut self, expr: &Expr) -> Result<bool, Self::Error> {
        let selector = match expr {
            Expr::VectorSelector(selector) => Some(selector),
            Expr::MatrixSelector(selector) => Some(&selector.vs),
            Expr::Aggregate(aggregate) => {
                if let Some(LabelModifier::Include(labels)) = &aggregate.modifier {
                    self.kept.push(labels.labels.clone());
                }
                None
            }
            _ => None,
        };
        self.selectors.extend(selector.cloned());
        Ok(true)
    }
}

fn seen(query: &str) -> anyhow::Result<Seen> {
    let mut seen = Seen::default();
    let Ok(_) = walk_expr(&mut seen, &parser::parse(query).map_err(anyhow::Error::msg)?);
    Ok(seen)
}

fn look_at_alert(rule: &Value, alert: &Value, faults: &mut Faults) {
    let (name, annotations) = (text(&alert["alert"]), &alert["annotations"]);
    let severity = SEVERITIES.contains(&text(&alert["labels"]["severity"]));
    faults.unless(severity, Check::AlertsAreWhole, title(rule), format!("{name} has no severity"));
    let summary = text(&annotations["summary"]);
    faults.unless(!summary.is_empty(), Check::AlertsAreWhole, title(rule), format!("{name} has no summary"));
    let runbook = text(&annotations["runbook_url"]);
    let file = runbook.rsplit_once("/runbooks/").map(|(_, file)| file);
    let leads = file.is_some_and(|file| file.strip_suffix(".md").is_some_and(|name| !name.is_empty()));
    faults.unless(leads, Check::AlertsAreWhole, title(rule), format!("{name} has no runbook"));
    let waits = alert["for"].as_str().map_or(Some(0.0), prometheus_seconds);
    let soon = waits.is_some_and(|waits| waits <= 3600.0);
    faults.unless(
        soon,
        Check::AlertsAreWhole,
        title(rule),
        format!("{name} waits for {} before it tells", alert["for"]),
    );
    for label in lost_labels(text(&alert["expr"]), summary.split("$labels.")) {
        let what = format!("{name} tells of {label}, which its expression does not keep");
        faults.add(Check::AlertsAreWhole, title(rule), what);
    }
}

/// The labels that begin each part of a text but the first, and that the expression does not keep.
fn lost_labels<'a>(expression: &str, parts: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let kept = seen(expression).map(|seen| seen.kept).unwrap_or_default();
    let name = |part: &'a str| part.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or_default();
    parts.skip(1).map(name).filter(|name| !kept.iter().all(|kept| kept.iter().any(|kept| kept == name))).collect()
}

fn look_at_panel(map: &Value, panel: &Value, faults: &mut Faults) {
    let name = text(&panel["title"]);
    let well = !name.is_empty() && !list(&panel["targets"]).is_empty() && !text(&panel["description"]).is_empty();
    faults.unless(well, Check::DashboardsAreWhole, title(map), format!("`{name}` has no title, text or query"));
    for target in list(&panel["targets"]) {
        let (query, legend) = (text(&target["expr"]), text(&target["legendFormat"]));
        let query = query.replace("$__rate_interval", "5m");
        for label in lost_labels(&query, legend.split("{{")) {
            let what = format!("`{name}` names {label}, which its query does not keep");
            faults.add(Check::DashboardsAreWhole, title(map), what);
        }
        let selectors = selectors(&query).unwrap_or_default();
        let scoped = selectors.iter().all(|selector| {
            selector
                .matchers
                .matchers
                .iter()
                .any(|matcher| matcher.name == "namespace" && matcher.value == "$namespace")
        });
        faults.unless(scoped, Check::DashboardsAreWhole, title(map), format!("`{name}` shows every namespace"));
    }
}

/// What is scraped pod by pod gets the label by which queries know a service.
fn look_at_pod_monitor(manifest: &Manifest<'_>, monitor: &Value, faults: &mut Faults) {
    let selected = manifest.selected(&monitor["spec"]["selector"]["matchLabels"]);
    let [pod] = selected[..] else {
        let what = format!("selects the pods of {} workloads", selected.len());
        return faults.add(Check::SelectorsChooseOneWorkload, title(monitor), what);
    };
    let endpoints = list(&monitor["spec"]["podMetricsEndpoints"]);
    let [endpoint] = endpoints else {
        return faults.add(Check::MetricsAreScraped, title(monitor), "scrapes not one port");
    };
    let admin = endpoint["port"] == "admin" && pod.port(&endpoint["port"]).is_some();
    let well = admin && endpoint["path"] == "/metrics";
    faults.unless(well, Check::MetricsAreScraped, title(monitor), format!("scrapes {endpoint}"));
    let labelled = list(&endpoint["relabelings"]).iter().find(|rule| rule["targetLabel"] == "service");
    let service = labelled.and_then(|rule| manifest.find("Service", text(&rule["replacement"])));
    let own = service.is_some_and(|service| pod.has(&service["spec"]["selector"]));
    faults.unless(own, Check::MetricsAreScraped, title(monitor), "its series do not name its Service");
}

fn look_at_monitor(manifest: &Manifest<'_>, monitor: &Value, faults: &mut Faults) {
    let labels = &monitor["spec"]["selector"]["matchLabels"];
    let wanted = |service: &&Value| {
        let own = &service["metadata"]["labels"];
        labels.as_object().is_some_and(|labels| labels.iter().all(|(name, value)| own.get(name) == Some(value)))
    };
    let services: Vec<_> = manifest.kind("Service").filter(wanted).collect();
    for endpoint in list(&monitor["spec"]["endpoints"]) {
        let ports = services.iter().flat_map(|service| list(&service["spec"]["ports"]));
        let named = ports.filter(|port| port["name"] == endpoint["port"]).count();
        let what = format!("port {} is on {named} of the Services that {labels} selects", endpoint["port"]);
        faults.unless(named == 1, Check::PortsAreDeclared, title(monitor), what);
        let every = endpoint["interval"].as_str().map_or(Some(30.0), prometheus_seconds);
        let within =
            endpoint["scrapeTimeout"].as_str().map_or(Some(10.0_f64.min(every.unwrap_or(0.0))), prometheus_seconds);
        // alerts look at five minutes, in which there must be some scrapes
        let often = every.is_some_and(|every| (1.0..=60.0).contains(&every)) && within <= every;
        let what = format!("scrapes every {every:?} s for {within:?} s at most");
        faults.unless(often, Check::MetricsAreScraped, title(monitor), what);
        let plain = endpoint["scheme"].as_str().is_none_or(|scheme| scheme.eq_ignore_ascii_case("http"));
        let well =
            plain && endpoint["port"] == "admin" && endpoint["path"] == "/metrics" && endpoint["honorLabels"] != true;
        faults.unless(well, Check::MetricsAreScraped, title(monitor), format!("scrapes {endpoint}"));
    }
    let elsewhere = &monitor["spec"]["namespaceSelector"];
    let here = list(&elsewhere["matchNames"]).contains(&monitor["metadata"]["namespace"]);
    let what = format!("looks for its Services in {elsewhere}");
    faults.unless(elsewhere.is_null() || here, Check::MetricsAreScraped, title(monitor), what);
    // over a limit, nothing of a scrape is kept
    let limits = ["sampleLimit", "targetLimit", "labelLimit", "labelNameLengthLimit", "labelValueLengthLimit"];
    let whole = limits.iter().all(|name| monitor["spec"].get(name).is_none());
    faults.unless(whole, Check::MetricsAreScraped, title(monitor), "drops a scrape that is over a limit");
    let one = list(&monitor["spec"]["endpoints"]).len() == 1;
    faults.unless(one, Check::MetricsAreScraped, title(monitor), "scrapes not one port");
}
