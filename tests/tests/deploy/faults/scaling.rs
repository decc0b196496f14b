//! Who decides how many pods there are.

use serde_json::Value;

use super::{
    Check, Faults, Pod,
    manifest::{Manifest, text, title},
};

/// Kinds of autoscalers, and where their bounds stand.
const AUTOSCALERS: [(&str, &str, &str); 2] =
    [("HorizontalPodAutoscaler", "minReplicas", "maxReplicas"), ("ScaledObject", "minReplicaCount", "maxReplicaCount")];

pub(super) fn look(manifest: &Manifest<'_>, faults: &mut Faults) {
    for pod in manifest.workloads() {
        let scaled = autoscalers(manifest, pod);
        let fixed = pod.owner["spec"]["replicas"].as_u64();
        let well = match scaled.len() {
            0 => fixed.is_some_and(|replicas| replicas > 0),
            // the chart would fight the autoscaler at each upgrade
            1 => pod.owner["spec"].get("replicas").is_none() && pod.owner["kind"] == "Deployment",
            _ => false,
        };
        let what = format!("replicas is {}, and {} autoscalers set it", pod.owner["spec"]["replicas"], scaled.len());
        faults.unless(well, Check::ReplicasHaveOneOwner, pod.title(), what);
    }
    for (kind, least, most) in AUTOSCALERS {
        for scaler in manifest.kind(kind) {
            let (least, most) =
                (scaler["spec"][least].as_u64().unwrap_or(0), scaler["spec"][most].as_u64().unwrap_or(0));
            let target = &scaler["spec"]["scaleTargetRef"];
            let known = manifest
                .find(text(&target["kind"]), text(&target["name"]))
                .is_none_or(|owner| target.get("apiVersion").is_none_or(|version| *version == owner["apiVersion"]));
            let what = format!("scales a {} of {}", target["kind"], target["apiVersion"]);
            faults.unless(known, Check::ReplicasHaveOneOwner, title(scaler), what);
            // waking from none would cost the time to start, each time
            let well = 1 <= least && least <= most;
            faults.unless(well, Check::ReplicasHaveOneOwner, title(scaler), format!("scales from {least} to {most}"));
        }
    }
    for scaler in manifest.kind("ScaledObject") {
        let fallback = &scaler["spec"]["fallback"];
        let well = fallback["behavior"] == "currentReplicasIfHigher";
        faults.unless(well, Check::ReplicasHaveOneOwner, title(scaler), "scales in when it cannot measure");
    }
}

fn autoscalers<'a>(manifest: &Manifest<'a>, pod: Pod<'_>) -> Vec<&'a Value> {
    let targets = |scaler: &&Value| {
        let target = &scaler["spec"]["scaleTargetRef"];
        target["kind"] == pod.owner["kind"] && text(&target["name"]) == text(&pod.owner["metadata"]["name"])
    };
    AUTOSCALERS.iter().flat_map(|(kind, _, _)| manifest.kind(kind)).filter(targets).collect()
}
