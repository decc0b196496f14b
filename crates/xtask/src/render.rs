//! `cargo xtask render`: what is made of the chart and committed, made anew: the plain manifests and the table of values.

use std::fs;

use anyhow::Context;
use moehog_tests::Chart;

use crate::workspace;

pub(crate) fn run() -> anyhow::Result<bool> {
    let chart = Chart::open()?;
    for (path, content) in [
        (workspace::root().join("deploy/kubernetes/embedded/moehog.yaml"), chart.plain()?),
        (chart.directory().join("README.md"), chart.readme()?),
    ] {
        fs::write(&path, content).with_context(|| format!("write {}", path.display()))?;
        println!("wrote {}", path.display());
    }
    Ok(true)
}
