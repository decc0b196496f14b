//! Names, namespaces, labels and annotations.

use std::collections::BTreeSet;

use anyhow::ensure;
use serde_json::Value;

use super::{
    super::{
        faults::{Manifest, text},
        world::{chart, objects},
    },
    find, pods,
};

/// The names of all objects that a release of this name would make.
fn names(chart: &moehog_tests::Chart, release: &str) -> anyhow::Result<BTreeSet<String>> {
    let objects = objects(&chart.render_as(release, "moehog", &[chart.values("mtls")], &[])?)?;
    Ok(objects.iter().map(|object| format!("{} {}", object["kind"], object["metadata"]["name"])).collect())
}

#[test]
fn no_two_releases_of_one_namespace_share_a_name() -> anyhow::Result<()> {
    let Some(chart) = chart("no two releases of one namespace share a name")? else { return Ok(()) };
    let a = names(&chart, "events-of-production-in-europe-west-customer-a")?;
    let b = names(&chart, "events-of-production-in-europe-west-customer-b")?;
    let both: Vec<_> = a.intersection(&b).collect();
    ensure!(both.is_empty(), "two releases make the same objects: {both:?}");
    ensure!(
        a == names(&chart, "events-of-production-in-europe-west-customer-a")?,
        "names change from render to render"
    );
    // these fit, and installed releases are found by them
    for (release, gateway) in [
        ("moehog", "moehog-gateway"),
        ("shop", "shop-moehog-gateway"),
        ("the-moehog-of-a-name-with-forty-letters-x", "the-moehog-of-a-name-with-forty-48daf4ab-gateway"),
        ("the-moehog-of-a-name-with-forty-letters4", "the-moehog-of-a-name-with-forty-letters4-gateway"),
    ] {
        let found = names(&chart, release)?;
        let there = found.contains(&format!("\"StatefulSet\" \"{gateway}\""));
        ensure!(there, "{release}: no StatefulSet {gateway}: {found:?}");
    }
    Ok(())
}

#[test]
fn labels_and_annotations_reach_every_object_and_pod_and_no_claim() -> anyhow::Result<()> {
    let Some(chart) = chart("labels and annotations reach every object and pod and no claim")? else { return Ok(()) };
    let objects = objects(&chart.render(&[chart.values("names")], &[])?)?;
    let (label, annotation) = ("example.com/cost-center", "example.com/owner");
    for object in &objects {
        let metadata = &object["metadata"];
        let wanted = if metadata["name"] == "shop-events-test" && object["kind"] == "Pod" { "test" } else { "" };
        ensure!(metadata["labels"][label] == "4711", "{} {} has no label", object["kind"], metadata["name"]);
        ensure!(metadata["annotations"][annotation] == "data-platform", "{metadata} has no annotation");
        ensure!(wanted.is_empty() || metadata["annotations"]["example.com/tier"] == wanted, "{metadata}");
    }
    for pod in Manifest::new(&objects).workloads() {
        let edge = pod.component() == "gateway";
        let (cost, owner) = if edge { ("edge", "edge") } else { ("4711", "data-platform") };
        ensure!(pod.labels()[label] == cost, "{}: {}", pod.title(), pod.labels());
        let annotations = &pod.template["metadata"]["annotations"];
        ensure!(annotations[annotation] == owner, "{}: {annotations}", pod.title());
        ensure!(text(&annotations["checksum/config"]).len() == 64, "{}: {annotations}", pod.title());
    }
    let gateway = pods(&objects, "gateway")?.owner;
    ensure!(gateway["metadata"]["annotations"]["reloader.example.com/auto"] == "true", "{}", gateway["metadata"]);
    let claim = &gateway["spec"]["volumeClaimTemplates"][0]["metadata"];
    ensure!(
        claim["labels"].get(label).is_none() && claim.get("annotations").is_none(),
        "a claim can never change: {claim}"
    );
    Ok(())
}

#[test]
fn a_namespace_of_ones_own_is_that_of_every_object_and_address() -> anyhow::Result<()> {
    let Some(chart) = chart("a namespace of one's own is that of every object and address")? else { return Ok(()) };
    let objects = objects(&chart.render(&[chart.values("names")], &[])?)?;
    ensure!(objects.iter().all(|object| object["metadata"]["namespace"] == "events"), "not all are in `events`");
    let called = pods(&objects, "gateway")?.variable("MOEHOG__DELIVERY__ADDRESS");
    ensure!(called == Some("dns://shop-events-delivery-headless.events.svc:50052"), "delivery is called at {called:?}");
    let test = find(&objects, "Pod", "shop-events-test")?;
    let asked = |argument: &Value| text(argument).contains("//shop-events-gateway.events.svc:80/");
    let arguments = &test["spec"]["containers"][0]["args"];
    ensure!(
        arguments.as_array().is_some_and(|arguments| arguments.iter().any(asked)),
        "helm test posts to {arguments}"
    );
    Ok(())
}
