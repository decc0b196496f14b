//! Coded bodies, for tests.

use std::io::Write;

use brotli::CompressorWriter;
use flate2::{
    Compression,
    write::{DeflateEncoder, GzEncoder, ZlibEncoder},
};
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use crate::Coding;

/// A body in one coding; `deflate` in zlib's envelope.
#[must_use]
pub fn coded(coding: Coding, plain: &[u8]) -> Vec<u8> {
    match coding {
        Coding::Gzip => written(GzEncoder::new(Vec::new(), Compression::best()), plain, GzEncoder::finish),
        Coding::Deflate => written(ZlibEncoder::new(Vec::new(), Compression::best()), plain, ZlibEncoder::finish),
        Coding::Brotli => written(CompressorWriter::new(Vec::new(), 4096, 5, 22), plain, |it| Ok(it.into_inner())),
        Coding::Zstd => compress_to_vec(plain, CompressionLevel::Fastest),
    }
}

/// A body in `deflate` without an envelope, as some senders have it.
#[must_use]
pub fn raw_deflated(plain: &[u8]) -> Vec<u8> {
    written(DeflateEncoder::new(Vec::new(), Compression::best()), plain, DeflateEncoder::finish)
}

fn written<W: Write>(mut encoder: W, plain: &[u8], finish: impl FnOnce(W) -> std::io::Result<Vec<u8>>) -> Vec<u8> {
    let written = encoder.write_all(plain).and_then(|()| finish(encoder));
    written.unwrap_or_default()
}
