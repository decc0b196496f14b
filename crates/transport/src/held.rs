//! What calls hold of a server: places, and bytes of memory.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tonic::Status;

use crate::{
    ServerBounds,
    refusals::{Reason, Refusals},
    unreached::refused_unread,
};

/// What all calls of a server hold together.
#[derive(Debug)]
pub(crate) struct Room {
    pub(crate) bounds: ServerBounds,
    pub(crate) refusals: Refusals,
    calls: AtomicUsize,
    watches: AtomicUsize,
    bytes: AtomicUsize,
}

/// What the calls of one connection hold.
#[derive(Debug, Clone, Default)]
pub(crate) struct Caller(Arc<AtomicUsize>);

/// What one call holds, until its answer is with the caller. A service finds it among the extensions of a request that came
/// over a network, and adds what it makes of it.
#[derive(Debug, Clone)]
pub struct Held(Arc<Claim>);

#[derive(Debug)]
struct Claim {
    is_watch: bool,
    room: Arc<Room>,
    caller: Caller,
    bytes: AtomicUsize,
}

impl Room {
    pub(crate) fn new(bounds: ServerBounds) -> Arc<Self> {
        let (calls, watches, bytes) = Default::default();
        Arc::new(Self { bounds, refusals: Refusals::new(), calls, watches, bytes })
    }

    /// A place for one more call.
    pub(crate) fn enter(self: &Arc<Self>, caller: &Caller) -> Result<Held, Status> {
        let most = self.bounds.calls;
        if !grow(&self.calls, 1, most) {
            return Err(self.refuse(Reason::Calls, &format!("{most} calls are under way, which is the most")));
        }
        Ok(self.claim(caller, false))
    }

    /// A place for one more watch of health.
    pub(crate) fn enter_watch(self: &Arc<Self>, caller: &Caller) -> Result<Held, Status> {
        let most = self.bounds.watches;
        if !grow(&self.watches, 1, most) {
            return Err(self.refuse(Reason::Calls, &format!("{most} callers watch health, which is the most")));
        }
        Ok(self.claim(caller, true))
    }

    fn claim(self: &Arc<Self>, caller: &Caller, is_watch: bool) -> Held {
        let (room, caller) = (self.clone(), caller.clone());
        Held(Arc::new(Claim { is_watch, room, caller, bytes: AtomicUsize::new(0) }))
    }

    /// What a call is told that is not worked on.
    pub(crate) fn refuse(&self, reason: Reason, why: &str) -> Status {
        self.refusals.add(reason, &why);
        refused_unread(why)
    }

    /// What a call of so many bytes is told for which there is no room.
    fn refuse_bytes(&self, whose: &str, bytes: usize, most: usize) -> Status {
        let why = format!("no room for {bytes} more bytes of messages: {whose} may hold {most} at a time");
        self.refuse(Reason::Bytes, &why)
    }
}

impl Held {
    /// Adds so many bytes to what the call holds.
    ///
    /// # Errors
    ///
    /// There is no room for them: the status to answer. It tells the caller that nothing was worked on, so it is not for what
    /// cannot be done again.
    pub fn add(&self, bytes: usize) -> Result<(), Status> {
        let Claim { room, caller, bytes: held, .. } = &*self.0;
        let ServerBounds { connection_bytes, held_bytes, .. } = room.bounds;
        if !grow(&caller.0, bytes, connection_bytes) {
            return Err(room.refuse_bytes("a connection", bytes, connection_bytes));
        }
        if !grow(&room.bytes, bytes, held_bytes) {
            caller.0.fetch_sub(bytes, Ordering::Relaxed);
            return Err(room.refuse_bytes("all together", bytes, held_bytes));
        }
        held.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }

    /// Whether there would be room for so many bytes now.
    pub(crate) fn look(&self, bytes: usize) -> Result<(), Status> {
        let Claim { room, caller, .. } = &*self.0;
        let ServerBounds { connection_bytes, held_bytes, .. } = room.bounds;
        let is_free = |used: &AtomicUsize, most: usize| used.load(Ordering::Relaxed).saturating_add(bytes) <= most;
        match (is_free(&caller.0, connection_bytes), is_free(&room.bytes, held_bytes)) {
            (false, _) => Err(room.refuse_bytes("a connection", bytes, connection_bytes)),
            (true, false) => Err(room.refuse_bytes("all together", bytes, held_bytes)),
            (true, true) => Ok(()),
        }
    }

    pub(crate) fn room(&self) -> &Arc<Room> {
        &self.0.room
    }

    /// Whether it is a watch of health.
    pub(crate) fn is_watch(&self) -> bool {
        self.0.is_watch
    }

    /// Gives back the bytes of a message that is gone, and keeps the place.
    pub(crate) fn give_back_bytes(&self) {
        self.0.give_back_bytes();
    }
}

impl Claim {
    fn give_back_bytes(&self) {
        let bytes = self.bytes.swap(0, Ordering::Relaxed);
        self.caller.0.fetch_sub(bytes, Ordering::Relaxed);
        self.room.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.give_back_bytes();
        let place = if self.is_watch { &self.room.watches } else { &self.room.calls };
        place.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Adds `more` where that is not above `most`.
fn grow(used: &AtomicUsize, more: usize, most: usize) -> bool {
    let grown = |used: usize| used.checked_add(more).filter(|grown| *grown <= most);
    used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grown).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::never_left;

    fn room() -> Arc<Room> {
        Room::new(ServerBounds { calls: 2, connection_bytes: 100, held_bytes: 150, ..ServerBounds::default() })
    }

    #[test]
    fn a_call_over_a_bound_is_refused_unread_and_one_that_ends_makes_room() {
        let (room, first, second) = (room(), Caller::default(), Caller::default());
        let one = room.enter(&first).unwrap();
        one.add(60).unwrap();
        one.add(40).unwrap();
        let status = one.add(1).unwrap_err();
        assert!(never_left(&status) && status.message().contains("a connection may hold 100"), "{status:?}");
        let other = room.enter(&second).unwrap();
        other.add(50).unwrap();
        let status = other.add(1).unwrap_err();
        assert!(never_left(&status) && status.message().contains("all together may hold 150"), "{status:?}");
        assert!(other.look(1).is_err() && other.look(0).is_ok());
        let status = room.enter(&second).unwrap_err();
        assert!(never_left(&status) && status.message().contains("2 calls"), "{status:?}");
        drop(one);
        other.add(50).unwrap();
        let again = room.enter(&first).unwrap();
        again.add(50).unwrap();
        drop((other, again));
        assert_eq!(room.bytes.load(Ordering::Relaxed) + room.calls.load(Ordering::Relaxed), 0);
        assert_eq!(first.0.load(Ordering::Relaxed) + second.0.load(Ordering::Relaxed), 0);
    }
}
