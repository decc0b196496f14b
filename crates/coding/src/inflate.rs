//! DEFLATE, with or without zlib's envelope. A stream that breaks off is an error, which flate2's own readers take for
//! its end.

use std::io::{self, BufRead, Read};

use flate2::{Decompress, FlushDecompress, Status};

/// Unpacks what `packed` gives.
#[derive(Debug)]
pub(crate) struct Inflate<R> {
    packed: R,
    state: Decompress,
    ended: bool,
}

impl<R: BufRead> Inflate<R> {
    /// Tells by the first bytes whether there is an envelope.
    pub(crate) fn new(mut packed: R) -> io::Result<Self> {
        let enveloped = has_envelope(packed.fill_buf()?);
        Ok(Self { packed, state: Decompress::new(enveloped), ended: false })
    }
}

impl<R: BufRead> Read for Inflate<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while !self.ended && !out.is_empty() {
            let packed = self.packed.fill_buf()?;
            let (read, written, at_end) = (self.state.total_in(), self.state.total_out(), packed.is_empty());
            let status = self.state.decompress(packed, out, FlushDecompress::None);
            let read = usize::try_from(self.state.total_in() - read).unwrap_or(usize::MAX);
            let written = usize::try_from(self.state.total_out() - written).unwrap_or(usize::MAX);
            self.packed.consume(read);
            match status {
                Ok(Status::StreamEnd) => self.ended = true,
                Ok(Status::Ok | Status::BufError) if written == 0 && at_end => {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                Ok(_) => {}
                Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
            }
            if written > 0 {
                return Ok(written);
            }
        }
        Ok(0)
    }
}

/// Whether they are the two bytes that a zlib stream begins with. Source: RFC 1950, section 2.2. No stream without an
/// envelope begins so: its first block would be of the type that there is not, or stored with a length that is not
/// repeated inverted.
fn has_envelope(begin: &[u8]) -> bool {
    matches!(begin, [method, flags, ..]
        if method & 0x0f == 8 && method >> 4 <= 7 && u16::from_be_bytes([*method, *flags]) % 31 == 0)
}
