//! What pods run with, and as whom; how they are replaced.

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::{
    super::{
        faults::{Manifest, list, text},
        world::{chart, objects},
    },
    find, pods, rendered,
};

/// The names of a list's items.
fn names(items: &Value) -> Vec<&str> {
    list(items).iter().map(|item| text(&item["name"])).collect()
}

#[test]
fn by_default_pods_run_as_the_images_user_with_no_token_and_no_cpu_limit() -> anyhow::Result<()> {
    let test = "by default pods run as the image's user with no token and no CPU limit";
    let Some(chart) = chart(test)? else { return Ok(()) };
    let objects = rendered(&chart, &[])?;
    for pod in Manifest::new(&objects).pods() {
        for id in ["runAsUser", "runAsGroup", "fsGroup"] {
            let context = &pod.spec()["securityContext"];
            ensure!(context[id] == 65532, "{}: {context}", pod.title());
        }
        ensure!(pod.spec()["automountServiceAccountToken"] == false, "{} gets a token", pod.title());
        let containers: Vec<_> = pod.containers().collect();
        ensure!(containers.len() == 1, "{} has {} containers", pod.title(), containers.len());
        ensure!(containers[0]["resources"]["limits"].get("cpu").is_none(), "{}", containers[0]["resources"]);
    }
    Ok(())
}

#[test]
fn on_openshift_no_pod_asks_for_a_user_or_a_group() -> anyhow::Result<()> {
    let Some(chart) = chart("on OpenShift no pod asks for a user or a group")? else { return Ok(()) };
    let objects = objects(&chart.render(&[chart.values("openshift")], &[])?)?;
    for pod in Manifest::new(&objects).pods() {
        let contexts = [&pod.spec()["securityContext"]].into_iter();
        let contexts = contexts.chain(pod.containers().map(|container| &container["securityContext"]));
        for (context, id) in contexts.flat_map(|context| ["runAsUser", "runAsGroup", "fsGroup"].map(|id| (context, id)))
        {
            ensure!(context.get(id).is_none(), "{} asks for {id}: {context}", pod.title());
        }
    }
    Ok(())
}

#[test]
fn under_a_quota_every_container_says_all_that_is_counted() -> anyhow::Result<()> {
    let Some(chart) = chart("under a quota every container says all that is counted")? else { return Ok(()) };
    let objects = objects(&chart.render(&[chart.values("quota")], &[])?)?;
    for pod in Manifest::new(&objects).pods() {
        for (container, kind) in
            pod.containers().flat_map(|container| ["requests", "limits"].map(|kind| (container, kind)))
        {
            for name in ["cpu", "memory", "ephemeral-storage"] {
                let said = container["resources"][kind].get(name).is_some();
                ensure!(said, "{} {}: {kind} has no {name}", pod.title(), container["name"]);
            }
        }
    }
    Ok(())
}

#[test]
fn what_is_added_to_pods_is_there_and_templates_in_it_are_rendered() -> anyhow::Result<()> {
    let Some(chart) = chart("what is added to pods is there and templates in it are rendered")? else { return Ok(()) };
    let objects = objects(&chart.render(&[chart.values("pods")], &[])?)?;
    let gateway = pods(&objects, "gateway")?.spec();
    ensure!(names(&gateway["containers"]) == ["gateway", "watch"], "{}", gateway["containers"]);
    ensure!(
        gateway["containers"][1]["image"] == "registry.example.com/moehog/watch:0.1.0",
        "{}",
        gateway["containers"]
    );
    ensure!(gateway["initContainers"][0]["args"] == json!(["moehog"]), "{}", gateway["initContainers"]);
    ensure!(names(&gateway["volumes"]).contains(&"scratch"), "{}", gateway["volumes"]);
    let ours = &gateway["containers"][0];
    ensure!(names(&ours["volumeMounts"]).contains(&"scratch"), "{}", ours["volumeMounts"]);
    ensure!(ours["envFrom"][0]["prefix"] == "SITE_", "{}", ours["envFrom"]);
    let region = list(&ours["env"]).iter().find(|variable| variable["name"] == "REGION").context("REGION")?;
    ensure!(text(&region["valueFrom"]["fieldRef"]["fieldPath"]).contains("region"), "{region}");
    let probes =
        ["startupProbe", "livenessProbe", "readinessProbe"].map(|probe| ours[probe]["failureThreshold"].as_u64());
    ensure!(probes == [Some(360), Some(3), Some(3)], "{probes:?}");
    ensure!(ours["livenessProbe"]["initialDelaySeconds"] == 5, "{}", ours["livenessProbe"]);
    for (key, value) in [("dnsPolicy", json!("None")), ("runtimeClassName", json!("gvisor"))] {
        ensure!(gateway[key] == value, "{key} is {}", gateway[key]);
    }
    ensure!(gateway["dnsConfig"]["nameservers"] == json!(["10.96.0.10"]), "{}", gateway["dnsConfig"]);
    ensure!(gateway["affinity"].get("nodeAffinity").is_some(), "{}", gateway["affinity"]);
    let claim = &pods(&objects, "gateway")?.owner["spec"]["volumeClaimTemplates"][0]["metadata"];
    ensure!(claim["annotations"]["backup.example.com/keep"] == "7d", "{claim}");
    ensure!(claim["labels"]["backup.example.com/schedule"] == "hourly", "{claim}");
    let account = find(&objects, "ServiceAccount", "moehog-gateway")?;
    ensure!(account["metadata"]["annotations"].get("eks.amazonaws.com/role-arn").is_some(), "{account}");
    ensure!(pods(&objects, "delivery")?.spec()["hostAliases"][0]["ip"] == "192.0.2.7", "no hostAliases");
    let spread = &pods(&objects, "transformer")?.spec()["topologySpreadConstraints"];
    ensure!(spread[0]["maxSkew"] == 2 && spread[0]["minDomains"] == 2, "{spread}");
    Ok(())
}

#[test]
fn the_pod_of_helm_test_goes_where_the_gateways_go_unless_it_is_said_otherwise() -> anyhow::Result<()> {
    let test = "the pod of helm test goes where the gateways go unless it is said otherwise";
    let Some(chart) = chart(test)? else { return Ok(()) };
    let tolerations = r#"gateway.tolerations=[{"key":"dedicated","operator":"Exists"}]"#;
    let gateways = ["gateway.nodeSelector={\"disktype\":\"ssd\"}", tolerations];
    let objects = rendered(&chart, &gateways)?;
    let (test, gateway) = (pods(&objects, "test")?.spec(), pods(&objects, "gateway")?.spec());
    for key in ["nodeSelector", "tolerations"] {
        ensure!(test[key] == gateway[key] && !test[key].is_null(), "{key}: {}", test[key]);
    }
    let objects = rendered(&chart, &[gateways[0], gateways[1], "tests.nodeSelector={\"pool\":\"tests\"}"])?;
    let test = pods(&objects, "test")?.spec();
    ensure!(
        test["nodeSelector"] == json!({"pool": "tests"}) && test["tolerations"] == gateway["tolerations"],
        "{test}"
    );
    Ok(())
}

#[test]
fn an_account_of_ones_own_is_used_and_not_made() -> anyhow::Result<()> {
    let Some(chart) = chart("an account of one's own is used and not made")? else { return Ok(()) };
    let account = |value: &str| format!("delivery.serviceAccount={value}");
    let objects = rendered(&chart, &[&account(r#"{"create":false,"name":"platform"}"#)])?;
    ensure!(pods(&objects, "delivery")?.spec()["serviceAccountName"] == "platform", "not used");
    ensure!(Manifest::new(&objects).kind("ServiceAccount").count() == 2, "it is made");
    let objects = rendered(&chart, &[&account(r#"{"name":"egress","automountToken":true}"#)])?;
    let delivery = pods(&objects, "delivery")?.spec();
    ensure!(
        delivery["serviceAccountName"] == "egress" && delivery["automountServiceAccountToken"] == true,
        "{delivery}"
    );
    ensure!(find(&objects, "ServiceAccount", "egress")?["automountServiceAccountToken"] == true, "without a token");
    Ok(())
}

#[test]
fn rollouts_and_budgets_follow_their_values() -> anyhow::Result<()> {
    let Some(chart) = chart("rollouts and budgets follow their values")? else { return Ok(()) };
    let objects = rendered(
        &chart,
        &[
            r#"delivery.strategy={"maxSurge":"50%","maxUnavailable":1}"#,
            "delivery.minReadySeconds=0",
            "delivery.revisionHistoryLimit=1",
            r#"delivery.disruptionBudget={"minAvailable":"50%"}"#,
            r#"transformer.disruptionBudget={"enabled":false}"#,
            r#"gateway.disruptionBudget={"maxUnavailable":2,"unhealthyPodEvictionPolicy":"IfHealthyBudget"}"#,
            r#"gateway.updateStrategy={"type":"RollingUpdate","partition":1}"#,
            r#"gateway.journal.whenDeleted="Delete""#,
        ],
    )?;
    let delivery = &pods(&objects, "delivery")?.owner["spec"];
    ensure!(delivery["strategy"]["rollingUpdate"] == json!({"maxSurge": "50%", "maxUnavailable": 1}), "{delivery}");
    ensure!(delivery["minReadySeconds"] == 0 && delivery["revisionHistoryLimit"] == 1, "{delivery}");
    let budget = &find(&objects, "PodDisruptionBudget", "moehog-delivery")?["spec"];
    ensure!(budget["minAvailable"] == "50%" && budget.get("maxUnavailable").is_none(), "{budget}");
    let budget = &find(&objects, "PodDisruptionBudget", "moehog-gateway")?["spec"];
    ensure!(budget["maxUnavailable"] == 2 && budget["unhealthyPodEvictionPolicy"] == "IfHealthyBudget", "{budget}");
    ensure!(find(&objects, "PodDisruptionBudget", "moehog-transformer").is_err(), "a budget that is off");
    let gateway = &pods(&objects, "gateway")?.owner["spec"];
    ensure!(
        gateway["updateStrategy"] == json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}),
        "{gateway}"
    );
    let kept = &gateway["persistentVolumeClaimRetentionPolicy"];
    ensure!(*kept == json!({"whenDeleted": "Delete", "whenScaled": "Retain"}), "{kept}");
    Ok(())
}
