//! What an install or upgrade makes of what runs already: helm's own `lookup`, against an API server that can be read.

use anyhow::{Context, ensure};
use moehog_tests::{ApiServer, Chart, Install};
use serde_json::{Value, json};

use super::{
    faults::Manifest,
    world::{chart, objects},
};

/// Who wrote of an object, and how.
type Owners<'a> = &'a [(&'a str, &'a str)];

/// A workload with its number of pods, as the API server keeps it. The last of the owners owns that number.
fn workload(kind: &str, service: &str, replicas: u64, owners: Owners<'_>) -> Value {
    let entry = |(at, (manager, operation)): (usize, &(&str, &str))| {
        let fields = if at + 1 == owners.len() { json!({"f:replicas": {}}) } else { json!({"f:selector": {}}) };
        json!({"manager": manager, "operation": operation, "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": fields}})
    };
    let managed: Vec<_> = owners.iter().enumerate().map(entry).collect();
    let metadata = json!({"name": format!("moehog-{service}"), "namespace": "moehog", "managedFields": managed});
    json!({"apiVersion": "apps/v1", "kind": kind, "metadata": metadata, "spec": {"replicas": replicas}})
}

fn delivery(replicas: u64, owners: Owners<'_>) -> Value {
    workload("Deployment", "delivery", replicas, owners)
}

/// Gateways that run, with claims of this size.
fn gateways(replicas: u64, owners: Owners<'_>, size: &str) -> Value {
    let mut gateways = workload("StatefulSet", "gateway", replicas, owners);
    let claim = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}});
    gateways["spec"]["volumeClaimTemplates"] = json!([{"metadata": {"name": "journal"}, "spec": claim}]);
    gateways
}

/// The claim of a gateway: what it asks for, and what it has.
fn claim(ordinal: u64, asks: &str, has: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": format!("journal-moehog-gateway-{ordinal}"), "namespace": "moehog"},
        "spec": {"resources": {"requests": {"storage": asks}}}, "status": {"capacity": {"storage": has}},
    })
}

/// What helm does with `ci/minimal.yaml` and these values where these objects run.
async fn install(chart: &Chart, running: Vec<Value>, sets: &[&str]) -> anyhow::Result<Install> {
    let server = ApiServer::with(running).await?;
    install_into(chart, &server, sets).await
}

async fn install_into(chart: &Chart, server: &ApiServer, sets: &[&str]) -> anyhow::Result<Install> {
    let sets: Vec<_> = sets.iter().map(|set| format!("--set={set}")).collect();
    let (chart, kubeconfig) = (chart.clone(), server.kubeconfig().to_path_buf());
    let helm = move || {
        let sets: Vec<_> = sets.iter().map(String::as_str).collect();
        chart.install_into(&kubeconfig, &[chart.values("minimal")], &sets)
    };
    tokio::task::spawn_blocking(helm).await?
}

/// The number of pods of a workload; null where none is written.
fn replicas(manifest: &str, service: &str) -> anyhow::Result<Value> {
    let objects = objects(manifest)?;
    let manifest = Manifest::new(&objects);
    let pod = manifest.workloads().find(|pod| pod.component() == service).context("a workload")?;
    Ok(pod.owner["spec"]["replicas"].clone())
}

fn budget(manifest: &str) -> anyhow::Result<u64> {
    let (_, budget) = manifest.split_once("budget_bytes = ").context("a budget")?;
    Ok(budget.lines().next().unwrap_or_default().trim().parse()?)
}

const HELM: (&str, &str) = ("helm", "Apply");
const OLD_HELM: (&str, &str) = ("helm", "Update");
const KUBECTL: (&str, &str) = ("kubectl", "Update");
const AUTOSCALER: (&str, &str) = ("kube-controller-manager", "Update");
const KEDA: [&str; 2] =
    ["delivery.autoscaling.mode=keda", "delivery.autoscaling.keda.serverAddress=http://prometheus.monitoring:9090"];

#[tokio::test]
async fn each_upgrade_writes_a_number_that_the_api_server_takes_and_that_drops_no_pod() -> anyhow::Result<()> {
    let test = "each upgrade writes a number that the api server takes and that drops no pod";
    let Some(chart) = chart(test)? else { return Ok(()) };
    let fixed: &[&str] = &["delivery.replicas=3"];
    let three = [&KEDA[..], &["delivery.autoscaling.minReplicas=3"]].concat();
    let cases: [(&str, Vec<Value>, &[&str], Value); 12] = [
        ("nothing runs", vec![], fixed, json!(3)),
        ("helm set it", vec![delivery(5, &[HELM])], fixed, json!(3)),
        ("Helm 3 set it", vec![delivery(5, &[OLD_HELM])], fixed, json!(3)),
        // another number than theirs is refused by the API server, when half of the upgrade is written
        ("kubectl scale", vec![delivery(5, &[HELM, KUBECTL])], fixed, json!(5)),
        ("kubectl scale to none", vec![delivery(0, &[HELM, KUBECTL])], fixed, json!(0)),
        ("an autoscaler that is switched off", vec![delivery(8, &[HELM, AUTOSCALER])], fixed, json!(8)),
        // what is left out and has no other owner becomes 1
        ("an autoscaler that is switched on", vec![delivery(6, &[HELM])], &three, json!(6)),
        ("the same, with fewer than its least", vec![delivery(1, &[HELM])], &three, json!(3)),
        ("the same, after kubectl scale under Helm 3", vec![delivery(6, &[OLD_HELM, KUBECTL])], &three, json!(6)),
        ("an autoscaler from the beginning", vec![], &three, json!(3)),
        ("an autoscaler that has it", vec![delivery(7, &[HELM, AUTOSCALER])], &three, Value::Null),
        // Helm 3 takes what it no longer names away, whoever has it
        ("an autoscaler that has it under Helm 3", vec![delivery(7, &[OLD_HELM, AUTOSCALER])], &three, json!(7)),
    ];
    let mut wrong = Vec::new();
    for (case, running, sets, expected) in cases {
        let written = replicas(&install(&chart, running, sets).await.context(case)?.manifest, "delivery")?;
        if written != expected {
            wrong.push(format!("{case}: {written} is written, not {expected}"));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    let transformers = vec![workload("Deployment", "transformer", 6, &[HELM])];
    let told = install(&chart, transformers, &["transformer.autoscaling.mode=cpu"]).await?;
    ensure!(replicas(&told.manifest, "transformer")? == 6, "transformers are dropped: {}", told.manifest);
    let rendered = chart.render(&[chart.values("keda")], &[])?;
    ensure!(replicas(&rendered, "delivery")?.is_null(), "a render without a cluster fights the autoscaler: {rendered}");
    Ok(())
}

#[tokio::test]
async fn a_number_that_stays_is_told_with_the_command_that_changes_it() -> anyhow::Result<()> {
    let Some(chart) = chart("a number that stays is told with the command that changes it")? else { return Ok(()) };
    let running = vec![delivery(5, &[HELM, KUBECTL]), gateways(3, &[HELM, KUBECTL], "20Gi")];
    let told = install(&chart, running, &[]).await?;
    for says in [
        "delivery keeps the 5 pods that kubectl set; delivery.replicas says 2",
        "kubectl -n moehog scale deployment/moehog-delivery --replicas=2",
        "gateway keeps the 3 pods that kubectl set",
        "kubectl -n moehog scale statefulset/moehog-gateway --replicas=2",
        "first read \"Scale in\"",
        "moehog 0.1.0: 3 gateways",
    ] {
        ensure!(told.notes.contains(says), "the notes do not say `{says}`: {}", told.notes);
    }
    ensure!(replicas(&told.manifest, "gateway")? == 3, "gateways leave that nobody sent away");
    ensure!(!told.notes.contains("leave now"), "no gateway leaves: {}", told.notes);
    Ok(())
}

#[tokio::test]
async fn when_gateways_leave_the_notes_name_them_and_the_way_back() -> anyhow::Result<()> {
    let Some(chart) = chart("when gateways leave the notes name them and the way back")? else { return Ok(()) };
    let told = install(&chart, vec![gateways(4, &[HELM], "20Gi")], &[]).await?;
    ensure!(replicas(&told.manifest, "gateway")? == 2, "the gateways stay");
    for says in [
        "2 of 4 gateways leave now: moehog-gateway-2, moehog-gateway-3.",
        "kubectl -n moehog logs moehog-gateway-2 --follow",
        "kubectl -n moehog logs moehog-gateway-3 --follow",
        "set gateway.replicas to 4 again",
        "journal-moehog-gateway-3",
    ] {
        ensure!(told.notes.contains(says), "the notes do not say `{says}`: {}", told.notes);
    }
    let told = install(&chart, vec![gateways(2, &[HELM], "20Gi")], &[]).await?;
    ensure!(!told.notes.contains("leave now"), "nobody leaves: {}", told.notes);
    Ok(())
}

#[tokio::test]
async fn what_no_upgrade_can_change_is_refused_and_the_page_is_named() -> anyhow::Result<()> {
    let Some(chart) = chart("what no upgrade can change is refused and the page is named")? else { return Ok(()) };
    let (old, helm) = ("gateway.journal.size: the gateways have claims for 20Gi", [HELM]);
    let gateways = |size| gateways(2, &helm, size);
    let cases: [(Vec<Value>, &str, Option<&str>); 9] = [
        (vec![gateways("20Gi")], "size=50Gi", Some(old)),
        (vec![gateways("20Gi")], "size=10Gi", Some(old)),
        (
            vec![gateways("20Gi")],
            "storageClass=fast",
            Some("gateway.journal.storageClass: the gateways have claims of \"\""),
        ),
        (vec![gateways("20Gi")], "accessMode=ReadWriteOncePod", Some("gateway.journal.accessMode")),
        (vec![gateways("1Ti")], "size=1024Gi", None),
        (vec![gateways("20Gi")], "budgetPercent=50", None),
        // as Resize goes: the StatefulSet is away, the claims have grown
        (vec![claim(0, "50Gi", "50Gi"), claim(1, "50Gi", "20Gi")], "size=50Gi", None),
        (
            vec![claim(0, "50Gi", "50Gi"), claim(1, "20Gi", "20Gi")],
            "size=50Gi",
            Some("the claim journal-moehog-gateway-1"),
        ),
        // a claim of a gateway that is no longer asked for
        (vec![claim(2, "20Gi", "20Gi")], "size=50Gi", None),
    ];
    let mut wrong = Vec::new();
    for (running, set, says) in cases {
        let refused = install(&chart, running, &[&format!("gateway.journal.{set}")]).await.err();
        let refused = refused.map(|error| format!("{error:#}"));
        match (refused, says) {
            (None, None) => {}
            (Some(refused), Some(says))
                if refused.contains(says) && refused.contains("\"Resize\" in deploy/README.md") => {}
            (refused, says) => wrong.push(format!("{set}: {refused:?}, not {says:?}")),
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

#[tokio::test]
async fn the_budget_fits_the_smallest_volume_there_is() -> anyhow::Result<()> {
    let Some(chart) = chart("the budget fits the smallest volume there is")? else { return Ok(()) };
    let giga = |size: u64| size * (1 << 30) / 100 * 85;
    let gateways = || gateways(2, &[HELM], "20Gi");
    let cases = [
        (vec![], giga(20)),
        // an install of a larger size over claims that an earlier one left
        (vec![gateways(), claim(0, "20Gi", "20Gi"), claim(1, "10Gi", "10Gi")], giga(10)),
        // what nobody asked for is not used, and nobody uses the claim of a gateway that is away
        (vec![gateways(), claim(0, "20Gi", "21474836480"), claim(1, "50Gi", "50Gi"), claim(2, "1Gi", "1Gi")], giga(20)),
        (vec![gateways(), claim(0, "20Gi", "15G")], 15_000_000_000 / 100 * 85),
        // not bound yet
        (vec![gateways(), claim(0, "20Gi", "")], giga(20)),
    ];
    for (running, expected) in cases {
        let what = format!("{running:?}");
        let told = install(&chart, running, &[]).await?;
        ensure!(budget(&told.manifest)? == expected, "{}, not {expected}: {what}", budget(&told.manifest)?);
        let smaller = told.notes.contains("the budget of all journals is that of the smallest volume");
        ensure!(smaller == (expected < giga(20)), "the notes tell of a smaller volume: {smaller}: {what}");
    }
    Ok(())
}

#[tokio::test]
async fn whoever_may_not_list_installs_without_a_look() -> anyhow::Result<()> {
    let Some(chart) = chart("whoever may not list installs without a look")? else { return Ok(()) };
    let server = ApiServer::that_lists_nothing().await?;
    let refused = install_into(&chart, &server, &[]).await.err().context("it lists all the same")?;
    ensure!(format!("{refused:#}").contains("lookup"), "{refused:#}");
    let told = install_into(&chart, &server, &["lookAtCluster=false"]).await?;
    ensure!(replicas(&told.manifest, "delivery")? == 2, "{}", told.manifest);
    Ok(())
}
