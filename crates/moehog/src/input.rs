//! What a command is given to look at.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use anyhow::{Context, ensure};

/// Reads a file; `-` is standard input.
///
/// # Errors
///
/// It cannot be read, or holds more than `most` bytes: `limit` says what may not be larger.
pub(crate) fn read(file: &Path, most: usize, limit: &str) -> anyhow::Result<Vec<u8>> {
    let mut body = Vec::new();
    let room = most as u64 + 1;
    if file == Path::new("-") {
        io::stdin().take(room).read_to_end(&mut body).context("read the body from standard input")?;
    } else {
        let opened = File::open(file).and_then(|file| file.take(room).read_to_end(&mut body));
        opened.with_context(|| format!("read the body {}", file.display()))?;
    }
    ensure!(body.len() <= most, "the body in {} is larger than {most} bytes: {limit}", file.display());
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_read_than_may_be() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("body");
        std::fs::write(&path, "12345678").unwrap();
        assert_eq!(read(&path, 8, "").unwrap(), b"12345678");
        let error = read(&path, 7, "cut it").unwrap_err().to_string();
        assert!(error.ends_with("is larger than 7 bytes: cut it"), "{error}");
        assert!(read(Path::new("/dev/zero"), 100, "it never ends").is_err());
    }
}
