//! Connections as they come: no more than there may be, by callers that may call, and with HTTP/2 on them in time.

use std::{
    io,
    net::{IpAddr, Ipv4Addr},
    pin::Pin,
    sync::Arc,
    task::{self, Poll},
    time::Duration,
};

use futures::{Stream, StreamExt, stream};
use moehog_runtime::{Connections, Failures, SLOWED, chain};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::{Instant, Sleep, sleep, timeout},
};
use tokio_rustls::server::TlsStream;
use tonic::transport::server::{Connected, TcpIncoming};

use crate::{
    Callers, Tls,
    held::{Caller, Room},
    refusals::Reason,
};

/// Longest time that a caller may take to show its certificate.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Callers that show theirs at a time, a quarter of them of one address; where there are more, the oldest goes.
const HANDSHAKES: usize = 256;
/// Rest after a connection could not be accepted, as where there are no more open files.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);
/// The first bytes of HTTP/2: a preface, and the head of the settings behind it.
const PREFACE_BYTES: usize = 24 + 9;

/// An accepted connection.
pub(crate) struct Connection<T> {
    stream: T,
    caller: Caller,
    room: Arc<Room>,
    /// Ends the wait for HTTP/2's first bytes; none once they are here.
    preface: Option<Pin<Box<Sleep>>>,
    read: usize,
    #[expect(dead_code, reason = "the connection holds its place until it is closed")]
    place: OwnedSemaphorePermit,
}

/// Those that show their certificate, and those that showed no right one.
struct Handshakes {
    open: Connections,
    failures: Mutex<Failures>,
}

/// Accepts connections of one server.
#[derive(Clone)]
pub(crate) struct Door {
    room: Arc<Room>,
    places: Arc<Semaphore>,
}

impl Door {
    pub(crate) fn new(room: &Arc<Room>) -> Self {
        Self { room: room.clone(), places: Arc::new(Semaphore::new(room.bounds.connections)) }
    }

    /// Connections without certificates.
    pub(crate) fn plain(self, incoming: TcpIncoming) -> impl Stream<Item = io::Result<Connection<TcpStream>>> {
        incoming.filter_map(move |accepted| {
            let door = self.clone();
            async move {
                match accepted {
                    Ok(stream) => door.admit(stream).map(Ok),
                    Err(error) => {
                        sleep(ACCEPT_AGAIN).await;
                        Some(Err(error))
                    }
                }
            }
        })
    }

    /// Connections whose other side has shown a certificate of a caller. One that does not, or is slow about it, holds up no
    /// other, also where there are very many of one address.
    pub(crate) fn authenticated(
        self,
        mut incoming: TcpIncoming,
        tls: Tls,
        callers: Callers,
    ) -> impl Stream<Item = io::Result<Connection<TlsStream<TcpStream>>>> {
        let (accepted, connections) = mpsc::channel(16);
        let handshakes = Handshakes { open: Connections::new(HANDSHAKES), failures: Mutex::default() };
        let shared = Arc::new((self, tls, callers, handshakes));
        tokio::spawn(async move {
            loop {
                let next = tokio::select! {
                    next = incoming.next() => next,
                    () = accepted.closed() => return,
                };
                let Some(Ok(stream)) = next else {
                    sleep(ACCEPT_AGAIN).await;
                    continue;
                };
                // of one that is gone already nobody needs to know where it was
                let peer = stream.peer_addr().map_or(Ipv4Addr::UNSPECIFIED.into(), |peer| peer.ip());
                let (accepted, shared) = (accepted.clone(), shared.clone());
                let handshake = shared.3.open.enter(peer);
                tokio::spawn(async move {
                    let (door, tls, callers, handshakes) = &*shared;
                    let connection = tokio::select! {
                        connection = door.authenticate(stream, tls, callers, (peer, &handshakes.failures)) => connection,
                        () = handshake.is_cut_off() => {
                            door.room.refusals.add(Reason::Certificate, &"others came while it showed no certificate");
                            None
                        }
                    };
                    drop(handshake);
                    if let Some(connection) = connection {
                        // nobody waits for it where the server has stopped
                        drop(accepted.send(Ok(connection)).await);
                    }
                });
            }
        });
        stream::unfold(connections, async |mut connections| connections.recv().await.map(|next| (next, connections)))
    }

    async fn authenticate(
        &self,
        stream: TcpStream,
        tls: &Tls,
        callers: &Callers,
        (peer, failures): (IpAddr, &Mutex<Failures>),
    ) -> Option<Connection<TlsStream<TcpStream>>> {
        let refusals = &self.room.refusals;
        let is_slowed = failures.lock().were_too_many(peer, Instant::now());
        if is_slowed {
            sleep(SLOWED).await;
        }
        match timeout(HANDSHAKE, tls.accept(stream)).await {
            Ok(Ok(stream)) => match callers.admit(stream.get_ref().1.peer_certificates()) {
                Ok(()) => return self.admit(stream),
                Err(why) => refusals.add(Reason::Caller, &why),
            },
            Ok(Err(error)) => refusals.add(Reason::Certificate, &chain(&error)),
            Err(_elapsed) => refusals.add(Reason::Certificate, &"it showed no certificate in time"),
        }
        // that it is time to say so is known of all refusals
        let _counted = failures.lock().count(peer, Instant::now());
        None
    }

    /// Gives the connection a place, where one is free.
    fn admit<T>(&self, stream: T) -> Option<Connection<T>> {
        let Ok(place) = self.places.clone().try_acquire_owned() else {
            let most = self.room.bounds.connections;
            self.room.refusals.add(Reason::Connections, &format!("{most} connections are open, which is the most"));
            return None;
        };
        let preface = Some(Box::pin(sleep(self.room.bounds.preface)));
        Some(Connection { stream, caller: Caller::default(), room: self.room.clone(), preface, read: 0, place })
    }
}

impl<T> Connected for Connection<T> {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        self.caller.clone()
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Connection<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut task::Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let connection = &mut *self;
        let before = buffer.filled().len();
        let read = Pin::new(&mut connection.stream).poll_read(context, buffer);
        let Some(preface) = &mut connection.preface else { return read };
        connection.read += buffer.filled().len() - before;
        if connection.read >= PREFACE_BYTES {
            connection.preface = None;
        } else if read.is_pending() && preface.as_mut().poll(context).is_ready() {
            connection.room.refusals.add(Reason::Preface, &"it sent no HTTP/2 in time");
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        read
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Connection<T> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut task::Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut task::Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
