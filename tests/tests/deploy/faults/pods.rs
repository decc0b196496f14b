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

/// Seconds after which a pod that does not answer takes no webhook any more; MoEngage tries for some minutes at most.
const MOST_UNREADY: u64 = 20;
/// Seconds for which a process that is only slow, as after a disk that hung, is not killed.
const LEAST_PATIENCE: u64 = 15;

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
        look_at_times(pod, &pod.spec()["containers"][0], faults);
        for (probe, path) in PROBES {
            look_at_probe(pod, &pod.spec()["containers"][0][probe], probe, path, faults);
        }
    }
}

/// How long a pod that does not answer goes on being asked, and how patiently one that is slow is borne with.
fn look_at_times(pod: Pod<'_>, container: &serde_json::Value, faults: &mut Faults) {
    let number = |probe: &str, name: &str, default| container[probe][name].as_u64().unwrap_or(default);
    let until = |probe| number(probe, "periodSeconds", 10) * number(probe, "failureThreshold", 3);
    let asked = until("readinessProbe");
    let what = format!("is asked for {asked} s after it has stopped to answer");
    faults.unless(asked <= MOST_UNREADY, Check::ProbesAreInTime, pod.title(), what);
    let back = number("readinessProbe", "successThreshold", 1) * number("readinessProbe", "periodSeconds", 10);
    faults.unless(back <= MOST_UNREADY, Check::ProbesAreInTime, pod.title(), format!("comes back after {back} s"));
    let (borne, once) = (until("livenessProbe"), number("livenessProbe", "timeoutSeconds", 1));
    let well = borne >= LEAST_PATIENCE && once >= 2 && number("livenessProbe", "failureThreshold", 3) >= 2;
    let what = format!("is killed after {borne} s in which an answer took more than {once} s");
    faults.unless(well, Check::ProbesAreInTime, pod.title(), what);
}

fn look_at_probe(pod: Pod<'_>, probe: &serde_json::Value, name: &str, path: &str, faults: &mut Faults) {
    let handlers: Vec<_> = entries(probe).map(|(key, _)| key).filter(|key| HANDLERS.contains(key)).collect();
    let what = format!("{name} has the handlers {handlers:?}");
    faults.unless(handlers == ["httpGet"], Check::ProbesAskTheAdminPort, pod.title(), what);
    let (asked, port) = (text(&probe["httpGet"]["path"]), &probe["httpGet"]["port"]);
    let what = format!("{name} asks `{asked}`");
    faults.unless(asked == path, Check::ProbesAskTheAdminPort, pod.title(), what);
    let plain = probe["httpGet"]["scheme"].as_str().is_none_or(|scheme| scheme == "HTTP");
    let here = plain && probe["httpGet"].get("host").is_none();
    faults.unless(here, Check::ProbesAskTheAdminPort, pod.title(), format!("{name} asks {}", probe["httpGet"]));
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
