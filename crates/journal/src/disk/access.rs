//! Who may look into a journal's directory: webhooks name people, and stand there as they came.

use std::{
    ffi::OsStr,
    fs::{self, DirBuilder, Metadata, OpenOptions, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::Path,
};

use rustix::{
    fs::OFlags,
    process::{getegid, geteuid, getgroups},
};

/// All that a mode says of a user, of a group, and of others.
const EVERYBODY: u32 = 0o777;
/// Files that a journal makes by these names.
const NAMES: [&str; 6] = ["carried", "format", "lock", "marks", "opened", "reserve"];
/// And by these endings.
const ENDINGS: [&str; 5] = ["new", "quarantine", "records", "unreadable", "webhooks"];

/// What a directory allows to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rights {
    user: u32,
    group: u32,
    mode: u32,
}

impl From<&Metadata> for Rights {
    fn from(found: &Metadata) -> Self {
        Self { user: found.uid(), group: found.gid(), mode: found.mode() }
    }
}

/// Who this process is.
#[derive(Debug)]
struct Process {
    user: u32,
    groups: Vec<u32>,
}

impl Process {
    fn this() -> io::Result<Self> {
        let mut groups: Vec<_> = getgroups()?.into_iter().map(|group| group.as_raw()).collect();
        groups.push(getegid().as_raw());
        Ok(Self { user: geteuid().as_raw(), groups })
    }
}

/// Who may read and write the files of one directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Access {
    /// The user of this process.
    user: u32,
    /// Whether the directory is this user's own.
    is_own: bool,
    /// The mode of a file.
    file_mode: u32,
}

/// What was closed to other users.
#[derive(Debug, Default, PartialEq, Eq)]
struct Narrowed {
    directory: bool,
    files: usize,
}

impl Access {
    /// Who may, in this directory, whatever the umask.
    pub(super) fn to(directory: &Metadata) -> io::Result<Self> {
        Ok(Self::decide(directory.into(), &Process::this()?))
    }

    /// Its own user alone. In a directory of somebody else that one of the process's groups may write to, as a volume
    /// of Kubernetes with an `fsGroup` is, that group too: the next process may be of another user.
    fn decide(directory: Rights, process: &Process) -> Self {
        let is_own = directory.user == process.user;
        let is_by_group = !is_own && directory.mode & 0o020 != 0 && process.groups.contains(&directory.group);
        Self { user: process.user, is_own, file_mode: if is_by_group { 0o660 } else { 0o600 } }
    }

    /// How files are opened: a name that is a symbolic link is refused, since what it leads to is not the journal's.
    pub(super) fn options(self) -> OpenOptions {
        let mut options = OpenOptions::new();
        options.read(true).write(true).mode(self.file_mode).custom_flags(NOFOLLOW);
        options
    }

    /// Gives a file that was just made its mode, of which the umask has taken its part.
    pub(super) fn give(self, file: &fs::File) {
        // some of the network's file systems know no modes
        if let Err(error) = file.set_permissions(Permissions::from_mode(self.file_mode)) {
            tracing::debug!(%error, "a file of the journal keeps the mode it was made with");
        }
    }

    /// Closes to others what a process before, or a person, left open: the directory, where it is ours and holds
    /// nothing but a journal, and our files in it.
    pub(super) fn close_to_others(self, path: &Path, directory: &fs::File) {
        let path_shown = path.display();
        match self.narrow(path, directory) {
            Ok(Narrowed { directory: false, files: 0 }) => {}
            Ok(Narrowed { directory, files }) => tracing::info!(
                path = %path_shown, directory, files,
                "other users could look into the journal, and cannot any more"
            ),
            Err(error) => {
                tracing::info!(path = %path_shown, %error, "other users may be able to look into the journal")
            }
        }
    }

    fn narrow(self, path: &Path, directory: &fs::File) -> io::Result<Narrowed> {
        let mut narrowed = Narrowed::default();
        let mode = directory.metadata()?.mode();
        if self.is_own && mode & EVERYBODY & !0o700 != 0 && holds_only_a_journal(path)? {
            directory.set_permissions(Permissions::from_mode(mode & 0o7700))?;
            narrowed.directory = true;
        }
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            // of the link itself, where it is one; another process may remove its files meanwhile
            let Ok(found) = entry.metadata() else { continue };
            if is_of_a_journal(&entry.file_name()) && self.is_too_wide(&found) {
                narrowed.files += usize::from(self.narrow_file(&entry.path())?);
            }
        }
        Ok(narrowed)
    }

    fn narrow_file(self, path: &Path) -> io::Result<bool> {
        // it may be another by now; a pipe would be waited for
        let file = OpenOptions::new().read(true).custom_flags(NOFOLLOW | NONBLOCK).open(path)?;
        let found = file.metadata()?;
        if !self.is_too_wide(&found) {
            return Ok(false);
        }
        file.set_permissions(Permissions::from_mode(found.mode() & self.file_mode))?;
        Ok(true)
    }

    fn is_too_wide(self, file: &Metadata) -> bool {
        file.is_file() && file.uid() == self.user && file.mode() & EVERYBODY & !self.file_mode != 0
    }
}

#[expect(clippy::cast_possible_wrap, reason = "flags are bits")]
const NOFOLLOW: i32 = OFlags::NOFOLLOW.bits() as i32;
#[expect(clippy::cast_possible_wrap, reason = "flags are bits")]
const NONBLOCK: i32 = OFlags::NONBLOCK.bits() as i32;

/// Makes a directory that is its user's alone, whatever the umask.
pub(super) fn make_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)?;
    let mode = fs::symlink_metadata(path)?.mode();
    if mode & 0o700 != 0o700 {
        fs::set_permissions(path, Permissions::from_mode(mode & 0o7777 | 0o700))?;
    }
    Ok(())
}

/// Whether a directory is a journal's and nobody else's: `/tmp` or a home directory stays as open as it is.
fn holds_only_a_journal(path: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(path)? {
        let name = entry?.file_name();
        if !is_of_a_journal(&name) && name != "lost+found" {
            return Ok(false);
        }
    }
    Ok(true)
}

fn is_of_a_journal(name: &OsStr) -> bool {
    let ending = Path::new(name).extension();
    NAMES.iter().any(|known| name == *known) || ENDINGS.iter().any(|known| ending == Some(OsStr::new(known)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(directory: Rights) -> Access {
        Access::decide(directory, &Process { user: 1000, groups: vec![100, 2000] })
    }

    #[test]
    fn a_journal_is_its_users_alone_in_a_directory_of_its_own_however_open_that_is() {
        for mode in [0o700, 0o755, 0o2775, 0o777] {
            for group in [100, 0] {
                let access = access(Rights { user: 1000, group, mode });
                assert_eq!((access.is_own, access.file_mode), (true, 0o600), "{mode:o}");
            }
        }
    }

    #[test]
    fn a_volume_that_is_reached_by_its_group_keeps_files_for_the_group() {
        // an `fsGroup`, and the root group that OpenShift gives
        for (group, mode) in [(2000, 0o2775), (2000, 0o2770), (100, 0o770)] {
            let access = access(Rights { user: 0, group, mode });
            assert_eq!((access.is_own, access.file_mode), (false, 0o660), "{mode:o}");
        }
        // open to all, which is no word of the group; and not the process's group
        for (group, mode) in [(0, 0o777), (0, 0o2775), (2000, 0o2707), (2000, 0o1755)] {
            assert_eq!(access(Rights { user: 0, group, mode }).file_mode, 0o600, "{group} {mode:o}");
        }
    }

    #[test]
    fn a_directory_that_holds_more_than_a_journal_is_left() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let mode = |name: &str| fs::metadata(path.join(name)).unwrap().mode() & EVERYBODY;
        let give = |name: &str, mode| fs::set_permissions(path.join(name), Permissions::from_mode(mode)).unwrap();
        for name in ["format", "0000000000000001.webhooks", "notes.txt"] {
            fs::write(path.join(name), "x").unwrap();
            give(name, 0o644);
        }
        give(".", 0o755);
        let narrow = || {
            let directory = fs::File::open(path).unwrap();
            Access::to(&directory.metadata().unwrap()).unwrap().narrow(path, &directory).unwrap()
        };
        assert_eq!(narrow(), Narrowed { directory: false, files: 2 });
        assert_eq!([mode("."), mode("format"), mode("notes.txt")], [0o755, 0o600, 0o644]);
        fs::remove_file(path.join("notes.txt")).unwrap();
        assert_eq!(narrow(), Narrowed { directory: true, files: 0 });
        assert_eq!(mode("."), 0o700);
        assert_eq!(narrow(), Narrowed::default(), "and it is said once");
    }
}
