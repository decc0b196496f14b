//! The key in a form-encoded body: `api_key=phc_x&event=…`, or within what a field `data` holds, as PostHog's SDKs for
//! browsers sent it.

use std::io::{self, Write};

use flate2::write::MultiGzDecoder;

use super::pass::{KeyScan, MAX_TEXT_BYTES, Name, State};

/// How much of a compressed field is looked into: more than an SDK sends at once, and done in a few milliseconds.
const MAX_INFLATED_BYTES: usize = 512 * 1024;
/// The name of the field that holds a whole body.
const DATA: &[u8] = b"data=";
/// What is decoded at a time.
const PIECE_BYTES: usize = 4 * 1024;

/// A form while it comes. Project keys need no percent-encoding.
#[derive(Debug)]
pub(super) enum Form {
    /// Nothing but white space yet.
    Unknown,
    /// It begins as JSON does.
    Not,
    Pairs(Pairs),
}

#[derive(Debug, Default)]
pub(super) struct Pairs {
    /// The start of the pair under way.
    pair: Vec<u8>,
    best: Option<(Name, String)>,
    /// What the first field `data` holds.
    data: Option<Box<Data>>,
    /// It is under way.
    in_data: bool,
}

impl Form {
    pub(super) fn feed(&mut self, mut chunk: &[u8]) {
        if matches!(self, Self::Unknown) {
            // blanks before the first pair are no part of it, however the body is cut
            chunk = chunk.trim_ascii_start();
            match chunk.first() {
                None => return,
                Some(byte) if byte.is_ascii_alphabetic() || *byte == b'$' || *byte == b'%' => {
                    *self = Self::Pairs(Pairs::default());
                }
                Some(_) => *self = Self::Not,
            }
        }
        let Self::Pairs(pairs) = self else { return };
        for (index, part) in chunk.split(|byte| *byte == b'&').enumerate() {
            if index > 0 {
                pairs.end_pair();
            }
            pairs.feed(part);
        }
    }

    /// The key of a field of its own; without one that within `data`.
    pub(super) fn key(self) -> Option<String> {
        let Self::Pairs(mut pairs) = self else { return None };
        pairs.end_pair();
        pairs.best.map(|(_, key)| key).or_else(|| pairs.data?.key())
    }
}

impl Pairs {
    fn feed(&mut self, mut part: &[u8]) {
        if !self.in_data {
            let missing = MAX_TEXT_BYTES - self.pair.len();
            let begins = self.data.is_none() && self.pair.len() < DATA.len();
            let kept = part.len().min(if begins { DATA.len() - self.pair.len() } else { missing });
            self.pair.extend_from_slice(&part[..kept]);
            part = &part[kept..];
            if begins && self.pair == DATA {
                self.data = Some(Box::new(Data::new()));
                self.in_data = true;
            } else if begins && !part.is_empty() {
                return self.feed(part);
            }
        }
        if let Some(data) = self.data.as_mut().filter(|_| self.in_data) {
            data.feed(part);
        }
    }

    fn end_pair(&mut self) {
        self.in_data = false;
        let text = self.pair.trim_ascii();
        if let Some(at) = text.iter().position(|byte| *byte == b'=')
            && let Some(name) = Name::of(&text[..at])
            && self.best.as_ref().is_none_or(|(best, _)| name < *best)
        {
            self.best = Some((name, String::from_utf8_lossy(&text[at + 1..]).into_owned()));
        }
        self.pair.clear();
    }
}

/// The value of a field: JSON, or JSON in base64, compressed or not.
#[derive(Debug)]
struct Data {
    /// Digits of a `%xx` that is not complete: its first, where it is known.
    percent: Option<Option<u8>>,
    kind: DataKind,
}

#[derive(Debug)]
enum DataKind {
    Unknown,
    Json(KeyScan),
    Base64 { bits: u32, count: u32, inner: Inner },
}

/// What base64 holds.
#[derive(Debug)]
enum Inner {
    Unknown(Vec<u8>),
    Plain(KeyScan),
    Gzip(Box<MultiGzDecoder<Inflated>>),
    /// It cannot be read on.
    Ended(Option<String>),
}

/// Takes what comes out of a decoder, up to a limit.
#[derive(Debug)]
struct Inflated {
    scan: KeyScan,
    bytes: usize,
}

impl Write for Inflated {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(MAX_INFLATED_BYTES - self.bytes);
        self.scan.feed(&bytes[..taken]);
        self.bytes += taken;
        if taken < bytes.len() { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(taken) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Data {
    fn new() -> Self {
        Self { percent: None, kind: DataKind::Unknown }
    }

    fn feed(&mut self, chunk: &[u8]) {
        for piece in chunk.chunks(PIECE_BYTES) {
            let plain = self.without_percent(piece);
            self.kind.feed(&plain);
        }
    }

    fn without_percent(&mut self, piece: &[u8]) -> Vec<u8> {
        let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
        let mut plain = Vec::with_capacity(piece.len());
        for &byte in piece {
            match (self.percent, digit(byte)) {
                (None, _) if byte == b'%' => self.percent = Some(None),
                (None, _) => plain.push(if byte == b'+' { b' ' } else { byte }),
                (Some(None), Some(first)) => self.percent = Some(Some(first)),
                (Some(Some(first)), Some(second)) => {
                    plain.push(first << 4 | second);
                    self.percent = None;
                }
                // no escape at all: such bytes are in no key
                (Some(_), None) => {
                    plain.extend_from_slice(&[b'%', byte]);
                    self.percent = None;
                }
            }
        }
        plain
    }

    fn key(self) -> Option<String> {
        match self.kind {
            DataKind::Unknown => None,
            DataKind::Json(scan) => scan.into_key(),
            DataKind::Base64 { inner, .. } => inner.key(),
        }
    }
}

impl DataKind {
    fn feed(&mut self, mut plain: &[u8]) {
        if matches!(self, Self::Unknown) {
            plain = plain.trim_ascii_start();
            *self = match plain.first() {
                None => return,
                Some(b'{' | b'[') => Self::Json(KeyScan::new(State::Between)),
                Some(_) => Self::Base64 { bits: 0, count: 0, inner: Inner::Unknown(Vec::new()) },
            };
        }
        match self {
            Self::Unknown => {}
            Self::Json(scan) => scan.feed(plain),
            Self::Base64 { bits, count, inner } => {
                let mut decoded = Vec::with_capacity(plain.len());
                for six in plain.iter().filter_map(|byte| sextet(*byte)) {
                    (*bits, *count) = (*bits << 6 | six, *count + 6);
                    if *count >= 8 {
                        *count -= 8;
                        decoded.push((*bits >> *count) as u8);
                        *bits &= (1 << *count) - 1;
                    }
                }
                inner.feed(&decoded);
            }
        }
    }
}

/// The six bits of a character of base64; a plus that nobody escaped came as a blank.
fn sextet(byte: u8) -> Option<u32> {
    Some(u32::from(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' | b' ' | b'-' => 62,
        b'/' | b'_' => 63,
        _ => return None,
    }))
}

impl Inner {
    fn feed(&mut self, decoded: &[u8]) {
        if let Self::Unknown(first) = self {
            first.extend_from_slice(decoded);
            if first.len() < 2 {
                return;
            }
            let (scan, first) = (KeyScan::new(State::Between), std::mem::take(first));
            *self = match first.starts_with(&[0x1f, 0x8b]) {
                true => Self::Gzip(Box::new(MultiGzDecoder::new(Inflated { scan, bytes: 0 }))),
                false => Self::Plain(scan),
            };
            return self.feed(&first);
        }
        match self {
            Self::Unknown(_) | Self::Ended(_) => {}
            Self::Plain(scan) => scan.feed(decoded),
            Self::Gzip(decoder) => {
                if decoder.write_all(decoded).is_err() {
                    let inflated = decoder.get_ref();
                    // of what is damaged, how much comes out hangs on the pieces it came in
                    let is_full = inflated.bytes == MAX_INFLATED_BYTES;
                    *self = Self::Ended(inflated.scan.key().filter(|_| is_full).map(str::to_string));
                }
            }
        }
    }

    fn key(self) -> Option<String> {
        match self {
            Self::Unknown(_) => None,
            Self::Plain(scan) => scan.into_key(),
            Self::Gzip(mut decoder) => {
                // what is still in it comes out; that it breaks off is no business of the gateway
                let _ended = decoder.try_finish();
                decoder.get_ref().scan.key().map(str::to_string)
            }
            Self::Ended(key) => key,
        }
    }
}
