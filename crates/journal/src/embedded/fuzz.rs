//! Files of any bytes, guided by coverage: `cargo xtask fuzz frames records heads`.
//!
//! An input is a list of pieces. A piece is what the test writes with the journal's own code, or bytes as they are, or a bit that turns
//! over in the end.

mod frames;
mod heads;
mod records;

use std::{io, sync::Arc};

use super::{coding::FRAMES_AT, window::Window};
use crate::disk::File;

/// A file in memory that nobody may ask for more bytes than it has, or than a head is: what a damaged length says is no size of
/// a buffer.
#[derive(Debug)]
struct Held(Vec<u8>);

impl File for Held {
    fn write_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        assert!(
            buffer.len() <= self.0.len().max(FRAMES_AT as usize),
            "a buffer of {} bytes for {}",
            buffer.len(),
            self.0.len()
        );
        let rest = self.0.get(offset as usize..).unwrap_or_default();
        let filled = rest.len().min(buffer.len());
        buffer[..filled].copy_from_slice(&rest[..filled]);
        Ok(filled)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }

    fn allocate(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn truncate(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn is_there(&self) -> io::Result<bool> {
        Ok(true)
    }
}

fn held(bytes: &[u8]) -> Arc<dyn File> {
    Arc::new(Held(bytes.to_vec()))
}

fn window(bytes: &[u8]) -> Window {
    Window::new(held(bytes), bytes.len() as u64, 64)
}

/// The pieces of an input: a byte that says what it is, a byte with its length, and as many bytes or what is left.
fn pieces(mut input: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let [kind, length, rest @ ..] = input else { return None };
        let (piece, after) = rest.split_at(rest.len().min(usize::from(*length)));
        input = after;
        Some((*kind, piece))
    })
}

/// Takes the first bytes of a piece; those that it lacks are zero.
fn take<const N: usize>(piece: &mut &[u8]) -> [u8; N] {
    let (mut taken, length) = ([0; N], piece.len().min(N));
    taken[..length].copy_from_slice(&piece[..length]);
    *piece = &piece[length..];
    taken
}

/// Bits that turn over once all is written.
#[derive(Debug, Default)]
struct Flips(Vec<(u16, u8)>);

impl Flips {
    fn take(&mut self, mut piece: &[u8]) {
        self.0.push((u16::from_le_bytes(take(&mut piece)), take::<1>(&mut piece)[0] % 8));
    }

    /// Turns them over, and says where.
    fn apply(&self, bytes: &mut [u8]) -> Vec<usize> {
        let places: Vec<_> = self.0.iter().filter_map(|(at, _)| usize::from(*at).checked_rem(bytes.len())).collect();
        places.iter().zip(&self.0).for_each(|(at, (_, bit))| bytes[*at] ^= 1 << bit);
        places
    }
}
