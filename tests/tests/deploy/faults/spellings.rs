//! Words from fixed lists, which schemas take as any text.

use super::{
    Check, Faults,
    manifest::{Manifest, keyed, text, title},
};

/// Keys whose value is one of these, wherever they stand.
const WORDS: [(&str, &[&str]); 19] = [
    ("pathType", &["Prefix", "Exact", "ImplementationSpecific"]),
    ("accessModes", &["ReadWriteOnce", "ReadWriteOncePod"]),
    ("policyTypes", &["Ingress", "Egress"]),
    ("protocol", &["TCP", "UDP"]),
    ("imagePullPolicy", &["IfNotPresent", "Always", "Never"]),
    ("restartPolicy", &["Never"]),
    ("whenUnsatisfiable", &["ScheduleAnyway", "DoNotSchedule"]),
    ("effect", &["NoSchedule", "PreferNoSchedule", "NoExecute"]),
    ("operator", &["Exists", "Equal", "In", "NotIn", "DoesNotExist", "Gt", "Lt"]),
    ("podManagementPolicy", &["Parallel", "OrderedReady"]),
    ("unhealthyPodEvictionPolicy", &["AlwaysAllow", "IfHealthyBudget"]),
    ("fsGroupChangePolicy", &["OnRootMismatch", "Always"]),
    ("metricType", &["AverageValue", "Value", "Utilization"]),
    ("usages", &["digital signature", "client auth", "server auth", "cert sign", "crl sign"]),
    ("rotationPolicy", &["Always", "Never"]),
    ("helm.sh/hook", &["test"]),
    ("externalTrafficPolicy", &["Cluster", "Local"]),
    ("ipFamilyPolicy", &["SingleStack", "PreferDualStack", "RequireDualStack"]),
    ("ipFamilies", &["IPv4", "IPv6"]),
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
            let (kind, spec) = (&object["spec"]["type"], &object["spec"]);
            // only the gateways' one may be reached from outside of the cluster
            let public = spec["clusterIP"] != "None" && ["NodePort", "LoadBalancer"].contains(&text(kind));
            let well = kind.is_null() || kind == "ClusterIP" || public;
            faults.unless(well, Check::WordsAreSpelled, title(object), format!("type: {kind}"));
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
        // others may stand beside it: what ours is, is looked at in the first one
        let first = text(&pod.spec()["containers"][0]["name"]);
        let what = format!("its first container is `{first}`");
        faults.unless(first == pod.component(), Check::WordsAreSpelled, pod.title(), what);
        let image = text(&pod.spec()["containers"][0]["image"]);
        let name = image.rsplit('/').next().and_then(|name| name.split([':', '@']).next()).unwrap_or_default();
        let own = if pod.component() == "test" { "moehog".into() } else { format!("moehog-{}", pod.component()) };
        faults.unless(name == own, Check::ImagesStay, pod.title(), format!("runs `{image}`, which is no {own}"));
    }
}
