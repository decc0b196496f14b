//! The assertions of `faults`, over every render.

use anyhow::ensure;
use serde_json::Value;

use super::{
    faults::{Manifest, faults, list, text},
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
    let faults: Vec<_> =
        renders(&chart)?.iter().filter_map(|render| well(&render.name, &render.objects).err()).collect();
    ensure!(faults.is_empty(), "{}", faults.iter().map(|fault| format!("{fault}\n")).collect::<String>());
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
fn the_notes_name_the_address_for_moengage_the_secrets_keys_and_the_next_step() -> anyhow::Result<()> {
    let test = "the notes name the address for MoEngage, the Secret's keys and the next step";
    let Some(chart) = chart(test)? else { return Ok(()) };
    for (name, values) in chart.cases()? {
        let notes = chart.notes(&values)?;
        let host = ["ingress", "gateway-api", "all-on"].contains(&name.as_str());
        let host = if host { "https://moehog.example.com" } else { "https://YOUR.HOST" };
        for says in [&format!("{host}/capture/"), &format!("{host}/v1/in/"), "port-forward", "rollout status"] {
            let helm_test = says == "port-forward" && notes.contains("helm test moehog -n moehog");
            ensure!(notes.contains(says) || helm_test, "ci/{name}.yaml: the notes do not say `{says}`: {notes}");
        }
        let objects = objects(&chart.render(&values, &[])?)?;
        for pod in Manifest::new(&objects).workloads() {
            let volumes = list(&pod.spec()["volumes"]).iter().filter(|volume| volume["name"] == "secrets");
            for key in volumes.flat_map(|volume| list(&volume["secret"]["items"])).map(|item| text(&item["key"])) {
                let told = notes.contains(&format!("--from-literal={key}="));
                ensure!(told, "ci/{name}.yaml: {} needs the key {key}, the notes do not say so", pod.title());
            }
        }
    }
    Ok(())
}
