//! By what autoscalers decide, and whether queries ask for what is there.

use std::fs;

use moehog_tests::root;
use promql_parser::{label::MatchOp, parser::VectorSelector};
use serde_json::Value;

use super::{
    Check, Faults,
    manifest::{Manifest, entries, list, text, title},
    observed::{expressions, selectors},
    quantities::quantity,
    stands_in_code,
};

/// Labels that the scrape adds, and those of the cluster's own metrics.
const BY_THE_SCRAPE: [&str; 6] = ["namespace", "pod", "service", "job", "container", "endpoint"];
/// Metrics that are not ours.
const OTHERS: [&str; 4] = ["kube_", "kubelet_", "container_", "up"];
/// Kinds of triggers that the chart may render.
const TRIGGERS: [&str; 3] = ["prometheus", "cpu", "memory"];
/// Parts of a histogram.
const PARTS: [&str; 3] = ["_bucket", "_count", "_sum"];

pub(super) fn look(manifest: &Manifest<'_>, faults: &mut Faults) {
    for (object, query) in expressions(manifest.objects) {
        for selector in selectors(&query).unwrap_or_default() {
            if let Some(fault) = names_nothing(manifest, &selector) {
                faults.add(Check::QueriesFindSeries, &object, format!("`{query}`: {fault}"));
            }
        }
    }
    for scaler in manifest.kind("ScaledObject") {
        look_at_scaled_object(scaler, faults);
    }
    for scaler in manifest.kind("HorizontalPodAutoscaler") {
        look_at_autoscaler(manifest, scaler, faults);
    }
}

/// Why a selector finds no series of this release; none when it may.
fn names_nothing(manifest: &Manifest<'_>, selector: &VectorSelector) -> Option<String> {
    let name = selector.name.clone().unwrap_or_default();
    let ours = is_metric(&name);
    if !ours && !OTHERS.iter().any(|prefix| name.starts_with(prefix)) {
        return Some(format!("no code counts `{name}`"));
    }
    selector.matchers.matchers.iter().find_map(|matcher| {
        let values = match &matcher.op {
            MatchOp::Re(pattern) | MatchOp::NotRe(pattern) => {
                pattern.as_str().trim_matches(|c| "^$()?:".contains(c)).to_string()
            }
            _ => matcher.value.clone(),
        };
        let found = match (matcher.name.as_str(), &matcher.op) {
            ("namespace" | "service", MatchOp::Equal) => is_of_release(manifest, &name, &matcher.name, &values),
            (name, _) if BY_THE_SCRAPE.contains(&name) => true,
            // a value that nobody sets would keep an alert silent for ever
            _ => !ours || values.split('|').all(|value| value.is_empty() || stands_in_code(&format!("\"{value}\""))),
        };
        (!found).then(|| format!("`{name}` has no {} `{values}`", matcher.name))
    })
}

/// Whether some process counts a metric of this name.
fn is_metric(name: &str) -> bool {
    let whole = PARTS.iter().find_map(|part| name.strip_suffix(part)).unwrap_or(name);
    name.starts_with("moehog_") && [name, whole].iter().any(|name| stands_in_code(&format!("\"{name}\"")))
}

/// Whether the adapter's rule of `deploy/README.md` makes a metric of this name.
fn is_adapted(name: &str) -> bool {
    let rules = fs::read_to_string(root().join("deploy/README.md")).unwrap_or_default();
    rules.contains(&format!("{{ as: {name} }}"))
}

/// Whether the scrape of this release gives a metric this namespace, or this service.
fn is_of_release(manifest: &Manifest<'_>, metric: &str, label: &str, value: &str) -> bool {
    if label == "namespace" {
        return manifest.objects.iter().all(|object| object["metadata"]["namespace"] == value);
    }
    let Some(service) = manifest.find("Service", value) else { return false };
    let scraped = list(&service["spec"]["ports"]).iter().any(|port| port["name"] == "admin");
    let family = metric.strip_prefix("moehog_").and_then(|rest| rest.split('_').next());
    let origin = match family {
        // of the cluster, or of each process
        None | Some("runtime") => None,
        Some(worker @ ("delivery" | "transformer")) => Some(worker),
        Some(_) => Some("gateway"),
    };
    let pods = manifest.selected(&service["spec"]["selector"]);
    scraped && origin.is_none_or(|origin| pods.iter().any(|pod| pod.component() == origin))
}

fn look_at_scaled_object(scaler: &Value, faults: &mut Faults) {
    let mut fault = |well: bool, what: String| faults.unless(well, Check::AutoscalersAct, title(scaler), what);
    let spec = &scaler["spec"];
    let paused =
        entries(&scaler["metadata"]["annotations"]).any(|(name, _)| name.starts_with("autoscaling.keda.sh/paused"));
    fault(!paused, "is paused".to_string());
    fault(spec.get("idleReplicaCount").is_none(), "waits for work with fewer pods than its least".to_string());
    let often = spec["pollingInterval"].as_u64().unwrap_or(30);
    fault((1..=60).contains(&often), format!("looks every {often} s"));
    fault(!list(&spec["triggers"]).is_empty(), "has no triggers".to_string());
    let fallback = spec["fallback"]["replicas"].as_u64();
    let within = fallback.is_some_and(|pods| {
        spec["minReplicaCount"].as_u64() <= Some(pods) && Some(pods) <= spec["maxReplicaCount"].as_u64()
    });
    fault(within, format!("takes {fallback:?} pods when it cannot measure"));
    for kind in list(&spec["triggers"]).iter().map(|trigger| text(&trigger["type"])) {
        fault(TRIGGERS.contains(&kind), format!("has a trigger of the type `{kind}`, not one of {TRIGGERS:?}"));
    }
    for trigger in list(&spec["triggers"]).iter().filter(|trigger| trigger["type"] == "prometheus") {
        let metadata = &trigger["metadata"];
        let server = text(&metadata["serverAddress"]);
        let host = server.split_once("://").filter(|(scheme, _)| ["http", "https"].contains(scheme));
        fault(host.is_some_and(|(_, host)| !host.is_empty()), format!("asks a Prometheus at `{server}`"));
        let threshold = text(&metadata["threshold"]);
        let well = threshold.parse().is_ok_and(|threshold: f64| threshold.is_finite() && threshold > 0.0);
        fault(well, format!("has the threshold `{threshold}`: a number above 0 is needed"));
        let active = metadata.get("activationThreshold").is_none_or(|active| text(active).parse::<f64>().is_ok());
        fault(active, format!("has the activationThreshold {}", metadata["activationThreshold"]));
        let silent = &metadata["ignoreNullValues"];
        fault(silent == "false", format!("ignoreNullValues is {silent}: no series would be no backlog, and scale in"));
        let ours = selectors(text(&metadata["query"])).unwrap_or_default();
        let scoped = |selector: &VectorSelector| {
            let matched = |label: &str| {
                selector.matchers.matchers.iter().any(|matcher| matcher.name == label && matcher.op == MatchOp::Equal)
            };
            matched("namespace") && matched("service")
        };
        let what = format!("`{}` counts other releases too", text(&metadata["query"]));
        fault(!ours.is_empty() && ours.iter().all(scoped), what);
    }
    look_at_behavior(scaler, &spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"], faults);
}

fn look_at_autoscaler(manifest: &Manifest<'_>, scaler: &Value, faults: &mut Faults) {
    let mut fault = |well: bool, what: String| faults.unless(well, Check::AutoscalersAct, title(scaler), what);
    let metrics = list(&scaler["spec"]["metrics"]);
    fault(!metrics.is_empty(), "has no metrics".to_string());
    for metric in metrics {
        let kind = text(&metric["type"]);
        let source = &metric[kind.to_lowercase().replace("containerresource", "containerResource")];
        let target = &source["target"];
        let field = match text(&target["type"]) {
            "Utilization" => "averageUtilization",
            "AverageValue" => "averageValue",
            _ => "value",
        };
        let well = quantity(&target[field]).is_some_and(|amount| amount > 0.0);
        fault(well, format!("has the target {target}"));
        if !kind.contains("esource") {
            let name = text(&source["metric"]["name"]);
            fault(
                is_metric(name) || is_adapted(name),
                format!("no code counts `{name}`, and no adapter's rule makes it"),
            );
            for (label, value) in entries(&source["metric"]["selector"]["matchLabels"]) {
                let there =
                    !["namespace", "service"].contains(&label) || is_of_release(manifest, name, label, text(value));
                fault(there, format!("`{name}` has no {label} {value}"));
            }
        }
    }
    look_at_behavior(scaler, &scaler["spec"]["behavior"], faults);
}

/// Both ways are open, within the API server's bounds.
fn look_at_behavior(scaler: &Value, behavior: &Value, faults: &mut Faults) {
    for (way, rules) in entries(behavior) {
        let mut fault = |well: bool, what: &str| {
            faults.unless(well, Check::AutoscalersAct, title(scaler), format!("{way}: {what}"))
        };
        fault(rules["selectPolicy"] != "Disabled", "is disabled");
        let window = rules
            .get("stabilizationWindowSeconds")
            .is_none_or(|window| window.as_u64().is_some_and(|window| window <= 3600));
        fault(window, "stabilizationWindowSeconds is more than 3600");
        let policies = list(&rules["policies"]);
        fault(rules.get("policies").is_none() || !policies.is_empty(), "policies is empty");
        for policy in policies {
            let value = policy["value"].as_u64().is_some_and(|value| value > 0);
            let period = policy["periodSeconds"].as_u64().is_some_and(|period| (1..=1800).contains(&period));
            fault(value && period, "a policy needs a value above 0 and 1 to 1800 periodSeconds");
        }
    }
}
