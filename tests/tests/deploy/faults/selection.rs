//! Who selects which pods.

use super::{
    Check, Faults,
    manifest::{Manifest, keyed, labels, list, text, title},
};

/// A selector of a workload can never change: no version stands in it.
const STABLE: [&str; 3] = ["app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/component"];
const SPREAD_OVER: [&str; 2] = ["topology.kubernetes.io/zone", "kubernetes.io/hostname"];

pub(super) fn look(manifest: &Manifest<'_>, faults: &mut Faults) {
    for pod in manifest.workloads() {
        let selector = &pod.owner["spec"]["selector"]["matchLabels"];
        let check = Check::WorkloadsSelectTheirPods;
        faults.unless(pod.has(selector), check, pod.title(), format!("selects {selector}, its pods are others"));
        let stable = labels(selector).keys().all(|key| STABLE.contains(&key.as_str()));
        faults.unless(stable, check, pod.title(), format!("selects by {selector}, which a new version may change"));
        spread(pod, faults);
    }
    for object in manifest.objects {
        let mut values = Vec::new();
        keyed(object, &mut values);
        let selectors = ["selector", "podSelector", "namespaceSelector"];
        // whom an expression leaves out, no other check would see
        let plain =
            values.iter().all(|(key, value)| !selectors.contains(key) || value.get("matchExpressions").is_none());
        faults.unless(plain, Check::SelectorsChooseOneWorkload, title(object), "selects by an expression");
        let selector = match text(&object["kind"]) {
            "Service" => &object["spec"]["selector"],
            "PodDisruptionBudget" => &object["spec"]["selector"]["matchLabels"],
            "NetworkPolicy" => &object["spec"]["podSelector"]["matchLabels"],
            _ => continue,
        };
        let selected = manifest.selected(selector).len();
        let what = format!("{selector} selects the pods of {selected} workloads");
        faults.unless(selected == 1, Check::SelectorsChooseOneWorkload, title(object), what);
    }
}

fn spread(pod: super::Pod<'_>, faults: &mut Faults) {
    let constraints = list(&pod.spec()["topologySpreadConstraints"]);
    let over: Vec<_> = constraints.iter().map(|constraint| text(&constraint["topologyKey"])).collect();
    faults.unless(over == SPREAD_OVER, Check::PodsSpread, pod.title(), format!("spreads over {over:?}"));
    for constraint in constraints {
        let own = pod.has(&constraint["labelSelector"]["matchLabels"])
            && constraint["labelSelector"].get("matchExpressions").is_none();
        faults.unless(own, Check::PodsSpread, pod.title(), "spreads by labels that its pods do not have");
        // only a Deployment gives its pods that label; with it, the pods of a rollout do not count those they replace
        let keys =
            constraint.get("matchLabelKeys").is_some_and(|keys| *keys == serde_json::json!(["pod-template-hash"]));
        let well = keys == (pod.owner["kind"] == "Deployment");
        faults.unless(well, Check::PodsSpread, pod.title(), "matchLabelKeys is for Deployments, and they need it");
    }
}
