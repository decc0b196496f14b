//! How messages become bytes.

use std::marker::PhantomData;

use bytes::BufMut;
use prost::Message;
use tonic::{
    Status,
    codec::{Codec, EncodeBuf, Encoder},
};
use tonic_prost::ProstDecoder;

/// tonic's protobuf codec, but for one thing: it makes room for a whole message before it writes it. A message here is a
/// batch of hundreds of kilobytes, and a buffer that grows by doubling copies it once more.
#[derive(Debug)]
pub struct BatchCodec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for BatchCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T: Message + Send + 'static, U: Message + Default + Send + 'static> Codec for BatchCodec<T, U> {
    type Encode = T;
    type Decode = U;
    type Encoder = BatchEncoder<T>;
    type Decoder = ProstDecoder<U>;

    fn encoder(&mut self) -> BatchEncoder<T> {
        BatchEncoder(PhantomData)
    }

    fn decoder(&mut self) -> ProstDecoder<U> {
        ProstDecoder::new(tonic::codec::BufferSettings::default())
    }
}

/// See [`BatchCodec`].
#[derive(Debug)]
pub struct BatchEncoder<T>(PhantomData<T>);

impl<T: Message> Encoder for BatchEncoder<T> {
    type Item = T;
    type Error = Status;

    fn encode(&mut self, item: T, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.reserve(item.encoded_len());
        debug_assert!(buffer.remaining_mut() >= item.encoded_len(), "room was made");
        item.encode_raw(buffer);
        Ok(())
    }
}
