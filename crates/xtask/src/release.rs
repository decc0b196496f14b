//! `cargo xtask release`: writes down what the release that is being made promises to those after it.

use std::fs;

use anyhow::Context;
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
    let path = workspace::root().join("proto").join(format!("{}.binpb", version()));
    anyhow::ensure!(
        arguments.replace || !path.exists(),
        "{} is there: raise `version` in Cargo.toml first, or say --replace",
        path.display()
    );
    fs::write(&path, descriptors()?).with_context(|| format!("write {}", path.display()))?;
    println!("{}: what the services say to each other, and what the journal holds", path.display());
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
