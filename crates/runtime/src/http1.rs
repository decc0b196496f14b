//! One HTTP/1.1 connection: what its other side may take its time for.

use std::{
    error::Error,
    io,
    mem::MaybeUninit,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    body::HttpBody,
    http::{Request, Response},
};
use hyper::{body::Incoming, server::conn::http1, service::Service};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Sleep, sleep},
};
use tokio_util::sync::CancellationToken;

/// From so many bytes on no more is read of a head that has not ended. What came of one is kept until it ends, by each connection.
const MAX_HEAD_BYTES: usize = 32 * 1024;
/// How long the other side may read the last answer before the connection is reset over what it still sends, and how much of that is read
/// meanwhile. Without it a proxy whose write fails may never look at the answer.
const LINGERS: Duration = Duration::from_secs(1);
const MOST_LINGERED: usize = 256 * 1024;

/// How long a connection waits for its other side.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For the whole head of the next request.
    pub head: Duration,
    /// For a part of an answer to be read.
    pub answer: Duration,
}

/// Serves a connection until it ends; from `shutdown` on, until the request under way is answered.
///
/// # Errors
///
/// The other side broke off, took too long, or does not speak HTTP/1.1.
pub async fn serve_http1<S, B>(
    stream: TcpStream,
    service: S,
    patience: Patience,
    shutdown: &CancellationToken,
) -> Result<(), hyper::Error>
where
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: HttpBody + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(patience.head)
        .max_buf_size(MAX_HEAD_BYTES)
        // a sender that has said all may close its side and still wait for the answer
        .half_close(true)
        .serve_connection(TokioIo::new(Impatient::new(stream, patience.answer)), service);
    let mut connection = pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    }
}

/// A stream whose writes fail where the other side has read nothing of them for too long, and that leaves the other side a moment when it
/// ends.
#[derive(Debug)]
struct Impatient<S> {
    stream: S,
    longest: Duration,
    /// Since when a write waits; none where none does.
    waits: Option<Pin<Box<Sleep>>>,
    /// Nothing more is written: until when it stays, and how much of what comes is still read.
    lingers: Option<(Pin<Box<Sleep>>, usize)>,
}

impl<S> Impatient<S> {
    fn new(stream: S, longest: Duration) -> Self {
        Self { stream, longest, waits: None, lingers: None }
    }

    /// What came of a write, or that it took too long.
    fn in_time<T>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.waits = None;
            return written;
        }
        let waits = self.waits.get_or_insert_with(|| Box::pin(sleep(self.longest)));
        ready!(waits.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the answer is not read")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Impatient<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Impatient<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.in_time(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.in_time(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.in_time(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingers.is_none() {
            let shut = Pin::new(&mut self.stream).poll_shutdown(context);
            ready!(self.in_time(context, shut))?;
        }
        let Self { stream, lingers, .. } = &mut *self;
        let (until, left) = lingers.get_or_insert_with(|| (Box::pin(sleep(LINGERS)), MOST_LINGERED));
        while *left > 0 {
            let mut buffer = [MaybeUninit::uninit(); 8 * 1024];
            let mut came = ReadBuf::uninit(&mut buffer);
            match Pin::new(&mut *stream).poll_read(context, &mut came) {
                Poll::Pending => break,
                Poll::Ready(Ok(())) if !came.filled().is_empty() => *left = left.saturating_sub(came.filled().len()),
                // it has ended too
                Poll::Ready(_) => return Poll::Ready(Ok(())),
            }
        }
        until.as_mut().poll(context).map(Ok)
    }
}
