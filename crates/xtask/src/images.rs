//! `cargo xtask images`: the images of the three services and of the command line, by docker or buildah.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context, bail, ensure};

use crate::workspace;

/// The images, each with the binary of its name.
pub(crate) const IMAGES: [&str; 4] = ["moehog-gateway", "moehog-transformer", "moehog-delivery", "moehog"];

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Registry and path that the images are named by, as in ghcr.io/you.
    #[arg(long, value_name = "REGISTRY", value_parser = registry)]
    registry: String,
    /// Tag of all of them.
    #[arg(long, value_name = "TAG", default_value = env!("CARGO_PKG_VERSION"), value_parser = tag)]
    tag: String,
    /// Pushes them to the registry once all are built.
    #[arg(long)]
    push: bool,
    /// Takes the binaries from this directory, such as target/release, and builds none. They must suit glibc 2.36.
    #[arg(long, value_name = "DIRECTORY")]
    binaries: Option<PathBuf>,
    /// What builds them; by default docker where its daemon answers, else buildah.
    #[arg(long)]
    engine: Option<Engine>,
}

/// A program that builds images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Engine {
    Docker,
    Buildah,
}

/// What is to be built.
#[derive(Debug, Clone)]
struct Plan {
    engine: Engine,
    registry: String,
    tag: String,
    revision: String,
    binaries: Option<String>,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    let binaries = arguments.binaries.as_ref().map(|directory| {
        for image in IMAGES {
            ensure!(directory.join(image).is_file(), "no binary {image} in {}", directory.display());
        }
        let directory = directory.canonicalize().with_context(|| format!("find {}", directory.display()))?;
        Ok(directory.display().to_string())
    });
    let plan = Plan {
        engine: arguments.engine.map_or_else(engine, Ok)?,
        registry: arguments.registry.clone(),
        tag: arguments.tag.clone(),
        revision: revision(),
        binaries: binaries.transpose()?,
    };
    let pushes = if arguments.push { IMAGES.map(|image| plan.push(image)).to_vec() } else { Vec::new() };
    for line in IMAGES.map(|image| plan.build(image)).into_iter().chain(pushes) {
        println!("== {}", line.join(" "));
        execute(&line)?;
    }
    println!("\n{}", plan.next(arguments.push));
    Ok(true)
}

impl Plan {
    fn name(&self, image: &str) -> String {
        format!("{}/{image}:{}", self.registry, self.tag)
    }

    /// The command line that builds an image.
    fn build(&self, image: &str) -> Vec<String> {
        let mut line = match self.engine {
            Engine::Docker => vec!["docker", "build"],
            // without layers each image would build the binaries anew
            Engine::Buildah => vec!["buildah", "build", "--layers"],
        };
        line.extend(["--file", "deploy/Dockerfile"]);
        let mut line: Vec<String> = line.into_iter().map(str::to_string).collect();
        line.extend(["--build-arg".to_string(), format!("SERVICE={image}")]);
        // labels, not arguments of the build: buildah 1.28 takes a layer from its cache although an argument changed
        for (name, value) in [("version", &self.tag), ("revision", &self.revision)] {
            line.extend(["--label".to_string(), format!("org.opencontainers.image.{name}={value}")]);
        }
        if let Some(directory) = &self.binaries {
            line.extend(["--build-context".to_string(), format!("binaries={directory}")]);
        }
        line.extend(["--tag".to_string(), self.name(image), ".".to_string()]);
        line
    }

    /// The command line that pushes an image.
    fn push(&self, image: &str) -> Vec<String> {
        let program = match self.engine {
            Engine::Docker => "docker",
            Engine::Buildah => "buildah",
        };
        vec![program.to_string(), "push".to_string(), self.name(image)]
    }

    /// What to do with the images.
    fn next(&self, pushed: bool) -> String {
        let mut lines = Vec::new();
        let each = |line: &dyn Fn(&str) -> String| IMAGES.map(|image| format!("  {}", line(image)));
        if !pushed {
            lines.push("push them (or run this again with --push):".to_string());
            lines.extend(each(&|image| self.push(image).join(" ")));
            lines.push("or, for a kind cluster on this machine:".to_string());
            match self.engine {
                Engine::Docker => {
                    lines.push(format!("  kind load docker-image {}", IMAGES.map(|image| self.name(image)).join(" ")));
                }
                Engine::Buildah => lines.extend(each(&|image| {
                    let name = self.name(image);
                    format!(
                        "buildah push {name} docker-archive:{image}.tar:{name} && kind load image-archive {image}.tar"
                    )
                })),
            }
        }
        lines.push("then:".to_string());
        lines.push(format!(
            "  helm install moehog deploy/helm/moehog -n moehog --set image.registry={} --set-string image.tag={}",
            self.registry, self.tag
        ));
        lines.join("\n")
    }
}

/// Reads the registry and path that images are named by.
pub(crate) fn registry(text: &str) -> Result<String, String> {
    let text = text.trim_end_matches('/');
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || "._-/:".contains(letter);
    if text.is_empty() || text.contains("://") || !text.chars().all(allowed) || text != text.to_lowercase() {
        return Err("a registry and a path in small letters, without https://, as in ghcr.io/you".to_string());
    }
    Ok(text.to_string())
}

fn tag(text: &str) -> Result<String, String> {
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
    match text {
        "" => Err("a tag, as in 0.1.0".to_string()),
        "latest" => Err("a pod that restarts must not change its version: give the tag a version".to_string()),
        _ if text.chars().all(allowed) && !text.starts_with(['.', '-']) => Ok(text.to_string()),
        _ => Err("letters, digits, `.`, `_` and `-`".to_string()),
    }
}

/// The first engine that answers.
fn engine() -> anyhow::Result<Engine> {
    let answers = |program: &str, argument: &str| {
        let mut command = Command::new(program);
        command.arg(argument).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    match (answers("docker", "info"), answers("buildah", "--version")) {
        (true, _) => Ok(Engine::Docker),
        (false, true) => Ok(Engine::Buildah),
        (false, false) => bail!(
            "nothing here builds images: no docker daemon answers (`docker info`) and there is no buildah; start docker, \
             or install buildah (Debian: apt install buildah)"
        ),
    }
}

/// The commit that the tree is at, with `-changed` where it differs.
fn revision() -> String {
    let Some(commit) = workspace::git(&["rev-parse", "HEAD"]) else { return "unknown".to_string() };
    let changed = workspace::git(&["status", "--porcelain"]).is_none_or(|changes| !changes.is_empty());
    if changed { format!("{commit}-changed") } else { commit }
}

fn execute(line: &[String]) -> anyhow::Result<()> {
    let (program, arguments) = line.split_first().context("a command line")?;
    let mut command = Command::new(program);
    // the Dockerfile's cache mounts are BuildKit's
    command.args(arguments).current_dir(workspace::root()).env("DOCKER_BUILDKIT", "1").stdin(Stdio::null());
    let status = command.status().with_context(|| format!("start {program}"))?;
    ensure!(status.success(), "{program} {}: {status}", arguments.first().map(String::as_str).unwrap_or_default());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(engine: Engine) -> Plan {
        let (registry, tag, revision) = ("ghcr.io/you".to_string(), "0.1.0".to_string(), "5066194".to_string());
        Plan { engine, registry, tag, revision, binaries: None }
    }

    #[test]
    fn an_image_is_built_of_its_binary_and_named_by_the_registry() {
        let line = plan(Engine::Docker).build("moehog-delivery").join(" ");
        assert_eq!(
            line,
            "docker build --file deploy/Dockerfile --build-arg SERVICE=moehog-delivery \
             --label org.opencontainers.image.version=0.1.0 --label org.opencontainers.image.revision=5066194 \
             --tag ghcr.io/you/moehog-delivery:0.1.0 ."
        );
    }

    #[test]
    fn buildah_keeps_layers_so_that_four_images_cost_one_build() {
        assert_eq!(plan(Engine::Buildah).build("moehog")[..3], ["buildah", "build", "--layers"]);
    }

    #[test]
    fn binaries_that_are_there_take_the_place_of_the_build() {
        let plan = Plan { binaries: Some("/src/target/release".to_string()), ..plan(Engine::Docker) };
        assert!(plan.build("moehog").join(" ").contains(" --build-context binaries=/src/target/release "));
    }

    #[test]
    fn what_is_not_pushed_is_told_how_to_get_to_a_cluster() {
        let docker = plan(Engine::Docker).next(false);
        assert!(docker.contains("  docker push ghcr.io/you/moehog-gateway:0.1.0\n"), "{docker}");
        assert!(docker.contains("  kind load docker-image ghcr.io/you/moehog-gateway:0.1.0 "), "{docker}");
        let buildah = plan(Engine::Buildah).next(false);
        assert!(
            buildah
                .contains(" docker-archive:moehog.tar:ghcr.io/you/moehog:0.1.0 && kind load image-archive moehog.tar")
        );
        let pushed = plan(Engine::Docker).next(true);
        assert!(!pushed.contains("push") && pushed.contains("--set image.registry=ghcr.io/you"), "{pushed}");
    }

    #[test]
    fn the_dockerfile_builds_the_binary_of_each_image() {
        let file = std::fs::read_to_string(workspace::root().join("deploy/Dockerfile")).unwrap();
        let words: Vec<_> = file.split_whitespace().collect();
        for image in IMAGES {
            assert!(words.windows(2).any(|pair| pair == ["--package", image]), "{image} is not built");
        }
    }

    #[test]
    fn names_that_a_registry_or_the_chart_refuses_are_refused() {
        assert_eq!(registry("ghcr.io/you/"), Ok("ghcr.io/you".to_string()));
        assert_eq!(registry("localhost:5000"), Ok("localhost:5000".to_string()));
        for wrong in ["", "/", "https://ghcr.io/you", "ghcr.io/You", "a b"] {
            assert!(registry(wrong).is_err(), "{wrong}");
        }
        assert!(tag("0.1.0-rc.1").is_ok());
        for wrong in ["", "latest", "a:b", "-x"] {
            assert!(tag(wrong).is_err(), "{wrong}");
        }
    }
}
