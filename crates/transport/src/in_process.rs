//! A service in this process as a channel.

use std::{
    future::Future,
    panic::AssertUnwindSafe,
    pin::Pin,
    task::{self, Poll},
};

use bytes::Bytes;
use futures::FutureExt as _;
use http_body::{Frame, SizeHint};
use moehog_proto::{BoxError, Handed, channel, hand_over};
use tonic::{Status, body::Body, codegen::Service};

use crate::Link;

/// Reaches a service in this process: no message is encoded, and a call runs where its future is polled. A panic in it is an
/// `internal` status. A caller whose calls all end at once lets its neighbours have a turn now and then, as it would with a socket.
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
    type Response = http::Response<HandedOver<B>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _context: &mut task::Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let mut service = self.service.clone();
        let request = request.map(|body| Body::new(HandedOver(body)));
        Box::pin(async move {
            let work = async move {
                tokio::task::coop::consume_budget().await;
                std::future::poll_fn(|context| service.poll_ready(context)).await.map_err(Into::into)?;
                service.call(request).await.map_err(Into::into)
            };
            let call = AssertUnwindSafe(work).catch_unwind();
            let response = call.await.unwrap_or_else(|_panic| Err(Status::internal("the service panicked").into()))?;
            Ok(response.map(HandedOver))
        })
    }
}

/// A body whose messages are handed over as they are.
#[derive(Debug)]
struct HandedOver<B>(B);

impl<B: http_body::Body<Data = Bytes> + Unpin> http_body::Body for HandedOver<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let (frame, message) = hand_over::taking(|| Pin::new(&mut self.0).poll_frame(context));
        message.into_iter().for_each(Handed::give);
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}
