//! `cargo xtask render`: the plain manifests, made anew from the chart.

use std::fs;

use anyhow::Context;
use moehog_tests::Chart;

use crate::workspace;

pub(crate) fn run() -> anyhow::Result<bool> {
    let path = workspace::root().join("deploy/kubernetes/embedded/moehog.yaml");
    fs::write(&path, Chart::open()?.plain()?).with_context(|| format!("write {}", path.display()))?;
    println!("wrote {}", path.display());
    Ok(true)
}
