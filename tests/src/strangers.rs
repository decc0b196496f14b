//! What strangers do who know no secret, over plain sockets: to be done beside a sender whom it must not cost anything.

use std::{
    io::{self, Write},
    net::{Ipv4Addr, SocketAddr},
    sync::LazyLock,
    time::Duration,
};

use flate2::{Compression, write::GzEncoder};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    runtime::{Builder, Runtime},
    time::{sleep, timeout},
};

/// Where they come from.
const ADDRESSES: usize = 6;

/// What they do, each again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attack {
    /// A capture body without a key, a byte at a time.
    Drip,
    /// Compressed capture bodies without a key that are a thousand times as long.
    Bombs,
    /// Nearly all of the longest capture body, and no more of it.
    HalfBodies,
    /// A request without a token, whose body does not come.
    WithheldBodies,
    /// Connections on which nothing comes.
    Silence,
    /// Half of a head.
    HalfHeads,
    /// Requests whose answers nobody reads.
    Unread,
    /// Wrong tokens as fast as they are answered.
    Guesses,
}

impl Attack {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Drip,
        Self::Bombs,
        Self::HalfBodies,
        Self::WithheldBodies,
        Self::Silence,
        Self::HalfHeads,
        Self::Unread,
        Self::Guesses,
    ];

    /// Begins it with so many connections, from six addresses of this machine, on a thread of its own: who sends beside them waits for
    /// nothing that they do on this side.
    ///
    /// # Errors
    ///
    /// The thread does not start.
    pub fn begin(self, addr: SocketAddr, connections: usize) -> io::Result<Strangers> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        for number in 0..connections {
            let from = Ipv4Addr::new(127, 0, 1, (number % ADDRESSES) as u8 + 1);
            runtime.spawn(async move {
                loop {
                    // what they are answered is nothing to them
                    let _ended = self.once(from, addr).await;
                    sleep(Duration::from_secs(1)).await;
                }
            });
        }
        Ok(Strangers(Some(runtime)))
    }

    async fn once(self, from: Ipv4Addr, addr: SocketAddr) -> io::Result<()> {
        let socket = TcpSocket::new_v4()?;
        if self == Self::Unread {
            // little is enough to fill it
            socket.set_recv_buffer_size(2048)?;
        }
        socket.bind((from, 0).into())?;
        let mut stream = socket.connect(addr).await?;
        match self {
            Self::Drip => {
                stream.write_all(&head("/capture/", "", 1_000_000)).await?;
                loop {
                    stream.write_all(b"{").await?;
                    sleep(Duration::from_secs(1)).await;
                }
            }
            Self::Bombs => {
                let bomb = bomb();
                for _ in 0..200 {
                    stream.write_all(&head("/capture/", "content-encoding: gzip\r\n", bomb.len())).await?;
                    stream.write_all(bomb).await?;
                    answer(&mut stream).await?;
                }
            }
            Self::HalfBodies => {
                let bytes = 32 * 1024 * 1024;
                stream.write_all(&head("/capture/", "", bytes)).await?;
                let piece = vec![b' '; 64 * 1024];
                for _ in 0..bytes / piece.len() - 1 {
                    stream.write_all(&piece).await?;
                }
                answer(&mut stream).await?;
            }
            Self::WithheldBodies => {
                stream.write_all(&head("/v1/in/default", "", 1_000_000)).await?;
                answer(&mut stream).await?;
            }
            Self::Silence => answer(&mut stream).await?,
            Self::HalfHeads => {
                stream.write_all(b"POST /v1/in/default HTTP/1.1\r\nhost: x\r\n").await?;
                answer(&mut stream).await?;
            }
            Self::Unread => {
                // a probe, or what is refused
                let path = if rand::random() { "/" } else { "/nothing" };
                let requests = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").repeat(100).into_bytes();
                // it blocks where neither side reads any more
                timeout(Duration::from_secs(2), async {
                    loop {
                        stream.write_all(&requests).await?;
                    }
                })
                .await
                .unwrap_or(Ok::<(), io::Error>(()))?;
                sleep(Duration::from_secs(3600)).await;
            }
            Self::Guesses => loop {
                let guess = format!("authorization: Bearer {:06}\r\n", rand::random_range(0..1_000_000));
                stream.write_all(&head("/v1/in/default", &guess, 2)).await?;
                stream.write_all(b"{}").await?;
                answer(&mut stream).await?;
            },
        }
        Ok(())
    }
}

/// They stop when it is dropped.
#[derive(Debug)]
pub struct Strangers(Option<Runtime>);

impl Drop for Strangers {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Reads until something comes, or the other side closes.
async fn answer(stream: &mut TcpStream) -> io::Result<()> {
    match stream.read(&mut [0; 4096]).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

fn head(path: &str, headers: &str, length: usize) -> Vec<u8> {
    format!("POST {path} HTTP/1.1\r\nhost: moehog.example\r\n{headers}content-length: {length}\r\n\r\n").into_bytes()
}

/// 32 KiB that are 32 MiB.
fn bomb() -> &'static [u8] {
    static BOMB: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        let written = encoder.write_all(&vec![b' '; 32 * 1024 * 1024 - 1]).and_then(|()| encoder.finish());
        written.unwrap_or_default()
    });
    &BOMB
}
