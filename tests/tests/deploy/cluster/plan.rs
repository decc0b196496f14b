//! What a pod becomes on a machine without a cluster. Decides only; `files` and `kubelet` do.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, bail};
use serde_json::Value;

use super::super::faults::{Manifest, Pod, list, text};

/// What a pod finds around it.
pub(super) struct Surroundings<'a> {
    /// Its name.
    pub(super) name: &'a str,
    /// Its address.
    pub(super) host: Ipv4Addr,
    /// The directory that stands for its root.
    pub(super) root: &'a Path,
    /// Where the volumes of its claims lie; they outlive it.
    pub(super) claims: &'a Path,
    /// The DNS server that answers for a Service.
    pub(super) names: &'a dyn Fn(&str) -> Option<SocketAddr>,
    /// Where a Service with an address is.
    pub(super) address: &'a dyn Fn(&str) -> Option<SocketAddr>,
}

/// How a pod's one container is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) name: String,
    pub(super) host: Ipv4Addr,
    /// The program in the image.
    pub(super) binary: String,
    pub(super) arguments: Vec<String>,
    /// All that it finds in its environment.
    pub(super) variables: Vec<(String, String)>,
    pub(super) volumes: Vec<Volume>,
    /// Ports by name.
    pub(super) ports: BTreeMap<String, u16>,
    pub(super) startup: Option<Probe>,
    pub(super) liveness: Option<Probe>,
    pub(super) readiness: Option<Probe>,
    pub(super) pre_stop: Duration,
    /// From the deletion to the kill.
    pub(super) grace: Duration,
}

/// A directory that a container sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Volume {
    /// Where it is on this machine.
    pub(super) path: PathBuf,
    pub(super) content: Content,
}

/// What a volume holds at the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    /// Nothing, or what an earlier pod left.
    Own,
    /// Files of a ConfigMap.
    Files(BTreeMap<String, String>),
    /// These keys of a Secret under these names, or all of them; readable as the mode says.
    Secret { name: String, items: Option<BTreeMap<String, String>>, mode: u32 },
}

/// What the kubelet asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Probe {
    pub(super) path: String,
    pub(super) port: u16,
    pub(super) period: Duration,
    pub(super) timeout: Duration,
    pub(super) failures: u64,
}

impl Plan {
    pub(super) fn new(manifest: Manifest<'_>, pod: Pod<'_>, around: &Surroundings<'_>) -> anyhow::Result<Self> {
        let container = &pod.spec()["containers"][0];
        let image = text(&container["image"]).rsplit('/').next().unwrap_or_default();
        let probe = |name: &str| container.get(name).map(|probe| Probe::new(pod, probe)).transpose();
        let mounts = list(&container["volumeMounts"]);
        let translate = |text: &str| translate(text, mounts, around);
        let port =
            |port: &Value| Some((text(&port["name"]).to_string(), port["containerPort"].as_u64()?.try_into().ok()?));
        Ok(Self {
            name: around.name.to_string(),
            host: around.host,
            binary: image.split([':', '@']).next().unwrap_or_default().to_string(),
            arguments: list(&container["args"]).iter().map(|argument| translate(text(argument))).collect(),
            variables: variables(pod, container, around, &translate)?,
            volumes: mounts
                .iter()
                .map(|mount| volume(manifest, pod, mount, around, &translate))
                .collect::<anyhow::Result<_>>()?,
            ports: pod.ports().filter_map(port).collect(),
            startup: probe("startupProbe")?,
            liveness: probe("livenessProbe")?,
            readiness: probe("readinessProbe")?,
            pre_stop: seconds(&container["lifecycle"]["preStop"]["sleep"]["seconds"], 0),
            grace: seconds(&pod.spec()["terminationGracePeriodSeconds"], 30),
        })
    }
}

impl Probe {
    fn new(pod: Pod<'_>, probe: &Value) -> anyhow::Result<Self> {
        let port = pod.port(&probe["httpGet"]["port"]).context("a port that the pod has")?;
        Ok(Self {
            path: text(&probe["httpGet"]["path"]).to_string(),
            port: port.try_into()?,
            period: seconds(&probe["periodSeconds"], 10),
            timeout: seconds(&probe["timeoutSeconds"], 1),
            failures: probe["failureThreshold"].as_u64().unwrap_or(3),
        })
    }
}

fn seconds(value: &Value, otherwise: u64) -> Duration {
    Duration::from_secs(value.as_u64().unwrap_or(otherwise))
}

/// Text of the manifest as this machine needs it: mounted paths, the address to listen on, names of Services.
fn translate(text: &str, mounts: &[Value], around: &Surroundings<'_>) -> String {
    let mut text = text.replace("0.0.0.0", &around.host.to_string());
    for mount in mounts.iter().filter_map(|mount| mount["mountPath"].as_str()) {
        // the root itself may hold a path that is mounted
        let here = format!("\0{mount}");
        // at the beginning of a value, of what stands behind `=`, or of a quoted text
        if text.starts_with(&format!("{mount}/")) {
            text.replace_range(..mount.len(), &here);
        }
        for before in ["=", "\""] {
            text = text.replace(&format!("{before}{mount}/"), &format!("{before}{here}/"));
        }
    }
    text = text.replace('\0', &around.root.display().to_string());
    if let Some((scheme, rest)) = text.split_once("://") {
        let service = rest.split('.').next().unwrap_or_default();
        if let Some(server) = (around.names)(service).filter(|_| scheme.ends_with("dns")) {
            return format!("{scheme}://{server}/{rest}");
        }
        if let Some(address) = (around.address)(service).filter(|_| scheme.ends_with("http")) {
            let path = rest.split_once('/').map_or("", |(_, path)| path);
            return format!("{scheme}://{address}/{path}");
        }
    }
    text
}

/// The variables in their order, those that use others expanded.
fn variables(
    pod: Pod<'_>,
    container: &Value,
    around: &Surroundings<'_>,
    translate: &dyn Fn(&str) -> String,
) -> anyhow::Result<Vec<(String, String)>> {
    let mut variables: Vec<(String, String)> = Vec::new();
    for variable in list(&container["env"]) {
        let mut value = match (&variable["value"], text(&variable["valueFrom"]["fieldRef"]["fieldPath"])) {
            (Value::String(value), _) => translate(value),
            (_, "metadata.name") => around.name.to_string(),
            (_, "metadata.namespace") => text(&pod.owner["metadata"]["namespace"]).to_string(),
            (_, "metadata.uid") => format!("uid-of-{}", around.name),
            (_, "spec.nodeName") => "this-machine".to_string(),
            (_, other) => bail!("a variable from `{other}`"),
        };
        for (name, earlier) in &variables {
            value = value.replace(&format!("$({name})"), earlier);
        }
        variables.push((text(&variable["name"]).to_string(), value));
    }
    Ok(variables)
}

fn volume(
    manifest: Manifest<'_>,
    pod: Pod<'_>,
    mount: &Value,
    around: &Surroundings<'_>,
    translate: &dyn Fn(&str) -> String,
) -> anyhow::Result<Volume> {
    let path = around.root.join(text(&mount["mountPath"]).trim_start_matches('/'));
    let Some(source) = list(&pod.spec()["volumes"]).iter().find(|volume| volume["name"] == mount["name"]) else {
        // a claim's: a link would do in a cluster too
        return Ok(Volume { path: around.claims.join(text(&mount["name"])), content: Content::Own });
    };
    let content = if let Some(map) = source["configMap"]["name"].as_str() {
        let map = manifest.find("ConfigMap", map).with_context(|| format!("there is no ConfigMap {map}"))?;
        let files = map["data"].as_object().into_iter().flatten();
        Content::Files(files.map(|(name, content)| (name.clone(), translate(text(content)))).collect())
    } else if let Some(name) = source["secret"]["secretName"].as_str() {
        let items = source["secret"]["items"].as_array().map(|items| {
            items.iter().map(|item| (text(&item["key"]).to_string(), text(&item["path"]).to_string())).collect()
        });
        let mode = source["secret"]["defaultMode"].as_u64().unwrap_or(0o644).try_into()?;
        Content::Secret { name: name.to_string(), items, mode }
    } else {
        Content::Own
    };
    Ok(Volume { path, content })
}
