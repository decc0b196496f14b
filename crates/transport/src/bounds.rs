//! How much a server takes on at a time, from all callers and from one.
//!
//! What callers can make it keep in memory, at most: `held_bytes` for messages, items and answers that are under way (twice
//! that, where all of it is text that is copied), and some 3 KB for each of `connections` times `streams` streams, which is
//! 100 MB where every connection opens all of its streams and reads no answer.
//!
//! Measured with `moehog-delivery` (dev build, 24 MB at rest), without bounds and with them: 100,000 streams on one connection
//! 384 and 26 MB; eight connections with 250 calls of 9,990 empty events each that do not end, 1674 and 66 MB; four with
//! half-sent messages of 3 MB, until they were cut off after 9 s, 630 and 124 MB.

use std::time::Duration;

use moehog_proto::limits::{MAX_ITEMS, MAX_MESSAGE_BYTES};

/// Bytes of one caller's messages, items and answers that are held at a time: the largest message and a fifth. A gateway has
/// `relay.in_flight_bytes` and a quarter under way to a replica, or one webhook that is larger.
const CALLER_BYTES: usize = MAX_MESSAGE_BYTES / 5 * 6;

/// The bounds of a server. A gateway meets none of them; over one, a call is refused before it is worked on, and
/// [`never_left`](crate::never_left) says so.
#[derive(Debug, Clone)]
pub struct ServerBounds {
    /// Open connections; one more is closed at once. A gateway has one to each replica, and one more while it is renewed.
    pub connections: usize,
    /// Streams of a connection; a caller keeps back what is more. A gateway has 20 calls for each destination.
    pub streams: u32,
    /// Calls under way, of all connections.
    pub calls: usize,
    /// Watches of the health service, of all connections. One lives as long as its connection, so it takes no place of a call. A
    /// client that looks at health needs one for each connection.
    pub watches: usize,
    /// Events, or webhooks, of one call.
    pub items: usize,
    /// Bytes of messages, items and answers of a connection.
    pub connection_bytes: usize,
    /// Bytes of messages, items and answers of all connections.
    pub held_bytes: usize,
    /// Longest time until a new connection has sent HTTP/2's first bytes.
    pub preface: Duration,
    /// Longest time in which nothing comes of a message that has not ended.
    pub silence: Duration,
    /// Longest time that a message may take.
    pub message: Duration,
    /// Longest time from a call's answer until its caller has taken all of it.
    pub answer: Duration,
}

impl Default for ServerBounds {
    fn default() -> Self {
        Self {
            connections: 128,
            streams: 256,
            calls: 2048,
            watches: 256,
            items: MAX_ITEMS,
            connection_bytes: CALLER_BYTES,
            held_bytes: 2 * MAX_MESSAGE_BYTES,
            preface: Duration::from_secs(10),
            silence: Duration::from_secs(10),
            message: Duration::from_secs(60),
            answer: Duration::from_secs(60),
        }
    }
}

impl ServerBounds {
    /// These, with so many bytes held at most, in a process that may use so much memory: a third of it, which leaves as much
    /// again for what is made of messages, and the rest of the process. The largest message always fits.
    #[must_use]
    pub fn holding(self, bytes: usize, memory: Option<u64>) -> Self {
        let part = memory.map_or(usize::MAX, |memory| usize::try_from(memory / 3).unwrap_or(usize::MAX));
        Self { held_bytes: bytes.min(part).max(CALLER_BYTES), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_fits_the_container_and_holds_the_largest_message() {
        let held = |bytes, memory| ServerBounds::default().holding(bytes, memory).held_bytes >> 20;
        assert_eq!(held(160 << 20, None), 160);
        assert_eq!(held(160 << 20, Some(512 << 20)), 160);
        assert_eq!(held(256 << 20, Some(512 << 20)), 170);
        assert_eq!(held(256 << 20, Some(128 << 20)), 96, "one message of 80 MiB fits");
    }
}
