//! Nobody but the journal's own user reads what it keeps, whatever the umask of the process.

#![expect(clippy::unwrap_used, reason = "a helper of tests fails as a test does")]

mod formats {
    pub(crate) mod writer;
}

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use moehog_journal::{
    disk::{Disk, RealDisk},
    embedded::{Config, Log},
};
use rustix::{fs::Mode, process::umask};

/// A process has one umask, and a test at a time.
static UMASK: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    let alone = UMASK.lock().unwrap_or_else(PoisonError::into_inner);
    mask(0o022);
    alone
}

fn mask(bits: u32) {
    umask(Mode::from_raw_mode(bits));
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

fn give(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Modes of what lies in a directory, in octal.
fn modes(directory: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(directory).unwrap().map(Result::unwrap);
    entries.map(|entry| (entry.file_name().into_string().unwrap(), format!("{:o}", mode(&entry.path())))).collect()
}

fn open(directory: &Path) -> Log {
    let disk = RealDisk::open(directory).unwrap();
    Log::open(Arc::new(disk), Config { dir: directory.to_path_buf(), ..formats::writer::config() }).unwrap()
}

/// Damages a webhook, so that the next opening sets a copy apart.
fn spoil(directory: &Path) {
    let mut files: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|ending| ending == "webhooks"));
    files.sort();
    let mut file = fs::OpenOptions::new().read(true).write(true).open(files.last().unwrap()).unwrap();
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    let body = bytes.windows(5).position(|window| window == b"event").unwrap();
    file.seek(SeekFrom::Start(body as u64)).unwrap();
    file.write_all(b"EVENT").unwrap();
}

#[test]
fn all_that_a_journal_makes_is_its_users_alone_whatever_the_umask() {
    let _alone = alone();
    for bits in [0o000, 0o022, 0o077, 0o277, 0o777] {
        mask(0o022);
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("above/journal");
        // a user who is not root could not enter what the last two masks make above it
        fs::create_dir(parent.path().join("above")).unwrap();
        mask(bits);
        drop(formats::writer::write(&directory));
        spoil(&directory);
        let log = open(&directory);
        // into a segment of this opening
        formats::writer::append(&log, "streams", formats::writer::LATER, 1);
        log.maintain();
        assert_eq!(mode(&directory), 0o700, "umask {bits:o}");
        let found = modes(&directory);
        for ending in ["webhooks", "records", "quarantine", "marks", "carried", "format", "opened", "reserve", "lock"] {
            assert!(found.keys().any(|name| name.ends_with(ending)), "no {ending} in {found:?}");
        }
        assert!(found.values().all(|mode| mode == "600"), "umask {bits:o}: {found:?}");
    }
}

#[test]
fn parents_are_made_as_the_umask_has_it() {
    let _alone = alone();
    let parent = tempfile::tempdir().unwrap();
    RealDisk::open(&parent.path().join("above/journal")).unwrap();
    assert_eq!(mode(&parent.path().join("above")), 0o755);
    assert_eq!(mode(&parent.path().join("above/journal")), 0o700);
}

#[test]
fn what_a_version_before_left_open_is_closed_at_the_next_start() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    drop(formats::writer::write(directory));
    modes(directory).keys().for_each(|name| give(&directory.join(name), 0o644));
    give(directory, 0o755);
    drop(RealDisk::open(directory).unwrap());
    assert_eq!(mode(directory), 0o700);
    let found = modes(directory);
    assert!(found.values().all(|mode| mode == "600"), "{found:?}");
}

#[test]
fn what_a_link_in_the_directory_leads_to_is_neither_written_nor_closed() {
    let _alone = alone();
    let parent = tempfile::tempdir().unwrap();
    let (directory, other) = (parent.path().join("journal"), parent.path().join("other"));
    fs::write(&other, "mine").unwrap();
    give(&other, 0o644);
    fs::create_dir(&directory).unwrap();
    for name in ["lock", "marks", "0000000000000001.webhooks"] {
        symlink(&other, directory.join(name)).unwrap();
    }
    symlink(parent.path().join("nothing"), directory.join("format.new")).unwrap();
    let disk = RealDisk::open(&directory).unwrap();
    let refused = |what: io::Result<_>| assert_eq!(what.unwrap_err().raw_os_error(), Some(40), "ELOOP");
    refused(disk.lock().map(drop));
    refused(disk.open("marks").map(drop));
    assert_eq!(disk.create("marks").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(disk.create("format.new").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    assert!(!parent.path().join("nothing").exists());
    assert_eq!((fs::read_to_string(&other).unwrap().as_str(), mode(&other)), ("mine", 0o644));
}

#[test]
fn in_a_volume_that_its_group_may_write_to_files_are_the_groups_too() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    // only root can give a directory away; what is decided has tests of its own beside the code
    if !rustix::process::geteuid().is_root() {
        return;
    }
    chown(directory, Some(4_200), Some(rustix::process::getegid().as_raw())).unwrap();
    give(directory, 0o2770);
    for bits in [0o000, 0o022, 0o077] {
        mask(bits);
        drop(open(directory));
        let found = modes(directory);
        assert!(found.values().all(|mode| mode == "660"), "umask {bits:o}: {found:?}");
        assert_eq!(mode(directory), 0o2770, "it is not ours");
        found.keys().for_each(|name| fs::remove_file(directory.join(name)).unwrap());
    }
}
