//! A render, seen as the objects and pods it makes.

use serde_json::{Map, Value};

/// The objects of a render.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manifest<'a> {
    /// All of them.
    pub(crate) objects: &'a [Value],
}

/// The pods of a workload, or one that stands alone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pod<'a> {
    /// The workload.
    pub(crate) owner: &'a Value,
    /// Its template, or itself.
    pub(crate) template: &'a Value,
}

/// Kind and name of an object.
pub(crate) fn title(object: &Value) -> String {
    format!("{}/{}", text(&object["kind"]), text(&object["metadata"]["name"]))
}

/// A string; empty for anything else.
pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The items of a list; none for anything else.
pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// The entries of an object; none for anything else.
pub(crate) fn entries(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value.as_object().into_iter().flatten().map(|(name, value)| (name.as_str(), value))
}

/// Every value inside this one that stands under a key, with that key.
pub(crate) fn keyed<'a>(value: &'a Value, found: &mut Vec<(&'a str, &'a Value)>) {
    for (key, inner) in entries(value) {
        found.push((key, inner));
        keyed(inner, found);
    }
    for inner in list(value) {
        keyed(inner, found);
    }
}

impl<'a> Manifest<'a> {
    pub(crate) fn new(objects: &'a [Value]) -> Self {
        Self { objects }
    }

    /// The objects of a kind.
    pub(crate) fn kind(self, kind: &str) -> impl Iterator<Item = &'a Value> {
        self.objects.iter().filter(move |object| object["kind"] == kind)
    }

    /// The object of a kind and a name.
    pub(crate) fn find(self, kind: &str, name: &str) -> Option<&'a Value> {
        self.objects.iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == name)
    }

    /// Workloads that last.
    pub(crate) fn workloads(self) -> impl Iterator<Item = Pod<'a>> {
        self.pods().filter(|pod| pod.owner["kind"] != "Pod")
    }

    /// Every workload, the pod of `helm test` too.
    pub(crate) fn pods(self) -> impl Iterator<Item = Pod<'a>> {
        self.objects.iter().filter_map(|owner| match text(&owner["kind"]) {
            "Pod" => Some(Pod { owner, template: owner }),
            "Deployment" | "StatefulSet" => Some(Pod { owner, template: &owner["spec"]["template"] }),
            _ => None,
        })
    }

    /// The workloads whose pods have these labels.
    pub(crate) fn selected(self, labels: &Value) -> Vec<Pod<'a>> {
        self.pods().filter(|pod| pod.has(labels)).collect()
    }

    /// The pods of a component.
    pub(crate) fn component(self, name: &str) -> Option<Pod<'a>> {
        self.pods().find(|pod| pod.component() == name)
    }
}

impl<'a> Pod<'a> {
    /// Kind and name of the workload.
    pub(crate) fn title(self) -> String {
        title(self.owner)
    }

    pub(crate) fn labels(self) -> &'a Value {
        &self.template["metadata"]["labels"]
    }

    /// Which service it runs.
    pub(crate) fn component(self) -> &'a str {
        text(&self.labels()["app.kubernetes.io/component"])
    }

    pub(crate) fn spec(self) -> &'a Value {
        &self.template["spec"]
    }

    /// Whether a selector by labels, which is not empty, takes it.
    pub(crate) fn has(self, labels: &Value) -> bool {
        labels.as_object().is_some_and(|labels| {
            !labels.is_empty() && labels.iter().all(|(name, value)| self.labels().get(name) == Some(value))
        })
    }

    pub(crate) fn containers(self) -> impl Iterator<Item = &'a Value> {
        ["initContainers", "containers"].into_iter().flat_map(move |kind| list(&self.spec()[kind]))
    }

    /// Every port of its containers.
    pub(crate) fn ports(self) -> impl Iterator<Item = &'a Value> {
        self.containers().flat_map(|container| list(&container["ports"]))
    }

    /// The port that a name or a number means.
    pub(crate) fn port(self, wanted: &Value) -> Option<u64> {
        let found = self.ports().find(|port| match wanted {
            Value::String(name) => port["name"] == name.as_str(),
            number => port["containerPort"] == *number,
        });
        found?["containerPort"].as_u64()
    }

    /// The value of a variable that stands in the manifest.
    pub(crate) fn variable(self, name: &str) -> Option<&'a str> {
        let mut variables = self.containers().flat_map(|container| list(&container["env"]));
        variables.find(|variable| variable["name"] == name)?["value"].as_str()
    }

    /// Names of its volumes, those from claims too.
    pub(crate) fn volumes(self) -> impl Iterator<Item = &'a str> {
        let claims = list(&self.owner["spec"]["volumeClaimTemplates"]).iter().map(|claim| &claim["metadata"]["name"]);
        list(&self.spec()["volumes"]).iter().map(|volume| &volume["name"]).chain(claims).map(text)
    }

    /// The volume that a container sees at this path, and the path inside of it.
    pub(crate) fn volume_at(self, path: &'a str) -> Option<(&'a Value, &'a str)> {
        let mounts = self.containers().flat_map(|container| list(&container["volumeMounts"]));
        let (mount, inside) = mounts
            .filter_map(|mount| Some((mount, path.strip_prefix(text(&mount["mountPath"]))?.strip_prefix('/')?)))
            .min_by_key(|(_, inside)| inside.len())?;
        let volume = list(&self.spec()["volumes"]).iter().find(|volume| volume["name"] == mount["name"])?;
        Some((volume, inside))
    }
}

/// Labels as a map; empty when there are none.
pub(crate) fn labels(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}
