//! How messages become bytes.

use std::marker::PhantomData;

use bytes::BufMut;
use prost::Message;
use tonic::{
    Status,
    codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};
use tonic_prost::ProstDecoder;

use crate::hand_over;

/// tonic's protobuf codec, but for two things. It makes room for a whole message before it writes it: a message here is a
/// batch of hundreds of kilobytes, and a buffer that grows by doubling copies it once more. And a message that stays in this
/// process is not encoded at all (see [`hand_over`]).
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
    type Decoder = BatchDecoder<U>;

    fn encoder(&mut self) -> BatchEncoder<T> {
        BatchEncoder(PhantomData)
    }

    fn decoder(&mut self) -> BatchDecoder<U> {
        BatchDecoder(ProstDecoder::new(BufferSettings::default()))
    }
}

/// See [`BatchCodec`].
#[derive(Debug)]
pub struct BatchEncoder<T>(PhantomData<T>);

impl<T: Message + Send + 'static> Encoder for BatchEncoder<T> {
    type Item = T;
    type Error = Status;

    fn encode(&mut self, item: T, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        let Err(item) = hand_over::leave(item, buffer) else { return Ok(()) };
        buffer.reserve(item.encoded_len());
        debug_assert!(buffer.remaining_mut() >= item.encoded_len(), "room was made");
        item.encode_raw(buffer);
        Ok(())
    }
}

/// See [`BatchCodec`].
#[derive(Debug)]
pub struct BatchDecoder<U>(ProstDecoder<U>);

impl<U: Message + Default + 'static> Decoder for BatchDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        match hand_over::find(buffer) {
            Some(message) => message.map(Some),
            None => self.0.decode(buffer),
        }
    }
}
