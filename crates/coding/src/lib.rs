//! The content codings of a body: gzip, deflate, br and zstd, also in a row, read within a bound.
//!
//! A webhook is kept as it came, so it is unpacked wherever somebody looks into it: the gateway looks for a project key
//! and counts the bytes, the transformer reads the events, the admin API shows the text. All of them must see the same,
//! so it stands here once.
//!
//! What a body is coded in is said by its bytes where they are certain (gzip and zstd begin with a mark, and text is no
//! coding), and else by `Content-Encoding`: marketers type that header, and proxies pack and unpack without a word.
//! [`Decoder`] gives the plain bytes as they are unpacked and holds none of them; each coding of a row gives at most as
//! many bytes as the whole may have.

mod coding;
mod decoder;
mod inflate;
mod unzstd;

#[cfg(feature = "test-util")]
pub mod made;

pub use self::{
    coding::{Coding, MAX_CODINGS, UnknownCoding, codings},
    decoder::{Decoder, may_be_coded, outermost},
};
