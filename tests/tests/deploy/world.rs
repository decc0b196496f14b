//! The chart's renders, each made once, and a PostHog for what runs.

use std::{io, sync::OnceLock, time::Duration};

use anyhow::Context;
use moehog_emulator::posthog::{Config, PostHog, Running};
use moehog_tests::{Chart, skip};
use serde_json::Value;

/// The key of the one project.
pub(crate) const KEY: &str = "phc_tests";
/// How long anything may take on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// Starts a PostHog that knows [`KEY`].
pub(crate) fn posthog() -> io::Result<Running> {
    Ok(PostHog::bind(([127, 0, 0, 1], 0).into(), Config::with_keys([KEY]))?.start())
}

/// What one set of values renders.
#[derive(Debug, Clone)]
pub(crate) struct Render {
    /// The file of `ci/`.
    pub(crate) name: String,
    /// As printed by helm.
    pub(crate) text: String,
    /// Its objects.
    pub(crate) objects: Vec<Value>,
}

/// The chart; none on a machine that cannot have helm, which is then said of the test of this name.
pub(crate) fn chart(test: &str) -> anyhow::Result<Option<Chart>> {
    match Chart::open() {
        Ok(chart) => Ok(Some(chart)),
        Err(error) => skip(test, &error).map(|()| None),
    }
}

/// Every render of the chart.
pub(crate) fn renders(chart: &Chart) -> anyhow::Result<Vec<Render>> {
    static RENDERS: OnceLock<Result<Vec<Render>, String>> = OnceLock::new();
    let renders = RENDERS.get_or_init(|| every(chart).map_err(|error| format!("{error:#}")));
    renders.clone().map_err(anyhow::Error::msg)
}

fn every(chart: &Chart) -> anyhow::Result<Vec<Render>> {
    let render = |(name, values): (String, Vec<_>)| {
        let text = chart.render(&values, &[]).with_context(|| format!("render ci/{name}.yaml"))?;
        Ok(Render { objects: objects(&text).with_context(|| name.clone())?, name, text })
    };
    chart.cases()?.into_iter().map(render).collect()
}

/// The objects of a manifest.
pub(crate) fn objects(manifest: &str) -> anyhow::Result<Vec<Value>> {
    let objects: Vec<Value> = serde_saphyr::from_multiple(manifest).context("read YAML")?;
    Ok(objects.into_iter().filter(|object| !object.is_null()).collect())
}
