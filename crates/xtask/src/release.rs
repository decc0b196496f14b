//! `cargo xtask release`: writes down what the release that is being made promises to those after it.

use std::fs;

use anyhow::{Context, ensure};
use prost::Message;
use prost_types::FileDescriptorSet;

use crate::workspace;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Replaces what is there for this version.
    #[arg(long)]
    replace: bool,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    let descriptor = workspace::root().join("proto").join(format!("{}.binpb", version()));
    let journal = workspace::root().join("crates/journal/testdata").join(version());
    for path in [&descriptor, &journal] {
        ensure!(
            arguments.replace || !path.exists(),
            "{} is there: raise `version` in Cargo.toml first, or say --replace",
            path.display()
        );
    }
    fs::write(&descriptor, descriptors()?).with_context(|| format!("write {}", descriptor.display()))?;
    println!("{}: what the services say to each other, and what the journal holds", descriptor.display());
    if journal.exists() {
        fs::remove_dir_all(&journal).with_context(|| format!("remove {}", journal.display()))?;
    }
    let written = workspace::cargo()
        .args(["test", "--quiet", "--package", "moehog-journal", "--test", "formats"])
        .args(["write_the_directory_of_this_release", "--", "--ignored", "--exact"])
        .status()
        .context("start cargo test")?;
    ensure!(written.success() && journal.is_dir(), "the journal's directory was not written: {written}");
    println!("{}: a journal as this version writes it, and what it finds in it", journal.display());
    println!("commit both and tag; then write the tag into .cargo/last-release");
    Ok(true)
}

/// `0.1` of `0.1.0`.
fn version() -> String {
    format!("{}.{}", env!("CARGO_PKG_VERSION_MAJOR"), env!("CARGO_PKG_VERSION_MINOR"))
}

/// The protos of this tree, without their comments.
fn descriptors() -> anyhow::Result<Vec<u8>> {
    let mut set = FileDescriptorSet::decode(moehog_proto::DESCRIPTORS)?;
    for file in &mut set.file {
        file.source_code_info = None;
    }
    Ok(set.encode_to_vec())
}
