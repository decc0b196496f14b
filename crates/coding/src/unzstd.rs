//! Zstandard, frame after frame.

use std::io::{self, BufRead, Read};

use ruzstd::decoding::{
    BlockDecodingStrategy, FrameDecoder,
    errors::{FrameDecoderError, ReadFrameHeaderError},
};

/// Largest window, which is held in memory. Source: RFC 9659, "Window Sizing for Zstandard Content Encoding".
const MAX_WINDOW_BYTES: u64 = 8 * 1024 * 1024;
/// Most frames: one that is empty gives nothing that could be counted.
const MAX_FRAMES: u32 = 4096;

/// Unpacks what `packed` gives.
pub(crate) struct Unzstd<R> {
    packed: R,
    decoder: FrameDecoder,
    is_in_frame: bool,
    frames: u32,
}

impl<R: BufRead> Unzstd<R> {
    pub(crate) fn new(packed: R) -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(MAX_WINDOW_BYTES);
        Self { packed, decoder, is_in_frame: false, frames: 0 }
    }

    /// Begins the next frame. False where there is none.
    fn begin(&mut self) -> io::Result<bool> {
        loop {
            if self.packed.fill_buf()?.is_empty() {
                return Ok(false);
            }
            self.frames += 1;
            if self.frames > MAX_FRAMES {
                return Err(invalid("too many frames"));
            }
            match self.decoder.init(&mut self.packed) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                    let skipped = io::copy(&mut (&mut self.packed).take(length.into()), &mut io::sink())?;
                    if skipped < length.into() {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(error) => return Err(invalid(error)),
            }
        }
    }
}

impl<R: BufRead> Read for Unzstd<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.is_in_frame {
                if out.is_empty() || !self.begin()? {
                    return Ok(0);
                }
                self.is_in_frame = true;
            }
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                let one_block = BlockDecodingStrategy::UptoBlocks(1);
                self.decoder.decode_blocks(&mut self.packed, one_block).map_err(invalid)?;
            }
            let read = self.decoder.read(out)?;
            if self.decoder.is_finished() && self.decoder.can_collect() == 0 {
                self.is_in_frame = false;
                let (said, is) = (self.decoder.get_checksum_from_data(), self.decoder.get_calculated_checksum());
                if said.is_some() && said != is {
                    return Err(invalid("the checksum is another"));
                }
            }
            if read > 0 {
                return Ok(read);
            }
        }
    }
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
