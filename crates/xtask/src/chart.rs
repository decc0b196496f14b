//! `cargo xtask chart`: the Helm chart as a package that others install, with what only the one who publishes it knows.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};
use moehog_tests::Chart;

#[cfg(test)]
mod tests;

/// Where values.yaml says that there is no registry.
const NO_REGISTRY: &str = "  registry: \"\"\n";

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Directory that the package is written into.
    #[arg(long, value_name = "DIRECTORY")]
    package: PathBuf,
    /// Registry and path of the images, as in `cargo xtask images`: the package's default for image.registry.
    #[arg(long, value_name = "REGISTRY", value_parser = crate::images::registry)]
    registry: Option<String>,
    /// Where the source of moehog is published: home and sources of the package.
    #[arg(long, value_name = "URL", value_parser = url)]
    home: Option<String>,
    /// Pushes the package to this OCI registry, as in oci://ghcr.io/you/charts. Log in first: helm registry login, or docker login.
    #[arg(long, value_name = "OCI", value_parser = oci)]
    push: Option<String>,
    /// Pushes without TLS, as to a registry on this machine.
    #[arg(long, requires = "push")]
    plain_http: bool,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    let chart = Chart::open()?;
    fs::create_dir_all(&arguments.package).with_context(|| format!("make {}", arguments.package.display()))?;
    let package = package(&chart, arguments)?;
    println!("packed {}", package.display());
    let Some(registry) = &arguments.push else {
        println!("\npush it (or run this again with --push):\n  helm push {} oci://…", package.display());
        return Ok(true);
    };
    let more: &[&str] = if arguments.plain_http { &["--plain-http"] } else { &[] };
    println!("{}", chart.push(&package, registry, more)?);
    println!("\nthen:\n  helm install moehog {registry}/moehog --version {} -n moehog", env!("CARGO_PKG_VERSION"));
    Ok(true)
}

/// Packs a copy of the chart that says what the arguments say.
fn package(chart: &Chart, arguments: &Arguments) -> anyhow::Result<PathBuf> {
    let directory = tempfile::tempdir()?;
    let copy = directory.path().join("moehog");
    copy_directory(chart.directory(), &copy)?;
    if let Some(registry) = &arguments.registry {
        edit(&copy.join("values.yaml"), |values| {
            ensure!(values.matches(NO_REGISTRY).count() == 1, "image.registry has a default already");
            Ok(values.replace(NO_REGISTRY, &format!("  registry: \"{registry}\"\n")))
        })?;
    }
    edit(&copy.join("Chart.yaml"), |about| {
        let mut about = about;
        if let Some(home) = &arguments.home {
            about = format!("home: {home}\nsources: [{home}]\n{about}");
        }
        if let Some(registry) = &arguments.registry {
            about += &images(registry);
        }
        Ok(about)
    })?;
    chart.package(&copy, &arguments.package)
}

/// The images of the package, as Artifact Hub reads them; the annotations are the end of Chart.yaml.
fn images(registry: &str) -> String {
    let image =
        |name| format!("    - {{ name: {name}, image: \"{registry}/{name}:{}\" }}\n", env!("CARGO_PKG_VERSION"));
    format!("  artifacthub.io/images: |\n{}", crate::images::IMAGES.map(image).concat())
}

fn edit(path: &Path, change: impl FnOnce(String) -> anyhow::Result<String>) -> anyhow::Result<()> {
    let before = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    fs::write(path, change(before)?).with_context(|| format!("write {}", path.display()))
}

fn copy_directory(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to).with_context(|| format!("make {}", to.display()))?;
    for entry in from.read_dir().with_context(|| format!("read {}", from.display()))? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy_directory(&source, &target)?;
        } else {
            fs::copy(&source, &target).with_context(|| format!("copy {}", source.display()))?;
        }
    }
    Ok(())
}

fn url(text: &str) -> Result<String, String> {
    match text.split_once("://") {
        Some(("https" | "http", rest)) if !rest.is_empty() && !text.contains(char::is_whitespace) => {
            Ok(text.to_string())
        }
        _ => Err("a URL, as in https://git.example.com/moehog".to_string()),
    }
}

fn oci(text: &str) -> Result<String, String> {
    match text.strip_prefix("oci://").map(|rest| rest.trim_end_matches('/')) {
        Some(rest) if !rest.is_empty() => Ok(format!("oci://{rest}")),
        _ => Err("a registry and a path, as in oci://ghcr.io/you/charts".to_string()),
    }
}
