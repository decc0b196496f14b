//! Every object read into Kubernetes' own types and written again: what does not come back is no field there.

use anyhow::{Context, bail, ensure};
use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    autoscaling::v2::HorizontalPodAutoscaler,
    core::v1::{ConfigMap, Pod, Service, ServiceAccount},
    networking::v1::{Ingress, NetworkPolicy},
    policy::v1::PodDisruptionBudget,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{
    schemas::Schemas,
    world::{chart, renders},
};

/// Reads and writes an object; fails when it is not the same after it.
pub(crate) fn round_trip(object: &Value) -> anyhow::Result<()> {
    match (object["apiVersion"].as_str(), object["kind"].as_str()) {
        (Some("apps/v1"), Some("Deployment")) => typed::<Deployment>(object),
        (Some("apps/v1"), Some("StatefulSet")) => typed::<StatefulSet>(object),
        (Some("autoscaling/v2"), Some("HorizontalPodAutoscaler")) => typed::<HorizontalPodAutoscaler>(object),
        (Some("networking.k8s.io/v1"), Some("Ingress")) => typed::<Ingress>(object),
        (Some("networking.k8s.io/v1"), Some("NetworkPolicy")) => typed::<NetworkPolicy>(object),
        (Some("policy/v1"), Some("PodDisruptionBudget")) => typed::<PodDisruptionBudget>(object),
        (Some("v1"), Some("ConfigMap")) => typed::<ConfigMap>(object),
        (Some("v1"), Some("Pod")) => typed::<Pod>(object),
        (Some("v1"), Some("Service")) => typed::<Service>(object),
        (Some("v1"), Some("ServiceAccount")) => typed::<ServiceAccount>(object),
        (version, kind) => bail!("{kind:?} of {version:?} is no kind that the chart renders"),
    }
}

fn typed<T: DeserializeOwned + Serialize>(object: &Value) -> anyhow::Result<()> {
    let read: T = serde_json::from_value(object.clone()).context("read")?;
    let written = serde_json::to_value(&read)?;
    if let Some(lost) = lost(object, &written, String::new()) {
        bail!("no such field: {lost}");
    }
    Ok(())
}

/// The first part of an object that did not come back as it was.
fn lost(before: &Value, after: &Value, path: String) -> Option<String> {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => before
            .iter()
            .find_map(|(key, value)| lost(value, after.get(key).unwrap_or(&Value::Null), format!("{path}/{key}"))),
        (Value::Array(before), Value::Array(after)) if before.len() == after.len() => {
            let mut pairs = before.iter().zip(after).enumerate();
            pairs.find_map(|(at, (before, after))| lost(before, after, format!("{path}/{at}")))
        }
        _ => (before != after).then_some(path),
    }
}

#[test]
fn every_object_of_kubernetes_survives_its_type() -> anyhow::Result<()> {
    let Some(chart) = chart("every object of Kubernetes survives its type")? else { return Ok(()) };
    let mut faults = Vec::new();
    for render in renders(&chart)? {
        for object in &render.objects {
            if Schemas::custom()?.violations(object)?.is_some() {
                continue;
            }
            if let Err(error) = round_trip(object) {
                faults.push(format!("{} {} {}: {error:#}", render.name, object["kind"], object["metadata"]["name"]));
            }
        }
    }
    ensure!(faults.is_empty(), "{}", faults.join("\n"));
    Ok(())
}
