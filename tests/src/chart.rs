//! The Helm chart, rendered.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context;

use crate::tools::{Tools, root, stdout};

/// What helm says that an install would do.
#[derive(Debug, Clone)]
pub struct Install {
    /// The objects, but those of `helm test`.
    pub manifest: String,
    /// What it tells the person who installs.
    pub notes: String,
}

/// The chart `deploy/helm/moehog`.
#[derive(Debug, Clone)]
pub struct Chart {
    tools: Tools,
    directory: PathBuf,
}

impl Chart {
    /// The chart of this source tree.
    ///
    /// # Errors
    ///
    /// There is no helm.
    pub fn open() -> anyhow::Result<Self> {
        Ok(Self { tools: Tools::fetch()?, directory: root().join("deploy/helm/moehog") })
    }

    /// Where it lies.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Sets of values that everything the chart can render is rendered by: each file of `ci/`, named for it. `ha` is `values-ha.yaml`
    /// beneath `ci/ha.yaml`.
    ///
    /// # Errors
    ///
    /// `ci/` cannot be read.
    pub fn cases(&self) -> anyhow::Result<Vec<(String, Vec<PathBuf>)>> {
        let mut cases = Vec::new();
        for entry in self.directory.join("ci").read_dir().context("read ci/ of the chart")? {
            let path = entry?.path();
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let beneath = (name == "ha").then(|| self.directory.join("values-ha.yaml"));
            cases.push((name, beneath.into_iter().chain([path]).collect()));
        }
        cases.sort();
        Ok(cases)
    }

    /// A values file of `ci/`.
    #[must_use]
    pub fn values(&self, name: &str) -> PathBuf {
        self.directory.join("ci").join(name).with_extension("yaml")
    }

    /// What `helm template` makes of these values for the release `moehog` in the namespace `moehog`; `more` are further arguments.
    ///
    /// # Errors
    ///
    /// The values are refused; helm's message is the error's.
    pub fn render<P: AsRef<Path>>(&self, values: &[P], more: &[&str]) -> anyhow::Result<String> {
        self.render_as("moehog", "moehog", values, more)
    }

    /// The same for a release of another name, or elsewhere.
    ///
    /// # Errors
    ///
    /// The values are refused; helm's message is the error's.
    pub fn render_as<P: AsRef<Path>>(
        &self,
        release: &str,
        namespace: &str,
        values: &[P],
        more: &[&str],
    ) -> anyhow::Result<String> {
        stdout(self.helm(&["template", release], values).args(["--namespace", namespace]).args(more))
    }

    /// What helm tells the person who installs with these values.
    ///
    /// # Errors
    ///
    /// The values are refused.
    pub fn notes<P: AsRef<Path>>(&self, values: &[P]) -> anyhow::Result<String> {
        Ok(self.install(values, &["--dry-run=client"])?.notes)
    }

    /// What `helm install` would do with these values in the cluster that a file leads to, and tell.
    ///
    /// # Errors
    ///
    /// The values are refused; helm's message is the error's.
    pub fn install_into<P: AsRef<Path>>(
        &self,
        kubeconfig: &Path,
        values: &[P],
        more: &[&str],
    ) -> anyhow::Result<Install> {
        let kubeconfig = format!("--kubeconfig={}", kubeconfig.display());
        let dry = ["--dry-run=server", "--disable-openapi-validation", "--take-ownership", &kubeconfig];
        self.install(values, &[&dry, more].concat())
    }

    fn install<P: AsRef<Path>>(&self, values: &[P], more: &[&str]) -> anyhow::Result<Install> {
        let mut helm = self.helm(&["install", "moehog"], values);
        let printed = stdout(helm.args(["--namespace", "moehog"]).args(more))?;
        let (manifest, notes) = printed.split_once("\nNOTES:\n").context("notes")?;
        let (_, manifest) = manifest.split_once("\nMANIFEST:\n").context("a manifest")?;
        Ok(Install { manifest: manifest.to_string(), notes: notes.to_string() })
    }

    /// `helm lint --strict`.
    ///
    /// # Errors
    ///
    /// It complains.
    pub fn lint<P: AsRef<Path>>(&self, values: &[P]) -> anyhow::Result<String> {
        stdout(&mut self.helm(&["lint", "--strict"], values))
    }

    /// What `deploy/kubernetes/embedded/moehog.yaml` must be.
    ///
    /// # Errors
    ///
    /// The chart does not render.
    pub fn plain(&self) -> anyhow::Result<String> {
        self.render(&[self.values("embedded")], &[])
    }

    /// A command of helm on the chart with these values.
    fn helm<P: AsRef<Path>>(&self, command: &[&str], values: &[P]) -> Command {
        let mut helm = self.tools.helm();
        helm.args(command).arg(&self.directory);
        for file in values {
            helm.arg("--values").arg(file.as_ref());
        }
        helm
    }
}
