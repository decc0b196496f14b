//! A wire between two processes that sees what passes.

use std::{io, net::SocketAddr, pin::Pin, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    task::{JoinHandle, JoinSet},
};

const POLL: Duration = Duration::from_millis(10);

type OnSeen = dyn Fn() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync;

#[derive(Clone)]
struct Watch {
    marker: Arc<[u8]>,
    on_seen: Arc<OnSeen>,
}

/// Forwards TCP connections to a target, and listens only while the target does.
#[derive(Debug)]
pub struct Proxy {
    addr: SocketAddr,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Forwards a free port to `target`. Each time that the client sends `marker`, `on_seen` ends before its last piece goes on.
    ///
    /// # Errors
    ///
    /// No port is free.
    pub async fn watching<F: Future<Output = ()> + Send + 'static>(
        target: SocketAddr,
        marker: &[u8],
        on_seen: impl Fn() -> F + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let watch = Watch { marker: marker.into(), on_seen: Arc::new(move || Box::pin(on_seen())) };
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?;
        let task = tokio::spawn(async move {
            let mut listener = Some(listener);
            loop {
                if let Some(listener) = listener.take() {
                    accept(listener, target, &watch).await;
                }
                // a port that nobody listens on must be refused here too
                while TcpStream::connect(target).await.is_err() {
                    tokio::time::sleep(POLL).await;
                }
                listener = listen(addr).ok();
            }
        });
        Ok(Self { addr, task })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Carries connections until the target takes no more.
async fn accept(listener: TcpListener, target: SocketAddr, watch: &Watch) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { return };
                connections.spawn(carry(client, target, watch.clone()));
            }
            Some(_) = connections.join_next() => {
                if TcpStream::connect(target).await.is_err() {
                    return;
                }
            }
        }
    }
}

fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    socket.listen(1024)
}

async fn carry(mut client: TcpStream, target: SocketAddr, watch: Watch) -> io::Result<()> {
    let mut server = TcpStream::connect(target).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    tokio::select! {
        done = forward(&mut from_client, &mut to_server, watch) => done,
        done = tokio::io::copy(&mut from_server, &mut to_client) => done.map(|_| ()),
    }
}

async fn forward(
    from: &mut (impl AsyncReadExt + Unpin),
    to: &mut (impl AsyncWriteExt + Unpin),
    watch: Watch,
) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    let mut tail = Vec::new();
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            return to.shutdown().await;
        }
        tail.extend_from_slice(&buffer[..count]);
        while let Some(at) = tail.windows(watch.marker.len()).position(|window| window == &*watch.marker) {
            (watch.on_seen)().await;
            tail.drain(..at + watch.marker.len());
        }
        tail.drain(..tail.len().saturating_sub(watch.marker.len() - 1));
        to.write_all(&buffer[..count]).await?;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_marker_is_seen_even_where_it_comes_in_pieces() -> io::Result<()> {
        let target = TcpListener::bind("127.0.0.1:0").await?;
        let seen = Arc::new(AtomicUsize::new(0));
        let count = seen.clone();
        let on_seen = move || {
            count.fetch_add(1, Ordering::SeqCst);
            std::future::ready(())
        };
        let proxy = Proxy::watching(target.local_addr()?, b"marker", on_seen).await?;
        let mut client = TcpStream::connect(proxy.addr()).await?;
        let (mut server, _) = target.accept().await?;
        let mut arrived = Vec::new();
        for piece in ["a mar", "ker, a mark", "er, and mark er"] {
            client.write_all(piece.as_bytes()).await?;
            let before = arrived.len();
            while arrived.len() < before + piece.len() {
                server.read_buf(&mut arrived).await?;
            }
        }
        client.shutdown().await?;
        server.read_to_end(&mut arrived).await?;
        assert_eq!(arrived, b"a marker, a marker, and mark er");
        assert_eq!(seen.load(Ordering::SeqCst), 2);
        Ok(())
    }
}
