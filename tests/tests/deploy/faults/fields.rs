//! Fields that an API server refuses for their values, which no schema says: its rules for workloads and pods.

use std::{collections::BTreeSet, net::IpAddr};

use serde_json::Value;

use super::{
    Check, Faults, Pod,
    labels::{is_dns_label, is_dns_subdomain},
    manifest::{Manifest, entries, list, text, title},
};

/// Numbers of a probe, the least that each may be, and what it is when nothing is said.
const PROBE: [(&str, i64, i64); 5] = [
    ("initialDelaySeconds", 0, 0),
    ("periodSeconds", 1, 10),
    ("timeoutSeconds", 1, 1),
    ("successThreshold", 1, 1),
    ("failureThreshold", 1, 3),
];

pub(super) fn look(manifest: &Manifest<'_>, faults: &mut Faults) {
    for pod in manifest.workloads() {
        look_at_workload(pod, faults);
    }
    for pod in manifest.pods() {
        let mut fault = |well: bool, what: String| faults.unless(well, Check::PodFieldsFit, pod.title(), what);
        look_at_pod(pod.spec(), &mut fault);
        look_at_spread(pod.spec(), &mut fault);
        look_at_tolerations(pod.spec(), &mut fault);
        // an image's own program takes the arguments
        let program = pod.spec()["containers"][0].get("command").is_none();
        fault(program, "command takes the place of the image's program".to_string());
        for container in pod.containers() {
            look_at_container(container, &mut fault);
        }
    }
    for map in manifest.kind("ConfigMap") {
        // the next `helm upgrade` would fail halfway
        let mutable = map["immutable"] != true;
        faults.unless(mutable, Check::ConfigurationRestarts, title(map), "can never be changed");
        let files = || entries(&map["data"]).chain(entries(&map["binaryData"]));
        for (key, _) in files() {
            faults.unless(is_key(key), Check::NamesAreValidAndUnique, title(map), format!("`{key}` is no key"));
        }
        let size: usize = files().map(|(_, value)| text(value).len()).sum();
        faults.unless(size <= 1 << 20, Check::NamesAreValidAndUnique, title(map), "holds more than 1 MiB");
    }
}

fn look_at_workload(pod: Pod<'_>, faults: &mut Faults) {
    let mut fault = |well: bool, what: String| faults.unless(well, Check::WorkloadFieldsFit, pod.title(), what);
    let restart = &pod.spec()["restartPolicy"];
    fault(restart.is_null() || restart == "Always", format!("restartPolicy is {restart}, a workload's is Always"));
    let deadline = &pod.spec()["activeDeadlineSeconds"];
    fault(deadline.is_null(), "activeDeadlineSeconds is for pods that end".to_string());
    let spec = &pod.owner["spec"];
    let ready = spec["minReadySeconds"].as_i64().unwrap_or(0);
    let progress = spec["progressDeadlineSeconds"].as_i64().unwrap_or(600);
    let what = format!("progressDeadlineSeconds is {progress}, must be greater than minReadySeconds, {ready}");
    fault(ready >= 0 && (pod.owner["kind"] != "Deployment" || progress > ready), what);
    let history = spec["revisionHistoryLimit"].as_i64().unwrap_or(0);
    fault(history >= 0, format!("revisionHistoryLimit is {history}"));
}

fn look_at_pod(spec: &Value, fault: &mut impl FnMut(bool, String)) {
    for kind in ["volumes", "containers"] {
        let mut names = BTreeSet::new();
        let all = list(&spec[kind]).iter().chain(if kind == "volumes" { &[] } else { list(&spec["initContainers"]) });
        for name in all.map(|one| text(&one["name"])) {
            fault(is_dns_label(name) && names.insert(name), format!("{kind}: `{name}` is no name of its own"));
        }
    }
    for volume in list(&spec["volumes"]) {
        for source in
            ["configMap", "secret", "projected"].map(|kind| &volume[kind]).into_iter().filter(|one| one.is_object())
        {
            let mode = source["defaultMode"].as_i64().unwrap_or(0o644);
            fault((0..=0o777).contains(&mode), format!("{}: defaultMode is {mode}, at most 0777", volume["name"]));
            let mut paths = BTreeSet::new();
            for item in list(&source["items"]) {
                let (key, path) = (text(&item["key"]), text(&item["path"]));
                let inside = !path.is_empty() && !path.starts_with('/') && path.split('/').all(|part| part != "..");
                let well = is_key(key) && inside && paths.insert(path);
                fault(well, format!("{}: {item} is no file of its own inside the volume", volume["name"]));
            }
        }
    }
    let deadline = spec["activeDeadlineSeconds"].as_i64().unwrap_or(1);
    fault((1..=i64::from(i32::MAX)).contains(&deadline), format!("activeDeadlineSeconds is {deadline}"));
    let grace = spec["terminationGracePeriodSeconds"].as_i64().unwrap_or(30);
    fault(grace >= 0, format!("terminationGracePeriodSeconds is {grace}"));
    for name in ["serviceAccountName", "priorityClassName", "runtimeClassName", "schedulerName"] {
        let name = (name, spec[name].as_str());
        fault(name.1.is_none_or(is_dns_subdomain), format!("{} is {:?}, no name", name.0, name.1));
    }
    for alias in list(&spec["hostAliases"]) {
        let well = text(&alias["ip"]).parse::<IpAddr>().is_ok()
            && list(&alias["hostnames"]).iter().all(|name| is_dns_subdomain(text(name)));
        fault(well, format!("hostAliases: {alias} is no address with host names"));
    }
    // set by the scheduler: a pod that has it goes to that node or nowhere
    fault(spec.get("nodeName").is_none(), "nodeName ties it to one node".to_string());
}

fn look_at_spread(spec: &Value, fault: &mut impl FnMut(bool, String)) {
    let mut pairs = BTreeSet::new();
    for constraint in list(&spec["topologySpreadConstraints"]) {
        let (key, unsatisfiable) = (text(&constraint["topologyKey"]), text(&constraint["whenUnsatisfiable"]));
        let skew = constraint["maxSkew"].as_i64().unwrap_or(0);
        fault(skew >= 1, format!("maxSkew over {key} is {skew}, must be greater than zero"));
        if let Some(domains) = constraint.get("minDomains") {
            let well = unsatisfiable == "DoNotSchedule" && domains.as_i64() >= Some(1);
            fault(well, format!("minDomains is {domains} over {key}: above zero, and with DoNotSchedule alone"));
        }
        let alone = pairs.insert((key, unsatisfiable));
        fault(alone, format!("spreads twice over {key} with {unsatisfiable}"));
        for more in list(&constraint["matchLabelKeys"]).iter().map(text) {
            let twice = constraint["labelSelector"]["matchLabels"].get(more).is_some();
            fault(!twice, format!("matchLabelKeys and labelSelector over {key} both name {more}"));
        }
    }
}

fn look_at_tolerations(spec: &Value, fault: &mut impl FnMut(bool, String)) {
    for toleration in list(&spec["tolerations"]) {
        let (operator, effect) = (toleration["operator"].as_str().unwrap_or("Equal"), text(&toleration["effect"]));
        let every = text(&toleration["key"]).is_empty();
        let well = (operator == "Exists" || !every)
            && (operator != "Exists" || text(&toleration["value"]).is_empty())
            && (toleration.get("tolerationSeconds").is_none() || effect == "NoExecute");
        fault(
            well,
            format!(
                "{toleration} is no toleration: Exists has no value, Equal a key, tolerationSeconds needs NoExecute"
            ),
        );
    }
}

fn look_at_container(container: &Value, fault: &mut impl FnMut(bool, String)) {
    let mut paths = BTreeSet::new();
    for mount in list(&container["volumeMounts"]) {
        let path = text(&mount["mountPath"]);
        let well = path.starts_with('/') && !path.contains(':') && paths.insert(path);
        fault(well, format!("mounts at `{path}`, which must be a path of its own without a colon"));
    }
    let mut ports = BTreeSet::new();
    for port in list(&container["ports"]) {
        let number = &port["containerPort"];
        let one = ports.insert((number.to_string(), text(&port["protocol"])));
        fault(is_port(number) && one, format!("containerPort {number} is none of its own from 1 to 65535"));
    }
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        let Some(asked) = container.get(probe) else { continue };
        for (name, least, default) in PROBE {
            let value = asked.get(name).map_or(Some(default), Value::as_i64);
            fault(value >= Some(least), format!("{probe}.{name} is {value:?}, at least {least}"));
        }
        let ready = probe == "readinessProbe";
        let once = ready || asked.get("successThreshold").is_none_or(|threshold| threshold == 1);
        fault(once, format!("{probe}.successThreshold must be 1"));
        let grace = asked.get("terminationGracePeriodSeconds");
        let well = grace.is_none_or(|grace| !ready && grace.as_i64() >= Some(1));
        fault(well, format!("{probe}.terminationGracePeriodSeconds is {grace:?}"));
        for handler in entries(asked).filter_map(|(_, handler)| handler.get("port")) {
            let named = handler.as_str().is_some_and(|name| name.len() <= 15 && is_dns_label(name));
            fault(named || is_port(handler), format!("{probe} asks port {handler}"));
        }
    }
}

/// A number from 1 to 65535.
pub(super) fn is_port(port: &Value) -> bool {
    port.as_u64().is_some_and(|port| (1..=65_535).contains(&port))
}

/// A key of a ConfigMap or a Secret.
fn is_key(key: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    (1..=253).contains(&key.len()) && key.chars().all(inner) && !key.starts_with("..") && key != "."
}
