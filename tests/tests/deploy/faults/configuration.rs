//! The configuration file, and the files that it names.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    Check, Faults, Pod,
    manifest::{Manifest, keyed, list, text, title},
};

/// Sections with files that a service reads.
fn sections(component: &str) -> &'static [&'static str] {
    match component {
        "gateway" => &["sources", "destinations", "api", "tls"],
        "delivery" => &["destinations", "tls", "posthog"],
        _ => &["tls"],
    }
}

pub(super) fn look(manifest: &Manifest<'_>, faults: &mut Faults) {
    let mut checksums = BTreeMap::new();
    for pod in manifest.pods() {
        let Some(file) = argument(pod, "--config") else {
            for argument in list(&pod.spec()["containers"][0]["args"]) {
                if let Some(file) = text(argument).strip_prefix("--token-file=") {
                    mounted(manifest, pod, file, faults);
                }
            }
            continue;
        };
        mounted(manifest, pod, file, faults);
        let Some(configuration) = configuration(manifest, pod, file) else {
            faults.add(Check::ConfiguredFilesAreMounted, pod.title(), format!("`{file}` is no TOML"));
            continue;
        };
        for section in sections(pod.component()) {
            let mut values = Vec::new();
            keyed(&configuration[*section], &mut values);
            let files = values
                .iter()
                .filter(|(key, _)| ["file", "ca_file"].contains(key) || *section == "tls")
                .filter_map(|(_, file)| file.as_str());
            for file in files {
                mounted(manifest, pod, file, faults);
            }
        }
        let restarts = pod.template["metadata"]["annotations"]["checksum/config"].as_str();
        let well = restarts.is_some_and(|checksum| checksum.len() == 64);
        faults.unless(well, Check::ConfigurationRestarts, pod.title(), "has no checksum of its configuration");
        let own = checksums.entry(configuration.to_string()).or_insert(restarts);
        let what = "has another checksum than a pod of the same configuration";
        faults.unless(*own == restarts, Check::ConfigurationRestarts, pod.title(), what);
    }
    for secret in manifest.kind("Secret") {
        faults.add(Check::SecretsStayOut, title(secret), "the chart makes no Secret");
    }
    for pod in manifest.pods() {
        let environment = pod.containers().flat_map(|container| {
            list(&container["env"]).iter().map(|variable| &variable["valueFrom"]).chain(list(&container["envFrom"]))
        });
        let from_secret =
            environment.filter(|from| from.get("secretKeyRef").or(from.get("secretRef")).is_some()).count();
        faults.unless(from_secret == 0, Check::SecretsStayOut, pod.title(), "takes a variable from a Secret");
    }
}

/// What stands behind an argument.
pub(crate) fn argument<'a>(pod: Pod<'a>, name: &str) -> Option<&'a str> {
    let arguments = list(&pod.spec()["containers"][0]["args"]);
    let at = arguments.iter().position(|argument| argument == name)?;
    arguments.get(at + 1)?.as_str()
}

/// The configuration file that a pod reads.
pub(super) fn configuration(manifest: &Manifest<'_>, pod: Pod<'_>, file: &str) -> Option<Value> {
    let name = file.rsplit('/').next()?;
    let maps = list(&pod.spec()["volumes"]).iter().filter_map(|volume| volume["configMap"]["name"].as_str());
    let content = maps.filter_map(|map| manifest.find("ConfigMap", map)?["data"][name].as_str()).next()?;
    toml::from_str(content).ok()
}

/// A file is there when its volume holds a key of that name. Of a Secret only the listed keys are sure.
fn mounted(manifest: &Manifest<'_>, pod: Pod<'_>, file: &str, faults: &mut Faults) {
    let held = |(volume, name): (&Value, &str)| {
        let map = volume["configMap"]["name"].as_str().and_then(|map| manifest.find("ConfigMap", map));
        let listed = list(&volume["secret"]["items"]).iter().any(|item| item["path"] == name);
        let certificate = ["tls.crt", "tls.key", "ca.crt"].contains(&name)
            && manifest.kind("Certificate").any(|made| made["spec"]["secretName"] == volume["secret"]["secretName"]);
        map.is_some_and(|map| map["data"].get(name).is_some()) || listed || certificate
    };
    let there = pod.volume_at(file).is_some_and(held);
    faults.unless(there, Check::ConfiguredFilesAreMounted, pod.title(), format!("`{file}` is not mounted"));
}
