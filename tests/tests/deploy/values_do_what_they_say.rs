//! What a value sets is in the render, where it belongs and nowhere else.

mod names;

use anyhow::Context;
use serde_json::Value;

use super::faults::{Manifest, Pod};

/// An object by its kind and its name.
fn find<'a>(objects: &'a [Value], kind: &str, name: &str) -> anyhow::Result<&'a Value> {
    Manifest::new(objects).find(kind, name).with_context(|| format!("there is no {kind}/{name}"))
}

/// The pods of a component.
fn pods<'a>(objects: &'a [Value], component: &str) -> anyhow::Result<Pod<'a>> {
    Manifest::new(objects).component(component).with_context(|| format!("no pod is the {component}"))
}
