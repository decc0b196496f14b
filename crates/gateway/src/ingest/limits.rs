//! How much is taken of one body: its bytes, as they come and decompressed, and the silence between two pieces.

use std::{
    future::poll_fn,
    io::{ErrorKind, Read},
    pin::Pin,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http_body::Body;
use moehog_coding::Decoder;
use tokio::time::Instant;

use super::{Refusal, places::Share, scan::Finder};

/// The limits of one body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BodyLimits {
    /// As received, and decompressed.
    pub(crate) max_bytes: usize,
    /// Between two pieces.
    pub(crate) idle: Duration,
    /// From the first to the last.
    pub(crate) total: Duration,
}

/// Reads a body to its end. What is held of it is counted in `held` as it comes, not as it is announced: an announcement
/// costs its sender nothing. `watch` sees each piece, and the share that it is counted in, as it comes.
pub(crate) async fn read<B>(
    mut body: Pin<&mut B>,
    limits: BodyLimits,
    held: &mut Share,
    mut watch: impl FnMut(&[u8], &mut Share) -> Result<(), Refusal>,
) -> Result<Bytes, Refusal>
where
    B: Body<Data = Bytes>,
{
    let announced = body.size_hint().exact().and_then(|bytes| usize::try_from(bytes).ok());
    if body.size_hint().lower() > limits.max_bytes as u64 {
        return Err(Refusal::TooLarge);
    }
    let deadline = Instant::now() + limits.total;
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    loop {
        let until = deadline.min(Instant::now() + limits.idle);
        let frame = match tokio::time::timeout_at(until, poll_fn(|context| body.as_mut().poll_frame(context))).await {
            Err(_elapsed) => return Err(Refusal::Stalled),
            Ok(None) => break,
            Ok(Some(Err(_error))) => return Err(Refusal::BrokenOff),
            Ok(Some(Ok(frame))) => frame,
        };
        let Ok(data) = frame.into_data() else { continue };
        if first.len() + rest.len() + data.len() > limits.max_bytes {
            return Err(Refusal::TooLarge);
        }
        watch(&data, held)?;
        held.grow(data.len())?;
        if first.is_empty() && rest.is_empty() {
            first = data;
        } else {
            if rest.is_empty() {
                // a small body came whole and is not copied; a large one is put together once
                rest.reserve(announced.unwrap_or(2 * (first.len() + data.len())));
                rest.extend_from_slice(&std::mem::take(&mut first));
            }
            rest.extend_from_slice(&data);
        }
        if announced == Some(first.len() + rest.len()) {
            break;
        }
    }
    Ok(if rest.is_empty() { first } else { rest.freeze() })
}

/// Reads on and forgets it, so that a sender who writes before it reads learns why it was refused: a connection closed
/// over unread bytes is reset. Gives up after a second or `max_bytes`. Says whether the end came.
pub(crate) async fn drain<B>(mut body: Pin<&mut B>, max_bytes: usize) -> bool
where
    B: Body<Data = Bytes>,
{
    let drained = async {
        let mut bytes = 0;
        while bytes < max_bytes && !body.is_end_stream() {
            match poll_fn(|context| body.as_mut().poll_frame(context)).await {
                None => return true,
                Some(Err(_)) => return false,
                Some(Ok(frame)) => bytes += frame.data_ref().map_or(0, Bytes::len),
            }
        }
        body.is_end_stream()
    };
    // what is left of it goes with the connection
    tokio::time::timeout(Duration::from_secs(1), drained).await.unwrap_or_default()
}

/// What is known of a compressed body.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Inspected {
    /// The project key in it.
    pub(crate) key: Option<String>,
    /// All of what it decompresses to, where that is little and can be read to its end.
    pub(crate) plain: Option<Vec<u8>>,
}

/// Counts what a compressed body decompresses to, and looks for a project key if one is `wanted`. No more of the output is kept than
/// `keeps` bytes, so that a bomb costs its first `max_bytes` of work and no memory. It is left at `until`: nobody waits for it then. A body
/// that breaks off inside is inspected as far as it goes: its syntax is not the gateway's business.
pub(crate) fn inspect(
    (content_encoding, body): (&str, &[u8]),
    max_bytes: usize,
    (wanted, keeps): (bool, usize),
    until: Instant,
) -> Result<Inspected, Refusal> {
    let mut finder = wanted.then(Finder::new);
    let mut plain = Some(Vec::new());
    let mut decoder = Decoder::new(content_encoding, body, max_bytes);
    let mut buffer = [0; 16 * 1024];
    loop {
        let read = match decoder.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::FileTooLarge => return Err(Refusal::TooLarge),
            // the end of what can be read; what the rest was, nobody knows
            Err(_) => {
                plain = None;
                break;
            }
        };
        if Instant::now() > until {
            return Err(Refusal::Overloaded);
        }
        if let Some(finder) = &mut finder {
            finder.feed(&buffer[..read]);
        }
        plain = plain.filter(|plain| plain.len() + read <= keeps);
        plain.iter_mut().for_each(|plain| plain.extend_from_slice(&buffer[..read]));
    }
    Ok(Inspected { key: finder.and_then(Finder::key), plain })
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
    use moehog_coding::{Coding, made::coded};

    use super::*;
    use crate::ingest::places::{Bound, Standing};

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        coded(Coding::Gzip, bytes)
    }

    fn share_of(bound: &Bound) -> Share {
        bound.share(Standing::Secret, std::net::Ipv4Addr::LOCALHOST.into())
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    fn pieces(pieces: Vec<&'static [u8]>) -> BoxBody<Bytes, std::convert::Infallible> {
        let frames = pieces.into_iter().map(|piece| Ok(http_body::Frame::data(Bytes::from_static(piece))));
        StreamBody::new(futures::stream::iter(frames)).boxed()
    }

    const LIMITS: BodyLimits =
        BodyLimits { max_bytes: 10, idle: Duration::from_secs(1), total: Duration::from_secs(5) };

    #[tokio::test]
    async fn a_body_is_read_whole_and_counted_while_it_is_held() {
        let bound = Bound::new(12, 12);
        let mut share = share_of(&bound);
        let body =
            read(std::pin::pin!(pieces(vec![b"abc", b"", b"defg", b"hij"])), LIMITS, &mut share, |_, _| Ok(())).await;
        assert_eq!(body.unwrap(), "abcdefghij");
        assert_eq!(bound.used(), 10);
        let mut second = share_of(&bound);
        let refused = read(std::pin::pin!(pieces(vec![b"ab", b"c"])), LIMITS, &mut second, |_, _| Ok(())).await;
        assert_eq!(refused, Err(Refusal::Overloaded));
        drop((share, second));
        assert_eq!(bound.used(), 0);
    }

    #[tokio::test]
    async fn a_body_over_the_limit_is_refused_announced_or_not() {
        let bound = Bound::new(100, 100);
        let announced = Full::new(Bytes::from_static(b"abcdefghijk"));
        assert_eq!(
            read(std::pin::pin!(announced), LIMITS, &mut share_of(&bound), |_, _| Ok(())).await,
            Err(Refusal::TooLarge)
        );
        let streamed = pieces(vec![b"abcdefgh", b"ijk"]);
        assert_eq!(
            read(std::pin::pin!(streamed), LIMITS, &mut share_of(&bound), |_, _| Ok(())).await,
            Err(Refusal::TooLarge)
        );
        assert_eq!(bound.used(), 0);
    }

    /// What is found in a body, which is looked at for a key.
    fn look(body: &[u8], max_bytes: usize) -> Result<Inspected, Refusal> {
        inspect(("", body), max_bytes, (true, 1000), soon())
    }

    #[test]
    fn a_decompressed_body_is_counted_to_the_byte() {
        let body = gzip(&[b'a'; 1000]);
        assert!(look(&body, 1000).is_ok());
        assert_eq!(look(&body, 999), Err(Refusal::TooLarge));
        let twice = [gzip(&[b'a'; 600]), gzip(&[b'a'; 600])].concat();
        assert_eq!(look(&twice, 1000), Err(Refusal::TooLarge));
    }

    #[test]
    fn no_more_of_a_body_is_kept_than_is_asked_for() {
        assert_eq!(look(&gzip(&[b'a'; 1000]), 2000).unwrap().plain.unwrap(), [b'a'; 1000]);
        assert_eq!(look(&gzip(&[b'a'; 1001]), 2000).unwrap().plain, None);
        let whole = gzip(&[b'a'; 1000]);
        assert_eq!(look(&whole[..whole.len() - 1], 2000).unwrap().plain, None, "it may have been a list");
    }

    #[test]
    fn an_inspection_that_nobody_waits_for_is_left() {
        let (body, before) = (gzip(&[b'a'; 1000]), Instant::now() - Duration::from_secs(1));
        assert_eq!(inspect(("gzip", &body), 1000, (true, 0), before), Err(Refusal::Overloaded));
    }

    #[test]
    fn a_key_is_found_in_what_can_be_read_of_a_damaged_body() {
        let mut body = gzip(format!(r#"{{"api_key":"phc_a","text":"{}"}}"#, "lorem ipsum ".repeat(500)).as_bytes());
        body.truncate(body.len() - 12);
        assert_eq!(look(&body, 10_000).unwrap().key.as_deref(), Some("phc_a"));
    }
}
