//! What a pod may do on its node and in the cluster.

use serde_json::{Value, json};

use super::{
    Check, Faults, Pod,
    manifest::{Manifest, list, text, title},
};

/// What reaches into the node; none of it is for us.
const HOST: [&str; 5] = ["hostNetwork", "hostPID", "hostIPC", "hostUsers", "shareProcessNamespace"];
/// Who a pod runs as.
const IDS: [&str; 3] = ["runAsUser", "runAsGroup", "fsGroup"];
/// Rights in the cluster; none of them is for us.
const RIGHTS: [&str; 4] = ["Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"];

pub(super) fn look(manifest: &Manifest<'_>, faults: &mut Faults) {
    for object in manifest.objects.iter().filter(|object| RIGHTS.contains(&text(&object["kind"]))) {
        faults.add(Check::TokensStayOut, title(object), "no service asks the API server for anything");
    }
    for account in manifest.kind("ServiceAccount") {
        let off = account["automountServiceAccountToken"] == false;
        faults.unless(off, Check::TokensStayOut, title(account), "gives its token to pods");
    }
    for pod in manifest.pods() {
        let off = pod.spec()["automountServiceAccountToken"] == false && pod.spec()["enableServiceLinks"] == false;
        faults.unless(off, Check::TokensStayOut, pod.title(), "gets a token, or variables of every Service");
        look_at_pod(pod, faults);
    }
    for pod in manifest.workloads() {
        let own = pod.spec()["serviceAccountName"] == pod.owner["metadata"]["name"];
        faults.unless(own, Check::TokensStayOut, pod.title(), "has not an account of its own");
    }
}

fn look_at_pod(pod: Pod<'_>, faults: &mut Faults) {
    let context = &pod.spec()["securityContext"];
    let mut wanted = vec![
        ("runAsNonRoot", json!(true)),
        ("fsGroupChangePolicy", json!("OnRootMismatch")),
        ("seccompProfile", json!({"type": "RuntimeDefault"})),
    ];
    // the user and the groups of the image, or none of them, where the cluster gives its own
    if IDS.iter().any(|id| context.get(id).is_some()) {
        wanted.extend(IDS.map(|id| (id, json!(65532))));
    }
    only(pod, context, &wanted, faults);
    for container in pod.containers() {
        let wanted = [
            ("runAsNonRoot", json!(true)),
            ("allowPrivilegeEscalation", json!(false)),
            ("readOnlyRootFilesystem", json!(true)),
            ("capabilities", json!({"drop": ["ALL"]})),
        ];
        only(pod, &container["securityContext"], &wanted, faults);
        let ports = list(&container["ports"]);
        let host =
            ports.iter().any(|port| port.get("hostPort").is_some() || port["containerPort"].as_u64() < Some(1024));
        faults.unless(!host, Check::PodsAreRestricted, pod.title(), "takes a port of the node, or one below 1024");
    }
    for name in HOST {
        faults.unless(pod.spec().get(name).is_none(), Check::PodsAreRestricted, pod.title(), format!("sets {name}"));
    }
}

fn only(pod: Pod<'_>, context: &Value, wanted: &[(&str, Value)], faults: &mut Faults) {
    for (name, value) in wanted {
        let what = format!("{name} is {}, must be {value}", context[*name]);
        faults.unless(context[*name] == *value, Check::PodsAreRestricted, pod.title(), what);
    }
    let more = context.as_object().map_or(0, serde_json::Map::len) > wanted.len();
    faults.unless(!more, Check::PodsAreRestricted, pod.title(), format!("asks for more than it needs: {context}"));
}
