//! A service in this process as a channel.

use std::{
    future::Future,
    pin::Pin,
    task::{self, Poll, ready},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use moehog_proto::{BoxError, channel};
use tonic::{Status, body::Body, codegen::Service};

use crate::Link;

/// Bytes of a gRPC message's head: a flag and the message's length.
const HEAD: usize = 5;

/// Reaches a service in this process. Each call runs on a task of its own, so that a panic in it is an `internal` status
/// and dropping the call's future ends it.
pub fn in_process<S, B>(service: S) -> Link
where
    S: Service<http::Request<Body>, Response = http::Response<B>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    Link { same_process: true, ..Link::to_one(channel(InProcess { service })) }
}

#[derive(Debug, Clone)]
struct InProcess<S> {
    service: S,
}

impl<S, B> Service<http::Request<Body>> for InProcess<S>
where
    S: Service<http::Request<Body>, Response = http::Response<B>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    B: Send + 'static,
{
    type Response = http::Response<HeadFirst<B>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _context: &mut task::Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let mut service = self.service.clone();
        let request = request.map(|body| Body::new(HeadFirst::new(body)));
        Box::pin(async move {
            let work = async move {
                std::future::poll_fn(|context| service.poll_ready(context)).await.map_err(Into::into)?;
                service.call(request).await.map_err(Into::into)
            };
            let call = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(work));
            let response = call.await.unwrap_or_else(|_panic| Err(Status::internal("the service panicked").into()))?;
            Ok(response.map(HeadFirst::new))
        })
    }
}

/// Hands over the head of the first message before the rest of it. tonic makes room for a message when it reads the
/// head: were all of it there already, as it is without a network in between, it would make room for as much again.
#[derive(Debug)]
struct HeadFirst<B> {
    body: B,
    begun: bool,
    rest: Option<Bytes>,
}

impl<B> HeadFirst<B> {
    fn new(body: B) -> Self {
        Self { body, begun: false, rest: None }
    }
}

impl<B: http_body::Body<Data = Bytes> + Unpin> http_body::Body for HeadFirst<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        if let Some(rest) = self.rest.take() {
            return Poll::Ready(Some(Ok(Frame::data(rest))));
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        Poll::Ready(match frame {
            Some(Ok(frame)) if !self.begun => Some(Ok(match frame.into_data() {
                Ok(mut data) => {
                    self.begun = true;
                    let head = data.split_to(HEAD.min(data.len()));
                    self.rest = Some(data).filter(|rest| !rest.is_empty());
                    Frame::data(head)
                }
                Err(other) => other,
            })),
            other => other,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use http_body::Body as _;

    use super::*;

    struct Frames(VecDeque<&'static [u8]>);

    impl http_body::Body for Frames {
        type Data = Bytes;
        type Error = BoxError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut task::Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
            Poll::Ready(self.0.pop_front().map(|bytes| Ok(Frame::data(Bytes::from_static(bytes)))))
        }

        fn is_end_stream(&self) -> bool {
            self.0.is_empty()
        }
    }

    async fn pieces(frames: &[&'static [u8]]) -> Vec<Bytes> {
        let mut body = HeadFirst::new(Frames(frames.iter().copied().collect()));
        let mut pieces = Vec::new();
        while !body.is_end_stream() {
            let frame = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await;
            pieces.push(frame.unwrap().unwrap().into_data().unwrap());
        }
        pieces
    }

    #[tokio::test]
    async fn the_head_comes_first_and_every_byte_comes_once() {
        assert_eq!(pieces(&[b"\0\0\0\0\x03abc", b"rest"]).await, [&b"\0\0\0\0\x03"[..], b"abc", b"rest"]);
        assert_eq!(pieces(&[b"\0\0\0\0\0"]).await, [&b"\0\0\0\0\0"[..]]);
        assert_eq!(pieces(&[b"\0\0", b"\0\0\0"]).await, [&b"\0\0"[..], b"\0\0\0"]);
        assert_eq!(pieces(&[]).await, [&b""[..]; 0]);
    }
}
