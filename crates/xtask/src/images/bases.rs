//! The images that ours are built on: `deploy/base-images.env`, and their digests.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use super::Engine;
use crate::workspace;

/// The arguments of the Dockerfile that name a base image.
pub(super) const NAMES: [&str; 2] = ["RUST", "RUNTIME"];

/// `RUST=image`, line by line, each with its digest where it is pinned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bases(Vec<(String, String)>);

impl Bases {
    pub(super) fn read() -> anyhow::Result<Self> {
        let path = path();
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("base images of {}", path.display()))
    }

    pub(super) fn parse(text: &str) -> anyhow::Result<Self> {
        let lines = text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
        let pair = |line: &str| line.split_once('=').map(|(name, image)| (name.to_string(), image.to_string()));
        let pairs: Option<Vec<_>> = lines.map(pair).collect();
        let pairs = pairs.context("a line is not NAME=IMAGE")?;
        let names: Vec<_> = pairs.iter().map(|(name, _)| name.as_str()).collect();
        ensure!(names == NAMES, "it names {names:?}, and the Dockerfile asks for {NAMES:?}");
        Ok(Self(pairs))
    }

    /// The arguments of a build.
    pub(super) fn arguments(&self) -> impl Iterator<Item = String> {
        self.0.iter().flat_map(|(name, image)| ["--build-arg".to_string(), format!("{name}={image}")])
    }

    /// Those without a digest.
    pub(super) fn unpinned(&self) -> Vec<&str> {
        self.0.iter().map(|(_, image)| image.as_str()).filter(|image| !image.contains('@')).collect()
    }

    /// Their names without a digest.
    pub(super) fn tags(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, image)| (name.as_str(), image.split('@').next().unwrap_or(image)))
    }
}

/// Asks the registry for the digest of each tag, and writes it into the file.
pub(super) fn pin(engine: Engine) -> anyhow::Result<()> {
    let path = path();
    let mut text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    for (name, tag) in Bases::parse(&text)?.tags() {
        let digest = digest(engine, tag).with_context(|| format!("ask for the digest of {tag}"))?;
        text = with_digest(&text, name, tag, &digest);
        println!("{name}={tag}@{digest}");
    }
    fs::write(&path, text).with_context(|| format!("write {}", path.display()))
}

/// The file with this image in the line of this name.
fn with_digest(text: &str, name: &str, tag: &str, digest: &str) -> String {
    let begins = format!("{name}=");
    let line =
        |line: &str| if line.starts_with(&begins) { format!("{begins}{tag}@{digest}\n") } else { format!("{line}\n") };
    text.lines().map(line).collect()
}

/// The digest of the list of all platforms, so that each platform's build finds its own.
fn digest(engine: Engine, tag: &str) -> anyhow::Result<String> {
    let line = digest_command(engine, tag);
    let output = Command::new(&line[0]).args(&line[1..]).output().with_context(|| format!("start {}", line[0]))?;
    ensure!(output.status.success(), "{}: {}", line.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    digest_of(&String::from_utf8_lossy(&output.stdout))
}

fn digest_command(engine: Engine, tag: &str) -> Vec<String> {
    let line: Vec<String> = match engine {
        Engine::Docker => {
            ["docker", "buildx", "imagetools", "inspect", "--format", "{{json .Manifest}}", tag].map(Into::into).into()
        }
        // buildah knows no digest of a list; skopeo comes from the same people
        Engine::Buildah => ["skopeo", "inspect", "--no-tags", &format!("docker://{tag}")].map(Into::into).into(),
    };
    line
}

/// Both engines answer with JSON, and differ in the first letter.
fn digest_of(answer: &str) -> anyhow::Result<String> {
    let json: Value = serde_json::from_str(answer).context("the answer is no JSON")?;
    let digest = json["digest"].as_str().or(json["Digest"].as_str()).context("the answer holds no digest")?;
    match digest.strip_prefix("sha256:") {
        Some(hex) if hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()) => Ok(digest.to_string()),
        _ => bail!("`{digest}` is no digest"),
    }
}

fn path() -> PathBuf {
    workspace::root().join("deploy/base-images.env")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn the_dockerfile_and_the_file_name_the_same_images() {
        let file = fs::read_to_string(workspace::root().join("deploy/Dockerfile")).unwrap();
        for (name, tag) in Bases::read().unwrap().tags() {
            assert!(file.lines().any(|line| line == format!("ARG {name}={tag}")), "ARG {name} is not {tag}");
        }
    }

    #[test]
    fn a_digest_is_written_behind_the_tag_and_replaces_the_one_before() {
        let text = "# a word\nRUST=a/rust:1\nRUNTIME=b/cc:nonroot\n";
        let once = with_digest(text, "RUNTIME", "b/cc:nonroot", "sha256:old");
        assert_eq!(once, "# a word\nRUST=a/rust:1\nRUNTIME=b/cc:nonroot@sha256:old\n");
        let bases = Bases::parse(&once).unwrap();
        assert_eq!(bases.unpinned(), ["a/rust:1"]);
        assert_eq!(bases.tags().collect::<Vec<_>>(), [("RUST", "a/rust:1"), ("RUNTIME", "b/cc:nonroot")]);
        let twice = with_digest(&once, "RUNTIME", "b/cc:nonroot", DIGEST);
        assert!(twice.ends_with(&format!("RUNTIME=b/cc:nonroot@{DIGEST}\n")) && twice.lines().count() == 3, "{twice}");
        assert!(Bases::parse("RUST=a\n").is_err() && Bases::parse("RUST\n").is_err());
    }

    #[test]
    fn only_what_is_a_digest_is_taken_for_one() {
        assert_eq!(digest_of(&format!(r#"{{"mediaType":"x","digest":"{DIGEST}"}}"#)).unwrap(), DIGEST);
        assert_eq!(digest_of(&format!(r#"{{"Name":"x","Digest":"{DIGEST}"}}"#)).unwrap(), DIGEST);
        for wrong in ["", "{}", r#"{"digest":"sha256:12"}"#, r#"{"digest":"latest"}"#] {
            assert!(digest_of(wrong).is_err(), "{wrong}");
        }
    }
}
