//! The assertions of `faults`, over every render.

use std::fs;

use anyhow::{Context, ensure};
use serde_json::Value;

use super::{
    faults::{Manifest, faults},
    world::{chart, objects, renders},
};

fn well(name: &str, objects: &[Value]) -> anyhow::Result<()> {
    let faults: Vec<_> = faults(objects).iter().map(ToString::to_string).collect();
    ensure!(faults.is_empty(), "{name}:\n{}", faults.join("\n"));
    Ok(())
}

#[test]
fn no_render_has_a_fault() -> anyhow::Result<()> {
    let Some(chart) = chart("no render has a fault")? else { return Ok(()) };
    for render in renders(&chart)? {
        well(&render.name, &render.objects)?;
    }
    Ok(())
}

#[test]
fn neither_has_a_release_of_another_name_in_another_namespace() -> anyhow::Result<()> {
    let Some(chart) = chart("neither has a release of another name in another namespace")? else { return Ok(()) };
    // helm takes names of up to 53 characters
    for release in ["a", "events-of-the-shop-in-a-cluster-of-the-other-company"] {
        for (name, values) in chart.cases()? {
            let text = chart.render_as(release, "elsewhere", &values, &[])?;
            well(&format!("ci/{name}.yaml as {release}"), &objects(&text)?)?;
        }
    }
    Ok(())
}

/// Each workload's name with its pod template.
fn templates(manifest: &str) -> anyhow::Result<Vec<(String, Value)>> {
    let objects = objects(manifest)?;
    Ok(Manifest::new(&objects).workloads().map(|pod| (pod.title(), pod.template.clone())).collect())
}

#[test]
fn a_changed_configuration_restarts_every_pod_and_a_changed_mapping_none() -> anyhow::Result<()> {
    let Some(chart) = chart("a changed configuration restarts every pod and a changed mapping none")? else {
        return Ok(());
    };
    let with = |set: &str| templates(&chart.render(&[chart.values("all-on")], &["--set-string", set])?);
    let before = with("mapping.files.mapping\\.toml=a")?;
    ensure!(before.len() == 3, "{} workloads", before.len());
    ensure!(before == with("mapping.files.mapping\\.toml=b")?, "a changed mapping changes a pod's template");
    for ((name, before), (_, after)) in before.iter().zip(with("posthog.host=https://elsewhere.example.com")?) {
        ensure!(*before != after, "a changed configuration leaves {name} as it is");
    }
    Ok(())
}

#[test]
fn the_notes_name_the_address_for_moengage_and_the_next_step() -> anyhow::Result<()> {
    let notes = fs::read_to_string(moehog_tests::root().join("deploy/helm/moehog/templates/NOTES.txt"))?;
    for says in ["In MoEngage", "/capture/", "/v1/in/", "helm test", "create secret generic"] {
        notes.contains(says).then_some(()).with_context(|| format!("NOTES.txt does not say `{says}`"))?;
    }
    Ok(())
}
