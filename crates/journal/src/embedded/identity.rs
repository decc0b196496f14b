//! Which journal a directory holds, and of which version.

use std::{collections::BTreeSet, io};

use super::{
    OpenError,
    blocks::{read_small, write_small},
    coding::{REVISED, VERSION, VERSION_1},
    files::What,
    format::{Format, Identity},
};
use crate::disk::Disk;

const FORMAT: &str = "format";

const KEY: usize = 16;

/// What is known of a directory.
pub(super) struct Known {
    pub(super) identity: Identity,
    /// It is of version 1 until [`write_format`] has said otherwise.
    pub(super) is_version_1: bool,
    /// It says so already that dead letters were revised.
    pub(super) is_revised: bool,
}

/// What `format` says; none where it is missing or damaged. A directory that a newer moehog wrote stays as it is.
pub(super) fn read_format(disk: &dyn Disk) -> Result<Option<Format>, OpenError> {
    let format: Option<Format> = match read_small(disk, FORMAT) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        format => format.what("read format")?,
    };
    match format {
        Some(Format { version: found, .. }) if found > REVISED => Err(OpenError::NewerFormat { found, known: REVISED }),
        format => Ok(format),
    }
}

/// Which journal a directory with these names and this `format` is; `said` are those of its other files, where they say
/// it. An empty one becomes a journal.
pub(super) fn identify(
    disk: &dyn Disk,
    names: &BTreeSet<String>,
    format: Option<Format>,
    said: Option<Identity>,
) -> Result<Known, OpenError> {
    let holds_something = names.iter().any(|name| name.contains('.') || name == super::files::CARRIED);
    let is_revised = format.as_ref().is_some_and(|format| format.version == REVISED);
    let is_of_this_version = |identity: Identity| Known { identity, is_version_1: false, is_revised };
    match (format, said) {
        (Some(Format { version: VERSION_1, journal, .. }), _) => {
            Ok(Known { identity: drawn(journal, u64::MAX), is_version_1: true, is_revised })
        }
        (Some(Format { identity: Some(identity), .. }), _) => Ok(is_of_this_version(identity)),
        (_, Some(identity)) => {
            tracing::warn!(
                journal = format_args!("{:08x}", identity.journal),
                "the file `format` is missing or damaged; it is made anew from what the other files say"
            );
            // nothing tells whether something was revised
            write_format(disk, &identity, REVISED).what("write format")?;
            Ok(Known { is_revised: true, ..is_of_this_version(identity) })
        }
        _ if holds_something => Err(OpenError::NoFormat),
        _ => {
            let identity = drawn(rand::random(), 1);
            write_format(disk, &identity, VERSION).what("write format")?;
            Ok(is_of_this_version(identity))
        }
    }
}

/// The key that hides the number in a receipt.
pub(super) fn key_of(identity: &Identity) -> [u8; KEY] {
    let mut key = [0; KEY];
    let known = identity.key.len().min(KEY);
    key[..known].copy_from_slice(&identity.key[..known]);
    key
}

fn drawn(journal: u32, gapless_from: u64) -> Identity {
    Identity { journal, key: rand::random::<[u8; KEY]>().to_vec().into(), gapless_from }
}

/// Says that the directory is of this version: no binary that knows only those before opens it any more.
pub(super) fn write_format(disk: &dyn Disk, identity: &Identity, version: u32) -> io::Result<()> {
    let format = Format { version, journal: identity.journal, identity: Some(identity.clone()) };
    write_small(disk, FORMAT, &format)
}
