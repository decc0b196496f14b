//! Files that others write.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::Path,
};

/// Most bytes of a file that is read as a whole.
const MOST: u64 = 16 * 1024 * 1024;

/// The text of a mapping, a token or a key in a file. A pipe, whose reader waits for its writer, or a device that never ends is no
/// such file.
///
/// # Errors
///
/// As the system says; no file, one that is too large, or no UTF-8.
pub fn read_text(path: &Path) -> io::Result<String> {
    let other = |what: String| Err(io::Error::new(io::ErrorKind::InvalidData, what));
    if !fs::metadata(path)?.is_file() {
        return other("it is a directory, a pipe or a device, and not a file".into());
    }
    let mut text = String::new();
    if File::open(path)?.take(MOST + 1).read_to_string(&mut text)? as u64 > MOST {
        return other(format!("it is larger than {} MiB", MOST / 1024 / 1024));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_file_of_bounded_size_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("text");
        fs::write(&path, "token").unwrap();
        assert_eq!(read_text(&path).unwrap(), "token");
        let pipe = directory.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        for other in [&pipe, Path::new("/dev/zero"), directory.path()] {
            assert!(read_text(other).unwrap_err().to_string().contains("not a file"), "{}", other.display());
        }
        File::create(&path).unwrap().set_len(MOST + 1).unwrap();
        assert!(read_text(&path).unwrap_err().to_string().contains("larger than 16 MiB"));
    }
}
