//! A server before and while it runs.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::posthog::{Books, Config, Faults, server, state::State};

/// A PostHog that has its port and takes nothing yet.
#[derive(Debug)]
pub struct PostHog {
    listener: TcpListener,
    addr: SocketAddr,
    state: Arc<State>,
}

impl PostHog {
    /// Takes the address; port 0 takes a free one.
    ///
    /// # Errors
    ///
    /// The address cannot be listened on.
    pub fn bind(addr: SocketAddr, config: Config) -> io::Result<Self> {
        let listener = listen(addr)?;
        Ok(Self { addr: listener.local_addr()?, listener, state: Arc::new(State::new(config)) })
    }

    /// The address it listens on.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Where to send to, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// What reached it.
    #[must_use]
    pub fn books(&self) -> &Books {
        &self.state.books
    }

    /// How it fails.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.state.faults
    }

    /// Serves until told to stop. Requests in flight are then cut off: it is an emulator of a thing that fails.
    ///
    /// # Errors
    ///
    /// The listener fails.
    pub async fn serve(self, shutdown: CancellationToken) -> io::Result<()> {
        server::serve(self.listener, self.state, shutdown).await
    }

    /// Serves in the background of this runtime until the handle is dropped or stopped.
    #[must_use]
    pub fn start(self) -> Running {
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(server::serve(self.listener, self.state.clone(), shutdown.clone()));
        Running { addr: self.addr, state: self.state, up: Mutex::new(Some((shutdown, task))) }
    }
}

/// A PostHog that runs in the background.
#[derive(Debug)]
pub struct Running {
    addr: SocketAddr,
    state: Arc<State>,
    up: Mutex<Option<(CancellationToken, JoinHandle<io::Result<()>>)>>,
}

impl Running {
    /// The address it listens on.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Where to send to, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// What reached it. The books outlive the server.
    #[must_use]
    pub fn books(&self) -> &Books {
        &self.state.books
    }

    /// How it fails.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.state.faults
    }

    /// Makes a project with this key, where keys are listed.
    pub fn add_key(&self, key: &str) {
        self.state.add_key(key);
    }

    /// Says whether a project is over its billing quota: its events are answered 200 and dropped.
    pub fn set_over_quota(&self, key: &str, is_over: bool) {
        self.state.set_over_quota(key, is_over);
    }

    /// Sets the time that each capture request takes at least.
    pub fn set_latency(&self, latency: Duration) {
        self.state.set_latency(latency);
    }

    /// Sets how many capture requests are worked on at once.
    pub fn set_concurrency(&self, turns: Option<usize>) {
        self.state.set_concurrency(turns);
    }

    /// Goes down as a machine does: connections are cut, new ones refused. The books stay.
    pub async fn down(&self) {
        let up = self.up.lock().take();
        if let Some((shutdown, task)) = up {
            shutdown.cancel();
            if let Err(error) = task.await {
                tracing::debug!(%error, "the server ended badly");
            }
        }
    }

    /// Comes back at the same address.
    ///
    /// # Errors
    ///
    /// Somebody else has taken the port.
    pub fn up(&self) -> io::Result<()> {
        let mut up = self.up.lock();
        if up.is_none() {
            let listener = listen(self.addr)?;
            let shutdown = CancellationToken::new();
            let task = tokio::spawn(server::serve(listener, self.state.clone(), shutdown.clone()));
            *up = Some((shutdown, task));
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some((shutdown, _)) = self.up.lock().take() {
            shutdown.cancel();
        }
    }
}

fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(addr)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}
