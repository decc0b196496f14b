//! What objects refer to by name.

use serde_json::Value;

use super::{
    Check, Faults, Pod,
    manifest::{Manifest, entries, keyed, list, text, title},
};

/// Secrets that are there before the chart, in the values of `ci/`: tokens and keys, the registry's, the public name's.
const EXTERNAL_SECRETS: [&str; 4] = ["moehog", "moehog-keys", "registry", "moehog-example-com"];
/// Issuers that are there before the chart.
const EXTERNAL_ISSUERS: [&str; 1] = ["ClusterIssuer/platform-ca"];

pub(super) fn look(manifest: &Manifest<'_>, faults: &mut Faults) {
    for pod in manifest.pods() {
        look_at_mounts(pod, faults);
        for volume in list(&pod.spec()["volumes"]) {
            look_at_volume(manifest, pod, volume, faults);
        }
        if let Some(account) = pod.spec()["serviceAccountName"].as_str() {
            exists(manifest, pod.owner, "ServiceAccount", account, faults);
        }
        for secret in list(&pod.spec()["imagePullSecrets"]) {
            exists(manifest, pod.owner, "Secret", text(&secret["name"]), faults);
        }
    }
    for set in manifest.kind("StatefulSet") {
        let governing = manifest.find("Service", text(&set["spec"]["serviceName"]));
        let well = governing.is_some_and(|service| {
            service["spec"]["clusterIP"] == "None" && service["spec"]["publishNotReadyAddresses"] == true
        });
        let what = format!("no headless Service {} names its pods, ready or not", set["spec"]["serviceName"]);
        faults.unless(well, Check::ReferencesExist, title(set), what);
    }
    for object in manifest.objects {
        let mut values = Vec::new();
        keyed(object, &mut values);
        for (key, value) in values {
            match key {
                "scaleTargetRef" => exists(manifest, object, text(&value["kind"]), text(&value["name"]), faults),
                "issuerRef" => {
                    let (kind, name) = (text(&value["kind"]), text(&value["name"]));
                    if !EXTERNAL_ISSUERS.contains(&format!("{kind}/{name}").as_str()) {
                        exists(manifest, object, kind, name, faults);
                    }
                }
                "tls" if object["kind"] == "Ingress" => {
                    for secret in list(value).iter().map(|tls| text(&tls["secretName"])) {
                        exists(manifest, object, "Secret", secret, faults);
                    }
                }
                "ca" if object["kind"] == "Issuer" => {
                    exists(manifest, object, "Secret", text(&value["secretName"]), faults);
                }
                _ => {}
            }
        }
    }
}

/// A Secret may be made by a certificate, or be there before.
fn exists(manifest: &Manifest<'_>, from: &Value, kind: &str, name: &str, faults: &mut Faults) {
    let made = kind == "Secret"
        && (EXTERNAL_SECRETS.contains(&name)
            || manifest.kind("Certificate").any(|certificate| certificate["spec"]["secretName"] == name));
    let there = made || manifest.find(kind, name).is_some();
    faults.unless(there, Check::ReferencesExist, title(from), format!("there is no {kind}/{name}"));
}

fn look_at_mounts(pod: Pod<'_>, faults: &mut Faults) {
    let volumes: Vec<_> = pod.volumes().collect();
    let mounts: Vec<_> = pod.containers().flat_map(|container| list(&container["volumeMounts"])).collect();
    for mount in &mounts {
        let name = text(&mount["name"]);
        let what = format!("mounts `{name}`, which is no volume of the pod");
        faults.unless(volumes.contains(&name), Check::VolumesAreDeclared, pod.title(), what);
        // a file that is mounted alone never changes
        let whole = mount.get("subPath").is_none() && mount.get("subPathExpr").is_none();
        faults.unless(whole, Check::FilesAreMountedWhole, pod.title(), format!("mounts `{name}` by a path inside"));
    }
    for name in volumes {
        let mounted = mounts.iter().any(|mount| mount["name"] == name);
        faults.unless(mounted, Check::VolumesAreDeclared, pod.title(), format!("`{name}` is not mounted"));
    }
}

fn look_at_volume(manifest: &Manifest<'_>, pod: Pod<'_>, volume: &Value, faults: &mut Faults) {
    let name = text(&volume["name"]);
    let (mut inner, check) = (Vec::new(), Check::FilesAreMountedWhole);
    keyed(volume, &mut inner);
    let sure = !inner.iter().any(|(key, value)| *key == "optional" && **value == true);
    faults.unless(sure, check, pod.title(), format!("`{name}` may be missing: the pod would start without its files"));
    let sources: Vec<_> = entries(volume).filter(|(key, _)| *key != "name").collect();
    match sources[..] {
        [("configMap", source)] => {
            let map = text(&source["name"]);
            exists(manifest, pod.owner, "ConfigMap", map, faults);
            let map = manifest.find("ConfigMap", map);
            for key in list(&source["items"]).iter().map(|item| text(&item["key"])) {
                let there = map.is_none_or(|map| map["data"].get(key).is_some());
                faults.unless(there, Check::ReferencesExist, pod.title(), format!("`{name}` has no key `{key}`"));
            }
        }
        [("secret", source)] => {
            exists(manifest, pod.owner, "Secret", text(&source["secretName"]), faults);
            // 0440: the process reads by its group. In decimal, since YAML 1.1 and 1.2 read 0440 differently.
            let closed = source["defaultMode"] == 0o440;
            let what = format!("`{name}` has the mode {}", source["defaultMode"]);
            faults.unless(closed, Check::FilesAreMountedWhole, pod.title(), what);
        }
        [("emptyDir", source)] => {
            let sized = source["sizeLimit"].is_string();
            faults.unless(sized, Check::QuantitiesFit, pod.title(), format!("`{name}` has no size"));
        }
        _ => faults.add(Check::VolumesAreDeclared, pod.title(), format!("`{name}` is not of a known kind: {volume}")),
    }
}
