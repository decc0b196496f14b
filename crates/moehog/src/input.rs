//! What a command is given to look at.

use std::{
    fs,
    io::{self, Read},
    path::Path,
};

use anyhow::Context;

/// Reads a file; `-` is standard input.
pub(crate) fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    if file != Path::new("-") {
        return fs::read(file).with_context(|| format!("read the body {}", file.display()));
    }
    let mut body = Vec::new();
    io::stdin().read_to_end(&mut body).context("read the body from standard input")?;
    Ok(body)
}
