//! One type for every way to reach a service.

use std::{error::Error, fmt};

use bytes::Bytes;
use tonic::{body::Body, codegen::Service};
use tower::{ServiceExt, util::BoxCloneSyncService};

/// Any error, as tower's services give it.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// A way to reach a gRPC service: a connection, several of them, or the service itself in this process.
pub type Channel = BoxCloneSyncService<http::Request<Body>, http::Response<Body>, ChannelError>;

/// Why a call failed on the way. A type of its own, since futures over a bare boxed error cannot be spawned.
#[derive(Debug)]
pub struct ChannelError(BoxError);

impl fmt::Display for ChannelError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("gRPC call")
    }
}

impl Error for ChannelError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.0)
    }
}

/// Makes a [`Channel`] of `service`.
pub fn channel<S, B>(service: S) -> Channel
where
    S: Service<http::Request<Body>, Response = http::Response<B>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    B: tonic::codegen::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    BoxCloneSyncService::new(
        service.map_response(|response| response.map(Body::new)).map_err(|error| ChannelError(error.into())),
    )
}
