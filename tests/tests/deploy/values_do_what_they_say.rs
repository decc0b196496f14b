//! What a value sets is in the render, where it belongs and nowhere else.

mod every_value;
mod metrics;
mod names;
mod pods;
mod services;

use anyhow::Context;
use moehog_tests::Chart;
use serde_json::Value;

use super::{
    faults::{Manifest, Pod},
    world::objects,
};

/// The objects of `ci/minimal.yaml` with these values set.
fn rendered(chart: &Chart, sets: &[&str]) -> anyhow::Result<Vec<Value>> {
    let arguments: Vec<_> = sets.iter().flat_map(|set| ["--set-json", *set]).collect();
    objects(&chart.render(&[chart.values("minimal")], &arguments)?)
}

/// An object by its kind and its name.
fn find<'a>(objects: &'a [Value], kind: &str, name: &str) -> anyhow::Result<&'a Value> {
    Manifest::new(objects).find(kind, name).with_context(|| format!("there is no {kind}/{name}"))
}

/// The pods of a component.
fn pods<'a>(objects: &'a [Value], component: &str) -> anyhow::Result<Pod<'a>> {
    Manifest::new(objects).component(component).with_context(|| format!("no pod is the {component}"))
}
