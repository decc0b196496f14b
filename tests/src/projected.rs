//! Files as the kubelet mounts a ConfigMap or a Secret.

use std::{
    fs, io,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
};

/// Writes files into `version`, a directory inside of `directory`, and points `..data` to it, at once for all of them. Each file is a
/// link through `..data`, so that a further version takes the place of this one.
///
/// # Errors
///
/// The version is there already, or the disk refuses.
pub fn project<'a>(
    directory: &Path,
    version: &str,
    files: impl IntoIterator<Item = (&'a str, &'a str)>,
    mode: u32,
) -> io::Result<()> {
    fs::create_dir(directory.join(version))?;
    for (name, content) in files {
        let file = directory.join(version).join(name);
        fs::write(&file, content)?;
        fs::set_permissions(&file, fs::Permissions::from_mode(mode))?;
        if !directory.join(name).is_symlink() {
            symlink(Path::new("..data").join(name), directory.join(name))?;
        }
    }
    symlink(version, directory.join("..data_tmp"))?;
    fs::rename(directory.join("..data_tmp"), directory.join("..data"))
}
