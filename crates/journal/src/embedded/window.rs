//! A file read forwards in large steps.

use std::{io, sync::Arc};

use bytes::Bytes;

use crate::disk::File;

/// Bytes of a file around where a reader is. What it hands out are slices of the chunk it read.
#[derive(Debug)]
pub(super) struct Window {
    file: Arc<dyn File>,
    end: u64,
    /// The last bytes before the end, where the file may have lost them.
    tail: Bytes,
    ahead: usize,
    start: u64,
    bytes: Bytes,
}

impl Window {
    /// Reads `file` up to `end`, at least `ahead` bytes at a time where there are that many.
    pub(super) fn new(file: Arc<dyn File>, end: u64, ahead: usize) -> Self {
        Self { file, end, tail: Bytes::new(), ahead, start: 0, bytes: Bytes::new() }
    }

    /// The same, with the last bytes before the end taken from memory.
    pub(super) fn with_tail(self, tail: Bytes) -> Self {
        Self { tail, ..self }
    }

    /// From here on at least `ahead` bytes are read at a time.
    pub(super) fn read_ahead(&mut self, ahead: usize) {
        self.ahead = ahead;
    }

    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// What was read is read again when it is next asked for.
    pub(super) fn forget(&mut self) {
        self.bytes = Bytes::new();
    }

    /// `length` bytes at `offset`; fewer only at the end.
    pub(super) fn at(&mut self, offset: u64, length: usize) -> io::Result<Bytes> {
        let left = usize::try_from(self.end.saturating_sub(offset)).unwrap_or(usize::MAX);
        let length = length.min(left);
        let held = offset >= self.start && offset + length as u64 <= self.start + self.bytes.len() as u64;
        if !held {
            let mut buffer = vec![0; length.max(self.ahead).min(left)];
            let filled = self.file.read_at(&mut buffer, offset)?;
            let tail_at = self.end - self.tail.len() as u64;
            let of_tail = (offset + buffer.len() as u64).saturating_sub(tail_at.max(offset)) as usize;
            if of_tail == 0 {
                buffer.truncate(filled);
            } else {
                let (at, from) = (buffer.len() - of_tail, offset.saturating_sub(tail_at) as usize);
                buffer[at..].copy_from_slice(&self.tail[from..from + of_tail]);
            }
            (self.start, self.bytes) = (offset, buffer.into());
        }
        let from = (offset - self.start) as usize;
        let until = (from + length).min(self.bytes.len());
        Ok(self.bytes.slice(from.min(until)..until))
    }
}
