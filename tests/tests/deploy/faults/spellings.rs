//! Words from fixed lists, which schemas take as any text.

use super::{
    Check, Faults,
    manifest::{Manifest, keyed, list, text, title},
};

/// Keys whose value is one of these, wherever they stand.
const WORDS: [(&str, &[&str]); 16] = [
    ("pathType", &["Prefix", "Exact", "ImplementationSpecific"]),
    ("accessModes", &["ReadWriteOnce", "ReadWriteOncePod"]),
    ("policyTypes", &["Ingress", "Egress"]),
    ("protocol", &["TCP", "UDP"]),
    ("imagePullPolicy", &["IfNotPresent", "Always", "Never"]),
    ("restartPolicy", &["Never"]),
    ("whenUnsatisfiable", &["ScheduleAnyway", "DoNotSchedule"]),
    ("effect", &["NoSchedule", "PreferNoSchedule", "NoExecute"]),
    ("operator", &["Exists", "Equal"]),
    ("podManagementPolicy", &["Parallel", "OrderedReady"]),
    ("unhealthyPodEvictionPolicy", &["AlwaysAllow", "IfHealthyBudget"]),
    ("fsGroupChangePolicy", &["OnRootMismatch", "Always"]),
    ("metricType", &["AverageValue", "Value", "Utilization"]),
    ("usages", &["digital signature", "client auth", "server auth", "cert sign", "crl sign"]),
    ("rotationPolicy", &["Always", "Never"]),
    ("helm.sh/hook", &["test"]),
];

pub(super) fn look(manifest: &Manifest<'_>, faults: &mut Faults) {
    for object in manifest.objects {
        let mut values = Vec::new();
        keyed(object, &mut values);
        for (key, value) in values {
            faults.unless(!value.is_null(), Check::NothingIsNull, title(object), format!("{key} has no value"));
            let Some((_, words)) = WORDS.iter().find(|(name, _)| *name == key) else { continue };
            let alone = std::slice::from_ref(value);
            for word in value.as_array().map_or(alone, Vec::as_slice) {
                let well = words.contains(&text(word));
                faults.unless(
                    well,
                    Check::WordsAreSpelled,
                    title(object),
                    format!("{key}: {word} is not one of {words:?}"),
                );
            }
        }
        if object["kind"] == "Service" {
            let kind = object["spec"]["type"].as_str().unwrap_or("ClusterIP");
            let well = ["ClusterIP", "NodePort", "LoadBalancer"].contains(&kind);
            faults.unless(well, Check::WordsAreSpelled, title(object), format!("type: {}", object["spec"]["type"]));
        }
    }
    for pod in manifest.pods() {
        for container in pod.containers() {
            let image = text(&container["image"]);
            let name = image.rsplit('/').next().unwrap_or_default();
            let version = name.rsplit_once([':', '@']).map(|(_, version)| version);
            let stays = version.is_some_and(|version| !version.is_empty() && version != "latest");
            faults.unless(stays, Check::ImagesStay, pod.title(), format!("runs `{image}`, whatever that is one day"));
        }
        let image = text(&pod.spec()["containers"][0]["image"]);
        let name = image.rsplit('/').next().and_then(|name| name.split([':', '@']).next()).unwrap_or_default();
        let own = if pod.component() == "test" { "moehog".into() } else { format!("moehog-{}", pod.component()) };
        faults.unless(name == own, Check::ImagesStay, pod.title(), format!("runs `{image}`, which is no {own}"));
        let one = list(&pod.spec()["containers"]).len() == 1 && pod.spec().get("initContainers").is_none();
        faults.unless(one, Check::WordsAreSpelled, pod.title(), "has not one container");
    }
}
