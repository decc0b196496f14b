//! A body without its codings, as a reader.

use std::{
    fmt,
    io::{self, BufRead, BufReader, Cursor, Read},
};

use brotli_decompressor::{BrotliDecoderParameter, Decompressor};
use flate2::bufread::MultiGzDecoder;

use crate::{
    coding::{Coding, MAX_CODINGS, codings},
    inflate::Inflate,
    unzstd::Unzstd,
};

/// How gzip and zstd begin; no JSON and no form begins with the first byte of the one or with both of the other.
const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// How a frame of zstd begins that is skipped; its first byte may have any low digit.
const ZSTD_SKIPPED: [u8; 3] = [0x2a, 0x4d, 0x18];
/// What is looked at of a body to see whether it is text, and how much of it there must be: few packed bytes may be
/// letters by chance.
const LOOKED_AT_BYTES: usize = 512;
const MIN_TEXT_BYTES: usize = 16;
/// What is held of each coding's bytes.
const BUFFER_BYTES: usize = 16 * 1024;

/// Gives a body without its codings.
///
/// # Errors
///
/// Reading fails with [`io::ErrorKind::FileTooLarge`] where the body, or what one coding of a row makes of it, has more
/// bytes than it may, and with another kind where it cannot be unpacked.
pub struct Decoder<'a> {
    plain: Box<dyn Read + 'a>,
    /// What was taken off, the outermost first.
    taken: Vec<Coding>,
}

impl<'a> Decoder<'a> {
    /// Of a body with its `Content-Encoding`. It gives at most `max_bytes`.
    #[must_use]
    pub fn new(content_encoding: &str, body: &'a [u8], max_bytes: usize) -> Self {
        // who sends what nobody reads was refused; what is kept may have come from another version
        let mut said = codings(content_encoding).unwrap_or_default();
        let mut begin = body[..body.len().min(LOOKED_AT_BYTES)].to_vec();
        let (mut plain, mut taken): (Box<dyn BufRead + 'a>, _) = (Box::new(body), Vec::new());
        while taken.len() < MAX_CODINGS
            && let Some(coding) = next(&begin, &mut said)
        {
            taken.push(coding);
            (begin, plain) = match opened(coding, plain) {
                Ok(opened) => looked_at(Bounded { inner: opened, left: max_bytes }),
                Err(error) => looked_at(Broken(Some(error))),
            };
        }
        Self { plain: Box::new(Bounded { inner: plain, left: max_bytes }), taken }
    }

    /// The codings that it has, the outermost first; none is a plain body.
    #[must_use]
    pub fn codings(&self) -> &[Coding] {
        &self.taken
    }
}

impl Read for Decoder<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.plain.read(out)
    }
}

impl fmt::Debug for Decoder<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Decoder").field("taken", &self.taken).finish_non_exhaustive()
    }
}

/// The outermost coding of a body; none is a plain one.
#[must_use]
pub fn outermost(content_encoding: &str, body: &[u8]) -> Option<Coding> {
    let mut said = codings(content_encoding).unwrap_or_default();
    next(&body[..body.len().min(LOOKED_AT_BYTES)], &mut said)
}

/// Whether a body that begins so may have a coding: its bytes as they come say nothing then.
#[must_use]
pub fn may_be_coded(content_encoding: &str, begin: &[u8]) -> bool {
    // as much of a mark as has come
    let begins = |mark: &[u8]| begin.iter().zip(mark).all(|(byte, mark)| byte == mark);
    let is_skipped = begin.first().is_some_and(|first| first & 0xf0 == 0x50)
        && begin[1..].iter().zip(&ZSTD_SKIPPED).all(|(byte, mark)| byte == mark);
    begins(&GZIP) || begins(&ZSTD) || is_skipped || codings(content_encoding).is_ok_and(|codings| !codings.is_empty())
}

/// The coding of bytes that begin so: as they show, else as the last of what is left of the label says.
fn next(begin: &[u8], said: &mut Vec<Coding>) -> Option<Coding> {
    if let Some(certain) = shown(begin) {
        said.pop_if(|said| *said == certain);
        return Some(certain);
    }
    // neither gzip nor zstd is there without its mark, and text is no coding
    while let Some(coding) = said.pop() {
        let is_text = begin.is_empty() || begin.len() >= MIN_TEXT_BYTES && is_text(begin);
        if matches!(coding, Coding::Deflate | Coding::Brotli) && !is_text {
            return Some(coding);
        }
    }
    None
}

fn shown(begin: &[u8]) -> Option<Coding> {
    let is_skipped = begin.first().is_some_and(|first| first & 0xf0 == 0x50) && begin[1..].starts_with(&ZSTD_SKIPPED);
    match begin {
        _ if begin.starts_with(&GZIP) => Some(Coding::Gzip),
        _ if begin.starts_with(&ZSTD) || is_skipped => Some(Coding::Zstd),
        _ => None,
    }
}

/// Whether it is the begin of a text: of UTF-8 without control characters, or of JSON in another charset. What is
/// packed shows others within few bytes.
fn is_text(begin: &[u8]) -> bool {
    let has_controls = begin.iter().any(|byte| byte.is_ascii_control() && !b"\t\n\r".contains(byte));
    let is_utf8 = match std::str::from_utf8(begin) {
        Ok(_) => true,
        // the last character is cut
        Err(error) => error.error_len().is_none() && error.valid_up_to() > 0,
    };
    let unmarked = begin.strip_prefix(b"\xfe\xff").or_else(|| begin.strip_prefix(b"\xff\xfe")).unwrap_or(begin);
    let is_wide = matches!(unmarked, [0, b'{' | b'[', 0, 1..=0x7f, ..] | [b'{' | b'[', 0, 1..=0x7f, 0, ..]);
    let is_json = matches!(begin.trim_ascii_start(), [b'{' | b'[', ..]);
    !has_controls && (is_utf8 || is_json) || is_wide
}

fn opened<'a>(coding: Coding, packed: Box<dyn BufRead + 'a>) -> io::Result<Box<dyn Read + 'a>> {
    Ok(match coding {
        Coding::Gzip => Box::new(MultiGzDecoder::new(packed)),
        Coding::Deflate => Box::new(Inflate::new(packed)?),
        Coding::Brotli => {
            let mut decompressor = Decompressor::new(packed, BUFFER_BYTES);
            // windows of more than 16 MiB are an extension that HTTP does not have
            decompressor.set_parameter(BrotliDecoderParameter::BROTLI_DECODER_PARAM_LARGE_WINDOW, 0);
            Box::new(decompressor)
        }
        Coding::Zstd => Box::new(Unzstd::new(packed)),
    })
}

/// The begin of what a reader gives, and the reader as it was. What goes wrong meanwhile goes wrong again when it is
/// read.
fn looked_at<'a>(mut reader: impl Read + 'a) -> (Vec<u8>, Box<dyn BufRead + 'a>) {
    let mut begin = Vec::new();
    let read = (&mut reader).take(LOOKED_AT_BYTES as u64).read_to_end(&mut begin);
    let rest = Cursor::new(begin.clone());
    match read {
        Ok(_) => (begin, Box::new(rest.chain(BufReader::with_capacity(BUFFER_BYTES, reader)))),
        Err(error) => (begin, Box::new(rest.chain(BufReader::new(Broken(Some(error)))))),
    }
}

/// Gives at most so many bytes.
struct Bounded<R> {
    inner: R,
    left: usize,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(out)?;
        self.left = self.left.checked_sub(read).ok_or(io::ErrorKind::FileTooLarge)?;
        Ok(read)
    }
}

/// A reader that failed.
struct Broken(Option<io::Error>);

impl Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(self.0.take().unwrap_or_else(|| io::ErrorKind::InvalidData.into()))
    }
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
