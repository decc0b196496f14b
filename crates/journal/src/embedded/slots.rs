//! A small file of two slots that are written in turn: it is changed without any room on the disk, and one of them is
//! whole whatever happens.

use std::{io, marker::PhantomData, sync::Arc};

use bytes::Bytes;
use prost::Message;

use super::blocks::{COPY_AT, block, read_surely, replace, twice, unblock};
use crate::disk::{Disk, File};

const SEED: u32 = 0x736c_6f74;

/// One slot.
#[derive(Clone, PartialEq, Message)]
struct Slot {
    /// Grows by one each time the file is written.
    #[prost(uint64, tag = "1")]
    turn: u64,
    #[prost(bytes = "bytes", tag = "2")]
    content: Bytes,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Slots<M> {
    name: &'static str,
    file: Option<Arc<dyn File>>,
    /// Bytes of one slot.
    slot: u64,
    /// Of the last content.
    turn: u64,
    content: PhantomData<fn() -> M>,
}

impl<M: Message + Default> Slots<M> {
    /// The file `name`, not made yet.
    pub(super) fn new(name: &'static str) -> Self {
        Self { name, file: None, slot: 0, turn: 0, content: PhantomData }
    }

    /// The file `name`, and its content, which is durable then: what a process before could not sync may be in the cache of
    /// the operating system alone. None where neither slot is whole.
    pub(super) fn open(disk: &dyn Disk, name: &'static str) -> io::Result<(Self, Option<M>)> {
        let file = disk.open(name)?;
        let slot = file.len()? / 2;
        let found = twice(|| {
            // what a read got wrong of the newest would make the one before count
            let bytes = read_surely(&*file, 0, 2 * slot)?;
            let (one, other) = bytes.split_at(bytes.len().min(slot as usize));
            let slots = [one, other].map(|bytes| unblock::<Slot>(SEED, bytes));
            Ok(slots
                .into_iter()
                .enumerate()
                .filter_map(|(at, slot)| Some((at as u64, slot?)))
                .max_by_key(|it| it.1.turn))
        })?;
        let whole = found.filter(|(at, found)| found.turn % 2 == *at);
        let content = whole.as_ref().and_then(|(_, found)| M::decode(found.content.clone()).ok());
        let (Some((at, found)), Some(content)) = (whole, content) else { return Ok((Self::new(name), None)) };
        file.write_at(&block(SEED, &found), at * slot)?;
        file.sync_data()?;
        Ok((Self { file: Some(file), slot, turn: found.turn, ..Self::new(name) }, Some(content)))
    }

    /// Bytes the file takes.
    pub(super) fn size(&self) -> u64 {
        2 * self.slot
    }

    /// How often it was written.
    pub(super) fn turn(&self) -> u64 {
        self.turn
    }

    /// Turns follow this one where the file is made anew.
    pub(super) fn follow(&mut self, turn: u64) {
        self.turn = self.turn.max(turn);
    }

    /// Writes the content, durably. Where this fails the one before may be there or this one.
    pub(super) fn write(&mut self, disk: &dyn Disk, content: &M) -> io::Result<()> {
        let turn = self.turn + 1;
        let bytes = block(SEED, &Slot { turn, content: content.encode_to_vec().into() });
        match &self.file {
            Some(file) if bytes.len() as u64 <= self.slot => {
                file.write_at(&bytes, turn % 2 * self.slot)?;
                file.sync_data()?;
            }
            _ => {
                // twice the room, so that this is seldom done
                let slot = (2 * bytes.len()).next_multiple_of(COPY_AT);
                let mut whole = vec![0; 2 * slot];
                whole[turn as usize % 2 * slot..][..bytes.len()].copy_from_slice(&bytes);
                let before = block(SEED, &Slot { turn: turn - 1, content: content.encode_to_vec().into() });
                whole[(turn as usize + 1) % 2 * slot..][..before.len()].copy_from_slice(&before);
                // where this fails the name may be that of either file
                self.file = None;
                (self.file, self.slot) = (Some(replace(disk, self.name, &whole)?), slot as u64);
            }
        }
        self.turn = turn;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{disk::simulated::SimulatedDisk, embedded::format::Opened};

    #[test]
    fn one_slot_that_is_lost_costs_what_was_written_last_and_no_more() {
        let disk = SimulatedDisk::new(1);
        let mut slots = Slots::<Opened>::new("slots");
        for times in 1..=5 {
            slots.write(&disk, &Opened { times }).unwrap();
        }
        let found = || Slots::<Opened>::open(&disk, "slots").unwrap().1.map(|opened| opened.times);
        assert_eq!(found(), Some(5));
        assert!(disk.flip("slots", slots.slot + 5, 1));
        assert_eq!(found(), Some(4));
        assert!(disk.flip("slots", 5, 1));
        assert_eq!(found(), None);
    }

    #[test]
    fn a_file_that_was_written_once_survives_the_loss_of_either_slot() {
        for offset in [5, COPY_AT as u64 + 5] {
            let disk = SimulatedDisk::new(1);
            let mut slots = Slots::<Opened>::new("slots");
            slots.write(&disk, &Opened { times: 7 }).unwrap();
            assert!(disk.flip("slots", offset, 1));
            let (mut again, found) = Slots::<Opened>::open(&disk, "slots").unwrap();
            assert_eq!(found, Some(Opened { times: 7 }));
            again.write(&disk, &Opened { times: 8 }).unwrap();
            assert_eq!(Slots::<Opened>::open(&disk, "slots").unwrap().1, Some(Opened { times: 8 }));
        }
    }

    #[test]
    fn what_one_read_got_wrong_is_not_taken_for_an_older_content() {
        for seed in 0..4000 {
            let disk = SimulatedDisk::new(seed);
            let mut slots = Slots::<Opened>::new("slots");
            (1..=5).for_each(|times| slots.write(&disk, &Opened { times }).unwrap());
            disk.lie(0);
            assert_eq!(Slots::<Opened>::open(&disk, "slots").unwrap().1, Some(Opened { times: 5 }), "seed {seed}");
        }
    }

    #[test]
    fn it_is_written_on_a_full_disk() {
        let disk = SimulatedDisk::new(1);
        let mut slots = Slots::<Opened>::new("slots");
        slots.write(&disk, &Opened { times: 1 }).unwrap();
        disk.limit(Some(0));
        slots.write(&disk, &Opened { times: 2 }).unwrap();
        assert_eq!(Slots::<Opened>::open(&disk, "slots").unwrap().1, Some(Opened { times: 2 }));
    }
}
