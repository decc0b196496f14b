//! Blocks: a length, a checksum and a message, which is there as a whole or not at all.

use std::{io, sync::Arc};

use prost::Message;

use crate::disk::{Disk, File};

/// Copies of a block are as far apart: one sector, or one page of memory, that is lost takes one of them.
pub(super) const COPY_AT: usize = 4096;

/// Seed of what is read before a file's own id is known.
pub(super) const HEAD_SEED: u32 = 0x6865_6164;

const BLOCK_HEAD: usize = 8;

pub(super) fn block(seed: u32, message: &impl Message) -> Vec<u8> {
    let mut bytes = vec![0; BLOCK_HEAD];
    message.encode(&mut bytes).unwrap_or_else(|_| unreachable!("a vector has room"));
    let length = ((bytes.len() - BLOCK_HEAD) as u32).to_le_bytes();
    bytes[..4].copy_from_slice(&length);
    let crc = crc32c::crc32c_append(crc32c::crc32c_append(seed, &length), &bytes[BLOCK_HEAD..]);
    bytes[4..8].copy_from_slice(&crc.to_le_bytes());
    bytes
}

pub(super) fn unblock<M: Message + Default>(seed: u32, bytes: &[u8]) -> Option<M> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (crc, rest) = rest.split_first_chunk::<4>()?;
    let payload = rest.get(..u32::from_le_bytes(*length) as usize)?;
    let expected = crc32c::crc32c_append(crc32c::crc32c_append(seed, length), payload);
    (expected == u32::from_le_bytes(*crc)).then(|| M::decode(payload).ok()).flatten()
}

/// The bytes of a file between two offsets, as far as it goes.
pub(super) fn read_all(file: &dyn File, from: u64, until: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(until.saturating_sub(from)).unwrap_or(0)];
    let filled = file.read_at(&mut bytes, from)?;
    bytes.truncate(filled);
    Ok(bytes)
}

/// The same where no checksum tells whether they are right: read until two reads agree.
pub(super) fn read_surely(file: &dyn File, from: u64, until: u64) -> io::Result<Vec<u8>> {
    let mut bytes = read_all(file, from, until)?;
    for _ in 0..4 {
        let again = read_all(file, from, until)?;
        if bytes == again {
            return Ok(bytes);
        }
        bytes = again;
    }
    Err(io::Error::other("no two reads of the same bytes agree"))
}

/// Looks a second time before the verdict: a bit that turned over in memory or on a wire is not on the disk.
pub(super) fn twice<T>(mut look: impl FnMut() -> io::Result<Option<T>>) -> io::Result<Option<T>> {
    match look() {
        Ok(Some(found)) => Ok(Some(found)),
        Ok(None) | Err(_) => look(),
    }
}

/// Writes a small file as a whole: it is the old one or the new one, whatever happens.
pub(super) fn write_small(disk: &dyn Disk, name: &str, message: &impl Message) -> io::Result<()> {
    let mut bytes = block(HEAD_SEED, message);
    bytes.resize(bytes.len().next_multiple_of(COPY_AT), 0);
    bytes.extend_from_within(..);
    replace(disk, name, &bytes).map(drop)
}

/// Puts a file of these bytes in the place of whatever has that name, durably.
pub(super) fn replace(disk: &dyn Disk, name: &str, bytes: &[u8]) -> io::Result<Arc<dyn File>> {
    let new = format!("{name}.new");
    let file = create_over(disk, &new)?;
    file.write_at(bytes, 0)?;
    file.sync_data()?;
    disk.rename(&new, name)?;
    disk.sync_dir()?;
    Ok(file)
}

/// Reads a small file; none where neither copy is whole.
pub(super) fn read_small<M: Message + Default>(disk: &dyn Disk, name: &str) -> io::Result<Option<M>> {
    let file = disk.open(name)?;
    twice(|| {
        let bytes = read_all(&*file, 0, file.len()?)?;
        let (one, other) = bytes.split_at(bytes.len() / 2);
        Ok(unblock(HEAD_SEED, one).or_else(|| unblock(HEAD_SEED, other)))
    })
}

/// Makes an empty file in the place of whatever has that name.
pub(super) fn create_over(disk: &dyn Disk, name: &str) -> io::Result<Arc<dyn File>> {
    match disk.create(name) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            disk.remove(name)?;
            disk.create(name)
        }
        other => other,
    }
}

/// Removes a name, which an attempt before may have removed without being sure of it.
pub(super) fn remove_if_there(disk: &dyn Disk, name: &str) -> io::Result<()> {
    match disk.remove(name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
