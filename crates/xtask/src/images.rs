//! `cargo xtask images`: the images of the three services and of the command line, by docker or buildah.

mod bases;

use std::{
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context, bail, ensure};

use self::bases::Bases;
use crate::workspace;

/// The images, each with the binary of its name.
const IMAGES: [&str; 4] = ["moehog-gateway", "moehog-transformer", "moehog-delivery", "moehog"];

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Registry and path that the images are named by, as in ghcr.io/you.
    #[arg(long, value_name = "REGISTRY", value_parser = registry, required_unless_present = "pin")]
    registry: Option<String>,
    /// Tag of all of them.
    #[arg(long, value_name = "TAG", default_value = env!("CARGO_PKG_VERSION"), value_parser = tag)]
    tag: String,
    /// Pushes them to the registry once all are built.
    #[arg(long)]
    push: bool,
    /// Takes the binaries from this directory, such as target/release, and builds none. They must suit glibc 2.36.
    #[arg(long, value_name = "DIRECTORY")]
    binaries: Option<PathBuf>,
    /// Kinds of machine that they are for, as in linux/amd64,linux/arm64; this machine's own where none is named. Several are pushed
    /// under one name, of which each machine takes its own.
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = ["linux/amd64", "linux/arm64"])]
    platform: Vec<String>,
    /// Builds nothing: asks the registry for the digests of the base images and writes them into deploy/base-images.env.
    #[arg(long, conflicts_with_all = ["push", "binaries", "platform"])]
    pin: bool,
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
    platforms: Vec<String>,
    push: bool,
    bases: Bases,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    let engine = arguments.engine.map_or_else(engine, Ok)?;
    if arguments.pin {
        bases::pin(engine)?;
        return Ok(true);
    }
    let binaries = arguments.binaries.as_ref().map(|directory| {
        for image in IMAGES {
            ensure!(directory.join(image).is_file(), "no binary {image} in {}", directory.display());
        }
        let directory = directory.canonicalize().with_context(|| format!("find {}", directory.display()))?;
        Ok(directory.display().to_string())
    });
    let plan = Plan {
        engine,
        registry: arguments.registry.clone().context("--registry")?,
        tag: arguments.tag.clone(),
        revision: revision(),
        binaries: binaries.transpose()?,
        platforms: arguments.platform.clone(),
        push: arguments.push,
        bases: Bases::read()?,
    };
    plan.check()?;
    if let unpinned @ [_, ..] = &plan.bases.unpinned()[..] {
        println!("not pinned: {}; `cargo xtask images --pin` writes their digests", unpinned.join(", "));
    }
    for line in IMAGES.iter().filter_map(|image| plan.forget(image)) {
        // where there is none, nothing is to be forgotten
        drop(execute(&line));
    }
    let pushes = IMAGES.iter().filter(|_| plan.push).filter_map(|image| plan.push(image));
    for line in IMAGES.iter().map(|image| plan.build(image)).chain(pushes) {
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

    /// Refuses what an engine cannot do.
    fn check(&self) -> anyhow::Result<()> {
        let several = self.platforms.len() > 1;
        ensure!(
            !(several && self.binaries.is_some()),
            "--binaries are of one kind of machine: build each --platform by itself, or without --binaries"
        );
        ensure!(
            !(several && self.engine == Engine::Docker) || self.push,
            "docker keeps images of one kind of machine: add --push, or name one --platform"
        );
        Ok(())
    }

    /// The name stands for several images, a list.
    fn is_list(&self) -> bool {
        self.platforms.len() > 1
    }

    /// The command line that removes the list of a build before: buildah would add to it.
    fn forget(&self, image: &str) -> Option<Vec<String>> {
        let name = self.name(image);
        (self.is_list() && self.engine == Engine::Buildah)
            .then(|| ["buildah", "manifest", "rm", &name].map(Into::into).into())
    }

    /// The command line that builds an image.
    fn build(&self, image: &str) -> Vec<String> {
        let mut line = match (self.engine, &self.platforms[..]) {
            (Engine::Docker, []) => vec!["docker", "build"],
            (Engine::Docker, [_]) => vec!["docker", "buildx", "build", "--load"],
            // a list cannot be kept here: it is pushed as it is built
            (Engine::Docker, _) => vec!["docker", "buildx", "build", "--push"],
            // without layers each image would build the binaries anew
            (Engine::Buildah, _) => vec!["buildah", "build", "--layers"],
        };
        let platforms = self.platforms.join(",");
        if !platforms.is_empty() {
            line.extend(["--platform", &platforms]);
        }
        line.extend(["--file", "deploy/Dockerfile"]);
        let mut line: Vec<String> = line.into_iter().map(str::to_string).collect();
        line.extend(["--build-arg".to_string(), format!("SERVICE={image}")]);
        line.extend(self.bases.arguments());
        // labels, not arguments of the build: buildah 1.28 takes a layer from its cache although an argument changed
        for (name, value) in [("version", &self.tag), ("revision", &self.revision)] {
            line.extend(["--label".to_string(), format!("org.opencontainers.image.{name}={value}")]);
        }
        if let Some(directory) = &self.binaries {
            line.extend(["--build-context".to_string(), format!("binaries={directory}")]);
        }
        let named = if self.is_list() && self.engine == Engine::Buildah { "--manifest" } else { "--tag" };
        line.extend([named.to_string(), self.name(image), ".".to_string()]);
        line
    }

    /// The command line that pushes an image; none where its build has.
    fn push(&self, image: &str) -> Option<Vec<String>> {
        let name = self.name(image);
        let there = format!("docker://{name}");
        let line = match (self.engine, self.is_list()) {
            (Engine::Docker, true) => return None,
            (Engine::Docker, false) => vec!["docker", "push", &name],
            (Engine::Buildah, false) => vec!["buildah", "push", &name],
            (Engine::Buildah, true) => vec!["buildah", "manifest", "push", "--all", &name, &there],
        };
        Some(line.into_iter().map(str::to_string).collect())
    }

    /// What to do with the images.
    fn next(&self, pushed: bool) -> String {
        let mut lines = Vec::new();
        let each = |line: &dyn Fn(&str) -> String| IMAGES.map(|image| format!("  {}", line(image)));
        if !pushed {
            lines.push("push them (or run this again with --push):".to_string());
            lines.extend(each(&|image| self.push(image).unwrap_or_default().join(" ")));
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

fn registry(text: &str) -> Result<String, String> {
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
        let bases = Bases::parse("RUST=rust@sha256:12\nRUNTIME=cc\n").unwrap();
        Plan { engine, registry, tag, revision, binaries: None, platforms: Vec::new(), push: false, bases }
    }

    #[test]
    fn images_for_several_kinds_of_machine_are_one_name_for_each_engine() {
        let several = ["linux/amd64", "linux/arm64"].map(str::to_string).to_vec();
        let docker = Plan { platforms: several.clone(), push: true, ..plan(Engine::Docker) };
        let line = docker.build("moehog").join(" ");
        assert!(line.starts_with("docker buildx build --push --platform linux/amd64,linux/arm64 --file "), "{line}");
        assert_eq!((docker.push("moehog"), docker.forget("moehog")), (None, None));
        let buildah = Plan { platforms: several.clone(), ..plan(Engine::Buildah) };
        let line = buildah.build("moehog").join(" ");
        assert!(line.starts_with("buildah build --layers --platform linux/amd64,linux/arm64 "), "{line}");
        assert!(line.ends_with(" --manifest ghcr.io/you/moehog:0.1.0 ."), "{line}");
        let pushed = buildah.push("moehog").unwrap().join(" ");
        assert_eq!(pushed, "buildah manifest push --all ghcr.io/you/moehog:0.1.0 docker://ghcr.io/you/moehog:0.1.0");
        assert_eq!(buildah.forget("moehog").unwrap().join(" "), "buildah manifest rm ghcr.io/you/moehog:0.1.0");
        let one = Plan { platforms: vec!["linux/arm64".to_string()], ..plan(Engine::Docker) };
        let line = one.build("moehog").join(" ");
        assert!(line.starts_with("docker buildx build --load --platform linux/arm64 "), "{line}");
        assert!(one.check().is_ok() && docker.check().is_ok() && buildah.check().is_ok());
        let kept = Plan { platforms: several.clone(), ..plan(Engine::Docker) };
        assert!(kept.check().unwrap_err().to_string().contains("--push"));
        let mixed = Plan { binaries: Some("d".to_string()), ..buildah };
        assert!(mixed.check().unwrap_err().to_string().contains("--binaries"));
    }

    #[test]
    fn an_image_is_built_of_its_binary_and_named_by_the_registry() {
        let line = plan(Engine::Docker).build("moehog-delivery").join(" ");
        assert_eq!(
            line,
            "docker build --file deploy/Dockerfile --build-arg SERVICE=moehog-delivery \
             --build-arg RUST=rust@sha256:12 --build-arg RUNTIME=cc --label org.opencontainers.image.version=0.1.0 --label org.opencontainers.image.revision=5066194 \
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
