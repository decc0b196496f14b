//! How a workload goes from one version to the next, and what stays of it.

use serde_json::{Value, json};

use super::{
    Check, Faults, Pod,
    manifest::{Manifest, list, text, title},
};

pub(super) fn look(manifest: &Manifest<'_>, faults: &mut Faults) {
    for pod in manifest.workloads() {
        let spec = &pod.owner["spec"];
        let strategy = match text(&pod.owner["kind"]) {
            "StatefulSet" => spec["updateStrategy"] == json!({"type": "RollingUpdate"}),
            // one more first, then one less: never fewer than wanted, and never stuck
            _ => {
                spec["strategy"]
                    == json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}})
            }
        };
        let what = format!("is rolled out by {}{}", spec["strategy"], spec["updateStrategy"]);
        faults.unless(strategy, Check::RolloutsMove, pod.title(), what);
        let settled = spec["minReadySeconds"].as_u64().is_some_and(|seconds| seconds >= 5);
        faults.unless(settled, Check::RolloutsMove, pod.title(), "counts a pod as there as soon as it is ready once");
        faults.unless(spec["paused"] != true, Check::RolloutsMove, pod.title(), "is paused");
        let history = spec["revisionHistoryLimit"].as_u64().is_some();
        faults.unless(history, Check::RolloutsMove, pod.title(), "says nothing of its history");
        if pod.component() == "gateway" {
            look_at_journal(pod, faults);
        }
    }
    if let Some(gateway) = manifest.component("gateway") {
        let well = gateway.owner["kind"] == "StatefulSet";
        faults.unless(well, Check::JournalsAreKept, title(gateway.owner), "a journal needs a pod with a name");
    }
}

fn look_at_journal(pod: Pod<'_>, faults: &mut Faults) {
    let spec = &pod.owner["spec"];
    let kept = spec["persistentVolumeClaimRetentionPolicy"] == json!({"whenDeleted": "Retain", "whenScaled": "Retain"});
    faults.unless(kept, Check::JournalsAreKept, pod.title(), "a volume goes with its pod");
    let parallel = spec["podManagementPolicy"] == "Parallel";
    faults.unless(parallel, Check::JournalsAreKept, pod.title(), "one journal waits for another");
    // other ordinals are other pods, with journals of their own
    let first = spec["ordinals"]["start"].as_u64().unwrap_or(0);
    faults.unless(first == 0, Check::JournalsAreKept, pod.title(), format!("begins at {first} with empty journals"));
    let claims = list(&spec["volumeClaimTemplates"]);
    let modes = ["ReadWriteOnce", "ReadWriteOncePod"];
    let alone = |claim: &Value| match list(&claim["spec"]["accessModes"]) {
        [mode] => modes.contains(&text(mode)),
        _ => false,
    };
    // a block device cannot be mounted, and one volume cannot be that of every pod
    let plain = |claim: &Value| {
        let own = ["volumeName", "selector", "dataSource", "dataSourceRef"];
        claim["spec"]["volumeMode"].as_str().is_none_or(|mode| mode == "Filesystem")
            && own.iter().all(|name| claim["spec"].get(name).is_none())
    };
    let mounted = |claim: &Value| {
        let mounts = pod.containers().flat_map(|container| list(&container["volumeMounts"]));
        mounts.filter(|mount| mount["name"] == claim["metadata"]["name"]).any(|mount| mount["readOnly"] != true)
    };
    let well = matches!(claims, [claim] if alone(claim) && plain(claim) && mounted(claim));
    faults.unless(well, Check::JournalsAreKept, pod.title(), "has no volume of its own to write to");
}
