//! The books counted anew.

use std::mem;

use crate::embedded::{Log, records::Records, records::Replay, recover, segment::Members, state::add};
use crate::{Ledger, ReadError};

impl Log {
    /// The books counted anew: of sealed segments from their feet, of all others from their frames. It reads what stood
    /// in the journal when it was called.
    ///
    /// # Errors
    ///
    /// The disk failed.
    pub fn recount(&self) -> Result<Ledger, ReadError> {
        let (mut ledger, segments, cancelled, damaged) = {
            let _recorder = self.recorder.lock();
            let state = self.state.lock();
            if state.closed {
                return Err(ReadError::Closed);
            }
            let mut ledger = Ledger { in_flight: state.carried.in_flight, ..Ledger::default() };
            add(&mut ledger.book, &state.carried.book.unwrap_or_default());
            let segments: Vec<_> = state
                .segments
                .values()
                .map(|it| (it.index.clone(), it.webhooks.clone(), it.records.clone(), it.foot.clone()))
                .collect();
            (ledger, segments, state.uncancelled.clone(), state.undamaged.clone())
        };
        for (index, webhooks, records, foot) in segments {
            let failed = |source| ReadError::Disk { segment: index.first, source };
            if let Some(mut foot) = foot {
                add(&mut ledger.book, &mem::take(&mut foot.book).unwrap_or_default());
                ledger.in_flight += foot.in_flight;
                continue;
            }
            let index = recover::reread(&webhooks, &index).map_err(failed)?;
            let mut replay = records.as_ref().map_or(Ok(Replay::default()), Records::replay).map_err(failed)?;
            replay.cancelled.extend(&cancelled);
            replay.damaged.extend(&damaged);
            let Members { book, in_flight } = Members::count(&index, &webhooks, &replay);
            add(&mut ledger.book, &book);
            ledger.in_flight += in_flight;
        }
        ledger.waiting = ledger.book.taken - ledger.book.settled - ledger.book.damaged;
        Ok(ledger)
    }
}
