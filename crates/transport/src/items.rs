//! Counts the fields of a message while it comes, before anything is made of it: an empty event is two bytes on the wire
//! and some hundred once it is read.

/// Reads gRPC messages of Protocol Buffers as their bytes come, and counts the fields that stand in the message itself: the
/// events of a Deliver call, the webhooks of a Transform call. What stands in a field is skipped.
#[derive(Debug)]
pub(crate) struct Items {
    state: State,
    /// Bytes of the message that are still to come.
    left: usize,
    count: usize,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// A flag and the message's length, so many bytes of which were read.
    Head { read: u8, compressed: bool, length: u32 },
    /// The number and kind of a field.
    Tag(Varint),
    /// A field that is a number.
    Number,
    /// The length of a field.
    Length(Varint),
    /// So many bytes of a field.
    Skip(usize),
}

/// A number that is read from seven bits a byte, the lowest first.
#[derive(Debug, Clone, Copy, Default)]
struct Varint {
    value: u64,
    shift: u32,
}

const HEAD: State = State::Head { read: 0, compressed: false, length: 0 };
const TAG: State = State::Tag(Varint { value: 0, shift: 0 });
/// Bytes of a message's head.
const HEAD_BYTES: u8 = 5;

impl Items {
    pub(crate) fn new() -> Self {
        Self { state: HEAD, left: 0, count: 0 }
    }

    /// Fields so far.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Bytes that the message's head says are still to come.
    pub(crate) fn announced_bytes(&self) -> usize {
        self.left
    }

    /// Reads on.
    pub(crate) fn read(&mut self, mut bytes: &[u8]) {
        while let Some(&byte) = bytes.first() {
            if let State::Head { read, compressed, length } = self.state {
                bytes = &bytes[1..];
                self.read_head(byte, read, compressed, length);
                continue;
            }
            let taken = match self.state {
                State::Skip(skip) => skip.min(self.left).min(bytes.len()),
                _ => 1,
            };
            self.state = match self.state {
                State::Skip(skip) if skip > taken => State::Skip(skip - taken),
                State::Skip(_) => TAG,
                State::Number if byte & 0x80 == 0 => TAG,
                State::Tag(mut tag) => match tag.read(byte) {
                    Some(tag) => self.begin_field(tag),
                    None => State::Tag(tag),
                },
                State::Length(mut length) => match length.read(byte) {
                    Some(0) => TAG,
                    Some(length) => State::Skip(usize::try_from(length).unwrap_or(usize::MAX)),
                    None => State::Length(length),
                },
                state => state,
            };
            bytes = &bytes[taken..];
            self.left -= taken;
            if self.left == 0 {
                self.state = HEAD;
            }
        }
    }

    fn read_head(&mut self, byte: u8, read: u8, compressed: bool, length: u32) {
        let (compressed, length) = match read {
            0 => (byte != 0, 0),
            _ => (compressed, length << 8 | u32::from(byte)),
        };
        if read + 1 < HEAD_BYTES {
            self.state = State::Head { read: read + 1, compressed, length };
            return;
        }
        self.left = length as usize;
        self.state = match self.left {
            0 => HEAD,
            // no server of ours takes it: whoever reads it says so
            left if compressed => State::Skip(left),
            _ => TAG,
        };
    }

    fn begin_field(&mut self, tag: u64) -> State {
        self.count += 1;
        match tag & 7 {
            0 => State::Number,
            1 => State::Skip(8),
            2 => State::Length(Varint::default()),
            5 => State::Skip(4),
            // groups, which nobody sends any more: what stands in them is counted too
            _ => TAG,
        }
    }
}

impl Varint {
    /// The number, once its last byte is read.
    fn read(&mut self, byte: u8) -> Option<u64> {
        self.value |= u64::from(byte & 0x7f).checked_shl(self.shift).unwrap_or(0);
        self.shift += 7;
        (byte & 0x80 == 0).then_some(self.value)
    }
}

#[cfg(test)]
mod tests {
    use moehog_proto::{
        delivery::DeliverRequest,
        event::Event,
        transformer::{TransformRequest, Webhook},
    };
    use prost::Message;

    use super::*;

    fn framed(message: &impl Message) -> Vec<u8> {
        let body = message.encode_to_vec();
        let mut framed = vec![0];
        framed.extend(u32::try_from(body.len()).unwrap().to_be_bytes());
        framed.extend(body);
        framed
    }

    fn count(bytes: &[u8], piece: usize) -> usize {
        let mut items = Items::new();
        bytes.chunks(piece).for_each(|piece| items.read(piece));
        items.count()
    }

    #[test]
    fn fields_are_counted_however_the_message_is_cut() {
        let events = |count: usize| {
            let event = |at| Event { ordinal: at as u32, json: vec![b'x'; at * 7].into(), ..Event::default() };
            (0..count).map(event).collect()
        };
        let deliver = framed(&DeliverRequest { destination: "shop".into(), events: events(300) });
        let webhooks = vec![Webhook { body: vec![0xff; 1000].into(), ..Webhook::default() }; 5];
        let transform = framed(&TransformRequest { webhooks, max_response_bytes: u64::MAX, ..Default::default() });
        let empty = framed(&DeliverRequest { destination: String::new(), events: vec![Event::default(); 1000] });
        for piece in [1, 2, 7, 64, 1 << 20] {
            assert_eq!(count(&deliver, piece), 301, "pieces of {piece}");
            assert_eq!(count(&transform, piece), 6, "pieces of {piece}");
            assert_eq!(count(&empty, piece), 1000, "pieces of {piece}");
            assert_eq!(count(&[&deliver[..], &empty].concat(), piece), 1301, "one message after another");
        }
    }

    #[test]
    fn any_bytes_are_read_without_a_panic_and_a_message_ends_where_its_head_says() {
        let mut chance = 7_u64;
        for _ in 0..2000 {
            let mut bytes = Vec::new();
            for _ in 0..200 {
                chance ^= chance << 13;
                chance ^= chance >> 7;
                chance ^= chance << 17;
                bytes.push(chance as u8);
            }
            // a field that says it is longer than its message, and one more message behind it
            let mut framed = vec![0, 0, 0, 0, 200];
            framed.extend(&bytes);
            let before = count(&framed, 13);
            framed.extend([0, 0, 0, 0, 2, 0x12, 0]);
            assert_eq!(count(&framed, 13), before + 1);
        }
    }
}
