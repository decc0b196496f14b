//! Messages that stay in this process are handed over as they are: nothing is encoded, copied or parsed.
//!
//! tonic asks a codec for bytes, and its codecs know nothing of a call's way. So whoever carries a body from one half of this process
//! to the other says so while it polls it ([`taking`]): the encoder then leaves the message with it and writes a mark in its place.
//! When the mark arrives ([`Handed::give`]) the decoder takes the message for it, on the same thread and in the same poll. A mark
//! is no protobuf message, so that one whose message is not there is an error, and no empty message.

use std::{
    any::Any,
    cell::{Cell, RefCell},
    sync::atomic::{AtomicU64, Ordering},
};

use bytes::{Buf, BufMut};
use tonic::Status;

/// Begins a mark: field 0 of a wire type that there is not.
const MARK: u8 = 7;
/// Bytes of a mark: that, and the number of what it stands for.
const MARK_BYTES: usize = 1 + size_of::<u64>();

/// A message on its way, and the number in its mark.
#[derive(Debug)]
pub struct Handed {
    number: u64,
    message: Box<dyn Any + Send>,
}

thread_local! {
    /// Messages are taken in place of bytes.
    static TAKES: Cell<bool> = const { Cell::new(false) };
    static TAKEN: RefCell<Option<Handed>> = const { RefCell::new(None) };
    static GIVEN: RefCell<Option<Handed>> = const { RefCell::new(None) };
}

/// Polls a body whose messages stay in this process, and gives the message that it left behind, if any.
pub fn taking<T>(poll: impl FnOnce() -> T) -> (T, Option<Handed>) {
    struct Until(bool);
    impl Drop for Until {
        fn drop(&mut self) {
            TAKES.set(self.0);
        }
    }
    let until = Until(TAKES.replace(true));
    let polled = poll();
    drop(until);
    (polled, TAKEN.take())
}

impl Handed {
    /// The decoder that meets its mark next, on this thread, has the message.
    pub fn give(self) {
        GIVEN.set(Some(self));
    }
}

/// Leaves a message with whoever takes it, and its mark in its place; gives it back where nobody does.
pub(crate) fn leave<T: Send + 'static>(message: T, buffer: &mut impl BufMut) -> Result<(), T> {
    static LAST: AtomicU64 = AtomicU64::new(0);
    if !TAKES.get() {
        return Err(message);
    }
    let number = LAST.fetch_add(1, Ordering::Relaxed);
    TAKEN.set(Some(Handed { number, message: Box::new(message) }));
    buffer.put_u8(MARK);
    buffer.put_u64_le(number);
    Ok(())
}

/// The message that a mark stands for; none where this is no mark.
pub(crate) fn find<T: 'static>(buffer: &mut impl Buf) -> Option<Result<T, Status>> {
    let is_mark = buffer.remaining() == MARK_BYTES && buffer.chunk().first() == Some(&MARK);
    let given = is_mark.then(|| GIVEN.take()).flatten()?;
    buffer.advance(1);
    let lost = || Status::internal("a message that was handed over is not there");
    let found = (buffer.get_u64_le() == given.number).then_some(given.message).ok_or_else(lost);
    Some(found.and_then(|message| message.downcast().map(|message| *message).map_err(|_other| lost())))
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;

    #[test]
    fn a_message_is_handed_over_once_and_to_nobody_else() {
        let mut bytes = BytesMut::new();
        assert_eq!(leave("as it is", &mut bytes), Err("as it is"), "nobody takes it");
        assert!(bytes.is_empty());

        let (left, handed) = taking(|| leave("this", &mut bytes));
        let (handed, mark) = (handed.unwrap(), bytes.split().freeze());
        assert_eq!((left, mark.len()), (Ok(()), MARK_BYTES));
        assert!(find::<&str>(&mut mark.clone()).is_none(), "it is not given yet");
        handed.give();
        assert!(find::<&str>(&mut &b"\x0a\x01a"[..]).is_none(), "a message of bytes is no mark");
        assert_eq!(find::<&str>(&mut mark.clone()).unwrap().unwrap(), "this");
        assert!(find::<&str>(&mut mark.clone()).is_none(), "it is given once");
        let read = <crate::transformer::TransformRequest as prost::Message>::decode(mark);
        assert!(read.is_err(), "a mark without its message is no empty message: {read:?}");
    }

    #[test]
    fn what_is_not_what_the_mark_says_is_an_error() {
        let mut bytes = BytesMut::new();
        let (_, first) = taking(|| leave(1_u8, &mut bytes));
        let first_mark = bytes.split();
        let (_, second) = taking(|| leave(2_u8, &mut bytes));
        second.unwrap().give();
        assert!(find::<u8>(&mut &first_mark[..]).unwrap().is_err(), "another message");
        first.unwrap().give();
        assert!(find::<u16>(&mut &first_mark[..]).unwrap().is_err(), "of another type");
    }

    #[test]
    fn a_panic_ends_the_taking() {
        let panics = std::panic::catch_unwind(|| taking(|| panic!("asked to")));
        assert!(panics.is_err());
        assert_eq!(leave(1, &mut BytesMut::new()), Err(1));
    }
}
