//! CPU, memory and disk.

use serde_json::Value;

use super::{
    Check, Faults, Pod,
    manifest::{Manifest, entries, list},
};

const RESOURCES: [&str; 2] = ["cpu", "memory"];
/// Those that a container may say besides.
const MORE_RESOURCES: [&str; 1] = ["ephemeral-storage"];
/// Suffixes of a quantity, longest first.
const SUFFIXES: [(&str, f64); 12] = [
    ("Ki", 1024.0),
    ("Mi", 1_048_576.0),
    ("Gi", 1_073_741_824.0),
    ("Ti", 1_099_511_627_776.0),
    ("Pi", 1_125_899_906_842_624.0),
    ("m", 1e-3),
    ("k", 1e3),
    ("M", 1e6),
    ("G", 1e9),
    ("T", 1e12),
    ("P", 1e15),
    ("", 1.0),
];

pub(super) fn look(manifest: &Manifest<'_>, faults: &mut Faults) {
    for pod in manifest.pods() {
        for container in pod.containers() {
            look_at_container(pod, container, faults);
        }
        let claims = list(&pod.owner["spec"]["volumeClaimTemplates"]);
        let sizes = claims.iter().map(|claim| &claim["spec"]["resources"]["requests"]["storage"]);
        let temporary = list(&pod.spec()["volumes"]).iter().filter_map(|volume| volume["emptyDir"].get("sizeLimit"));
        for size in sizes.chain(temporary) {
            let well = quantity(size).is_some_and(|bytes| bytes >= 1_048_576.0);
            faults.unless(well, Check::QuantitiesFit, pod.title(), format!("{size} is no size"));
        }
    }
}

fn look_at_container(pod: Pod<'_>, container: &Value, faults: &mut Faults) {
    let (requests, limits) = (&container["resources"]["requests"], &container["resources"]["limits"]);
    for (name, value) in entries(requests).chain(entries(limits)) {
        let known = RESOURCES.contains(&name) || MORE_RESOURCES.contains(&name);
        let well = known && quantity(value).is_some_and(|amount| amount > 0.0);
        faults.unless(well, Check::QuantitiesFit, pod.title(), format!("{name}: {value} is no quantity"));
    }
    for name in RESOURCES {
        let requested = quantity(&requests[name]);
        faults.unless(requested.is_some(), Check::QuantitiesFit, pod.title(), format!("requests no {name}"));
        let within = quantity(&limits[name]).is_none_or(|limit| requested.is_some_and(|requested| requested <= limit));
        let what = format!("requests {} of {name}, the limit is {}", requests[name], limits[name]);
        faults.unless(within, Check::QuantitiesFit, pod.title(), what);
    }
    let ours = pod.owner["kind"] != "Pod" && *container == pod.spec()["containers"][0];
    let threads = pod.variable("TOKIO_WORKER_THREADS").unwrap_or_default();
    // a throttled process answers too late, unless no more threads run than there are CPUs; one that eats a node's memory takes others
    // with it
    let unthrottled = quantity(&limits["cpu"])
        .is_none_or(|limit| !ours || threads.parse().is_ok_and(|threads: f64| threads <= limit));
    let well = unthrottled && limits.get("memory").is_some();
    faults.unless(well, Check::LimitsLeaveRoom, pod.title(), format!("is limited to {limits}"));
    if ours {
        let cpus = quantity(&requests["cpu"]).unwrap_or_default().ceil().max(2.0);
        let well = threads.parse().is_ok_and(|threads: f64| (threads - cpus).abs() < f64::EPSILON);
        let what = format!("runs `{threads}` threads on {} CPUs", requests["cpu"]);
        faults.unless(well, Check::ThreadsFollowRequests, pod.title(), what);
    }
}

/// What a quantity amounts to.
pub(super) fn quantity(value: &Value) -> Option<f64> {
    let written = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    let (suffix, factor) = SUFFIXES.iter().find(|(suffix, _)| written.ends_with(suffix))?;
    let number = written.strip_suffix(suffix)?;
    let plain =
        number.starts_with(|c: char| c.is_ascii_digit()) && number.chars().all(|c| c.is_ascii_digit() || c == '.');
    plain.then(|| number.parse::<f64>().ok()).flatten().map(|number| number * factor)
}

#[test]
fn quantities_are_read_as_kubernetes_does() {
    for (written, amount) in
        [("500m", 0.5), ("2", 2.0), ("3.5", 3.5), ("512Mi", 536_870_912.0), ("1Ti", 1_099_511_627_776.0)]
    {
        assert_eq!(quantity(&written.into()), Some(amount), "{written}");
    }
    for written in ["", "Mi", "512MB", "-1", "1 Gi", "0x10", "inf"] {
        assert_eq!(quantity(&written.into()), None, "{written}");
    }
}
