//! Probes and variables.

use std::collections::BTreeSet;

use super::{
    Check, Faults, Pod,
    manifest::{Manifest, entries, list, text},
};

/// What the kubelet asks, and how.
const PROBES: [(&str, &str); 3] =
    [("startupProbe", "/livez"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")];
const HANDLERS: [&str; 4] = ["httpGet", "grpc", "tcpSocket", "exec"];

pub(super) fn look(manifest: &Manifest<'_>, faults: &mut Faults) {
    for pod in manifest.pods() {
        for container in pod.containers() {
            let mut names = BTreeSet::new();
            for variable in list(&container["env"]) {
                let name = text(&variable["name"]);
                let sources = [variable.get("value"), variable.get("valueFrom")].into_iter().flatten().count();
                let well = is_variable(name) && sources == 1;
                faults.unless(well, Check::VariablesExpand, pod.title(), format!("`{name}` is no variable"));
                for used in expanded(text(&variable["value"])) {
                    let what = format!("{name} uses {used}, which does not stand before it");
                    faults.unless(names.contains(used), Check::VariablesExpand, pod.title(), what);
                }
                let unique = names.insert(name);
                faults.unless(unique, Check::VariablesExpand, pod.title(), format!("{name} stands there twice"));
            }
        }
    }
    for pod in manifest.workloads() {
        for (probe, path) in PROBES {
            look_at_probe(pod, &pod.spec()["containers"][0][probe], probe, path, faults);
        }
    }
}

fn look_at_probe(pod: Pod<'_>, probe: &serde_json::Value, name: &str, path: &str, faults: &mut Faults) {
    let handlers: Vec<_> = entries(probe).map(|(key, _)| key).filter(|key| HANDLERS.contains(key)).collect();
    let what = format!("{name} has the handlers {handlers:?}");
    faults.unless(handlers == ["httpGet"], Check::ProbesAskTheAdminPort, pod.title(), what);
    let (asked, port) = (text(&probe["httpGet"]["path"]), &probe["httpGet"]["port"]);
    let what = format!("{name} asks `{asked}`");
    faults.unless(asked == path, Check::ProbesAskTheAdminPort, pod.title(), what);
    let there = pod.port(port);
    let what = format!("{name} asks port {port}, which no container has");
    faults.unless(there.is_some(), Check::PortsAreDeclared, pod.title(), what);
    let admin = there == pod.port(&"admin".into());
    faults.unless(admin, Check::ProbesAskTheAdminPort, pod.title(), format!("{name} asks port {port}"));
}

/// The names in `$(…)`.
fn expanded(value: &str) -> impl Iterator<Item = &str> {
    value.split("$(").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0))
}

fn is_variable(name: &str) -> bool {
    !name.is_empty()
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !name.starts_with(|c: char| c.is_ascii_digit())
}
