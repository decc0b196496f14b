//! A directory that a release wrote is opened by this build, which finds all that the release found in it.

mod formats {
    pub(crate) mod found;
    pub(crate) mod writer;
}

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use moehog_journal::{
    disk::RealDisk,
    embedded::{Clock, Config, Log},
};

use formats::{
    found::{EXPECTED, found},
    writer::{self, LATER},
};

fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata")
}

/// Copies the files of a journal, without what it only holds while it is open.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        if !["reserve", "lock", EXPECTED].iter().any(|name| entry.file_name() == *name) {
            fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

fn open(directory: &Path) -> Log {
    let disk = RealDisk::open(directory).expect("a directory");
    let clock = Clock::new(|| LATER);
    let config = Config { dir: directory.to_path_buf(), clock, ..writer::config() };
    Log::open(Arc::new(disk), config).expect("a journal that this build reads")
}

/// Fails with the first line that differs.
fn same(found: &str, expected: &str, release: &Path) {
    for (found, expected) in found.lines().zip(expected.lines()) {
        assert_eq!(found, expected, "in {}", release.display());
    }
    assert_eq!(found.lines().count(), expected.lines().count(), "lines, in {}", release.display());
}

/// The directories of releases.
fn releases() -> Vec<PathBuf> {
    let entries = fs::read_dir(testdata()).expect("testdata").map(|entry| entry.expect("an entry").path());
    let mut releases: Vec<_> = entries.filter(|path| path.join(EXPECTED).is_file()).collect();
    releases.sort();
    assert!(!releases.is_empty(), "no directory of a release");
    releases
}

#[test]
fn every_entry_record_dead_letter_and_book_of_a_release_is_found() {
    for release in releases() {
        let directory = tempfile::tempdir().unwrap();
        copy(&release, directory.path()).unwrap();
        let expected = fs::read_to_string(release.join(EXPECTED)).unwrap();
        let log = open(directory.path());
        same(&found(&log), &expected, &release);
        log.close();
        drop(log);
        same(&found(&open(directory.path())), &expected, &release);
    }
}

#[test]
fn a_directory_of_a_release_is_written_on() {
    for release in releases() {
        let directory = tempfile::tempdir().unwrap();
        copy(&release, directory.path()).unwrap();
        let log = open(directory.path());
        let before = log.stats().ledger;
        let last = log.durable();
        writer::append(&log, "new", LATER, 1);
        log.maintain();
        log.close();
        drop(log);
        let log = open(directory.path());
        let after = log.stats().ledger;
        assert_eq!((after.book.taken, after.waiting), (before.book.taken + 1, before.waiting + 1), "{release:?}");
        assert_eq!(log.recount().unwrap(), after, "{release:?}");
        assert_eq!(log.durable(), last + 1, "no sequence is used again, {release:?}");
    }
}

/// The directory has what a format can hold; else reading it shows little.
#[test]
fn the_directory_of_a_release_has_sealed_and_unsealed_segments_and_what_was_dropped() {
    for release in releases() {
        let directory = tempfile::tempdir().unwrap();
        copy(&release, directory.path()).unwrap();
        let ends = |suffix: &str| {
            let names = fs::read_dir(&release).unwrap().map(|entry| entry.unwrap().file_name());
            names.filter(|name| name.to_string_lossy().ends_with(suffix)).count()
        };
        assert!(ends(".webhooks") >= 2 && ends(".records") >= 2 && ends("carried") == 1 && ends("format") == 1);
        let sizes: u64 = fs::read_dir(&release).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
        assert!(sizes < 64 * 1024, "{sizes} bytes in {release:?}");
        let expected = fs::read_to_string(release.join(EXPECTED)).unwrap();
        for wanted in ["dead letter", "waiting=", "crashed=1/0", "mapped=", "gone", "origin="] {
            assert!(expected.contains(wanted), "no `{wanted}` in {release:?}");
        }
    }
}

/// `cargo xtask release` runs it, once for each release.
#[test]
#[ignore = "writes the directory of a release; cargo xtask release runs it"]
fn write_the_directory_of_this_release() {
    let version = format!("{}.{}", env!("CARGO_PKG_VERSION_MAJOR"), env!("CARGO_PKG_VERSION_MINOR"));
    let release = testdata().join(version);
    assert!(!release.exists(), "{} is there", release.display());
    let directory = tempfile::tempdir().unwrap();
    let log = writer::write(directory.path());
    // as after a kill -9: what is open is not sealed
    copy(directory.path(), &release).unwrap();
    let again = tempfile::tempdir().unwrap();
    copy(&release, again.path()).unwrap();
    let expected = found(&open(again.path()));
    // what was in memory when it was written, but for the call that was under way
    same(&expected.replace("crashed=1/0", "crashed=0/0"), &found(&log), &release);
    fs::write(release.join(EXPECTED), expected).unwrap();
}
